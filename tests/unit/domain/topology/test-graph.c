/* SPDX-License-Identifier: Apache-2.0 */

/* The task graph: the planner cases of the reference study (chapter 3.3), then what is new here: joins,
 * addresses, firewalls, certificates. Two nodes: n1{s1}, n2{s1,s2,s3}; at run time s2 needs s1, s3 needs s1
 * and s2. */

#include "domain/topology/hostname.h"
#include "shape.h"

enum { BARE = GRAPH_WITHOUT_FIREWALL | GRAPH_WITHOUT_CERTIFICATES };

static void make_reference(TestShape *test, const char *s1, const char *s2, const char *s3)
{
    add_service(test, "s1", s1, "", "", "", "");
    add_service(test, "s2", s2, "", "s1", "", "");
    add_service(test, "s3", s3, "", "s1 s2", "", "");
    add_test_node(test, "0");
    add_test_node(test, "012");
}

static void expect(const TestShape *test, ClusterAction action, const GraphScope *scope,
                   const char *const *edges)
{
    _cleanup_task_graph_ TaskGraph *graph = NULL;
    Error error = ERROR_INIT;
    if (task_graph_build(&test->shape, action, scope, &graph, &error) < 0)
        fail_msg("%s", error.text);
    _cleanup_free_ uint32_t *order = NULL;
    assert_int_equal(task_graph_order(graph, &order, NULL), 0);
    StringList found = edge_texts(&test->shape, graph);
    for (size_t i = 1; i < found.count; i++)
        assert_string_not_equal(found.items[i - 1], found.items[i]);
    compare_lists(&found, edges, "edge");
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NONE      ((const char *const[]){NULL})

static void expect_dependencies(const TestShape *test, ServiceAction action, const char *const *pairs)
{
    _cleanup_free_ bool *matrix = NULL;
    size_t n = test->shape.service_count;
    assert_int_equal(service_dependencies(&test->shape, action, &matrix, NULL), 0);
    StringList found = {0};
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++)
            if (matrix[a * n + b]) {
                _cleanup_free_ char *text =
                    string_format("%s>%s", test->services[a]->name, test->services[b]->name);
                string_list_append(&found, text);
            }
    compare_lists(&found, pairs, "dependency");
}

static void check_minimise(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    add_service(&test, "base", "start", "", "", "", "");
    add_service(&test, "s1", "start", "", "base", "", "");
    add_service(&test, "s2", "start", "", "base s1", "", "");
    add_service(&test, "s3", "start", "", "base s1 s2", "", "");
    add_service(&test, "s4", "start", "", "base", "", "");
    add_service(&test, "s5", "start", "", "base s1 s2 s3 s4", "", "");
    add_test_node(&test, "012345");
    expect_dependencies(&test, SERVICE_START, LIST("s1>base", "s2>s1", "s3>s2", "s4>base", "s5>s3", "s5>s4"));
}

static void check_provides(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    add_service(&test, "base", "start", "", "", "", "");
    add_service(&test, "s1", "start", "", "base", "", "");
    add_service(&test, "s2-v1", "start", "", "s1", "", "s2");
    add_service(&test, "s2-v2", "start", "", "s1", "", "s2");
    add_service(&test, "s3", "start", "", "base s1 s2", "", "");
    add_test_node(&test, "01234");
    expect_dependencies(&test, SERVICE_START,
                        LIST("s1>base", "s2-v1>s1", "s2-v2>s1", "s3>s2-v1", "s3>s2-v2"));
}

static void check_pass_through(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    add_service(&test, "s1", "initialize start", "", "", "", "");
    add_service(&test, "s2", "configure initialize", "", "s1", "", "");
    add_service(&test, "s3", "start", "", "s1", "", "");
    add_service(&test, "s4", "initialize start", "", "s2 s3 s6", "", "");
    add_service(&test, "s5", "initialize start", "", "", "", "");
    add_service(&test, "s6", "initialize", "", "s5", "", "");
    add_test_node(&test, "012345");
    expect(&test, CLUSTER_CREATE, &(GraphScope){.flags = BARE},
           LIST("create@1 > confirm@1", "confirm@1 > bootstrap@1", "bootstrap@1 > initialize s1@1",
                "initialize s1@1 > start s1@1", "bootstrap@1 > configure s2@1",
                "configure s2@1 > initialize s2@1", "bootstrap@1 > start s3@1",
                "bootstrap@1 > initialize s4@1", "initialize s4@1 > start s4@1",
                "bootstrap@1 > initialize s5@1", "initialize s5@1 > start s5@1",
                "bootstrap@1 > initialize s6@1",
                /* across services */
                "start s1@1 > initialize s2@1", "start s1@1 > start s3@1", "start s3@1 > start s4@1",
                "start s5@1 > start s4@1", "start s3@1 > initialize s4@1", "start s5@1 > initialize s4@1",
                "start s5@1 > initialize s6@1"));
}

