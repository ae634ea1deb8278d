/* SPDX-License-Identifier: Apache-2.0 */
/* PR5: one transition at a time. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/string.h"
#include "fixture.h"

static const char P1[] = "p1", P2[] = "p2";

static EngineTask task(const char *kind, const char *action, const char *node)
{
    return (EngineTask){
        .kind = kind, .action = action, .node_id = node, .timeout_ms = 60000, .is_idempotent = true};
}

static int succeed(Fixture *fixture, const char *provisioner, int64_t epoch, const Leased *leased)
{
    EngineReport report = {
        .task = leased->task, .attempt = leased->attempt, .state = ENGINE_REPORT_SUCCEEDED};
    return fixture_report(fixture, provisioner, epoch, &report, false);
}

static int fail_task(Fixture *fixture, const Leased *leased, bool is_retry_sensible)
{
    EngineReport report = {.task = leased->task,
                           .attempt = leased->attempt,
                           .state = ENGINE_REPORT_FAILED,
                           .is_retry_sensible = is_retry_sensible,
                           .error_code = "step_failed",
                           .error_message = "exit status 1"};
    return fixture_report(fixture, P1, 1, &report, false);
}

static void assert_text(char *text, const char *expected)
{
    assert_string_equal(text, expected);
    free(text);
}

/* A chain over a join runs to its end without a barrier or a poll in between. */
static void test_chain(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[8];
    char execution[ID_SIZE];
    fixture_open(&f, 1, 2);
    EngineTask tasks[] = {task("provider", "create", f.nodes[0]), task("provider", "create", f.nodes[1]),
                          task("join", "join", NULL), task("automator", "start", f.nodes[0])};
    EngineEdge edges[] = {{1, 3}, {2, 3}, {3, 4}};
    fixture_submit(&f, "create", tasks, 4, edges, 3, execution);
    assert_int_equal(f.wakes, 1);
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased), 2);
    assert_int_equal(engine_lease_count(f.engine), 2);
    assert_int_equal(succeed(&f, P1, 1, &leased[0]), 1);
    assert_text(fixture_task_state(&f, execution, 3), "waiting");
    assert_int_equal(succeed(&f, P1, 1, &leased[1]), 1);
    assert_text(fixture_task_state(&f, execution, 3), "succeeded");
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased), 1);
    assert_string_equal(leased[0].action, "start");
    assert_int_equal(succeed(&f, P1, 1, &leased[0]), 1);
    assert_text(fixture_execution_status(&f, execution), "terminated");
    assert_text(fixture_cluster_status(&f), "active");
    assert_int_equal(engine_lease_count(f.engine), 0);
    assert_true(fixture_audit_is_valid(&f));
    fixture_close(&f);
}

/* Two tasks that are ready for one node: the second waits for the node, and follows in the same transaction
 * that gives it back. */
static void test_node_is_exclusive(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[8];
    char execution[ID_SIZE];
    fixture_open(&f, 1, 1);
    EngineTask tasks[] = {task("automator", "install", f.nodes[0]), task("automator", "install", f.nodes[0])};
    fixture_submit(&f, "create", tasks, 2, NULL, 0, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased), 1);
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased + 1), 0);
    assert_int_equal(succeed(&f, P1, 1, &leased[0]), 1);
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased + 1), 1);
    assert_int_equal(succeed(&f, P1, 1, &leased[1]), 1);
    assert_text(fixture_execution_status(&f, execution), "terminated");
    fixture_close(&f);
}

