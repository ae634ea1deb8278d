/* SPDX-License-Identifier: Apache-2.0 */
/* Why a problem is impossible: the constraints are dropped, half by half and then one by one, as long as it
 * stays so; what is left contradicts itself and nothing of it can be missed. */

#include "base/buffer.h"
#include "base/memory.h"
#include "base/string.h"
#include "domain/layout/internal.h"

enum { SUMMARY_SENTENCES_MAX = 12, NAMES_MAX = 8 };

typedef struct Explanation {
    const Prepared *prepared;
    Budget *budget;
    ConflictItem *items;
    size_t item_count;
    bool has_gaps; /* a question was not answered within the budget */
} Explanation;

static uint32_t minimum_of(const LayoutService *service)
{
    return service->is_minimum_stated ? service->minimum : MAX(service->minimum, 1U);
}

static bool is_item(const Prepared *prepared, LayoutConflictKind kind, size_t index)
{
    const LayoutProblem *problem = prepared->problem;
    switch (kind) {
    case LAYOUT_CONFLICT_NODE_COUNT:
        return true;
    case LAYOUT_CONFLICT_IMAGES:
        return problem->services[index].images.count > 0;
    case LAYOUT_CONFLICT_HARDWARE:
        return problem->services[index].hardware.count > 0;
    case LAYOUT_CONFLICT_MAXIMUM:
        return problem->services[index].maximum != LAYOUT_UNLIMITED;
    case LAYOUT_CONFLICT_MUST_COEXIST:
        return prepared->must_counts[index] > 1;
    case LAYOUT_CONFLICT_CANT_COEXIST:
        return prepared->cant[index] != NULL;
    case LAYOUT_CONFLICT_QUANTITY:
        return problem->services[index].has_quantity;
    case LAYOUT_CONFLICT_MINIMUM:
        return prepared->is_constrained[index] && minimum_of(&problem->services[index]) > 0;
    case LAYOUT_CONFLICT_EXISTING:
    case _LAYOUT_CONFLICT_MAX:
        break;
    }
    return false;
}

static void list_items(Explanation *explanation)
{
    /* What comes first is dropped rather than what comes later. Without the minimum of a service its other
     * constraints fall by themselves, so few services are left, and the questions soon become small. */
    static const LayoutConflictKind order[] = {
        LAYOUT_CONFLICT_NODE_COUNT, LAYOUT_CONFLICT_MUST_COEXIST, LAYOUT_CONFLICT_QUANTITY,
        LAYOUT_CONFLICT_MINIMUM,    LAYOUT_CONFLICT_IMAGES,       LAYOUT_CONFLICT_HARDWARE,
        LAYOUT_CONFLICT_MAXIMUM,    LAYOUT_CONFLICT_CANT_COEXIST,
    };
    const LayoutProblem *problem = explanation->prepared->problem;
    explanation->items =
        NEW_ARRAY(ConflictItem,
                  1 + 5 * problem->service_count + problem->must_coexist_count + problem->cant_coexist_count);
    for (size_t k = 0; k < ELEMENTSOF(order); k++) {
        LayoutConflictKind kind = order[k];
        size_t count = problem->service_count;
        if (kind == LAYOUT_CONFLICT_NODE_COUNT)
            count = 1;
        else if (kind == LAYOUT_CONFLICT_MUST_COEXIST)
            count = problem->must_coexist_count;
        else if (kind == LAYOUT_CONFLICT_CANT_COEXIST)
            count = problem->cant_coexist_count;
        for (size_t i = 0; i < count; i++)
            if (is_item(explanation->prepared, kind, i))
                explanation->items[explanation->item_count++] = (ConflictItem){.kind = kind, .index = i};
    }
}

static Answer ask(Model *model, State *state, bool is_count_dropped, int64_t *ret_count)
{
    state_allow_all_moves(model, state);
    return is_count_dropped ? oracle_smallest_count(model, state, ret_count) : oracle_ask(model, state);
}

static bool is_count_dropped(const ConflictItem *items, size_t count)
{
    return count > 0 && items[0].kind == LAYOUT_CONFLICT_NODE_COUNT && items[0].is_dropped;
}

