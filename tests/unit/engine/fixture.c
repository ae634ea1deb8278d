/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/string.h"

static Usec fake_now(const Clock *clock)
{
    return ((const FakeClock *)clock)->now;
}

static void on_wake(void *userdata)
{
    ((Fixture *)userdata)->wakes++;
}

static void on_published(void *userdata)
{
    ((Fixture *)userdata)->has_published = true;
}

static int is_entitled(StoreTransaction *transaction, const char *tenant, const char *username,
                       const char *cluster_id, const char *workflow, void *userdata, Error *error)
{
    (void)transaction;
    (void)error;
    Fixture *fixture = userdata;
    assert_string_equal(tenant, TENANT);
    assert_string_equal(cluster_id, fixture->cluster);
    assert_true(*username && *workflow);
    fixture->rights_asked++;
    return !fixture->is_right_gone;
}

static void check(int r, const Error *error)
{
    if (r < 0)
        fail_msg("%s (%s)", error->text, error->details);
}

typedef int (*Action)(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error);
typedef struct Job {
    Fixture *fixture;
    Action action;
    void *context;
    bool is_crashing;
} Job;

static int run_job(StoreTransaction *transaction, void *context, Error *error)
{
    Job *job = context;
    engine_effects_reset(&job->fixture->effects);
    int r = job->action(job->fixture, transaction, job->context, error);
    if (r >= 0 && job->is_crashing)
        return error_set(error, ERROR_CANCELLED, "crash before the commit");
    return r;
}

static int run(Fixture *fixture, Action action, void *context, bool is_crashing, Error *error)
{
    Job job = {fixture, action, context, is_crashing};
    int r = store_run(fixture->store, STORE_WRITE, run_job, &job, error);
    if (r >= 0)
        engine_apply(fixture->engine, &fixture->effects);
    return r;
}

static void must_run(Fixture *fixture, Action action, void *context)
{
    Error error = ERROR_INIT;
    check(run(fixture, action, context, false, &error), &error);
}

static int prepare(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    (void)context;
    int r = statement_tenant_insert(
        transaction, &(TenantInsertParameters){.name = TENANT, .description = "", .created_at = 1}, error);
    (void)string_copy(fixture->cluster, ID_SIZE, store_new_id(transaction));
    if (r >= 0)
        r = statement_cluster_insert(transaction,
                                     &(ClusterInsertParameters){.tenant = TENANT,
                                                                .id = fixture->cluster,
                                                                .name = "demo",
                                                                .description = "",
                                                                .owner = "ann",
                                                                .template = "t",
                                                                .template_version = 1,
                                                                .provider = "p",
                                                                .request = "{}",
                                                                .plan = "{}",
                                                                .snapshot = "{}",
                                                                .config = "{}",
                                                                .node_count = fixture->node_count,
                                                                .created_at = 1},
                                     error);
    for (unsigned i = 0; i < fixture->node_count && r >= 0; i++) {
        (void)string_copy(fixture->nodes[i], ID_SIZE, store_new_id(transaction));
        r = statement_node_insert(transaction,
                                  &(NodeInsertParameters){.tenant = TENANT,
                                                          .id = fixture->nodes[i],
                                                          .cluster_id = fixture->cluster,
                                                          .number = 1000 + i,
                                                          .hostname = "host",
                                                          .services = "[]",
                                                          .hardware_type = "",
                                                          .flavor = "",
                                                          .image_type = "",
                                                          .image = "",
                                                          .ssh_user = "root",
                                                          .provider_id = "",
                                                          .created_at = 1},
                                  error);
    }
    return r;
}

static void open_engine(Fixture *fixture)
{
    fixture->engine = engine_new(&(EngineSettings){.clock = &fixture->clock.clock,
                                                   .random = &fixture->random.random,
                                                   .wake = on_wake,
                                                   .published = on_published,
                                                   .is_entitled = is_entitled,
                                                   .userdata = fixture});
}

void fixture_open(Fixture *fixture, uint64_t seed, unsigned node_count)
{
    *fixture = (Fixture){.clock = {{fake_now, fake_now}, 1000 * USEC_PER_SEC}, .node_count = node_count};
    seeded_random_init(&fixture->random, seed);
    Error error = ERROR_INIT;
    StoreSettings settings = {.location = "sqlite::memory:",
                              .clock = &fixture->clock.clock,
                              .random = &fixture->random.random,
                              .is_synchronous = true};
    check(store_open(&settings, &fixture->store, &error), &error);
    check(store_migrate(fixture->store, NULL, &error), &error);
    open_engine(fixture);
    must_run(fixture, prepare, NULL);
}

void fixture_close(Fixture *fixture)
{
    engine_effects_done(&fixture->effects);
    engine_free(fixture->engine);
    store_close(fixture->store);
}

