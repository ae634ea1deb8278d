/* SPDX-License-Identifier: Apache-2.0 */

/* P4: tasks through their whole life (stored, ready, leased, reported, all durable) with the real engine and
 * the real store, and a provisioner that does nothing, from 100 to 100,000 tasks; beside it the limit: the
 * same rows written by a bare loop (bare_loop.h) in transactions of as many tasks as one job has.
 *
 *     bench_engine [--largest N] [--batch N] [--workers N] [--steps N] [--cluster N] [--folder PATH]
 *     BASTIDE_TEST_POSTGRESQL_FSYNC=on tests/lib/with-postgresql bench_engine    on PostgreSQL instead
 *
 * A worker leases `batch` tasks in one job, reports them in the next, and so on; `workers` of them keep their
 * jobs in flight. Each node has a chain of `steps` tasks; a graph has up to `cluster` tasks. */

#include <getopt.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bare_loop.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/string.h"
#include "engine/engine.h"
#include "store/statements.h"
#include "store/store.h"

enum { BATCH_MAXIMUM = 256, WORKERS_MAXIMUM = 64 };
static const char TENANT[] = "default_tenant", PROVISIONER[] = "pqrstuvwxyzabcdefghi";

static struct {
    int64_t largest, batch, workers, steps, cluster, connections;
    const char *folder;
} settings = {100 * 1000, 64, 8, 10, 10 * 1000, 4, "/tmp"};

typedef struct Bench Bench;

typedef struct Worker {
    Bench *bench;
    EngineEffects effects;
    bool is_idle;
    size_t count;
    char tasks[BATCH_MAXIMUM][40];
    int64_t attempts[BATCH_MAXIMUM];
} Worker;

struct Bench {
    Store *store;
    Engine *engine;
    pthread_mutex_t lock; /* over all below */
    pthread_cond_t finished;
    int64_t total, done;
    size_t generation; /* grows with each commit that made tasks runnable */
    size_t jobs;
    Worker workers[WORKERS_MAXIMUM];
};

typedef struct Submission {
    Bench *bench;
    EngineEffects effects;
    int64_t tasks;
} Submission;

typedef struct Result {
    double submit, run, cpu; /* seconds */
} Result;

_noreturn_ static void die(const char *what, const Error *error)
{
    (void)fprintf(stderr, "bench_engine: %s: %s (%s)\n", what, error->text, error->details);
    exit(1);
}

static double now(void)
{
    return (double)clock_monotonic(&system_clock) / (double)USEC_PER_SEC;
}

