/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters, their tasks and events, executions. */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/string.h"
#include "cli/cli.h"
#include "cli/cluster_request.h"
#include "cli/plan_view.h"
#include "cli/text.h"
#include "cli/watch.h"

static const ViewField cluster_view[] = {
    {"NAME", "name", FIELD_STRONG, IN_BOTH | MAY_SHRINK},
    {"STATUS", "status", FIELD_STATE, IN_BOTH},
    {"NODES", "nodes", FIELD_NUMBER, IN_BOTH},
    {"TEMPLATE", "template", FIELD_TEXT, IN_BOTH | MAY_SHRINK},
    {"VERSION", "template_version", FIELD_NUMBER, IN_DETAILS},
    {"PROVIDER", "provider", FIELD_TEXT, IN_BOTH | MAY_SHRINK},
    {"OWNER", "owner", FIELD_TEXT, IN_BOTH},
    {"DESCRIPTION", "description", FIELD_TEXT, IN_DETAILS | MAY_LACK},
    {"MESSAGE", "status_message", FIELD_TEXT, IN_DETAILS | MAY_LACK},
    {"CREATED", "created_at", FIELD_TIME, IN_BOTH},
    {"CHANGED", "updated_at", FIELD_TIME, IN_DETAILS},
    {"EXPIRES", "expires_at", FIELD_TIME, IN_BOTH | MAY_LACK},
    {"ID", "id", FIELD_TEXT, IN_BOTH},
    {0},
};
static const ViewField member_view[] = {
    {"NODE", "hostname", FIELD_STRONG, IN_LIST | MAY_SHRINK},
    {"STATUS", "status", FIELD_STATE, IN_LIST},
    {"ADDRESS", "addresses.access_v4", FIELD_TEXT, IN_LIST | MAY_LACK},
    {"SERVICES", "services", FIELD_LIST, IN_LIST | MAY_SHRINK},
    {"HARDWARE", "hardware_type", FIELD_TEXT, IN_LIST | MAY_LACK},
    {0},
};
static const ViewField task_view[] = {
    {"TASK", "id", FIELD_TEXT, IN_LIST},
    {"NODE", "hostname", FIELD_STRONG, IN_LIST | MAY_SHRINK | MAY_LACK},
    {"ACTION", "action", FIELD_TEXT, IN_LIST},
    {"SERVICE", "service", FIELD_TEXT, IN_LIST | MAY_LACK},
    {"STATE", "state", FIELD_STATE, IN_LIST},
    {"TRIES", "attempt", FIELD_NUMBER, IN_LIST},
    {"TOOK", "took", FIELD_NUMBER, IN_LIST | MAY_LACK},
    {"ERROR", "error", FIELD_TEXT, IN_LIST | MAY_LACK | MAY_SHRINK},
    {0},
};
static const ViewField execution_view[] = {
    {"EXECUTION", "id", FIELD_TEXT, IN_BOTH},
    {"WORKFLOW", "workflow_id", FIELD_STRONG, IN_BOTH},
    {"STATUS", "status", FIELD_STATE, IN_BOTH},
    {"DONE", "finished_operations", FIELD_NUMBER, IN_BOTH},
    {"OF", "total_operations", FIELD_NUMBER, IN_BOTH},
    {"RUNNING", "running_operations", FIELD_NUMBER, IN_DETAILS},
    {"FAILED", "failed_operations", FIELD_NUMBER, IN_BOTH},
    {"UNDECIDED", "undecided_operations", FIELD_NUMBER, IN_DETAILS},
    {"STANDS STILL", "is_held", FIELD_FLAG, IN_DETAILS},
    {"ANSWERED FOR BY", "responsible", FIELD_TEXT, IN_DETAILS},
    {"BY", "created_by", FIELD_TEXT, IN_BOTH},
    {"CREATED", "created_at", FIELD_TIME, IN_BOTH},
    {"ENDED", "ended_at", FIELD_TIME, IN_BOTH | MAY_LACK},
    {"CLUSTER", "cluster_id", FIELD_TEXT, IN_BOTH},
    {"ERROR", "error", FIELD_TEXT, IN_DETAILS | MAY_LACK},
    {0},
};

