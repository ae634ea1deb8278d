/* SPDX-License-Identifier: Apache-2.0 */
/* The solver against brute force on seeded random problems: existence, the whole preference vector, fewest
 * moves, and that explanations are contradictions from which nothing can be missed (PR2, P7). */

#include "brute.h"
#include "small.h"
#include "support.h"

typedef struct Random {
    uint64_t state;
} Random;

static unsigned next_random(void *context, unsigned limit)
{
    Random *random = context;
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return (unsigned)(random->state >> 33) % limit;
}

static void print_names(const char *what, const LayoutNames *names)
{
    print_message("%s{", what);
    for (size_t i = 0; i < names->count; i++)
        print_message("%s%s", i ? "," : "", names->items[i]);
    print_message("}");
}

static void print_problem(const LayoutProblem *problem)
{
    print_message("n=%u\n", problem->node_count);
    for (size_t i = 0; i < problem->service_count; i++) {
        const LayoutService *service = &problem->services[i];
        print_message("  %s %s min %u%s max %d quantity %d", service->name,
                      service->is_constrained ? "constrained" : "free", service->minimum,
                      service->is_minimum_stated ? "!" : "", (int)service->maximum,
                      service->has_quantity ? (int)service->quantity : -1);
        print_names(" hw", &service->hardware);
        print_names(" im", &service->images);
        print_message("\n");
    }
    for (size_t i = 0; i < problem->must_coexist_count; i++)
        print_names(" must", &problem->must_coexist[i]);
    for (size_t i = 0; i < problem->cant_coexist_count; i++)
        print_names(" cant", &problem->cant_coexist[i]);
    print_names("\n  hw", &problem->hardware);
    print_names(" im", &problem->images);
    print_names(" prefer", &problem->hardware_preference);
    print_names(" prefer", &problem->image_preference);
    for (size_t i = 0; i < problem->existing_count; i++) {
        const LayoutClass *class = &problem->existing[i];
        print_names("\n  class ", &class->services);
        print_message(" %s %s x%u%s%s", class->hardware, class->image, class->count,
                      class->may_extend ? " extend" : "", class->may_remove ? " remove" : "");
    }
    print_message("\n");
}

static bool is_equal(const Brute *brute, const LayoutResult *result)
{
    size_t at = 0;
    for (unsigned i = 0; i < brute->option_count; i++) {
        const BruteOption *option = &brute->options[i];
        const char *names[32];
        size_t count;
        if (brute->best[i] == 0)
            continue;
        if (at == result->node_class_count)
            return false;
        const LayoutNodes *nodes = &result->nodes[at++];
        brute_sorted_names(brute->problem, option->services, names, &count);
        bool is_same = nodes->count == brute->best[i] && nodes->service_count == count &&
                       nodes->existing == option->existing &&
                       strcmp(nodes->hardware, option->hardware) == 0 &&
                       strcmp(nodes->image, option->image) == 0;
        for (size_t k = 0; k < count && is_same; k++)
            is_same = strcmp(nodes->services[k], names[k]) == 0;
        if (!is_same)
            return false;
    }
    return at == result->node_class_count;
}

static void print_answers(const Brute *brute, bool is_possible, const LayoutResult *result)
{
    const char *names[32];
    size_t count;
    for (unsigned i = 0; is_possible && i < brute->option_count; i++) {
        if (brute->best[i] == 0)
            continue;
        brute_sorted_names(brute->problem, brute->options[i].services, names, &count);
        print_message("  brute %u", brute->best[i]);
        print_names(" ", &(LayoutNames){.items = names, .count = count});
        print_message(" %s %s of %d\n", brute->options[i].hardware, brute->options[i].image,
                      brute->options[i].existing);
    }
    for (size_t i = 0; i < result->node_class_count; i++) {
        print_message("  ours  %u", result->nodes[i].count);
        print_names(
            " ", &(LayoutNames){.items = result->nodes[i].services, .count = result->nodes[i].service_count});
        print_message(" %s %s of %d\n", result->nodes[i].hardware, result->nodes[i].image,
                      result->nodes[i].existing);
    }
    print_message("  brute %s, ours %s: %s\n", is_possible ? "possible" : "impossible",
                  layout_status_to_string(result->status), result->summary ? result->summary : "");
}

