/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on clusters that exist. Each can be shown before it runs. */

#include <errno.h>

#include "base/string.h"
#include "cli/cli.h"
#include "cli/plan_view.h"
#include "cli/watch.h"

enum { DIGEST_LENGTH = 64 };

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
    static const char *const operations[] = {"start", "stop", "restart"};
    const char *operation = cli_argument(cli, 0), *cluster = cli_argument(cli, 1);
    bool is_known = false;
    for (size_t i = 0; i < ELEMENTSOF(operations); i++)
        is_known |= string_equal(operation, operations[i]);
    if (!is_known)
        return error_set(error, ERROR_BAD_REQUEST, "services can be told to start, stop or restart, not '%s'",
                         operation);
    _cleanup_json_ json_t *body = json_pack("{s:s}", "operation", operation), *names = service_names(cli, 2);
    if (json_array_size(names) > 0)
        (void)json_object_set(body, "services", names);
    _cleanup_free_ char *path = cli_path("/clusters/%s/services", cluster);
    return run_change(cli, cluster, path, body, error);
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

const CliVerb verbs_changes[] = {
    {"clusters services", "start|stop|restart NAME|ID [SERVICE...]", 2, 66, SESSION, clusters_services,
     change_options, "start, stop or restart services of a cluster",
     "Without SERVICE all of them. To start a service also starts what it needs; to stop or restart one also "
     "stops what needs it. The order follows the dependencies.\n\nExamples:\n\n"
     "  bastide clusters services restart shop web --plan\n"
     "  bastide clusters services restart shop web --watch"},
    {0},
};
