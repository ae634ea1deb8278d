/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "base/string.h"
#include "cli/picture.h"
#include "cli/text.h"

enum {
    RECENT_MAX = 5,
    FRAME_MS = 120,
    EVENTS_AT_ONCE = 2000,
    FAILURES_SHOWN = 10,
    BAR_WIDTH = 36,
    EXIT_INTERRUPTED = 130,
    EXIT_TIMED_OUT = 75,
};
static const Usec REFRESH_LEAST = 250 * USEC_PER_MSEC, REFRESH_MOST = 3 * USEC_PER_SEC;
static const Usec LAST_EVENTS_MOST = 3 * USEC_PER_SEC, IDLE_PAUSE = 8 * USEC_PER_SEC;
static const Usec LOST_MOST = 60 * USEC_PER_SEC, UNDECIDED_PAUSE = 5 * USEC_PER_SEC;

typedef struct Watch {
    Cli *cli;
    const WatchTarget *target;
    char *name; /* safe, owned */
    Follower *follower;
    FILE *stream; /* of plain lines */
    bool is_live;
    json_t *cluster, *execution, *running; /* as last asked */
    char *recent[RECENT_MAX];
    Picture picture;
    unsigned frame;
    bool is_dirty, has_end; /* the last event of the execution was seen */
    Usec refreshed_at, lost_at, changed_at, ends_at;
} Watch;

static volatile sig_atomic_t interrupted;

static void note_interrupt(int number)
{
    interrupted = number;
}

static void watch_done(Watch *watch)
{
    free(watch->name);
    json_decref(watch->cluster);
    json_decref(watch->execution);
    json_decref(watch->running);
    for (size_t i = 0; i < RECENT_MAX; i++)
        free(watch->recent[i]);
    picture_done(&watch->picture);
    follower_free(watch->follower);
}

/* Asking ------------------------------------------------------------------------------------ */

static void replace(json_t **place, json_t *value)
{
    json_decref(*place);
    *place = value;
}

static int ask(Watch *watch, Error *error)
{
    _cleanup_free_ char *cluster_path = cli_path("/clusters/%s", watch->target->cluster_id);
    _cleanup_free_ char *execution_path = cli_path("/executions/%s", watch->target->execution_id);
    _cleanup_free_ char *running_path =
        cli_path("/operations?_size=500&state=leased&execution_id=%s", watch->target->execution_id);
    json_t *answer = NULL;
    int r = cli_get(watch->cli, execution_path, &answer, error);
    if (r < 0)
        return r;
    if (json_number_at(answer, "running_operations") > 0 ||
        json_number_at(answer, "finished_operations") !=
            json_number_at(watch->execution, "finished_operations"))
        watch->changed_at = clock_monotonic(&system_clock);
    replace(&watch->execution, answer);
    r = cli_get(watch->cli, cluster_path, &answer, error);
    if (r < 0)
        return r;
    replace(&watch->cluster, answer);
    if (!watch->is_live)
        return 0;
    r = cli_get(watch->cli, running_path, &answer, error);
    if (r >= 0)
        replace(&watch->running, answer);
    return MIN(r, 0);
}

static bool is_passing(ErrorCode code)
{
    return code == ERROR_UNAVAILABLE || code == ERROR_TIMED_OUT || code == ERROR_IO || code == ERROR_BUSY ||
           code == ERROR_PROTOCOL || code == ERROR_RATE_LIMITED;
}

/* A manager that is away for a moment (an update, a restart) does not end the watching. */
static int refresh(Watch *watch, Error *error)
{
    Error cause = ERROR_INIT;
    Usec now = clock_monotonic(&system_clock);
    int r = ask(watch, &cause);
    watch->refreshed_at = now;
    watch->is_dirty = false;
    if (r >= 0) {
        watch->lost_at = 0;
        return 0;
    }
    if (!watch->lost_at)
        watch->lost_at = now;
    if (is_passing(cause.code) && watch->execution && now - watch->lost_at < LOST_MOST)
        return 0;
    *error = cause;
    return r;
}

/* Events ------------------------------------------------------------------------------------ */

