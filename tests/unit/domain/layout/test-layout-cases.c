/* SPDX-License-Identifier: Apache-2.0 */
/* The solver on named cases: those that the source system's own tests state, with the right answer where it
 * was wrong there (PR2), changes of existing clusters, texts of explanations, refusals, the checker. Numbers
 * in comments are those of the reference list. */

#include "support.h"
#include "text.h"

static void expect(const char *source, const char *answer)
{
    _cleanup_text_ TextProblem text = {0};
    _cleanup_layout_result_ LayoutResult result = {0};
    Error error = ERROR_INIT;
    text_parse(&text, source);
    if (layout_solve(&text.problem, &result, &error) < 0)
        fail_msg("%s: %s", source, error.text);
    _cleanup_free_ char *got =
        result.status == LAYOUT_SOLVED ? text_of_result(&result) : string_duplicate(result.summary);
    assert_string_equal(got, answer);
}

/* Services: nn dn rm nm hbm rs zk app. */
static const char template_r[] = "hardware small medium large-mem large-cpu; images centos6 ubuntu12;"
                                 "service nn min 1 max 1 hw large-mem im centos6,ubuntu12;"
                                 "service dn min 1 max 50 hw medium,large-cpu im centos6,ubuntu12;"
                                 "service rm; service nm; service hbm; service rs;"
                                 "service zk min 1 max 5 hw small,medium im centos6;"
                                 "service app min 1 max 5 hw medium,large;"
                                 "must dn nm rs; must nn rm hbm;"
                                 "cant dn nn; cant dn zk; cant nn zk; cant dn app; cant nn app;";

static void expect_r(const char *more, const char *answer)
{
    _cleanup_free_ char *source = string_format("%s%s", template_r, more);
    expect(source, answer);
}

static void test_template_counts(void **state)
{
    /* 1, 2 */
    expect_r("nodes 5",
             "3 dn,nm,rs large-cpu/centos6; 1 hbm,nn,rm large-mem/centos6; 1 app,zk medium/centos6");
    expect_r("nodes 3",
             "1 dn,nm,rs large-cpu/centos6; 1 hbm,nn,rm large-mem/centos6; 1 app,zk medium/centos6");
    /* 3 */
    expect_r("nodes 10",
             "8 dn,nm,rs large-cpu/centos6; 1 hbm,nn,rm large-mem/centos6; 1 app,zk medium/centos6");
    /* 4: dn's maximum leaves the rest to app and zk */
    expect_r("nodes 54",
             "50 dn,nm,rs large-cpu/centos6; 1 hbm,nn,rm large-mem/centos6; 3 app,zk medium/centos6");
    /* the largest: 50 + 1 + 5 + 5 */
    expect_r("nodes 61",
             "50 dn,nm,rs large-cpu/centos6; 1 hbm,nn,rm large-mem/centos6; 5 app medium/centos6; "
             "5 zk medium/centos6");
}

static void test_template_limits(void **state)
{
    expect_r("nodes 62",
             "At most 61 of the 62 machines can get a service: 'nn' may be on at most 1 machine; 'dn' may "
             "be on at most 50 machines; 'zk' may be on at most 5 machines; 'app' may be on at most 5 "
             "machines; 'dn', 'nm' and 'rs' must share their machines; 'nn', 'rm' and 'hbm' must share "
             "their machines");
    expect_r("nodes 2",
             "Needs at least 3 machines, not 2: 'nn' and 'dn' must not share a machine; 'dn' and 'app' "
             "must not share a machine; 'nn' and 'app' must not share a machine; 'nn', 'dn' and 'app' each "
             "need 1 machine");
}

/* 8: constraints on services that are not there do not count */
static void test_absent_services(void **state)
{
    expect("hardware medium; images ubuntu12; nodes 3;"
           "service firewall free; service hosts free; service nn min 1 max 1; service dn; service nm;"
           "service rm min 1 max 1; must dn nm rs; cant nn snn; cant rm nm; cant nn dn; cant dn mysql; cant "
           "dn app;"
           "cant hbm rs",
           "2 dn,firewall,hosts,nm medium/ubuntu12; 1 firewall,hosts,nn,rm medium/ubuntu12");
}

