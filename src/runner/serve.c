/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "runner/certificate.h"
#include "runner/content.h"
#include "runner/firewall.h"
#include "runner/follow.h"
#include "runner/protocol.h"
#include "runner/step.h"

enum {
    INPUT_LIMIT = 2 * (MESSAGE_LIMIT + 4),
    OUTGOING_HIGH = 512 * 1024, /* steps' output waits while more than this is unsent */
    OUTGOING_LIMIT = 4 * 1024 * 1024,
    READ_CHUNK = 64 * 1024,
    TIMEOUT_MAX_MS = 24 * 3600 * 1000,
};

struct Server {
    const RunnerState *state;
    FollowSet *follows;
    bool has_greeted;
    uint8_t *frame; /* the present one, to be wiped in a child */
    size_t frame_size;
};

typedef int (*Handler)(Server *server, const MessageView *view, Buffer *outgoing);

/* --- answers --- */

static int answer_error(Buffer *outgoing, uint32_t request_id, const char *code, const char *text)
{
    char cut[RUNNER_TEXT_MAX / 4];
    (void)string_copy(cut, sizeof(cut), text);
    /* What a program printed may be cut in the middle of a character. */
    for (char *p = cut; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            *p = ' ';
    size_t start = message_begin(outgoing, RUNNER_ERROR, request_id);
    (void)message_put_string(outgoing, ERROR_FIELD_CODE, code);
    (void)message_put_string(outgoing, ERROR_FIELD_TEXT, cut);
    return message_end(outgoing, start);
}

static int answer_ok(Buffer *outgoing, uint32_t request_id, const char *token)
{
    size_t start = message_begin(outgoing, RUNNER_OK, request_id);
    (void)message_put_string(outgoing, OK_TOKEN, token);
    return message_end(outgoing, start);
}

static const char *code_of(int error)
{
    static const struct {
        int error;
        const char *code;
    } codes[] = {
        {-EINVAL, "bad_request"}, {-EBADMSG, "untrusted"}, {-ENOENT, "not_found"}, {-EBUSY, "busy"},
        {-ESTALE, "stale"},       {-E2BIG, "too_large"},   {-EPERM, "forbidden"},  {-ETIMEDOUT, "timed_out"},
    };
    for (size_t i = 0; i < ELEMENTSOF(codes); i++)
        if (codes[i].error == error)
            return codes[i].code;
    return "input_output";
}

static int answer_errno(Buffer *outgoing, uint32_t request_id, int error, const char *text)
{
    return answer_error(outgoing, request_id, code_of(error), text[0] ? text : strerror(-error));
}

/* --- requests --- */

static int handle_hello(Server *server, const MessageView *view, Buffer *outgoing)
{
    if (message_get_u64(view, HELLO_VERSION, 0) != RUNNER_PROTOCOL_VERSION)
        return answer_error(outgoing, view->request_id, "protocol", "this runner speaks protocol version 1");
    _cleanup_free_ char *holder = message_get_string(view, HELLO_HOLDER, 0);
    if (holder) {
        int r = runner_epoch_check(server->state, holder, message_get_u64(view, HELLO_EPOCH, 0));
        if (r < 0)
            return answer_errno(outgoing, view->request_id, r,
                                r == -ESTALE ? "a newer process of this provisioner was here" : "");
    }
    runner_state_clean(server->state);
    server->has_greeted = true;
    struct utsname names;
    if (uname(&names) < 0)
        return answer_errno(outgoing, view->request_id, -errno, "");
    size_t start = message_begin(outgoing, RUNNER_HELLO_ANSWER, view->request_id);
    (void)message_put_u32(outgoing, HELLO_ANSWER_VERSION, RUNNER_PROTOCOL_VERSION);
    (void)message_put_string(outgoing, HELLO_ANSWER_BOOT_ID, server->state->boot_id);
    (void)message_put_string(outgoing, HELLO_ANSWER_ARCHITECTURE, names.machine);
    (void)message_put_string(outgoing, HELLO_ANSWER_PROGRAM, BASTIDE_VERSION);
    return message_end(outgoing, start);
}

static bool get_digest(const MessageView *view, uint8_t tag, unsigned index, const uint8_t **ret_digest)
{
    size_t size;
    return message_get_bytes(view, tag, index, ret_digest, &size) >= 0 && size == RUNNER_DIGEST_SIZE;
}

static int handle_have(Server *server, const MessageView *view, Buffer *outgoing)
{
    size_t start = message_begin(outgoing, RUNNER_MISSING, view->request_id);
    const uint8_t *digest;
    for (unsigned i = 0; i < RUNNER_FILES_MAX && get_digest(view, HAVE_DIGEST, i, &digest); i++)
        if (!content_has(server->state, digest))
            (void)message_put_bytes(outgoing, MISSING_DIGEST, digest, RUNNER_DIGEST_SIZE);
    return message_end(outgoing, start);
}

static int handle_put(Server *server, const MessageView *view, Buffer *outgoing)
{
    const uint8_t *digest, *data;
    size_t size;
    if (!get_digest(view, PUT_DIGEST, 0, &digest) ||
        message_get_bytes(view, PUT_CONTENT, 0, &data, &size) < 0)
        return answer_error(outgoing, view->request_id, "bad_request", "a digest has 32 bytes");
    int r = content_put(server->state, digest, (uint32_t)message_get_u64(view, PUT_SIZE, 0),
                        (uint32_t)message_get_u64(view, PUT_OFFSET, 0), data, size);
    if (r < 0)
        return answer_errno(outgoing, view->request_id, r,
                            r == -EBADMSG  ? "the content is not that of its digest"
                            : r == -ESPIPE ? "the pieces of a file must come in order"
                                           : "");
    return answer_ok(outgoing, view->request_id, NULL);
}

static int get_files(const MessageView *view, StepRequest *request)
{
    request->files = NEW_ARRAY(StepFile, RUNNER_FILES_MAX);
    const uint8_t *data;
    size_t size;
    for (unsigned i = 0; message_get_bytes(view, RUN_FILE, i, &data, &size) >= 0; i++) {
        if (i >= RUNNER_FILES_MAX || size <= RUNNER_DIGEST_SIZE)
            return -EINVAL;
        StepFile *file = &request->files[request->file_count++];
        memcpy(file->digest, data, RUNNER_DIGEST_SIZE);
        file->path = string_duplicate_n((const char *)data + RUNNER_DIGEST_SIZE, size - RUNNER_DIGEST_SIZE);
        if (strlen(file->path) != size - RUNNER_DIGEST_SIZE || !path_is_safe_relative(file->path))
            return -EINVAL;
    }
    return 0;
}

static int get_secrets(const MessageView *view, StepRequest *request)
{
    request->secrets = NEW_ARRAY(StepSecret, RUNNER_SECRETS_MAX);
    const uint8_t *data;
    size_t size;
    for (unsigned i = 0; message_get_bytes(view, RUN_SECRET, i, &data, &size) >= 0; i++) {
        if (i >= RUNNER_SECRETS_MAX)
            return -EINVAL;
        StepSecret *secret = &request->secrets[request->secret_count];
        if (runner_get_pair(data, size, &secret->name, &secret->value, &secret->size) < 0)
            return -EINVAL;
        request->secret_count++;
        if (!name_is_valid(secret->name) || secret->size > RUNNER_SECRET_SIZE_MAX)
            return -EINVAL;
    }
    return 0;
}

/* The script must be one of the files, with the digest that was given for it. */
static bool script_is_among_files(const MessageView *view, const StepRequest *request)
{
    const uint8_t *digest;
    if (!get_digest(view, RUN_SCRIPT_DIGEST, 0, &digest))
        return false;
    for (size_t i = 0; i < request->file_count; i++)
        if (string_equal(request->files[i].path, request->name))
            return memcmp(request->files[i].digest, digest, RUNNER_DIGEST_SIZE) == 0;
    return false;
}

static int get_run(const Server *server, const MessageView *view, StepRequest *request)
{
    *request = (StepRequest){
        .step = message_get_string(view, RUN_STEP, 0),
        .name = message_get_string(view, RUN_NAME, 0),
        .attempt = (uint32_t)message_get_u64(view, RUN_ATTEMPT, 0),
        .timeout_ms = message_get_u64(view, RUN_TIMEOUT_MS, 0),
        .output_limit = message_get_u64(view, RUN_OUTPUT_LIMIT, 0),
        .is_idempotent = message_get_u64(view, RUN_IDEMPOTENT, 0) != 0,
        .wipe_in_child = server->frame,
        .wipe_size = server->frame_size,
    };
    (void)message_get_bytes(view, RUN_PARAMETERS_JSON, 0, &request->parameters_json,
                            &request->parameters_json_size);
    (void)message_get_bytes(view, RUN_PARAMETERS_FLAT, 0, &request->parameters_flat,
                            &request->parameters_flat_size);
    if (!runner_step_id_is_valid(request->step) || request->timeout_ms == 0 ||
        request->timeout_ms > TIMEOUT_MAX_MS || request->output_limit > RUNNER_OUTPUT_MAX)
        return -EINVAL;
    int r = get_files(view, request);
    if (r >= 0)
        r = get_secrets(view, request);
    if (r >= 0 && !script_is_among_files(view, request))
        r = -EINVAL;
    return r;
}

static int follow(Server *server, const char *step, const MessageView *view, uint8_t stdout_tag,
                  uint8_t stderr_tag, Buffer *outgoing)
{
    int r = follow_add(server->follows, step, view->request_id, message_get_u64(view, stdout_tag, 0),
                       message_get_u64(view, stderr_tag, 0));
    if (r < 0)
        return answer_errno(outgoing, view->request_id, r, "too many steps are followed on this connection");
    size_t start = message_begin(outgoing, RUNNER_STARTED, view->request_id);
    return message_end(outgoing, start);
}

static bool has_file(const RunnerState *state, const char *step, const char *name)
{
    _cleanup_free_ char *path = runner_step_path(state, step, name);
    return access(path, F_OK) == 0;
}

/* Decides, with the step's lock, whether it runs now: 1 = started, 0 = there is something to follow. */
static int start_unless_known(Server *server, const StepRequest *request, char text[static 512])
{
    const RunnerState *state = server->state;
    _cleanup_free_ char *directory = runner_step_path(state, request->step, NULL);
    if (mkdir(directory, 0700) < 0 && errno != EEXIST)
        return -errno;
    _cleanup_close_ int lock = runner_step_lock(state, request->step);
    if (lock == -EAGAIN)
        return 0;
    if (lock < 0)
        return lock;
    StepDone done;
    if (runner_done_read(state, request->step, &done) >= 0)
        return 0;
    if (has_file(state, request->step, "begun")) {
        if (!request->is_idempotent)
            return 0;
        step_clear_leftovers(state, request->step);
    }
    int r = step_start(state, request, lock, text);
    if (r < 0)
        return r;
    (void)TAKE_FD(lock);
    return 1;
}

static bool has_content(const RunnerState *state, const StepRequest *request)
{
    for (size_t i = 0; i < request->file_count; i++)
        if (!content_has(state, request->files[i].digest))
            return false;
    return true;
}

static bool is_known(const RunnerState *state, const char *step)
{
    return has_file(state, step, "begun") || runner_step_is_running(state, step) == 1;
}

static int handle_run(Server *server, const MessageView *view, Buffer *outgoing)
{
    StepRequest request;
    int r = get_run(server, view, &request);
    char text[512] = "";
    if (r < 0)
        r = answer_error(outgoing, view->request_id, "bad_request",
                         "the step breaks a limit, or its script is not among its files");
    else if (!is_known(server->state, request.step) && !has_content(server->state, &request))
        r = answer_error(outgoing, view->request_id, "not_found", "files of the step are not on this node");
    else {
        r = start_unless_known(server, &request, text);
        r = r < 0 ? answer_errno(outgoing, view->request_id, r, text)
                  : follow(server, request.step, view, RUN_STDOUT_OFFSET, RUN_STDERR_OFFSET, outgoing);
    }
    step_request_done(&request);
    return r;
}

static int handle_attach(Server *server, const MessageView *view, Buffer *outgoing)
{
    _cleanup_free_ char *step = message_get_string(view, ATTACH_STEP, 0);
    if (!runner_step_id_is_valid(step))
        return answer_error(outgoing, view->request_id, "bad_request", "the id of the step is malformed");
    _cleanup_free_ char *path = runner_step_path(server->state, step, NULL);
    if (access(path, F_OK) < 0)
        return answer_error(outgoing, view->request_id, "not_found", "this node has no such step");
    return follow(server, step, view, ATTACH_STDOUT_OFFSET, ATTACH_STDERR_OFFSET, outgoing);
}

static int handle_cancel(Server *server, const MessageView *view, Buffer *outgoing)
{
    _cleanup_free_ char *step = message_get_string(view, CANCEL_STEP, 0);
    if (!runner_step_id_is_valid(step))
        return answer_error(outgoing, view->request_id, "bad_request", "the id of the step is malformed");
    int r = step_cancel(server->state, step, (uint32_t)message_get_u64(view, CANCEL_GRACE_MS, 0));
    return r < 0 ? answer_errno(outgoing, view->request_id, r, "this node has no such step")
                 : answer_ok(outgoing, view->request_id, NULL);
}

static int handle_firewall(Server *server, const MessageView *view, Buffer *outgoing)
{
    _cleanup_free_ char *ruleset = message_get_string(view, FIREWALL_RULESET, 0);
    char token[FIREWALL_TOKEN_SIZE], text[1200];
    int r = firewall_apply(server->state, ruleset,
                           (uint32_t)message_get_u64(view, FIREWALL_CONFIRM_SECONDS, 0), token, text);
    return r < 0 ? answer_errno(outgoing, view->request_id, r, text)
                 : answer_ok(outgoing, view->request_id, token);
}

static int handle_confirm_firewall(Server *server, const MessageView *view, Buffer *outgoing)
{
    _cleanup_free_ char *token = message_get_string(view, CONFIRM_TOKEN, 0);
    int r = firewall_confirm(server->state, token);
    if (r < 0)
        return answer_errno(outgoing, view->request_id, r,
                            r == -ESTALE ? "the change was reverted, or another one came after it"
                            : r == -EPERM
                                ? "a change is confirmed on another connection than the one that made it"
                                : "");
    return answer_ok(outgoing, view->request_id, NULL);
}

static int handle_make_csr(Server *server, const MessageView *view, Buffer *outgoing)
{
    (void)server;
    _cleanup_free_ char *key_path = message_get_string(view, MAKE_CSR_KEY_PATH, 0),
                        *owner = message_get_string(view, MAKE_CSR_OWNER, 0),
                        *common_name = message_get_string(view, MAKE_CSR_COMMON_NAME, 0), *pem = NULL;
    CertificatePlace place = {.key_path = key_path, .owner = owner};
    char text[1200];
    int r = certificate_make_csr(&place, common_name, &pem, text);
    if (r < 0)
        return answer_errno(outgoing, view->request_id, r, text);
    size_t start = message_begin(outgoing, RUNNER_CSR, view->request_id);
    (void)message_put_string(outgoing, CSR_PEM, pem);
    return message_end(outgoing, start);
}

static int handle_install(Server *server, const MessageView *view, Buffer *outgoing)
{
    (void)server;
    _cleanup_free_ char *key_path = message_get_string(view, INSTALL_KEY_PATH, 0),
                        *certificate_path = message_get_string(view, INSTALL_CERTIFICATE_PATH, 0),
                        *ca_path = message_get_string(view, INSTALL_CA_PATH, 0),
                        *owner = message_get_string(view, INSTALL_OWNER, 0),
                        *chain = message_get_string(view, INSTALL_CHAIN, 0),
                        *ca = message_get_string(view, INSTALL_CA, 0);
    CertificatePlace place = {
        .key_path = key_path, .certificate_path = certificate_path, .ca_path = ca_path, .owner = owner};
    char text[1200];
    int r = certificate_install(&place, chain, ca, text);
    return r < 0 ? answer_errno(outgoing, view->request_id, r, text)
                 : answer_ok(outgoing, view->request_id, NULL);
}

static int handle_forget(Server *server, const MessageView *view, Buffer *outgoing)
{
    for (unsigned i = 0;; i++) {
        _cleanup_free_ char *step = message_get_string(view, FORGET_STEP, i);
        if (!step)
            return answer_ok(outgoing, view->request_id, NULL);
        int r = runner_step_id_is_valid(step) ? runner_step_forget(server->state, step) : -EINVAL;
        if (r < 0)
            return answer_errno(outgoing, view->request_id, r, r == -EBUSY ? "the step is running" : "");
        follow_remove(server->follows, step);
    }
}

static int handle_ping(Server *server, const MessageView *view, Buffer *outgoing)
{
    (void)server;
    return answer_ok(outgoing, view->request_id, NULL);
}

static const Handler handlers[] = {
    [RUNNER_HELLO] = handle_hello,       [RUNNER_HAVE] = handle_have,
    [RUNNER_PUT] = handle_put,           [RUNNER_RUN] = handle_run,
    [RUNNER_ATTACH] = handle_attach,     [RUNNER_CANCEL] = handle_cancel,
    [RUNNER_FIREWALL] = handle_firewall, [RUNNER_CONFIRM_FIREWALL] = handle_confirm_firewall,
    [RUNNER_MAKE_CSR] = handle_make_csr, [RUNNER_INSTALL_CERTIFICATE] = handle_install,
    [RUNNER_FORGET] = handle_forget,     [RUNNER_PING] = handle_ping,
};

/* --- the connection --- */

Server *server_new(const RunnerState *state)
{
    Server *server = NEW(Server);
    server->state = state;
    server->follows = follow_set_new(state);
    return server;
}

Server *server_free(Server *server)
{
    follow_set_free(server->follows);
    free(server);
    return NULL;
}

static int take_frame(Server *server, uint8_t *frame, size_t size, Buffer *outgoing)
{
    MessageView view;
    int r = message_decode(frame, size, runner_requests, &view);
    if (r < 0)
        return r;
    server->frame = frame;
    server->frame_size = size;
    if (!server->has_greeted && view.type != RUNNER_HELLO)
        r = answer_error(outgoing, view.request_id, "protocol", "the first request of a connection is HELLO");
    else
        r = handlers[view.type](server, &view, outgoing);
    /* Frames carry secrets. */
    explicit_bzero(frame, size);
    return r;
}

ssize_t server_take(Server *server, uint8_t *data, size_t size, Buffer *outgoing)
{
    size_t consumed = 0;
    while (outgoing->size <= OUTGOING_HIGH) {
        ssize_t frame = message_frame_size(data + consumed, size - consumed);
        if (frame < 0)
            return frame;
        if (frame == 0)
            break;
        int r = take_frame(server, data + consumed, (size_t)frame, outgoing);
        if (r < 0)
            return r;
        consumed += (size_t)frame;
    }
    return (ssize_t)consumed;
}

typedef struct Loop {
    Server *server;
    int input, output;
    Buffer incoming, outgoing;
    bool has_ended; /* of the input */
} Loop;

static int read_input(Loop *loop)
{
    int r = buffer_reserve(&loop->incoming, READ_CHUNK);
    if (r < 0)
        return r;
    ssize_t count = read(loop->input, loop->incoming.data + loop->incoming.size, READ_CHUNK);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (count == 0)
        loop->has_ended = true;
    loop->incoming.size += (size_t)count;
    return 0;
}

static int write_output(Loop *loop)
{
    while (loop->outgoing.size > 0) {
        ssize_t count = write(loop->output, loop->outgoing.data, loop->outgoing.size);
        if (count < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        buffer_consume(&loop->outgoing, (size_t)count);
    }
    return 0;
}

static int take_input(Loop *loop)
{
    ssize_t consumed = server_take(loop->server, loop->incoming.data, loop->incoming.size, &loop->outgoing);
    if (consumed < 0)
        return (int)consumed;
    buffer_consume(&loop->incoming, (size_t)consumed);
    return 0;
}

static int turn(Loop *loop, bool *is_more)
{
    FollowSet *follows = loop->server->follows;
    bool wants_input = loop->incoming.size < MESSAGE_LIMIT + 4;
    struct pollfd polls[] = {{wants_input ? loop->input : -1, POLLIN, 0},
                             {loop->outgoing.size > 0 ? loop->output : -1, POLLOUT, 0},
                             {follow_descriptor(follows), POLLIN, 0}};
    bool can_send_more = *is_more && loop->outgoing.size <= OUTGOING_HIGH;
    if (poll(polls, ELEMENTSOF(polls), can_send_more ? 0 : follow_interval_ms(follows)) < 0 && errno != EINTR)
        return -errno;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    int r = polls[0].revents ? read_input(loop) : 0;
    if (r >= 0)
        r = take_input(loop);
    if (r >= 0)
        *is_more = follow_pump(follows, &loop->outgoing, OUTGOING_HIGH);
    return r < 0 ? r : write_output(loop);
}

int serve(const RunnerState *state, int input, int output)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)set_nonblocking(input, true);
    (void)set_nonblocking(output, true);
    Loop loop = {.server = server_new(state),
                 .input = input,
                 .output = output,
                 .incoming = BUFFER_INIT_SECRET(INPUT_LIMIT),
                 .outgoing = BUFFER_INIT_LIMIT(OUTGOING_LIMIT)};
    int r = 0;
    bool is_more = false;
    while (r >= 0 && !loop.has_ended)
        r = turn(&loop, &is_more);
    buffer_wipe(&loop.incoming);
    buffer_done(&loop.outgoing);
    server_free(loop.server);
    return r < 0 ? 1 : 0;
}
