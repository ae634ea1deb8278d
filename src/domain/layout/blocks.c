/* SPDX-License-Identifier: Apache-2.0 */
/* From constraints to blocks and slots: merges what must coexist, intersects what members allow, and turns
 * cant-coexist sets into conflicts between blocks, relative to what the nodes of each slot already have. */

#include <errno.h>

#include "base/memory.h"
#include "domain/layout/internal.h"

typedef struct Builder {
    const Prepared *prepared;
    const ConflictItem *items;
    size_t item_count;
    Model *model;
    uint16_t *leader;   /* union-find over services */
    uint16_t *block_of; /* by service; UINT16_MAX = unconstrained */
    bool *is_dropped[_LAYOUT_CONFLICT_MAX];
    BlockSet *conflicts; /* of blocks, no one containing another */
    size_t conflict_count;
} Builder;

static bool is_dropped(const Builder *builder, LayoutConflictKind kind, size_t index)
{
    return builder->is_dropped[kind] && builder->is_dropped[kind][index];
}

static void index_items(Builder *builder)
{
    const LayoutProblem *problem = builder->prepared->problem;
    const size_t sizes[_LAYOUT_CONFLICT_MAX] = {
        [LAYOUT_CONFLICT_NODE_COUNT] = 1,
        [LAYOUT_CONFLICT_EXISTING] = 0, /* a fact, not dropped */
        [LAYOUT_CONFLICT_MUST_COEXIST] = problem->must_coexist_count,
        [LAYOUT_CONFLICT_CANT_COEXIST] = problem->cant_coexist_count,
        [LAYOUT_CONFLICT_IMAGES] = problem->service_count,
        [LAYOUT_CONFLICT_HARDWARE] = problem->service_count,
        [LAYOUT_CONFLICT_MAXIMUM] = problem->service_count,
        [LAYOUT_CONFLICT_QUANTITY] = problem->service_count,
        [LAYOUT_CONFLICT_MINIMUM] = problem->service_count,
    };
    for (size_t kind = 0; kind < _LAYOUT_CONFLICT_MAX; kind++)
        builder->is_dropped[kind] = NEW_ARRAY(bool, sizes[kind]);
    for (size_t i = 0; i < builder->item_count; i++)
        builder->is_dropped[builder->items[i].kind][builder->items[i].index] = builder->items[i].is_dropped;
}

static void builder_done(Builder *builder)
{
    for (size_t kind = 0; kind < _LAYOUT_CONFLICT_MAX; kind++)
        free(builder->is_dropped[kind]);
    free(builder->leader);
    free(builder->block_of);
    free(builder->conflicts);
}

static uint16_t find_leader(Builder *builder, uint16_t service)
{
    while (builder->leader[service] != service) {
        builder->leader[service] = builder->leader[builder->leader[service]];
        service = builder->leader[service];
    }
    return service;
}

static void merge_services(Builder *builder)
{
    const Prepared *prepared = builder->prepared;
    for (size_t i = 0; i < prepared->problem->service_count; i++)
        builder->leader[i] = (uint16_t)i;
    for (size_t i = 0; i < prepared->problem->must_coexist_count; i++) {
        if (is_dropped(builder, LAYOUT_CONFLICT_MUST_COEXIST, i))
            continue;
        for (size_t k = 1; k < prepared->must_counts[i]; k++)
            builder->leader[find_leader(builder, prepared->must[i][k])] =
                find_leader(builder, prepared->must[i][0]);
    }
}

