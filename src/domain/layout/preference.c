/* SPDX-License-Identifier: Apache-2.0 */
/* The most preferred of all completions, layout by layout in the order of preference. */

#include "base/memory.h"
#include "domain/layout/internal.h"

/* One hardware and image with the blocks that they allow, for new nodes or for an existing class. */
typedef struct Option {
    size_t hardware, image;
    size_t hardware_rank, image_rank;
    size_t slot;
    BlockSet mask;
    BlockSet bound_for; /* the candidates for which `bounds` hold */
    int64_t *bounds;    /* [k]: the greatest weight with blocks from the k-th candidate on */
} Option;

typedef struct Preference {
    Model *model;
    const Prepared *prepared;
    State state;
    Option *options;
    size_t option_count;
    int64_t weights[LAYOUT_BLOCKS_MAX]; /* services in a block */
    Choice *choices;
    size_t choice_count, choice_capacity;
    /* The walk's place: nothing before it can come again. */
    int64_t size;
    size_t group;
} Preference;

static void preference_done(Preference *preference)
{
    for (size_t i = 0; i < preference->option_count; i++)
        free(preference->options[i].bounds);
    free(preference->options);
    free(preference->choices);
}

static int compare_options(const void *a, const void *b)
{
    const Option *left = a, *right = b;
    if (left->hardware_rank != right->hardware_rank)
        return left->hardware_rank < right->hardware_rank ? -1 : 1;
    if (left->image_rank != right->image_rank)
        return left->image_rank < right->image_rank ? -1 : 1;
    /* Existing classes in their order, new nodes last. */
    size_t left_slot = left->slot ? left->slot : SLOTS_MAX,
           right_slot = right->slot ? right->slot : SLOTS_MAX;
    return left_slot < right_slot ? -1 : left_slot > right_slot;
}

static bool is_same_group(const Option *a, const Option *b)
{
    return a->hardware_rank == b->hardware_rank && a->image_rank == b->image_rank;
}

/* The candidates in order, without those that allow nothing more than an earlier one. */
static size_t *useful_types(const TypeTable *table, const BlockSet *blocks, size_t *ret_count)
{
    size_t *useful = NEW_ARRAY(size_t, table->candidate_count);
    *ret_count = 0;
    for (size_t i = 0; i < table->count; i++) {
        size_t type = table->order[i];
        bool is_useful = type < table->candidate_count;
        for (size_t k = 0; k < *ret_count && is_useful; k++)
            is_useful = !block_is_subset(blocks[type], blocks[useful[k]]);
        if (is_useful)
            useful[(*ret_count)++] = type;
    }
    return useful;
}

static void add_option(Preference *preference, size_t slot, size_t hardware, size_t image)
{
    const Prepared *prepared = preference->prepared;
    const Model *model = preference->model;
    preference->options[preference->option_count++] = (Option){
        .slot = slot,
        .hardware = hardware,
        .image = image,
        .hardware_rank = prepared->hardware.rank[hardware],
        .image_rank = prepared->images.rank[image],
        .mask = model->hardware_blocks[hardware] & model->image_blocks[image] & model->slots[slot].family.all,
    };
}

static void make_options(Preference *preference)
{
    const Model *model = preference->model;
    const Prepared *prepared = preference->prepared;
    size_t hardware_count, image_count;
    _cleanup_free_ size_t *hardware =
        useful_types(&prepared->hardware, model->hardware_blocks, &hardware_count);
    _cleanup_free_ size_t *images = useful_types(&prepared->images, model->image_blocks, &image_count);
    preference->options = NEW_ARRAY(Option, hardware_count * image_count + model->slot_count);
    for (size_t i = 0; i < hardware_count; i++)
        for (size_t k = 0; k < image_count; k++)
            add_option(preference, 0, hardware[i], images[k]);
    for (size_t j = 1; j < model->slot_count; j++)
        add_option(preference, j, model->slots[j].hardware, model->slots[j].image);
    qsort(preference->options, preference->option_count, sizeof(Option), compare_options);
}