static void check_uses(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    add_service(&test, "s1", "install", "", "", "", "");
    _cleanup_json_ json_t *document =
        quoted_json("{'name':'s2','dependencies':{'install':{'uses':['s1','s3']}},"
                    "'provisioner':{'actions':{'install':{'type':'shell'}}}}");
    _cleanup_issues_ IssueList issues = {0};
    assert_int_equal(catalog_entry_parse(CATALOG_SERVICE, document, 1, &test.services[1], &issues), 0);
    test.shape.service_count = 2;
    add_test_node(&test, "01");
    expect(&test, CLUSTER_CREATE, &(GraphScope){.flags = BARE},
           LIST("create@1 > confirm@1", "confirm@1 > bootstrap@1", "bootstrap@1 > install s1@1",
                "bootstrap@1 > install s2@1", "install s1@1 > install s2@1"));
}

#define NODE1_CREATE                                                                                         \
    "create@1 > confirm@1", "confirm@1 > bootstrap@1", "bootstrap@1 > configure s1@1",                       \
        "configure s1@1 > start s1@1"
#define NODE2_CREATE                                                                                         \
    "create@2 > confirm@2", "confirm@2 > bootstrap@2", "bootstrap@2 > configure s1@2",                       \
        "configure s1@2 > start s1@2", "bootstrap@2 > install s2@2", "install s2@2 > configure s2@2",        \
        "bootstrap@2 > install s3@2", "install s3@2 > configure s3@2", "configure s3@2 > initialize s3@2",   \
        "initialize s3@2 > start s3@2", "start s1@2 > initialize s3@2", "start s1@2 > start s3@2",           \
        "start s1@1 > initialize s3@2", "start s1@1 > start s3@2"

static void check_create(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    make_reference(&test, "configure start", "install configure", "install configure initialize start");
    expect(&test, CLUSTER_CREATE, &(GraphScope){.flags = BARE}, LIST(NODE1_CREATE, NODE2_CREATE));
    const bool first[] = {true, false}, second[] = {false, true};
    expect(&test, CLUSTER_CREATE, &(GraphScope){.nodes = first, .flags = BARE}, LIST(NODE1_CREATE));
    expect(&test, CLUSTER_CREATE, &(GraphScope){.nodes = second, .flags = BARE}, LIST(NODE2_CREATE));
    /* When what is outside runs already, nothing outside is touched. */
    _cleanup_task_graph_ TaskGraph *graph = NULL;
    assert_int_equal(task_graph_build(&test.shape, CLUSTER_CREATE,
                                      &(GraphScope){.nodes = second, .flags = BARE | GRAPH_ASSUME_RUNNING},
                                      &graph, NULL),
                     0);
    for (size_t i = 0; i < graph->task_count; i++)
        assert_int_equal(graph->tasks[i].node, 1);
}

static void check_configure(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    make_reference(&test, "configure", "install", "configure");
    expect(
        &test, CLUSTER_CONFIGURE, NULL,
        LIST("bootstrap@1 > configure s1@1", "bootstrap@2 > configure s1@2", "bootstrap@2 > configure s3@2"));
}

#define STOP_ALL      "stop s3@2 > stop s2@2", "stop s2@2 > stop s1@1", "stop s2@2 > stop s1@2"
#define START_UP_TO_2 "start s1@1 > start s2@2", "start s1@2 > start s2@2"

static void check_configure_with_restart(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    make_reference(&test, "configure stop start", "stop start", "configure stop start");
    expect(&test, CLUSTER_CONFIGURE_WITH_RESTART, NULL,
           LIST("bootstrap@1 > stop s1@1", "stop s1@1 > configure s1@1", "configure s1@1 > start s1@1",
                "bootstrap@2 > stop s1@2", "stop s1@2 > configure s1@2", "configure s1@2 > start s1@2",
                "bootstrap@2 > stop s2@2", "stop s2@2 > start s2@2", "bootstrap@2 > stop s3@2",
                "stop s3@2 > configure s3@2", "configure s3@2 > start s3@2", STOP_ALL, START_UP_TO_2,
                "start s2@2 > start s3@2"));
}