static int get_cluster(Cli *cli, const char *name, json_t **ret_cluster, Error *error)
{
    _cleanup_free_ char *path = cli_path("/clusters/%s", name);
    return cli_get(cli, path, ret_cluster, error);
}

/* Making ------------------------------------------------------------------------------------ */

static int clusters_plan(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *request = NULL, *plan = NULL;
    int r = cluster_request_make(cli->options, cli_argument(cli, 0), &request, error);
    if (r >= 0)
        r = cli_request(cli, "POST", "/cluster-plans", request, &plan, error);
    if (r >= 0 && !cli_show_raw(cli, plan))
        plan_view_print(plan, json_text_at(request, "name"));
    return MIN(r, 0);
}

static int watch_answer(Cli *cli, const json_t *answer, const char *name, Error *error)
{
    const WatchTarget target = {.cluster_id = json_text_at(answer, "id"),
                                .execution_id = json_text_at(answer, "execution_id"),
                                .name = name};
    if (!*target.cluster_id || !*target.execution_id)
        return error_set(error, ERROR_PROTOCOL, "the manager's answer names no execution");
    return watch_execution(cli, &target, error);
}

static int clusters_create(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *request = NULL, *answer = NULL;
    int r = cluster_request_make(cli->options, cli_argument(cli, 0), &request, error);
    if (r >= 0)
        r = cli_request(cli, "POST", "/clusters", request, &answer, error);
    if (r < 0)
        return r;
    const char *name = json_text_at(answer, "name");
    if (cli_option(cli, "watch"))
        return watch_answer(cli, answer, name, error);
    cli_done(cli, answer, "Requested cluster '%s' (%s). Follow it with: bastide clusters watch %s", name,
             json_text_at(answer, "id"), name);
    return 0;
}

