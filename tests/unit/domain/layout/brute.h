/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The layout problem by brute force: every content of every node is listed and every vector of counts tried,
 * in order of preference. Written from the rules in layout.h alone. */

#include <stdlib.h>

#include "base/string.h"
#include "domain/layout/layout.h"

enum { BRUTE_OPTIONS = 512 };

typedef struct BruteOption {
    unsigned services; /* bit i: problem->services[i] */
    const char *hardware, *image;
    int existing; /* class or -1 */
    unsigned moves;
} BruteOption;

typedef struct Brute {
    const LayoutProblem *problem;
    BruteOption options[BRUTE_OPTIONS];
    unsigned option_count;
    unsigned counts[BRUTE_OPTIONS], best[BRUTE_OPTIONS];
    unsigned least_removed, moves_limit, fewest_moves;
    bool wants_fewest, is_found;
} Brute;

static inline bool brute_has(const LayoutNames *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

/* Bits of a set's present members; *ret_all: all are present. */
static inline unsigned brute_bits(const LayoutProblem *problem, const LayoutNames *names, bool *ret_all)
{
    unsigned bits = 0;
    *ret_all = true;
    for (size_t i = 0; i < names->count; i++) {
        bool is_present = false;
        for (size_t k = 0; k < problem->service_count; k++)
            if (strcmp(problem->services[k].name, names->items[i]) == 0) {
                bits |= 1U << k;
                is_present = true;
            }
        *ret_all = *ret_all && is_present;
    }
    return bits;
}

static inline unsigned brute_everywhere(const LayoutProblem *problem)
{
    unsigned bits = 0;
    for (size_t i = 0; i < problem->service_count; i++) {
        const LayoutService *service = &problem->services[i];
        bool is_named = false;
        for (size_t k = 0; k < problem->must_coexist_count; k++)
            is_named = is_named || brute_has(&problem->must_coexist[k], service->name);
        for (size_t k = 0; k < problem->cant_coexist_count; k++)
            is_named = is_named || brute_has(&problem->cant_coexist[k], service->name);
        if (!service->is_constrained && !service->has_quantity && !is_named)
            bits |= 1U << i;
    }
    return bits;
}

static inline bool brute_is_valid(const LayoutProblem *problem, unsigned services)
{
    bool is_complete;
    if (!services || (brute_everywhere(problem) & ~services))
        return false;
    for (size_t i = 0; i < problem->must_coexist_count; i++) {
        unsigned set = brute_bits(problem, &problem->must_coexist[i], &is_complete);
        if ((services & set) && (services & set) != set)
            return false;
    }
    for (size_t i = 0; i < problem->cant_coexist_count; i++) {
        unsigned set = brute_bits(problem, &problem->cant_coexist[i], &is_complete);
        if (is_complete && set && (services & set) == set)
            return false;
    }
    return true;
}

static inline bool brute_allows(const LayoutProblem *problem, unsigned services, const char *type,
                                bool is_hardware)
{
    for (size_t i = 0; i < problem->service_count; i++) {
        const LayoutNames *allowed =
            is_hardware ? &problem->services[i].hardware : &problem->services[i].images;
        if ((services >> i & 1) && allowed->count > 0 && !brute_has(allowed, type))
            return false;
    }
    return true;
}

static inline int brute_compare_types(const LayoutNames *preference, const char *a, const char *b)
{
    size_t left = preference->count, right = preference->count;
    for (size_t i = preference->count; i-- > 0;) {
        left = strcmp(preference->items[i], a) == 0 ? i : left;
        right = strcmp(preference->items[i], b) == 0 ? i : right;
    }
    return left != right ? (left < right ? -1 : 1) : strcmp(a, b);
}

static inline const char *brute_first_type(const LayoutProblem *problem, unsigned services, bool is_hardware)
{
    const LayoutNames *types = is_hardware ? &problem->hardware : &problem->images;
    const LayoutNames *preference = is_hardware ? &problem->hardware_preference : &problem->image_preference;
    const char *best = NULL;
    for (size_t i = 0; i < types->count; i++)
        if (brute_allows(problem, services, types->items[i], is_hardware) &&
            (!best || brute_compare_types(preference, types->items[i], best) < 0))
            best = types->items[i];
    return best;
}

static inline unsigned brute_class_bits(const LayoutProblem *problem, size_t class)
{
    bool is_complete;
    return brute_bits(problem, &problem->existing[class].services, &is_complete);
}

/* What must-coexist sets force onto a node with these services. */
static inline unsigned brute_closure(const LayoutProblem *problem, unsigned services)
{
    bool is_complete;
    for (unsigned before = 0; before != services;) {
        before = services;
        for (size_t i = 0; i < problem->must_coexist_count; i++) {
            unsigned set = brute_bits(problem, &problem->must_coexist[i], &is_complete);
            services |= (services & set) ? set : 0;
        }
    }
    return services;
}

static const LayoutProblem *brute_sorting; /* for qsort */

static inline void brute_sorted_names(const LayoutProblem *problem, unsigned services, const char **names,
                                      size_t *ret_count)
{
    *ret_count = 0;
    for (size_t i = 0; i < problem->service_count; i++) {
        if (!(services >> i & 1))
            continue;
        size_t at = (*ret_count)++;
        for (; at > 0 && strcmp(names[at - 1], problem->services[i].name) > 0; at--)
            names[at] = names[at - 1];
        names[at] = problem->services[i].name;
    }
}

static inline int brute_compare(const void *a, const void *b)
{
    const BruteOption *left = a, *right = b;
    const LayoutProblem *problem = brute_sorting;
    const char *left_names[32], *right_names[32];
    size_t left_count, right_count;
    brute_sorted_names(problem, left->services, left_names, &left_count);
    brute_sorted_names(problem, right->services, right_names, &right_count);
    if (left_count != right_count)
        return left_count > right_count ? -1 : 1;
    int order = brute_compare_types(&problem->hardware_preference, left->hardware, right->hardware);
    if (order == 0)
        order = brute_compare_types(&problem->image_preference, left->image, right->image);
    for (size_t i = 0; i < left_count && order == 0; i++)
        order = strcmp(left_names[i], right_names[i]);
    if (order != 0)
        return order;
    unsigned left_source = (unsigned)left->existing, right_source = (unsigned)right->existing;
    return left_source < right_source ? -1 : left_source > right_source; /* -1, new nodes, is the largest */
}

static inline void brute_list(Brute *brute)
{
    const LayoutProblem *problem = brute->problem;
    unsigned everywhere = brute_everywhere(problem), present = 0;
    for (size_t j = 0; j < problem->existing_count; j++)
        present |= brute_class_bits(problem, j);
    for (unsigned services = 1; services < 1U << problem->service_count; services++) {
        if (!brute_is_valid(problem, services))
            continue;
        const char *hardware = brute_first_type(problem, services, true);
        const char *image = brute_first_type(problem, services, false);
        if (hardware && image)
            brute->options[brute->option_count++] =
                (BruteOption){.services = services, .hardware = hardware, .image = image, .existing = -1};
        for (size_t j = 0; j < problem->existing_count; j++) {
            const LayoutClass *class = &problem->existing[j];
            unsigned base = brute_class_bits(problem, j);
            if ((base & ~services) || (!class->may_extend && services != base) ||
                !brute_allows(problem, services, class->hardware, true) ||
                !brute_allows(problem, services, class->image, false))
                continue;
            unsigned moved = services & ~brute_closure(problem, base) & present & ~everywhere;
            brute->options[brute->option_count++] =
                (BruteOption){.services = services,
                              .hardware = class->hardware,
                              .image = class->image,
                              .existing = (int)j,
                              .moves = (unsigned)__builtin_popcount(moved)};
        }
    }
    brute_sorting = problem;
    qsort(brute->options, brute->option_count, sizeof(BruteOption), brute_compare);
}

static inline bool brute_is_complete(const Brute *brute)
{
    const LayoutProblem *problem = brute->problem;
    unsigned everywhere = brute_everywhere(problem);
    for (size_t i = 0; i < problem->service_count; i++) {
        const LayoutService *service = &problem->services[i];
        unsigned count = 0;
        if (everywhere >> i & 1)
            continue;
        for (unsigned k = 0; k < brute->option_count; k++)
            count += (brute->options[k].services >> i & 1) ? brute->counts[k] : 0;
        unsigned minimum = service->is_minimum_stated ? service->minimum : MAX(service->minimum, 1U);
        if (count < minimum || count > service->maximum ||
            (service->has_quantity && count != service->quantity))
            return false;
    }
    for (size_t j = 0; j < problem->existing_count; j++) {
        unsigned kept = 0;
        for (unsigned k = 0; k < brute->option_count; k++)
            kept += brute->options[k].existing == (int)j ? brute->counts[k] : 0;
        if (kept > problem->existing[j].count ||
            (!problem->existing[j].may_remove && kept != problem->existing[j].count))
            return false;
    }
    return true;
}

static inline void brute_search(Brute *brute, unsigned at, unsigned left, unsigned left_new, unsigned moves)
{
    if (brute->is_found || moves > brute->moves_limit)
        return;
    if (left == 0) {
        if (left_new > 0 || !brute_is_complete(brute))
            return;
        if (brute->wants_fewest) {
            brute->fewest_moves = MIN(brute->fewest_moves, moves);
            brute->moves_limit = MIN(brute->moves_limit, moves); /* equal ones may pass, fewer replace */
            return;
        }
        brute->is_found = true;
        for (unsigned i = 0; i < brute->option_count; i++)
            brute->best[i] = brute->counts[i];
        return;
    }
    if (at == brute->option_count)
        return;
    const BruteOption *option = &brute->options[at];
    unsigned most = option->existing < 0
                        ? left_new
                        : MIN(left - left_new, brute->problem->existing[option->existing].count);
    /* No service over its maximum. */
    for (size_t i = 0; i < brute->problem->service_count; i++) {
        unsigned count = 0, maximum = brute->problem->services[i].maximum;
        if (!(option->services >> i & 1) || maximum == LAYOUT_UNLIMITED)
            continue;
        for (unsigned k = 0; k < at; k++)
            count += (brute->options[k].services >> i & 1) ? brute->counts[k] : 0;
        most = MIN(most, maximum > count ? maximum - count : 0);
    }
    for (unsigned times = most + 1; times-- > 0;) {
        brute->counts[at] = times;
        brute_search(brute, at + 1, left - times, option->existing < 0 ? left_new - times : left_new,
                     moves + times * option->moves);
    }
    brute->counts[at] = 0;
}

/* False: impossible. Else best[] are the counts of options[]. */
static inline bool brute_solve(Brute *brute, const LayoutProblem *problem)
{
    *brute = (Brute){.problem = problem, .moves_limit = UINT32_MAX / 2, .fewest_moves = UINT32_MAX};
    unsigned existing = 0;
    for (size_t j = 0; j < problem->existing_count; j++)
        existing += problem->existing[j].count;
    unsigned new = problem->node_count > existing ? problem->node_count - existing : 0;
    brute_list(brute);
    if (existing > 0) {
        brute->wants_fewest = true;
        brute_search(brute, 0, problem->node_count, new, 0);
        if (brute->fewest_moves == UINT32_MAX)
            return false;
        brute->wants_fewest = false;
        brute->moves_limit = brute->fewest_moves;
    }
    brute_search(brute, 0, problem->node_count, new, 0);
    return brute->is_found;
}
