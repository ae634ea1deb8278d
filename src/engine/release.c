/* SPDX-License-Identifier: Apache-2.0 */
/* What may go on when tasks have succeeded: whoever waits for their nodes, and their successors. All tasks of
 * a request together, so that the number of questions to the database does not grow with their number.
 *
 * Nodes are looked at once and then known as claims: who has the node now, and who will have it. What changed
 * is written at the end. */

#include "base/map.h"
#include "base/string.h"
#include "engine/engine_internal.h"

enum { RELEASE_PAGE = 256, CLAIM_UNKNOWN = -1 };

/* The task that holds a node, in the database and now; 0 = none. */
typedef struct Claim {
    int64_t stored, number;
} Claim;

typedef struct WaitingTask {
    int64_t number, waiting_for;
    const char *kind, *node_id;
} WaitingTask;

typedef struct Release {
    Transition *transition;
    const char *tenant, *execution_id;
    ExecutionProgress *progress;
    StringMap *claims; /* node id to Claim, in the arena */
    /* Tasks that have ended and whose successors are still to be counted down. */
    int64_t *frontier;
    size_t frontier_count, frontier_capacity;
} Release;

static int64_t now(const Release *release)
{
    return (int64_t)store_now(release->transition->transaction);
}

static void *allocate(const Release *release, size_t count, size_t size)
{
    return arena_allocate_array(store_arena(release->transition->transaction), MAX(count, (size_t)1), size);
}

static void frontier_push(Release *release, int64_t number)
{
    if (release->frontier_count == release->frontier_capacity) {
        release->frontier_capacity = MAX(release->frontier_capacity * 2, (size_t)16);
        release->frontier =
            memory_resize_array(release->frontier, release->frontier_capacity, sizeof(*release->frontier));
    }
    release->frontier[release->frontier_count++] = number;
}

/* --- nodes --- */

static Claim *claim_add(Release *release, const char *node_id, int64_t stored, int64_t number)
{
    Claim *claim = allocate(release, 1, sizeof(*claim));
    *claim = (Claim){stored, number};
    string_map_set(release->claims, node_id, claim);
    return claim;
}

/* Reads the nodes of some tasks that are not known yet. */
static int claims_read(Release *release, const WaitingTask *tasks, size_t count)
{
    Transition *transition = release->transition;
    const char **ids = allocate(release, count, sizeof(*ids));
    StoreTexts list = {ids, 0};
    for (size_t i = 0; i < count; i++)
        if (*tasks[i].node_id && !string_map_has(release->claims, tasks[i].node_id))
            ids[list.count++] = tasks[i].node_id;
    if (list.count == 0)
        return 0;
    NodesActiveRow *rows;
    size_t row_count;
    int r = statement_nodes_active(transition->transaction,
                                   &(NodesActiveParameters){.tenant = release->tenant, .ids = list}, &rows,
                                   &row_count, transition->error);
    for (size_t i = 0; i < row_count && r >= 0; i++)
        (void)claim_add(release, rows[i].id, rows[i].active_task, rows[i].active_task);
    return r;
}

static int claims_write(Release *release)
{
    Transition *transition = release->transition;
    int r = 0;
    STRING_MAP_FOREACH (release->claims, node) {
        const Claim *claim = node.value;
        if (claim->number == claim->stored)
            continue;
        r = statement_node_set_active(transition->transaction,
                                      &(NodeSetActiveParameters){.tenant = release->tenant,
                                                                 .node_id = node.key,
                                                                 .number = claim->number},
                                      transition->error);
        if (r < 0)
            break;
    }
    release->claims = string_map_free(release->claims);
    release->claims = string_map_new(NULL);
    return r;
}

/* The nodes that the tasks held go to the next in their queues, or to nobody. */
static int release_nodes(Release *release, const ReleasedTask *tasks, size_t count)
{
    Transition *transition = release->transition;
    const char **ids = allocate(release, count, sizeof(*ids));
    StoreTexts list = {ids, 0};
    for (size_t i = 0; i < count; i++)
        if (*tasks[i].node_id && !string_map_has(release->claims, tasks[i].node_id)) {
            (void)claim_add(release, tasks[i].node_id, CLAIM_UNKNOWN, 0);
            ids[list.count++] = tasks[i].node_id;
        }
    if (list.count == 0)
        return 0;
    TasksNextOnNodesRow *rows;
    size_t row_count;
    int r = statement_tasks_next_on_nodes(
        transition->transaction, &(TasksNextOnNodesParameters){.tenant = release->tenant, .node_ids = list},
        &rows, &row_count, transition->error);
    for (size_t i = 0; i < row_count && r >= 0; i++) {
        Claim *claim = string_map_get(release->claims, rows[i].node_id);
        if (!claim || claim->number != 0)
            continue;
        claim->number = rows[i].number;
        transition->effects->has_runnable = true;
        r = statement_task_set_runnable(transition->transaction,
                                        &(TaskSetRunnableParameters){.tenant = release->tenant,
                                                                     .execution_id = rows[i].execution_id,
                                                                     .number = rows[i].number,
                                                                     .not_before = now(release)},
                                        transition->error);
    }
    return r;
}