static void compare(const LayoutProblem *problem, unsigned number, unsigned *possible)
{
    static Brute brute;
    _cleanup_layout_result_ LayoutResult result = {0};
    Error error = ERROR_INIT;
    bool is_possible = brute_solve(&brute, problem);
    *possible += is_possible;
    if (layout_solve(problem, &result, &error) < 0) {
        print_problem(problem);
        fail_msg("problem %u: %s %s", number, error.text, error.details);
    }
    if (result.status == (is_possible ? LAYOUT_SOLVED : LAYOUT_IMPOSSIBLE) &&
        (!is_possible || is_equal(&brute, &result)))
        return;
    print_problem(problem);
    print_answers(&brute, is_possible, &result);
    fail_msg("problem %u differs", number);
}

static void test_new_clusters(void **state)
{
    Random random = {.state = 0x9e3779b97f4a7c15};
    unsigned possible = 0;
    for (unsigned i = 0; i < 10000; i++) {
        Small small;
        SmallShape shape = {.services = 1 + next_random(&random, 4),
                            .nodes = 1 + next_random(&random, 4),
                            .hardware = 1 + next_random(&random, SMALL_TYPES),
                            .images = 1 + next_random(&random, 2)};
        if (i % 10 == 0)
            shape.services = 5;
        small_make(&small, &shape, next_random, &random);
        compare(&small.problem, i, &possible);
    }
    print_message("%u of 10000 possible\n", possible);
    assert_in_range(possible, 2500, 8500); /* both kinds are there */
}

static void test_existing_clusters(void **state)
{
    Random random = {.state = 0x2545f4914f6cdd1d};
    unsigned possible = 0;
    for (unsigned i = 0; i < 6000; i++) {
        Small small;
        SmallShape shape = {.services = 1 + next_random(&random, 4),
                            .nodes = 1 + next_random(&random, 5),
                            .hardware = 1 + next_random(&random, 2),
                            .images = 1 + next_random(&random, 2),
                            .classes = 1 + next_random(&random, SMALL_CLASSES)};
        small_make(&small, &shape, next_random, &random);
        compare(&small.problem, i, &possible);
    }
    print_message("%u of 6000 possible\n", possible);
    assert_in_range(possible, 500, 5500);
}

/* A solved cluster becomes the existing one; then it grows, shrinks, or gets services. */
static void test_changed_clusters(void **state)
{
    Random random = {.state = 0xda942042e4dd58b5};
    unsigned possible = 0, total = 0;
    for (unsigned i = 0; i < 6000; i++) {
        Small small;
        SmallShape shape = {.services = 2 + next_random(&random, 3),
                            .nodes = 1 + next_random(&random, 4),
                            .hardware = 1 + next_random(&random, 2),
                            .images = 1 + next_random(&random, 2)};
        small_make(&small, &shape, next_random, &random);
        size_t later = next_random(&random, 2); /* services that come later */
        small.problem.service_count -= later;
        _cleanup_layout_result_ LayoutResult first = {0};
        Error error = ERROR_INIT;
        assert_int_equal(layout_solve(&small.problem, &first, &error), 0);
        if (first.status != LAYOUT_SOLVED || first.node_class_count > SMALL_CLASSES)
            continue;
        unsigned change = next_random(&random, 3);
        for (size_t k = 0; k < first.node_class_count; k++)
            small.classes[k] = (LayoutClass){
                .services = {.items = first.nodes[k].services, .count = first.nodes[k].service_count},
                .hardware = first.nodes[k].hardware,
                .image = first.nodes[k].image,
                .count = first.nodes[k].count,
                .may_extend = later > 0 || next_random(&random, 2),
                .may_remove = change == 2};
        small.problem.existing_count = first.node_class_count;
        small.problem.service_count += later;
        if (change == 1)
            small.problem.node_count += 1 + next_random(&random, 2);
        else if (change == 2 && small.problem.node_count > 1)
            small.problem.node_count -= 1;
        compare(&small.problem, i, &possible);
        total++;
    }
    print_message("%u of %u possible\n", possible, total);
    assert_true(total > 2000 && possible > total / 3 && possible < total);
}