/* Blocks come in the order of their first service name, which the preference relies on. */
static int make_blocks(Builder *builder, Error *error)
{
    const Prepared *prepared = builder->prepared;
    size_t service_count = prepared->problem->service_count;
    Model *model = builder->model;
    _cleanup_free_ uint16_t *block_of_leader = NEW_ARRAY(uint16_t, service_count);
    for (size_t i = 0; i < service_count; i++)
        block_of_leader[i] = UINT16_MAX;
    model->blocks = NEW_ARRAY(Block, LAYOUT_BLOCKS_MAX);
    model->unconstrained = NEW_ARRAY(uint16_t, service_count);
    for (size_t i = 0; i < service_count; i++) {
        uint16_t service = prepared->by_name[i];
        builder->block_of[service] = UINT16_MAX;
        if (!prepared->is_constrained[service]) {
            model->unconstrained[model->unconstrained_count++] = service;
            continue;
        }
        uint16_t leader = find_leader(builder, service);
        if (block_of_leader[leader] == UINT16_MAX) {
            if (model->block_count == LAYOUT_BLOCKS_MAX) {
                error_set(error, ERROR_TOO_LARGE, "A layout may have at most %d constrained services",
                          LAYOUT_BLOCKS_MAX);
                return -E2BIG;
            }
            block_of_leader[leader] = (uint16_t)model->block_count;
            model->blocks[model->block_count].services = NEW_ARRAY(uint16_t, service_count);
            model->blocks[model->block_count++].maximum = LAYOUT_NODES_MAX + 1;
        }
        uint16_t block = block_of_leader[leader];
        builder->block_of[service] = block;
        model->blocks[block].services[model->blocks[block].service_count++] = service;
    }
    return 0;
}

static void apply_quantities(Builder *builder)
{
    const Prepared *prepared = builder->prepared;
    for (size_t i = 0; i < prepared->problem->service_count; i++) {
        if (builder->block_of[i] == UINT16_MAX)
            continue;
        const LayoutService *service = &prepared->problem->services[i];
        Block *block = &builder->model->blocks[builder->block_of[i]];
        if (!is_dropped(builder, LAYOUT_CONFLICT_MINIMUM, i)) {
            uint32_t minimum = service->is_minimum_stated ? service->minimum : MAX(service->minimum, 1U);
            block->minimum = MAX(block->minimum, (int64_t)minimum);
        }
        if (!is_dropped(builder, LAYOUT_CONFLICT_MAXIMUM, i))
            block->maximum = MIN(block->maximum, (int64_t)service->maximum);
        if (service->has_quantity && !is_dropped(builder, LAYOUT_CONFLICT_QUANTITY, i)) {
            block->minimum = MAX(block->minimum, (int64_t)service->quantity);
            block->maximum = MIN(block->maximum, (int64_t)service->quantity);
        }
    }
}

static BlockSet *allowed_blocks(const Builder *builder, const bool *may, size_t type_count,
                                LayoutConflictKind kind)
{
    BlockSet *blocks = NEW_ARRAY(BlockSet, type_count);
    BlockSet all = 0;
    for (size_t i = 0; i < builder->model->block_count; i++)
        all |= block_bit(i);
    for (size_t type = 0; type < type_count; type++) {
        blocks[type] = all;
        for (size_t i = 0; i < builder->prepared->problem->service_count; i++)
            if (builder->block_of[i] != UINT16_MAX && !may[i * type_count + type] &&
                !is_dropped(builder, kind, i))
                blocks[type] &= ~block_bit(builder->block_of[i]);
    }
    return blocks;
}

/* Keeps only the smallest of sets that contain each other. */
static void add_minimal(BlockSet *sets, size_t *count, BlockSet set)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++)
        if (block_is_subset(sets[i], set))
            return;
    for (size_t i = 0; i < *count; i++)
        if (!block_is_subset(set, sets[i]))
            sets[kept++] = sets[i];
    sets[kept++] = set;
    *count = kept;
}

static void add_maximal(BlockSet *sets, size_t *count, BlockSet set)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++)
        if (block_is_subset(set, sets[i]))
            return;
    for (size_t i = 0; i < *count; i++)
        if (!block_is_subset(sets[i], set))
            sets[kept++] = sets[i];
    sets[kept++] = set;
    *count = kept;
}

static void make_conflicts(Builder *builder)
{
    const Prepared *prepared = builder->prepared;
    builder->conflicts = NEW_ARRAY(BlockSet, prepared->problem->cant_coexist_count);
    for (size_t i = 0; i < prepared->problem->cant_coexist_count; i++) {
        if (!prepared->cant[i] || is_dropped(builder, LAYOUT_CONFLICT_CANT_COEXIST, i))
            continue;
        BlockSet conflict = 0;
        for (size_t k = 0; k < prepared->cant_counts[i]; k++)
            conflict |= block_bit(builder->block_of[prepared->cant[i][k]]);
        add_minimal(builder->conflicts, &builder->conflict_count, conflict);
    }
}