static int recover(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    (void)context;
    return engine_recover(fixture->engine, transaction, &fixture->effects, error);
}

void fixture_restart(Fixture *fixture)
{
    engine_free(fixture->engine);
    open_engine(fixture);
    must_run(fixture, recover, NULL);
}

typedef struct Submission {
    const EngineGraph *graph;
    char *execution;
} Submission;

static int submit(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    Submission *submission = context;
    const char *id;
    int r = engine_submit(fixture->engine, transaction, submission->graph, &id, &fixture->effects, error);
    if (r >= 0)
        (void)string_copy(submission->execution, ID_SIZE, id);
    return r;
}

void fixture_submit(Fixture *fixture, const char *workflow, const EngineTask *tasks, size_t task_count,
                    const EngineEdge *edges, size_t edge_count, char ret_execution[static ID_SIZE])
{
    EngineGraph graph = {.tenant = TENANT,
                         .cluster_id = fixture->cluster,
                         .workflow = workflow,
                         .created_by = "ann",
                         .tasks = tasks,
                         .task_count = task_count,
                         .edges = edges,
                         .edge_count = edge_count};
    must_run(fixture, submit, &(Submission){&graph, ret_execution});
}

typedef struct Leasing {
    const char *provisioner;
    int64_t epoch;
    unsigned maximum;
    Leased *leased;
    size_t count;
} Leasing;

static int lease(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    Leasing *leasing = context;
    EngineLease *leases;
    int r = engine_lease(fixture->engine, transaction, leasing->provisioner, leasing->epoch, leasing->maximum,
                         &leases, &leasing->count, &fixture->effects, error);
    for (size_t i = 0; r >= 0 && i < leasing->count; i++) {
        Leased *leased = &leasing->leased[i];
        leased->attempt = leases[i].attempt;
        (void)string_copy(leased->task, sizeof(leased->task), leases[i].task);
        (void)string_copy(leased->step, sizeof(leased->step), leases[i].step);
        (void)string_copy(leased->action, sizeof(leased->action), leases[i].action);
        (void)string_copy(leased->node, sizeof(leased->node), leases[i].node_id);
    }
    return r;
}

size_t fixture_lease(Fixture *fixture, const char *provisioner, int64_t epoch, unsigned maximum,
                     Leased *leased)
{
    Leasing leasing = {provisioner, epoch, maximum, leased, 0};
    must_run(fixture, lease, &leasing);
    return leasing.count;
}

typedef struct Reporting {
    const char *provisioner;
    int64_t epoch;
    const EngineReport *report;
    int outcome;
} Reporting;

static int report(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    Reporting *reporting = context;
    reporting->outcome = engine_report(fixture->engine, transaction, reporting->provisioner, reporting->epoch,
                                       reporting->report, &fixture->effects, error);
    return MIN(reporting->outcome, 0);
}

int fixture_report(Fixture *fixture, const char *provisioner, int64_t epoch,
                   const EngineReport *engine_report_, bool is_crashing)
{
    Reporting reporting = {provisioner, epoch, engine_report_, 0};
    Error error = ERROR_INIT;
    int r = run(fixture, report, &reporting, is_crashing, &error);
    if (r < 0 && is_crashing)
        return -1;
    check(r, &error);
    return reporting.outcome;
}

typedef struct ManyReports {
    const char *provisioner;
    int64_t epoch;
    const EngineReport *reports;
    size_t count;
    bool *is_accepted;
} ManyReports;

static int report_many(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    const ManyReports *many = context;
    return engine_report_many(fixture->engine, transaction, many->provisioner, many->epoch, many->reports,
                              many->count, many->is_accepted, &fixture->effects, error);
}

void fixture_report_many(Fixture *fixture, const char *provisioner, int64_t epoch,
                         const EngineReport *reports, size_t count, bool *ret_is_accepted)
{
    must_run(fixture, report_many, &(ManyReports){provisioner, epoch, reports, count, ret_is_accepted});
}

static int expire(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    return engine_expire(fixture->engine, transaction, context, &fixture->effects, error);
}

void fixture_expire(Fixture *fixture)
{
    EngineExpired *expired;
    size_t count = engine_collect_expired(fixture->engine, &expired);
    for (size_t i = 0; i < count; i++)
        must_run(fixture, expire, &expired[i]);
    free(expired);
}

typedef struct Question {
    const char *id;
    int64_t number;
    bool is_forced;
    EngineDecision decision;
    char *answer;
    int64_t value;
    bool is_valid;
} Question;

static int cancel(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    Question *question = context;
    return engine_cancel(fixture->engine, transaction, TENANT, question->id, question->is_forced, "ann",
                         &fixture->effects, error);
}

