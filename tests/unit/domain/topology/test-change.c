/* SPDX-License-Identifier: Apache-2.0 */

/* Operations on clusters that exist: what they consist of, and that a plan says all that matters. */

#include "domain/topology/change.h"
#include "support.h"

static const char SNAPSHOT[] =
    "{'template': {'name': 'stack', 'defaults': {'services': ['db', 'web'], 'provider': 'here'},"
    "  'compatibility': {'services': ['db', 'web', 'cache'], 'hardwaretypes': ['small'], 'imagetypes': "
    "['debian']},"
    "  'constraints': {'layout': {'cantcoexist': [['db', 'web']]}, 'size': {'min': 2, 'max': 500}, "
    "'services': {"
    "   'db': {'quantities': {'min': 1, 'max': 1}}, 'web': {'quantities': {'min': 1}}}}},"
    " 'provider': {'name': 'here', 'providertype': 'sandbox', 'provisioner': {}},"
    " 'services': {"
    "  'web': {'name': 'web', 'dependencies': {'runtime': {'requires': ['db']}}, 'provisioner': {'actions': {"
    "   'configure': {'type': 'script', 'fields': {'bundle': 'b', 'script': 'web-configure.sh'}},"
    "   'start': {'type': 'script', 'fields': {'bundle': 'b', 'script': 'web-start.sh', 'timeout': '5m'}},"
    "   'stop': {'type': 'script', 'fields': {'bundle': 'b', 'script': 'web-stop.sh'}}}}},"
    "  'db': {'name': 'db', 'provisioner': {'actions': {"
    "   'configure': {'type': 'script', 'fields': {'bundle': 'b', 'script': 'db-configure.sh'}},"
    "   'start': {'type': 'script', 'fields': {'bundle': 'b', 'script': 'db-start.sh'}},"
    "   'stop': {'type': 'script', 'fields': {'bundle': 'b', 'script': 'db-stop.sh'}}}}}}}";

enum { NODES_MAX = 400 };

typedef struct Cluster {
    json_t *snapshot, *request, *config, *manifests;
    MemoryCatalog *catalog;
    StateNode nodes[NODES_MAX];
    const char *services[NODES_MAX][4];
    char hostnames[NODES_MAX][32], addresses[NODES_MAX][32];
    ClusterState state;
} Cluster;

static void cluster_make(Cluster *cluster)
{
    *cluster = (Cluster){
        .snapshot = quoted_json(SNAPSHOT),
        .request = quoted_json("{'name': 'shop', 'template': 'stack'}"),
        .config = quoted_json("{'web': {'title': 'hello'}, 'db': {'clients': "
                              "'%join(ip.service.web)%'}}"),
        .manifests = quoted_json("{'b': {'scripts': {'db-configure.sh': {'parameters': {'db.clients': {}}},"
                                 " 'web-configure.sh': {'parameters': {'web.title': {}}}}}}"),
        .catalog = memory_catalog_new()};
    put(cluster->catalog, CATALOG_HARDWARE_TYPE,
        "{'name': 'small', 'providermap': {'here': {'flavor': '1'}}}");
    put(cluster->catalog, CATALOG_IMAGE_TYPE,
        "{'name': 'debian', 'providermap': {'here': {'image': 'debian12', 'ssh-user': 'root'}}}");
    put(cluster->catalog, CATALOG_SERVICE,
        "{'name': 'cache', 'provisioner': {'actions': {'start': {'type': 'script', 'fields': {'bundle': 'b', "
        "'script': 'cache.sh'}}}}}");
    put_document(cluster->catalog, CATALOG_CLUSTER_TEMPLATE, json_object_get(cluster->snapshot, "template"));
    put_document(cluster->catalog, CATALOG_PROVIDER, json_object_get(cluster->snapshot, "provider"));
    const char *name;
    json_t *document;
    json_object_foreach (json_object_get(cluster->snapshot, "services"), name, document)
        put_document(cluster->catalog, CATALOG_SERVICE, document);
    cluster->state = (ClusterState){.id = "c",
                                    .name = "shop",
                                    .owner = "ann",
                                    .template_version = 1,
                                    .revision = 3,
                                    .snapshot = cluster->snapshot,
                                    .request = cluster->request,
                                    .config = cluster->config,
                                    .nodes = cluster->nodes,
                                    .next_number = 1000,
                                    .is_settled = true,
                                    .manifests = cluster->manifests,
                                    .catalog = memory_catalog_interface(cluster->catalog)};
}

