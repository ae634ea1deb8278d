/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/node.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"

enum { WAIT_MS = 200, BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 5000, MAILBOX_LIMIT = 256 * 1024 * 1024 };

/* --- a mailbox between the pool's thread and the one that waits --- */

typedef struct Mailbox {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    unsigned references;
    Buffer frames; /* of the runner, whole ones */
    bool is_over, is_abandoned, may_have_arrived;
    Error error; /* set when it is over without a last answer */
} Mailbox;

static Mailbox *mailbox_new(void)
{
    Mailbox *mailbox = NEW(Mailbox);
    (void)pthread_mutex_init(&mailbox->mutex, NULL);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&mailbox->condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    mailbox->references = 2; /* who waits, and the pool until the last event */
    mailbox->frames = BUFFER_INIT_LIMIT(MAILBOX_LIMIT);
    return mailbox;
}

static void mailbox_unref(Mailbox *mailbox, bool is_waiter)
{
    (void)pthread_mutex_lock(&mailbox->mutex);
    if (is_waiter) {
        mailbox->is_abandoned = true;
        buffer_done(&mailbox->frames);
    }
    bool is_last = --mailbox->references == 0;
    (void)pthread_mutex_unlock(&mailbox->mutex);
    if (!is_last)
        return;
    buffer_done(&mailbox->frames);
    (void)pthread_cond_destroy(&mailbox->condition);
    (void)pthread_mutex_destroy(&mailbox->mutex);
    free(mailbox);
}

static void deliver(const SshEvent *event, void *userdata)
{
    Mailbox *mailbox = userdata;
    (void)pthread_mutex_lock(&mailbox->mutex);
    if (event->message && !mailbox->is_abandoned) {
        const uint8_t *frame = event->message->body - MESSAGE_HEADER_SIZE;
        if (buffer_append(&mailbox->frames, frame, event->message->body_size + MESSAGE_HEADER_SIZE) < 0)
            (void)error_set(&mailbox->error, ERROR_TOO_LARGE, "the runner sends faster than it can be taken");
    }
    if (event->error) {
        mailbox->error = *event->error;
        mailbox->may_have_arrived = event->may_have_arrived;
    }
    if (event->is_last)
        mailbox->is_over = true;
    (void)pthread_cond_signal(&mailbox->condition);
    (void)pthread_mutex_unlock(&mailbox->mutex);
    if (event->is_last)
        mailbox_unref(mailbox, false);
}

/* Moves what has come into *frames; waits at most WAIT_MS for it. True when nothing more will come. */
static bool mailbox_take(Mailbox *mailbox, Buffer *frames, Error *ret_error)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    (void)pthread_mutex_lock(&mailbox->mutex);
    while (mailbox->frames.size == 0 && !mailbox->is_over)
        if (pthread_cond_timedwait(&mailbox->condition, &mailbox->mutex, &until) == ETIMEDOUT)
            break;
    buffer_done(frames);
    *frames = mailbox->frames;
    mailbox->frames = BUFFER_INIT_LIMIT(MAILBOX_LIMIT);
    bool is_over = mailbox->is_over;
    *ret_error = mailbox->error;
    (void)pthread_mutex_unlock(&mailbox->mutex);
    return is_over;
}

/* --- one answer --- */

void node_reply_done(NodeReply *reply)
{
    buffer_done(&reply->frame);
}

static int runner_error(const MessageView *view, Error *error)
{
    _cleanup_free_ char *code = message_get_string(view, ERROR_FIELD_CODE, 0),
                        *text = message_get_string(view, ERROR_FIELD_TEXT, 0);
    ErrorCode known = error_code_from_name(code);
    if (string_equal(code, "input_output"))
        known = ERROR_INTERNAL; /* of the node's disk, not of the connection: the caller's retry is the
                                   engine's */
    return error_set(error, known > ERROR_NONE ? known : ERROR_PROTOCOL, "the node's runner: %s", text);
}

static bool is_abandoned(const NodeDoor *door)
{
    return door->is_abandoned && *door->is_abandoned;
}

