/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Inside of the layout solver.
 *
 * Theory of operation. Services that must coexist are one *block*. What a node may hold is closed under
 * leaving blocks out, so only minima need a search: surplus is trimmed. A *slot* is a kind of place for
 * blocks: slot 0 the new nodes, slot j > 0 the existing nodes of one class, each with the *family* of sets of
 * blocks that one such node may take (in addition to what an existing node has).
 *
 * A *state* says what is decided: how many nodes of each slot are open, on how many nodes each block is, how
 * many nodes must still go. The *oracle* answers whether a state can be completed:
 *   - each block's minimum fits under its maximum and into the open nodes;
 *   - new nodes can all get a service: sum of min(free places of b, new nodes) >= new nodes;
 *   - the minima can be covered by sets of the families. Tried in this order: proofs of impossibility kept
 * from earlier questions, a greedy cover, the linear program (columns made when needed by looking for the
 *     heaviest set), its rounding, branching.
 * The *preference* walks the layouts in their order without listing them: largest size first, then hardware
 * and image, then a depth-first search over the blocks by name, cut by bounds and by the oracle; the count of
 * the layout found is bisected. A layout once passed over never becomes possible again, so the walk goes one
 * way. Everything is exact integer arithmetic. */

#include "domain/layout/layout.h"

__extension__ typedef unsigned __int128 BlockSet;
__extension__ typedef __int128 Wide;

enum { SLOTS_MAX = LAYOUT_CLASSES_MAX + 1 };

typedef enum Answer { ANSWER_NO, ANSWER_YES, ANSWER_GAVE_UP } Answer;

static inline BlockSet block_bit(size_t block)
{
    return (BlockSet)1 << block;
}

static inline bool block_in(BlockSet set, size_t block)
{
    return (set >> block) & 1;
}

static inline size_t block_count(BlockSet set)
{
    return (size_t)__builtin_popcountll((uint64_t)set) + (size_t)__builtin_popcountll((uint64_t)(set >> 64));
}

/* The first block of the set that is not before `from`; LAYOUT_BLOCKS_MAX when there is none. */
static inline size_t block_next(BlockSet set, size_t from)
{
    if (from >= LAYOUT_BLOCKS_MAX)
        return LAYOUT_BLOCKS_MAX;
    BlockSet left = set >> from;
    if ((uint64_t)left)
        return from + (size_t)__builtin_ctzll((uint64_t)left);
    if ((uint64_t)(left >> 64))
        return from + 64 + (size_t)__builtin_ctzll((uint64_t)(left >> 64));
    return LAYOUT_BLOCKS_MAX;
}

static inline bool block_is_subset(BlockSet a, BlockSet b)
{
    return (a & ~b) == 0;
}

#define BLOCKS_FOREACH(block, set)                                                                           \
    for (size_t block = block_next((set), 0); block < LAYOUT_BLOCKS_MAX; block = block_next((set), block + 1))

typedef struct Block {
    uint16_t *services; /* indexes, by name */
    size_t service_count;
    int64_t minimum, maximum; /* maximum at most LAYOUT_NODES_MAX + 1, which stands for no limit */
    uint32_t moves;           /* how many of its services the cluster has already */
} Block;

/* Sets of blocks that a node of a slot may take. Valid: below one of the masks, with no conflict inside. */
typedef struct Family {
    BlockSet *masks;
    size_t mask_count;
    BlockSet all;                      /* union of the masks */
    BlockSet pairs[LAYOUT_BLOCKS_MAX]; /* conflicts of two */
    BlockSet *larger;                  /* conflicts of three and more */
    size_t larger_count;
} Family;

typedef struct Slot {
    int existing;     /* class, or -1 */
    uint32_t count;   /* nodes of the class */
    BlockSet base;    /* blocks that they have */
    size_t base_size; /* services of the base */
    bool may_remove;
    size_t hardware, image; /* of the class */
    Family family;
} Slot;

/* A proof that states are impossible: non-negative multipliers of the rows of the linear program. */
typedef struct Proof {
    int64_t cover[LAYOUT_BLOCKS_MAX], excess[LAYOUT_BLOCKS_MAX], slots[SLOTS_MAX];
    int64_t removals_least, removals_most, moves;
    bool is_without_moves, is_without_removals; /* holds only for states that allow none */
} Proof;

enum { PROOFS_MAX = 48 };

typedef struct ConflictItem {
    LayoutConflictKind kind;
    size_t index;
    bool is_dropped;
} ConflictItem;

/* A step is about this many looks at a set of blocks: inner loops that can be long count for more than one.
 */
enum { STEP_WORK = 32 };

typedef struct Budget {
    uint64_t steps, limit;
} Budget;

static inline bool budget_step(Budget *budget, uint64_t steps)
{
    budget->steps += steps;
    return budget->steps <= budget->limit;
}

typedef struct Model {
    const LayoutProblem *problem;
    Budget *budget;
    Block *blocks;
    size_t block_count;
    uint16_t *unconstrained; /* services on every node */
    size_t unconstrained_count;
    BlockSet *hardware_blocks, *image_blocks; /* which blocks a type allows; indexed as the type tables */
    Slot *slots;
    size_t slot_count;
    BlockSet movable;   /* blocks with moves > 0 */
    bool is_impossible; /* found while building: a node that can be neither kept nor removed */
    int64_t must_go;    /* existing nodes that cannot be kept; counted in no state */
    Proof *proofs;
    size_t proof_count, proof_next;
} Model;