static void test_stale_reports_are_refused(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[2], again[2];
    char execution[ID_SIZE];
    fixture_open(&f, 1, 1);
    EngineTask tasks[] = {task("automator", "install", f.nodes[0])};
    fixture_submit(&f, "create", tasks, 1, NULL, 0, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 1, leased), 1);
    assert_int_equal(succeed(&f, P2, 1, &leased[0]), 0); /* not its lease */
    assert_int_equal(succeed(&f, P1, 2, &leased[0]), 0); /* another session */
    f.clock.now += 31 * USEC_PER_SEC;
    fixture_expire(&f);
    assert_int_equal(fixture_lease(&f, P2, 5, 1, again), 1);
    assert_int_equal(again[0].attempt, leased[0].attempt + 1);
    assert_string_equal(again[0].step, leased[0].step); /* the same run: the runner knows it */
    assert_int_equal(succeed(&f, P1, 1, &leased[0]), 0);
    assert_int_equal(succeed(&f, P2, 5, &again[0]), 1);
    assert_int_equal(succeed(&f, P2, 5, &again[0]), 0); /* once */
    fixture_close(&f);
}

static void test_retry_then_failure(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[2];
    char execution[ID_SIZE], first_step[56];
    fixture_open(&f, 1, 2);
    EngineTask tasks[] = {task("automator", "install", f.nodes[0]), task("automator", "start", f.nodes[1])};
    EngineEdge edges[] = {{1, 2}};
    fixture_submit(&f, "create", tasks, 2, edges, 1, execution);
    for (unsigned failure = 1; failure <= 3; failure++) {
        assert_int_equal(fixture_lease(&f, P1, 1, 2, leased), 1);
        if (failure == 1)
            (void)string_copy(first_step, sizeof(first_step), leased[0].step);
        else
            assert_string_not_equal(leased[0].step, first_step); /* a new run */
        assert_int_equal(fail_task(&f, &leased[0], true), 1);
        if (failure < 3) {
            assert_int_equal(fixture_lease(&f, P1, 1, 2, leased), 0); /* backs off */
            f.clock.now = (Usec)fixture_next_runnable(&f);
        }
    }
    assert_text(fixture_task_state(&f, execution, 1), "failed");
    assert_text(fixture_task_state(&f, execution, 2), "cancelled");
    assert_text(fixture_execution_status(&f, execution), "failed");
    assert_text(fixture_cluster_status(&f), "incomplete");
    fixture_close(&f);
}

/* The only task fails for good: the execution must not count as done because all its tasks have ended. */
static void test_last_task_fails(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[1];
    char execution[ID_SIZE];
    fixture_open(&f, 1, 1);
    EngineTask tasks[] = {task("automator", "install", f.nodes[0])};
    fixture_submit(&f, "create", tasks, 1, NULL, 0, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 1, leased), 1);
    assert_int_equal(fail_task(&f, &leased[0], false), 1);
    assert_text(fixture_execution_status(&f, execution), "failed");
    fixture_close(&f);
}

/* A delete that is asked for while a create runs starts when the create has ended. */
static void test_delete_waits_for_create(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[1];
    char create[ID_SIZE], delete[ID_SIZE];
    fixture_open(&f, 1, 1);
    EngineTask creating[] = {task("provider", "create", f.nodes[0]),
                             task("automator", "install", f.nodes[0])};
    EngineTask deleting[] = {task("provider", "delete", f.nodes[0])};
    EngineEdge edges[] = {{1, 2}};
    fixture_submit(&f, "create", creating, 2, edges, 1, create);
    assert_int_equal(fixture_lease(&f, P1, 1, 1, leased), 1);
    f.clock.now += USEC_PER_SEC;
    fixture_submit(&f, "delete", deleting, 1, NULL, 0, delete);
    assert_text(fixture_execution_status(&f, delete), "pending");
    assert_true(fixture_cancel(&f, create, false) >= 0);
    assert_text(fixture_execution_status(&f, create), "cancelling");
    EngineReport report = {
        .task = leased[0].task, .attempt = leased[0].attempt, .state = ENGINE_REPORT_CANCELLED};
    assert_int_equal(fixture_report(&f, P1, 1, &report, false), 1);
    assert_text(fixture_execution_status(&f, create), "cancelled");
    assert_text(fixture_execution_status(&f, delete), "started");
    assert_int_equal(fixture_lease(&f, P1, 1, 1, leased), 1);
    assert_int_equal(succeed(&f, P1, 1, &leased[0]), 1);
    assert_text(fixture_cluster_status(&f), "terminated");
    assert_int_equal(fixture_cancel(&f, delete, false), -EEXIST);
    fixture_close(&f);
}