static Mailbox *post(const NodeDoor *door, Buffer *frame, Usec timeout, Error *error)
{
    _cleanup_ssh_credential_ SshCredential *credential = NULL;
    if (door->get_credential(door->userdata, &credential, error) < 0) {
        buffer_wipe(frame);
        return NULL;
    }
    Mailbox *mailbox = mailbox_new();
    ssh_pool_request(door->pool, &door->node, credential, frame, timeout, deliver, mailbox);
    return mailbox;
}

int node_call(const NodeDoor *door, Buffer *frame, uint16_t expected, Usec timeout, NodeReply *ret_reply,
              Error *error)
{
    Mailbox *mailbox = post(door, frame, timeout, error);
    if (!mailbox)
        return -EIO;
    NodeReply reply = {0};
    Error failure = ERROR_INIT;
    while (!mailbox_take(mailbox, &reply.frame, &failure) && !is_abandoned(door))
        ;
    mailbox_unref(mailbox, true);
    int r = 0;
    if (error_is_set(&failure)) {
        if (error)
            *error = failure;
        r = -EIO;
    } else if (reply.frame.size == 0)
        r = error_set(error, ERROR_CANCELLED, "nobody waits for the node any more");
    else if (message_decode(reply.frame.data, reply.frame.size, runner_answers, &reply.message) < 0)
        r = error_set(error, ERROR_PROTOCOL, "the runner broke the protocol");
    else if (reply.message.type == RUNNER_ERROR)
        r = runner_error(&reply.message, error);
    else if (reply.message.type != expected)
        r = error_set(error, ERROR_PROTOCOL, "the runner gave an answer of another kind");
    if (r < 0) {
        node_reply_done(&reply);
        return r;
    }
    *ret_reply = reply;
    return 0;
}

/* Errors after which trying again on a new connection makes sense. */
static bool is_of_connection(const Error *error)
{
    return error->code == ERROR_IO || error->code == ERROR_TIMED_OUT || error->code == ERROR_BUSY ||
           error->code == ERROR_UNAVAILABLE;
}

static void back_off(const NodeDoor *door, unsigned attempt, Usec deadline)
{
    unsigned wait = MIN((unsigned)BACKOFF_FIRST_MS << MIN(attempt, 6U), (unsigned)BACKOFF_MAX_MS);
    Usec until = MIN(clock_monotonic(&system_clock) + wait * USEC_PER_MSEC, deadline);
    while (!is_abandoned(door) && clock_monotonic(&system_clock) < until)
        (void)usleep((useconds_t)MIN(until - clock_monotonic(&system_clock), 50 * USEC_PER_MSEC));
}

int node_call_repeated(const NodeDoor *door, NodeBuild build, const void *build_data, uint16_t expected,
                       Usec timeout, Usec deadline, NodeReply *ret_reply, Error *error)
{
    for (unsigned attempt = 0;; attempt++) {
        _cleanup_(buffer_wipe) Buffer frame = BUFFER_INIT_SECRET(MESSAGE_LIMIT + 4);
        Error failure = ERROR_INIT;
        if (build(&frame, build_data) < 0)
            return error_set(error, ERROR_TOO_LARGE, "a request to the runner is larger than 1 MiB");
        int r = node_call(door, &frame, expected, timeout, ret_reply, &failure);
        if (r >= 0)
            return r;
        if (!is_of_connection(&failure) || clock_monotonic(&system_clock) >= deadline || is_abandoned(door)) {
            if (error)
                *error = failure;
            return r;
        }
        back_off(door, attempt, deadline);
    }
}

/* --- files --- */

enum { CALL_TIMEOUT_SECONDS = 60 };
#define CALL_TIMEOUT (CALL_TIMEOUT_SECONDS * USEC_PER_SEC)

static int build_have(Buffer *frame, const void *userdata)
{
    const NodeStep *step = userdata;
    size_t start = message_begin(frame, RUNNER_HAVE, 0);
    for (size_t i = 0; i < step->file_count; i++)
        (void)message_put_bytes(frame, HAVE_DIGEST, step->files[i].digest, RUNNER_DIGEST_SIZE);
    return message_end(frame, start);
}

