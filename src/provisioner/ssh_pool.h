/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Many SSH sessions in one thread. For each node there is at most one connection, with one channel that runs
 * "bastide-runner serve"; requests of any number of tasks are multiplexed on it by their ids. A connection is
 * opened by the first request and closed when it was idle for a while.
 *
 * Theory of operation. The pool's thread sleeps in epoll. We connect the socket ourselves and hand it to
 * libssh; every libssh call is made in non-blocking mode and repeated until it says AGAIN, since libssh keeps
 * data in its own buffers that no descriptor announces. The node's host key is compared with the pinned ones
 * in that very connection, after the key exchange and before we authenticate (CH7): a key that is not
 * expected is ERROR_UNTRUSTED and never anything else. When a connection is lost, every request on it ends
 * with ERROR_IO; asking again (ATTACH, for a step) is the caller's business, since only the caller knows what
 * may be repeated.
 *
 * Requests may be made from any thread. Callbacks run on the pool's thread: they must not block, and must not
 * call ssh_pool_free(). */

#include "base/message.h"
#include "provisioner/ssh_credential.h"

typedef struct SshPool SshPool;

typedef struct SshPoolSettings {
    unsigned sessions_max; /* 0 = 1,024 */
    Usec connect_timeout;  /* from the socket to the runner's HELLO; 0 = 15 s */
    Usec idle_timeout;     /* 0 = 5 min */
    Usec ping_interval; /* silence after which the runner is asked; as long again and it is lost; 0 = 15 s */
    uint64_t epoch;     /* sent with HELLO, with holder NULL unless fencing is wanted */
    const char *holder; /* copied */
} SshPoolSettings;

typedef struct SshNode {
    const char *address; /* numeric */
    uint16_t port;
    const char *user;
    const char *const *host_keys; /* lines "type base64"; the node must have one of them */
    size_t host_key_count;
} SshNode;

/* What the runner said. boot_id and architecture are those of the connection. */
typedef struct SshEvent {
    const MessageView *message; /* NULL when the request ended with an error */
    const Error *error;
    bool is_last;
    bool may_have_arrived; /* with an error: the runner may have read the request before the connection was
                              lost */
} SshEvent;
typedef void (*SshCallback)(const SshEvent *event, void *userdata);

int ssh_pool_new(const SshPoolSettings *settings, SshPool **ret_pool, Error *error);
/* Ends all requests with ERROR_CANCELLED, then the thread. */
SshPool *ssh_pool_free(SshPool *pool);
DEFINE_CLEANUP(SshPool, ssh_pool_free);

/* Sends one frame, whose request id is replaced, to the runner of a node. The frame is taken over (the buffer
 * is empty afterwards and its bytes are wiped once sent). timeout bounds the time to each answer of the
 * runner while it says nothing at all of this request: 0 = none (steps: the runner has its own). The
 * credential is used if a connection must be made. The callback is called until is_last. */
void ssh_pool_request(SshPool *pool, const SshNode *node, SshCredential *credential, Buffer *frame,
                      Usec timeout, SshCallback callback, void *userdata);
/* Closes the connection to a node after what is on it has ended, so that the next request makes a new one. */
void ssh_pool_renew(SshPool *pool, const SshNode *node);
/* Live sessions. */
unsigned ssh_pool_count(const SshPool *pool);