static void cluster_done(Cluster **pointer)
{
    Cluster *cluster = *pointer;
    json_decref(cluster->snapshot);
    json_decref(cluster->request);
    json_decref(cluster->config);
    json_decref(cluster->manifests);
    memory_catalog_free(cluster->catalog);
    free(cluster);
}
#define _cleanup_cluster_ _cleanup_(cluster_done)

static void add_node(Cluster *cluster, const char *service)
{
    size_t i = cluster->state.node_count++;
    cluster->services[i][0] = service;
    assert_int_equal(string_print(cluster->hostnames[i], 32, "shop-%zu.x", 1000 + i), 0);
    assert_int_equal(string_print(cluster->addresses[i], 32, "10.0.%zu.%zu", i / 250, i % 250 + 1), 0);
    cluster->state.next_number++;
    cluster->nodes[i] = (StateNode){.number = 1000 + (uint32_t)i,
                                    .hostname = cluster->hostnames[i],
                                    .status = "ready",
                                    .hardware_type = "small",
                                    .image_type = "debian",
                                    .flavor = "1",
                                    .image = "debian12",
                                    .ssh_user = "root",
                                    .addresses = {cluster->addresses[i], cluster->addresses[i]},
                                    .is_member = true,
                                    .services = {cluster->services[i], 1}};
}

/* The preview of a request, or NULL with the issues. Owned. */
static json_t *preview(const Cluster *cluster, const char *text, IssueList *issues)
{
    _cleanup_issues_ IssueList own = {0};
    issues = issues ? issues : &own;
    _cleanup_json_ json_t *document = quoted_json(text);
    _cleanup_arena_ Arena *arena = arena_new();
    _cleanup_change_ Change *change = NULL;
    ChangeRequest request;
    Error error = ERROR_INIT;
    assert_int_equal(change_request_parse(arena, document, &request, &error), 0);
    if (change_make(&cluster->state, &request, &change, issues, &error) < 0) {
        assert_false(error_is_set(&error));
        return NULL;
    }
    return change_to_json(&cluster->state, change);
}

static void expect_steps(const Cluster *cluster, const char *request, const char *expected)
{
    _cleanup_issues_ IssueList issues = {0};
    _cleanup_json_ json_t *plan = preview(cluster, request, &issues), *wanted = quoted_json(expected);
    print_issues(&issues);
    assert_non_null(plan);
    _cleanup_free_ char *found = json_to_text(json_object_get(plan, "steps")), *text = json_to_text(wanted);
    assert_string_equal(found, text);
}

static void check_services(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    cluster_make(cluster);
    add_node(cluster, "db");
    add_node(cluster, "web");
    expect_steps(cluster, "{'operation': 'stop'}", "['stop web on 1001', 'stop db on 1000']");
    expect_steps(cluster, "{'operation': 'stop', 'services': ['web']}", "['stop web on 1001']");
    expect_steps(cluster, "{'operation': 'stop', 'services': ['db']}",
                 "['stop web on 1001', 'stop db on 1000']");
    expect_steps(cluster, "{'operation': 'start', 'services': ['db']}", "['start db on 1000']");
    expect_steps(cluster, "{'operation': 'start', 'services': ['web']}",
                 "['start db on 1000', 'start web on 1001']");
    expect_steps(cluster, "{'operation': 'restart', 'services': ['db']}",
                 "['stop web on 1001', 'stop db on 1000', 'start db on 1000', 'start web on 1001']");
}

