/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The running provisioner: a session with the manager, leases, tasks, reports.
 *
 * Theory of operation. worker_run() starts a session, whose epoch fences whatever process of this provisioner
 * came before, and then leases tasks by long polls, never more than there is capacity for. Each task runs on
 * a thread of its own (mostly waiting for its node; the SSH work of all of them is one more thread) and ends
 * in the outbox. A heartbeat thread renews the leases of everything that is not yet reported, and brings back
 * what is to be cancelled or was lost. Nothing is kept on disk about tasks: when this process dies, leases
 * lapse, and whoever gets the task next sends the same step id to the node, whose journal knows the rest. */

#include "provisioner/identity.h"
#include "provisioner/manager.h"

typedef struct WorkerSettings {
    const Identity *identity;
    const char *name, *sandbox_socket;
    unsigned capacity;     /* tasks at the same time */
    unsigned sessions_max; /* SSH */
    Usec drain_timeout;    /* how long running tasks may take once we are told to stop */
} WorkerSettings;

/* Until SIGTERM or SIGINT (both must be blocked in all threads), or until the manager has drained or fenced
 * us. An exit status: 0, 75 when another process of this provisioner took over. */
int worker_run(const WorkerSettings *settings, Error *error);