/* ---- explanations */

static void drop_from_set(LayoutNames *sets, size_t index)
{
    sets[index].count = 0;
}

/* The problem without one constraint. */
static void drop(Small *small, const LayoutConflict *conflict)
{
    LayoutService *service = &small->services[conflict->index];
    switch (conflict->kind) {
    case LAYOUT_CONFLICT_IMAGES:
        service->images.count = 0;
        break;
    case LAYOUT_CONFLICT_HARDWARE:
        service->hardware.count = 0;
        break;
    case LAYOUT_CONFLICT_MAXIMUM:
        service->maximum = LAYOUT_UNLIMITED;
        break;
    case LAYOUT_CONFLICT_MUST_COEXIST:
        drop_from_set(small->must, conflict->index);
        break;
    case LAYOUT_CONFLICT_CANT_COEXIST:
        drop_from_set(small->cant, conflict->index);
        break;
    case LAYOUT_CONFLICT_QUANTITY:
        service->has_quantity = false;
        break;
    case LAYOUT_CONFLICT_MINIMUM:
        service->minimum = 0;
        service->is_minimum_stated = true;
        break;
    case LAYOUT_CONFLICT_NODE_COUNT:
    case LAYOUT_CONFLICT_EXISTING:
    case _LAYOUT_CONFLICT_MAX:
        break;
    }
}

static bool is_possible_with(Small *small, uint32_t nodes)
{
    _cleanup_layout_result_ LayoutResult result = {0};
    small->problem.node_count = nodes;
    assert_int_equal(layout_solve(&small->problem, &result, NULL), 0);
    assert_int_not_equal(result.status, LAYOUT_GAVE_UP);
    return result.status == LAYOUT_SOLVED;
}

static bool is_possible(Small *small, bool is_count_free)
{
    uint32_t nodes = small->problem.node_count;
    bool is_found = is_possible_with(small, nodes);
    for (uint32_t n = 1; is_count_free && !is_found && n < 24; n++)
        is_found = is_possible_with(small, n);
    small->problem.node_count = nodes;
    return is_found;
}

static bool is_in(const LayoutResult *result, LayoutConflictKind kind, size_t index)
{
    for (size_t i = 0; i < result->conflict_count; i++)
        if (result->conflicts[i].kind == kind && result->conflicts[i].index == index)
            return true;
    return false;
}

/* Everything that the conflict does not name is dropped: it must still be impossible. */
static void check_contradiction(const Small *original, const LayoutResult *result)
{
    Small small = *original;
    small.problem.services = small.services;
    small.problem.must_coexist = small.must;
    small.problem.cant_coexist = small.cant;
    small.problem.existing = small.classes;
    for (LayoutConflictKind kind = LAYOUT_CONFLICT_IMAGES; kind < _LAYOUT_CONFLICT_MAX; kind++) {
        size_t count = kind == LAYOUT_CONFLICT_MUST_COEXIST   ? small.problem.must_coexist_count
                       : kind == LAYOUT_CONFLICT_CANT_COEXIST ? small.problem.cant_coexist_count
                                                              : small.problem.service_count;
        for (size_t i = 0; i < count; i++)
            if (!is_in(result, kind, i) &&
                (kind == LAYOUT_CONFLICT_MUST_COEXIST || kind == LAYOUT_CONFLICT_CANT_COEXIST ||
                 small.services[i].is_constrained))
                drop(&small, &(LayoutConflict){.kind = kind, .index = i});
    }
    assert_false(is_possible(&small, !is_in(result, LAYOUT_CONFLICT_NODE_COUNT, 0)));
}

