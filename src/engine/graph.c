/* SPDX-License-Identifier: Apache-2.0 */
/* Storing a graph: checked for cycles, then written whole in one transaction. */

#include <inttypes.h>

#include "base/string.h"
#include "engine/engine_internal.h"

/* Kahn's algorithm over adjacency in compressed rows. in_degree keeps the counts for the rows of the tasks.
 */
static int check_acyclic(const EngineGraph *graph, uint32_t *in_degree, Error *error)
{
    size_t count = graph->task_count;
    _cleanup_free_ uint32_t *first = NEW_ARRAY(uint32_t, count + 2);
    _cleanup_free_ uint32_t *successors = NEW_ARRAY(uint32_t, graph->edge_count + 1);
    _cleanup_free_ uint32_t *left = NEW_ARRAY(uint32_t, count + 1);
    _cleanup_free_ uint32_t *queue = NEW_ARRAY(uint32_t, count + 1);

    for (size_t i = 0; i < graph->edge_count; i++) {
        const EngineEdge *edge = &graph->edges[i];
        if (edge->predecessor < 1 || edge->predecessor > count || edge->successor < 1 ||
            edge->successor > count)
            return error_set(error, ERROR_INTERNAL, "An edge of the task graph leads nowhere.");
        first[edge->predecessor + 1]++;
        in_degree[edge->successor]++;
    }
    for (size_t i = 1; i <= count + 1; i++)
        first[i] += first[i - 1];
    _cleanup_free_ uint32_t *cursor = memory_duplicate(first, (count + 2) * sizeof(*first));
    for (size_t i = 0; i < graph->edge_count; i++)
        successors[cursor[graph->edges[i].predecessor]++] = graph->edges[i].successor;

    size_t head = 0, tail = 0;
    for (uint32_t number = 1; number <= count; number++) {
        left[number] = in_degree[number];
        if (left[number] == 0)
            queue[tail++] = number;
    }
    while (head < tail) {
        uint32_t number = queue[head++];
        for (uint32_t i = first[number]; i < first[number + 1]; i++)
            if (--left[successors[i]] == 0)
                queue[tail++] = successors[i];
    }
    if (tail < count)
        return error_set(error, ERROR_CYCLE, "The task graph has a cycle through %zu tasks.", count - tail);
    return 0;
}

static int insert_tasks(Engine *engine, StoreTransaction *transaction, const EngineGraph *graph,
                        const char *id, const uint32_t *in_degree, Error *error)
{
    for (size_t i = 0; i < graph->task_count; i++) {
        const EngineTask *task = &graph->tasks[i];
        int r = statement_task_insert(transaction,
                                      &(TaskInsertParameters){
                                          .tenant = graph->tenant,
                                          .execution_id = id,
                                          .number = (int64_t)i + 1,
                                          .cluster_id = graph->cluster_id,
                                          .node_id = task->node_id ?: "",
                                          .kind = task->kind,
                                          .action = task->action,
                                          .service = task->service ?: "",
                                          .details = task->details ?: "{}",
                                          .waiting_for = in_degree[i + 1],
                                          .maximum_failures = task->maximum_failures > 0
                                                                  ? task->maximum_failures
                                                                  : engine->settings.maximum_failures,
                                          .timeout_ms = task->timeout_ms,
                                          .is_idempotent = task->is_idempotent,
                                      },
                                      error);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < graph->edge_count; i++) {
        int r =
            statement_task_edge_insert(transaction,
                                       &(TaskEdgeInsertParameters){.tenant = graph->tenant,
                                                                   .execution_id = id,
                                                                   .predecessor = graph->edges[i].predecessor,
                                                                   .successor = graph->edges[i].successor},
                                       error);
        if (r < 0)
            return r;
    }
    return 0;
}

int engine_submit(Engine *engine, StoreTransaction *transaction, const EngineGraph *graph,
                  const char **ret_execution_id, EngineEffects *effects, Error *error)
{
    if (graph->task_count > ENGINE_TASKS_MAX || graph->edge_count > ENGINE_EDGES_MAX)
        return error_set(error, ERROR_TOO_LARGE,
                         "The plan has %zu tasks and %zu edges; at most %d and %d are possible.",
                         graph->task_count, graph->edge_count, ENGINE_TASKS_MAX, ENGINE_EDGES_MAX);
    _cleanup_free_ uint32_t *in_degree = NEW_ARRAY(uint32_t, graph->task_count + 1);
    int r = check_acyclic(graph, in_degree, error);
    if (r < 0)
        return r;

    const char *id = store_new_id(transaction);
    r = statement_execution_insert(transaction,
                                   &(ExecutionInsertParameters){.tenant = graph->tenant,
                                                                .id = id,
                                                                .cluster_id = graph->cluster_id,
                                                                .workflow = graph->workflow,
                                                                .parameters = graph->parameters ?: "{}",
                                                                .created_by = graph->created_by,
                                                                .created_at = (int64_t)store_now(transaction),
                                                                .tasks_total = (int64_t)graph->task_count},
                                   error);
    if (r >= 0)
        r = insert_tasks(engine, transaction, graph, id, in_degree, error);
    if (r >= 0)
        r = statement_cluster_set_execution(
            transaction,
            &(ClusterSetExecutionParameters){.tenant = graph->tenant,
                                             .id = graph->cluster_id,
                                             .execution_id = id,
                                             .updated_at = (int64_t)store_now(transaction)},
            error);
    if (r < 0)
        return r;
    Transition transition = {.engine = engine,
                             .transaction = transaction,
                             .effects = effects,
                             .error = error,
                             .actor = graph->created_by};
    r = transition_begin_execution(&transition, graph->tenant, graph->cluster_id);
    if (r < 0)
        return r;
    *ret_execution_id = id;
    return 0;
}