/* 10, 11: one candidate only */
static void test_fixed_types(void **state)
{
    expect("hardware large-mem; images ubuntu12; nodes 5; service a; service b free",
           "5 a,b large-mem/ubuntu12");
    expect("hardware small; images centos6; nodes 5; service a; service b free", "5 a,b small/centos6");
}

/* 14, 15, 16: the choice of hardware and image */
static void test_type_preference(void **state)
{
    static const char source[] =
        "hardware small medium large huge large-mem; images centos6 ubuntu12 sl6; nodes 4;"
        "service app min 2 max 2 hw medium,large; service zk min 2 max 2 hw small,huge,medium; cant app zk;";
    _cleanup_free_ char *hardware = string_format("%sprefer-hardware small medium", source);
    _cleanup_free_ char *image = string_format("%sprefer-images sl6 ubuntu12", source);
    expect(source, "2 zk huge/centos6; 2 app large/centos6");
    expect(hardware, "2 zk small/centos6; 2 app medium/centos6");
    expect(image, "2 zk huge/sl6; 2 app large/sl6");
    expect("hardware big small; images x; nodes 2; service a hw small; service b hw small,big",
           "2 a,b small/x");
}

/* 35 to 48: answers of the source system, and the right ones where its were wrong */
static void test_small_cases(void **state)
{
    /* 35: it found nothing */
    expect("nodes 2; service a min 1 max 1; service b min 1 max 1", "1 a small/debian; 1 b small/debian");
    /* 37 */
    expect("nodes 2; service a min 1 max 1; service b min 1 max 1; cant a b",
           "1 a small/debian; 1 b small/debian");
    /* 38: it left y out in silence */
    expect("nodes 3; service x; service y; cant x y", "2 x small/debian; 1 y small/debian");
    expect("nodes 3; service x; service y min 0; cant x y", "3 x small/debian");
    /* 39: it left a out in silence */
    expect("nodes 2; service a max 0; service b", "These contradict each other: 'a' may be on at most 0 "
                                                  "machines; 'a' is asked for, so it needs a machine");
    expect("nodes 2; service a min 0 max 0; service b", "2 b small/debian");
    /* 40 */
    expect("nodes 2; service a; service b; must a b; cant a b",
           "These contradict each other: 'a' and 'b' must share their machines; 'a' and 'b' must not share a "
           "machine");
    /* 41 */
    expect("hardware s1 s2; nodes 2; service a hw s1; service b hw s2; must a b",
           "These contradict each other: 'a' allows only the hardware s1; 'b' allows only the hardware s2; "
           "'a' and 'b' "
           "must share their machines");
    /* 43 */
    expect("nodes 3; service db max 1; service base free", "1 base,db small/debian; 2 base small/debian");
    /* 7, 45 */
    expect("nodes 2; service s1 min 1 max 1; service s2; service s3; must s1 s2 s3",
           "At most 1 of the 2 machines can get a service: 's1' may be on at most 1 machine; 's1', 's2' and "
           "'s3' must "
           "share their machines");
    /* 47 */
    expect("nodes 2; service zk min 3 max 5",
           "Needs at least 3 machines, not 2: 'zk' needs at least 3 machines");
    /* 48 */
    expect("nodes 7; service zk min 3 max 5",
           "At most 5 of the 7 machines can get a service: 'zk' may be on at most 5 machines");
    /* A triple that must not meet still may in pairs. */
    expect("nodes 3; service a; service b; service c; cant a b c", "2 a,b small/debian; 1 a,c small/debian");
    expect("nodes 4; service web exactly 3; service db exactly 1; cant web db",
           "1 db small/debian; 3 web small/debian");
    expect("nodes 3; service a min 2; service b min 2; cant a b",
           "Needs at least 4 machines, not 3: 'a' and 'b' must not share a machine; 'a' and 'b' each need at "
           "least 2 "
           "machines");
    expect("nodes 3; service a exactly 4 max 3", "These contradict each other: 'a' may be on at most 3 "
                                                 "machines; 'a' is asked for on exactly 4 machines");
}