static void check_minimal(const Small *original, const LayoutResult *result)
{
    assert_true(result->is_minimal);
    for (size_t i = 0; i < result->conflict_count; i++) {
        Small small = *original;
        small.problem.services = small.services;
        small.problem.must_coexist = small.must;
        small.problem.cant_coexist = small.cant;
        small.problem.existing = small.classes;
        if (result->conflicts[i].kind == LAYOUT_CONFLICT_EXISTING) {
            assert_int_equal(result->conflict_count, 1);
            return;
        }
        /* Of several reasons the result names one; only with that alone is each of its parts decisive. */
        for (LayoutConflictKind kind = LAYOUT_CONFLICT_IMAGES; kind < _LAYOUT_CONFLICT_MAX; kind++) {
            size_t count = kind == LAYOUT_CONFLICT_MUST_COEXIST   ? small.problem.must_coexist_count
                           : kind == LAYOUT_CONFLICT_CANT_COEXIST ? small.problem.cant_coexist_count
                                                                  : small.problem.service_count;
            for (size_t k = 0; k < count; k++)
                if (!is_in(result, kind, k) &&
                    (kind == LAYOUT_CONFLICT_MUST_COEXIST || kind == LAYOUT_CONFLICT_CANT_COEXIST ||
                     small.services[k].is_constrained))
                    drop(&small, &(LayoutConflict){.kind = kind, .index = k});
        }
        drop(&small, &result->conflicts[i]);
        bool is_count_free = result->conflicts[i].kind == LAYOUT_CONFLICT_NODE_COUNT ||
                             !is_in(result, LAYOUT_CONFLICT_NODE_COUNT, 0);
        if (!is_possible(&small, is_count_free)) {
            print_problem(&original->problem);
            fail_msg("'%s' can be missed in: %s", result->conflicts[i].sentence, result->summary);
        }
    }
}

static void test_explanations(void **state)
{
    Random random = {.state = 0x853c49e6748fea9b};
    unsigned explained = 0;
    for (unsigned i = 0; i < 4000; i++) {
        Small small;
        SmallShape shape = {.services = 1 + next_random(&random, 5),
                            .nodes = 1 + next_random(&random, 4),
                            .hardware = 1 + next_random(&random, 2),
                            .images = 1 + next_random(&random, 2),
                            .classes = i % 3 == 0 ? 1 + next_random(&random, 2) : 0};
        small_make(&small, &shape, next_random, &random);
        /* What a set names stays constrained when the set is dropped. */
        for (size_t k = 0; k < small.problem.service_count; k++) {
            unsigned everywhere = brute_everywhere(&small.problem);
            small.services[k].is_constrained = !(everywhere >> k & 1);
        }
        _cleanup_layout_result_ LayoutResult result = {0};
        assert_int_equal(layout_solve(&small.problem, &result, NULL), 0);
        if (result.status != LAYOUT_IMPOSSIBLE)
            continue;
        assert_true(result.conflict_count > 0);
        assert_non_null(result.summary);
        check_contradiction(&small, &result);
        check_minimal(&small, &result);
        explained++;
    }
    print_message("%u explained\n", explained);
    assert_true(explained > 800);
}

/* ---- the smallest number of machines, where greed often errs */

enum { DENSE_SERVICES = 7, DENSE_SETS = 14, DENSE_STATES = 2187 /* 3 to the 7th */ };

typedef struct Dense {
    LayoutProblem problem;
    LayoutService services[DENSE_SERVICES];
    LayoutNames cant[DENSE_SETS];
    const char *members[DENSE_SETS][DENSE_SERVICES];
    const char *types[DENSE_SERVICES][SMALL_TYPES];
} Dense;

static const char *const dense_names[DENSE_SERVICES] = {"a", "b", "c", "d", "e", "f", "g"};

