/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Small layout problems made from a stream of numbers: seeded ones in the tests, fuzzer's bytes in the fuzz
 * target. All storage is inside of the Small. */

#include "base/string.h"
#include "domain/layout/layout.h"

enum { SMALL_SERVICES = 6, SMALL_TYPES = 3, SMALL_SETS = 4, SMALL_CLASSES = 3 };

/* The next number below limit (limit > 0). */
typedef unsigned (*SmallSource)(void *context, unsigned limit);

typedef struct Small {
    LayoutProblem problem;
    LayoutService services[SMALL_SERVICES];
    LayoutNames must[SMALL_SETS], cant[SMALL_SETS];
    LayoutClass classes[SMALL_CLASSES];
    const char *members[2 * SMALL_SETS][SMALL_SERVICES + 1];
    const char *types[2 * SMALL_SERVICES][SMALL_TYPES];
    const char *preferences[2][SMALL_TYPES];
    const char *class_services[SMALL_CLASSES][SMALL_SERVICES];
} Small;

static const char *const small_names[SMALL_SERVICES + 1] = {"c", "a", "e", "b", "f", "d", "absent"};
static const char *const small_hardware[SMALL_TYPES] = {"mid", "big", "small"};
static const char *const small_images[SMALL_TYPES] = {"deb", "alp", "sles"};

typedef struct SmallShape {
    unsigned services, nodes, hardware, images, classes;
} SmallShape;

static inline LayoutNames small_subset(const char **storage, const char *const *names, unsigned mask)
{
    size_t count = 0;
    for (unsigned i = 0; mask >> i; i++)
        if (mask >> i & 1)
            storage[count++] = names[i];
    return (LayoutNames){.items = storage, .count = count};
}

static inline void small_service(Small *small, unsigned index, const SmallShape *shape, SmallSource next,
                                 void *context)
{
    LayoutService *service = &small->services[index];
    *service = (LayoutService){.name = small_names[index], .maximum = LAYOUT_UNLIMITED};
    service->is_constrained = next(context, 5) > 0;
    if (!service->is_constrained)
        return;
    if (next(context, 2)) {
        service->is_minimum_stated = true;
        service->minimum = next(context, 3);
    }
    if (next(context, 2))
        service->maximum = MAX(service->minimum, 1U) + next(context, 3) - (next(context, 12) == 0);
    if (next(context, 8) == 0) {
        service->has_quantity = true;
        service->quantity = next(context, 4);
    }
    if (next(context, 3) == 0)
        service->hardware = small_subset(small->types[2 * index], small_hardware,
                                         1 + next(context, (1U << shape->hardware) - 1));
    if (next(context, 4) == 0)
        service->images = small_subset(small->types[2 * index + 1], small_images,
                                       1 + next(context, (1U << shape->images) - 1));
}

static inline void small_sets(Small *small, LayoutNames *sets, size_t *ret_count, unsigned first,
                              const SmallShape *shape, SmallSource next, void *context)
{
    *ret_count = next(context, first == 0 ? 3 : SMALL_SETS + 1);
    for (size_t i = 0; i < *ret_count; i++) {
        unsigned mask = 0, members = 2 + (next(context, 3) == 0);
        for (unsigned k = 0; k < members; k++)
            mask |= 1U << next(context, shape->services);
        sets[i] = small_subset(small->members[first + i], small_names, mask);
        if (next(context, 10) == 0)
            small->members[first + i][sets[i].count++] = "absent";
    }
}

static inline void small_class(Small *small, unsigned index, const SmallShape *shape, SmallSource next,
                               void *context)
{
    LayoutClass *class = &small->classes[index];
    unsigned mask = 1 + next(context, (1U << shape->services) - 1);
    if (next(context, 2)) /* small bases are possible more often */
        mask = 1U << next(context, shape->services);
    for (unsigned i = 0; i < shape->services; i++)
        if (!small->services[i].is_constrained && next(context, 6))
            mask |= 1U << i;
    *class = (LayoutClass){
        .services = small_subset(small->class_services[index], small_names, mask),
        .hardware = next(context, 8) ? small_hardware[next(context, shape->hardware)] : "old",
        .image = small_images[next(context, shape->images)],
        .count = 1 + next(context, 2),
        .may_extend = next(context, 2),
        .may_remove = next(context, 2),
    };
}

static inline void small_make(Small *small, const SmallShape *shape, SmallSource next, void *context)
{
    *small = (Small){0};
    LayoutProblem *problem = &small->problem;
    for (unsigned i = 0; i < shape->services; i++)
        small_service(small, i, shape, next, context);
    small_sets(small, small->must, &problem->must_coexist_count, 0, shape, next, context);
    small_sets(small, small->cant, &problem->cant_coexist_count, SMALL_SETS, shape, next, context);
    for (unsigned i = 0; i < shape->classes; i++)
        small_class(small, i, shape, next, context);
    problem->services = small->services;
    problem->service_count = shape->services;
    problem->must_coexist = small->must;
    problem->cant_coexist = small->cant;
    problem->hardware = (LayoutNames){.items = small_hardware, .count = shape->hardware};
    problem->images = (LayoutNames){.items = small_images, .count = shape->images};
    if (next(context, 4) == 0)
        problem->hardware_preference =
            small_subset(small->preferences[0], small_hardware, next(context, 1U << SMALL_TYPES));
    if (next(context, 4) == 0)
        problem->image_preference =
            small_subset(small->preferences[1], small_images, next(context, 1U << SMALL_TYPES));
    problem->node_count = shape->nodes;
    problem->existing = small->classes;
    problem->existing_count = shape->classes;
}