/* 26, 28, 30, 31: services come to a cluster; nodes keep what they have, none comes or goes */
static void test_add(void **state)
{
    expect_r("nodes 52; existing 1 large-mem centos6 extend with nn rm hbm; existing 50 medium centos6 "
             "extend with dn "
             "nm rs; existing 1 medium centos6 extend with app zk; service new min 1 max 1 hw large-mem; "
             "cant new app",
             "1 hbm,new,nn,rm large-mem/centos6 of 0; 50 dn,nm,rs medium/centos6 of 1; 1 app,zk "
             "medium/centos6 of 2");
    /* Nowhere to put zk without company that it must not have. */
    expect("hardware mem cpu; images x; nodes 3; service nn hw mem; service dn hw cpu; service zk;"
           "cant dn zk; cant nn zk; existing 1 mem x extend with nn; existing 2 cpu x extend with dn",
           "Needs at least 4 machines, not 3 (the existing machines keep what they have): 'dn' and 'zk' must "
           "not share "
           "a machine; 'nn' and 'zk' must not share a machine; 'zk' is asked for, so it needs a machine");
    expect(
        "nodes 6; service master max 1; service slave1; service slave2; cant master slave2; cant slave2 base;"
        "existing 1 small debian extend with master; existing 5 small debian extend with slave1",
        "5 slave1,slave2 small/debian of 1; 1 master small/debian of 0");
    expect("nodes 6; service s; service m max 1; service app; service base max 4; existing 3 small debian "
           "extend with "
           "s; existing 1 small debian extend with m; existing 2 small debian extend with app",
           "2 app,base small/debian of 2; 1 base,m small/debian of 1; 1 base,s small/debian of 0; 2 s "
           "small/debian of 0");
    /* A service of every node comes to every node; one that may take nothing more is in the way. */
    expect("nodes 2; service a; service agent free; existing 2 small debian extend with a",
           "2 a,agent small/debian of 0");
    expect("nodes 2; service a; service agent free; existing 2 small debian with a",
           "These contradict each other: the existing machines with 'a' cannot stay as they are: they lack "
           "services "
           "that belong on every machine");
    /* What must be together is completed. */
    expect("nodes 2; service a; service b; must a b; existing 1 small debian extend with a; existing 1 small "
           "debian "
           "extend with b",
           "1 a,b small/debian of 0; 1 a,b small/debian of 1");
}

static void test_grow(void **state)
{
    /* New nodes only; the old ones stay as they are. */
    expect("hardware big small; images debian; nodes 5; service web min 2; service db max 1; cant web db; "
           "existing 2 "
           "small debian extend with web; existing 1 old debian extend with db",
           "2 web big/debian; 1 db old/debian of 1; 2 web small/debian of 0");
    expect("nodes 4; service a max 2; service b max 1; existing 2 small debian with a; existing 1 small "
           "debian with b",
           "At most 3 of the 4 machines can get a service (the existing machines keep what they have): 'a' "
           "may be on "
           "at most 2 machines; 'b' may be on at most 1 machine");
}

static void test_shrink(void **state)
{
    expect("nodes 3; service web; service db; existing 5 small debian remove with web; existing 1 small "
           "debian remove "
           "with db",
           "1 db small/debian of 1; 2 web small/debian of 0");
    /* A fixed quantity says which go. */
    expect("nodes 4; service web exactly 2; service db; existing 4 small debian remove with web; existing 2 "
           "small "
           "debian remove with db",
           "2 db small/debian of 1; 2 web small/debian of 0");
    /* Room for one: the one that stays takes over, with the least movement. */
    expect("nodes 1; service a; service b; service c; existing 1 small debian extend remove with a b; "
           "existing 1 small "
           "debian extend remove with c",
           "1 a,b,c small/debian of 0");
    expect(
        "nodes 1; service a; service b; existing 1 small debian remove with a; existing 1 small debian "
        "remove with "
        "b",
        "1 machine cannot work (the existing machines keep what they have): 'a' and 'b' each need 1 machine");
    expect("nodes 1; service a; existing 2 small debian with a",
           "Needs at least 2 machines, not 1: so many existing ones may not be removed");
}

/* ---- covers that neither greed nor the linear program finds */

