/* SPDX-License-Identifier: Apache-2.0 */
#include "bare_loop.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/string.h"

typedef enum Sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_TENANT,
    SQL_CLUSTER,
    SQL_NODE,
    SQL_EXECUTION,
    SQL_TASK,
    SQL_EDGE,
    SQL_LEASE,
    SQL_FINISH,
    SQL_READY,
    SQL_NODE_ACTIVE,
    SQL_EVENT,
    SQL_AUDIT,
    _SQL_MAX,
} Sql;

#define EXECUTION "'abcdefghijklmnopqrst'"
#define CLUSTER   "'bbcdefghijklmnopqrst'"

static const char *const texts[_SQL_MAX] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_TENANT] = "INSERT INTO tenants VALUES ('default_tenant', '', 1, 1, 0, 0)",
    [SQL_CLUSTER] =
        "INSERT INTO clusters VALUES ('default_tenant', " CLUSTER ", 'demo', '', 'ann', 't', 1, 'p', "
        "'pending', '', '{}', '{}', '{}', '{}', 1, '', 1, 1, 0, 1)",
    [SQL_NODE] = "INSERT INTO nodes VALUES ('default_tenant', printf('n%019d', ?1), " CLUSTER
                 ", ?1, 'host', '[]', '', '', "
                 "'', '', 'planned', '', '{}', '[]', 'root', 22, '{}', 0, 1, 1)",
    [SQL_EXECUTION] = "INSERT INTO executions VALUES ('default_tenant', " EXECUTION ", " CLUSTER
                      ", 'create', 'started', '', '{}', 'ann', 1, 1, 0, 1, 0, 0, 0, 0)",
    [SQL_TASK] = "INSERT INTO tasks VALUES ('default_tenant', " EXECUTION ", ?1, " CLUSTER
                 ", printf('n%019d', ?2), 'automator', 'configure', 'web', '{}', 'waiting', 0, 1, 0, 1, 0, "
                 "3, 0, 60000, "
                 "1, '', 0, '', '', '{}', 0, 0, 0)",
    [SQL_EDGE] = "INSERT INTO task_edges VALUES ('default_tenant', " EXECUTION ", ?1 - 1, ?1)",
    [SQL_LEASE] =
        "UPDATE tasks SET state = 'leased', is_runnable = 0, attempt = 1, provisioner_id = "
        "'pqrstuvwxyzabcdefghi', "
        "epoch = 1, started_at = 1763776800000000 WHERE execution_id = " EXECUTION " AND number = ?1",
    [SQL_FINISH] = "UPDATE tasks SET state = 'succeeded', finished_at = 1763776800000000 "
                   "WHERE execution_id = " EXECUTION " AND number = ?1",
    [SQL_READY] =
        "UPDATE tasks SET state = 'ready', is_runnable = 1, waiting_for = 0, ready_at = 1763776800000000, "
        "not_before = 1763776800000000 WHERE execution_id = " EXECUTION " AND number = ?1",
    [SQL_NODE_ACTIVE] = "UPDATE nodes SET active_task = ?1 WHERE id = printf('n%019d', ?2)",
    [SQL_EVENT] = "INSERT INTO events (tenant, time, type, severity, cluster_id, execution_id, node_id, "
                  "task, message, data) "
                  "VALUES ('default_tenant', 1763776800000000, 'task_succeeded', 'info', " CLUSTER
                  ", " EXECUTION ", printf('n%019d', ?2), ?1, 'configure web', '{}')",
    [SQL_AUDIT] =
        "INSERT INTO audit_records VALUES (0, ?2, 1763776800000000, 'provisioner:pqrstuvwxyzabcdefghi', "
        "'default_tenant', '', '', 'task_succeeded', 'task:abcdefghijklmnopqrst-' || ?1, 'done', '{}', "
        "zeroblob(32))",
};

typedef struct Loop {
    sqlite3 *database;
    sqlite3_stmt *statements[_SQL_MAX];
    int64_t steps, audit;
} Loop;

_noreturn_ static void die(const Loop *loop, const char *what)
{
    (void)fprintf(stderr, "bench_engine: bare loop: %s: %s\n", what, sqlite3_errmsg(loop->database));
    exit(1);
}

