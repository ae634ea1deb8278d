/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The keeper's socket and loop: one thread, poll, at most SERVER_CONNECTIONS_MAX connections, each with one
 * request at a time. Who a peer is comes from the kernel (SO_PEERCRED) when it connects. A frame must be
 * complete, and an answer taken, within SERVER_DEADLINE. */

#include "base/error.h"
#include "keeper/keeper.h"

enum { SERVER_CONNECTIONS_MAX = 64, SERVER_ROOT_RESERVED = 8 };
#define SERVER_DEADLINE (10 * USEC_PER_SEC)

/* Binds and listens; an old socket that nobody serves is replaced, one that is served is an error. As root
 * the socket goes to uid:gid. Mode 0660. Owned descriptor. */
int server_listen(const char *path, uid_t uid, gid_t gid, int *ret_descriptor, Error *error);

typedef struct ServerSettings {
    int listener; /* borrowed */
    int signals;  /* borrowed signalfd; its first signal ends the loop; -1 = none */
    uid_t manager_uid;
    const Clock *clock;
} ServerSettings;
/* Until a signal. */
int server_run(Keeper *keeper, const ServerSettings *settings, Error *error);