/* Mycielski's graph of the five-cycle: no triangle, yet four machines; the linear program says 2.9. */
static const char groetzsch[] =
    "service a1; service a2; service a3; service a4; service a5; service b1; service b2; service b3; service "
    "b4;"
    "service b5; service z; cant a1 a2; cant a2 a3; cant a3 a4; cant a4 a5; cant a5 a1; cant b1 a2; cant b1 "
    "a5;"
    "cant b2 a1; cant b2 a3; cant b3 a2; cant b3 a4; cant b4 a3; cant b4 a5; cant b5 a4; cant b5 a1;"
    "cant z b1; cant z b2; cant z b3; cant z b4; cant z b5;";

static LayoutStatus solve_text(const char *source, LayoutResult *result)
{
    _cleanup_text_ TextProblem text = {0};
    text_parse(&text, source);
    assert_int_equal(layout_solve(&text.problem, result, NULL), 0);
    LayoutStatus status = result->status;
    if (status == LAYOUT_SOLVED)
        assert_int_equal(layout_verify(&text.problem, result, NULL), 0);
    return status;
}

static void test_branching(void **state)
{
    _cleanup_free_ char *three = string_format("nodes 3;%s", groetzsch);
    _cleanup_free_ char *four = string_format("nodes 4;%s", groetzsch);
    _cleanup_layout_result_ LayoutResult no = {0}, yes = {0};
    assert_int_equal(solve_text(three, &no), LAYOUT_IMPOSSIBLE);
    assert_non_null(strstr(no.summary, "Needs at least 4 machines, not 3: "));
    assert_true(no.is_minimal);
    assert_int_equal(solve_text(four, &yes), LAYOUT_SOLVED);
}

/* A five-cycle with minimum k needs 2.5 k machines, rounded up. */
static void test_fractions(void **state)
{
    const unsigned minima[] = {1, 2, 3, 10, 11, 1000, 99999};
    for (size_t i = 0; i < ELEMENTSOF(minima); i++) {
        unsigned k = minima[i], needed = (5 * k + 1) / 2;
        for (unsigned n = needed - 1; n <= needed + 1; n++) {
            _cleanup_layout_result_ LayoutResult result = {0};
            _cleanup_free_ char *source =
                string_format("nodes %u; service a min %u; service b min %u; service c min %u; service d min "
                              "%u; service e min %u;"
                              "cant a b; cant b c; cant c d; cant d e; cant e a",
                              n, k, k, k, k, k);
            assert_int_equal(solve_text(source, &result), n >= needed ? LAYOUT_SOLVED : LAYOUT_IMPOSSIBLE);
        }
    }
}

/* ---- bounds, budget, determinism */

static char *many_services(unsigned count, const char *each)
{
    char *source = string_duplicate("");
    for (unsigned i = 0; i < count; i++) {
        char *longer = string_format("%sservice s%03u %s;", source, i, each);
        free(source);
        source = longer;
    }
    return source;
}

static void test_without_conflicts(void **state)
{
    _cleanup_free_ char *services = many_services(LAYOUT_BLOCKS_MAX, "min 2 max 50");
    _cleanup_free_ char *source = string_format("nodes 100;%s", services);
    _cleanup_layout_result_ LayoutResult result = {0};
    assert_int_equal(solve_text(source, &result), LAYOUT_SOLVED);
    /* One free place in each of 51 machines must be kept, since each needs a service. */
    assert_int_equal(result.nodes[0].count, 49);
    assert_int_equal(result.nodes[0].service_count, LAYOUT_BLOCKS_MAX);
    assert_int_equal(result.nodes[1].service_count, LAYOUT_BLOCKS_MAX - 50);
    assert_int_equal(result.nodes[2].service_count, 1);
}

/* Pairs that exclude each other, unrelated to others: 2 to the 30th maximal sets, but no product to search.
 */
static void test_many_small_conflicts(void **state)
{
    _cleanup_free_ char *services = many_services(60, "min 3");
    for (unsigned i = 0; i < 60; i += 2) {
        char *longer = string_format("%scant s%03u s%03u;", services, i, i + 1);
        free(services);
        services = longer;
    }
    _cleanup_free_ char *enough = string_format("nodes 1000;%s", services);
    _cleanup_free_ char *too_few = string_format("nodes 5;%s", services);
    _cleanup_layout_result_ LayoutResult yes = {0}, no = {0};
    assert_int_equal(solve_text(enough, &yes), LAYOUT_SOLVED);
    assert_int_equal(yes.nodes[0].count, 997);
    assert_int_equal(yes.nodes[0].service_count, 30);
    assert_int_equal(solve_text(too_few, &no), LAYOUT_IMPOSSIBLE);
    assert_non_null(strstr(no.summary, "Needs at least 6 machines, not 5: "));
    assert_true(no.steps < 1000000);
}