static int put_file(const NodeDoor *door, const NodeStepFile *file, Error *error)
{
    _cleanup_free_ char *data = NULL;
    size_t size, offset = 0;
    int r = file_read(file->source, RUNNER_CONTENT_MAX, &data, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot read \"%s\" of the bundle", file->path);
    do {
        size_t piece = MIN(size - offset, (size_t)RUNNER_CHUNK_MAX);
        Buffer frame = BUFFER_INIT_LIMIT(MESSAGE_LIMIT + 4);
        size_t start = message_begin(&frame, RUNNER_PUT, 0);
        (void)message_put_bytes(&frame, PUT_DIGEST, file->digest, RUNNER_DIGEST_SIZE);
        (void)message_put_u32(&frame, PUT_SIZE, (uint32_t)size);
        (void)message_put_u32(&frame, PUT_OFFSET, (uint32_t)offset);
        (void)message_put_bytes(&frame, PUT_CONTENT, data + offset, piece);
        (void)message_end(&frame, start);
        _cleanup_node_reply_ NodeReply reply = {0};
        r = node_call(door, &frame, RUNNER_OK, CALL_TIMEOUT, &reply, error);
        offset += piece;
    } while (r >= 0 && offset < size);
    return r;
}

static int put_missing(const NodeDoor *door, const NodeStep *step, Error *error)
{
    Buffer frame = BUFFER_INIT_LIMIT(MESSAGE_LIMIT + 4);
    if (build_have(&frame, step) < 0)
        return error_set(error, ERROR_TOO_LARGE, "the step has too many files");
    _cleanup_node_reply_ NodeReply reply = {0};
    int r = node_call(door, &frame, RUNNER_MISSING, CALL_TIMEOUT, &reply, error);
    const uint8_t *digest;
    size_t size;
    for (unsigned m = 0; r >= 0 && message_get_bytes(&reply.message, MISSING_DIGEST, m, &digest, &size) >= 0;
         m++)
        for (size_t i = 0; r >= 0 && i < step->file_count; i++)
            if (size == RUNNER_DIGEST_SIZE && memcmp(step->files[i].digest, digest, size) == 0) {
                r = put_file(door, &step->files[i], error);
                break;
            }
    return r;
}

/* --- steps --- */

typedef struct Following {
    const NodeDoor *door;
    const NodeStep *step;
    uint64_t offsets[2]; /* what the caller has had of stdout and stderr */
    bool has_put;        /* files were put there, so a node that lacks them is broken */
    bool has_cancelled, may_have_begun;
    bool is_answered; /* the runner itself refused: its ERROR, not one of the connection */
    Usec lost_since;  /* 0 = connected */
    NodeStepResult *result;
} Following;

static int build_run(Buffer *frame, const Following *following)
{
    const NodeStep *step = following->step;
    const NodeStepFile *script = NULL;
    size_t start = message_begin(frame, RUNNER_RUN, 0);
    (void)message_put_string(frame, RUN_STEP, step->step);
    (void)message_put_u32(frame, RUN_ATTEMPT, step->attempt);
    for (size_t i = 0; i < step->file_count; i++)
        if (string_equal(step->files[i].path, step->script))
            script = &step->files[i];
    if (!script)
        return -ENOENT;
    (void)message_put_bytes(frame, RUN_SCRIPT_DIGEST, script->digest, RUNNER_DIGEST_SIZE);
    (void)message_put_string(frame, RUN_NAME, step->script);
    (void)message_put_u64(frame, RUN_TIMEOUT_MS, step->timeout / USEC_PER_MSEC);
    (void)message_put_u64(frame, RUN_OUTPUT_LIMIT, step->output_limit);
    (void)message_put_u32(frame, RUN_IDEMPOTENT, step->is_idempotent);
    for (size_t i = 0; i < step->file_count; i++) {
        uint8_t packed[RUNNER_DIGEST_SIZE + RUNNER_PATH_MAX];
        size_t length = strlen(step->files[i].path);
        if (length > RUNNER_PATH_MAX)
            return -E2BIG;
        memcpy(packed, step->files[i].digest, RUNNER_DIGEST_SIZE);
        memcpy(packed + RUNNER_DIGEST_SIZE, step->files[i].path, length);
        (void)message_put_bytes(frame, RUN_FILE, packed, RUNNER_DIGEST_SIZE + length);
    }
    (void)message_put_string(frame, RUN_PARAMETERS_JSON, step->parameters_json);
    (void)message_put_string(frame, RUN_PARAMETERS_FLAT, step->parameters_flat);
    for (size_t i = 0; i < step->secret_count; i++)
        (void)runner_put_pair(frame, RUN_SECRET, step->secrets[i].name, secret_bytes(step->secrets[i].value),
                              secret_size(step->secrets[i].value));
    (void)message_put_u64(frame, RUN_STDOUT_OFFSET, following->offsets[0]);
    (void)message_put_u64(frame, RUN_STDERR_OFFSET, following->offsets[1]);
    return message_end(frame, start);
}

