/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/follow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "runner/protocol.h"

enum { FOLLOW_MAX = 256, OUTPUT_CHUNK = RUNNER_CHUNK_MAX / 2, INTERVAL_BLIND_MS = 50, INTERVAL_MS = 2000 };

typedef struct Follow {
    char *step; /* owned; NULL = free slot */
    uint32_t request_id;
    uint64_t offsets[2];
    int files[2];
    int watch;
} Follow;

struct FollowSet {
    const RunnerState *state;
    int inotify;
    Follow follows[FOLLOW_MAX];
    size_t count; /* slots ever used */
    unsigned active;
};

FollowSet *follow_set_new(const RunnerState *state)
{
    FollowSet *set = NEW(FollowSet);
    set->state = state;
    set->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return set;
}

static void release(FollowSet *set, Follow *follow)
{
    if (!follow->step)
        return;
    for (size_t i = 0; i < 2; i++)
        close_pointer(&follow->files[i]);
    if (follow->watch >= 0)
        (void)inotify_rm_watch(set->inotify, follow->watch);
    free(follow->step);
    *follow = (Follow){0};
    set->active--;
}

FollowSet *follow_set_free(FollowSet *set)
{
    for (size_t i = 0; i < set->count; i++)
        release(set, &set->follows[i]);
    close_pointer(&set->inotify);
    free(set);
    return NULL;
}

void follow_remove(FollowSet *set, const char *step)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->follows[i].step && string_equal(set->follows[i].step, step))
            release(set, &set->follows[i]);
}

int follow_add(FollowSet *set, const char *step, uint32_t request_id, uint64_t stdout_offset,
               uint64_t stderr_offset)
{
    follow_remove(set, step);
    size_t slot = 0;
    while (slot < set->count && set->follows[slot].step)
        slot++;
    if (slot == FOLLOW_MAX)
        return -EBUSY;
    set->count = MAX(set->count, slot + 1);
    Follow *follow = &set->follows[slot];
    *follow = (Follow){.step = string_duplicate(step),
                       .request_id = request_id,
                       .offsets = {stdout_offset, stderr_offset},
                       .files = {-1, -1},
                       .watch = -1};
    set->active++;
    _cleanup_free_ char *path = runner_step_path(set->state, step, NULL);
    /* The last close of the lock file is the end of the supervisor. */
    if (set->inotify >= 0)
        follow->watch = inotify_add_watch(
            set->inotify, path, IN_MODIFY | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR | IN_DONT_FOLLOW);
    return 0;
}

int follow_descriptor(const FollowSet *set)
{
    return set->inotify;
}

int follow_interval_ms(const FollowSet *set)
{
    if (set->active == 0)
        return -1;
    for (size_t i = 0; i < set->count; i++)
        if (set->follows[i].step && set->follows[i].watch < 0)
            return INTERVAL_BLIND_MS;
    return INTERVAL_MS;
}

/* --- sending --- */

typedef enum Sent { SENT_ALL, SENT_MORE_LATER } Sent;