/* 20 constrained services, 5 kinds of hardware, 11 images, a third of all pairs in conflict. */
static char *large_problem(unsigned nodes)
{
    char *source =
        string_format("nodes %u;hardware h1 h2 h3 h4 h5;images i1 i2 i3 i4 i5 i6 i7 i8 i9 i10 i11;", nodes);
    for (unsigned i = 0; i < 20; i++) {
        char *longer = string_format(
            "%sservice s%02u min %u max %u hw h%u,h%u,h%u im i%u,i%u,i%u,i%u,i%u,i%u;", source, i, 1 + i % 4,
            nodes / 2 + i, 1 + i % 5, 1 + (i + 1) % 5, 1 + (i + 2) % 5, 1 + i % 11, 1 + (i + 2) % 11,
            1 + (i + 4) % 11, 1 + (i + 5) % 11, 1 + (i + 7) % 11, 1 + (i + 8) % 11);
        free(source);
        source = longer;
    }
    for (unsigned i = 0; i < 20; i++)
        for (unsigned k = i + 1; k < 20; k++) {
            if ((i * 7 + k * 13) % 3)
                continue;
            char *longer = string_format("%scant s%02u s%02u;", source, i, k);
            free(source);
            source = longer;
        }
    return source;
}

/* P7: the machine count costs only its logarithm. */
static void test_large(void **state)
{
    uint64_t steps[2];
    const unsigned nodes[] = {1000, 100000};
    for (size_t i = 0; i < 2; i++) {
        _cleanup_free_ char *source = large_problem(nodes[i]);
        _cleanup_layout_result_ LayoutResult result = {0};
        assert_int_equal(solve_text(source, &result), LAYOUT_SOLVED);
        steps[i] = result.steps;
    }
    print_message("steps: %llu for 1,000 nodes, %llu for 100,000\n", (unsigned long long)steps[0],
                  (unsigned long long)steps[1]);
    assert_true(steps[1] < 3 * steps[0] + 10000);
}

/* A large cluster grows, shrinks, gets services; what it has stays where it is. */
static void test_large_changes(void **state)
{
    static const struct {
        unsigned nodes;
        const char *more;
        bool may_extend, may_remove;
    } changes[] = {
        {1000, "", true, true},
        {1300, "", true, false},
        {700, "", true, true},
        {1000, "service extra min 3; service other max 10 hw h1,h2; cant extra other;", true, false},
        {1000, "service agent free", true, false},
        {650, "service extra min 2; service agent free", true, true},
    };
    _cleanup_free_ char *source = large_problem(1000);
    _cleanup_layout_result_ LayoutResult first = {0};
    _cleanup_text_ TextProblem text = {0};
    text_parse(&text, source);
    assert_int_equal(layout_solve(&text.problem, &first, NULL), 0);
    for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
        _cleanup_text_ TextProblem changed = {0};
        _cleanup_layout_result_ LayoutResult result = {0};
        text_parse(&changed, source);
        text_parse(&changed, changes[i].more);
        changed.problem.node_count = changes[i].nodes;
        for (size_t k = 0; k < first.node_class_count; k++)
            changed.classes[k] = (LayoutClass){
                .services = {.items = first.nodes[k].services, .count = first.nodes[k].service_count},
                .hardware = first.nodes[k].hardware,
                .image = first.nodes[k].image,
                .count = first.nodes[k].count,
                .may_extend = changes[i].may_extend,
                .may_remove = changes[i].may_remove};
        changed.problem.existing_count = first.node_class_count;
        assert_int_equal(layout_solve(&changed.problem, &result, NULL), 0);
        print_message("%zu: %s, %llu steps\n", i, layout_status_to_string(result.status),
                      (unsigned long long)result.steps);
        assert_int_equal(result.status, LAYOUT_SOLVED);
    }
}