static void check_unknown_service(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    cluster_make(cluster);
    add_node(cluster, "db");
    _cleanup_issues_ IssueList issues = {0};
    assert_null(preview(cluster, "{'operation': 'stop', 'services': ['cache']}", &issues));
    assert_non_null(issue_list_find(&issues, "unknown_reference", "services"));
}

static void digest_of(const Cluster *cluster, const char *request, char destination[static HASH_HEX_SIZE])
{
    _cleanup_json_ json_t *plan = preview(cluster, request, NULL);
    assert_non_null(plan);
    assert_int_equal(
        string_copy(destination, HASH_HEX_SIZE, json_string_value(json_object_get(plan, "digest"))), 0);
}

/* The same input gives the same digest; whatever the tasks depend on changes it. */
static void check_digest(void **state)
{
    (void)state;
    static const char RESTART[] = "{'operation': 'restart'}";
    char first[HASH_HEX_SIZE], again[HASH_HEX_SIZE], other[HASH_HEX_SIZE];
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    cluster_make(cluster);
    add_node(cluster, "db");
    add_node(cluster, "web");
    digest_of(cluster, RESTART, first);
    cluster->state.revision++; /* what is run is the same */
    digest_of(cluster, RESTART, again);
    assert_string_equal(first, again);
    digest_of(cluster, "{'operation': 'stop'}", other);
    assert_string_not_equal(first, other);
    add_node(cluster, "web");
    digest_of(cluster, RESTART, other);
    assert_string_not_equal(first, other);
    cluster->state.node_count--;
    (void)json_object_set_new(json_object_get(cluster->config, "web"), "title", json_string("changed"));
    digest_of(cluster, RESTART, other);
    assert_string_not_equal(first, other);
}

static void check_damaged_snapshot(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    cluster_make(cluster);
    add_node(cluster, "absent");
    _cleanup_change_ Change *change = NULL;
    _cleanup_issues_ IssueList issues = {0};
    Error error = ERROR_INIT;
    assert_true(change_make(&cluster->state, &(ChangeRequest){.operation = CHANGE_STOP}, &change, &issues,
                            &error) < 0);
    assert_int_equal(error.code, ERROR_INTERNAL);
    cluster->state.node_count = 0;
    (void)json_object_del(cluster->snapshot, "template");
    error = (Error)ERROR_INIT;
    assert_true(change_make(&cluster->state, &(ChangeRequest){.operation = CHANGE_STOP}, &change, &issues,
                            &error) < 0);
    assert_int_equal(error.code, ERROR_INTERNAL);
}

/* Members
 * ---------------------------------------------------------------------------------------------------------------------
 */

static void make_two(Cluster *cluster)
{
    cluster_make(cluster);
    add_node(cluster, "db");
    add_node(cluster, "web");
}

/* db restarts to be configured here: its action says nothing of staying up. */
static void check_scale_out(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    make_two(cluster);
    expect_steps(
        cluster, "{'operation': 'scale', 'nodes': 3}",
        "['create on 1002', 'confirm on 1002', 'stop db on 1000', 'bootstrap on 1002', 'configure db on "
        "1000', 'firewall on 1002', 'configure web on 1002', 'start db on 1000', 'start web on 1002']");
    expect_steps(cluster, "{'operation': 'scale', 'quantities': {'web': 1}}", "[]");
}

static void check_scale_in(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    make_two(cluster);
    add_node(cluster, "web");
    static const char EXPECTED[] =
        "['stop web on 1002', 'stop db on 1000', 'configure db on 1000', 'start db on "
        "1000', 'delete on 1002']";
    expect_steps(cluster, "{'operation': 'scale', 'quantities': {'web': 1}}", EXPECTED);
    expect_steps(cluster, "{'operation': 'scale', 'nodes': 2}", EXPECTED);
    expect_steps(cluster, "{'operation': 'scale', 'remove': [1002]}", EXPECTED);
    /* Nothing can be stopped there. */
    expect_steps(cluster, "{'operation': 'scale', 'remove': [1002], 'dead': true}",
                 "['stop db on 1000', 'configure db on 1000', 'start db on 1000', 'delete on 1002']");
}

