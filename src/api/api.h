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
#include "base/secret.h"
#include "custody/keeper_client.h"
#include "directory/directory.h"
#include "directory/kerberos.h"
#include "engine/engine.h"
#include "net/http_server.h"
#include "store/store.h"

typedef struct Api Api;

/* Proxies that sign people in before us; their own listener demands one of these certificates. */
typedef struct ApiProxies {
    const StringList *names; /* URI in the certificate */
    const char *user_header;
    const StringList *local_accounts; /* that they may speak for, beside those of the directory */
} ApiProxies;

/* The manager's own listeners ("external", "internal"), whose pairs can be replaced while they serve. Called
 * on pool threads but for reload, which runs on the loop's. */
typedef struct ApiListeners {
    /* PEM chain in use; owned. */
    int (*read)(void *userdata, const char *name, char **ret_chain, bool *ret_is_given, Error *error);
    /* Whether the pair is good for the listener: matches, leads to the authority, has every name. */
    int (*check)(void *userdata, const char *name, const char *chain, const Secret *key, const char *ca,
                 Error *error);
    int (*replace)(void *userdata, const char *name, const char *chain, const Secret *key, Error *error);
    int (*reset)(void *userdata, const char *name, Error *error);
    void (*reload)(void *userdata); /* new connections get what is stored */
    void *userdata;
} ApiListeners;

typedef struct ApiSettings {
    sd_event *event;
    Store *store;
    const Clock *clock;
    Random *random;
    const char *keeper_socket;
    const char *bundle_directory;  /* archives by digest */
    const char *request_key_file;  /* key of ETags; made when missing; NULL = a new key at each start */
    const char *audit_file;        /* gets every audit record, as a line; NULL = none */
    Usec audit_refuse_after;       /* without it for so long nothing is changed; 0 = goes on */
    const char *internal_url;      /* for provisioners, told at enrolment */
    const char *ca_certificate;    /* PEM */
    Directory *directory;          /* borrowed; NULL = local accounts only */
    Kerberos *kerberos;            /* borrowed; NULL = no tickets */
    const ApiProxies *proxies;     /* borrowed; NULL = none */
    Usec lease;                    /* of tasks; 0 = default */
    Usec heartbeat;                /* 0 = default */
    unsigned pool_threads;         /* 0 = 4 */
    const ApiListeners *listeners; /* NULL = none */
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
extern const HttpServerHandler api_proxy_handler; /* of the listener for proxies */

/* Local administration (the manager's admin socket; the caller is root or the manager's own user): makes an
 * account's token without its password, for set-up. The token is shown once. */
int api_admin_token(Api *api, const char *username, Usec life, char **ret_token, Error *error);
/* After root had the keeper begin a new epoch: the database is taken as it is, which is recorded with the
 * reason. */
int api_admin_accept_restore(Api *api, const char *reason, Error *error);