/* Blocks that one more node of the option's slot may take at all. */
static BlockSet candidates(const Preference *preference, const Option *option)
{
    const Model *model = preference->model;
    const State *state = &preference->state;
    BlockSet result = option->mask & slot_allowed(model, option->slot, state);
    BLOCKS_FOREACH(b, result)
    {
        int64_t removable = 0;
        for (size_t j = 1; j < model->slot_count && state->removals_most > 0; j++)
            if (model->slots[j].may_remove && block_in(model->slots[j].base, b))
                removable += state->open[j];
        if (state->placed[b] - MIN(removable, state->removals_most) >= model->blocks[b].maximum)
            result &= ~block_bit(b);
    }
    return result;
}

static bool update_bounds(Preference *preference, Option *option)
{
    BlockSet blocks = candidates(preference, option), later = 0;
    if (option->bounds && option->bound_for == blocks)
        return true;
    if (!option->bounds)
        option->bounds = NEW_ARRAY(int64_t, LAYOUT_BLOCKS_MAX + 1);
    size_t count = block_count(blocks), k = count;
    option->bound_for = blocks;
    option->bounds[count] = 0;
    for (size_t b = LAYOUT_BLOCKS_MAX; b-- > 0;) {
        if (!block_in(blocks, b))
            continue;
        BlockSet set;
        later |= block_bit(b);
        int64_t bound = family_heaviest_below(&preference->model->slots[option->slot].family, later,
                                              preference->weights, preference->model->budget, &set);
        if (bound < 0) {
            option->bound_for = 0;
            free(option->bounds);
            option->bounds = NULL;
            return false;
        }
        option->bounds[--k] = bound;
    }
    return true;
}

/* A depth-first search for a set of exactly the wanted weight whose choice leaves a state that can be
 * completed. Blocks come by name and are first taken, then left out, so the first set found is the first by
 * service names. */
typedef struct Descent {
    Preference *preference;
    const Option *option;
    int64_t weight;  /* wanted */
    BlockSet costly; /* blocks that open new nodes may need to have a service at all */
    BlockSet found;
} Descent;

/* How many costly blocks may be taken before a new node is left without a service. */
static int64_t spare_room(const Preference *preference, const Option *option, BlockSet *ret_costly)
{
    const Model *model = preference->model;
    const State *state = &preference->state;
    int64_t open = state->open[0] - (option->slot == 0), spare = -open;
    *ret_costly = 0;
    if (open <= 0 || model->unconstrained_count > 0)
        return INT64_MAX;
    BLOCKS_FOREACH(b, model->slots[0].family.all)
    {
        int64_t room = MAX(model->blocks[b].maximum - state->placed[b], 0);
        spare += MIN(room, open);
        if (room <= open)
            *ret_costly |= block_bit(b);
    }
    return spare;
}

/* At most how much more weight the blocks left can give. */
static int64_t weight_bound(const Descent *descent, BlockSet left, int64_t spare)
{
    const Preference *preference = descent->preference;
    const Option *option = descent->option;
    size_t k = block_count(option->bound_for & (block_bit(block_next(left, 0)) - 1));
    int64_t bound = 0, heaviest = 0, costly_count = 0;
    if (spare == INT64_MAX)
        return option->bounds[k];
    BLOCKS_FOREACH(b, left)
    {
        if (!block_in(descent->costly, b)) {
            bound += preference->weights[b];
            continue;
        }
        heaviest = MAX(heaviest, preference->weights[b]);
        costly_count++;
    }
    return MIN(option->bounds[k], bound + heaviest * MIN(costly_count, spare));
}

/* With all that could still be taken, can the rest be completed? */
static bool is_hopeless(const Descent *descent, BlockSet chosen, BlockSet left)
{
    const Preference *preference = descent->preference;
    State state = preference->state;
    uint16_t slot = (uint16_t)descent->option->slot;
    state_apply(preference->model, &state, &(Column){.set = chosen, .slot = slot}, 1);
    if (state.moves < 0)
        return true;
    BLOCKS_FOREACH(b, left)
    {
        state.placed[b]++;
        state.optional[b]++;
    }
    return oracle_refutes(preference->model, &state);
}