static double cpu_now(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Clusters and graphs
 * --------------------------------------------------------------------------------------------------- */

static int prepare_tenant(StoreTransaction *transaction, void *context, Error *error)
{
    (void)context;
    return statement_tenant_insert(
        transaction, &(TenantInsertParameters){.name = TENANT, .description = "", .created_at = 1}, error);
}

static int insert_nodes(StoreTransaction *transaction, const char *cluster, int64_t count, const char **nodes,
                        Error *error)
{
    for (int64_t i = 0; i < count; i++) {
        nodes[i] = store_new_id(transaction);
        int r = statement_node_insert(transaction,
                                      &(NodeInsertParameters){.tenant = TENANT,
                                                              .id = nodes[i],
                                                              .cluster_id = cluster,
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
        if (r < 0)
            return r;
    }
    return 0;
}

static int submit_graph(Submission *submission, StoreTransaction *transaction, const char *cluster,
                        const char *const *nodes, Error *error)
{
    const size_t count = (size_t)submission->tasks;
    _cleanup_free_ EngineTask *tasks = NEW_ARRAY(EngineTask, count);
    _cleanup_free_ EngineEdge *edges = NEW_ARRAY(EngineEdge, count);
    size_t edge_count = 0;
    for (size_t i = 0; i < count; i++) {
        tasks[i] = (EngineTask){.kind = "automator",
                                .action = "configure",
                                .service = "web",
                                .node_id = nodes[i / (size_t)settings.steps],
                                .timeout_ms = 60000,
                                .is_idempotent = true};
        if (i % (size_t)settings.steps != 0)
            edges[edge_count++] = (EngineEdge){(uint32_t)i, (uint32_t)i + 1};
    }
    const char *id;
    return engine_submit(submission->bench->engine, transaction,
                         &(EngineGraph){.tenant = TENANT,
                                        .cluster_id = cluster,
                                        .workflow = "create",
                                        .created_by = "ann",
                                        .tasks = tasks,
                                        .task_count = count,
                                        .edges = edges,
                                        .edge_count = edge_count},
                         &id, &submission->effects, error);
}

static int submit_job(StoreTransaction *transaction, void *context, Error *error)
{
    Submission *submission = context;
    engine_effects_reset(&submission->effects);
    const char *cluster = store_new_id(transaction);
    const int64_t node_count = submission->tasks / settings.steps;
    _cleanup_free_ const char **nodes = NEW_ARRAY(const char *, (size_t)node_count);
    int r = statement_cluster_insert(transaction,
                                     &(ClusterInsertParameters){.tenant = TENANT,
                                                                .id = cluster,
                                                                .name = cluster,
                                                                .description = "",
                                                                .owner = "ann",
                                                                .template = "t",
                                                                .template_version = 1,
                                                                .provider = "p",
                                                                .request = "{}",
                                                                .plan = "{}",
                                                                .snapshot = "{}",
                                                                .config = "{}",
                                                                .node_count = node_count,
                                                                .created_at = 1},
                                     error);
    if (r >= 0)
        r = insert_nodes(transaction, cluster, node_count, nodes, error);
    if (r >= 0)
        r = submit_graph(submission, transaction, cluster, nodes, error);
    return r;
}

static void submit_all(Bench *bench)
{
    for (int64_t left = bench->total; left > 0; left -= settings.cluster) {
        Submission submission = {.bench = bench, .tasks = MIN(left, settings.cluster)};
        Error error = ERROR_INIT;
        if (store_run(bench->store, STORE_WRITE, submit_job, &submission, &error) < 0)
            die("submit", &error);
        engine_apply(bench->engine, &submission.effects);
        engine_effects_done(&submission.effects);
    }
}

/* Workers
 * ---------------------------------------------------------------------------------------------------------------
 */

static int lease_job(StoreTransaction *transaction, void *context, Error *error)
{
    Worker *worker = context;
    engine_effects_reset(&worker->effects);
    worker->count = 0;
    EngineLease *leases;
    size_t count;
    int r = engine_lease(worker->bench->engine, transaction, PROVISIONER, 1, (unsigned)settings.batch,
                         &leases, &count, &worker->effects, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        (void)string_copy(worker->tasks[i], sizeof(worker->tasks[i]), leases[i].task);
        worker->attempts[i] = leases[i].attempt;
    }
    worker->count = count;
    return 0;
}

static int report_job(StoreTransaction *transaction, void *context, Error *error)
{
    Worker *worker = context;
    engine_effects_reset(&worker->effects);
    EngineReport reports[BATCH_MAXIMUM];
    bool is_accepted[BATCH_MAXIMUM];
    for (size_t i = 0; i < worker->count; i++)
        reports[i] = (EngineReport){.task = worker->tasks[i],
                                    .attempt = worker->attempts[i],
                                    .state = ENGINE_REPORT_SUCCEEDED,
                                    .result = "{}"};
    int r = engine_report_many(worker->bench->engine, transaction, PROVISIONER, 1, reports, worker->count,
                               is_accepted, &worker->effects, error);
    for (size_t i = 0; i < worker->count && r >= 0; i++)
        if (!is_accepted[i])
            return error_set(error, ERROR_STALE, "the report of %s is stale", worker->tasks[i]);
    return r;
}

static void lease_done(int result, const Error *error, void *context);

/* With the lock held. */
static void begin(Worker *worker, StoreJob job, StoreDone done)
{
    Error error = ERROR_INIT;
    worker->bench->jobs++;
    worker->is_idle = false;
    if (store_submit(worker->bench->store, STORE_WRITE, job, done, worker, &error) < 0)
        die("queue", &error);
}

static void report_done(int result, const Error *error, void *context)
{
    Worker *worker = context;
    Bench *bench = worker->bench;
    if (result < 0)
        die("report", error);
    engine_apply(bench->engine, &worker->effects);
    (void)pthread_mutex_lock(&bench->lock);
    bench->jobs--;
    bench->done += (int64_t)worker->count;
    bench->generation++;
    if (bench->done < bench->total)
        for (size_t i = 0; i < (size_t)settings.workers; i++)
            if (bench->workers[i].is_idle)
                begin(&bench->workers[i], lease_job, lease_done);
    worker->is_idle = true;
    if (bench->done < bench->total)
        begin(worker, lease_job, lease_done);
    else if (bench->jobs == 0)
        (void)pthread_cond_signal(&bench->finished);
    (void)pthread_mutex_unlock(&bench->lock);
}

static void lease_done(int result, const Error *error, void *context)
{
    Worker *worker = context;
    Bench *bench = worker->bench;
    if (result < 0)
        die("lease", error);
    engine_apply(bench->engine, &worker->effects);
    (void)pthread_mutex_lock(&bench->lock);
    bench->jobs--;
    worker->is_idle = true;
    if (worker->count > 0)
        begin(worker, report_job, report_done);
    else if (bench->done == bench->total && bench->jobs == 0)
        (void)pthread_cond_signal(&bench->finished);
    else if (bench->done < bench->total && bench->jobs == 0) /* what was made runnable came too late for it */
        begin(worker, lease_job, lease_done);
    (void)pthread_mutex_unlock(&bench->lock);
}

static void work_all(Bench *bench)
{
    (void)pthread_mutex_lock(&bench->lock);
    for (size_t i = 0; i < (size_t)settings.workers; i++) {
        bench->workers[i].bench = bench;
        begin(&bench->workers[i], lease_job, lease_done);
    }
    while (bench->done < bench->total || bench->jobs > 0)
        (void)pthread_cond_wait(&bench->finished, &bench->lock);
    (void)pthread_mutex_unlock(&bench->lock);
    for (size_t i = 0; i < (size_t)settings.workers; i++)
        engine_effects_done(&bench->workers[i].effects);
}

/* One size
 * --------------------------------------------------------------------------------------------------------------
 */

static Store *open_store(const char *location)
{
    Error error = ERROR_INIT;
    Store *store = NULL;
    if (store_open(&(StoreSettings){.location = location, .readers = (unsigned)settings.connections}, &store,
                   &error) < 0 ||
        store_migrate(store, NULL, &error) < 0)
        die(location, &error);
    return store;
}

static Result measure(Store *store, int64_t tasks)
{
    Bench *bench = NEW(Bench);
    *bench = (Bench){.store = store, .total = tasks};
    bench->engine = engine_new(&(EngineSettings){.clock = &system_clock, .random = &system_random});
    (void)pthread_mutex_init(&bench->lock, NULL);
    (void)pthread_cond_init(&bench->finished, NULL);
    Result result = {.cpu = cpu_now()};
    double start = now();
    submit_all(bench);
    double submitted = now();
    work_all(bench);
    result = (Result){submitted - start, now() - submitted, cpu_now() - result.cpu};
    engine_free(bench->engine);
    (void)pthread_cond_destroy(&bench->finished);
    (void)pthread_mutex_destroy(&bench->lock);
    free(bench);
    return result;
}

static void print_ours(const char *dialect, int64_t tasks, Result r)
{
    (void)printf(
        "%-10s %8lld tasks: store %7.2f s, run %7.2f s; %7.0f tasks/s run, %7.0f in all; %6.1f us CPU a task",
        dialect, (long long)tasks, r.submit, r.run, (double)tasks / r.run, (double)tasks / (r.submit + r.run),
        r.cpu * 1e6 / (double)tasks);
}

static double bench_sqlite(int64_t tasks)
{
    _cleanup_free_ char *folder = string_format("%s/bastide-bench-XXXXXX", settings.folder);
    if (!mkdtemp(folder)) {
        perror("bench_engine: mkdtemp");
        exit(1);
    }
    _cleanup_free_ char *path = path_join(folder, "ours.db"), *bare_path = path_join(folder, "bare.db");
    _cleanup_free_ char *location = string_format("sqlite:%s", path);
    _cleanup_free_ char *bare_location = string_format("sqlite:%s", bare_path);

    Store *store = open_store(location);
    Error error = ERROR_INIT;
    if (store_run(store, STORE_WRITE, prepare_tenant, NULL, &error) < 0)
        die("tenant", &error);
    Result ours = measure(store, tasks);
    store_close(store);
    store_close(open_store(bare_location));
    BareResult bare = bare_loop(bare_path, tasks, settings.steps, settings.batch);
    (void)directory_remove(folder);

    print_ours("sqlite", tasks, ours);
    (void)printf("; bare loop %7.0f run, %7.0f in all; ratio %.2f, %.2f\n", (double)tasks / bare.run,
                 (double)tasks / (bare.submit + bare.run), bare.run / ours.run,
                 (bare.submit + bare.run) / (ours.submit + ours.run));
    (void)fflush(stdout);
    return (ours.submit + ours.run) / (double)tasks;
}

static double bench_postgresql(Store *store, int64_t tasks)
{
    Result ours = measure(store, tasks);
    print_ours("postgresql", tasks, ours);
    (void)printf("\n");
    (void)fflush(stdout);
    return (ours.submit + ours.run) / (double)tasks;
}

static bool read_options(int count, char **arguments)
{
    static const struct option names[] = {
        {"largest", required_argument, NULL, 'l'}, {"batch", required_argument, NULL, 'b'},
        {"workers", required_argument, NULL, 'w'}, {"steps", required_argument, NULL, 's'},
        {"cluster", required_argument, NULL, 'c'}, {"connections", required_argument, NULL, 'n'},
        {"folder", required_argument, NULL, 'f'},  {0},
    };
    int option;
    while ((option = getopt_long(count, arguments, "", names, NULL)) >= 0) {
        int64_t *const numbers[] = {&settings.largest, &settings.batch,   &settings.workers,
                                    &settings.steps,   &settings.cluster, &settings.connections};
        static const char letters[] = "lbwscn";
        const char *found = option == '?' ? NULL : strchr(letters, option);
        if (option == 'f')
            settings.folder = optarg;
        else if (!found || string_to_i64(optarg, 1, 1000 * 1000, numbers[found - letters]) < 0)
            return false;
    }
    return optind == count && settings.batch <= BATCH_MAXIMUM && settings.workers <= WORKERS_MAXIMUM &&
           settings.cluster % settings.steps == 0;
}

int main(int count, char **arguments)
{
    if (!read_options(count, arguments)) {
        (void)fprintf(stderr, "usage: bench_engine [--largest N] [--batch N] [--workers N] [--steps N] "
                              "[--cluster N] [--connections N] [--folder PATH]\n");
        return 64;
    }
    const char *conninfo = getenv("BASTIDE_TEST_POSTGRESQL");
    _cleanup_free_ char *location = conninfo ? string_format("postgresql:%s", conninfo) : NULL;
    Store *store = location ? open_store(location) : NULL;
    Error error = ERROR_INIT;
    if (store && store_run(store, STORE_WRITE, prepare_tenant, NULL, &error) < 0 &&
        error.code != ERROR_CONFLICT) /* from a run before */
        die("tenant", &error);

    double least = (double)INFINITY, most = 0;
    for (int64_t tasks = 100; tasks <= settings.largest; tasks *= 10) {
        double cost = store ? bench_postgresql(store, tasks) : bench_sqlite(tasks);
        least = MIN(least, cost);
        most = MAX(most, cost);
    }
    (void)printf("cost per task grows by a factor %.2f at most (limit: 2)\n", most / least);
    store_close(store);
    return 0;
}