static void test_budget(void **state)
{
    /* The same steps each time, an answer with enough of them, none with less. */
    _cleanup_free_ char *source = large_problem(1000);
    _cleanup_layout_result_ LayoutResult first = {0}, second = {0};
    assert_int_equal(solve_text(source, &first), LAYOUT_SOLVED);
    assert_int_equal(solve_text(source, &second), LAYOUT_SOLVED);
    assert_true(first.steps == second.steps);
    _cleanup_free_ char *exact = string_format("%s budget %llu", source, (unsigned long long)first.steps);
    _cleanup_free_ char *less = string_format("%s budget %llu", source, (unsigned long long)first.steps - 1);
    _cleanup_free_ char *little = string_format("%s budget 50", source);
    _cleanup_layout_result_ LayoutResult third = {0}, fourth = {0}, fifth = {0};
    assert_int_equal(solve_text(exact, &third), LAYOUT_SOLVED);
    assert_int_equal(solve_text(less, &fourth), LAYOUT_GAVE_UP);
    assert_int_equal(solve_text(little, &fifth), LAYOUT_GAVE_UP);
    assert_non_null(fifth.summary);
    assert_int_equal(fifth.node_class_count, 0);
}

/* ---- refusals and the checker */

static void expect_refused(const char *source, int code, const char *message)
{
    _cleanup_text_ TextProblem text = {0};
    _cleanup_layout_result_ LayoutResult result = {0};
    Error error = ERROR_INIT;
    text_parse(&text, source);
    assert_int_equal(layout_solve(&text.problem, &result, &error), code);
    assert_non_null(strstr(error.text, message));
}

static void test_refusals(void **state)
{
    _cleanup_free_ char *many = many_services(LAYOUT_BLOCKS_MAX + 1, "");
    _cleanup_free_ char *too_many = string_format("nodes 2;%s", many);
    expect_refused("nodes 2", -EINVAL, "at least one service");
    expect_refused("nodes 0; service a", -EINVAL, "at least one node");
    expect_refused("nodes 1000001; service a", -E2BIG, "at most 1000000 nodes");
    expect_refused("nodes 1; service a; service b; service a", -EINVAL, "'a' is named twice");
    expect_refused("nodes 1; hardware; service a", -EINVAL, "no hardware type");
    expect_refused("nodes 1; images; service a", -EINVAL, "no image type");
    expect_refused("nodes 1; hardware x y x; service a", -EINVAL, "'x' is named twice");
    expect_refused("nodes 1; service a; existing 1 small debian with b", -EINVAL,
                   "'b' that the cluster lacks");
    expect_refused("nodes 1; service a; service b; existing 1 small debian with a a", -EINVAL, "'a' twice");
    expect_refused("nodes 1; service a; existing 1 small debian with", -EINVAL, "no service");
    expect_refused(too_many, -E2BIG, "at most 128 constrained services");
}

/* 5, 6, 12, 18, 19: which layouts of template R are valid */
static int check_counts(const char *source, const char *const layouts[], const char *const hardware[],
                        const char *const images[], const unsigned *counts, size_t count)
{
    _cleanup_text_ TextProblem text = {0};
    LayoutNodes nodes[8] = {0};
    uint32_t total = 0;
    size_t used = 0;
    text_parse(&text, source);
    for (size_t i = 0; i < count; i++) {
        if (counts[i] == 0)
            continue;
        LayoutNames names = text_list(text.arena, layouts[i]);
        nodes[used++] =
            (LayoutNodes){.services = arena_duplicate(text.arena, names.items, names.count * sizeof(char *)),
                          .service_count = names.count,
                          .hardware = hardware[i],
                          .image = images[i],
                          .count = counts[i],
                          .existing = -1};
        total += counts[i];
    }
    text.problem.node_count = total;
    Error error = ERROR_INIT;
    int r = layout_check(&text.problem, nodes, used, &error);
    assert_true((r < 0) == error_is_set(&error));
    return r;
}