static int clusters_delete(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *cluster = NULL, *answer = NULL;
    const char *name = cli_argument(cli, 0);
    int r = get_cluster(cli, name, &cluster, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *question =
        string_format("Delete cluster '%s' with its %" PRId64 " nodes and all that is on them? Type yes: ",
                      json_text_at(cluster, "name"), json_number_at(cluster, "nodes"));
    r = cli_confirm(cli, question, error);
    /* By id: another cluster may get this name meanwhile. */
    _cleanup_free_ char *path = cli_path("/clusters/%s", json_text_at(cluster, "id"));
    if (r >= 0)
        r = cli_request(cli, "DELETE", path, NULL, &answer, error);
    if (r < 0)
        return r;
    name = json_text_at(cluster, "name");
    if (string_equal(json_text_at(cluster, "status"), "terminated")) {
        cli_done(cli, answer, "Cluster '%s' was deleted already.", name);
        return 0;
    }
    if (cli_option(cli, "watch"))
        return watch_answer(cli, answer, name, error);
    cli_done(cli, answer, "Deleting cluster '%s'. Follow it with: bastide clusters watch %s", name,
             json_text_at(cluster, "id"));
    return 0;
}

static int clusters_watch(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *cluster = NULL;
    int r = get_cluster(cli, cli_argument(cli, 0), &cluster, error);
    if (r < 0)
        return r;
    const WatchTarget target = {.cluster_id = json_text_at(cluster, "id"),
                                .execution_id = json_text_at(cluster, "progress.execution_id"),
                                .name = json_text_at(cluster, "name")};
    if (!*target.execution_id)
        return error_set(error, ERROR_NOT_FOUND, "nothing was ever run for this cluster");
    return watch_execution(cli, &target, error);
}

/* Looking ----------------------------------------------------------------------------------- */

static int clusters_list(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = string_duplicate("/clusters");
    cli_path_query(&path, "status", cli_option(cli, "status"));
    cli_path_query(&path, "all", cli_option(cli, "all") ? "true" : NULL);
    return cli_show_list(cli, path, cluster_view,
                         "No clusters; 'bastide clusters create NAME --template TEMPLATE' makes one.", error);
}

static void print_progress(const json_t *cluster)
{
    _cleanup_free_ char *action = text_safe(json_text_at(cluster, "progress.action"));
    const char *told = json_text_at(cluster, "progress.status");
    /* An execution's "terminated" is the API's word for a good end; a cluster's means that it is gone. */
    _cleanup_free_ char *status = text_safe(string_equal(told, "terminated") ? "succeeded" : told);
    int64_t undecided = json_number_at(cluster, "progress.steps_undecided");
    if (!*status)
        return;
    (void)printf(
        "%sPROGRESS%s     %s %s%s%s, %" PRId64 " of %" PRId64 " tasks done, %" PRId64 " running, %" PRId64
        " failed\n",
        style_begin(stdout, STYLE_FAINT), style_end(stdout), action, style_begin(stdout, state_style(status)),
        status, style_end(stdout), json_number_at(cluster, "progress.steps_completed"),
        json_number_at(cluster, "progress.steps_total"), json_number_at(cluster, "progress.steps_running"),
        json_number_at(cluster, "progress.steps_failed"));
    if (undecided > 0)
        (void)printf("             %s%" PRId64 " wait for a decision: bastide clusters tasks NAME --state "
                     "needs_decision%s\n",
                     style_begin(stdout, STYLE_WARNING), undecided, style_end(stdout));
}

static int clusters_show(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *cluster = NULL;
    int r = get_cluster(cli, cli_argument(cli, 0), &cluster, error);
    if (r < 0 || cli_show_raw(cli, cluster))
        return MIN(r, 0);
    view_details(cluster, cluster_view);
    print_progress(cluster);
    (void)printf("\n");
    view_list(json_object_get(cluster, "node_list"), member_view, "No nodes.");
    return 0;
}

/* Adds {"took": "0.12 s"} to each task that began. */
static void add_durations(json_t *items)
{
    size_t index;
    json_t *task;
    Usec now = clock_realtime(&system_clock);
    json_array_foreach (items, index, task) {
        Usec begin, end = now;
        if (timestamp_parse(json_text_at(task, "started_at"), &begin) < 0)
            continue;
        (void)timestamp_parse(json_text_at(task, "ended_at"), &end);
        _cleanup_free_ char *text = duration_precise(end > begin ? end - begin : 0);
        (void)json_object_set_new(task, "took", json_string(text));
    }
}

static int show_tasks(Cli *cli, const char *execution_id, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_free_ char *path = cli_path("/operations?execution_id=%s", execution_id);
    cli_path_query(&path, "state", cli_option(cli, "state"));
    int r = cli_get_list(cli, path, &answer, error);
    if (r < 0 || cli_show_raw(cli, answer))
        return MIN(r, 0);
    add_durations(json_object_get(answer, "items"));
    view_list(json_object_get(answer, "items"), task_view, "No tasks.");
    return 0;
}

static int clusters_tasks(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *cluster = NULL;
    const char *execution = cli_option(cli, "execution");
    int r = get_cluster(cli, cli_argument(cli, 0), &cluster, error);
    if (r < 0)
        return r;
    if (!execution)
        execution = json_text_at(cluster, "progress.execution_id");
    return *execution ? show_tasks(cli, execution, error)
                      : error_set(error, ERROR_NOT_FOUND, "nothing was ever run for this cluster");
}

/* Events ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t is_stopped;

static void stop(int number)
{
    is_stopped = number;
}

/* Hostnames by node id, owned. */
static StringMap *read_hostnames(const json_t *cluster)
{
    StringMap *map = string_map_new(free);
    size_t index;
    json_t *node;
    json_array_foreach (json_object_get(cluster, "node_list"), index, node)
        string_map_set(map, json_text_at(node, "id"), string_duplicate(json_text_at(node, "hostname")));
    return map;
}

static void print_event(const Cli *cli, const json_t *event, const StringMap *hostnames)
{
    if (cli->format == OUTPUT_JSON) { /* one a line, so that programs can follow */
        _cleanup_free_ char *text = json_to_text(event);
        _cleanup_buffer_ Buffer safe = BUFFER_INIT;
        text_append_structured(&safe, text, strlen(text));
        (void)printf("%s\n", buffer_string(&safe));
        return;
    }
    const char *node_id = json_text_at(event, "node_id");
    _cleanup_free_ char *line =
        event_line(event, *node_id ? string_map_get(hostnames, node_id) : NULL, terminal_has_colour(stdout));
    (void)printf("%s\n", line);
}

static int follow_events(Cli *cli, const char *cluster_id, uint64_t after, const StringMap *hostnames,
                         Error *error)
{
    _cleanup_follower_ Follower *follower = NULL;
    struct sigaction action = {.sa_handler = stop, .sa_flags = (int)SA_RESETHAND};
    _cleanup_free_ char *path = cli_path("/events/stream?cluster_id=%s", cluster_id);
    int r = follower_start(&cli->profile, path, after, &follower, error);
    (void)sigaction(SIGINT, &action, NULL);
    while (r >= 0 && !is_stopped && !ferror(stdout)) {
        _cleanup_json_ json_t *event = NULL;
        r = follower_next(follower, &event, error);
        if (r < 0)
            return r;
        if (event && *json_text_at(event, "type"))
            print_event(cli, event, hostnames);
        if (event)
            continue;
        (void)fflush(stdout);
        struct pollfd source = {.fd = follower_descriptor(follower), .events = POLLIN};
        (void)poll(&source, 1, 500);
    }
    return MIN(r, 0);
}

static int clusters_events(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *cluster = NULL, *answer = NULL;
    int r = get_cluster(cli, cli_argument(cli, 0), &cluster, error);
    if (r < 0)
        return r;
    _cleanup_string_map_ StringMap *hostnames = read_hostnames(cluster);
    const char *limit = cli_option(cli, "limit");
    _cleanup_free_ char *path =
        cli_path("/events?_size=%s&cluster_id=%s", limit ? limit : "100", json_text_at(cluster, "id"));
    r = cli_get(cli, path, &answer, error);
    if (r < 0)
        return r;
    const json_t *items = json_object_get(answer, "items");
    bool is_following = cli_option(cli, "follow");
    if (!is_following && cli_show_raw(cli, answer))
        return 0;
    uint64_t last = 0;
    for (size_t i = json_array_size(items); i-- > 0;) { /* they come newest first */
        const json_t *event = json_array_get(items, i);
        print_event(cli, event, hostnames);
        last = MAX(last, (uint64_t)MAX(json_number_at(event, "sequence"), (int64_t)0));
    }
    if (is_following)
        return follow_events(cli, json_text_at(cluster, "id"), last, hostnames, error);
    if (json_array_size(items) == 0)
        cli_done(cli, NULL, "No events.");
    return 0;
}

/* Steering ---------------------------------------------------------------------------------- */

static int cancel_execution(Cli *cli, const char *id, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_json_ json_t *body =
        json_pack("{s:s}", "action", cli_option(cli, "force") ? "force-cancel" : "cancel");
    _cleanup_free_ char *path = cli_path("/executions/%s", id);
    int r = cli_request(cli, "POST", path, body, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "The execution %s is %s.", id, json_text_at(answer, "status"));
    return MIN(r, 0);
}

static int clusters_cancel(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *cluster = NULL;
    int r = get_cluster(cli, cli_argument(cli, 0), &cluster, error);
    if (r < 0)
        return r;
    const char *id = json_text_at(cluster, "progress.execution_id");
    return *id ? cancel_execution(cli, id, error)
               : error_set(error, ERROR_NOT_FOUND, "nothing was ever run for this cluster");
}

static int clusters_decide(Cli *cli, Error *error)
{
    const char *id = cli_argument(cli, 0), *decision = cli_argument(cli, 1);
    _cleanup_json_ json_t *answer = NULL, *body = json_pack("{s:s}", "decision", decision);
    _cleanup_free_ char *path = cli_path("/operations/%s", id);
    if (!string_equal(decision, "retry") && !string_equal(decision, "done") &&
        !string_equal(decision, "fail"))
        return error_set(error, ERROR_BAD_REQUEST, "a decision is retry, done or fail");
    int r = cli_request(cli, "POST", path, body, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "Decided: %s is %s.", id,
                 string_equal(decision, "retry")  ? "run again"
                 : string_equal(decision, "done") ? "taken as done"
                                                  : "taken as failed");
    return MIN(r, 0);
}

static int executions_list(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *cluster = NULL;
    _cleanup_free_ char *path = string_duplicate("/executions");
    int r = 0;
    if (cli_argument(cli, 0))
        r = get_cluster(cli, cli_argument(cli, 0), &cluster, error);
    cli_path_query(&path, "cluster_id", json_text_at(cluster, "id"));
    return r < 0 ? r : cli_show_list(cli, path, execution_view, "No executions.", error);
}

static int executions_show(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/executions/%s", cli_argument(cli, 0));
    int r = cli_show_object(cli, path, execution_view, error);
    if (r < 0 || cli->format != OUTPUT_TABLE)
        return r;
    (void)printf("\n");
    return show_tasks(cli, cli_argument(cli, 0), error);
}

static int steer(Cli *cli, const char *id, const char *action, const char *done, Error *error)
{
    _cleanup_json_ json_t *answer = NULL, *body = json_pack("{s:s}", "action", action);
    _cleanup_free_ char *path = cli_path("/executions/%s", id);
    int r = cli_request(cli, "POST", path, body, &answer, error);
    if (r < 0)
        return r;
    if (cli_option(cli, "watch")) {
        const WatchTarget target = {
            .cluster_id = json_text_at(answer, "cluster_id"), .execution_id = id, .name = id};
        return watch_execution(cli, &target, error);
    }
    cli_done(cli, answer, "The execution %s %s.", id, done);
    return 0;
}

/* The last word of the verb says what to do. */
static int clusters_steer(Cli *cli, Error *error)
{
    static const struct {
        const char *verb, *action, *done;
    } rows[] = {{"clusters pause", "pause", "is paused; what runs now goes on to its end"},
                {"clusters resume", "resume", "goes on"},
                {"clusters retry", "retry", "is taken up where it stopped"}};
    _cleanup_json_ json_t *cluster = NULL;
    int r = get_cluster(cli, cli_argument(cli, 0), &cluster, error);
    if (r < 0)
        return r;
    const char *id = json_text_at(cluster, "progress.execution_id");
    if (!*id)
        return error_set(error, ERROR_NOT_FOUND, "nothing was ever run for this cluster");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (string_equal(cli->verb, rows[i].verb))
            return steer(cli, id, rows[i].action, rows[i].done, error);
    return error_set(error, ERROR_INTERNAL, "'%s' is no verb of this table", cli->verb);
}

static int executions_resume(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL, *body = json_pack("{s:s}", "action", "resume");
    _cleanup_free_ char *path = cli_path("/executions/%s", cli_argument(cli, 0));
    int r = cli_request(cli, "POST", path, body, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "The execution goes on.");
    return MIN(r, 0);
}

static int executions_cancel(Cli *cli, Error *error)
{
    return cancel_execution(cli, cli_argument(cli, 0), error);
}

static const Option list_options[] = {
    {.name = "all", .letter = 'a', .help = "also those that are terminated"},
    {.name = "status", .argument = "STATUS", .help = "only pending, active, incomplete, ... ones"},
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};
static const Option watch_options[] = {
    {.name = "timeout", .argument = "TIME", .help = "stop watching after this, e.g. 10m; the work goes on"},
    {.name = NULL},
};
static const Option delete_options[] = {
    {.name = "yes", .letter = 'y', .help = "do not ask"},
    {.name = "watch", .letter = 'w', .help = "show the work until it ends; the exit status tells how"},
    {.name = "timeout", .argument = "TIME", .help = "stop watching after this, e.g. 10m; the work goes on"},
    {.name = NULL},
};
static const Option task_options[] = {
    {.name = "state",
     .argument = "STATE",
     .help = "waiting, ready, leased, succeeded, failed, cancelled, needs_decision"},
    {.name = "execution", .argument = "ID", .help = "of an older execution"},
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};
static const Option event_options[] = {
    {.name = "follow", .letter = 'f', .help = "go on with events as they happen, until Ctrl-C"},
    {.name = "limit", .argument = "N", .help = "the newest N (100)"},
    {.name = NULL},
};
static const Option cancel_options[] = {
    {.name = "force", .help = "do not wait for what runs"},
    {.name = NULL},
};
static const Option steer_options[] = {
    {.name = "watch", .letter = 'w', .help = "show the work until it ends; the exit status tells how"},
    {.name = "timeout", .argument = "TIME", .help = "stop watching after this, e.g. 10m; the work goes on"},
    {.name = NULL},
};
static const Option limit_options[] = {
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};
static const Option state_options[] = {
    {.name = "state", .argument = "STATE", .help = "only tasks in this state"},
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};

const CliVerb verbs_clusters[] = {
    {"clusters plan", "[NAME]", 0, 1, SESSION, clusters_plan, cluster_request_options,
     "show what a request would make, without doing anything",
     "Takes the same options as 'clusters create' and shows layout, nodes, open ports, certificates and the "
     "work."
     "\n\nExample:\n\n  bastide clusters plan shop --template web-stack --nodes 5 --quantity web=3"},
    {"clusters create", "[NAME]", 0, 1, SESSION, clusters_create, cluster_create_options, "make a cluster",
     "The manager plans first: a request that cannot work is refused with the reason. With --watch the exit "
     "status is 0 when the cluster became active.\n\nExamples:\n\n"
     "  bastide clusters create shop --template web-stack --nodes 5 --lease 7d --watch\n"
     "  bastide clusters create -f request.yaml"},
    {"clusters list", "", 0, 0, SESSION, clusters_list, list_options, "clusters, newest first", NULL},
    {"clusters show", "NAME|ID", 1, 1, SESSION, clusters_show, NULL, "one cluster with its nodes", NULL},
    {"clusters watch", "NAME|ID", 1, 1, SESSION, clusters_watch, watch_options,
     "watch the work on a cluster until it ends",
     "A live picture on a terminal, one line an event elsewhere. Ctrl-C ends the watching, not the work."},
    {"clusters delete", "NAME|ID", 1, 1, SESSION, clusters_delete, delete_options,
     "delete a cluster and its machines", "What runs is cancelled first."},
    {"clusters tasks", "NAME|ID", 1, 1, SESSION, clusters_tasks, task_options,
     "the tasks of a cluster's last work", NULL},
    {"clusters events", "NAME|ID", 1, 1, SESSION, clusters_events, event_options,
     "what happened, oldest first", NULL},
    {"clusters cancel", "NAME|ID", 1, 1, SESSION, clusters_cancel, cancel_options,
     "cancel the work on a cluster", NULL},
    {"clusters pause", "NAME|ID", 1, 1, SESSION, clusters_steer, NULL, "hold the work on a cluster",
     "No further task is begun; what runs goes on to its end. It also holds across restarts of the manager."},
    {"clusters resume", "NAME|ID", 1, 1, SESSION, clusters_steer, steer_options,
     "go on with work that was paused", NULL},
    {"clusters retry", "NAME|ID", 1, 1, SESSION, clusters_steer, steer_options,
     "take up work that failed or was cancelled",
     "It goes on where it stopped: only what has not succeeded is run."},
    {"clusters decide", "TASK retry|done|fail", 2, 2, SESSION, clusters_decide, NULL,
     "decide about a task whose outcome nobody can know",
     "A task needs a decision when its node vanished in the middle of a step that may not be repeated. Look "
     "at the "
     "node, then say: run it again, take it as done, or take it as failed."},
    {"executions list", "[CLUSTER]", 0, 1, SESSION, executions_list, limit_options,
     "executions, newest first", NULL},
    {"executions show", "ID", 1, 1, SESSION, executions_show, state_options, "one execution with its tasks",
     NULL},
    {"executions resume", "ID", 1, 1, SESSION, executions_resume, NULL,
     "have an execution go on that stands still",
     "An execution stands still when who had it done has lost the right to it. Whoever has it go on must "
     "have "
     "that right, and answers for it from then on."},
    {"executions cancel", "ID", 1, 1, SESSION, executions_cancel, cancel_options, "cancel an execution",
     NULL},
    {0},
};
