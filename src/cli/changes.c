/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on clusters that exist. Each can be shown before it runs. */

#include <errno.h>

#include "base/string.h"
#include "cli/cli.h"
#include "cli/plan_view.h"
#include "cli/watch.h"

enum { DIGEST_LENGTH = 64, NODES_MAX = 100000 };

/* Shows the plan with --plan; otherwise asks for it to be run at `path`. */
static int run_change(Cli *cli, const char *cluster, const char *path, json_t *body, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    const char *digest = cli_option(cli, "plan-digest");
    if (digest && strlen(digest) != DIGEST_LENGTH)
        return error_set_field(error, ERROR_BAD_REQUEST, "--plan-digest",
                               "must be the whole digest that --plan shows");
    if (digest)
        (void)json_object_set_new(body, "plan_digest", json_string(digest));
    bool is_preview = cli_option(cli, "plan");
    _cleanup_free_ char *where =
        is_preview ? cli_path("/clusters/%s/plans", cluster) : string_duplicate(path);
    int r = cli_request(cli, "POST", where, body, &answer, error);
    if (r < 0)
        return r;
    if (is_preview) {
        if (!cli_show_raw(cli, answer))
            change_view_print(answer);
        return 0;
    }
    const char *name = json_text_at(answer, "name");
    if (cli_option(cli, "watch")) {
        const WatchTarget target = {.cluster_id = json_text_at(answer, "id"),
                                    .execution_id = json_text_at(answer, "execution_id"),
                                    .name = name};
        return watch_execution(cli, &target, error);
    }
    cli_done(cli, answer, "Begun: %s of cluster '%s'. Follow it with: bastide clusters watch %s",
             json_text_at(body, "operation"), name, name);
    return 0;
}

static json_t *service_names(const Cli *cli, int first)
{
    json_t *names = json_array();
    for (int i = first; cli_argument(cli, i); i++)
        (void)json_array_append_new(names, json_string(cli_argument(cli, i)));
    return names;
}

static int clusters_services(Cli *cli, Error *error)
{
    static const char *const operations[] = {"start", "stop", "restart", "add"};
    const char *operation = cli_argument(cli, 0), *cluster = cli_argument(cli, 1);
    bool is_known = false;
    for (size_t i = 0; i < ELEMENTSOF(operations); i++)
        is_known |= string_equal(operation, operations[i]);
    if (!is_known)
        return error_set(error, ERROR_BAD_REQUEST,
                         "services can be told to start, stop or restart, or be added; not '%s'", operation);
    bool is_new = string_equal(operation, "add");
    _cleanup_json_ json_t *body = json_pack("{s:s}", "operation", is_new ? "add_services" : operation),
                          *names = service_names(cli, 2);
    if (json_array_size(names) > 0)
        (void)json_object_set(body, "services", names);
    _cleanup_free_ char *path = cli_path(is_new ? "/clusters/%s/members" : "/clusters/%s/services", cluster);
    return run_change(cli, cluster, path, body, error);
}

/* Members ----------------------------------------------------------------------------------- */

/* The number of a node that is given as a number or by its host name. */
static int find_node(Cli *cli, const json_t *cluster, const char *text, json_t *numbers, Error *error)
{
    int64_t number;
    size_t index;
    json_t *node;
    (void)cli;
    if (string_to_i64(text, 0, INT32_MAX, &number) == 0)
        return json_array_append_new(numbers, json_integer(number));
    json_array_foreach (json_object_get(cluster, "node_list"), index, node) {
        const char *hostname = json_text_at(node, "hostname");
        size_t length = strlen(text);
        if (strncmp(hostname, text, length) == 0 && (hostname[length] == '.' || hostname[length] == '\0'))
            return json_array_append_new(numbers, json_integer(json_number_at(node, "number")));
    }
    return error_set(error, ERROR_NOT_FOUND, "the cluster has no node '%s'", text);
}

static int get_cluster(Cli *cli, const char *name, json_t **ret_cluster, Error *error)
{
    _cleanup_free_ char *path = cli_path("/clusters/%s", name);
    return cli_get(cli, path, ret_cluster, error);
}

static int set_quantities(const Cli *cli, json_t *body, Error *error)
{
    const char *text;
    int64_t number;
    for (unsigned i = 0; (text = options_get_nth(cli->options, "quantity", i)); i++) {
        const char *equals = strchr(text, '=');
        _cleanup_free_ char *service = equals ? string_duplicate_n(text, (size_t)(equals - text)) : NULL;
        if (!service || !name_is_valid(service) || string_to_i64(equals + 1, 0, NODES_MAX, &number) < 0)
            return error_set_field(error, ERROR_BAD_REQUEST, "--quantity", "must be SERVICE=N, e.g. web=3");
        if (i == 0)
            (void)json_object_set_new(body, "quantities", json_object());
        (void)json_object_set_new(json_object_get(body, "quantities"), service, json_integer(number));
    }
    return 0;
}