static Sent send_output(FollowSet *set, Follow *follow, unsigned index, Buffer *outgoing, size_t limit)
{
    static const char *const names[] = {"stdout", "stderr"};
    if (follow->files[index] < 0) {
        _cleanup_free_ char *path = runner_step_path(set->state, follow->step, names[index]);
        follow->files[index] = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    uint8_t chunk[OUTPUT_CHUNK];
    while (follow->files[index] >= 0) {
        if (outgoing->size > limit)
            return SENT_MORE_LATER;
        ssize_t count = pread(follow->files[index], chunk, sizeof(chunk), (off_t)follow->offsets[index]);
        if (count <= 0)
            break;
        size_t start = message_begin(outgoing, RUNNER_OUTPUT, follow->request_id);
        (void)message_put_u32(outgoing, OUTPUT_STREAM, index == 0 ? RUNNER_STDOUT : RUNNER_STDERR);
        (void)message_put_u64(outgoing, OUTPUT_OFFSET, follow->offsets[index]);
        (void)message_put_bytes(outgoing, OUTPUT_DATA, chunk, (size_t)count);
        if (message_end(outgoing, start) < 0)
            return SENT_MORE_LATER;
        follow->offsets[index] += (uint64_t)count;
    }
    return SENT_ALL;
}

typedef struct Results {
    Buffer packed; /* pairs as fields of the DONE message */
    size_t size;
    unsigned count;
    const char *refused; /* why some were left out */
} Results;

static void add_result(Results *results, int directory, const char *name)
{
    _cleanup_close_ int file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    if (file < 0 || fstat(file, &status) < 0 || !S_ISREG(status.st_mode)) {
        results->refused = "a result is not a regular file";
        return;
    }
    char value[RUNNER_RESULTS_SIZE_MAX + 1];
    ssize_t size = read_full(file, value, sizeof(value));
    if (size < 0 || results->size + strlen(name) + (size_t)size > RUNNER_RESULTS_SIZE_MAX ||
        results->count >= RUNNER_RESULTS_MAX) {
        results->refused = "the results are more than 64 or larger than 16 KiB in all";
        return;
    }
    if (!name_is_valid(name) || !utf8_is_valid(value, (size_t)size) || memchr(value, 0, (size_t)size)) {
        results->refused = "a result has a name or a value that is not allowed";
        return;
    }
    /* A trailing newline is what echo adds. */
    if (size > 0 && value[size - 1] == '\n')
        size--;
    if (runner_put_pair(&results->packed, DONE_RESULT, name, value, (size_t)size) < 0)
        return;
    results->size += strlen(name) + (size_t)size;
    results->count++;
}

static void read_results(const RunnerState *state, const char *step, Results *results)
{
    _cleanup_free_ char *path = runner_step_path(state, step, "results");
    DIR *directory = opendir(path);
    if (!directory)
        return;
    for (struct dirent *entry; !results->refused && (entry = readdir(directory));)
        if (entry->d_name[0] != '.')
            add_result(results, dirfd(directory), entry->d_name);
    (void)closedir(directory);
}

static int send_done(FollowSet *set, const Follow *follow, const StepDone *done, Buffer *outgoing)
{
    Results results = {.packed = BUFFER_INIT_LIMIT(64 * 1024)};
    read_results(set->state, follow->step, &results);
    size_t start = message_begin(outgoing, RUNNER_DONE, follow->request_id);
    (void)message_put_u32(outgoing, DONE_EXIT_STATUS, (uint32_t)done->exit_status);
    (void)message_put_u32(outgoing, DONE_SIGNAL, (uint32_t)done->signal);
    (void)message_put_u32(outgoing, DONE_TIMED_OUT, done->is_timed_out);
    (void)message_put_u32(outgoing, DONE_CANCELLED, done->is_cancelled);
    const char *message = done->message[0] ? done->message : results.refused;
    (void)message_put_string(outgoing, DONE_MESSAGE, message);
    (void)buffer_append(outgoing, results.packed.data, results.packed.size);
    buffer_done(&results.packed);
    return message_end(outgoing, start);
}

/* The step is not running and has no result. */
static int send_undecided(const RunnerState *state, const Follow *follow, Buffer *outgoing)
{
    StepBegun begun;
    if (runner_begun_read(state, follow->step, &begun) < 0) {
        size_t start = message_begin(outgoing, RUNNER_ERROR, follow->request_id);
        (void)message_put_string(outgoing, ERROR_FIELD_CODE, "unavailable");
        (void)message_put_string(outgoing, ERROR_FIELD_TEXT,
                                 "the step was accepted but did not begin; it may be sent again");
        return message_end(outgoing, start);
    }
    size_t start = message_begin(outgoing, RUNNER_NEEDS_DECISION, follow->request_id);
    (void)message_put_string(outgoing, NEEDS_DECISION_TEXT,
                             string_equal(begun.boot_id, state->boot_id)
                                 ? "the step began, and its supervisor was killed before it ended"
                                 : "the step began, and the node was started again before it ended");
    return message_end(outgoing, start);
}

/* True when the follow is over. */
static bool pump_one(FollowSet *set, Follow *follow, Buffer *outgoing, size_t limit, bool *is_more)
{
    /* The lock is looked at before the files: what was written before it became free is then seen. */
    bool is_running = runner_step_is_running(set->state, follow->step) == 1;
    for (unsigned i = 0; i < 2; i++)
        if (send_output(set, follow, i, outgoing, limit) == SENT_MORE_LATER) {
            *is_more = true;
            return false;
        }
    if (is_running)
        return false;
    StepDone done;
    int r = runner_done_read(set->state, follow->step, &done);
    if (r >= 0)
        r = send_done(set, follow, &done, outgoing);
    else {
        (void)runner_secrets_wipe(set->state, follow->step);
        r = send_undecided(set->state, follow, outgoing);
    }
    *is_more = *is_more || r < 0;
    return r >= 0;
}

bool follow_pump(FollowSet *set, Buffer *outgoing, size_t limit)
{
    union {
        struct inotify_event event;
        char bytes[16 * 1024];
    } events;
    while (set->inotify >= 0 && read(set->inotify, &events, sizeof(events)) > 0)
        ;
    bool is_more = false;
    for (size_t i = 0; i < set->count; i++) {
        Follow *follow = &set->follows[i];
        if (follow->step && pump_one(set, follow, outgoing, limit, &is_more))
            release(set, follow);
    }
    return is_more;
}
