/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/topology/graph.h"

#include <errno.h>

#include "base/string.h"
#include "domain/topology/internal.h"

static const char *const kinds[_TASK_KIND_MAX] = {"provider",    "automator", "firewall",
                                                  "certificate", "bootstrap", "join"};

static const struct {
    const char *name;
    TaskKind kind;
} actions[_TASK_ACTION_MAX] = {
    [TASK_CREATE] = {"create", TASK_KIND_PROVIDER},
    [TASK_CONFIRM] = {"confirm", TASK_KIND_PROVIDER},
    [TASK_BOOTSTRAP] = {"bootstrap", TASK_KIND_BOOTSTRAP},
    [TASK_FIREWALL] = {"firewall", TASK_KIND_FIREWALL},
    [TASK_INSTALL] = {"install", TASK_KIND_AUTOMATOR},
    [TASK_CERTIFICATE] = {"certificate", TASK_KIND_CERTIFICATE},
    [TASK_CONFIGURE] = {"configure", TASK_KIND_AUTOMATOR},
    [TASK_INITIALIZE] = {"initialize", TASK_KIND_AUTOMATOR},
    [TASK_START] = {"start", TASK_KIND_AUTOMATOR},
    [TASK_STOP] = {"stop", TASK_KIND_AUTOMATOR},
    [TASK_REMOVE] = {"remove", TASK_KIND_AUTOMATOR},
    [TASK_DELETE] = {"delete", TASK_KIND_PROVIDER},
    [TASK_JOIN] = {"join", TASK_KIND_JOIN},
};

const char *task_kind_to_string(TaskKind kind)
{
    return kind < _TASK_KIND_MAX ? kinds[kind] : NULL;
}

const char *task_action_to_string(TaskAction action)
{
    return action >= 0 && action < _TASK_ACTION_MAX ? actions[action].name : NULL;
}

TaskAction task_action_from_string(const char *text)
{
    for (TaskAction action = 0; action < _TASK_ACTION_MAX; action++)
        if (string_equal(actions[action].name, text))
            return action;
    return _TASK_ACTION_INVALID;
}

TaskKind task_action_kind(TaskAction action)
{
    return actions[action].kind;
}

TaskGraph *task_graph_free(TaskGraph *graph)
{
    if (!graph)
        return NULL;
    free(graph->tasks);
    free(graph->edges);
    arena_free(graph->arena);
    free(graph);
    return NULL;
}

uint32_t graph_add_task(TaskGraph *graph, TaskAction action, uint32_t node, uint32_t service)
{
    if (graph->task_count == graph->task_capacity) {
        graph->task_capacity = graph->task_capacity ? graph->task_capacity * 2 : 64;
        graph->tasks = memory_resize_array(graph->tasks, graph->task_capacity, sizeof(PlanTask));
    }
    ASSERT(graph->task_count < TASK_NOTHING);
    graph->tasks[graph->task_count] =
        (PlanTask){.action = action, .node = node, .service = service, .certificate = TASK_NOTHING};
    return (uint32_t)graph->task_count++;
}

void graph_add_edge(TaskGraph *graph, uint32_t before, uint32_t after)
{
    if (graph->edge_count == graph->edge_capacity) {
        graph->edge_capacity = graph->edge_capacity ? graph->edge_capacity * 2 : 64;
        graph->edges = memory_resize_array(graph->edges, graph->edge_capacity, sizeof(PlanEdge));
    }
    graph->edges[graph->edge_count++] = (PlanEdge){before, after};
}

void graph_connect(TaskGraph *graph, const uint32_t *before, size_t before_count, const uint32_t *after,
                   size_t after_count, unsigned flags, uint32_t *join, const char *label)
{
    bool has_join = before_count > 0 && after_count > 0 &&
                    before_count * after_count > before_count + after_count && !(flags & GRAPH_WITHOUT_JOINS);
    for (size_t i = 0; i < before_count && !has_join; i++)
        for (size_t j = 0; j < after_count; j++)
            graph_add_edge(graph, before[i], after[j]);
    if (!has_join)
        return;
    if (*join == TASK_NOTHING) {
        *join = graph_add_task(graph, TASK_JOIN, TASK_NOTHING, TASK_NOTHING);
        graph->tasks[*join].label = arena_string(graph->arena, label);
        for (size_t i = 0; i < before_count; i++)
            graph_add_edge(graph, before[i], *join);
    }
    for (size_t j = 0; j < after_count; j++)
        graph_add_edge(graph, *join, after[j]);
}