static int set_removals(Cli *cli, const char *name, json_t *body, Error *error)
{
    _cleanup_json_ json_t *cluster = NULL;
    const char *text;
    int r = 0;
    for (unsigned i = 0; r >= 0 && (text = options_get_nth(cli->options, "remove", i)); i++) {
        if (i == 0) {
            (void)json_object_set_new(body, "remove", json_array());
            r = get_cluster(cli, name, &cluster, error);
        }
        if (r >= 0)
            r = find_node(cli, cluster, text, json_object_get(body, "remove"), error);
    }
    return r;
}

static int clusters_scale(Cli *cli, Error *error)
{
    const char *cluster = cli_argument(cli, 0), *nodes = cli_option(cli, "nodes");
    _cleanup_json_ json_t *body = json_pack("{s:s}", "operation", "scale");
    int64_t number;
    if (nodes && string_to_i64(nodes, 1, NODES_MAX, &number) < 0)
        return error_set_field(error, ERROR_BAD_REQUEST, "--nodes", "must be a number from 1 to %d",
                               NODES_MAX);
    if (nodes)
        (void)json_object_set_new(body, "nodes", json_integer(number));
    if (cli_option(cli, "dead"))
        (void)json_object_set_new(body, "dead", json_true());
    int r = set_quantities(cli, body, error);
    if (r >= 0)
        r = set_removals(cli, cluster, body, error);
    if (r < 0)
        return r;
    if (json_object_size(body) < 2)
        return error_set(error, ERROR_BAD_REQUEST, "say to what: --nodes, --quantity or --remove");
    _cleanup_free_ char *path = cli_path("/clusters/%s/members", cluster);
    return run_change(cli, cluster, path, body, error);
}

static int clusters_replace(Cli *cli, Error *error)
{
    const char *name = cli_argument(cli, 0);
    _cleanup_json_ json_t *cluster = NULL, *numbers = json_array();
    int r = get_cluster(cli, name, &cluster, error);
    for (int i = 1; r >= 0 && cli_argument(cli, i); i++)
        r = find_node(cli, cluster, cli_argument(cli, i), numbers, error);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *body = json_pack("{s:s, s:O}", "operation", "replace", "nodes", numbers);
    if (cli_option(cli, "dead"))
        (void)json_object_set_new(body, "dead", json_true());
    _cleanup_free_ char *path = cli_path("/clusters/%s/members", name);
    return run_change(cli, name, path, body, error);
}

#define CHANGE_OPTIONS                                                                                       \
    {.name = "plan", .letter = 'p', .help = "show what it would do, without doing it"},                      \
        {.name = "plan-digest",                                                                              \
         .argument = "DIGEST",                                                                               \
         .help = "only when the plan is still the one that --plan showed"},                                  \
        {.name = "watch", .letter = 'w', .help = "show the work until it ends; the exit status tells how"},  \
    {                                                                                                        \
        .name = "timeout", .argument = "TIME",                                                               \
        .help = "stop watching after this, e.g. 10m; the work goes on"                                       \
    }

static const Option change_options[] = {CHANGE_OPTIONS, {.name = NULL}};
static const Option scale_options[] = {
    {.name = "nodes", .letter = 'n', .argument = "N", .help = "number of nodes in all"},
    {.name = "quantity",
     .letter = 'q',
     .argument = "SERVICE=N",
     .help = "so many nodes with this service",
     .is_repeatable = true},
    {.name = "remove",
     .letter = 'r',
     .argument = "NODE",
     .help = "this node must go: its number or host name",
     .is_repeatable = true},
    {.name = "dead", .help = "the nodes of --remove cannot be reached: nothing is stopped on them"},
    CHANGE_OPTIONS,
    {.name = NULL},
};
static const Option replace_options[] = {
    {.name = "dead", .help = "the nodes cannot be reached: nothing is stopped on them"},
    CHANGE_OPTIONS,
    {.name = NULL},
};

const CliVerb verbs_changes[] = {
    {"clusters services", "start|stop|restart|add NAME|ID [SERVICE...]", 2, 66, SESSION, clusters_services,
     change_options, "start, stop or restart services of a cluster, or add some to it",
     "Without SERVICE all of them. To start a service also starts what it needs; to stop or restart one also "
     "stops what needs it. The order follows the dependencies. What is added comes to nodes that exist, "
     "where "
     "the constraints of the template allow it.\n\nExamples:\n\n"
     "  bastide clusters services restart shop web --plan\n"
     "  bastide clusters services restart shop web --watch\n"
     "  bastide clusters services add shop cache"},
    {"clusters scale", "NAME|ID", 1, 1, SESSION, clusters_scale, scale_options,
     "make a cluster larger or smaller",
     "As little as possible moves: nodes that stay keep what they have, and only services that read "
     "something "
     "which changes are told. New nodes work before others are told to use them. Nodes that go are drained "
     "first: what uses them is told, then they are stopped, then their machines are taken away.\n\n"
     "Examples:\n\n"
     "  bastide clusters scale shop --nodes 6 --plan\n"
     "  bastide clusters scale shop --quantity web=4 --watch\n"
     "  bastide clusters scale shop --remove shop-1003"},
    {"clusters replace", "NAME|ID NODE...", 2, 66, SESSION, clusters_replace, replace_options,
     "replace nodes of a cluster by new ones",
     "A new node gets what the old one had; once it works, the old one is drained and deleted. What an old "
     "node has stored is not carried over. With --dead nothing is asked of the old node."},
    {0},
};
