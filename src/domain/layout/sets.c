/* SPDX-License-Identifier: Apache-2.0 */
/* Searches in families of valid sets: the heaviest one, and all maximal ones. Both take conflicts apart into
 * independent groups where they can, so that many small unrelated conflicts cost their sum, not their
 * product. */

#include "base/memory.h"
#include "domain/layout/internal.h"

enum { COLUMNS_MAX = 16384 };

BlockSet family_narrow(const Family *family, BlockSet left, BlockSet chosen, size_t added)
{
    left &= ~family->pairs[added] & ~block_bit(added);
    for (size_t i = 0; i < family->larger_count; i++) {
        if (!block_in(family->larger[i], added))
            continue;
        BlockSet missing = family->larger[i] & ~chosen;
        if (block_count(missing) == 1)
            left &= ~missing;
    }
    return left;
}

/* Blocks in conflict with any of the given ones, as far as they are in `within`. */
static BlockSet neighbours(const Family *family, BlockSet blocks, BlockSet within, BlockSet chosen)
{
    BlockSet found = 0;
    BLOCKS_FOREACH(b, blocks)
    found |= family->pairs[b];
    for (size_t i = 0; i < family->larger_count; i++)
        if ((family->larger[i] & blocks) && block_is_subset(family->larger[i], within | chosen | blocks))
            found |= family->larger[i];
    return found & within;
}

static BlockSet connected(const Family *family, BlockSet within, size_t start, BlockSet chosen)
{
    BlockSet group = block_bit(start), edge = group;
    while (edge) {
        edge = neighbours(family, edge, within, chosen) & ~group;
        group |= edge;
    }
    return group;
}

typedef struct Heaviest {
    const Family *family;
    const int64_t *weights;
    Budget *budget;
    int64_t best;
    BlockSet best_set;
    bool has_ended; /* the budget */
} Heaviest;

static int64_t sum_weights(const int64_t *weights, BlockSet set)
{
    int64_t sum = 0;
    BLOCKS_FOREACH(b, set)
    sum += weights[b];
    return sum;
}

/* The block to decide next: one in conflict with most of what is left; LAYOUT_BLOCKS_MAX = no conflicts left.
 * Ties go to the heavier, then to the first. */
static size_t pick_contested(const Heaviest *search, BlockSet left, BlockSet chosen)
{
    size_t best = LAYOUT_BLOCKS_MAX, best_degree = 0;
    BLOCKS_FOREACH(b, left)
    {
        size_t degree = block_count(search->family->pairs[b] & left);
        for (size_t i = 0; i < search->family->larger_count; i++)
            degree += block_in(search->family->larger[i], b) &&
                      block_is_subset(search->family->larger[i], left | chosen);
        if (degree > best_degree ||
            (degree > 0 && degree == best_degree && search->weights[b] > search->weights[best])) {
            best = b;
            best_degree = degree;
        }
    }
    return best;
}

static void search_heaviest(Heaviest *search, BlockSet left, BlockSet chosen, int64_t weight,
                            int64_t left_weight)
{
    if (search->has_ended || weight + left_weight <= search->best)
        return;
    if (!budget_step(search->budget, 1 + block_count(left) * search->family->larger_count / STEP_WORK)) {
        search->has_ended = true;
        return;
    }
    size_t block = pick_contested(search, left, chosen);
    if (block == LAYOUT_BLOCKS_MAX) {
        search->best = weight + left_weight;
        search->best_set = chosen | left;
        return;
    }
    BlockSet with = chosen | block_bit(block);
    BlockSet narrowed = family_narrow(search->family, left, with, block);
    search_heaviest(search, narrowed, with, weight + search->weights[block],
                    sum_weights(search->weights, narrowed));
    search_heaviest(search, left & ~block_bit(block), chosen, weight, left_weight - search->weights[block]);
}

int64_t family_heaviest_below(const Family *family, BlockSet mask, const int64_t *weights, Budget *budget,
                              BlockSet *ret_set)
{
    BlockSet candidates = 0, result = 0;
    int64_t total = 0;
    BLOCKS_FOREACH(b, mask)
    if (weights[b] > 0)
        candidates |= block_bit(b);
    while (candidates) {
        size_t start = block_next(candidates, 0);
        BlockSet group = connected(family, candidates, start, 0);
        Heaviest search = {.family = family, .weights = weights, .budget = budget};
        search_heaviest(&search, group, 0, 0, sum_weights(weights, group));
        if (search.has_ended)
            return -1;
        total += search.best;
        result |= search.best_set;
        candidates &= ~group;
    }
    *ret_set = result;
    return total;
}

