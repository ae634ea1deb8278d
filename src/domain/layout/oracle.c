/* SPDX-License-Identifier: Apache-2.0 */
/* Can a state be completed? See "Theory of operation" in internal.h. */

#include "base/memory.h"
#include "domain/layout/internal.h"

void state_apply(const Model *model, State *state, const Column *column, int64_t times)
{
    state->open[column->slot] -= times;
    if (column->is_removal) {
        BLOCKS_FOREACH(b, model->slots[column->slot].base)
        state->placed[b] -= times;
        state->removals_least = MAX(state->removals_least - times, 0);
        state->removals_most -= times;
        return;
    }
    BLOCKS_FOREACH(b, column->set)
    {
        state->placed[b] += times;
        if (column->slot > 0)
            state->moves -= times * (int64_t)model->blocks[b].moves;
    }
}

void state_apply_optional(const Model *model, State *state, const Column *column, int64_t times)
{
    state_apply(model, state, column, times);
    if (!column->is_removal)
        BLOCKS_FOREACH(b, column->set)
    state->optional[b] += times;
}

void state_allow_all_moves(const Model *model, State *state)
{
    state->moves = 0;
    for (size_t j = 1; j < model->slot_count; j++)
        BLOCKS_FOREACH(b, model->slots[j].family.all)
    state->moves += state->open[j] * (int64_t)model->blocks[b].moves;
}

static bool proof_holds(const Model *model, const Proof *proof, const State *state)
{
    if ((proof->is_without_moves && state->moves > 0) ||
        (proof->is_without_removals && state->removals_most > 0))
        return false;
    Wide sum = (Wide)proof->removals_least * state->removals_least -
               (Wide)proof->removals_most * state->removals_most - (Wide)proof->moves * state->moves;
    for (size_t b = 0; b < model->block_count; b++) {
        sum += (Wide)proof->cover[b] * (model->blocks[b].minimum - state->placed[b]);
        sum += (Wide)proof->excess[b] * (state->placed[b] - state->optional[b] - model->blocks[b].maximum);
    }
    for (size_t j = 0; j < model->slot_count; j++)
        sum -= (Wide)proof->slots[j] * state->open[j];
    return sum > 0;
}

static void keep_proof(Model *model, const Proof *proof)
{
    model->proofs[model->proof_next] = *proof;
    model->proof_next = (model->proof_next + 1) % PROOFS_MAX;
    model->proof_count = MIN(model->proof_count + 1, (size_t)PROOFS_MAX);
}

static bool quantities_refute(const Model *model, const State *state)
{
    BlockSet possible[SLOTS_MAX];
    int64_t removable = 0;
    for (size_t j = 0; j < model->slot_count; j++) {
        if (state->open[j] < 0)
            return true;
        possible[j] = slot_allowed(model, j, state);
        if (j > 0 && model->slots[j].may_remove)
            removable += state->open[j];
    }
    if (state->moves < 0 || state->removals_most < state->removals_least || state->removals_least > removable)
        return true;
    for (size_t b = 0; b < model->block_count; b++) {
        const Block *block = &model->blocks[b];
        int64_t room = 0;
        if (block->minimum > block->maximum ||
            (state->removals_most == 0 && state->placed[b] - state->optional[b] > block->maximum))
            return true;
        for (size_t j = 0; j < model->slot_count; j++)
            room += block_in(possible[j], b) ? state->open[j] : 0;
        if (block->minimum - state->placed[b] > room)
            return true;
    }
    return false;
}

/* Whether each open new node can get a service; existing nodes have one. */
static bool is_capacity_enough(const Model *model, const State *state)
{
    int64_t open = state->open[0], room = 0;
    if (open == 0 || model->unconstrained_count > 0)
        return true;
    BLOCKS_FOREACH(b, model->slots[0].family.all)
    room += MIN(MAX(model->blocks[b].maximum - state->placed[b], 0), open);
    return room >= open;
}

uint64_t oracle_work(const Model *model)
{
    return 1 + (model->block_count * (model->slot_count + model->proof_count)) / (STEP_WORK * 4);
}

bool oracle_refutes(const Model *model, const State *state)
{
    if (quantities_refute(model, state))
        return true;
    for (size_t i = 0; i < model->proof_count; i++)
        if (proof_holds(model, &model->proofs[i], state))
            return true;
    return false;
}

static bool is_covered(const Model *model, const State *state)
{
    for (size_t b = 0; b < model->block_count; b++)
        if (model->blocks[b].minimum > state->placed[b] ||
            model->blocks[b].maximum < state->placed[b] - state->optional[b])
            return false;
    return state->removals_least == 0;
}

/* How often a set is used at once: until one of its needs is met, and not so often that a need outside of it
 * no longer fits into the open nodes. */