static int compare_edges(const void *a, const void *b)
{
    const PlanEdge *x = a, *y = b;
    if (x->before != y->before)
        return x->before < y->before ? -1 : 1;
    return x->after < y->after ? -1 : x->after > y->after;
}

void graph_unique_edges(TaskGraph *graph)
{
    size_t count = 0;
    if (graph->edge_count > 1)
        qsort(graph->edges, graph->edge_count, sizeof(PlanEdge), compare_edges);
    for (size_t i = 0; i < graph->edge_count; i++)
        if (i == 0 || compare_edges(&graph->edges[i], &graph->edges[i - 1]) != 0)
            graph->edges[count++] = graph->edges[i];
    graph->edge_count = count;
}

/* Successors in one array, in the order of the edges. */
typedef struct Successors {
    size_t *start; /* task_count + 1 */
    uint32_t *items;
    uint32_t *predecessor_count;
} Successors;

static void successors_done(Successors *successors)
{
    free(successors->start);
    free(successors->items);
    free(successors->predecessor_count);
}

static void successors_make(const TaskGraph *graph, Successors *successors)
{
    size_t n = graph->task_count;
    successors->start = NEW_ARRAY(size_t, n + 1);
    successors->items = NEW_ARRAY(uint32_t, graph->edge_count);
    successors->predecessor_count = NEW_ARRAY(uint32_t, n);
    for (size_t i = 0; i < graph->edge_count; i++) {
        successors->start[graph->edges[i].before + 1]++;
        successors->predecessor_count[graph->edges[i].after]++;
    }
    for (size_t i = 0; i < n; i++)
        successors->start[i + 1] += successors->start[i];
    _cleanup_free_ size_t *next = memory_duplicate(successors->start, (n + 1) * sizeof(size_t));
    for (size_t i = 0; i < graph->edge_count; i++)
        successors->items[next[graph->edges[i].before]++] = graph->edges[i].after;
}

static int order_of(const TaskGraph *graph, Successors *successors, uint32_t *order, Error *error)
{
    size_t head = 0, tail = 0;
    for (size_t i = 0; i < graph->task_count; i++)
        if (successors->predecessor_count[i] == 0)
            order[tail++] = (uint32_t)i;
    for (; head < tail; head++)
        for (size_t i = successors->start[order[head]]; i < successors->start[order[head] + 1]; i++)
            if (--successors->predecessor_count[successors->items[i]] == 0)
                order[tail++] = successors->items[i];
    if (tail < graph->task_count)
        return error_set(error, ERROR_CYCLE, "the tasks wait for each other in a cycle");
    return 0;
}

int task_graph_order(const TaskGraph *graph, uint32_t **ret_order, Error *error)
{
    _cleanup_(successors_done) Successors successors = {0};
    successors_make(graph, &successors);
    _cleanup_free_ uint32_t *order = NEW_ARRAY(uint32_t, graph->task_count);
    int r = order_of(graph, &successors, order, error);
    if (r < 0)
        return r;
    *ret_order = TAKE_PTR(order);
    return 0;
}

int task_graph_critical_path(const TaskGraph *graph, uint32_t **ret_path, size_t *ret_length, Error *error)
{
    size_t n = graph->task_count;
    _cleanup_(successors_done) Successors successors = {0};
    successors_make(graph, &successors);
    _cleanup_free_ uint32_t *order = NEW_ARRAY(uint32_t, n), *length = NEW_ARRAY(uint32_t, n);
    _cleanup_free_ uint32_t *before = NEW_ARRAY(uint32_t, n), *path = NEW_ARRAY(uint32_t, n);
    int r = order_of(graph, &successors, order, error);
    if (r < 0)
        return r;
    memset(before, 0xff, n * sizeof(uint32_t));
    uint32_t last = TASK_NOTHING, longest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t task = order[i];
        length[task] += graph->tasks[task].action != TASK_JOIN;
        if (length[task] > longest || (task < last && length[task] == longest)) {
            longest = length[task];
            last = task;
        }
        for (size_t j = successors.start[task]; j < successors.start[task + 1]; j++) {
            uint32_t next = successors.items[j];
            if (length[task] > length[next] || (task < before[next] && length[task] == length[next])) {
                length[next] = length[task];
                before[next] = task;
            }
        }
    }
    size_t count = 0;
    for (uint32_t task = last; task != TASK_NOTHING; task = before[task])
        count += graph->tasks[task].action != TASK_JOIN;
    size_t position = count;
    for (uint32_t task = last; task != TASK_NOTHING; task = before[task])
        if (graph->tasks[task].action != TASK_JOIN)
            path[--position] = task;
    *ret_path = TAKE_PTR(path);
    *ret_length = count;
    return 0;
}
