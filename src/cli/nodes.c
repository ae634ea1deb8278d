/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/nodes.h"

#include <errno.h>

#include "base/string.h"
#include "cli/text.h"

static const ViewField node_view[] = {
    {"NODE", "hostname", FIELD_STRONG, IN_BOTH | MAY_SHRINK},
    {"STATUS", "status", FIELD_STATE, IN_BOTH},
    {"ADDRESS", "addresses.access_v4", FIELD_TEXT, IN_LIST | MAY_LACK},
    {"ADDRESSES", "addresses", FIELD_MAP, IN_DETAILS | MAY_LACK},
    {"SERVICES", "services", FIELD_LIST, IN_BOTH | MAY_SHRINK},
    {"HARDWARE", "hardware_type", FIELD_TEXT, IN_BOTH | MAY_LACK},
    {"IMAGE", "image_type", FIELD_TEXT, IN_BOTH | MAY_LACK},
    {"NUMBER", "number", FIELD_NUMBER, IN_DETAILS},
    {"PROVIDER'S ID", "provider_id", FIELD_TEXT, IN_DETAILS | MAY_LACK},
    {"HOST KEYS", "host_keys", FIELD_LIST, IN_DETAILS | MAY_LACK | HAS_LINES},
    {"OUTPUTS", "outputs", FIELD_MAP, IN_DETAILS | MAY_LACK},
    {"CREATED", "created_at", FIELD_TIME, IN_BOTH},
    {"CHANGED", "updated_at", FIELD_TIME, IN_DETAILS},
    {"CLUSTER", "cluster_id", FIELD_TEXT, IN_BOTH},
    {"ID", "id", FIELD_TEXT, IN_BOTH},
    {0},
};

static const json_t *pick_by_name(const json_t *items, const char *name, bool *ret_is_ambiguous)
{
    const json_t *exact = NULL, *begun = NULL;
    size_t exact_count = 0, begun_count = 0, index, length = strlen(name);
    json_t *node;
    json_array_foreach (items, index, node) {
        const char *hostname = json_text_at(node, "hostname");
        if (string_equal(json_text_at(node, "status"), "deleted"))
            continue;
        if (string_equal(hostname, name)) {
            exact = node;
            exact_count++;
        } else if (string_starts_with(hostname, name) && hostname[length] == '.') {
            begun = node;
            begun_count++;
        }
    }
    *ret_is_ambiguous = exact_count > 1 || (exact_count == 0 && begun_count > 1);
    return exact ? exact : begun;
}

int node_find(Cli *cli, const char *name, json_t **ret_node, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    bool is_ambiguous;
    if (id_is_valid(name)) {
        _cleanup_free_ char *path = cli_path("/nodes/%s", name);
        int r = cli_get(cli, path, ret_node, error);
        if (r >= 0 || error->code != ERROR_NOT_FOUND)
            return r;
        error_clear(error);
    }
    int r = cli_get_list(cli, "/nodes", &answer, error);
    if (r < 0)
        return r;
    const json_t *node = pick_by_name(json_object_get(answer, "items"), name, &is_ambiguous);
    if (!node)
        return error_set(error, ERROR_NOT_FOUND, "there is no node '%s'", name);
    if (is_ambiguous)
        return error_set(error, ERROR_CONFLICT, "several nodes are named '%s'; give the id", name);
    *ret_node = json_incref((json_t *)(uintptr_t)node);
    return 0;
}

static int nodes_list(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *cluster = NULL;
    _cleanup_free_ char *path = string_duplicate("/nodes");
    if (cli_argument(cli, 0)) {
        _cleanup_free_ char *cluster_path = cli_path("/clusters/%s", cli_argument(cli, 0));
        int r = cli_get(cli, cluster_path, &cluster, error);
        if (r < 0)
            return r;
        cli_path_query(&path, "cluster_id", json_text_at(cluster, "id"));
    }
    return cli_show_list(cli, path, node_view, "No nodes.", error);
}

static int nodes_show(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *node = NULL;
    int r = node_find(cli, cli_argument(cli, 0), &node, error);
    if (r >= 0 && !cli_show_raw(cli, node))
        view_details(node, node_view);
    return MIN(r, 0);
}

static int nodes_log(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *node = NULL;
    HttpAnswer answer = {0};
    int r = node_find(cli, cli_argument(cli, 0), &node, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = cli_path("/nodes/%s/log", json_text_at(node, "id"));
    cli_path_query(&path, "task_id", cli_option(cli, "task"));
    r = cli_request_raw(cli->client, "GET", path, NULL, NULL, 0, 0, &answer, error);
    if (r < 0)
        return r;
    _cleanup_buffer_ Buffer safe = BUFFER_INIT_LIMIT(512 * 1024 * 1024);
    const char *text = buffer_string(&answer.body), *end = text + answer.body.size;
    for (const char *line = text; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        next = next ? next + 1 : end;
        bool is_heading = string_starts_with(line, "=== ");
        if (is_heading)
            (void)buffer_append_string(&safe, style_begin(stdout, STYLE_STRONG));
        text_append_log(&safe, line, (size_t)(next - line) - (is_heading && next[-1] == '\n'));
        if (is_heading)
            (void)buffer_append_format(&safe, "%s\n", style_end(stdout));
        line = next;
    }
    (void)fwrite(buffer_string(&safe), 1, safe.size, stdout);
    if (answer.body.size == 0)
        (void)fprintf(stderr, "No output yet.\n");
    http_answer_done(&answer);
    return 0;
}

static const Option log_options[] = {
    {.name = "task", .argument = "ID", .help = "only the output of this task"},
    {.name = NULL},
};
static const Option limit_options[] = {
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};

const CliVerb verbs_nodes[] = {
    {"nodes list", "[CLUSTER]", 0, 1, SESSION, nodes_list, limit_options, "nodes, of one cluster or of all",
     NULL},
    {"nodes show", "NODE", 1, 1, SESSION, nodes_show, NULL, "one node",
     "NODE is a hostname or an id, here and below."},
    {"nodes log", "NODE", 1, 1, SESSION, nodes_log, log_options,
     "output of the steps on a node, secrets masked", NULL},
    {"nodes ssh", "NODE [-- COMMAND ...]", 1, -1, SESSION, node_ssh, NULL, "sign in to a node",
     "Makes a key for this one connection, has it certified for ten minutes, and runs ssh with the host keys "
     "that "
     "the manager knows: nothing is asked, nothing stays on disk, no agent is used. Every certificate is "
     "audited."
     "\n\nExamples:\n\n  bastide nodes ssh web-1\n  bastide nodes ssh web-1 -- journalctl -n 50"},
    {0},
};
