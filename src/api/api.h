/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The REST API: what stands between the HTTP server and the rest of the manager. A table of routes says for
 * each path and method which permission it needs and whether it needs a tenant; nothing is read of a
 * request's body before its sender is authenticated and authorised (SV3). What changes something is audited
 * in the same transaction.
 *
 * Threads: api_handle_*() and api_tick() run on the loop's thread. A handler runs in a job of the store, or,
 * for routes that call the keeper, hash passwords or plan clusters, on a thread of the API's own small pool,
 * from where it runs jobs itself. */

#include <systemd/sd-event.h>

#include "base/clock.h"
#include "base/error.h"
#include "custody/keeper_client.h"
#include "directory/directory.h"
#include "engine/engine.h"
#include "net/http_server.h"
#include "store/store.h"

typedef struct Api Api;

typedef struct ApiSettings {
    sd_event *event;
    Store *store;
    const Clock *clock;
    Random *random;
    const char *keeper_socket;
    const char *bundle_directory; /* archives by digest */
    const char *request_key_file; /* key of ETags; made when missing; NULL = a new key at each start */
    const char *audit_file;       /* gets every audit record, as a line; NULL = none */
    Usec audit_refuse_after;      /* without it for so long nothing is changed; 0 = goes on */
    const char *internal_url;     /* for provisioners, told at enrolment */
    const char *ca_certificate;   /* PEM */
    Directory *directory;         /* borrowed; NULL = local accounts only */
    Usec lease;                   /* of tasks; 0 = default */
    Usec heartbeat;               /* 0 = default */
    unsigned pool_threads;        /* 0 = 4 */
} ApiSettings;

int api_new(const ApiSettings *settings, Api **ret_api, Error *error);
Api *api_free(Api *api);
DEFINE_CLEANUP(Api, api_free);
/* Recovers leases; after it the API may serve. */
int api_start(Api *api, Error *error);
/* No new work is taken: waiting polls and streams end. */
void api_drain(Api *api);
/* After draining: the pool's threads end, so that the store can be closed before the API is freed. */
void api_stop_work(Api *api);
Engine *api_engine(Api *api);

extern const HttpServerHandler api_external_handler; /* userdata: Api * */
extern const HttpServerHandler api_internal_handler;

/* Local administration (the manager's admin socket; the caller is root or the manager's own user): makes an
 * account's token without its password, for set-up. The token is shown once. */
int api_admin_token(Api *api, const char *username, Usec life, char **ret_token, Error *error);
/* After root had the keeper begin a new epoch: the database is taken as it is, which is recorded with the
 * reason. */
int api_admin_accept_restore(Api *api, const char *reason, Error *error);
