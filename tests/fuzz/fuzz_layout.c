/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a small layout problem, solved with a small budget: an answer passes the checker, a refusal
 * has a reason, and a second run says the same. */

#include "../unit/domain/layout/small.h"
#include "base/buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned next_byte(void *context, unsigned limit)
{
    Reader *reader = context;
    uint8_t byte = 0;
    return reader_u8(reader, &byte) < 0 ? 0 : byte % limit;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Reader reader = READER(data, size);
    Small small;
    SmallShape shape = {
        .services = 1 + next_byte(&reader, SMALL_SERVICES),
        .nodes = 1 + next_byte(&reader, 255),
        .hardware = 1 + next_byte(&reader, SMALL_TYPES),
        .images = 1 + next_byte(&reader, SMALL_TYPES),
        .classes = next_byte(&reader, SMALL_CLASSES + 1),
    };
    unsigned budget = next_byte(&reader, 255);
    small_make(&small, &shape, next_byte, &reader);
    small.problem.budget = 1 + budget * budget;
    for (size_t i = 0; i < small.problem.service_count; i++)
        if (small.services[i].is_constrained && next_byte(&reader, 4) == 3) {
            small.services[i].is_minimum_stated = true;
            small.services[i].minimum = next_byte(&reader, 255);
        }
    for (size_t i = 0; i < small.problem.existing_count; i++)
        small.classes[i].count += next_byte(&reader, 64);
    _cleanup_layout_result_ LayoutResult result = {0}, again = {0};
    Error error = ERROR_INIT;
    int r = layout_solve(&small.problem, &result, &error);
    ASSERT(r == 0 && !error_is_set(&error));
    ASSERT(layout_solve(&small.problem, &again, &error) == 0);
    ASSERT(again.status == result.status && again.steps == result.steps &&
           again.node_class_count == result.node_class_count && string_equal(again.summary, result.summary));
    if (result.status == LAYOUT_SOLVED)
        ASSERT(layout_verify(&small.problem, &result, &error) == 0);
    else
        ASSERT(result.summary && (result.status == LAYOUT_GAVE_UP || result.conflict_count > 0));
    return 0;
}
