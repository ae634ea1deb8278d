/* SPDX-License-Identifier: Apache-2.0 */
/* The linear program behind the oracle: may a fraction of each column be used so that all rows hold?
 *
 *   cover b     sum of columns with b, less removed nodes that have b     >= minimum of b less nodes that
 * have it excess b    removed nodes that have b                                 >= nodes that have b less its
 * maximum slot j      columns of j and removals of j                            <= open nodes of j removals
 * removed nodes                                 >= nodes that must go, <= nodes that may go moves services
 * put where the cluster has them elsewhere         <= moves allowed
 *
 * Revised simplex, first phase only (the sum of what is missing goes to zero or it does not), in exact
 * integers: the basis inverse is kept times its determinant, so every division is exact. Lexicographic ratio
 * test, so it cannot cycle. Columns are made on demand: the one that helps most is the heaviest valid set
 * under the row prices. When nothing helps, the prices are a proof of impossibility. */

#include <string.h>

#include "base/memory.h"
#include "domain/layout/internal.h"

/* Sums of prices over rows and blocks stay within 64 bits. */
#define ENTRY_LIMIT (INT64_C(1) << 40)
#define VALUE_LIMIT (INT64_C(1) << 61)

enum { NO_ROW = -1 };

typedef enum BasicKind { BASIC_MISSING, BASIC_SLACK, BASIC_COLUMN } BasicKind;

typedef struct Basic {
    BasicKind kind;
    size_t index; /* row of the slack, or column */
} Basic;

typedef struct Program {
    const Model *model;
    const State *state;
    int cover[LAYOUT_BLOCKS_MAX], excess[LAYOUT_BLOCKS_MAX], slots[SLOTS_MAX];
    int removals_least, removals_most, moves;
    size_t row_count;
    bool *is_at_least; /* by row, in its natural sense */
    int64_t *rhs;
    int *sign; /* the row is multiplied with it, so that the right side is not negative */
    /* Basis. */
    int64_t denominator;
    int64_t *inverse; /* row_count squared */
    int64_t *values;
    int64_t *prices, *entering;
    Basic *basis;
    /* Columns: given ones, or those made so far. */
    const Column *given;
    const bool *is_forbidden;
    Column *made;
    size_t column_count, made_capacity;
} Program;

static const Column *column_at(const Program *program, size_t index)
{
    return program->given ? &program->given[index] : &program->made[index];
}

static int add_row(Program *program, bool is_at_least, int64_t rhs)
{
    size_t row = program->row_count++;
    program->is_at_least[row] = is_at_least;
    program->sign[row] = (is_at_least && rhs <= 0) || (!is_at_least && rhs < 0) ? -1 : 1;
    program->rhs[row] = rhs * program->sign[row];
    return (int)row;
}

static bool may_remove(const Program *program, size_t slot)
{
    return slot > 0 && program->state->removals_most > 0 && program->model->slots[slot].may_remove &&
           program->state->open[slot] > 0;
}

static void make_rows(Program *program)
{
    const Model *model = program->model;
    const State *state = program->state;
    int64_t removable[LAYOUT_BLOCKS_MAX] = {0};
    for (size_t j = 1; j < model->slot_count; j++)
        if (may_remove(program, j))
            BLOCKS_FOREACH(b, model->slots[j].base)
    removable[b] += state->open[j];
    for (size_t b = 0; b < model->block_count; b++) {
        int64_t need = model->blocks[b].minimum - state->placed[b];
        int64_t excess = state->placed[b] - state->optional[b] - model->blocks[b].maximum;
        program->cover[b] = need + removable[b] > 0 ? add_row(program, true, need) : NO_ROW;
        program->excess[b] = excess > 0 ? add_row(program, true, excess) : NO_ROW;
    }
    for (size_t j = 0; j < model->slot_count; j++)
        program->slots[j] = add_row(program, false, state->open[j]);
    program->removals_least = program->removals_most = program->moves = NO_ROW;
    if (state->removals_least > 0)
        program->removals_least = add_row(program, true, state->removals_least);
    if (state->removals_most > 0)
        program->removals_most = add_row(program, false, state->removals_most);
    if (state->moves > 0)
        program->moves = add_row(program, false, state->moves);
}