static void test_checker(void **state)
{
    const char *const layouts[] = {"hbm,nn,rm", "dn,nm,rs", "app,zk", "zk", "app"};
    const char *const hardware[] = {"large-mem", "medium", "medium", "small", "medium"};
    const char *const images[] = {"centos6", "ubuntu12", "centos6", "centos6", "ubuntu12"};
    const unsigned valid[][5] = {{1, 1, 1, 0, 0}, {1, 1, 0, 1, 1}, {1, 3, 1, 0, 0}, {1, 2, 0, 1, 1},
                                 {1, 1, 0, 1, 2}, {1, 5, 1, 0, 0}, {1, 1, 0, 1, 4}, {1, 3, 3, 0, 0},
                                 {1, 1, 5, 0, 0}, {1, 50, 3, 0, 0}};
    const unsigned invalid[][5] = {{1, 1, 0, 1, 0}, {1, 1, 0, 0, 1},  {0, 1, 0, 1, 1}, {1, 0, 1, 0, 1},
                                   {2, 1, 1, 0, 0}, {1, 4, 10, 0, 0}, {1, 52, 1, 0, 0}};
    for (size_t i = 0; i < ELEMENTSOF(valid); i++)
        assert_int_equal(check_counts(template_r, layouts, hardware, images, valid[i], 5), 0);
    for (size_t i = 0; i < ELEMENTSOF(invalid); i++)
        assert_int_equal(check_counts(template_r, layouts, hardware, images, invalid[i], 5), -EBADMSG);
    const char *const bad[] = {"dn",           "dn,nm",       "nn",     "nn,rm", "dn,nm,nn,rs",
                               "app,dn,nm,rs", "dn,nm,rs,zk", "zk,app", "x"};
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        const char *const with[] = {"hbm,nn,rm", "dn,nm,rs", "app,zk", bad[i]};
        const unsigned one[] = {1, 1, 1, 1};
        assert_int_equal(check_counts(template_r, with, hardware, images, one, 4), -EBADMSG);
    }
    const char *const wrong_hardware[] = {"medium", "medium", "medium"};
    const char *const wrong_images[] = {"centos6", "sl6", "centos6"};
    assert_int_equal(check_counts(template_r, layouts, wrong_hardware, images, valid[0], 3), -EBADMSG);
    assert_int_equal(check_counts(template_r, layouts, hardware, wrong_images, valid[0], 3), -EBADMSG);
}

/* Each way to spoil a good answer is seen. */
static void test_verify(void **state)
{
    static const char source[] =
        "hardware big small; images debian; nodes 5; service web min 1; service db hw small;"
        "service base free; cant web db; existing 2 small debian extend remove with base web";
    for (int spoiled = -1; spoiled < 10; spoiled++) {
        _cleanup_text_ TextProblem text = {0};
        _cleanup_layout_result_ LayoutResult result = {0};
        text_parse(&text, source);
        assert_int_equal(layout_solve(&text.problem, &result, NULL), 0);
        _cleanup_free_ char *answer = text_of_result(&result);
        assert_string_equal(answer,
                            "2 base,web big/debian; 1 base,db small/debian; 2 base,web small/debian of 0");
        LayoutNodes swapped = result.nodes[0];
        switch (spoiled) {
        case 0:
            result.nodes[0].count++;
            break;
        case 1:
            result.nodes[0].count = 1;
            break;
        case 2:
            result.nodes[0].hardware = "small";
            break;
        case 3:
            result.nodes[0].hardware = "huge";
            break;
        case 4:
            result.nodes[1].hardware = "big";
            break;
        case 5:
            result.nodes[0].service_count--;
            break;
        case 6:
            result.nodes[2].existing = -1;
            break;
        case 7:
            result.removed[0] = 1;
            break;
        case 8:
            result.nodes[0] = result.nodes[1];
            result.nodes[1] = swapped;
            break;
        case 9:
            result.nodes[0].existing = 0;
            break;
        default:
            break;
        }
        assert_int_equal(layout_verify(&text.problem, &result, NULL), spoiled < 0 ? 0 : -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_template_counts),
        cmocka_unit_test(test_template_limits),
        cmocka_unit_test(test_absent_services),
        cmocka_unit_test(test_fixed_types),
        cmocka_unit_test(test_type_preference),
        cmocka_unit_test(test_small_cases),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_grow),
        cmocka_unit_test(test_shrink),
        cmocka_unit_test(test_branching),
        cmocka_unit_test(test_fractions),
        cmocka_unit_test(test_without_conflicts),
        cmocka_unit_test(test_many_small_conflicts),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_large_changes),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_checker),
        cmocka_unit_test(test_verify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