static const char *hostname_of(const Watch *watch, const char *node_id)
{
    size_t index;
    json_t *node;
    json_array_foreach (json_object_get(watch->cluster, "node_list"), index, node)
        if (*node_id && string_equal(json_text_at(node, "id"), node_id))
            return json_text_at(node, "hostname");
    return NULL;
}

static void take_event(Watch *watch, const json_t *event)
{
    const char *type = json_text_at(event, "type");
    if (!*type)
        return;
    watch->has_end |= string_equal(type, "execution_succeeded") || string_equal(type, "execution_failed") ||
                      string_equal(type, "execution_cancelled");
    bool with_colour = watch->is_live ? terminal_has_colour(stdout) : terminal_has_colour(watch->stream);
    const char *hostname = hostname_of(watch, json_text_at(event, "node_id"));
    if (!watch->is_live) {
        _cleanup_free_ char *line = event_line(event, hostname, with_colour);
        (void)fprintf(watch->stream, "%s\n", line);
        (void)fflush(watch->stream);
        return;
    }
    free(watch->recent[0]);
    for (size_t i = 1; i < RECENT_MAX; i++)
        watch->recent[i - 1] = watch->recent[i];
    watch->recent[RECENT_MAX - 1] = event_line(event, hostname, false);
}

static int take_events(Watch *watch, Error *error)
{
    for (unsigned i = 0; i < EVENTS_AT_ONCE; i++) {
        _cleanup_json_ json_t *event = NULL;
        int r = follower_next(watch->follower, &event, error);
        if (r < 0 || !event)
            return r;
        take_event(watch, event);
        watch->is_dirty = true;
    }
    return 0;
}

/* The picture ------------------------------------------------------------------------------- */

static Usec elapsed(const Watch *watch)
{
    Usec begin, end = clock_realtime(&system_clock);
    const char *ended = json_text_at(watch->execution, "ended_at");
    if (timestamp_parse(json_text_at(watch->execution, "created_at"), &begin) < 0)
        return 0;
    if (*ended)
        (void)timestamp_parse(ended, &end);
    return end > begin ? end - begin : 0;
}

static bool is_idle(const Watch *watch)
{
    return json_number_at(watch->execution, "running_operations") == 0 &&
           clock_monotonic(&system_clock) - watch->changed_at > IDLE_PAUSE;
}