/* What a service was told last is known only when the last work succeeded. */
static void check_unsettled(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    make_two(cluster);
    cluster->state.is_settled = false;
    _cleanup_json_ json_t *plan = preview(cluster, "{'operation': 'scale', 'nodes': 2}", NULL);
    assert_non_null(plan);
    assert_int_equal(json_array_size(json_object_get(plan, "told")), 2);
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(json_object_get(plan, "tasks"), "by_action"), "firewall")),
                     2);
}

static void check_incomplete_nodes(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    make_two(cluster);
    add_node(cluster, "web");
    cluster->nodes[2].is_member = false;
    _cleanup_issues_ IssueList issues = {0};
    assert_null(preview(cluster, "{'operation': 'scale', 'nodes': 4}", &issues));
    assert_non_null(issue_list_find(&issues, "incomplete_node", NULL));
    /* It never worked, so nothing is stopped on it. */
    expect_steps(cluster, "{'operation': 'scale', 'remove': [1002]}",
                 "['stop db on 1000', 'configure db on 1000', 'start db on 1000', 'delete on 1002']");
}

static void check_replace(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    make_two(cluster);
    _cleanup_json_ json_t *plan = preview(cluster, "{'operation': 'replace', 'nodes': [1001]}", NULL);
    assert_non_null(plan);
    json_t *nodes = json_object_get(plan, "nodes");
    assert_int_equal(json_array_size(nodes), 3);
    static const char *const fates[] = {"kept", "leaving", "new"};
    for (size_t i = 0; i < ELEMENTSOF(fates); i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(nodes, i), "change")), fates[i]);
    json_t *steps = json_object_get(plan, "steps");
    assert_string_equal(json_string_value(json_array_get(steps, json_array_size(steps) - 1)),
                        "delete on 1001");
}

static void check_add_service(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    make_two(cluster);
    expect_steps(cluster, "{'operation': 'add_services', 'services': ['cache']}",
                 "['start cache on 1000', 'start cache on 1001']");
    _cleanup_issues_ IssueList issues = {0};
    assert_null(preview(cluster, "{'operation': 'add_services', 'services': ['db']}", &issues));
    assert_non_null(issue_list_find(&issues, "duplicate", "services"));
}

/* The number of edges grows with the number of nodes, not with its square. */
static void check_edges_are_linear(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster *cluster = NEW(Cluster);
    make_two(cluster);
    for (unsigned i = 0; i < 200; i++)
        add_node(cluster, "web");
    static const char *const requests[] = {"{'operation': 'scale', 'nodes': 400}",
                                           "{'operation': 'scale', 'nodes': 3}"};
    for (size_t i = 0; i < ELEMENTSOF(requests); i++) {
        _cleanup_json_ json_t *plan = preview(cluster, requests[i], NULL);
        assert_non_null(plan);
        json_int_t tasks = json_integer_value(json_object_get(json_object_get(plan, "tasks"), "total"));
        assert_true(json_integer_value(json_object_get(plan, "edges")) < 5 * tasks);
        assert_true(json_array_size(json_object_get(plan, "steps")) > 190);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_services),         cmocka_unit_test(check_unknown_service),
        cmocka_unit_test(check_digest),           cmocka_unit_test(check_damaged_snapshot),
        cmocka_unit_test(check_scale_out),        cmocka_unit_test(check_scale_in),
        cmocka_unit_test(check_unsettled),        cmocka_unit_test(check_incomplete_nodes),
        cmocka_unit_test(check_replace),          cmocka_unit_test(check_add_service),
        cmocka_unit_test(check_edges_are_linear),
    };
    return cmocka_run_group_tests_name("changes of clusters (PR3, PR4)", tests, NULL, NULL);
}