static void dense_make(Dense *dense, Random *random)
{
    *dense = (Dense){0};
    for (unsigned i = 0; i < DENSE_SERVICES; i++) {
        dense->services[i] = (LayoutService){.name = dense_names[i],
                                             .is_constrained = true,
                                             .is_minimum_stated = true,
                                             .minimum = 1 + next_random(random, 2),
                                             .maximum = LAYOUT_UNLIMITED};
        if (next_random(random, 4) == 0)
            dense->services[i].hardware = small_subset(dense->types[i], small_hardware,
                                                       1 + next_random(random, (1U << SMALL_TYPES) - 1));
    }
    size_t sets = 5 + next_random(random, DENSE_SETS - 4);
    for (size_t i = 0; i < sets; i++) {
        unsigned mask = 0, members = 2 + (next_random(random, 4) == 0);
        while ((unsigned)__builtin_popcount(mask) < members)
            mask |= 1U << next_random(random, DENSE_SERVICES);
        dense->cant[i] = small_subset(dense->members[i], dense_names, mask);
    }
    dense->problem = (LayoutProblem){.services = dense->services,
                                     .service_count = DENSE_SERVICES,
                                     .cant_coexist = dense->cant,
                                     .cant_coexist_count = sets,
                                     .hardware = {.items = small_hardware, .count = SMALL_TYPES},
                                     .images = {.items = small_images, .count = 1}};
}

/* By dynamic programming over what is still needed of each service. */
static unsigned dense_smallest(const Dense *dense)
{
    static unsigned machines[DENSE_STATES];
    unsigned sets[1U << DENSE_SERVICES], set_count = 0, goal = 0;
    for (unsigned set = 1; set < 1U << DENSE_SERVICES; set++)
        if (brute_is_valid(&dense->problem, set) && brute_first_type(&dense->problem, set, true))
            sets[set_count++] = set;
    for (unsigned i = 0, power = 1; i < DENSE_SERVICES; i++, power *= 3)
        goal += dense->services[i].minimum * power;
    for (unsigned state = 1; state <= goal; state++) {
        machines[state] = UINT32_MAX;
        for (unsigned k = 0; k < set_count; k++) {
            unsigned rest = state;
            for (unsigned i = 0, power = 1; i < DENSE_SERVICES; i++, power *= 3)
                if ((sets[k] >> i & 1) && state / power % 3 > 0)
                    rest -= power;
            if (rest != state && machines[rest] != UINT32_MAX)
                machines[state] = MIN(machines[state], machines[rest] + 1);
        }
    }
    return machines[goal];
}

static void test_smallest_count(void **state)
{
    Random random = {.state = 0x6a09e667f3bcc909};
    unsigned covered = 0;
    for (unsigned i = 0; i < 400; i++) {
        Dense dense;
        dense_make(&dense, &random);
        unsigned smallest = dense_smallest(&dense);
        for (unsigned nodes = MAX(smallest, 2U) - 1; nodes <= smallest && smallest != UINT32_MAX; nodes++) {
            _cleanup_layout_result_ LayoutResult result = {0};
            dense.problem.node_count = nodes;
            assert_int_equal(layout_solve(&dense.problem, &result, NULL), 0);
            if (result.status != (nodes < smallest ? LAYOUT_IMPOSSIBLE : LAYOUT_SOLVED)) {
                print_problem(&dense.problem);
                fail_msg("smallest is %u", smallest);
            }
            if (nodes < smallest) {
                _cleanup_free_ char *start =
                    string_format("Needs at least %u machines, not %u: ", smallest, nodes);
                assert_memory_equal(result.summary, start, strlen(start));
            }
            covered++;
        }
    }
    assert_true(covered > 700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_clusters),     cmocka_unit_test(test_existing_clusters),
        cmocka_unit_test(test_changed_clusters), cmocka_unit_test(test_explanations),
        cmocka_unit_test(test_smallest_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
