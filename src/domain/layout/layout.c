/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/memory.h"
#include "base/string.h"
#include "domain/layout/internal.h"

const char *layout_status_to_string(LayoutStatus status)
{
    static const char *const names[_LAYOUT_STATUS_MAX] = {
        [LAYOUT_SOLVED] = "solved",
        [LAYOUT_IMPOSSIBLE] = "impossible",
        [LAYOUT_GAVE_UP] = "gave_up",
    };
    return (size_t)status < ELEMENTSOF(names) ? names[status] : NULL;
}

const char *layout_conflict_kind_to_string(LayoutConflictKind kind)
{
    static const char *const names[_LAYOUT_CONFLICT_MAX] = {
        [LAYOUT_CONFLICT_NODE_COUNT] = "node_count",    [LAYOUT_CONFLICT_EXISTING] = "existing",
        [LAYOUT_CONFLICT_IMAGES] = "imagetypes",        [LAYOUT_CONFLICT_HARDWARE] = "hardwaretypes",
        [LAYOUT_CONFLICT_MAXIMUM] = "maximum",          [LAYOUT_CONFLICT_MUST_COEXIST] = "mustcoexist",
        [LAYOUT_CONFLICT_CANT_COEXIST] = "cantcoexist", [LAYOUT_CONFLICT_QUANTITY] = "quantity",
        [LAYOUT_CONFLICT_MINIMUM] = "minimum",
    };
    return (size_t)kind < ELEMENTSOF(names) ? names[kind] : NULL;
}

/* The services of a node, sorted by name. */
static void fill_services(const Model *model, const Prepared *prepared, BlockSet blocks, LayoutNodes *nodes)
{
    size_t service_count = model->problem->service_count;
    _cleanup_free_ bool *is_present = NEW_ARRAY(bool, service_count);
    for (size_t i = 0; i < model->unconstrained_count; i++)
        is_present[model->unconstrained[i]] = true;
    BLOCKS_FOREACH(b, blocks)
    for (size_t i = 0; i < model->blocks[b].service_count; i++)
        is_present[model->blocks[b].services[i]] = true;
    nodes->services = NEW_ARRAY(const char *, service_count);
    for (size_t i = 0; i < service_count; i++)
        if (is_present[prepared->by_name[i]])
            nodes->services[nodes->service_count++] = model->problem->services[prepared->by_name[i]].name;
}

static void fill_result(const Model *model, const Prepared *prepared, const Choice *choices, size_t count,
                        LayoutResult *result)
{
    const LayoutProblem *problem = model->problem;
    result->status = LAYOUT_SOLVED;
    result->nodes = NEW_ARRAY(LayoutNodes, count);
    result->node_class_count = count;
    result->removed = NEW_ARRAY(uint32_t, problem->existing_count);
    result->removed_count = problem->existing_count;
    for (size_t i = 0; i < problem->existing_count; i++)
        result->removed[i] = problem->existing[i].count;
    for (size_t i = 0; i < count; i++) {
        const Slot *slot = &model->slots[choices[i].column.slot];
        LayoutNodes *nodes = &result->nodes[i];
        fill_services(model, prepared, slot->base | choices[i].column.set, nodes);
        nodes->hardware = prepared->hardware.names[choices[i].hardware];
        nodes->image = prepared->images.names[choices[i].image];
        nodes->count = (uint32_t)choices[i].count;
        nodes->existing = slot->existing;
        if (slot->existing >= 0)
            result->removed[slot->existing] -= nodes->count;
    }
}

static void give_up(LayoutResult *result)
{
    layout_result_done(result);
    result->status = LAYOUT_GAVE_UP;
    result->summary =
        string_duplicate("No answer within the solver's budget: the constraints are too entangled. "
                         "Fewer services that exclude each other, or fixed quantities, help.");
}

static int solve(const Prepared *prepared, Budget *budget, LayoutResult *result, Error *error)
{
    _cleanup_model_ Model *model = NULL;
    _cleanup_free_ Choice *choices = NULL;
    size_t count = 0;
    State state;
    int r = model_make(prepared, NULL, 0, budget, &model, &state, error);
    if (r == -ETIME)
        return give_up(result), 0;
    if (r < 0)
        return r;
    Answer answer = preference_solve(model, prepared, state, &choices, &count);
    if (answer == ANSWER_GAVE_UP)
        return give_up(result), 0;
    if (answer == ANSWER_NO)
        return explain(prepared, budget, result), 0;
    fill_result(model, prepared, choices, count, result);
    return 0;
}

int layout_solve(const LayoutProblem *problem, LayoutResult *ret_result, Error *error)
{
    _cleanup_prepared_ Prepared *prepared = NULL;
    _cleanup_layout_result_ LayoutResult result = {0};
    *ret_result = (LayoutResult){0};
    int r = prepared_make(problem, &prepared, error);
    if (r < 0)
        return r;
    Budget budget = {.limit = problem->budget ? problem->budget : LAYOUT_BUDGET_DEFAULT};
    r = solve(prepared, &budget, &result, error);
    if (r < 0)
        return r;
    result.steps = budget.steps;
    if (result.status == LAYOUT_SOLVED) {
        Error broken = ERROR_INIT;
        if (layout_verify(problem, &result, &broken) < 0) {
            error_set(error, ERROR_INTERNAL, "The layout solver's answer failed its check");
            error_add_details(error, "%s", broken.text);
            return -EBADMSG;
        }
    }
    *ret_result = result;
    result = (LayoutResult){0};
    return 0;
}

void layout_result_done(LayoutResult *result)
{
    for (size_t i = 0; i < result->node_class_count; i++)
        free(result->nodes[i].services);
    for (size_t i = 0; i < result->conflict_count; i++)
        free(result->conflicts[i].sentence);
    free(result->nodes);
    free(result->removed);
    free(result->conflicts);
    free(result->summary);
    *result = (LayoutResult){0};
}