/* --- tasks --- */

/* Ready; runnable at once when its node is free or it has none. */
static int make_ready(Release *release, const WaitingTask *task)
{
    Transition *transition = release->transition;
    Claim *claim = *task->node_id ? string_map_get(release->claims, task->node_id) : NULL;
    const bool is_runnable = !*task->node_id || (claim && claim->number == 0);
    if (is_runnable && claim)
        claim->number = task->number;
    transition->effects->has_runnable |= is_runnable;
    return statement_task_set_ready(transition->transaction,
                                    &(TaskSetReadyParameters){.tenant = release->tenant,
                                                              .execution_id = release->execution_id,
                                                              .number = task->number,
                                                              .is_runnable = is_runnable,
                                                              .not_before = now(release),
                                                              .ready_at = now(release)},
                                    transition->error);
}

static int finish_join(Release *release, const WaitingTask *task)
{
    release->progress->finished++;
    frontier_push(release, task->number);
    return statement_task_finish(release->transition->transaction,
                                 &(TaskFinishParameters){.tenant = release->tenant,
                                                         .execution_id = release->execution_id,
                                                         .number = task->number,
                                                         .state = "succeeded",
                                                         .error_code = "",
                                                         .error_message = "",
                                                         .result = "{}",
                                                         .finished_at = now(release)},
                                 release->transition->error);
}

static int still_waiting(Release *release, const WaitingTask *task)
{
    return statement_task_set_waiting(release->transition->transaction,
                                      &(TaskSetWaitingParameters){.tenant = release->tenant,
                                                                  .execution_id = release->execution_id,
                                                                  .number = task->number,
                                                                  .waiting_for = task->waiting_for},
                                      release->transition->error);
}

/* Tasks whose waiting_for says how many they still wait for. */
static int enter(Release *release, const WaitingTask *tasks, size_t count)
{
    int r = claims_read(release, tasks, count);
    for (size_t i = 0; i < count && r >= 0; i++) {
        if (tasks[i].waiting_for > 0)
            r = still_waiting(release, &tasks[i]);
        else if (string_equal(tasks[i].kind, "join"))
            r = finish_join(release, &tasks[i]);
        else
            r = make_ready(release, &tasks[i]);
    }
    return r;
}

/* Edges in order of their successors, each with how many of its predecessors have ended now. */
static int release_edges(Release *release, const TaskEdgesFromRow *edges, size_t count)
{
    Transition *transition = release->transition;
    if (count == 0)
        return 0;
    int64_t *numbers = allocate(release, count, sizeof(*numbers));
    for (size_t i = 0; i < count; i++)
        numbers[i] = edges[i].successor;
    TasksWaitingRow *rows;
    size_t row_count;
    int r = statement_tasks_waiting(transition->transaction,
                                    &(TasksWaitingParameters){.tenant = release->tenant,
                                                              .execution_id = release->execution_id,
                                                              .numbers = {numbers, count}},
                                    &rows, &row_count, transition->error);
    if (r < 0)
        return r;
    WaitingTask *tasks = allocate(release, row_count, sizeof(*tasks));
    for (size_t i = 0, edge = 0; i < row_count; i++) {
        while (edge + 1 < count && edges[edge].successor < rows[i].number) /* it waits no more */
            edge++;
        tasks[i] = (WaitingTask){rows[i].number, rows[i].waiting_for - edges[edge].ended, rows[i].kind,
                                 rows[i].node_id};
    }
    return enter(release, tasks, row_count);
}

