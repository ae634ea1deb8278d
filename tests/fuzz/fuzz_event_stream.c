/* SPDX-License-Identifier: Apache-2.0 */

/* The reader of event streams: the same events for every split of the bytes. */

#include <stdlib.h>
#include <string.h>

#include "net/event_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int sum_event(uint64_t id, const char *event, const char *data, void *userdata)
{
    uint64_t *sum = userdata;

    *sum = *sum * 31 + id;
    for (; *event; event++)
        *sum = *sum * 31 + (uint8_t)*event;
    for (; *data; data++)
        *sum = *sum * 31 + (uint8_t)*data;
    return 0;
}

static int read_all(const uint8_t *data, size_t size, size_t step, uint64_t *ret_sum)
{
    EventStreamParser parser = EVENT_STREAM_PARSER_INIT;
    int r = 0;

    *ret_sum = 0;
    for (size_t i = 0; i < size && r == 0; i += step) {
        size_t count = size - i < step ? size - i : step;
        r = event_stream_feed(&parser, (const char *)data + i, count, sum_event, ret_sum);
        if (step >= size)
            break;
    }
    event_stream_done(&parser);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t sum, split_sum;
    int r = read_all(data, size, size + 1, &sum);

    for (size_t step = 1; step < 4; step++)
        ASSERT(read_all(data, size, step, &split_sum) == r && split_sum == sum);
    return 0;
}