static void program_init(Program *program, size_t column_count)
{
    const Model *model = program->model;
    size_t most = 2 * model->block_count + model->slot_count + 3;
    program->is_at_least = NEW_ARRAY(bool, most);
    program->rhs = NEW_ARRAY(int64_t, most);
    program->sign = NEW_ARRAY(int, most);
    make_rows(program);
    size_t rows = program->row_count;
    program->inverse = NEW_ARRAY(int64_t, rows * rows);
    program->values = memory_duplicate(program->rhs, rows * sizeof(int64_t));
    program->prices = NEW_ARRAY(int64_t, rows);
    program->entering = NEW_ARRAY(int64_t, rows);
    program->basis = NEW_ARRAY(Basic, rows);
    program->denominator = 1;
    for (size_t i = 0; i < rows; i++) {
        program->inverse[i * rows + i] = 1;
        bool is_slack = program->is_at_least[i] == (program->sign[i] < 0);
        program->basis[i] = (Basic){.kind = is_slack ? BASIC_SLACK : BASIC_MISSING, .index = i};
    }
    program->column_count = program->given ? column_count : 0;
}

static void program_done(Program *program)
{
    free(program->is_at_least);
    free(program->rhs);
    free(program->sign);
    free(program->inverse);
    free(program->values);
    free(program->prices);
    free(program->entering);
    free(program->basis);
    free(program->made);
}

/* The slack's coefficient in its (signed) row. */
static int64_t slack_coefficient(const Program *program, size_t row)
{
    return (program->is_at_least[row] ? -1 : 1) * program->sign[row];
}

typedef void (*RowVisitor)(Program *program, int row, int64_t coefficient, int64_t *sum);

static void visit_column(Program *program, const Column *column, RowVisitor visit, int64_t *sum)
{
    const Model *model = program->model;
    visit(program, program->slots[column->slot], 1, sum);
    if (column->is_removal) {
        BLOCKS_FOREACH(b, model->slots[column->slot].base)
        {
            visit(program, program->cover[b], -1, sum);
            visit(program, program->excess[b], 1, sum);
        }
        visit(program, program->removals_least, 1, sum);
        visit(program, program->removals_most, 1, sum);
        return;
    }
    int64_t moves = 0;
    BLOCKS_FOREACH(b, column->set)
    {
        visit(program, program->cover[b], 1, sum);
        moves += model->blocks[b].moves;
    }
    if (column->slot > 0 && moves > 0)
        visit(program, program->moves, moves, sum);
}

static void visit_price(Program *program, int row, int64_t coefficient, int64_t *sum)
{
    if (row != NO_ROW)
        *sum += program->prices[row] * program->sign[row] * coefficient;
}

static void visit_entering(Program *program, int row, int64_t coefficient, int64_t *sum)
{
    if (row == NO_ROW)
        return;
    size_t rows = program->row_count;
    int64_t factor = coefficient * program->sign[row];
    for (size_t i = 0; i < rows; i++)
        program->entering[i] += factor * program->inverse[i * rows + (size_t)row];
}

/* The sum of what is missing, and the prices that go with it. */
static bool compute_prices(Program *program)
{
    size_t rows = program->row_count;
    bool is_missing = false;
    memset(program->prices, 0, rows * sizeof(int64_t));
    for (size_t i = 0; i < rows; i++) {
        if (program->basis[i].kind != BASIC_MISSING)
            continue;
        is_missing = is_missing || program->values[i] > 0;
        for (size_t k = 0; k < rows; k++)
            program->prices[k] += program->inverse[i * rows + k];
    }
    return is_missing;
}

static int64_t natural_price(const Program *program, int row)
{
    return row == NO_ROW ? 0 : program->prices[row] * program->sign[row];
}

static size_t add_made(Program *program, Column column)
{
    if (program->column_count == program->made_capacity) {
        program->made_capacity = MAX(program->made_capacity * 2, (size_t)64);
        program->made = memory_resize_array(program->made, program->made_capacity, sizeof(Column));
    }
    program->made[program->column_count] = column;
    return program->column_count++;
}