int fixture_cancel(Fixture *fixture, const char *execution, bool is_forced)
{
    Error error = ERROR_INIT;
    return run(fixture, cancel, &(Question){.id = execution, .is_forced = is_forced}, false, &error);
}

typedef struct Steering {
    FixtureSteer steer;
    const char *execution;
} Steering;

static int run_steer(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    const Steering *steering = context;
    return steering->steer(fixture->engine, transaction, TENANT, steering->execution, "ann",
                           &fixture->effects, error);
}

int fixture_steer(Fixture *fixture, FixtureSteer steer, const char *execution)
{
    Error error = ERROR_INIT;
    return run(fixture, run_steer, &(Steering){steer, execution}, false, &error);
}

static int resume(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    const EngineEvent *wanted = context; /* borrowed for two strings: execution and actor */
    return engine_resume(fixture->engine, transaction, TENANT, wanted->execution_id, wanted->message,
                         &fixture->effects, error);
}

int fixture_resume(Fixture *fixture, const char *execution, const char *actor)
{
    Error error = ERROR_INIT;
    return run(fixture, resume, &(EngineEvent){.execution_id = execution, .message = actor}, false, &error);
}

static int limit_running_tasks(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    (void)fixture;
    return statement_tenant_set_quotas(
        transaction,
        &(TenantSetQuotasParameters){.tenant = TENANT, .maximum_running_tasks = *(const int64_t *)context},
        error);
}

void fixture_limit_running_tasks(Fixture *fixture, int64_t maximum)
{
    must_run(fixture, limit_running_tasks, &maximum);
}

static int decide(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    Question *question = context;
    return engine_decide(fixture->engine, transaction, TENANT, question->id, question->decision, "ann",
                         &fixture->effects, error);
}

int fixture_decide(Fixture *fixture, const char *task, EngineDecision decision)
{
    Error error = ERROR_INIT;
    return run(fixture, decide, &(Question){.id = task, .decision = decision}, false, &error);
}

static int ask_execution(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    (void)fixture;
    Question *question = context;
    ExecutionGetRow row;
    int r = statement_execution_get(
        transaction, &(ExecutionGetParameters){.tenant = TENANT, .id = question->id}, &row, error);
    if (r == 1)
        question->answer = string_duplicate(row.status);
    return MIN(r, 0);
}

char *fixture_execution_status(Fixture *fixture, const char *execution)
{
    Question question = {.id = execution};
    must_run(fixture, ask_execution, &question);
    return question.answer;
}

static int ask_cluster(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    Question *question = context;
    ClusterGetRow row;
    int r = statement_cluster_get(
        transaction, &(ClusterGetParameters){.tenant = TENANT, .id = fixture->cluster}, &row, error);
    if (r == 1)
        question->answer = string_duplicate(row.status);
    return MIN(r, 0);
}

char *fixture_cluster_status(Fixture *fixture)
{
    Question question = {0};
    must_run(fixture, ask_cluster, &question);
    return question.answer;
}

static int ask_task(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    (void)fixture;
    Question *question = context;
    TasksForReportRow *rows;
    size_t count;
    int r = statement_tasks_for_report(transaction,
                                       &(TasksForReportParameters){.tenant = TENANT,
                                                                   .execution_id = question->id,
                                                                   .numbers = {&question->number, 1}},
                                       &rows, &count, error);
    if (r >= 0 && count == 1)
        question->answer = string_duplicate(rows[0].state);
    return MIN(r, 0);
}

char *fixture_task_state(Fixture *fixture, const char *execution, int64_t number)
{
    Question question = {.id = execution, .number = number};
    must_run(fixture, ask_task, &question);
    return question.answer;
}

static int ask_next(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    (void)fixture;
    Question *question = context;
    TasksNextRunnableTimeRow row;
    int r = statement_tasks_next_runnable_time(
        transaction, &(TasksNextRunnableTimeParameters){.now = (int64_t)store_now(transaction)}, &row, error);
    question->value = r == 1 ? row.not_before : 0;
    return MIN(r, 0);
}

int64_t fixture_next_runnable(Fixture *fixture)
{
    Question question = {0};
    must_run(fixture, ask_next, &question);
    return question.value;
}

static int ask_audit(Fixture *fixture, StoreTransaction *transaction, void *context, Error *error)
{
    (void)fixture;
    Question *question = context;
    AuditVerification verification;
    int r = audit_trail_verify_all(transaction, &verification, error);
    question->is_valid = r >= 0 && verification.bad_sequence == 0 && verification.records > 0;
    return r;
}

bool fixture_audit_is_valid(Fixture *fixture)
{
    Question question = {0};
    must_run(fixture, ask_audit, &question);
    return question.is_valid;
}