static void check_stop_and_start(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    make_reference(&test, "configure stop start", "stop start", "stop start");
    const bool s1[] = {true, false, false}, s2[] = {false, true, false}, s3[] = {false, false, true};
    expect(&test, CLUSTER_STOP_SERVICES, NULL, LIST(STOP_ALL));
    expect(&test, CLUSTER_STOP_SERVICES, &(GraphScope){.services = s1}, LIST(STOP_ALL));
    expect(&test, CLUSTER_STOP_SERVICES, &(GraphScope){.services = s3}, NONE);
    expect(&test, CLUSTER_START_SERVICES, &(GraphScope){.services = s2}, LIST(START_UP_TO_2));
    expect(&test, CLUSTER_START_SERVICES, &(GraphScope){.services = s3},
           LIST(START_UP_TO_2, "start s2@2 > start s3@2"));
    expect(&test, CLUSTER_RESTART_SERVICES, &(GraphScope){.services = s1},
           LIST(STOP_ALL, START_UP_TO_2, "start s2@2 > start s3@2", "stop s1@1 > start s1@1",
                "stop s1@2 > start s1@2", "stop s2@2 > start s2@2", "stop s3@2 > start s3@2"));
}

static void check_add_service(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    add_service(&test, "s1", "install start", "", "", "", "");
    add_service(&test, "s2", "install start", "", "", "", "");
    add_service(&test, "s3", "install configure start", "s1 s2", "", "", "");
    add_test_node(&test, "0");
    add_test_node(&test, "012");
    const bool s3[] = {false, false, true};
    GraphScope scope = {.services = s3, .flags = BARE};
    expect(
        &test, CLUSTER_ADD_SERVICES, &scope,
        LIST("bootstrap@2 > install s3@2", "install s3@2 > configure s3@2", "configure s3@2 > start s3@2"));
    /* With firewalls each node learns of the new one before it starts. */
    scope.flags = GRAPH_WITHOUT_CERTIFICATES;
    expect(&test, CLUSTER_ADD_SERVICES, &scope,
           LIST("bootstrap@2 > install s3@2", "install s3@2 > configure s3@2", "configure s3@2 > start s3@2",
                "bootstrap@2 > firewall@2", "firewall@1 > start s3@2", "firewall@2 > start s3@2"));
}

static void check_delete(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    make_reference(&test, "", "", "");
    _cleanup_task_graph_ TaskGraph *graph = NULL;
    assert_int_equal(task_graph_build(&test.shape, CLUSTER_DELETE, NULL, &graph, NULL), 0);
    assert_int_equal(graph->edge_count, 0);
    StringList tasks = task_texts(&test.shape, graph);
    compare_lists(&tasks, LIST("delete@1", "delete@2"), "task");
}

static void check_cycles(void **state)
{
    PlanTask task = {.action = TASK_START, .node = TASK_NOTHING, .service = TASK_NOTHING};
    PlanEdge edge = {0, 0};
    TaskGraph graph = {.tasks = &task, .task_count = 1, .edges = &edge, .edge_count = 1};
    uint32_t *order = NULL;
    Error error = ERROR_INIT;
    assert_true(task_graph_order(&graph, &order, &error) < 0);
    assert_int_equal(error.code, ERROR_CYCLE);

    _cleanup_test_shape_ TestShape test = {0};
    add_service(&test, "a", "start", "", "b", "", "");
    add_service(&test, "b", "start", "", "", "c", "");
    add_service(&test, "c", "start", "", "a", "", "");
    add_service(&test, "d", "start", "", "a", "", "");
    add_test_node(&test, "0123");
    TaskGraph *none = NULL;
    error = ERROR_INIT;
    assert_true(task_graph_build(&test.shape, CLUSTER_CREATE, NULL, &none, &error) < 0);
    assert_int_equal(error.code, ERROR_CYCLE);
    assert_non_null(strstr(error.text, "a, b, c"));
    assert_null(strstr(error.text, "d"));
}

/* Large groups go through a join; what must come before what stays the same. */
static void check_joins(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    add_service(&test, "s1", "start", "", "", "", "");
    add_service(&test, "s2", "start", "", "s1", "", "");
    for (int i = 0; i < 3; i++)
        add_test_node(&test, "01");
    expect(&test, CLUSTER_START_SERVICES, NULL,
           LIST("start s1@1 > join(start of s1)", "start s1@2 > join(start of s1)",
                "start s1@3 > join(start of s1)", "join(start of s1) > start s2@1",
                "join(start of s1) > start s2@2", "join(start of s1) > start s2@3"));
    _cleanup_task_graph_ TaskGraph *direct = NULL;
    assert_int_equal(task_graph_build(&test.shape, CLUSTER_START_SERVICES,
                                      &(GraphScope){.flags = GRAPH_WITHOUT_JOINS}, &direct, NULL),
                     0);
    assert_int_equal(direct->edge_count, 9);
}

