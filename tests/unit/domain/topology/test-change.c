/* SPDX-License-Identifier: Apache-2.0 */

/* Operations on clusters that exist: what they consist of, and that a plan says all that matters. */

#include "domain/topology/change.h"
#include "support.h"

static const char SNAPSHOT[] =
    "{'template': {'name': 'stack', 'defaults': {'services': ['db', 'web'], 'provider': 'here'}},"
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

typedef struct Cluster {
    json_t *snapshot, *request, *config;
    StateNode nodes[8];
    const char *services[8][4];
    ClusterState state;
} Cluster;

static void cluster_make(Cluster *cluster)
{
    *cluster = (Cluster){.snapshot = quoted_json(SNAPSHOT),
                         .request = quoted_json("{'name': 'shop', 'template': 'stack'}"),
                         .config = quoted_json("{'web': {'title': 'hello'}}")};
    cluster->state = (ClusterState){.id = "c",
                                    .name = "shop",
                                    .owner = "ann",
                                    .template_version = 1,
                                    .revision = 3,
                                    .snapshot = cluster->snapshot,
                                    .request = cluster->request,
                                    .config = cluster->config,
                                    .nodes = cluster->nodes};
}

static void cluster_done(Cluster *cluster)
{
    json_decref(cluster->snapshot);
    json_decref(cluster->request);
    json_decref(cluster->config);
}
#define _cleanup_cluster_ _cleanup_(cluster_done)

static void add_node(Cluster *cluster, const char *service)
{
    static const char *const names[] = {"shop-1000.x", "shop-1001.x", "shop-1002.x", "shop-1003.x"};
    size_t i = cluster->state.node_count++;
    cluster->services[i][0] = service;
    cluster->nodes[i] = (StateNode){.number = 1000 + (uint32_t)i,
                                    .hostname = names[i],
                                    .status = "ready",
                                    .hardware_type = "small",
                                    .image_type = "debian",
                                    .flavor = "1",
                                    .image = "debian12",
                                    .ssh_user = "root",
                                    .services = {cluster->services[i], 1}};
}

/* The preview of a request, or NULL with the issues. Owned. */
static json_t *preview(const Cluster *cluster, const char *text, IssueList *issues)
{
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
    _cleanup_cluster_ Cluster cluster;
    cluster_make(&cluster);
    add_node(&cluster, "db");
    add_node(&cluster, "web");
    expect_steps(&cluster, "{'operation': 'stop'}", "['stop web on 1001', 'stop db on 1000']");
    expect_steps(&cluster, "{'operation': 'stop', 'services': ['web']}", "['stop web on 1001']");
    expect_steps(&cluster, "{'operation': 'stop', 'services': ['db']}",
                 "['stop web on 1001', 'stop db on 1000']");
    expect_steps(&cluster, "{'operation': 'start', 'services': ['db']}", "['start db on 1000']");
    expect_steps(&cluster, "{'operation': 'start', 'services': ['web']}",
                 "['start db on 1000', 'start web on 1001']");
    expect_steps(&cluster, "{'operation': 'restart', 'services': ['db']}",
                 "['stop web on 1001', 'stop db on 1000', 'start db on 1000', 'start web on 1001']");
}

static void check_unknown_service(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster cluster;
    cluster_make(&cluster);
    add_node(&cluster, "db");
    _cleanup_issues_ IssueList issues = {0};
    assert_null(preview(&cluster, "{'operation': 'stop', 'services': ['cache']}", &issues));
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
    _cleanup_cluster_ Cluster cluster;
    cluster_make(&cluster);
    add_node(&cluster, "db");
    add_node(&cluster, "web");
    digest_of(&cluster, RESTART, first);
    cluster.state.revision++; /* what is run is the same */
    digest_of(&cluster, RESTART, again);
    assert_string_equal(first, again);
    digest_of(&cluster, "{'operation': 'stop'}", other);
    assert_string_not_equal(first, other);
    add_node(&cluster, "web");
    digest_of(&cluster, RESTART, other);
    assert_string_not_equal(first, other);
    cluster.state.node_count--;
    (void)json_object_set_new(json_object_get(cluster.config, "web"), "title", json_string("changed"));
    digest_of(&cluster, RESTART, other);
    assert_string_not_equal(first, other);
}

static void check_damaged_snapshot(void **state)
{
    (void)state;
    _cleanup_cluster_ Cluster cluster;
    cluster_make(&cluster);
    add_node(&cluster, "absent");
    _cleanup_change_ Change *change = NULL;
    Error error = ERROR_INIT;
    assert_true(
        change_make(&cluster.state, &(ChangeRequest){.operation = CHANGE_STOP}, &change, NULL, &error) < 0);
    assert_int_equal(error.code, ERROR_INTERNAL);
    cluster.state.node_count = 0;
    (void)json_object_del(cluster.snapshot, "template");
    error = (Error)ERROR_INIT;
    assert_true(
        change_make(&cluster.state, &(ChangeRequest){.operation = CHANGE_STOP}, &change, NULL, &error) < 0);
    assert_int_equal(error.code, ERROR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_services),
        cmocka_unit_test(check_unknown_service),
        cmocka_unit_test(check_digest),
        cmocka_unit_test(check_damaged_snapshot),
    };
    return cmocka_run_group_tests_name("changes of clusters (PR3, PR4)", tests, NULL, NULL);
}