static Answer ask_items(Explanation *explanation, int64_t *ret_count)
{
    const LayoutProblem *problem = explanation->prepared->problem;
    _cleanup_model_ Model *model = NULL;
    State state;
    uint64_t types = problem->hardware.count + problem->images.count, sets = problem->cant_coexist_count;
    uint64_t work = problem->service_count * types / STEP_WORK + sets * sets / (STEP_WORK * 8);
    if (!budget_step(explanation->budget, 1 + work) ||
        model_make(explanation->prepared, explanation->items, explanation->item_count, explanation->budget,
                   &model, &state, NULL) < 0)
        return ANSWER_GAVE_UP; /* without must-coexist sets there can be too many blocks */
    return ask(model, &state, is_count_dropped(explanation->items, explanation->item_count), ret_count);
}

/* Drops what can be dropped among the items [from, to). */
static void shrink(Explanation *explanation, size_t from, size_t to)
{
    int64_t count;
    if (from == to)
        return;
    for (size_t i = from; i < to; i++)
        explanation->items[i].is_dropped = true;
    Answer answer = ask_items(explanation, &count);
    if (answer == ANSWER_NO)
        return;
    for (size_t i = from; i < to; i++)
        explanation->items[i].is_dropped = false;
    if (to - from == 1) {
        explanation->has_gaps = explanation->has_gaps || answer == ANSWER_GAVE_UP;
        return;
    }
    size_t middle = from + (to - from) / 2;
    shrink(explanation, from, middle);
    shrink(explanation, middle, to);
}

static void append_names(Buffer *text, const Prepared *prepared, const uint16_t *services, size_t count)
{
    size_t shown = count > NAMES_MAX ? NAMES_MAX - 1 : count;
    for (size_t i = 0; i < shown; i++)
        buffer_append_format(text, "%s'%s'",
                             i == 0           ? ""
                             : i + 1 == count ? " and "
                                              : ", ",
                             prepared->problem->services[services[i]].name);
    if (shown < count)
        buffer_append_format(text, " and %zu more", count - shown);
}