/* Tasks wait for the addresses that their configuration names, and for no others. */
static void check_addresses(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    test.config = quoted_json("{'peer':'%ip.service.s2%','name':'%host.service.s1%'}");
    add_service(&test, "s1", "install start", "", "", "", "");
    add_service(&test, "s2", "start", "", "", "", "");
    add_test_node(&test, "0");
    add_test_node(&test, "1");
    expect(&test, CLUSTER_CREATE, &(GraphScope){.flags = BARE},
           LIST("create@1 > confirm@1", "confirm@1 > bootstrap@1", "bootstrap@1 > install s1@1",
                "install s1@1 > start s1@1", "create@2 > confirm@2", "confirm@2 > bootstrap@2",
                "bootstrap@2 > start s2@2", "confirm@2 > install s1@1"));
    /* On a cluster that exists the addresses are known. */
    expect(&test, CLUSTER_START_SERVICES, NULL, NONE);
}

static void check_firewall_and_certificates(void **state)
{
    _cleanup_test_shape_ TestShape test = {0};
    static const char *const documents[] = {
        "{'name':'db','network':{'ports':[{'port':1,'from':['service:web','anywhere']}]},"
        "'provisioner':{'actions':{'install':{'type':'shell'},'start':{'type':'shell'}}}}",
        "{'name':'web','dependencies':{'runtime':{'requires':['db']}},"
        "'certificates':[{'name':'c','key_path':'/k','certificate_path':'/c'}],"
        "'provisioner':{'actions':{'install':{'type':'shell'},'configure':{'type':'shell'},'start':{'type':'"
        "shell'}}}}",
    };
    for (size_t i = 0; i < ELEMENTSOF(documents); i++) {
        _cleanup_json_ json_t *document = quoted_json(documents[i]);
        _cleanup_issues_ IssueList issues = {0};
        assert_int_equal(catalog_entry_parse(CATALOG_SERVICE, document, 1, &test.services[i], &issues), 0);
        test.shape.service_count++;
    }
    add_test_node(&test, "0");
    add_test_node(&test, "1");
    expect(&test, CLUSTER_CREATE, NULL,
           LIST("create@1 > confirm@1", "confirm@1 > bootstrap@1", "bootstrap@1 > firewall@1",
                "bootstrap@1 > install db@1", "install db@1 > start db@1", "create@2 > confirm@2",
                "confirm@2 > bootstrap@2", "bootstrap@2 > firewall@2", "bootstrap@2 > install web@2",
                "install web@2 > certificate web@2", "certificate web@2 > configure web@2",
                "configure web@2 > start web@2", "start db@1 > start web@2", "firewall@1 > start db@1",
                "firewall@2 > start web@2", "confirm@2 > firewall@1"));
    _cleanup_task_graph_ TaskGraph *graph = NULL;
    assert_int_equal(task_graph_build(&test.shape, CLUSTER_CREATE, NULL, &graph, NULL), 0);
    _cleanup_free_ uint32_t *path = NULL;
    size_t length = 0;
    assert_int_equal(task_graph_critical_path(graph, &path, &length, NULL), 0);
    assert_int_equal(length,
                     7); /* create, confirm, bootstrap, install, certificate, configure, start of web */
    assert_int_equal(graph->tasks[path[0]].action, TASK_CREATE);
    assert_int_equal(graph->tasks[path[6]].action, TASK_START);
}

static void check_hostnames(void **state)
{
    static const struct {
        const char *name, *suffix, *expected;
        uint64_t cluster;
    } cases[] = {
        {"Demo_1", "lab.example", "demo-142-1000.lab.example", 42},
        {"Demo_1", ".lab.example", "demo-142-1000.lab.example", 42},
        {"12demo.x", NULL, "demo-x7-1000.local", 7},
        {"demo", "", "demo-1000.local", 0},
        {"_-1", NULL, "n7-1000.local", 7},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x",
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa42-1000.x", 42},
    };
    char text[HOSTNAME_LIMIT + 1];
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        assert_int_equal(node_hostname(cases[i].name, cases[i].cluster, 1000, cases[i].suffix, text), 0);
        assert_string_equal(text, cases[i].expected);
    }
    assert_true(node_hostname("demo", 1, 1000, "not a domain", text) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_minimise),
        cmocka_unit_test(check_provides),
        cmocka_unit_test(check_pass_through),
        cmocka_unit_test(check_uses),
        cmocka_unit_test(check_create),
        cmocka_unit_test(check_configure),
        cmocka_unit_test(check_configure_with_restart),
        cmocka_unit_test(check_stop_and_start),
        cmocka_unit_test(check_add_service),
        cmocka_unit_test(check_delete),
        cmocka_unit_test(check_cycles),
        cmocka_unit_test(check_joins),
        cmocka_unit_test(check_addresses),
        cmocka_unit_test(check_firewall_and_certificates),
        cmocka_unit_test(check_hostnames),
    };
    return cmocka_run_group_tests_name("task graph (PR2)", tests, NULL, NULL);
}