static int release_successors(Release *release, StoreIntegers predecessors)
{
    Transition *transition = release->transition;
    int64_t after = 0;
    for (;;) {
        TaskEdgesFromRow *edges;
        size_t count;
        int r = statement_task_edges_from(transition->transaction,
                                          &(TaskEdgesFromParameters){.tenant = release->tenant,
                                                                     .execution_id = release->execution_id,
                                                                     .predecessors = predecessors,
                                                                     .after = after,
                                                                     .maximum = RELEASE_PAGE},
                                          &edges, &count, transition->error);
        if (r >= 0)
            r = release_edges(release, edges, count);
        if (r < 0 || count < RELEASE_PAGE)
            return r;
        after = edges[count - 1].successor;
    }
}

static int drain_frontier(Release *release)
{
    int r = 0;
    while (release->frontier_count > 0 && r >= 0) {
        const size_t count = MIN(release->frontier_count, (size_t)RELEASE_PAGE);
        int64_t *numbers = allocate(release, count, sizeof(*numbers));
        release->frontier_count -= count;
        memcpy(numbers, release->frontier + release->frontier_count, count * sizeof(*numbers));
        r = release_successors(release, (StoreIntegers){numbers, count});
    }
    return r;
}

static int release_root_pages(Release *release)
{
    Transition *transition = release->transition;
    int64_t after = 0;
    for (;;) {
        TasksRootsRow *rows;
        size_t count;
        int r = statement_tasks_roots(transition->transaction,
                                      &(TasksRootsParameters){.tenant = release->tenant,
                                                              .execution_id = release->execution_id,
                                                              .after = after,
                                                              .maximum = RELEASE_PAGE},
                                      &rows, &count, transition->error);
        if (r < 0)
            return r;
        WaitingTask *tasks = allocate(release, count, sizeof(*tasks));
        for (size_t i = 0; i < count; i++)
            tasks[i] = (WaitingTask){rows[i].number, 0, rows[i].kind, rows[i].node_id};
        r = enter(release, tasks, count);
        if (r >= 0)
            r = claims_write(release);
        if (r < 0 || count < RELEASE_PAGE)
            return r;
        after = rows[count - 1].number;
    }
}

/* --- from outside --- */

static Release release_begin(Transition *transition, TaskKey key, ExecutionProgress *progress)
{
    return (Release){.transition = transition,
                     .tenant = key.tenant,
                     .execution_id = key.execution_id,
                     .progress = progress,
                     .claims = string_map_new(NULL)};
}

static int release_end(Release *release, int r)
{
    if (r >= 0)
        r = drain_frontier(release);
    if (r >= 0)
        r = claims_write(release);
    string_map_free(release->claims);
    free(release->frontier);
    return MIN(r, 0);
}

int transition_release_roots(Transition *transition, TaskKey key, ExecutionProgress *progress)
{
    Release release = release_begin(transition, key, progress);
    return release_end(&release, release_root_pages(&release));
}

/* Tasks of one execution. */
static int release_tasks(Transition *transition, const ReleasedTask *tasks, size_t count,
                         ExecutionProgress *progress)
{
    Release release = release_begin(transition, tasks[0].key, progress);
    for (size_t i = 0; i < count; i++)
        frontier_push(&release, tasks[i].key.number);
    return release_end(&release, release_nodes(&release, tasks, count));
}

int transition_release(Transition *transition, TaskKey key, const char *node_id, ExecutionProgress *progress)
{
    const ReleasedTask task = {key, node_id};
    if (!transition->batch)
        return release_tasks(transition, &task, 1, progress);
    TransitionBatch *batch = transition->batch;
    batch->released = transition_grow(transition, batch->released, batch->released_count,
                                      &batch->released_capacity, sizeof(task));
    batch->released[batch->released_count++] = task;
    return 0;
}

int transition_release_batch(Transition *transition)
{
    ReleasedTask *tasks = transition->batch->released;
    size_t count = transition->batch->released_count;
    int r = 0;
    while (count > 0 && r >= 0) {
        /* Those of the first one's execution to the front. */
        size_t same = 1;
        for (size_t i = 1; i < count; i++) {
            if (!string_equal(tasks[i].key.execution_id, tasks[0].key.execution_id))
                continue;
            const ReleasedTask other = tasks[same];
            tasks[same++] = tasks[i];
            tasks[i] = other;
        }
        ExecutionProgress progress = {0};
        r = release_tasks(transition, tasks, same, &progress);
        if (r >= 0)
            r = transition_progress(transition, tasks[0].key.tenant, tasks[0].key.execution_id, progress);
        tasks += same;
        count -= same;
    }
    return r;
}