static void take_output(Following *following, const MessageView *view)
{
    const uint8_t *data;
    size_t size;
    uint64_t stream = message_get_u64(view, OUTPUT_STREAM, 0),
             offset = message_get_u64(view, OUTPUT_OFFSET, UINT64_MAX);
    if (stream < RUNNER_STDOUT || stream > RUNNER_STDERR ||
        message_get_bytes(view, OUTPUT_DATA, 0, &data, &size) < 0)
        return;
    uint64_t *expected = &following->offsets[stream - RUNNER_STDOUT];
    if (offset != *expected)
        return;
    *expected += size;
    following->step->output((RunnerStream)stream, data, size, following->step->userdata);
}

static void take_done(Following *following, const MessageView *view)
{
    NodeStepResult *result = following->result;
    *result = (NodeStepResult){
        .end = NODE_STEP_DONE,
        .exit_status = (int)message_get_u64(view, DONE_EXIT_STATUS, 0),
        .signal = (int)message_get_u64(view, DONE_SIGNAL, 0),
        .is_timed_out = message_get_u64(view, DONE_TIMED_OUT, 0) != 0,
        .is_cancelled = message_get_u64(view, DONE_CANCELLED, 0) != 0,
        .message = message_get_string(view, DONE_MESSAGE, 0),
        .results = json_object(),
    };
    const uint8_t *data, *value;
    size_t size, value_size;
    for (unsigned i = 0; i < RUNNER_RESULTS_MAX && message_get_bytes(view, DONE_RESULT, i, &data, &size) >= 0;
         i++) {
        _cleanup_free_ char *name = NULL;
        if (runner_get_pair(data, size, &name, &value, &value_size) >= 0)
            (void)json_object_set_new(result->results, name, json_stringn((const char *)value, value_size));
    }
}

/* 1 = over, 0 = goes on. */
static int take_message(Following *following, const MessageView *view, Error *error)
{
    switch (view->type) {
    case RUNNER_STARTED:
        following->lost_since = 0;
        following->may_have_begun = true;
        return 0;
    case RUNNER_OUTPUT:
        take_output(following, view);
        return 0;
    case RUNNER_DONE:
        take_done(following, view);
        return 1;
    case RUNNER_NEEDS_DECISION:
        *following->result = (NodeStepResult){.end = NODE_STEP_NEEDS_DECISION,
                                              .message = message_get_string(view, NEEDS_DECISION_TEXT, 0)};
        return 1;
    case RUNNER_ERROR:
        following->is_answered = true;
        return runner_error(view, error);
    default:
        return error_set(error, ERROR_PROTOCOL, "the runner gave an answer of another kind");
    }
}

static int take_messages(Following *following, const Buffer *frames, Error *error)
{
    int r = 0;
    for (size_t at = 0; r == 0 && at < frames->size;) {
        ssize_t size = message_frame_size(frames->data + at, frames->size - at);
        MessageView view;
        if (size <= 0 || message_decode(frames->data + at, (size_t)size, runner_answers, &view) < 0)
            return error_set(error, ERROR_PROTOCOL, "the runner broke the protocol");
        r = take_message(following, &view, error);
        at += (size_t)size;
    }
    return r;
}