/* The conflicts as they bind nodes that have `base`; false when the base itself breaks one. */
static bool make_family_conflicts(const Builder *builder, Family *family, BlockSet base)
{
    _cleanup_free_ BlockSet *links = NEW_ARRAY(BlockSet, builder->conflict_count);
    size_t count = 0;
    for (size_t i = 0; i < builder->conflict_count; i++) {
        if (block_is_subset(builder->conflicts[i], base))
            return false;
        add_minimal(links, &count, builder->conflicts[i] & ~base);
    }
    family->larger = NEW_ARRAY(BlockSet, count);
    for (size_t i = 0; i < count; i++) {
        size_t first = block_next(links[i], 0);
        switch (block_count(links[i])) {
        case 1:
            for (size_t k = 0; k < family->mask_count; k++)
                family->masks[k] &= ~links[i];
            break;
        case 2: {
            size_t second = block_next(links[i], first + 1);
            family->pairs[first] |= block_bit(second);
            family->pairs[second] |= block_bit(first);
            break;
        }
        default:
            family->larger[family->larger_count++] = links[i];
        }
    }
    family->all = 0;
    for (size_t i = 0; i < family->mask_count; i++)
        family->all |= family->masks[i];
    return true;
}

static int make_new_family(Builder *builder)
{
    const Prepared *prepared = builder->prepared;
    Model *model = builder->model;
    Family *family = &model->slots[0].family;
    _cleanup_free_ BlockSet *hardware = NEW_ARRAY(BlockSet, prepared->hardware.candidate_count);
    _cleanup_free_ BlockSet *images = NEW_ARRAY(BlockSet, prepared->images.candidate_count);
    size_t hardware_count = 0, image_count = 0;
    for (size_t i = 0; i < prepared->hardware.candidate_count; i++)
        add_maximal(hardware, &hardware_count, model->hardware_blocks[i]);
    for (size_t i = 0; i < prepared->images.candidate_count; i++)
        add_maximal(images, &image_count, model->image_blocks[i]);
    family->masks = NEW_ARRAY(BlockSet, hardware_count * image_count);
    for (size_t i = 0; i < hardware_count; i++)
        for (size_t k = 0; k < image_count; k++) {
            if (!budget_step(model->budget, 1 + family->mask_count / 16))
                return -ETIME;
            add_maximal(family->masks, &family->mask_count, hardware[i] & images[k]);
        }
    (void)make_family_conflicts(builder, family, 0); /* no conflict is empty */
    return 0;
}

/* Fills the slot of an existing class; false when its nodes cannot stay as they must. */
static bool make_class_slot(const Builder *builder, Slot *slot, size_t class_index)
{
    const Prepared *prepared = builder->prepared;
    const LayoutClass *class = &prepared->problem->existing[class_index];
    const Model *model = builder->model;
    size_t services = 0, unconstrained = 0;
    for (size_t i = 0; i < class->services.count; i++) {
        uint16_t block = builder->block_of[prepared->class_services[class_index][i]];
        if (block == UINT16_MAX)
            unconstrained++;
        else
            slot->base |= block_bit(block);
    }
    BLOCKS_FOREACH(b, slot->base)
    services += model->blocks[b].service_count;
    slot->base_size = services;
    slot->existing = (int)class_index;
    slot->count = class->count;
    slot->may_remove = class->may_remove;
    slot->hardware = prepared->class_hardware[class_index];
    slot->image = prepared->class_image[class_index];
    /* What its services force on a node is only possible where nodes may take more. */
    if (!class->may_extend &&
        (services + unconstrained != class->services.count || unconstrained != model->unconstrained_count))
        return false;
    BlockSet allowed = model->hardware_blocks[slot->hardware] & model->image_blocks[slot->image];
    if (!block_is_subset(slot->base, allowed))
        return false;
    slot->family.masks = NEW_ARRAY(BlockSet, 1);
    slot->family.mask_count = 1;
    slot->family.masks[0] = class->may_extend ? allowed & ~slot->base : 0;
    return make_family_conflicts(builder, &slot->family, slot->base);
}

static void slot_done(Slot *slot)
{
    free(slot->family.masks);
    free(slot->family.larger);
}

