/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Watching an execution until it ends: a live picture on a terminal, plain lines elsewhere. A child process
 * reads the event stream and tells when something happened; the state itself is asked from the manager, so a
 * lost event costs nothing. Main thread. */

#include "cli/cli.h"

typedef struct WatchTarget {
    const char *cluster_id, *execution_id, *name;
} WatchTarget;
/* 0 when the execution succeeded, 1 when not, 130 after Ctrl-C, 75 when --timeout ran out; negative when the
 * manager could not be asked. */
int watch_execution(Cli *cli, const WatchTarget *target, Error *error);

/* --- the stream of events, in a child --- */

typedef struct Follower Follower;
/* Events of the path ("/events/stream?..."), from `after` on. The child ends with its parent. */
int follower_start(const Profile *profile, const char *path, uint64_t after, Follower **ret_follower,
                   Error *error);
Follower *follower_free(Follower *follower);
DEFINE_CLEANUP(Follower, follower_free);
#define _cleanup_follower_ _cleanup_(follower_free_pointer)
/* Becomes readable when there is something; -1 while it is being started again. */
int follower_descriptor(const Follower *follower);
/* The next event as JSON (owned), NULL when none is there now. A broken stream is taken up again after a
 * pause, unless the manager refused it for good: then negative. */
int follower_next(Follower *follower, json_t **ret_event, Error *error);

/* One event as a line: "12:01:05  web-1  install web". hostname may be NULL. Owned. */
char *event_line(const json_t *event, const char *hostname, bool with_colour);