static void cancel_step(Following *following)
{
    const NodeStep *step = following->step;
    Buffer frame = BUFFER_INIT_LIMIT(1024);
    size_t start = message_begin(&frame, RUNNER_CANCEL, 0);
    (void)message_put_string(&frame, CANCEL_STEP, step->step);
    (void)message_put_u32(&frame, CANCEL_GRACE_MS, (uint32_t)(step->cancel_grace / USEC_PER_MSEC));
    (void)message_end(&frame, start);
    _cleanup_node_reply_ NodeReply reply = {0};
    Error error = ERROR_INIT;
    following->has_cancelled =
        node_call(following->door, &frame, RUNNER_OK, CALL_TIMEOUT, &reply, &error) >= 0;
}

static bool step_is_cancelled(const NodeStep *step)
{
    return step->is_cancelled && *step->is_cancelled;
}

/* One connection's worth: 1 = the step is over, negative with an error otherwise. */
static int follow_once(Following *following, Error *error)
{
    const NodeDoor *door = following->door;
    Buffer frame = BUFFER_INIT_SECRET(MESSAGE_LIMIT + 4);
    /* A node that knows the step answers RUN as it would ATTACH, so there is one request for both. */
    if (build_run(&frame, following) < 0) {
        buffer_wipe(&frame);
        return error_set(error, ERROR_TOO_LARGE,
                         "the step's parameters, secrets and files are more than 1 MiB together");
    }
    Mailbox *mailbox = post(door, &frame, 0, error);
    if (!mailbox)
        return -EIO;
    following->is_answered = false;
    _cleanup_buffer_ Buffer frames = BUFFER_INIT;
    Error failure = ERROR_INIT;
    int r = 0;
    bool is_over = false;
    while (r == 0 && !is_over) {
        is_over = mailbox_take(mailbox, &frames, &failure);
        r = take_messages(following, &frames, error);
        if (r == 0 && !is_over && is_abandoned(door))
            r = error_set(error, ERROR_CANCELLED, "nobody waits for the step any more");
        if (r == 0 && !is_over && !following->has_cancelled && step_is_cancelled(following->step))
            cancel_step(following);
    }
    /* Once it is over, nobody else touches the mailbox. */
    if (is_over ? mailbox->may_have_arrived : r < 0 && !following->is_answered)
        following->may_have_begun = true;
    mailbox_unref(mailbox, true);
    if (r == 0) {
        if (error)
            *error = failure;
        r = -EIO;
    }
    return r;
}

/* Most steps find their files on the node, so the step is sent at once, and the files only when the node says
 * that it lacks (or mistrusts) them. */
static int try_step(Following *following, Error *error)
{
    Error failure = ERROR_INIT;
    int r = follow_once(following, &failure);
    bool lacks_files = r < 0 && (failure.code == ERROR_NOT_FOUND || failure.code == ERROR_UNTRUSTED) &&
                       !following->may_have_begun && following->is_answered && !following->has_put;
    if (!lacks_files) {
        *error = failure;
        return r;
    }
    r = put_missing(following->door, following->step, error);
    if (r < 0)
        return r;
    following->has_put = true;
    return follow_once(following, error);
}

int node_run_step(const NodeDoor *door, const NodeStep *step, NodeStepResult *ret_result, Error *error)
{
    Following following = {.door = door, .step = step, .result = ret_result};
    for (unsigned attempt = 0;; attempt++) {
        Error failure = ERROR_INIT;
        int r = try_step(&following, &failure);
        if (r > 0)
            return 0;
        Usec now = clock_monotonic(&system_clock);
        if (following.lost_since == 0) {
            following.lost_since = now;
            attempt = 0;
        }
        bool is_hopeless =
            !is_of_connection(&failure) || now >= following.lost_since + step->patience || is_abandoned(door);
        if (is_hopeless) {
            if (error)
                *error = failure;
            ret_result->may_have_begun = following.may_have_begun;
            return r;
        }
        back_off(door, attempt, following.lost_since + step->patience);
    }
}

void node_step_result_done(NodeStepResult *result)
{
    free(result->message);
    json_decref(result->results);
    *result = (NodeStepResult){0};
}