static int64_t greedy_times(const Model *model, const State *state, const int64_t *needs,
                            const Column *column)
{
    int64_t times = state->open[column->slot], room = 0;
    for (size_t j = 0; j < model->slot_count; j++)
        room += state->open[j];
    for (size_t b = 0; b < model->block_count; b++)
        if (needs[b] > 0)
            times = MIN(times, block_in(column->set, b) ? needs[b] : MAX(room - needs[b], 1));
    return times;
}

/* A quick cover without moves or removals: heaviest set by what is still needed, most pressing first. */
static Answer greedy(Model *model, const State *start)
{
    State state = *start;
    if (state.removals_least > 0)
        return ANSWER_NO;
    state.removals_most = state.moves = 0;
    for (size_t turn = 0; turn < 4 * LAYOUT_BLOCKS_MAX; turn++) {
        int64_t needs[LAYOUT_BLOCKS_MAX], weights[LAYOUT_BLOCKS_MAX], room = 0, best = 0;
        Column column = {0};
        for (size_t j = 0; j < model->slot_count; j++)
            room += state.open[j];
        for (size_t b = 0; b < model->block_count; b++) {
            needs[b] = model->blocks[b].minimum - state.placed[b];
            weights[b] = needs[b] > 0 && needs[b] >= room ? needs[b] * 64 : needs[b];
        }
        if (is_covered(model, &state))
            return ANSWER_YES;
        /* New nodes can take most; they are kept for what existing nodes cannot take. */
        for (size_t j = model->slot_count; j-- > 0 && best == 0;) {
            if (state.open[j] == 0)
                continue;
            column.slot = (uint16_t)j;
            best = family_heaviest(&model->slots[j].family, slot_allowed(model, j, &state), weights,
                                   model->budget, &column.set);
        }
        if (best <= 0)
            return best < 0 ? ANSWER_GAVE_UP : ANSWER_NO;
        state_apply_optional(model, &state, &column, greedy_times(model, &state, needs, &column));
    }
    return ANSWER_NO;
}

/* All whole parts of the fractions, then the quick way. */
static Answer round_down(Model *model, const State *state, const ProgramResult *result)
{
    State rest = *state;
    for (size_t i = 0; i < result->count; i++)
        state_apply_optional(model, &rest, &result->values[i].column,
                             result->values[i].numerator / result->denominator);
    if (is_covered(model, &rest))
        return ANSWER_YES;
    return greedy(model, &rest);
}

typedef struct Branching {
    Model *model;
    Column *columns;
    size_t column_count;
    bool *is_forbidden;
} Branching;

enum { DEPTH_MAX = 128 }; /* about 6 KiB of stack each */

static Answer branch(Branching *branching, const State *state, size_t depth, bool *ret_is_refuted);

/* The column in the given number, and never again below. */
static Answer branch_fixed(Branching *branching, const State *state, size_t index, int64_t times,
                           size_t depth, bool *ret_is_refuted)
{
    State next = *state;
    *ret_is_refuted = true;
    state_apply_optional(branching->model, &next, &branching->columns[index], times);
    if (next.open[branching->columns[index].slot] < 0 || next.moves < 0 || next.removals_most < 0)
        return ANSWER_NO;
    branching->is_forbidden[index] = true;
    Answer answer = branch(branching, &next, depth + 1, ret_is_refuted);
    branching->is_forbidden[index] = false;
    return answer;
}

/* Index into the values of the most evenly split fraction, or the count when all are whole. */
static size_t pick_fraction(const ProgramResult *result)
{
    size_t best = result->count;
    int64_t best_part = 0;
    for (size_t i = 0; i < result->count; i++) {
        int64_t part = result->values[i].numerator % result->denominator;
        part = MIN(part, result->denominator - part);
        if (part > best_part) {
            best_part = part;
            best = i;
        }
    }
    return best;
}

/* *ret_is_refuted: the linear program already says no. What it allows for one column is an interval, so the
 * walk away from the fraction ends at the first refusal on each side. */
static Answer branch(Branching *branching, const State *state, size_t depth, bool *ret_is_refuted)
{
    _cleanup_(program_result_done) ProgramResult result = {0};
    *ret_is_refuted = false;
    if (depth > DEPTH_MAX)
        return ANSWER_GAVE_UP;
    Answer answer = program_solve(branching->model, state, branching->columns, branching->is_forbidden,
                                  branching->column_count, &result);
    *ret_is_refuted = answer == ANSWER_NO;
    if (answer != ANSWER_YES)
        return answer;
    size_t fraction = pick_fraction(&result);
    if (fraction == result.count)
        return ANSWER_YES;
    if (round_down(branching->model, state, &result) == ANSWER_YES)
        return ANSWER_YES;
    size_t index = result.values[fraction].index;
    int64_t floor = result.values[fraction].numerator / result.denominator;
    for (int direction = 0; direction < 2; direction++) {
        for (int64_t times = direction ? floor : floor + 1; times >= 0; times += direction ? -1 : 1) {
            bool is_refuted = false;
            answer = branch_fixed(branching, state, index, times, depth, &is_refuted);
            if (answer != ANSWER_NO)
                return answer;
            if (is_refuted)
                break;
        }
    }
    return ANSWER_NO;
}