typedef struct State {
    int64_t placed[LAYOUT_BLOCKS_MAX];   /* nodes with the block: decided, or existing and not yet removed */
    int64_t optional[LAYOUT_BLOCKS_MAX]; /* those among them that may be left out again */
    int64_t open[SLOTS_MAX];             /* nodes not yet decided */
    int64_t removals_least, removals_most; /* nodes that must and that may still go */
    int64_t moves;                         /* how many are still allowed */
} State;

/* One way to use a node: a set for an open node of a slot, or the removal of a node of the slot. */
typedef struct Column {
    BlockSet set;
    uint16_t slot;
    bool is_removal;
} Column;

/* problem.c: names, order of types, limits. */
typedef struct TypeTable {
    const char **names; /* candidates, then those only of existing nodes */
    size_t count, candidate_count;
    size_t *order; /* by preference, then name */
    size_t *rank;  /* inverse of order */
} TypeTable;

typedef struct Prepared {
    const LayoutProblem *problem;
    uint16_t *by_name;   /* services in the order of their names */
    uint16_t *name_rank; /* inverse */
    bool *is_constrained;
    bool *may_hardware, *may_image; /* [service][type] */
    TypeTable hardware, images;
    uint16_t **must, **cant; /* present members; cant is NULL where a member is absent */
    size_t *must_counts, *cant_counts;
    uint16_t **class_services;
    size_t *class_hardware, *class_image;
} Prepared;

int prepared_make(const LayoutProblem *problem, Prepared **ret_prepared, Error *error);
Prepared *prepared_free(Prepared *prepared);
DEFINE_CLEANUP(Prepared, prepared_free);
#define _cleanup_prepared_ _cleanup_(prepared_free_pointer)

/* blocks.c. Dropped items are left out; a dropped node count gives a state with no new nodes from which
 * any but the last may go, for the caller to complete. -E2BIG when there are more than LAYOUT_BLOCKS_MAX
 * blocks, -ETIME when the budget ran out. */
int model_make(const Prepared *prepared, const ConflictItem *items, size_t item_count, Budget *budget,
               Model **ret_model, State *ret_state, Error *error);
Model *model_free(Model *model);
DEFINE_CLEANUP(Model, model_free);
#define _cleanup_model_ _cleanup_(model_free_pointer)
/* What the slot's nodes may still take in the state: without moves nothing that the cluster has already. */
BlockSet slot_allowed(const Model *model, size_t slot, const State *state);

/* sets.c */
/* The valid set of the greatest weight among the allowed blocks with positive weights; 0 and the empty set
 * when none is. Negative: the budget ran out. */
int64_t family_heaviest(const Family *family, BlockSet allowed, const int64_t *weights, Budget *budget,
                        BlockSet *ret_set);
/* As above, below one mask only. */
int64_t family_heaviest_below(const Family *family, BlockSet mask, const int64_t *weights, Budget *budget,
                              BlockSet *ret_set);
/* The blocks of `left` that may join a node that holds `chosen`, which includes the newly added block. */
BlockSet family_narrow(const Family *family, BlockSet left, BlockSet chosen, size_t added);
/* Appends all valid sets (only the maximal ones when asked) of the allowed blocks; false: budget or limit. */
bool family_list(const Family *family, BlockSet allowed, bool only_maximal, uint16_t slot, Budget *budget,
                 Column **columns, size_t *count);

/* program.c: the linear program. Columns NULL: all there are, made when needed. */
typedef struct ProgramValue {
    Column column;
    size_t index; /* in the given columns, or SIZE_MAX */
    int64_t numerator;
} ProgramValue;

typedef struct ProgramResult {
    ProgramValue *values; /* YES: the columns with positive values, over the denominator */
    size_t count;
    int64_t denominator;
    bool has_proof;
    Proof proof; /* NO */
} ProgramResult;

Answer program_solve(const Model *model, const State *state, const Column *columns, const bool *is_forbidden,
                     size_t column_count, ProgramResult *ret_result);
void program_result_done(ProgramResult *result);

/* oracle.c */
void state_apply(const Model *model, State *state, const Column *column, int64_t times);
/* As state_apply, but what is placed may be left out again: it counts for minima, not against maxima. */
void state_apply_optional(const Model *model, State *state, const Column *column, int64_t times);
void state_allow_all_moves(const Model *model, State *state);
/* Cheap necessary conditions: true when the state is surely impossible. */
bool oracle_refutes(const Model *model, const State *state);
/* What that costs, in steps. */
uint64_t oracle_work(const Model *model);
Answer oracle_ask(Model *model, const State *state);
/* Without asking that new nodes have a service. */
Answer oracle_ask_cover(Model *model, const State *state);
/* Is there a number of nodes with which the state, made with a dropped node count, can be completed? The
 * smallest one goes to *ret_count; 0 = no more than exist already. */
Answer oracle_smallest_count(Model *model, const State *state, int64_t *ret_count);

/* preference.c */
typedef struct Choice {
    Column column;
    size_t hardware, image;
    int64_t count;
} Choice;

Answer preference_solve(Model *model, const Prepared *prepared, State state, Choice **ret_choices,
                        size_t *ret_count);

/* explain.c */
void explain(const Prepared *prepared, Budget *budget, LayoutResult *result);