/* Existing classes become slots; those that cannot stay must be among the removed. */
static void make_slots(Builder *builder, State *state)
{
    const LayoutProblem *problem = builder->prepared->problem;
    Model *model = builder->model;
    bool is_count_free = is_dropped(builder, LAYOUT_CONFLICT_NODE_COUNT, 0);
    int64_t existing = 0, must_go = 0;
    for (size_t i = 0; i < problem->existing_count; i++) {
        const LayoutClass *class = &problem->existing[i];
        if (class->count == 0)
            continue;
        existing += class->count;
        Slot *slot = &model->slots[model->slot_count];
        if (make_class_slot(builder, slot, i)) {
            state->open[model->slot_count++] = class->count;
            BLOCKS_FOREACH(b, slot->base)
            state->placed[b] += class->count;
            continue;
        }
        slot_done(slot);
        *slot = (Slot){0};
        must_go += class->count;
        if (!class->may_remove)
            model->is_impossible = true;
    }
    model->must_go = must_go;
    if (is_count_free) {
        state->removals_most = MAX(existing - must_go - 1, 0);
        return;
    }
    state->open[0] = MAX((int64_t)problem->node_count - existing, 0);
    state->removals_least = state->removals_most = MAX(existing - (int64_t)problem->node_count, 0) - must_go;
    if (state->removals_least < 0)
        model->is_impossible = true;
}

/* How many of a block's services the cluster already has: what placing it on an existing node moves. */
static void count_moves(const Builder *builder)
{
    const Prepared *prepared = builder->prepared;
    _cleanup_free_ bool *is_counted = NEW_ARRAY(bool, prepared->problem->service_count);
    for (size_t i = 0; i < prepared->problem->existing_count; i++)
        for (size_t k = 0; k < prepared->problem->existing[i].services.count; k++) {
            uint16_t service = prepared->class_services[i][k];
            if (builder->block_of[service] == UINT16_MAX || is_counted[service])
                continue;
            is_counted[service] = true;
            builder->model->blocks[builder->block_of[service]].moves++;
            builder->model->movable |= block_bit(builder->block_of[service]);
        }
}

int model_make(const Prepared *prepared, const ConflictItem *items, size_t item_count, Budget *budget,
               Model **ret_model, State *ret_state, Error *error)
{
    const LayoutProblem *problem = prepared->problem;
    _cleanup_model_ Model *model = NEW(Model);
    _cleanup_(builder_done)
        Builder builder = {.prepared = prepared, .items = items, .item_count = item_count, .model = model};
    State state = {0};
    model->problem = problem;
    model->budget = budget;
    model->slots = NEW_ARRAY(Slot, problem->existing_count + 1);
    model->proofs = NEW_ARRAY(Proof, PROOFS_MAX);
    model->slot_count = 1;
    model->slots[0].existing = -1;
    builder.leader = NEW_ARRAY(uint16_t, problem->service_count);
    builder.block_of = NEW_ARRAY(uint16_t, problem->service_count);
    index_items(&builder);
    merge_services(&builder);
    int r = make_blocks(&builder, error);
    if (r < 0)
        return r;
    apply_quantities(&builder);
    model->hardware_blocks =
        allowed_blocks(&builder, prepared->may_hardware, prepared->hardware.count, LAYOUT_CONFLICT_HARDWARE);
    model->image_blocks =
        allowed_blocks(&builder, prepared->may_image, prepared->images.count, LAYOUT_CONFLICT_IMAGES);
    make_conflicts(&builder);
    r = make_new_family(&builder);
    if (r < 0)
        return r;
    count_moves(&builder);
    make_slots(&builder, &state);
    *ret_state = state;
    *ret_model = TAKE_PTR(model);
    return 0;
}

Model *model_free(Model *model)
{
    if (!model)
        return NULL;
    for (size_t i = 0; model->blocks && i < model->block_count; i++)
        free(model->blocks[i].services);
    for (size_t i = 0; i < model->slot_count; i++)
        slot_done(&model->slots[i]);
    free(model->blocks);
    free(model->unconstrained);
    free(model->hardware_blocks);
    free(model->image_blocks);
    free(model->slots);
    free(model->proofs);
    free(model);
    return NULL;
}

BlockSet slot_allowed(const Model *model, size_t slot, const State *state)
{
    BlockSet all = model->slots[slot].family.all;
    return slot > 0 && state->moves == 0 ? all & ~model->movable : all;
}