static void test_decisions(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[1];
    char execution[ID_SIZE], step[56];
    fixture_open(&f, 1, 1);
    EngineTask tasks[] = {task("automator", "initialize", f.nodes[0])};
    fixture_submit(&f, "create", tasks, 1, NULL, 0, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 1, leased), 1);
    (void)string_copy(step, sizeof(step), leased[0].step);
    EngineReport unknown = {
        .task = leased[0].task, .attempt = leased[0].attempt, .state = ENGINE_REPORT_UNKNOWN};
    assert_int_equal(fixture_report(&f, P1, 1, &unknown, false), 1);
    assert_text(fixture_task_state(&f, execution, 1), "needs_decision");
    assert_text(fixture_execution_status(&f, execution), "started");
    assert_true(fixture_decide(&f, leased[0].task, ENGINE_DECISION_RETRY) >= 0);
    assert_int_equal(fixture_decide(&f, leased[0].task, ENGINE_DECISION_RETRY), -EEXIST);
    assert_int_equal(fixture_lease(&f, P1, 1, 1, leased), 1);
    assert_string_not_equal(leased[0].step, step);
    unknown.attempt = leased[0].attempt;
    assert_int_equal(fixture_report(&f, P1, 1, &unknown, false), 1);
    assert_true(fixture_decide(&f, leased[0].task, ENGINE_DECISION_DONE) >= 0);
    assert_text(fixture_execution_status(&f, execution), "terminated");
    fixture_close(&f);
}

static void test_bad_results_are_failures(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[1];
    char execution[ID_SIZE];
    fixture_open(&f, 1, 1);
    EngineTask tasks[] = {task("provider", "create", f.nodes[0])};
    fixture_submit(&f, "create", tasks, 1, NULL, 0, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 1, leased), 1);
    EngineReport report = {.task = leased[0].task,
                           .attempt = leased[0].attempt,
                           .state = ENGINE_REPORT_SUCCEEDED,
                           .result = "{\"ssh_port\":99999}"};
    assert_int_equal(fixture_report(&f, P1, 1, &report, false), 1);
    assert_text(fixture_task_state(&f, execution, 1), "failed");
    fixture_close(&f);
}

static void test_restart_gives_fresh_grace(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[1];
    char execution[ID_SIZE];
    fixture_open(&f, 1, 1);
    EngineTask tasks[] = {task("automator", "install", f.nodes[0])};
    fixture_submit(&f, "create", tasks, 1, NULL, 0, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 1, leased), 1);
    f.clock.now += 29 * USEC_PER_SEC;
    fixture_restart(&f);
    f.clock.now += 29 * USEC_PER_SEC;
    fixture_expire(&f);
    assert_text(fixture_task_state(&f, execution, 1), "leased");
    bool is_lost;
    engine_renew(f.engine, P1, &(EngineHeld){leased[0].task, leased[0].attempt}, 1, &is_lost);
    assert_false(is_lost);
    f.clock.now += 29 * USEC_PER_SEC;
    fixture_expire(&f);
    assert_int_equal(succeed(&f, P1, 1, &leased[0]), 1);
    fixture_close(&f);
}

