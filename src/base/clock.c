/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/sodium_start.h"
#include "base/string.h"

static Usec read_clock(clockid_t id)
{
    struct timespec now;
    ASSERT(clock_gettime(id, &now) == 0);
    return (Usec)now.tv_sec * USEC_PER_SEC + (Usec)now.tv_nsec / 1000;
}

static Usec system_monotonic(const Clock *clock)
{
    return read_clock(CLOCK_MONOTONIC);
}

static Usec system_realtime(const Clock *clock)
{
    return read_clock(CLOCK_REALTIME);
}

const Clock system_clock = {.monotonic = system_monotonic, .realtime = system_realtime};

static void system_bytes(Random *random, void *destination, size_t size)
{
    sodium_start();
    randombytes_buf(destination, size);
}

Random system_random = {.bytes = system_bytes};

uint64_t random_below(Random *random, uint64_t bound)
{
    ASSERT(bound > 0);
    uint64_t value,
        uneven = (0 - bound) % bound; /* 2^64 mod bound: the values that would favour low results */
    do
        random_bytes(random, &value, sizeof(value));
    while (value < uneven);
    return value % bound;
}

static uint64_t rotate_left(uint64_t value, unsigned count)
{
    return value << count | value >> (64 - count);
}

static uint64_t seeded_next(uint64_t state[static 4])
{
    uint64_t result = rotate_left(state[1] * 5, 7) * 9, shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate_left(state[3], 45);
    return result;
}

static void seeded_bytes(Random *random, void *destination, size_t size)
{
    SeededRandom *seeded = (SeededRandom *)random; /* its first member */
    uint8_t *bytes = destination;
    while (size > 0) {
        uint64_t value = seeded_next(seeded->state);
        size_t count = MIN(size, sizeof(value));
        for (size_t i = 0; i < count; i++)
            bytes[i] = (uint8_t)(value >> (8 * i));
        bytes += count;
        size -= count;
    }
}

void seeded_random_init(SeededRandom *random, uint64_t seed)
{
    random->random.bytes = seeded_bytes;
    for (unsigned i = 0; i < 4; i++) { /* SplitMix64 spreads the seed, so that no state is all zero */
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t mixed = (seed ^ seed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
        random->state[i] = mixed ^ mixed >> 31;
    }
}

static const char ID_ALPHABET[] = "abcdefghijklmnopqrstuvwxyz234567";

void id_generate(Random *random, char destination[static ID_SIZE])
{
    uint8_t bytes[ID_LENGTH];
    random_bytes(random, bytes, sizeof(bytes));
    while ((bytes[0] & 31) >= 26)
        random_bytes(random, bytes, 1);
    for (size_t i = 0; i < ID_LENGTH; i++)
        destination[i] = ID_ALPHABET[bytes[i] & 31];
    destination[ID_LENGTH] = 0;
}

bool id_is_valid(const char *text)
{
    if (!text || text[0] < 'a' || text[0] > 'z')
        return false;
    size_t length = 0;
    for (; text[length]; length++)
        if (length >= ID_LENGTH || !strchr(ID_ALPHABET, text[length]))
            return false;
    return length == ID_LENGTH;
}

#define LAST_SECOND INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

void timestamp_format(Usec realtime, char destination[static TIMESTAMP_SIZE])
{
    time_t seconds = (time_t)MIN(realtime / USEC_PER_SEC, (Usec)LAST_SECOND);
    unsigned milliseconds = (unsigned)(realtime % USEC_PER_SEC / USEC_PER_MSEC);
    struct tm parts;
    ASSERT(gmtime_r(&seconds, &parts));
    char text[TIMESTAMP_SIZE];
    size_t length = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    ASSERT(length == 19);
    (void)string_print(text + length, sizeof(text) - length, ".%03uZ", milliseconds);
    memcpy(destination, text, TIMESTAMP_SIZE);
}

static bool take_digits(const char **text, unsigned count, unsigned most, int *ret_value)
{
    unsigned value = 0;
    for (; count > 0; count--, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        value = value * 10 + (unsigned)(**text - '0');
    }
    *ret_value = (int)value;
    return value <= most;
}

static bool take_character(const char **text, char wanted)
{
    if (**text != wanted)
        return false;
    (*text)++;
    return true;
}

/* ".5" to 500,000; digits below microseconds are checked and dropped. */
static bool take_fraction(const char **text, Usec *ret_fraction)
{
    *ret_fraction = 0;
    if (!take_character(text, '.'))
        return true;
    unsigned count = 0;
    for (; **text >= '0' && **text <= '9' && count < 9; (*text)++, count++)
        if (count < 6)
            *ret_fraction = *ret_fraction * 10 + (Usec)(**text - '0');
    for (unsigned i = count; i < 6; i++)
        *ret_fraction *= 10;
    return count > 0;
}

static bool take_offset(const char **text, int *ret_seconds)
{
    *ret_seconds = 0;
    if (take_character(text, 'Z'))
        return true;
    int sign = **text == '-' ? -1 : 1, hours = 0, minutes = 0;
    bool is_good = (take_character(text, '+') || take_character(text, '-')) &&
                   take_digits(text, 2, 23, &hours) && take_character(text, ':') &&
                   take_digits(text, 2, 59, &minutes);
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return is_good;
}

int timestamp_parse(const char *text, Usec *ret_realtime)
{
    if (!text)
        return -EINVAL;
    struct tm parts = {0};
    Usec fraction = 0;
    int offset = 0;
    const char *p = text;
    bool is_good = take_digits(&p, 4, 9999, &parts.tm_year) && take_character(&p, '-') &&
                   take_digits(&p, 2, 12, &parts.tm_mon) && take_character(&p, '-') &&
                   take_digits(&p, 2, 31, &parts.tm_mday) && take_character(&p, 'T') &&
                   take_digits(&p, 2, 23, &parts.tm_hour) && take_character(&p, ':') &&
                   take_digits(&p, 2, 59, &parts.tm_min) && take_character(&p, ':') &&
                   take_digits(&p, 2, 59, &parts.tm_sec) && take_fraction(&p, &fraction) &&
                   take_offset(&p, &offset);
    if (!is_good || *p || parts.tm_mon == 0 || parts.tm_mday == 0)
        return -EINVAL;
    int day = parts.tm_mday;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    int64_t seconds = (int64_t)timegm(&parts);
    if (parts.tm_mday != day) /* the 31st of a shorter month was carried into the next */
        return -EINVAL;
    seconds -= offset;
    if (seconds < 0 || seconds > LAST_SECOND)
        return -ERANGE;
    *ret_realtime = (Usec)seconds * USEC_PER_SEC + fraction;
    return 0;
}
