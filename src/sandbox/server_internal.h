/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by server.c (loop, connections), workers.c (making and removing hosts) and requests.c (the
 * protocol). */

#include <systemd/sd-event.h>

#include "base/json.h"
#include "sandbox/cgroup.h"
#include "sandbox/confine.h"
#include "sandbox/network.h"
#include "sandbox/state.h"

enum { PACKET_LIMIT = 65536 };

typedef struct Server Server;

/* One client; it may have one request under way. */
typedef struct Connection Connection;
struct Connection {
    Connection *next, *previous;
    Server *server;
    int descriptor;
    sd_event_source *source;
    bool is_allowed;
    Host *waits_for_host;    /* a create or delete */
    char *waits_for_cluster; /* a delete-cluster; owned */
};

struct Server {
    const Settings *settings;
    sd_event *event;
    State state;
    Network network;
    Cgroups cgroups;
    Filter filter;
    char *stage, *router; /* paths, owned */
    int lock, listener;
    uid_t allowed_user;
    Connection *connections;
    size_t connection_count, worker_count;
    struct Worker *workers;
};

/* server.c */
void connection_answer(Connection *connection, json_t *answer /* taken */);
void connection_fail(Connection *connection, const Error *error);

/* workers.c */
/* Marks the host and starts workers as the limit allows. */
void host_schedule(Server *server, Host *host);
void host_watch(Server *server, Host *host);
void workers_start_waiting(Server *server);
void workers_stop(Server *server);
/* Kills workers that hang. */
void workers_check_deadlines(Server *server);
/* Removes what remains of hosts that the journal does not know. */
int remove_unknown_groups(Server *server);

/* requests.c */
/* Handles one packet: the connection is answered now or waits. */
void request_handle(Server *server, Connection *connection, const char *packet, size_t size);
json_t *host_to_json(const Server *server, const Host *host);