/* Makes the best column of each slot; the best of all is *ret_index when its gain is positive. */
static Answer price_slots(Program *program, int64_t *ret_gain, size_t *ret_index)
{
    const Model *model = program->model;
    int64_t weights[LAYOUT_BLOCKS_MAX], movable[LAYOUT_BLOCKS_MAX];
    int64_t moves_price = natural_price(program, program->moves);
    for (size_t b = 0; b < model->block_count; b++) {
        weights[b] = natural_price(program, program->cover[b]);
        movable[b] = weights[b] + moves_price * (int64_t)model->blocks[b].moves;
    }
    for (size_t j = 0; j < model->slot_count; j++) {
        BlockSet set = 0;
        if (program->state->open[j] == 0)
            continue;
        int64_t gain = family_heaviest(&model->slots[j].family, slot_allowed(model, j, program->state),
                                       j ? movable : weights, model->budget, &set);
        if (gain < 0)
            return ANSWER_GAVE_UP;
        gain += natural_price(program, program->slots[j]);
        if (gain > 0) {
            size_t index = add_made(program, (Column){.set = set, .slot = (uint16_t)j});
            if (gain > *ret_gain) {
                *ret_gain = gain;
                *ret_index = index;
            }
        }
    }
    return ANSWER_YES;
}

/* What to bring in: YES with a basic, NO when nothing helps. */
static Answer find_entering(Program *program, Basic *ret_basic)
{
    int64_t best = 0;
    for (size_t i = 0; i < program->row_count; i++) {
        int64_t gain = program->prices[i] * slack_coefficient(program, i);
        if (gain > best) {
            best = gain;
            *ret_basic = (Basic){.kind = BASIC_SLACK, .index = i};
        }
    }
    for (size_t i = 0; i < program->column_count; i++) {
        int64_t gain = 0;
        if (program->is_forbidden && program->is_forbidden[i])
            continue;
        visit_column(program, column_at(program, i), visit_price, &gain);
        if (gain > best) {
            best = gain;
            *ret_basic = (Basic){.kind = BASIC_COLUMN, .index = i};
        }
    }
    if (best > 0 || program->given)
        return best > 0 ? ANSWER_YES : ANSWER_NO;
    size_t index = 0;
    Answer answer = price_slots(program, &best, &index);
    if (answer != ANSWER_YES || best == 0)
        return answer == ANSWER_YES ? ANSWER_NO : answer;
    *ret_basic = (Basic){.kind = BASIC_COLUMN, .index = index};
    return ANSWER_YES;
}

static void compute_entering(Program *program, const Basic *basic)
{
    size_t rows = program->row_count;
    memset(program->entering, 0, rows * sizeof(int64_t));
    if (basic->kind == BASIC_COLUMN) {
        visit_column(program, column_at(program, basic->index), visit_entering, NULL);
        return;
    }
    int64_t coefficient = slack_coefficient(program, basic->index);
    for (size_t i = 0; i < rows; i++)
        program->entering[i] = coefficient * program->inverse[i * rows + basic->index];
}

/* Is row a's ratio lexicographically before row b's? */
static bool is_ratio_before(const Program *program, size_t a, size_t b)
{
    size_t rows = program->row_count;
    Wide left = (Wide)program->values[a] * program->entering[b];
    Wide right = (Wide)program->values[b] * program->entering[a];
    for (size_t k = 0; left == right && k < rows; k++) {
        left = (Wide)program->inverse[a * rows + k] * program->entering[b];
        right = (Wide)program->inverse[b * rows + k] * program->entering[a];
    }
    return left < right;
}

static int64_t divide_exactly(Wide dividend, int64_t divisor)
{
    if (dividend == (Wide)(int64_t)dividend)
        return (int64_t)dividend / divisor;
    return (int64_t)(dividend / divisor);
}

/* Brings the entering column into row `leaving`; false when a number grows too large. */
static bool pivot(Program *program, size_t leaving, const Basic *basic)
{
    size_t rows = program->row_count;
    int64_t element = program->entering[leaving], old = program->denominator;
    const int64_t *pivot_row = &program->inverse[leaving * rows];
    if (element > ENTRY_LIMIT)
        return false;
    for (size_t i = 0; i < rows; i++) {
        if (i == leaving)
            continue;
        int64_t factor = program->entering[i], *row = &program->inverse[i * rows];
        if (factor > ENTRY_LIMIT || factor < -ENTRY_LIMIT)
            return false;
        if (factor == 0 && element == old)
            continue;
        for (size_t k = 0; k < rows; k++) {
            if (row[k] == 0 && (factor == 0 || pivot_row[k] == 0))
                continue;
            row[k] = divide_exactly((Wide)element * row[k] - (Wide)factor * pivot_row[k], old);
            if (row[k] > ENTRY_LIMIT || row[k] < -ENTRY_LIMIT)
                return false;
        }
        program->values[i] =
            divide_exactly((Wide)element * program->values[i] - (Wide)factor * program->values[leaving], old);
        if (program->values[i] > VALUE_LIMIT)
            return false;
    }
    program->denominator = element;
    program->basis[leaving] = *basic;
    return true;
}