static Answer descend(Descent *descent, BlockSet left, BlockSet chosen, int64_t weight, int64_t spare)
{
    Preference *preference = descent->preference;
    uint16_t slot = (uint16_t)descent->option->slot;
    Model *model = preference->model;
    if (!budget_step(model->budget, oracle_work(model) + model->slots[slot].family.larger_count / STEP_WORK))
        return ANSWER_GAVE_UP;
    if (weight == descent->weight) {
        State state = preference->state;
        state_apply(model, &state, &(Column){.set = chosen, .slot = slot}, 1);
        descent->found = chosen;
        return oracle_ask(model, &state);
    }
    if (!left || weight + weight_bound(descent, left, spare) < descent->weight ||
        is_hopeless(descent, chosen, left))
        return ANSWER_NO;
    size_t block = block_next(left, 0);
    int64_t cost = spare != INT64_MAX && block_in(descent->costly, block);
    if (weight + preference->weights[block] <= descent->weight && cost <= spare) {
        BlockSet with = chosen | block_bit(block);
        BlockSet narrowed = family_narrow(&model->slots[slot].family, left, with, block);
        Answer answer = descend(descent, narrowed, with, weight + preference->weights[block], spare - cost);
        if (answer != ANSWER_NO)
            return answer;
    }
    return descend(descent, left & ~block_bit(block), chosen, weight, spare);
}

/* Does a win over b by service names, at equal size? The first block that only one has decides. */
static bool is_name_before(BlockSet a, BlockSet b)
{
    BlockSet difference = a ^ b;
    return difference && block_in(a, block_next(difference, 0));
}

static int64_t base_size(const Preference *preference, const Option *option)
{
    return (int64_t)preference->model->slots[option->slot].base_size;
}

/* The best choice of the group that starts at `first`: by names, then by slot. */
static Answer search_group(Preference *preference, size_t first, Choice *ret_choice)
{
    const Model *model = preference->model;
    const Option *best = NULL;
    BlockSet best_set = 0;
    for (size_t i = first;
         i < preference->option_count && is_same_group(&preference->options[first], &preference->options[i]);
         i++) {
        Option *option = &preference->options[i];
        if (preference->state.open[option->slot] == 0)
            continue;
        if (!update_bounds(preference, option))
            return ANSWER_GAVE_UP;
        Descent descent = {.preference = preference,
                           .option = option,
                           .weight = preference->size - base_size(preference, option)};
        if (descent.weight < 0 || option->bounds[0] < descent.weight)
            continue;
        if (option->slot == 0 && descent.weight == 0 && model->unconstrained_count == 0)
            continue; /* a node needs a service */
        int64_t spare = spare_room(preference, option, &descent.costly);
        Answer answer = spare < 0 ? ANSWER_NO : descend(&descent, option->bound_for, 0, 0, spare);
        if (answer == ANSWER_GAVE_UP)
            return answer;
        BlockSet content = model->slots[option->slot].base | descent.found;
        if (answer == ANSWER_NO || (best && !is_name_before(content, best_set)))
            continue;
        best = option;
        best_set = content;
        *ret_choice = (Choice){.column = {.set = descent.found, .slot = (uint16_t)option->slot},
                               .hardware = option->hardware,
                               .image = option->image};
    }
    return best ? ANSWER_YES : ANSWER_NO;
}

/* The largest size that any open slot could still give, at most `limit`; -1 when none. */
static Answer largest_size(Preference *preference, int64_t limit, int64_t *ret_size)
{
    *ret_size = -1;
    for (size_t i = 0; i < preference->option_count; i++) {
        Option *option = &preference->options[i];
        if (preference->state.open[option->slot] == 0)
            continue;
        if (!budget_step(preference->model->budget, 1) || !update_bounds(preference, option))
            return ANSWER_GAVE_UP;
        int64_t least = base_size(preference, option), most = least + option->bounds[0];
        if (least <= limit)
            *ret_size = MAX(*ret_size, MIN(most, limit));
    }
    return ANSWER_YES;
}