static void step(Loop *loop, Sql which, int64_t first, int64_t second)
{
    sqlite3_stmt *statement = loop->statements[which];
    const int parameters = sqlite3_bind_parameter_count(statement);
    if (parameters > 0)
        (void)sqlite3_bind_int64(statement, 1, first);
    if (parameters > 1)
        (void)sqlite3_bind_int64(statement, 2, second);
    if (sqlite3_step(statement) != SQLITE_DONE)
        die(loop, texts[which]);
    (void)sqlite3_reset(statement);
}

static double now(void)
{
    return (double)clock_monotonic(&system_clock) / (double)USEC_PER_SEC;
}

static int64_t node_of(const Loop *loop, int64_t task)
{
    return (task - 1) / loop->steps;
}

static bool is_first_on_node(const Loop *loop, int64_t task)
{
    return (task - 1) % loop->steps == 0;
}

static void record(Loop *loop, int64_t task)
{
    step(loop, SQL_EVENT, task, node_of(loop, task));
    step(loop, SQL_AUDIT, task, ++loop->audit);
}

static void make_ready(Loop *loop, int64_t task)
{
    step(loop, SQL_READY, task, 0);
    step(loop, SQL_NODE_ACTIVE, task, node_of(loop, task));
}

static void submit(Loop *loop, int64_t tasks)
{
    step(loop, SQL_BEGIN, 0, 0);
    step(loop, SQL_EXECUTION, 0, 0);
    for (int64_t task = 1; task <= tasks; task++) {
        step(loop, SQL_TASK, task, node_of(loop, task));
        if (is_first_on_node(loop, task))
            make_ready(loop, task);
        else
            step(loop, SQL_EDGE, task, 0);
    }
    step(loop, SQL_COMMIT, 0, 0);
}

/* Step by step over all nodes, as the engine has it with many nodes at work. */
static int64_t nth_task(const Loop *loop, int64_t tasks, int64_t index)
{
    const int64_t nodes = tasks / loop->steps;
    return index % nodes * loop->steps + index / nodes + 1;
}

static void work(Loop *loop, int64_t tasks, int64_t batch)
{
    for (int64_t start = 0; start < tasks; start += batch) {
        const int64_t end = MIN(start + batch, tasks);
        step(loop, SQL_BEGIN, 0, 0);
        for (int64_t i = start; i < end; i++) {
            const int64_t task = nth_task(loop, tasks, i);
            step(loop, SQL_LEASE, task, 0);
            record(loop, task);
        }
        step(loop, SQL_COMMIT, 0, 0);
        step(loop, SQL_BEGIN, 0, 0);
        for (int64_t i = start; i < end; i++) {
            const int64_t task = nth_task(loop, tasks, i);
            step(loop, SQL_FINISH, task, 0);
            record(loop, task);
            if (task % loop->steps == 0)
                step(loop, SQL_NODE_ACTIVE, 0, node_of(loop, task));
            else
                make_ready(loop, task + 1);
        }
        step(loop, SQL_COMMIT, 0, 0);
    }
}

BareResult bare_loop(const char *path, int64_t tasks, int64_t steps, int64_t batch)
{
    Loop loop = {.steps = steps};
    if (sqlite3_open(path, &loop.database) != SQLITE_OK ||
        sqlite3_exec(loop.database,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                     "PRAGMA cache_size = -16000; PRAGMA temp_store = MEMORY",
                     NULL, NULL, NULL) != SQLITE_OK)
        die(&loop, "open");
    for (size_t i = 0; i < _SQL_MAX; i++)
        if (sqlite3_prepare_v2(loop.database, texts[i], -1, &loop.statements[i], NULL) != SQLITE_OK)
            die(&loop, texts[i]);
    step(&loop, SQL_BEGIN, 0, 0);
    step(&loop, SQL_TENANT, 0, 0);
    step(&loop, SQL_CLUSTER, 0, 0);
    for (int64_t node = 0; node < tasks / steps; node++)
        step(&loop, SQL_NODE, node, 0);
    step(&loop, SQL_COMMIT, 0, 0);

    const double start = now();
    submit(&loop, tasks);
    const double submitted = now();
    work(&loop, tasks, batch);
    BareResult result = {submitted - start, now() - submitted};
    for (size_t i = 0; i < _SQL_MAX; i++)
        (void)sqlite3_finalize(loop.statements[i]);
    (void)sqlite3_close(loop.database);
    return result;
}
