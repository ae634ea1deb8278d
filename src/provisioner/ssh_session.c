/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/ssh_session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/memory.h"
#include "runner/protocol.h"

enum {
    READ_CHUNK = 64 * 1024,
    WRITE_CHUNK = 32 * 1024,
    INCOMING_LIMIT = 2 * MESSAGE_LIMIT,
    OUTGOING_LIMIT = 64 * 1024 * 1024,
    PING_ID = 1, /* request ids of the session itself */
    HELLO_ID = 2,
    FIRST_ID = 16,
};

static int session_fail(Session *session, ErrorCode code, const char *format, ...) _printf_(3, 4);
static int session_fail(Session *session, ErrorCode code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int r = error_set_v(&session->failure, code, format, arguments);
    va_end(arguments);
    session->has_failed = true;
    return r;
}

/* --- life --- */

static int open_socket(Session *session)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
    socklen_t size = sizeof(*v4);
    if (inet_pton(AF_INET, session->address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(session->port);
    } else if (inet_pton(AF_INET6, session->address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(session->port);
        size = sizeof(*v6);
    } else
        return session_fail(session, ERROR_BAD_FIELD, "\"%s\" is not a numeric address", session->address);
    session->socket = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (session->socket < 0)
        return session_fail(session, ERROR_IO, "cannot make a socket: %s", strerror(errno));
    (void)setsockopt(session->socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(session->socket, (struct sockaddr *)&storage, size) < 0 && errno != EINPROGRESS)
        return session_fail(session, ERROR_IO, "cannot connect to %s port %u: %s", session->address,
                            session->port, strerror(errno));
    return 0;
}

Session *session_new(const char *key, const SshNode *node, SshCredential *credential,
                     const SshPoolSettings *settings, Usec now)
{
    Session *session = NEW(Session);
    *session = (Session){
        .key = string_duplicate(key),
        .address = string_duplicate(node->address),
        .user = string_duplicate(node->user),
        .port = node->port,
        .socket = -1,
        .credential = ssh_credential_ref(credential),
        .incoming = BUFFER_INIT_LIMIT(INCOMING_LIMIT),
        .outgoing = BUFFER_INIT_SECRET(OUTGOING_LIMIT),
        .waiting = BUFFER_INIT_SECRET(OUTGOING_LIMIT),
        .next_id = FIRST_ID,
        .deadline = now + settings->connect_timeout,
        .heard = now,
        .idle = now,
        .settings = settings,
    };
    for (size_t i = 0; i < node->host_key_count; i++)
        string_list_append(&session->host_keys, node->host_keys[i]);
    (void)open_socket(session);
    return session;
}

Session *session_free(Session *session)
{
    ASSERT(!session->requests);
    if (session->channel)
        ssh_channel_free(session->channel);
    if (session->ssh) {
        if (session->state >= SESSION_AUTHENTICATING)
            ssh_disconnect(session->ssh);
        ssh_free(session->ssh);
    }
    if (!session->is_socket_of_library)
        close_pointer(&session->socket);
    ssh_credential_unref(session->credential);
    string_list_done(&session->host_keys);
    buffer_done(&session->incoming);
    buffer_wipe(&session->outgoing);
    buffer_wipe(&session->waiting);
    free(session->key);
    free(session->address);
    free(session->user);
    free(session);
    return NULL;
}

void session_end_requests(Session *session, const Error *error)
{
    SshEvent event = {.error = error, .is_last = true, .may_have_arrived = session->state == SESSION_READY};
    while (session->requests) {
        SshRequest *request = session->requests;
        session->requests = request->next;
        request->callback(&event, request->userdata);
        free(request);
    }
}

/* --- key exchange --- */

/* The algorithms that the pinned keys can answer for, so that the node shows one of them. */
static int host_key_algorithms(Session *session, Buffer *ret_list)
{
    static const struct {
        const char *type, *algorithms;
    } known[] = {
        {"ssh-ed25519", "ssh-ed25519"},
        {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
        {"ssh-rsa", "rsa-sha2-512,rsa-sha2-256"},
    };
    for (size_t k = 0; k < ELEMENTSOF(known); k++) {
        for (size_t i = 0; i < session->host_keys.count; i++) {
            const char *line = session->host_keys.items[i];
            size_t length = strlen(known[k].type);
            if (strncmp(line, known[k].type, length) != 0 || line[length] != ' ')
                continue;
            (void)buffer_append_format(ret_list, "%s%s", ret_list->size > 0 ? "," : "", known[k].algorithms);
            break;
        }
    }
    if (ret_list->size == 0)
        return session_fail(session, ERROR_UNTRUSTED, "no host key of %s is known, so it cannot be trusted",
                            session->address);
    return 0;
}

static int set_options(Session *session)
{
    static const char curves[] = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256";
    static const char ciphers[] =
        "aes256-gcm@openssh.com,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com";
    _cleanup_buffer_ Buffer algorithms = BUFFER_INIT_LIMIT(1024);
    int r = host_key_algorithms(session, &algorithms);
    if (r < 0)
        return r;
    ssh_session ssh = session->ssh = ssh_new();
    if (!ssh)
        return session_fail(session, ERROR_INTERNAL, "cannot make an SSH session");
    const struct {
        enum ssh_options_e option;
        const void *value;
    } options[] = {
        /* First: no file of the machine says anything about our connections. */
        {SSH_OPTIONS_PROCESS_CONFIG, &(bool){false}},
        {SSH_OPTIONS_KNOWNHOSTS, "/dev/null"},
        {SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null"},
        {SSH_OPTIONS_HOST, session->address},
        {SSH_OPTIONS_USER, session->user},
        {SSH_OPTIONS_FD, &session->socket},
        {SSH_OPTIONS_NODELAY, &(int){1}},
        {SSH_OPTIONS_KEY_EXCHANGE, curves},
        {SSH_OPTIONS_CIPHERS_C_S, ciphers},
        {SSH_OPTIONS_CIPHERS_S_C, ciphers},
        {SSH_OPTIONS_COMPRESSION, "no"},
        {SSH_OPTIONS_HOSTKEYS, algorithms.data},
    };
    for (size_t i = 0; i < ELEMENTSOF(options); i++)
        if (ssh_options_set(ssh, options[i].option, options[i].value) != SSH_OK)
            return session_fail(session, ERROR_INTERNAL, "libssh refused an option: %s", ssh_get_error(ssh));
    ssh_set_blocking(ssh, 0);
    return 0;
}

static int step_connecting(Session *session)
{
    struct pollfd ready = {session->socket, POLLOUT, 0};
    if (poll(&ready, 1, 0) <= 0)
        return 0;
    int failure = 0;
    if (getsockopt(session->socket, SOL_SOCKET, SO_ERROR, &failure, &(socklen_t){sizeof(failure)}) < 0)
        failure = errno;
    if (failure != 0)
        return session_fail(session, ERROR_IO, "cannot connect to %s port %u: %s", session->address,
                            session->port, strerror(failure));
    int r = set_options(session);
    if (r < 0)
        return r;
    session->is_socket_of_library = true;
    session->state = SESSION_KEY_EXCHANGE;
    return 1;
}

static bool host_key_is(ssh_key actual, const char *line)
{
    size_t type_length = strcspn(line, " ");
    _cleanup_free_ char *type = string_duplicate_n(line, type_length);
    if (line[type_length] != ' ')
        return false;
    const char *base64 = line + type_length + 1;
    _cleanup_free_ char *data = string_duplicate_n(base64, strcspn(base64, " \r\n"));
    ssh_key expected = NULL;
    if (ssh_pki_import_pubkey_base64(data, ssh_key_type_from_name(type), &expected) != SSH_OK)
        return false;
    bool is_same = ssh_key_cmp(actual, expected, SSH_KEY_CMP_PUBLIC) == 0;
    ssh_key_free(expected);
    return is_same;
}

static int verify_host(Session *session)
{
    ssh_key actual = NULL;
    if (ssh_get_server_publickey(session->ssh, &actual) != SSH_OK)
        return session_fail(session, ERROR_UNTRUSTED, "the node %s showed no host key", session->address);
    bool is_known = false;
    for (size_t i = 0; i < session->host_keys.count && !is_known; i++)
        is_known = host_key_is(actual, session->host_keys.items[i]);
    ssh_key_free(actual);
    if (!is_known)
        return session_fail(session, ERROR_UNTRUSTED,
                            "the node %s port %u showed a host key that is not the pinned one",
                            session->address, session->port);
    return 0;
}

static int step_key_exchange(Session *session)
{
    int r = ssh_connect(session->ssh);
    if (r == SSH_AGAIN)
        return 0;
    if (r != SSH_OK) {
        /* A node that has none of the pinned kinds of key is not the node. */
        const char *text = ssh_get_error(session->ssh);
        bool is_other_key = strstr(text, "server host key algo") != NULL;
        return session_fail(session, is_other_key ? ERROR_UNTRUSTED : ERROR_IO, "SSH to %s port %u: %s",
                            session->address, session->port, text);
    }
    r = verify_host(session);
    if (r < 0)
        return r;
    session->state = SESSION_AUTHENTICATING;
    return 1;
}

/* --- authentication, channel, runner --- */

static int step_authenticating(Session *session)
{
    int r = ssh_userauth_publickey(session->ssh, NULL, ssh_credential_key(session->credential));
    if (r == SSH_AUTH_AGAIN)
        return 0;
    if (r == SSH_AUTH_ERROR)
        return session_fail(session, ERROR_IO, "SSH to %s port %u: %s", session->address, session->port,
                            ssh_get_error(session->ssh));
    if (r != SSH_AUTH_SUCCESS)
        return session_fail(session, ERROR_UNAUTHENTICATED,
                            "the node %s port %u refused our certificate for the user %s", session->address,
                            session->port, session->user);
    session->channel = ssh_channel_new(session->ssh);
    if (!session->channel)
        return session_fail(session, ERROR_INTERNAL, "cannot make an SSH channel");
    session->state = SESSION_OPENING;
    return 1;
}

static int step_opening(Session *session)
{
    int r = ssh_channel_open_session(session->channel);
    if (r == SSH_AGAIN)
        return 0;
    if (r != SSH_OK)
        return session_fail(session, ERROR_IO, "SSH to %s: %s", session->address,
                            ssh_get_error(session->ssh));
    session->state = SESSION_STARTING;
    return 1;
}

static int step_starting(Session *session)
{
    int r = ssh_channel_request_exec(session->channel, "bastide-runner serve");
    if (r == SSH_AGAIN)
        return 0;
    if (r != SSH_OK)
        return session_fail(session, ERROR_IO, "SSH to %s: %s", session->address,
                            ssh_get_error(session->ssh));
    size_t start = message_begin(&session->outgoing, RUNNER_HELLO, HELLO_ID);
    (void)message_put_u32(&session->outgoing, HELLO_VERSION, RUNNER_PROTOCOL_VERSION);
    if (session->settings->holder) {
        (void)message_put_u64(&session->outgoing, HELLO_EPOCH, session->settings->epoch);
        (void)message_put_string(&session->outgoing, HELLO_HOLDER, session->settings->holder);
    }
    if (message_end(&session->outgoing, start) < 0)
        return session_fail(session, ERROR_INTERNAL, "cannot build HELLO");
    session->state = SESSION_GREETING;
    return 1;
}

/* --- frames --- */

static void take_greeting(Session *session, const MessageView *view)
{
    if (view->type != RUNNER_HELLO_ANSWER) {
        _cleanup_free_ char *text =
            view->type == RUNNER_ERROR ? message_get_string(view, ERROR_FIELD_TEXT, 0) : NULL;
        (void)session_fail(session, ERROR_PROTOCOL, "the runner on %s refused us: %s", session->address,
                           text ? text : "no HELLO");
        return;
    }
    if (buffer_append(&session->outgoing, session->waiting.data, session->waiting.size) < 0) {
        (void)session_fail(session, ERROR_TOO_LARGE, "too much was queued for %s", session->address);
        return;
    }
    buffer_wipe(&session->waiting);
    session->state = SESSION_READY;
}

static bool is_last_answer(const MessageView *view)
{
    return view->type != RUNNER_STARTED && view->type != RUNNER_OUTPUT;
}

static void take_answer(Session *session, const MessageView *view, Usec now)
{
    if (view->request_id == PING_ID) {
        session->is_ping_out = false;
        return;
    }
    for (SshRequest **link = &session->requests; *link; link = &(*link)->next) {
        SshRequest *request = *link;
        if (request->id != view->request_id)
            continue;
        request->deadline = request->timeout == 0 ? 0 : now + request->timeout;
        SshEvent event = {.message = view, .is_last = is_last_answer(view)};
        if (event.is_last) {
            *link = request->next;
            session->idle = now;
        }
        request->callback(&event, request->userdata);
        if (event.is_last)
            free(request);
        return;
    }
}

static int take_frames(Session *session, Usec now)
{
    size_t consumed = 0;
    while (!session->has_failed) {
        const uint8_t *frame = session->incoming.data + consumed;
        ssize_t size = message_frame_size(frame, session->incoming.size - consumed);
        if (size == 0)
            break;
        MessageView view;
        if (size < 0 || message_decode(frame, (size_t)size, runner_answers, &view) < 0)
            return session_fail(session, ERROR_PROTOCOL, "the runner on %s broke the protocol",
                                session->address);
        if (session->state == SESSION_GREETING)
            take_greeting(session, &view);
        else
            take_answer(session, &view, now);
        consumed += (size_t)size;
    }
    buffer_consume(&session->incoming, consumed);
    return 0;
}

static void note_complaint(Session *session)
{
    size_t length = strlen(session->complaint);
    char chunk[256];
    int count;
    while ((count = ssh_channel_read_nonblocking(session->channel, chunk, sizeof(chunk), 1)) > 0)
        for (int i = 0; i < count && length + 1 < sizeof(session->complaint); i++)
            session->complaint[length++] = (chunk[i] >= ' ' && chunk[i] < 0x7f) ? chunk[i] : ' ';
    session->complaint[length] = 0;
}

static int note_end(Session *session)
{
    note_complaint(session);
    return session_fail(session, ERROR_IO, "the runner on %s ended%s%s", session->address,
                        session->complaint[0] ? ": " : "", session->complaint);
}

static int read_frames(Session *session, Usec now)
{
    for (;;) {
        if (buffer_reserve(&session->incoming, READ_CHUNK) < 0)
            return session_fail(session, ERROR_PROTOCOL, "the runner on %s sent too much", session->address);
        int count = ssh_channel_read_nonblocking(
            session->channel, session->incoming.data + session->incoming.size, READ_CHUNK, 0);
        if (count == SSH_ERROR)
            return session_fail(session, ERROR_IO, "the connection to %s was lost: %s", session->address,
                                ssh_get_error(session->ssh));
        if (count <= 0)
            break;
        session->incoming.size += (size_t)count;
        session->heard = now;
        int r = take_frames(session, now);
        if (r < 0 || session->has_failed)
            return -EIO;
    }
    if (ssh_channel_is_eof(session->channel) || ssh_channel_is_closed(session->channel))
        return note_end(session);
    if (!ssh_is_connected(session->ssh))
        return session_fail(session, ERROR_IO, "the connection to %s was lost", session->address);
    note_complaint(session);
    return 0;
}

static int write_frames(Session *session)
{
    while (session->outgoing.size > 0) {
        uint32_t size = (uint32_t)MIN(session->outgoing.size, (size_t)WRITE_CHUNK);
        int count = ssh_channel_write(session->channel, session->outgoing.data, size);
        if (count == SSH_ERROR)
            return session_fail(session, ERROR_IO, "the connection to %s was lost: %s", session->address,
                                ssh_get_error(session->ssh));
        if (count <= 0)
            return 0;
        buffer_consume(&session->outgoing, (size_t)count);
        /* What was moved down left copies behind. */
        if (session->outgoing.size == 0)
            explicit_bzero(session->outgoing.data, session->outgoing.capacity);
    }
    return 0;
}

static int step_frames(Session *session, Usec now)
{
    /* Reading may make things to write (a greeting lets what waited go), never the other way round. */
    int r = read_frames(session, now);
    return r < 0 ? r : write_frames(session);
}

void session_step(Session *session, Usec now)
{
    static int (*const steps[])(Session *) = {
        [SESSION_CONNECTING] = step_connecting,
        [SESSION_KEY_EXCHANGE] = step_key_exchange,
        [SESSION_AUTHENTICATING] = step_authenticating,
        [SESSION_OPENING] = step_opening,
        [SESSION_STARTING] = step_starting,
    };
    while (!session->has_failed && session->state < SESSION_GREETING)
        if (steps[session->state](session) <= 0)
            return;
    if (!session->has_failed)
        (void)step_frames(session, now);
}

void session_add(Session *session, SshRequest *request, Buffer *frame, Usec now)
{
    request->id = session->next_id++;
    if (session->next_id == 0)
        session->next_id = FIRST_ID;
    for (unsigned i = 0; i < 4; i++)
        frame->data[6 + i] = (uint8_t)(request->id >> (24 - 8 * i));
    request->deadline = request->timeout == 0 ? 0 : now + request->timeout;
    /* In order of arrival: answers of steps mostly come for the first ones. */
    SshRequest **link = &session->requests;
    while (*link)
        link = &(*link)->next;
    *link = request;
    Buffer *queue = session->state == SESSION_READY ? &session->outgoing : &session->waiting;
    if (buffer_append(queue, frame->data, frame->size) < 0)
        (void)session_fail(session, ERROR_TOO_LARGE, "too much is queued for %s", session->address);
    buffer_wipe(frame);
}

static void ping(Session *session)
{
    size_t start = message_begin(&session->outgoing, RUNNER_PING, PING_ID);
    if (message_end(&session->outgoing, start) < 0)
        (void)session_fail(session, ERROR_TOO_LARGE, "too much is queued for %s", session->address);
    session->is_ping_out = true;
}

static void end_late_requests(Session *session, Usec now)
{
    for (SshRequest **link = &session->requests; *link;) {
        SshRequest *request = *link;
        if (request->deadline == 0 || request->deadline > now || session->state != SESSION_READY) {
            link = &request->next;
            continue;
        }
        *link = request->next;
        Error error = ERROR_INIT;
        (void)error_set(&error, ERROR_TIMED_OUT, "the runner on %s did not answer in time", session->address);
        SshEvent event = {.error = &error, .is_last = true, .may_have_arrived = true};
        request->callback(&event, request->userdata);
        free(request);
    }
}

void session_tick(Session *session, Usec now)
{
    if (session->state < SESSION_READY) {
        if (now >= session->deadline)
            (void)session_fail(session, ERROR_TIMED_OUT, "no SSH session to %s port %u within %llu seconds",
                               session->address, session->port,
                               (unsigned long long)(session->settings->connect_timeout / USEC_PER_SEC));
        return;
    }
    end_late_requests(session, now);
    Usec interval = session->settings->ping_interval;
    if (session->is_ping_out && now >= session->heard + 2 * interval)
        (void)session_fail(session, ERROR_IO, "the connection to %s was lost: no answer", session->address);
    else if (!session->is_ping_out && session->requests && now >= session->heard + interval)
        ping(session);
}

uint32_t session_events(const Session *session)
{
    if (session->state == SESSION_CONNECTING)
        return EPOLLOUT;
    bool is_writing = session->ssh && (ssh_get_poll_flags(session->ssh) & SSH_WRITE_PENDING) != 0;
    return EPOLLIN | EPOLLRDHUP | (is_writing ? (uint32_t)EPOLLOUT : 0);
}
