/* SPDX-License-Identifier: Apache-2.0 */
/* The event stream in a child process: libcurl blocks while it waits, and a picture must go on meanwhile. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/string.h"
#include "cli/text.h"
#include "cli/watch.h"

enum { LINE_LIMIT = 1024 * 1024, REFUSED = 3 };
static const Usec PAUSE = USEC_PER_SEC;

struct Follower {
    const Profile *profile;
    char *path;
    uint64_t after;
    pid_t child;
    int descriptor; /* -1 while there is no child */
    Buffer buffer;
    Usec start_at; /* of the next child */
};

typedef struct Writer {
    int descriptor;
} Writer;

/* One line an event, "<id> <json>"; the data of a stream's event has no line ends of its own here. */
static int write_event(uint64_t id, const char *event, const char *data, void *userdata)
{
    const Writer *writer = userdata;
    (void)event;
    if (strchr(data, '\n'))
        return 0;
    _cleanup_free_ char *line = string_format("%" PRIu64 " %s\n", id, data);
    return write_full(writer->descriptor, line, strlen(line)) < 0 ? 1 : 0;
}

_noreturn_ static void be_child(const Follower *follower, int descriptor, pid_t parent)
{
    Error error = ERROR_INIT;
    HttpClient *client = NULL;
    Writer writer = {.descriptor = descriptor};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    /* Ctrl-C is for the parent to handle. */
    (void)signal(SIGINT, SIG_IGN);
    _cleanup_free_ char *full = string_format("/api/v3.1%s", follower->path);
    int r = cli_connect(follower->profile, &client, &error);
    if (r >= 0)
        r = http_client_stream(client, full, follower->after, write_event, &writer, &error);
    bool is_refused = error.code == ERROR_UNAUTHENTICATED || error.code == ERROR_FORBIDDEN ||
                      error.code == ERROR_NOT_FOUND || error.code == ERROR_UNTRUSTED;
    _exit(is_refused ? REFUSED : 0);
}

static int start_child(Follower *follower, Error *error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "no pipe for the event stream");
    pid_t parent = getpid();
    (void)fflush(NULL);
    follower->child = fork();
    if (follower->child == 0) {
        (void)close(ends[0]);
        be_child(follower, ends[1], parent);
    }
    (void)close(ends[1]);
    if (follower->child < 0) {
        (void)close(ends[0]);
        return error_set_errno(error, ERROR_INTERNAL, errno, "no process for the event stream");
    }
    follower->descriptor = ends[0];
    (void)set_nonblocking(ends[0], true);
    return 0;
}

/* The child's exit status, or 0. */
static int stop_child(Follower *follower)
{
    int status = 0;
    if (follower->child > 0) {
        (void)kill(follower->child, SIGKILL);
        while (waitpid(follower->child, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    if (follower->descriptor >= 0)
        (void)close(follower->descriptor);
    follower->child = 0;
    follower->descriptor = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

int follower_start(const Profile *profile, const char *path, uint64_t after, Follower **ret_follower,
                   Error *error)
{
    _cleanup_follower_ Follower *follower = NEW(Follower);
    follower->profile = profile;
    follower->path = string_duplicate(path);
    follower->after = after;
    follower->descriptor = -1;
    follower->buffer = BUFFER_INIT_LIMIT(2 * LINE_LIMIT);
    int r = start_child(follower, error);
    if (r < 0)
        return r;
    *ret_follower = TAKE_PTR(follower);
    return 0;
}

Follower *follower_free(Follower *follower)
{
    if (!follower)
        return NULL;
    (void)stop_child(follower);
    buffer_done(&follower->buffer);
    free(follower->path);
    free(follower);
    return NULL;
}

int follower_descriptor(const Follower *follower)
{
    return follower->descriptor;
}

/* Takes one line out of the buffer; NULL when there is no whole one. */
static json_t *take_line(Follower *follower)
{
    const char *text = buffer_string(&follower->buffer);
    const char *end = memchr(text, '\n', follower->buffer.size);
    json_t *event = NULL;
    Error ignored = ERROR_INIT;
    if (!end)
        return NULL;
    _cleanup_free_ char *line = string_duplicate_n(text, (size_t)(end - text));
    buffer_consume(&follower->buffer, (size_t)(end - text) + 1);
    char *space = strchr(line, ' ');
    if (!space)
        return json_object();
    *space = '\0';
    (void)string_to_u64(line, UINT64_MAX, &follower->after);
    if (json_parse(space + 1, strlen(space + 1), LINE_LIMIT, &event, &ignored) < 0)
        return json_object();
    return event;
}

/* The stream has ended: this attempt is over, another begins after a pause. */
static int take_up_again(Follower *follower, Error *error)
{
    int status = stop_child(follower);
    buffer_clear(&follower->buffer);
    follower->start_at = clock_monotonic(&system_clock) + PAUSE;
    return status == REFUSED ? error_set(error, ERROR_FORBIDDEN, "the manager refuses the stream of events")
                             : 0;
}

int follower_next(Follower *follower, json_t **ret_event, Error *error)
{
    char chunk[16384];
    *ret_event = NULL;
    if (follower->descriptor < 0)
        return clock_monotonic(&system_clock) >= follower->start_at ? start_child(follower, error) : 0;
    while (!(*ret_event = take_line(follower))) {
        ssize_t size = read(follower->descriptor, chunk, sizeof(chunk));
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            return 0;
        if (size <= 0 || buffer_append(&follower->buffer, chunk, (size_t)size) < 0)
            return take_up_again(follower, error);
    }
    return 0;
}

/* One event for people ---------------------------------------------------------------------- */

static Style event_style(const char *type, const char *severity)
{
    if (string_equal(severity, "error"))
        return STYLE_BAD;
    if (string_equal(severity, "warning"))
        return STYLE_WARNING;
    return string_ends_with(type, "_succeeded") ? STYLE_GOOD : STYLE_PLAIN;
}

static const char *event_mark(const char *type, const char *severity)
{
    bool is_unicode = text_is_unicode();
    if (string_equal(severity, "error"))
        return is_unicode ? "✘" : "x";
    if (string_equal(severity, "warning"))
        return "!";
    if (string_ends_with(type, "_succeeded"))
        return is_unicode ? "✔" : "+";
    return string_ends_with(type, "_started") ? (is_unicode ? "▸" : ">") : (is_unicode ? "·" : "-");
}

char *event_line(const json_t *event, const char *hostname, bool with_colour)
{
    const char *type = json_text_at(event, "type"), *severity = json_text_at(event, "severity");
    const char *timestamp = json_text_at(event, "timestamp");
    _cleanup_free_ char *message = text_safe(json_text_at(event, "message"));
    _cleanup_free_ char *node = text_safe(hostname);
    _cleanup_free_ char *time = text_safe(strlen(timestamp) > 19 ? timestamp + 11 : "");
    Style style = event_style(type, severity);
    return string_format("%s%.8s%s  %s%s%s  %s%s%s", style_text(STYLE_FAINT, with_colour), time,
                         with_colour ? "\033[0m" : "", style_text(style, with_colour),
                         event_mark(type, severity), with_colour && style ? "\033[0m" : "", node,
                         *node ? "  " : "", message);
}