/* The next layout of the walk. NO: there is none, which a state that can be completed excludes. */
static Answer next_choice(Preference *preference, Choice *ret_choice)
{
    for (;;) {
        int64_t size = -1;
        Answer answer = largest_size(preference, preference->size, &size);
        if (answer != ANSWER_YES || size < 0)
            return answer == ANSWER_YES ? ANSWER_NO : answer;
        if (size < preference->size) {
            preference->size = size;
            preference->group = 0;
        }
        for (size_t i = preference->group; i < preference->option_count; i++) {
            if (i > 0 && is_same_group(&preference->options[i - 1], &preference->options[i]))
                continue;
            preference->group = i;
            answer = search_group(preference, i, ret_choice);
            if (answer != ANSWER_NO)
                return answer;
        }
        preference->size--;
        preference->group = 0;
    }
}

/* How often the choice can be used: bisection, the largest number first. */
static Answer count_choice(Preference *preference, Choice *choice)
{
    Model *model = preference->model;
    int64_t low = 1, high = preference->state.open[choice->column.slot] + 1, probe = high - 1;
    while (high - low > 1) {
        State state = preference->state;
        state_apply(model, &state, &choice->column, probe);
        Answer answer = oracle_ask(model, &state);
        if (answer == ANSWER_GAVE_UP)
            return answer;
        *(answer == ANSWER_YES ? &low : &high) = probe;
        probe = low + (high - low) / 2;
    }
    choice->count = low;
    return ANSWER_YES;
}

static void add_choice(Preference *preference, const Choice *choice)
{
    if (preference->choice_count == preference->choice_capacity) {
        preference->choice_capacity = MAX(preference->choice_capacity * 2, (size_t)16);
        preference->choices =
            memory_resize_array(preference->choices, preference->choice_capacity, sizeof(Choice));
    }
    preference->choices[preference->choice_count++] = *choice;
    state_apply(preference->model, &preference->state, &choice->column, choice->count);
}

static bool is_decided(const Preference *preference)
{
    int64_t open = 0;
    for (size_t j = 0; j < preference->model->slot_count; j++)
        open += preference->state.open[j];
    return open == preference->state.removals_least;
}

/* The fewest moves with which the state can be completed; NO when it cannot. */
static Answer fewest_moves(Model *model, State *state)
{
    state_allow_all_moves(model, state);
    int64_t most = state->moves, low = -1, high = 0;
    for (;; high = MIN(most, MAX(high * 2, 1))) {
        state->moves = high;
        Answer answer = oracle_ask(model, state);
        if (answer == ANSWER_GAVE_UP || (answer == ANSWER_NO && high >= most))
            return answer;
        if (answer == ANSWER_YES)
            break;
        low = high;
    }
    while (high - low > 1) {
        state->moves = low + (high - low) / 2;
        Answer answer = oracle_ask(model, state);
        if (answer == ANSWER_GAVE_UP)
            return answer;
        *(answer == ANSWER_YES ? &high : &low) = state->moves;
    }
    state->moves = high;
    return ANSWER_YES;
}

Answer preference_solve(Model *model, const Prepared *prepared, State state, Choice **ret_choices,
                        size_t *ret_count)
{
    _cleanup_(preference_done)
        Preference preference = {.model = model, .prepared = prepared, .state = state, .size = INT64_MAX};
    Answer answer = fewest_moves(model, &preference.state);
    if (answer != ANSWER_YES)
        return answer;
    for (size_t b = 0; b < model->block_count; b++)
        preference.weights[b] = (int64_t)model->blocks[b].service_count;
    make_options(&preference);
    while (!is_decided(&preference)) {
        Choice choice = {0};
        answer = next_choice(&preference, &choice);
        if (answer == ANSWER_YES)
            answer = count_choice(&preference, &choice);
        if (answer == ANSWER_GAVE_UP)
            return answer;
        ASSERT(answer == ANSWER_YES);
        add_choice(&preference, &choice);
    }
    *ret_choices = TAKE_PTR(preference.choices);
    *ret_count = preference.choice_count;
    return ANSWER_YES;
}
