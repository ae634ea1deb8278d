/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/server.h"

#include <errno.h>
#include <signal.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "api/api.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/x509.h"
#include "manager/admin_socket.h"
#include "manager/identity.h"
#include "net/http_server.h"

static const Usec KEEPER_TIMEOUT = 10 * USEC_PER_SEC;
/* How often the certificates' lives and the store's health are looked at. */
static const Usec CARE_INTERVAL = 60 * USEC_PER_SEC;
enum { CA_LIMIT = 64 * 1024 };

typedef struct Server {
    const ManagerConfig *config;
    sd_event *event;
    Store *store;
    Api *api;
    Directory *directory;                    /* NULL = none */
    Kerberos *kerberos;                      /* NULL = none */
    HttpServer *external, *internal, *proxy; /* proxy: NULL = none */
    ApiProxies proxies;
    ApiListeners listeners;
    AdminSocket *admin;
    char *ca_certificate, *internal_url, *bundle_directory, *request_key_file;
    unsigned draining; /* servers that still drain */
    bool is_stopping;
} Server;

/* client_ca: who may have issued the certificates of clients, or NULL = clients need none. */
static int load_generation(const Server *server, IdentityKind kind, const char *client_ca,
                           TlsGeneration **ret_generation, Error *error)
{
    _cleanup_free_ char *key = identity_key_path(server->config, kind),
                        *chain = identity_chain_path(server->config, kind),
                        *ca = identity_ca_path(server->config);
    if (kind == IDENTITY_INTERNAL)
        client_ca = ca;
    TlsServerSettings settings = {.certificate_file = chain,
                                  .key_file = key,
                                  .client_ca_file = client_ca,
                                  .is_client_certificate_required = client_ca != NULL};
    return tls_generation_new(&settings, ret_generation, error);
}

static int ensure_identity(Server *server, unsigned *changed, Error *error)
{
    _cleanup_keeper_client_ KeeperClient *keeper =
        keeper_client_new(server->config->keeper_socket, KEEPER_TIMEOUT);
    int r = identity_ensure(server->config, keeper, changed, error);
    if (r >= 0 || error->code != ERROR_SEALED || !identity_is_there(server->config))
        return r;
    /* With the certificates of before the status can be told; everything else waits. */
    log_warning("The keeper is sealed; unseal it with 'bastide-keeper unseal'.");
    error_clear(error);
    return 0;
}

static void swap_generation(const Server *server, IdentityKind kind, const char *client_ca, HttpServer *http)
{
    Error error = ERROR_INIT;
    TlsGeneration *generation = NULL;
    if (load_generation(server, kind, client_ca, &generation, &error) < 0) {
        log_error_record(LOG_LEVEL_ERROR, "loading a certificate; the old one stays", &error);
        return;
    }
    http_server_set_generation(http, 0, generation);
    tls_generation_unref(generation);
}

static void swap_generations(const Server *server, unsigned changed)
{
    if (changed & 1U << IDENTITY_EXTERNAL)
        swap_generation(server, IDENTITY_EXTERNAL, NULL, server->external);
    if (changed & 1U << IDENTITY_INTERNAL)
        swap_generation(server, IDENTITY_INTERNAL, NULL, server->internal);
    if (changed & 1U << IDENTITY_EXTERNAL && server->proxy)
        swap_generation(server, IDENTITY_EXTERNAL, server->config->proxy_client_ca, server->proxy);
}

static void renew_certificates(Server *server)
{
    Error error = ERROR_INIT;
    unsigned changed = 0;
    if (ensure_identity(server, &changed, &error) < 0)
        log_error_record(LOG_LEVEL_WARNING, "renewing certificates", &error);
    swap_generations(server, changed);
}

/* What the API does with the listeners
 * -------------------------------------------------------------------------------------------- */

static int read_listener(void *userdata, const char *name, char **ret_chain, bool *ret_is_given, Error *error)
{
    const Server *server = userdata;
    IdentityKind kind = identity_kind_from_string(name);
    *ret_is_given = identity_is_given(server->config, kind);
    int r = identity_read_chain(server->config, kind, ret_chain);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "Reading the certificate of the %s listener", name)
                 : 0;
}

static int check_listener(void *userdata, const char *name, const char *chain, const Secret *key,
                          const char *ca, Error *error)
{
    const Server *server = userdata;
    return identity_check_given(server->config, identity_kind_from_string(name), chain, key, ca,
                                server->ca_certificate, error);
}

