/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One SSH connection of a pool, as a state machine that is stepped. For ssh_pool.c only, on the pool's
 * thread. */

#include "base/string.h"
#include "provisioner/ssh_pool.h"

typedef enum SessionState {
    SESSION_CONNECTING, /* TCP */
    SESSION_KEY_EXCHANGE,
    SESSION_AUTHENTICATING,
    SESSION_OPENING,  /* channel */
    SESSION_STARTING, /* the runner */
    SESSION_GREETING,
    SESSION_READY,
    _SESSION_STATE_MAX,
} SessionState;

typedef struct SshRequest SshRequest;
struct SshRequest {
    SshRequest *next;
    uint32_t id;
    Usec timeout, deadline; /* 0 = none */
    SshCallback callback;
    void *userdata;
};

typedef struct Session {
    char *key; /* owned: node, port, user and host keys */
    SessionState state;
    int socket;
    uint32_t watched; /* events that epoll knows of */
    bool is_socket_of_library;
    ssh_session ssh;
    ssh_channel channel;
    SshCredential *credential;
    char *address, *user; /* owned */
    uint16_t port;
    StringList host_keys;
    Buffer incoming, outgoing, waiting; /* waiting: frames until the runner has answered HELLO */
    SshRequest *requests;
    uint32_t next_id;
    Usec deadline;    /* of becoming ready */
    Usec heard, idle; /* last bytes from the runner; since when there is no request */
    bool is_ping_out, is_retired, has_failed;
    Error failure;
    char complaint[400]; /* what came on the channel's standard error */
    const SshPoolSettings *settings;
} Session;

Session *session_new(const char *key, const SshNode *node, SshCredential *credential,
                     const SshPoolSettings *settings, Usec now);
/* Calls nobody; requests must be gone. */
Session *session_free(Session *session);
/* Does what can be done without waiting; sets has_failed and failure. */
void session_step(Session *session, Usec now);
/* Takes over request and frame. */
void session_add(Session *session, SshRequest *request, Buffer *frame, Usec now);
/* Deadlines, pings; may set has_failed. */
void session_tick(Session *session, Usec now);
/* Ends all requests with the error. */
void session_end_requests(Session *session, const Error *error);
/* What epoll should wait for. */
uint32_t session_events(const Session *session);