/* The answer with the second task was lost with the manager: the first heartbeat after the start shows it. */
static void test_lost_lease_answer_lapses_with_the_first_heartbeat(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[3], again[1];
    char execution[ID_SIZE];
    fixture_open(&f, 1, 3);
    EngineTask tasks[] = {task("automator", "install", f.nodes[0]), task("automator", "install", f.nodes[1]),
                          task("automator", "install", f.nodes[2])};
    fixture_submit(&f, "create", tasks, 3, NULL, 0, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 2, leased), 2);
    assert_int_equal(fixture_lease(&f, P2, 1, 1, &leased[2]), 1);
    fixture_restart(&f);
    bool is_lost;
    const EngineHeld held = {leased[0].task, leased[0].attempt};
    engine_renew(f.engine, P1, &held, 1, &is_lost);
    assert_false(is_lost);
    fixture_expire(&f);
    assert_int_equal(fixture_lease(&f, P1, 1, 1, again), 1);
    assert_string_equal(again[0].task, leased[1].task);
    assert_int_equal(again[0].attempt, leased[1].attempt + 1);
    assert_int_equal(succeed(&f, P1, 1, &leased[1]), 0); /* of the attempt before */
    /* Only once, and only those of the provisioner that spoke. */
    engine_renew(f.engine, P1, &held, 1, &is_lost);
    fixture_expire(&f);
    assert_int_equal(fixture_lease(&f, P1, 1, 1, again), 0);
    engine_renew(f.engine, P2, NULL, 0, NULL);
    fixture_expire(&f);
    assert_int_equal(fixture_lease(&f, P2, 1, 1, again), 1);
    assert_string_equal(again[0].task, leased[2].task);
    fixture_close(&f);
}

static void test_malformed_task_ids(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "x",
                                      "abcdefghijklmnopqrst",
                                      "abcdefghijklmnopqrst-",
                                      "abcdefghijklmnopqrst-0",
                                      "abcdefghijklmnopqrst-1x",
                                      "abcdefghijklmnopqrst_1",
                                      "abcdefghijklmnopqrst-99999999999"};
    char id[ID_SIZE];
    int64_t number;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_false(engine_task_parse(bad[i], id, &number));
    assert_true(engine_task_parse("abcdefghijklmnopqrst-17", id, &number));
    assert_int_equal(number, 17);
}

/* What tasks of one batch share is written once and comes to the same as one by one. */
static void test_reports_together(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[8];
    char execution[ID_SIZE];
    bool is_accepted[4];
    fixture_open(&f, 1, 3);
    EngineTask tasks[] = {task("provider", "create", f.nodes[0]), task("provider", "create", f.nodes[1]),
                          task("provider", "create", f.nodes[2]), task("join", "join", NULL),
                          task("automator", "start", f.nodes[0])};
    EngineEdge edges[] = {{1, 4}, {2, 4}, {3, 4}, {4, 5}};
    fixture_submit(&f, "create", tasks, 5, edges, 4, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased), 3);
    EngineReport reports[4];
    for (size_t i = 0; i < 3; i++)
        reports[i] = (EngineReport){
            .task = leased[i].task, .attempt = leased[i].attempt, .state = ENGINE_REPORT_SUCCEEDED};
    reports[3] = reports[0]; /* a second time: stale */
    fixture_report_many(&f, P1, 1, reports, 4, is_accepted);
    assert_true(is_accepted[0] && is_accepted[1] && is_accepted[2]);
    assert_false(is_accepted[3]);
    assert_text(fixture_task_state(&f, execution, 4), "succeeded");
    assert_int_equal(engine_lease_count(f.engine), 0);
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased), 1);
    assert_int_equal(succeed(&f, P1, 1, &leased[0]), 1);
    assert_text(fixture_execution_status(&f, execution), "terminated");
    assert_true(fixture_audit_is_valid(&f));
    fixture_close(&f);
}

/* What a batch releases is told together: a node that one of its tasks gives back goes to one of two
 * successors, the other waits for it; a join of two of them and of a third is counted down by two, and ends
 * with the third. */