static void draw_head(Watch *watch)
{
    static const char *const spinner[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    static const char *const plain_spinner[] = {"|", "/", "-", "\\"};
    Picture *picture = &watch->picture;
    char time[24], numbers[96];
    int64_t total = json_number_at(watch->execution, "total_operations");
    int64_t finished = json_number_at(watch->execution, "finished_operations");
    int64_t failed = json_number_at(watch->execution, "failed_operations");
    _cleanup_free_ char *workflow = text_safe(json_text_at(watch->execution, "workflow_id"));
    duration_format(elapsed(watch), time);
    (void)string_print(numbers, sizeof(numbers), "  %" PRId64 "/%" PRId64 "  %" PRId64 "%%  %s", finished,
                       total, total > 0 ? finished * 100 / total : 0, time);
    picture_text(picture, STYLE_BUSY,
                 text_is_unicode() ? spinner[watch->frame % ELEMENTSOF(spinner)]
                                   : plain_spinner[watch->frame % ELEMENTSOF(plain_spinner)]);
    picture_text(picture, STYLE_PLAIN, " ");
    picture_text(picture, STYLE_STRONG, watch->name);
    picture_text(picture, STYLE_PLAIN, "  ");
    picture_text(picture, STYLE_PLAIN, workflow);
    picture_text(picture, STYLE_PLAIN, "  ");
    picture_bar(picture, picture->width >= 90 ? BAR_WIDTH : BAR_WIDTH / 2, finished, total,
                failed > 0 ? STYLE_BAD : STYLE_GOOD);
    picture_text(picture, STYLE_PLAIN, numbers);
    picture_line(picture);
    if (watch->lost_at)
        picture_text(picture, STYLE_WARNING, "  no connection to the manager, trying again");
    else if (is_idle(watch))
        picture_text(picture, STYLE_WARNING,
                     "  nothing runs: does a provisioner answer? bastide provisioners list");
    picture_line(picture);
}

/* "install web, configure base" of a node, or "". Owned. */
static char *work_of(const Watch *watch, const char *node_id)
{
    Buffer buffer = BUFFER_INIT;
    size_t index;
    json_t *task;
    json_array_foreach (json_object_get(watch->running, "items"), index, task) {
        const char *service = json_text_at(task, "service");
        if (string_equal(json_text_at(task, "node_id"), node_id))
            (void)buffer_append_format(&buffer, "%s%s%s%s", buffer.size ? ", " : "",
                                       json_text_at(task, "action"), *service ? " " : "", service);
    }
    _cleanup_free_ char *raw = buffer_take_string(&buffer);
    return text_safe(raw);
}

typedef struct NodeLine {
    char *hostname, *status, *work; /* safe, owned */
    unsigned rank;                  /* lower is more interesting */
    size_t position;
} NodeLine;

static int compare_rank(const void *a, const void *b)
{
    const NodeLine *left = a, *right = b;
    if (left->rank != right->rank)
        return left->rank < right->rank ? -1 : 1;
    return left->position < right->position ? -1 : left->position > right->position;
}

static int compare_position(const void *a, const void *b)
{
    const NodeLine *left = a, *right = b;
    return left->position < right->position ? -1 : left->position > right->position;
}

static NodeLine *node_lines(const Watch *watch, size_t *ret_count)
{
    const json_t *nodes = json_object_get(watch->cluster, "node_list");
    NodeLine *lines = NEW_ARRAY(NodeLine, json_array_size(nodes) + 1);
    size_t index;
    json_t *node;
    json_array_foreach (nodes, index, node) {
        NodeLine *line = &lines[index];
        line->hostname = text_safe(json_text_at(node, "hostname"));
        line->status = text_safe(json_text_at(node, "status"));
        line->work = work_of(watch, json_text_at(node, "id"));
        line->position = index;
        line->rank = string_equal(line->status, "failed") ? 0 : *line->work ? 1 : 2;
    }
    *ret_count = json_array_size(nodes);
    return lines;
}

static void draw_rest(Picture *picture, const NodeLine *lines, size_t count)
{
    _cleanup_buffer_ Buffer text = BUFFER_INIT;
    size_t seen = 0;
    (void)buffer_append_format(&text, "  and %zu more:", count);
    for (size_t i = 0; i < count; i++) {
        bool is_known = false;
        size_t same = 0;
        for (size_t j = 0; j < count; j++) {
            bool is_same = string_equal(lines[i].status, lines[j].status);
            is_known |= is_same && j < i;
            same += is_same;
        }
        if (!is_known)
            (void)buffer_append_format(&text, "%s %zu %s", seen++ ? "," : "", same, lines[i].status);
    }
    picture_text(picture, STYLE_FAINT, buffer_string(&text));
    picture_line(picture);
}

static void draw_nodes(Watch *watch, size_t room)
{
    Picture *picture = &watch->picture;
    size_t count, name_width = 0, status_width = 0;
    NodeLine *lines = node_lines(watch, &count);
    size_t shown = count <= room ? count : room - MIN(room, (size_t)1);
    if (shown < count)
        qsort(lines, count, sizeof(*lines), compare_rank);
    qsort(lines, shown, sizeof(*lines), compare_position);
    for (size_t i = 0; i < shown; i++) {
        name_width = MAX(name_width, text_width(lines[i].hostname));
        status_width = MAX(status_width, text_width(lines[i].status));
    }
    name_width = MIN(name_width, (size_t)picture->width / 2);
    for (size_t i = 0; i < shown; i++) {
        _cleanup_free_ char *name = text_cut(lines[i].hostname, name_width);
        picture_text(picture, STYLE_PLAIN, "  ");
        picture_text(picture, STYLE_PLAIN, name);
        picture_column(picture, 2 + name_width + 2);
        picture_text(picture, state_style(lines[i].status), lines[i].status);
        picture_column(picture, 2 + name_width + 2 + MAX(status_width, (size_t)11) + 2);
        picture_text(picture, STYLE_BUSY, lines[i].work);
        picture_line(picture);
    }
    if (shown < count)
        draw_rest(picture, lines + shown, count - shown);
    for (size_t i = 0; i < count; i++) {
        free(lines[i].hostname);
        free(lines[i].status);
        free(lines[i].work);
    }
    free(lines);
}

static void draw(Watch *watch)
{
    Picture *picture = &watch->picture;
    unsigned height = terminal_height();
    picture_begin(picture, terminal_width(), terminal_has_colour(stdout));
    watch->frame++;
    draw_head(watch);
    draw_nodes(watch, height > RECENT_MAX + 8 ? height - RECENT_MAX - 6 : 3);
    picture_line(picture);
    for (size_t i = 0; i < RECENT_MAX; i++)
        if (watch->recent[i] && height > RECENT_MAX + 8) {
            picture_text(picture, STYLE_PLAIN, "  ");
            picture_text(picture, STYLE_FAINT, watch->recent[i]);
            picture_line(picture);
        }
    picture_show(picture);
}

/* The end ----------------------------------------------------------------------------------- */

static bool is_final(const char *status)
{
    return string_equal(status, "terminated") || string_equal(status, "failed") ||
           string_equal(status, "cancelled");
}

/* Nothing runs, and nothing will before somebody decides. */
static bool is_stuck(const Watch *watch)
{
    return json_number_at(watch->execution, "undecided_operations") > 0 &&
           json_number_at(watch->execution, "running_operations") == 0 &&
           clock_monotonic(&system_clock) - watch->changed_at > UNDECIDED_PAUSE;
}

static void print_failures(Watch *watch, const char *state, const char *advice)
{
    _cleanup_json_ json_t *answer = NULL;
    Error ignored = ERROR_INIT;
    _cleanup_free_ char *path =
        cli_path("/operations?_size=100&execution_id=%s&state=%s", watch->target->execution_id, state);
    size_t index;
    json_t *task;
    if (cli_get(watch->cli, path, &answer, &ignored) < 0)
        return;
    json_array_foreach (json_object_get(answer, "items"), index, task) {
        _cleanup_free_ char *hostname = text_safe(json_text_at(task, "hostname"));
        _cleanup_free_ char *action = text_safe(json_text_at(task, "action"));
        _cleanup_free_ char *service = text_safe(json_text_at(task, "service"));
        _cleanup_free_ char *message = text_safe(json_text_at(task, "error"));
        _cleanup_free_ char *id = text_safe(json_text_at(task, "id"));
        if (index >= FAILURES_SHOWN) {
            (void)fprintf(watch->stream, "  and more: bastide clusters tasks %s --state %s\n", watch->name,
                          state);
            return;
        }
        (void)fprintf(watch->stream, "  %s%s%s%s%s: %s\n    ", hostname, *hostname ? "  " : "", action,
                      *service ? " " : "", service, message);
        (void)fprintf(watch->stream, "%s%s %s%s%s\n", style_begin(watch->stream, STYLE_FAINT), advice,
                      string_equal(state, "failed") ? hostname : id,
                      string_equal(state, "failed") ? "" : " retry|done|fail", style_end(watch->stream));
    }
}

static int conclude(Watch *watch)
{
    const char *status = json_text_at(watch->execution, "status");
    bool is_good = string_equal(status, "terminated");
    FILE *stream = watch->stream;
    _cleanup_free_ char *cluster = text_safe(json_text_at(watch->cluster, "status"));
    _cleanup_free_ char *cause = text_safe(json_text_at(watch->execution, "error"));
    _cleanup_free_ char *workflow = text_safe(json_text_at(watch->execution, "workflow_id"));
    int64_t nodes = json_number_at(watch->cluster, "nodes");
    _cleanup_free_ char *time = duration_precise(elapsed(watch));
    if (cli_show_raw(watch->cli, watch->cluster) && is_good)
        return EXIT_SUCCESS;
    if (is_good) {
        (void)fprintf(stream, "%s%s%s %s%s%s is %s: %" PRId64 " task%s, %" PRId64 " node%s, %s\n",
                      style_begin(stream, STYLE_GOOD), text_is_unicode() ? "✔" : "+", style_end(stream),
                      style_begin(stream, STYLE_STRONG), watch->name, style_end(stream), cluster,
                      json_number_at(watch->execution, "total_operations"),
                      json_number_at(watch->execution, "total_operations") == 1 ? "" : "s", nodes,
                      nodes == 1 ? "" : "s", time);
        return EXIT_SUCCESS;
    }
    (void)fprintf(stream, "%s%s %s: %s %s%s after %s%s%s\n", style_begin(stream, STYLE_BAD),
                  text_is_unicode() ? "✘" : "x", watch->name, workflow,
                  is_final(status) ? status : "waits for a decision", style_end(stream), time,
                  *cause ? ": " : "", cause);
    print_failures(watch, "failed", "bastide nodes log");
    print_failures(watch, "needs_decision", "bastide clusters decide");
    return EXIT_FAILURE;
}

static int leave(Watch *watch, int status, const char *text)
{
    (void)fprintf(watch->stream, "%s\nThe work goes on: bastide clusters watch %s\n", text, watch->name);
    return status;
}

static int wait_a_little(const Watch *watch)
{
    struct pollfd source = {.fd = follower_descriptor(watch->follower), .events = POLLIN};
    return poll(&source, 1, watch->is_live ? FRAME_MS : 2 * FRAME_MS);
}

static int watch_loop(Watch *watch, Error *error)
{
    int r = refresh(watch, error);
    while (r >= 0 && !is_final(json_text_at(watch->execution, "status")) && !is_stuck(watch)) {
        if (watch->is_live)
            draw(watch);
        (void)wait_a_little(watch);
        Usec now = clock_monotonic(&system_clock), age = now - watch->refreshed_at;
        if (interrupted || (watch->ends_at && now >= watch->ends_at))
            return 0;
        r = take_events(watch, error);
        if (r >= 0 && ((watch->is_dirty && age >= REFRESH_LEAST) || age >= REFRESH_MOST))
            r = refresh(watch, error);
    }
    /* The last events may still be on their way. */
    Usec end = clock_monotonic(&system_clock) + LAST_EVENTS_MOST;
    while (r >= 0 && !watch->is_live && !watch->has_end && clock_monotonic(&system_clock) < end) {
        (void)wait_a_little(watch);
        r = take_events(watch, error);
    }
    return r;
}

static int read_timeout(const Cli *cli, Usec *ret_end, Error *error)
{
    const char *text = cli_option(cli, "timeout");
    int64_t milliseconds = 0;
    *ret_end = 0;
    if (!text)
        return 0;
    if (string_to_milliseconds(text, &milliseconds) < 0 || milliseconds <= 0)
        return error_set_field(error, ERROR_BAD_REQUEST, "--timeout", "must be a time such as 90s or 10m");
    *ret_end = clock_monotonic(&system_clock) + (Usec)milliseconds * USEC_PER_MSEC;
    return 0;
}

int watch_execution(Cli *cli, const WatchTarget *target, Error *error)
{
    Watch watch = {.cli = cli, .target = target, .stream = cli->format == OUTPUT_TABLE ? stdout : stderr};
    struct sigaction action = {.sa_handler = note_interrupt, .sa_flags = (int)SA_RESETHAND}, before;
    _cleanup_free_ char *path = cli_path("/events/stream?execution_id=%s", target->execution_id);
    watch.is_live = cli->format == OUTPUT_TABLE && terminal_is_live();
    watch.name = text_safe(target->name);
    watch.changed_at = clock_monotonic(&system_clock);
    int r = read_timeout(cli, &watch.ends_at, error);
    if (r >= 0)
        r = follower_start(&cli->profile, path, 0, &watch.follower, error);
    if (r < 0) {
        watch_done(&watch);
        return r;
    }
    interrupted = 0;
    (void)sigaction(SIGINT, &action, &before);
    r = watch_loop(&watch, error);
    (void)sigaction(SIGINT, &before, NULL);
    if (watch.is_live && watch.picture.lines_before > 0)
        picture_clear(&watch.picture);
    bool is_ended = is_final(json_text_at(watch.execution, "status"));
    if (r >= 0 && interrupted)
        r = leave(&watch, EXIT_INTERRUPTED, "");
    else if (r >= 0 && !is_ended && !is_stuck(&watch))
        r = leave(&watch, EXIT_TIMED_OUT, "The time to watch is over.");
    else if (r >= 0)
        r = conclude(&watch);
    watch_done(&watch);
    return r;
}
