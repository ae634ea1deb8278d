/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Time and randomness as interfaces, so that the simulator and the tests can replace them. Leases and
 * deadlines use the monotonic clock, records the wall clock. Both in microseconds. The system ones: any
 * thread. */

#include "base/macros.h"

typedef uint64_t Usec;
#define USEC_PER_MSEC ((Usec)1000)
#define USEC_PER_SEC  ((Usec)1000000)
#define USEC_INFINITY ((Usec)UINT64_MAX)

typedef struct Clock Clock;
struct Clock {
    Usec (*monotonic)(const Clock *clock);
    Usec (*realtime)(const Clock *clock); /* since 1970-01-01T00:00:00Z */
};
extern const Clock system_clock;
static inline Usec clock_monotonic(const Clock *clock)
{
    return clock->monotonic(clock);
}
static inline Usec clock_realtime(const Clock *clock)
{
    return clock->realtime(clock);
}

typedef struct Random Random;
struct Random {
    void (*bytes)(Random *random, void *destination, size_t size);
};
/* getrandom(2) through libsodium. */
extern Random system_random;
static inline void random_bytes(Random *random, void *destination, size_t size)
{
    random->bytes(random, destination, size);
}
/* Uniform in [0, bound). */
uint64_t random_below(Random *random, uint64_t bound);

/* Deterministic, for simulator and tests only: xoshiro256**. */
typedef struct SeededRandom {
    Random random;
    uint64_t state[4];
} SeededRandom;
void seeded_random_init(SeededRandom *random, uint64_t seed);

/* Object ids of the API: 20 lower-case base32 characters (100 random bits), first one a letter. */
enum { ID_LENGTH = 20, ID_SIZE = ID_LENGTH + 1 };
void id_generate(Random *random, char destination[static ID_SIZE]);
bool id_is_valid(const char *text);

/* RFC 3339 in UTC with milliseconds: "2026-11-22T10:00:00.000Z" (25 bytes with NUL). */
enum { TIMESTAMP_SIZE = 25 };
void timestamp_format(Usec realtime, char destination[static TIMESTAMP_SIZE]);
int timestamp_parse(const char *text, Usec *ret_realtime);
