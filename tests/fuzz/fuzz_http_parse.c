/* SPDX-License-Identifier: Apache-2.0 */

/* The request parser and the chunk decoder. Beyond not crashing: a head found whole is found the same byte by
 * byte, what is accepted obeys the rules that smuggling needs broken, and chunks decode the same for every
 * split. */

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_span(HttpSpan span, size_t size)
{
    ASSERT((size_t)span.offset + span.length <= size);
}

static void check_head(const char *data, size_t size, const HttpHead *head)
{
    char *decoded = memory_new(head->path.length + (size_t)1);

    check_span(head->target, size);
    check_span(head->path, size);
    check_span(head->query, size);
    check_span(head->host, size);
    ASSERT(head->method >= 0 && head->method < _HTTP_METHOD_MAX);
    ASSERT(head->host.length > 0 && head->field_count <= HTTP_FIELDS_MAX);
    ASSERT(!(head->is_chunked && head->content_length > 0));
    ASSERT(data[head->path.offset] == '/');
    ssize_t length = http_percent_decode(data + head->path.offset, head->path.length, false, decoded);
    ASSERT(length >= 1 && !http_path_has_dot_segment(decoded, (size_t)length));
    for (unsigned i = 0; i < head->field_count; i++) {
        HttpSpan name = head->fields[i].name, value = head->fields[i].value;
        check_span(name, size);
        check_span(value, size);
        ASSERT(name.length > 0 && data[name.offset + name.length] == ':');
        for (size_t j = 0; j < value.length; j++) {
            uint8_t byte = (uint8_t)data[value.offset + j];
            ASSERT(byte == '\t' || (byte >= ' ' && byte != 0x7f));
        }
    }
    free(decoded);
}

/* Decodes with the given step; returns the fault, and what came out as length and sum. */
static HttpFault decode(const char *data, size_t size, size_t step, size_t *ret_length, uint64_t *ret_sum,
                        size_t *ret_end)
{
    HttpChunked chunked = HTTP_CHUNKED_INIT;
    size_t position = 0;
    HttpFault fault = HTTP_FAULT_NONE;

    *ret_length = 0;
    *ret_sum = 0;
    while (position < size && fault == HTTP_FAULT_NONE && !http_chunked_is_complete(&chunked)) {
        size_t taken, body_size;
        const char *body;
        size_t count = size - position < step ? size - position : step;
        fault = http_chunked_step(&chunked, data + position, count, &taken, &body, &body_size);
        ASSERT(taken <= count && body_size <= taken && (taken > 0 || fault != HTTP_FAULT_NONE));
        for (size_t i = 0; i < body_size; i++)
            *ret_sum = *ret_sum * 31 + (uint8_t)body[i];
        *ret_length += body_size;
        position += taken;
    }
    *ret_end = position;
    return fault;
}

static void check_chunks(const char *data, size_t size)
{
    size_t length, split_length, end, split_end;
    uint64_t sum, split_sum;
    HttpFault fault = decode(data, size, SIZE_MAX, &length, &sum, &end);

    for (size_t step = 1; step < 4; step++) {
        ASSERT(decode(data, size, step, &split_length, &split_sum, &split_end) == fault);
        ASSERT(length == split_length && sum == split_sum && end == split_end);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy of the exact size, so that reading past its end is seen. */
    char *bytes = memory_duplicate(data, size);
    size_t scanned = 0, head_size = 0, split_scanned = 0, split_size = 0;
    HttpHead head;
    HttpFault fault = http_head_find(bytes, size, &scanned, &head_size), split = HTTP_FAULT_NONE;

    for (size_t count = 1; count <= size && split == HTTP_FAULT_NONE && split_size == 0; count++)
        split = http_head_find(bytes, count, &split_scanned, &split_size);
    if (fault == HTTP_FAULT_NONE)
        ASSERT(split == HTTP_FAULT_NONE && split_size == head_size);
    if (head_size > 0) {
        ASSERT(head_size <= size && head_size <= HTTP_HEAD_LIMIT);
        if (http_head_parse(bytes, head_size, &head) == HTTP_FAULT_NONE) {
            check_head(bytes, head_size, &head);
            if (head.is_chunked)
                check_chunks(bytes + head_size, size - head_size);
        }
    }
    /* A head that was not found whole is not a head either. */
    if (head_size == 0 && size <= HTTP_HEAD_LIMIT)
        ASSERT(http_head_parse(bytes, size, &head) != HTTP_FAULT_NONE);
    check_chunks(bytes, size);
    free(bytes);
    return 0;
}