static void test_released_together(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[8];
    char execution[ID_SIZE];
    bool is_accepted[2];
    fixture_open(&f, 1, 3);
    EngineTask tasks[] = {task("provider", "create", f.nodes[0]),   task("provider", "create", f.nodes[1]),
                          task("automator", "install", f.nodes[1]), task("automator", "start", f.nodes[1]),
                          task("provider", "create", f.nodes[2]),   task("join", "join", NULL),
                          task("automator", "check", NULL)};
    EngineEdge edges[] = {{1, 3}, {2, 4}, {1, 6}, {2, 6}, {5, 6}, {6, 7}};
    fixture_submit(&f, "create", tasks, 7, edges, 6, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased), 3);
    EngineReport reports[2];
    for (size_t i = 0; i < 2; i++)
        reports[i] = (EngineReport){
            .task = leased[i].task, .attempt = leased[i].attempt, .state = ENGINE_REPORT_SUCCEEDED};
    Leased third = leased[2];
    fixture_report_many(&f, P1, 1, reports, 2, is_accepted);
    assert_true(is_accepted[0] && is_accepted[1]);
    assert_text(fixture_task_state(&f, execution, 3), "ready");
    assert_text(fixture_task_state(&f, execution, 4), "ready");
    assert_text(fixture_task_state(&f, execution, 6), "waiting");
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased), 1); /* the other one has no node */
    assert_string_equal(leased[0].action, "install");
    assert_int_equal(succeed(&f, P1, 1, &leased[0]), 1);
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased), 1);
    assert_string_equal(leased[0].action, "start");
    assert_int_equal(succeed(&f, P1, 1, &leased[0]), 1);
    assert_int_equal(succeed(&f, P1, 1, &third), 1);
    assert_text(fixture_task_state(&f, execution, 6), "succeeded");
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased), 1);
    assert_string_equal(leased[0].action, "check");
    assert_int_equal(succeed(&f, P1, 1, &leased[0]), 1);
    assert_text(fixture_execution_status(&f, execution), "terminated");
    assert_true(fixture_audit_is_valid(&f));
    fixture_close(&f);
}

/* A failure among them stops the execution, which ends when the others of the batch are counted, and the next
 * one of the cluster begins. */
static void test_failure_in_a_batch(void **state)
{
    (void)state;
    Fixture f;
    Leased leased[8];
    char execution[ID_SIZE], next[ID_SIZE];
    bool is_accepted[3];
    fixture_open(&f, 1, 3);
    EngineTask tasks[] = {task("provider", "create", f.nodes[0]), task("provider", "create", f.nodes[1]),
                          task("provider", "create", f.nodes[2]), task("automator", "start", f.nodes[0])};
    EngineTask deleting[] = {task("provider", "delete", f.nodes[0])};
    EngineEdge edges[] = {{1, 4}, {2, 4}, {3, 4}};
    fixture_submit(&f, "create", tasks, 4, edges, 3, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 8, leased), 3);
    f.clock.now += USEC_PER_SEC;
    fixture_submit(&f, "delete", deleting, 1, NULL, 0, next);
    EngineReport reports[3];
    for (size_t i = 0; i < 3; i++)
        reports[i] = (EngineReport){.task = leased[i].task,
                                    .attempt = leased[i].attempt,
                                    .state = i == 1 ? ENGINE_REPORT_FAILED : ENGINE_REPORT_SUCCEEDED,
                                    .error_code = "step_failed",
                                    .error_message = "exit status 1"};
    fixture_report_many(&f, P1, 1, reports, 3, is_accepted);
    assert_true(is_accepted[0] && is_accepted[1] && is_accepted[2]);
    assert_text(fixture_task_state(&f, execution, 1), "succeeded");
    assert_text(fixture_task_state(&f, execution, 2), "failed");
    assert_text(fixture_task_state(&f, execution, 4), "cancelled");
    assert_text(fixture_execution_status(&f, execution), "failed");
    assert_text(fixture_execution_status(&f, next), "started");
    assert_true(fixture_audit_is_valid(&f));
    fixture_close(&f);
}

typedef struct ShardQuestion {
    int64_t *shards;
    size_t count;
    AuditVerification verification;
} ShardQuestion;