static void append_list(Buffer *text, const LayoutNames *names)
{
    size_t shown = names->count > NAMES_MAX ? NAMES_MAX - 1 : names->count;
    for (size_t i = 0; i < shown; i++)
        buffer_append_format(text, "%s%s", i == 0 ? "" : ", ", names->items[i]);
    if (shown < names->count)
        buffer_append_format(text, " and %zu more", names->count - shown);
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void append_minimum(Buffer *text, const LayoutService *service)
{
    if (service->is_minimum_stated || service->minimum > 1)
        buffer_append_format(text, "'%s' needs at least %u machine%s", service->name, service->minimum,
                             plural(service->minimum));
    else
        buffer_append_format(text, "'%s' is asked for, so it needs a machine", service->name);
}

static char *make_sentence(const Prepared *prepared, LayoutConflictKind kind, size_t index)
{
    const LayoutProblem *problem = prepared->problem;
    const LayoutService *service = index < problem->service_count ? &problem->services[index] : NULL;
    _cleanup_buffer_ Buffer text = BUFFER_INIT;
    switch (kind) {
    case LAYOUT_CONFLICT_NODE_COUNT:
        buffer_append_format(&text, "%u machine%s asked for", problem->node_count,
                             problem->node_count == 1 ? " is" : "s are");
        break;
    case LAYOUT_CONFLICT_EXISTING:
        buffer_append_format(&text, "the existing machines with ");
        append_names(&text, prepared, prepared->class_services[index],
                     problem->existing[index].services.count);
        buffer_append_string(&text,
                             " cannot stay as they are: they lack services that belong on every machine");
        break;
    case LAYOUT_CONFLICT_HARDWARE:
        buffer_append_format(&text, "'%s' allows only the hardware ", service->name);
        append_list(&text, &service->hardware);
        break;
    case LAYOUT_CONFLICT_IMAGES:
        buffer_append_format(&text, "'%s' allows only the image ", service->name);
        append_list(&text, &service->images);
        break;
    case LAYOUT_CONFLICT_MAXIMUM:
        buffer_append_format(&text, "'%s' may be on at most %u machine%s", service->name, service->maximum,
                             plural(service->maximum));
        break;
    case LAYOUT_CONFLICT_MUST_COEXIST:
        append_names(&text, prepared, prepared->must[index], prepared->must_counts[index]);
        buffer_append_string(&text, " must share their machines");
        break;
    case LAYOUT_CONFLICT_CANT_COEXIST:
        append_names(&text, prepared, prepared->cant[index], prepared->cant_counts[index]);
        buffer_append_string(&text, prepared->cant_counts[index] == 1   ? " must not be on any machine"
                                    : prepared->cant_counts[index] == 2 ? " must not share a machine"
                                                                        : " must not all share a machine");
        break;
    case LAYOUT_CONFLICT_QUANTITY:
        buffer_append_format(&text, "'%s' is asked for on exactly %u machine%s", service->name,
                             service->quantity, plural(service->quantity));
        break;
    case LAYOUT_CONFLICT_MINIMUM:
        append_minimum(&text, service);
        break;
    case _LAYOUT_CONFLICT_MAX:
        break;
    }
    return buffer_take_string(&text);
}

/* Several services with the same minimum in one sentence. */
static char *make_minimum_sentence(const Explanation *explanation, const LayoutResult *result, size_t first,
                                   bool *is_told)
{
    const LayoutProblem *problem = explanation->prepared->problem;
    const LayoutService *service = &problem->services[result->conflicts[first].index];
    _cleanup_free_ uint16_t *services = NEW_ARRAY(uint16_t, result->conflict_count);
    size_t count = 0;
    for (size_t i = first; i < result->conflict_count; i++) {
        const LayoutConflict *conflict = &result->conflicts[i];
        if (conflict->kind != LAYOUT_CONFLICT_MINIMUM ||
            minimum_of(&problem->services[conflict->index]) != minimum_of(service))
            continue;
        services[count++] = (uint16_t)conflict->index;
        is_told[i] = true;
    }
    if (count == 1)
        return string_duplicate(result->conflicts[first].sentence);
    _cleanup_buffer_ Buffer text = BUFFER_INIT;
    append_names(&text, explanation->prepared, services, count);
    buffer_append_format(&text, " each need%s %u machine%s", minimum_of(service) == 1 ? "" : " at least",
                         minimum_of(service), plural(minimum_of(service)));
    return buffer_take_string(&text);
}

static void append_sentences(const Explanation *explanation, const LayoutResult *result, Buffer *text)
{
    _cleanup_free_ bool *is_told = NEW_ARRAY(bool, result->conflict_count);
    size_t told = 0, left = 0;
    for (size_t i = 0; i < result->conflict_count; i++) {
        const LayoutConflict *conflict = &result->conflicts[i];
        if (is_told[i] || conflict->kind == LAYOUT_CONFLICT_NODE_COUNT)
            continue;
        _cleanup_free_ char *sentence = conflict->kind == LAYOUT_CONFLICT_MINIMUM
                                            ? make_minimum_sentence(explanation, result, i, is_told)
                                            : string_duplicate(conflict->sentence);
        if (told++ < SUMMARY_SENTENCES_MAX)
            buffer_append_format(text, "%s%s", told == 1 ? ": " : "; ", sentence);
        else
            left++;
    }
    if (left > 0)
        buffer_append_format(text, "; and %zu more", left);
}

/* The most nodes that can all have a service under the maxima that are left. */
static int64_t most_nodes(Explanation *explanation)
{
    _cleanup_model_ Model *model = NULL;
    State state;
    int64_t most = 0;
    explanation->items[0].is_dropped = true;
    int r = model_make(explanation->prepared, explanation->items, explanation->item_count,
                       explanation->budget, &model, &state, NULL);
    explanation->items[0].is_dropped = false;
    if (r < 0 || model->unconstrained_count > 0)
        return 0;
    BLOCKS_FOREACH(b, model->slots[0].family.all)
    most += MAX(model->blocks[b].maximum - state.placed[b], 0);
    for (size_t j = 1; j < model->slot_count; j++)
        most += state.open[j];
    return most;
}

static void append_heading(Explanation *explanation, Buffer *text)
{
    const LayoutProblem *problem = explanation->prepared->problem;
    uint32_t asked = problem->node_count;
    if (explanation->items[0].is_dropped) {
        buffer_append_string(text, "These contradict each other");
        return;
    }
    uint32_t staying = 0;
    for (size_t i = 0; i < problem->existing_count; i++)
        staying += problem->existing[i].may_remove ? 0 : problem->existing[i].count;
    if (staying > asked) {
        buffer_append_format(text,
                             "Needs at least %u machines, not %u: so many existing ones may not be removed",
                             staying, asked);
        return;
    }
    int64_t least = 0, most = most_nodes(explanation);
    explanation->items[0].is_dropped = true;
    Answer answer = ask_items(explanation, &least);
    explanation->items[0].is_dropped = false;
    if (answer == ANSWER_YES && least > asked)
        buffer_append_format(text, "Needs at least %lld machine%s, not %u", (long long)least,
                             plural((uint64_t)least), asked);
    else if (most > 0 && most < asked)
        buffer_append_format(text, "At most %lld of the %u machines can get a service", (long long)most,
                             asked);
    else
        buffer_append_format(text, "%u machine%s cannot work", asked, plural(asked));
    if (problem->existing_count > 0)
        buffer_append_string(text, " (the existing machines keep what they have)");
}

static void add_conflict(const Prepared *prepared, LayoutResult *result, LayoutConflictKind kind,
                         size_t index)
{
    result->conflicts[result->conflict_count++] =
        (LayoutConflict){.kind = kind, .index = index, .sentence = make_sentence(prepared, kind, index)};
}

/* When nothing is left to drop, existing nodes lack what belongs on every node and may take no more. */
static void blame_existing(const Explanation *explanation, LayoutResult *result)
{
    const Prepared *prepared = explanation->prepared;
    for (size_t i = 0; i < prepared->problem->existing_count; i++) {
        size_t present = 0, wanted = 0;
        for (size_t k = 0; k < prepared->problem->service_count; k++)
            wanted += !prepared->is_constrained[k];
        for (size_t k = 0; k < prepared->problem->existing[i].services.count; k++)
            present += !prepared->is_constrained[prepared->class_services[i][k]];
        if (present == wanted || prepared->problem->existing[i].may_extend)
            continue;
        add_conflict(prepared, result, LAYOUT_CONFLICT_EXISTING, i);
        return;
    }
}

static void explanation_done(Explanation *explanation)
{
    free(explanation->items);
}

void explain(const Prepared *prepared, Budget *budget, LayoutResult *result)
{
    /* The proof exists already; its explanation gets a budget of its own, as large as the first. */
    Budget own = {.limit = budget->limit};
    _cleanup_(explanation_done) Explanation explanation = {.prepared = prepared, .budget = &own};
    _cleanup_buffer_ Buffer text = BUFFER_INIT;
    list_items(&explanation);
    shrink(&explanation, 0, 1);
    shrink(&explanation, 1, explanation.item_count);
    result->status = LAYOUT_IMPOSSIBLE;
    result->conflicts = NEW_ARRAY(LayoutConflict, explanation.item_count + 1);
    for (LayoutConflictKind kind = 0; kind < _LAYOUT_CONFLICT_MAX; kind++)
        for (size_t i = 0; i < explanation.item_count; i++)
            if (explanation.items[i].kind == kind && !explanation.items[i].is_dropped)
                add_conflict(prepared, result, kind, explanation.items[i].index);
    result->is_minimal = !explanation.has_gaps;
    if (result->conflict_count == 0)
        blame_existing(&explanation, result);
    append_heading(&explanation, &text);
    append_sentences(&explanation, result, &text);
    result->summary = buffer_take_string(&text);
    budget->steps += own.steps;
}
