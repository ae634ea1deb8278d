/* SPDX-License-Identifier: Apache-2.0 */
/* SV8, S22: work ends with the right to it. SV24: no more tasks at a time than the tenant may have. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/string.h"
#include "fixture.h"

enum { NODES = 4 };
static const char P1[] = "p1";

static EngineTask task(const char *action, const char *node)
{
    return (EngineTask){
        .kind = "automator", .action = action, .node_id = node, .timeout_ms = 60000, .is_idempotent = true};
}

static int succeed(Fixture *fixture, const Leased *leased)
{
    EngineReport report = {
        .task = leased->task, .attempt = leased->attempt, .state = ENGINE_REPORT_SUCCEEDED};
    return fixture_report(fixture, P1, 1, &report, false);
}

/* On each node a step and another after it. */
static void submit(Fixture *f, char execution[static ID_SIZE])
{
    EngineTask tasks[2 * NODES];
    EngineEdge edges[NODES];
    for (uint32_t i = 0; i < NODES; i++) {
        tasks[i] = task("install", f->nodes[i]);
        tasks[NODES + i] = task("start", f->nodes[i]);
        edges[i] = (EngineEdge){i + 1, NODES + i + 1};
    }
    fixture_submit(f, "create", tasks, ELEMENTSOF(tasks), edges, ELEMENTSOF(edges), execution);
}

static void assert_text(char *text, const char *expected)
{
    assert_string_equal(text, expected);
    free(text);
}

static void test_s22_stands_still_and_goes_on(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[16];
    char execution[ID_SIZE];
    fixture_open(&f, 1, NODES);
    submit(&f, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 16, leased), NODES);
    assert_int_equal(f.rights_asked, 1); /* once for what goes out together */
    f.is_right_gone = true;
    for (unsigned i = 0; i < NODES; i++) /* what runs is taken at its word */
        assert_int_equal(succeed(&f, &leased[i]), 1);
    assert_int_equal(fixture_lease(&f, P1, 1, 16, leased), 0);
    assert_text(fixture_task_state(&f, execution, NODES + 1), "ready");
    assert_text(fixture_execution_status(&f, execution), "started");
    assert_int_equal(engine_lease_count(f.engine), 0);
    f.is_right_gone = false; /* nor does it go on by itself */
    assert_int_equal(fixture_lease(&f, P1, 1, 16, leased), 0);
    unsigned wakes = f.wakes;
    assert_int_equal(fixture_resume(&f, execution, "bob"), 0);
    assert_true(f.wakes > wakes);
    assert_true(fixture_resume(&f, execution, "bob") < 0);
    assert_int_equal(fixture_lease(&f, P1, 1, 16, leased), NODES);
    for (unsigned i = 0; i < NODES; i++)
        assert_int_equal(succeed(&f, &leased[i]), 1);
    assert_text(fixture_execution_status(&f, execution), "terminated");
    assert_true(fixture_audit_is_valid(&f));
    fixture_close(&f);
}

static void test_cancelled_while_it_stands_still(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[16];
    char execution[ID_SIZE];
    fixture_open(&f, 1, NODES);
    f.is_right_gone = true;
    submit(&f, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 16, leased), 0);
    assert_int_equal(fixture_cancel(&f, execution, false), 0);
    assert_text(fixture_execution_status(&f, execution), "cancelled");
    assert_true(fixture_resume(&f, "nosuchnosuchnosuchno", "bob") < 0);
    assert_true(fixture_audit_is_valid(&f));
    fixture_close(&f);
}

static void test_running_tasks_have_a_limit(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[16];
    char execution[ID_SIZE];
    fixture_open(&f, 1, NODES);
    fixture_limit_running_tasks(&f, 3);
    submit(&f, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 2, leased), 2);
    assert_int_equal(fixture_lease(&f, P1, 1, 16, leased + 2), 1);
    assert_int_equal(fixture_lease(&f, P1, 1, 16, leased + 3), 0);
    unsigned wakes = f.wakes;
    assert_int_equal(succeed(&f, &leased[0]), 1);
    assert_true(f.wakes > wakes); /* who waits for work is told that there is room */
    assert_int_equal(fixture_lease(&f, P1, 1, 16, leased + 3), 1);
    fixture_limit_running_tasks(&f, 0);
    assert_int_equal(fixture_lease(&f, P1, 1, 16, leased + 4), 1);
    fixture_close(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s22_stands_still_and_goes_on),
        cmocka_unit_test(test_cancelled_while_it_stands_still),
        cmocka_unit_test(test_running_tasks_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