static Answer branch_all(Model *model, const State *state)
{
    _cleanup_free_ Column *columns = NULL;
    size_t count = 0;
    BlockSet needed = 0;
    for (size_t b = 0; b < model->block_count; b++)
        if (state->removals_most > 0 || model->blocks[b].minimum > state->placed[b])
            needed |= block_bit(b);
    for (size_t j = 0; j < model->slot_count; j++) {
        /* Where moves are limited, less can be better than more. */
        bool only_maximal = j == 0 || state->moves == 0;
        if (state->open[j] > 0 &&
            !family_list(&model->slots[j].family, slot_allowed(model, j, state) & needed, only_maximal,
                         (uint16_t)j, model->budget, &columns, &count))
            return ANSWER_GAVE_UP;
    }
    columns = memory_resize_array(columns, count + model->slot_count, sizeof(Column));
    for (size_t j = 1; j < model->slot_count; j++)
        if (state->removals_most > 0 && model->slots[j].may_remove && state->open[j] > 0)
            columns[count++] = (Column){.slot = (uint16_t)j, .is_removal = true};
    _cleanup_free_ bool *is_forbidden = NEW_ARRAY(bool, count);
    Branching branching = {
        .model = model, .columns = columns, .column_count = count, .is_forbidden = is_forbidden};
    bool is_refuted;
    return branch(&branching, state, 0, &is_refuted);
}

Answer oracle_ask_cover(Model *model, const State *state)
{
    _cleanup_(program_result_done) ProgramResult result = {0};
    if (model->is_impossible)
        return ANSWER_NO;
    if (!budget_step(model->budget, oracle_work(model)))
        return ANSWER_GAVE_UP;
    if (oracle_refutes(model, state))
        return ANSWER_NO;
    Answer answer = greedy(model, state);
    if (answer != ANSWER_NO)
        return answer;
    answer = program_solve(model, state, NULL, NULL, 0, &result);
    if (answer == ANSWER_NO && result.has_proof) {
        /* The prices are checked against the state before they are believed. */
        ASSERT(proof_holds(model, &result.proof, state));
        keep_proof(model, &result.proof);
    }
    if (answer != ANSWER_YES)
        return answer;
    if (pick_fraction(&result) == result.count || round_down(model, state, &result) == ANSWER_YES)
        return ANSWER_YES;
    return branch_all(model, state);
}

Answer oracle_ask(Model *model, const State *state)
{
    return is_capacity_enough(model, state) ? oracle_ask_cover(model, state) : ANSWER_NO;
}

/* The smallest number of new nodes, at most `most`, with which the state is covered. */
static Answer smallest_new(Model *model, State *state, int64_t most)
{
    int64_t low = 0, high = 1;
    for (;; high *= 2) {
        state->open[0] = MIN(high, most);
        Answer answer = oracle_ask_cover(model, state);
        if (answer == ANSWER_GAVE_UP || (answer == ANSWER_NO && high >= most))
            return answer;
        if (answer == ANSWER_YES)
            break;
        low = high;
    }
    high = state->open[0];
    while (high - low > 1) {
        state->open[0] = low + (high - low) / 2;
        Answer answer = oracle_ask_cover(model, state);
        if (answer == ANSWER_GAVE_UP)
            return answer;
        *(answer == ANSWER_YES ? &high : &low) = state->open[0];
    }
    state->open[0] = high;
    return ANSWER_YES;
}

Answer oracle_smallest_count(Model *model, const State *state, int64_t *ret_count)
{
    int64_t kept = 0, most = 1;
    State probe = *state;
    *ret_count = 0;
    for (size_t j = 1; j < model->slot_count; j++)
        kept += state->open[j];
    if (kept > 0) {
        Answer answer = oracle_ask(model, &probe);
        if (answer != ANSWER_NO)
            return answer;
    }
    if (model->must_go > 0) /* more nodes and fewer nodes at once is not on offer */
        return ANSWER_NO;
    probe.removals_most = 0;
    for (size_t b = 0; b < model->block_count; b++)
        most += MAX(model->blocks[b].minimum - state->placed[b], 0);
    Answer answer = smallest_new(model, &probe, MIN(most, LAYOUT_NODES_MAX));
    *ret_count = kept + probe.open[0];
    if (answer != ANSWER_YES)
        return answer;
    /* If so many cannot all get a service, more cannot either. */
    return is_capacity_enough(model, &probe) ? ANSWER_YES : ANSWER_NO;
}
