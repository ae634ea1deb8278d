/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Clusters for the tests of the task graph, made from short texts. */

#include "domain/topology/graph.h"
#include "support.h"

enum { SHAPE_SERVICES_MAX = 16, SHAPE_NODES_MAX = 8 };

typedef struct TestShape {
    CatalogEntry *services[SHAPE_SERVICES_MAX];
    ClusterNode nodes[SHAPE_NODES_MAX];
    uint32_t node_services[SHAPE_NODES_MAX][SHAPE_SERVICES_MAX];
    json_t *config;
    ClusterShape shape;
} TestShape;

static inline void test_shape_done(TestShape *test)
{
    for (size_t i = 0; i < test->shape.service_count; i++)
        catalog_entry_unref(test->services[i]);
    json_decref(test->config);
}
#define _cleanup_test_shape_ _cleanup_(test_shape_done)

static inline json_t *words(const char *text)
{
    json_t *array = json_array();
    _cleanup_string_list_ StringList list = {0};
    string_list_split(&list, text, ' ');
    for (size_t i = 0; i < list.count; i++)
        if (*list.items[i])
            (void)json_array_append_new(array, json_string(list.items[i]));
    return array;
}

/* Services must be added in the order of their names. Lists are words with blanks between. */
static inline void add_service(TestShape *test, const char *name, const char *actions, const char *install,
                               const char *runtime, const char *runtime_uses, const char *provides)
{
    _cleanup_json_ json_t *document =
        json_pack("{s:s, s:{s:o, s:{s:o}, s:{s:o, s:o}}}", "name", name, "dependencies", "provides",
                  words(provides), "install", "requires", words(install), "runtime", "requires",
                  words(runtime), "uses", words(runtime_uses));
    _cleanup_json_ json_t *list = words(actions);
    json_t *table = json_object();
    size_t i;
    json_t *action;
    json_array_foreach (list, i, action)
        (void)json_object_set_new(table, json_string_value(action),
                                  json_pack("{s:s, s:{}}", "type", "shell", "fields"));
    (void)json_object_set_new(document, "provisioner", json_pack("{s:o}", "actions", table));
    _cleanup_issues_ IssueList issues = {0};
    if (catalog_entry_parse(CATALOG_SERVICE, document, 1, &test->services[test->shape.service_count++],
                            &issues) < 0) {
        print_issues(&issues);
        fail_msg("bad service %s", name);
    }
}

/* A node with the services of these indexes: "0 1 2". */
static inline void add_test_node(TestShape *test, const char *services)
{
    size_t n = test->shape.node_count++;
    ClusterNode *node = &test->nodes[n];
    *node = (ClusterNode){.number = 1000 + (uint32_t)n, .services = test->node_services[n]};
    for (const char *p = services; *p; p++)
        if (*p != ' ')
            test->node_services[n][node->service_count++] = (uint32_t)(*p - '0');
    test->shape.nodes = test->nodes;
    test->shape.services = test->services;
    test->shape.config = test->config;
}

/* "start s1@1", or "join(start of s1)". */
static inline char *task_text(const ClusterShape *shape, const TaskGraph *graph, uint32_t index)
{
    const PlanTask *task = &graph->tasks[index];
    if (task->node == TASK_NOTHING)
        return string_format("join(%s)", task->label);
    const char *service = task->service == TASK_NOTHING ? "" : shape->services[task->service]->name;
    return string_format("%s%s%s@%u", task_action_to_string(task->action), *service ? " " : "", service,
                         shape->nodes[task->node].number - 999);
}

static inline StringList edge_texts(const ClusterShape *shape, const TaskGraph *graph)
{
    StringList list = {0};
    for (size_t i = 0; i < graph->edge_count; i++) {
        _cleanup_free_ char *before = task_text(shape, graph, graph->edges[i].before),
                            *after = task_text(shape, graph, graph->edges[i].after);
        _cleanup_free_ char *text = string_format("%s > %s", before, after);
        string_list_append(&list, text);
    }
    string_list_sort(&list);
    return list;
}

static inline StringList task_texts(const ClusterShape *shape, const TaskGraph *graph)
{
    StringList list = {0};
    for (uint32_t i = 0; i < graph->task_count; i++) {
        _cleanup_free_ char *text = task_text(shape, graph, i);
        string_list_append(&list, text);
    }
    string_list_sort(&list);
    return list;
}

static inline void compare_lists(StringList *found, const char *const *expected, const char *what)
{
    StringList wanted = {0};
    for (size_t i = 0; expected[i]; i++)
        string_list_append(&wanted, expected[i]);
    string_list_sort(&wanted);
    bool is_same = true;
    for (size_t i = 0; i < found->count; i++)
        if (!string_list_contains(&wanted, found->items[i])) {
            print_message("  unexpected %s: %s\n", what, found->items[i]);
            is_same = false;
        }
    for (size_t i = 0; i < wanted.count; i++)
        if (!string_list_contains(found, wanted.items[i])) {
            print_message("  missing %s: %s\n", what, wanted.items[i]);
            is_same = false;
        }
    bool is_count_same = found->count == wanted.count;
    string_list_done(&wanted);
    string_list_done(found);
    assert_true(is_same);
    assert_true(is_count_same);
}