int64_t family_heaviest(const Family *family, BlockSet allowed, const int64_t *weights, Budget *budget,
                        BlockSet *ret_set)
{
    int64_t best = 0;
    *ret_set = 0;
    for (size_t i = 0; i < family->mask_count; i++) {
        BlockSet mask = family->masks[i] & allowed, set = 0;
        int64_t bound = 0;
        BLOCKS_FOREACH(b, mask)
        bound += MAX(weights[b], 0);
        if (!budget_step(budget, 1))
            return -1;
        if (bound <= best)
            continue;
        int64_t weight = family_heaviest_below(family, mask, weights, budget, &set);
        if (weight < 0)
            return -1;
        if (weight > best) {
            best = weight;
            *ret_set = set;
        }
    }
    return best;
}

typedef struct Listing {
    const Family *family;
    BlockSet allowed;
    size_t mask; /* the one being listed */
    bool only_maximal;
    uint16_t slot;
    Budget *budget;
    Column **columns;
    size_t *count;
    bool has_ended;
} Listing;

static bool is_valid_below(const Family *family, BlockSet set, size_t mask)
{
    return block_is_subset(set, family->masks[mask]);
}

/* May the block join the set without a conflict (types aside)? */
static bool may_join(const Family *family, BlockSet set, size_t block)
{
    if (family->pairs[block] & set)
        return false;
    for (size_t i = 0; i < family->larger_count; i++)
        if (block_in(family->larger[i], block) && block_is_subset(family->larger[i], set | block_bit(block)))
            return false;
    return true;
}

/* Not below an earlier mask (else it was listed there), and when only maximal ones are wanted, not extensible
 * below any mask. */
static bool is_wanted(const Listing *listing, BlockSet set)
{
    const Family *family = listing->family;
    for (size_t i = 0; i < listing->mask; i++)
        if (is_valid_below(family, set, i))
            return false;
    if (!listing->only_maximal)
        return true;
    for (size_t i = 0; i < family->mask_count; i++) {
        if (!is_valid_below(family, set, i))
            continue;
        BLOCKS_FOREACH(b, family->masks[i] & listing->allowed & ~set)
        if (may_join(family, set, b))
            return false;
    }
    return true;
}

/* What is_wanted may cost, in steps. */
static uint64_t wanted_work(const Listing *listing)
{
    const Family *family = listing->family;
    return family->mask_count * (1 + block_count(listing->allowed) * family->larger_count / STEP_WORK) / 8;
}

/* A block left out can be kept out of a maximal set only by a conflict with what is or may still be in. */
static bool can_be_maximal(const Family *family, BlockSet left_out, BlockSet possible)
{
    BLOCKS_FOREACH(b, left_out)
    if (may_join(family, possible, b))
        return false;
    return true;
}

static void list_sets(Listing *listing, BlockSet left, BlockSet chosen, BlockSet left_out)
{
    if (listing->has_ended)
        return;
    if (!budget_step(listing->budget,
                     1 + block_count(left_out | left) * (1 + listing->family->larger_count) / STEP_WORK)) {
        listing->has_ended = true;
        return;
    }
    if (listing->only_maximal && !can_be_maximal(listing->family, left_out, chosen | left))
        return;
    size_t block = block_next(left, 0);
    if (block == LAYOUT_BLOCKS_MAX) {
        if (!budget_step(listing->budget, wanted_work(listing))) {
            listing->has_ended = true;
            return;
        }
        if (!chosen || !is_wanted(listing, chosen))
            return;
        if (*listing->count == COLUMNS_MAX) {
            listing->has_ended = true;
            return;
        }
        (*listing->columns)[(*listing->count)++] = (Column){.set = chosen, .slot = listing->slot};
        return;
    }
    BlockSet with = chosen | block_bit(block);
    list_sets(listing, family_narrow(listing->family, left, with, block), with, left_out);
    list_sets(listing, left & ~block_bit(block), chosen, left_out | block_bit(block));
}

bool family_list(const Family *family, BlockSet allowed, bool only_maximal, uint16_t slot, Budget *budget,
                 Column **columns, size_t *count)
{
    if (!*columns)
        *columns = NEW_ARRAY(Column, COLUMNS_MAX);
    Listing listing = {.family = family,
                       .allowed = allowed,
                       .only_maximal = only_maximal,
                       .slot = slot,
                       .budget = budget,
                       .columns = columns,
                       .count = count};
    for (size_t i = 0; i < family->mask_count && !listing.has_ended; i++) {
        listing.mask = i;
        list_sets(&listing, family->masks[i] & allowed, 0, 0);
    }
    return !listing.has_ended;
}