static Answer run(Program *program)
{
    size_t rows = program->row_count;
    while (compute_prices(program)) {
        Basic basic = {0};
        if (!budget_step(program->model->budget, 1 + rows * rows / 64 + program->column_count / 4))
            return ANSWER_GAVE_UP;
        Answer answer = find_entering(program, &basic);
        if (answer != ANSWER_YES)
            return answer;
        compute_entering(program, &basic);
        size_t leaving = rows;
        for (size_t i = 0; i < rows; i++)
            if (program->entering[i] > 0 && (leaving == rows || is_ratio_before(program, i, leaving)))
                leaving = i;
        ASSERT(leaving < rows); /* what is missing is bounded by zero */
        if (!pivot(program, leaving, &basic))
            return ANSWER_GAVE_UP;
    }
    return ANSWER_YES;
}

static void take_values(const Program *program, ProgramResult *result)
{
    result->denominator = program->denominator;
    result->values = NEW_ARRAY(ProgramValue, program->row_count);
    for (size_t i = 0; i < program->row_count; i++) {
        const Basic *basic = &program->basis[i];
        if (basic->kind == BASIC_COLUMN && program->values[i] > 0)
            result->values[result->count++] =
                (ProgramValue){.column = *column_at(program, basic->index),
                               .index = program->given ? basic->index : SIZE_MAX,
                               .numerator = program->values[i]};
    }
}

/* A closed slot's columns were not looked at; a price on the slot makes the proof hold when it is open again.
 */
static bool price_closed_slot(const Program *program, Proof *proof, size_t slot, const int64_t *weights)
{
    const Model *model = program->model;
    BlockSet set = 0;
    int64_t gain = family_heaviest(&model->slots[slot].family, slot_allowed(model, slot, program->state),
                                   weights, model->budget, &set);
    if (gain < 0)
        return false;
    proof->slots[slot] = MAX(proof->slots[slot], gain);
    if (slot > 0 && model->slots[slot].may_remove && program->state->removals_most > 0) {
        gain = proof->removals_least - proof->removals_most;
        BLOCKS_FOREACH(b, model->slots[slot].base)
        gain += proof->excess[b] - proof->cover[b];
        proof->slots[slot] = MAX(proof->slots[slot], gain);
    }
    return true;
}

static bool take_proof(const Program *program, Proof *proof)
{
    const Model *model = program->model;
    int64_t movable[LAYOUT_BLOCKS_MAX];
    proof->removals_least = natural_price(program, program->removals_least);
    proof->removals_most = -natural_price(program, program->removals_most);
    proof->moves = -natural_price(program, program->moves);
    proof->is_without_moves = program->state->moves == 0;
    proof->is_without_removals = program->state->removals_most == 0;
    for (size_t b = 0; b < model->block_count; b++) {
        proof->cover[b] = natural_price(program, program->cover[b]);
        proof->excess[b] = natural_price(program, program->excess[b]);
        movable[b] = proof->cover[b] - proof->moves * (int64_t)model->blocks[b].moves;
    }
    for (size_t j = 0; j < model->slot_count; j++) {
        proof->slots[j] = -natural_price(program, program->slots[j]);
        if (program->state->open[j] == 0 && !price_closed_slot(program, proof, j, j ? movable : proof->cover))
            return false;
    }
    return true;
}

Answer program_solve(const Model *model, const State *state, const Column *columns, const bool *is_forbidden,
                     size_t column_count, ProgramResult *ret_result)
{
    _cleanup_(program_done)
        Program program = {.model = model, .state = state, .given = columns, .is_forbidden = is_forbidden};
    program_init(&program, column_count);
    for (size_t j = 1; !columns && j < model->slot_count; j++)
        if (may_remove(&program, j))
            add_made(&program, (Column){.slot = (uint16_t)j, .is_removal = true});
    *ret_result = (ProgramResult){0};
    Answer answer = run(&program);
    if (answer == ANSWER_YES)
        take_values(&program, ret_result);
    else if (answer == ANSWER_NO && !columns)
        ret_result->has_proof = take_proof(&program, &ret_result->proof);
    return answer;
}

void program_result_done(ProgramResult *result)
{
    free(result->values);
    result->values = NULL;
}