static int replace_listener(void *userdata, const char *name, const char *chain, const Secret *key,
                            Error *error)
{
    const Server *server = userdata;
    return identity_install_given(server->config, identity_kind_from_string(name), chain, key, error);
}

static int reset_listener(void *userdata, const char *name, Error *error)
{
    Server *server = userdata;
    int r = identity_remove_given(server->config, identity_kind_from_string(name), error);
    return r < 0 ? r : ensure_identity(server, NULL, error);
}

static void reload_listeners(void *userdata)
{
    Server *server = userdata;
    swap_generations(server, 1U << IDENTITY_EXTERNAL | 1U << IDENTITY_INTERNAL);
}

static int on_care(sd_event_source *source, uint64_t usec, void *userdata)
{
    Server *server = userdata;
    Error error = ERROR_INIT;
    if (store_check_health(server->store, &error) < 0) {
        /* What is on disk is not known: the supervisor starts us anew, and the database recovers. */
        log_error_record(LOG_LEVEL_ERROR, "the database", &error);
        return sd_event_exit(server->event, -EIO);
    }
    renew_certificates(server);
    (void)sd_event_source_set_time(source, usec + CARE_INTERVAL);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void on_drained(void *userdata)
{
    Server *server = userdata;
    if (--server->draining == 0)
        (void)sd_event_exit(server->event, 0);
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    (void)source;
    (void)info;
    Server *server = userdata;
    if (server->is_stopping)
        return sd_event_exit(server->event, 0);
    server->is_stopping = true;
    log_notice("Stopping: requests that run are finished first.");
    (void)sd_notify(0, "STOPPING=1");
    api_drain(server->api);
    Usec deadline = (Usec)server->config->drain_ms * USEC_PER_MSEC;
    server->draining = server->proxy ? 3 : 2;
    http_server_drain(server->external, deadline, on_drained, server);
    http_server_drain(server->internal, deadline, on_drained, server);
    if (server->proxy)
        http_server_drain(server->proxy, deadline, on_drained, server);
    return 0;
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    (void)source;
    (void)info;
    Server *server = userdata;
    renew_certificates(server);
    swap_generations(server, 1U << IDENTITY_EXTERNAL | 1U << IDENTITY_INTERNAL);
    log_notice("The certificates were read again.");
    return 0;
}

static int attach_signals(Server *server, Error *error)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)signal(SIGPIPE, SIG_IGN);
    int r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (r >= 0)
        r = sd_event_default(&server->event);
    if (r >= 0)
        r = sd_event_add_signal(server->event, NULL, SIGTERM, on_stop, server);
    if (r >= 0)
        r = sd_event_add_signal(server->event, NULL, SIGINT, on_stop, server);
    if (r >= 0)
        r = sd_event_add_signal(server->event, NULL, SIGHUP, on_reload, server);
    if (r >= 0)
        r = sd_event_add_time_relative(server->event, NULL, CLOCK_MONOTONIC, CARE_INTERVAL, USEC_PER_SEC,
                                       on_care, server);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "Setting up the event loop") : 0;
}

static int open_store(Server *server, Error *error)
{
    StoreSettings settings = {.location = server->config->database,
                              .readers = (unsigned)server->config->readers,
                              .clock = &system_clock,
                              .random = &system_random};
    int r = store_open(&settings, &server->store, error);
    return r < 0 ? r : store_check_schema(server->store, error);
}