static int ask_shards(StoreTransaction *transaction, void *context, Error *error)
{
    ShardQuestion *question = context;
    int64_t *shards;
    int r = audit_trail_shards(transaction, &shards, &question->count, error);
    if (r < 0)
        return r;
    free(question->shards);
    question->shards = memory_duplicate(shards, question->count * sizeof(*shards));
    return audit_trail_verify_all(transaction, &question->verification, error);
}

static int add_head(StoreTransaction *transaction, void *context, Error *error)
{
    (void)context;
    static const uint8_t hash[AUDIT_HASH_SIZE];
    return statement_audit_head_insert(
        transaction,
        &(AuditHeadInsertParameters){
            .shard = 7, .sequence = 3, .hash = {hash, sizeof(hash)}, .signature = {hash, 0}},
        error);
}

static int add_record(StoreTransaction *transaction, void *context, Error *error)
{
    (void)context;
    static const uint8_t hash[AUDIT_HASH_SIZE];
    return statement_audit_record_insert(transaction,
                                         &(AuditRecordInsertParameters){.shard = 5,
                                                                        .sequence = 1,
                                                                        .actor = "ann",
                                                                        .object_tenant = "",
                                                                        .source = "",
                                                                        .request_id = "",
                                                                        .action = "forged",
                                                                        .object = "",
                                                                        .outcome = "done",
                                                                        .details = "{}",
                                                                        .format = 1,
                                                                        .effective_actor = "",
                                                                        .authentication = "",
                                                                        .digest_before = "",
                                                                        .digest_after = "",
                                                                        .hash = {hash, sizeof(hash)}},
                                         error);
}

/* Every shard is walked: one with a head and no records, and one with a record and no head. */
static void test_sv6_every_shard_is_verified(void **state)
{
    (void)state;
    Fixture f;
    Error error = ERROR_INIT;
    ShardQuestion question = {0};
    char execution[ID_SIZE];
    fixture_open(&f, 1, 1);
    EngineTask tasks[] = {task("provider", "create", f.nodes[0])};
    Leased leased[1];
    fixture_submit(&f, "create", tasks, 1, NULL, 0, execution);
    assert_int_equal(fixture_lease(&f, P1, 1, 1, leased), 1);
    assert_int_equal(store_run(f.store, STORE_READ, ask_shards, &question, &error), 0);
    assert_int_equal(question.count, 1);
    assert_int_equal(question.shards[0], 0);
    assert_int_equal(question.verification.bad_sequence, 0);
    const int64_t good = question.verification.records;
    assert_true(good > 0);

    assert_int_equal(store_run(f.store, STORE_WRITE, add_head, NULL, &error), 0);
    assert_int_equal(store_run(f.store, STORE_READ, ask_shards, &question, &error), 0);
    assert_int_equal(question.count, 2);
    assert_int_equal(question.verification.bad_shard, 7);
    assert_int_equal(question.verification.bad_sequence, 1);

    assert_int_equal(store_run(f.store, STORE_WRITE, add_record, NULL, &error), 0);
    assert_int_equal(store_run(f.store, STORE_READ, ask_shards, &question, &error), 0);
    assert_int_equal(question.count, 3);
    assert_int_equal(question.verification.bad_shard, 5);
    assert_int_equal(question.verification.bad_sequence, 1);
    assert_int_equal(question.verification.records, good);
    free(question.shards);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sv6_every_shard_is_verified),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_node_is_exclusive),
        cmocka_unit_test(test_stale_reports_are_refused),
        cmocka_unit_test(test_reports_together),
        cmocka_unit_test(test_released_together),
        cmocka_unit_test(test_failure_in_a_batch),
        cmocka_unit_test(test_retry_then_failure),
        cmocka_unit_test(test_last_task_fails),
        cmocka_unit_test(test_delete_waits_for_create),
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_bad_results_are_failures),
        cmocka_unit_test(test_restart_gives_fresh_grace),
        cmocka_unit_test(test_lost_lease_answer_lapses_with_the_first_heartbeat),
        cmocka_unit_test(test_malformed_task_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