static int start_api(Server *server, Error *error)
{
    const ManagerConfig *config = server->config;
    _cleanup_free_ char *ca_path = identity_ca_path(config);
    size_t size;
    int r = file_read(ca_path, CA_LIMIT, &server->ca_certificate, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "Reading %s", ca_path);
    server->bundle_directory = manager_path(config, "bundles");
    server->request_key_file = manager_path(config, "request.key");
    server->internal_url =
        string_format("https://%s:%lld",
                      config->management_addresses.count > 0 ? config->management_addresses.items[0]
                                                             : config->internal_address,
                      (long long)config->internal_port);
    server->proxies = (ApiProxies){.names = &config->proxy_names,
                                   .user_header = config->proxy_user_header,
                                   .local_accounts = &config->proxy_local_accounts};
    server->listeners = (ApiListeners){.read = read_listener,
                                       .check = check_listener,
                                       .replace = replace_listener,
                                       .reset = reset_listener,
                                       .reload = reload_listeners,
                                       .userdata = server};
    ApiSettings settings = {.event = server->event,
                            .listeners = &server->listeners,
                            .store = server->store,
                            .clock = &system_clock,
                            .random = &system_random,
                            .keeper_socket = config->keeper_socket,
                            .bundle_directory = server->bundle_directory,
                            .request_key_file = server->request_key_file,
                            .audit_file = config->audit_file,
                            .audit_refuse_after =
                                string_equal(config->audit_when_unreachable, "refuse")
                                    ? (Usec)config->audit_unreachable_after_ms * USEC_PER_MSEC
                                    : 0,
                            .internal_url = server->internal_url,
                            .ca_certificate = server->ca_certificate,
                            .directory = server->directory,
                            .kerberos = server->kerberos,
                            .proxies = config->proxy_names.count > 0 ? &server->proxies : NULL,
                            .lease = (Usec)config->lease_ms * USEC_PER_MSEC,
                            .heartbeat = (Usec)config->heartbeat_ms * USEC_PER_MSEC};
    r = api_new(&settings, &server->api, error);
    return r < 0 ? r : api_start(server->api, error);
}

static int listen_on(Server *server, IdentityKind kind, const char *client_ca,
                     const HttpServerHandler *handler, const char *address, int64_t port,
                     HttpServer **ret_server, Error *error)
{
    TlsGeneration *generation = NULL;
    uint16_t bound;
    int r = load_generation(server, kind, client_ca, &generation, error);
    if (r >= 0)
        r = http_server_new(server->event, &system_clock, handler, server->api, NULL, ret_server, error);
    if (r >= 0)
        r = http_server_listen(*ret_server, address, (uint16_t)port, generation, &bound, error);
    tls_generation_unref(generation);
    if (r >= 0)
        log_notice("Listening on %s port %u.", address, bound);
    return r;
}

static int start_kerberos(Server *server, Error *error)
{
    _cleanup_free_ char *replay_cache = manager_path(server->config, "replay-cache");
    return kerberos_new(&server->config->kerberos, replay_cache, &server->kerberos, error);
}

static int start(Server *server, Error *error)
{
    const ManagerConfig *config = server->config;
    int r = attach_signals(server, error);
    if (r >= 0 && config->ldap.servers.count > 0)
        r = directory_new(&config->ldap, &system_clock, &server->directory, error);
    if (r >= 0 && config->kerberos.keytab)
        r = start_kerberos(server, error);
    if (r >= 0)
        r = open_store(server, error);
    if (r >= 0)
        r = ensure_identity(server, NULL, error);
    if (r >= 0)
        r = start_api(server, error);
    if (r >= 0)
        r = listen_on(server, IDENTITY_INTERNAL, NULL, &api_internal_handler, config->internal_address,
                      config->internal_port, &server->internal, error);
    if (r >= 0)
        r = listen_on(server, IDENTITY_EXTERNAL, NULL, &api_external_handler, config->external_address,
                      config->external_port, &server->external, error);
    if (r >= 0 && config->proxy_names.count > 0)
        r = listen_on(server, IDENTITY_EXTERNAL, config->proxy_client_ca, &api_proxy_handler,
                      config->proxy_address, config->proxy_port, &server->proxy, error);
    if (r >= 0)
        r = admin_socket_new(server->event, config->admin_socket, server->api, &server->admin, error);
    return r;
}

static void stop(Server *server)
{
    admin_socket_free(server->admin);
    http_server_free(server->external);
    http_server_free(server->internal);
    http_server_free(server->proxy);
    /* What runs on the API's threads needs the store, and the store's jobs answer through the API. */
    if (server->api) {
        api_drain(server->api);
        api_stop_work(server->api);
    }
    store_close(server->store);
    api_free(server->api);
    directory_free(server->directory);
    kerberos_free(server->kerberos);
    sd_event_unref(server->event);
    free(server->ca_certificate);
    free(server->internal_url);
    free(server->bundle_directory);
    free(server->request_key_file);
}

int server_run(const ManagerConfig *config, Error *error)
{
    Server server = {.config = config};
    int r = start(&server, error);
    if (r >= 0) {
        (void)sd_notify(0, "READY=1");
        log_notice("Ready, version " BASTIDE_VERSION ", database %s.", store_dialect(server.store));
        r = sd_event_loop(server.event);
        if (r < 0)
            (void)error_set_errno(error, ERROR_INTERNAL, -r, "The event loop ended");
    }
    stop(&server);
    return r;
}
