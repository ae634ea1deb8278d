/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/server.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "sandbox/server_internal.h"

enum { TICK_SECONDS = 1, BACKLOG = 1024, LOCK_PATIENCE_MS = 500 };

static void connection_free(Connection *c)
{
    Server *server = c->server;
    if (c->previous)
        c->previous->next = c->next;
    else
        server->connections = c->next;
    if (c->next)
        c->next->previous = c->previous;
    server->connection_count--;
    (void)sd_event_source_disable_unref(c->source);
    (void)close(c->descriptor);
    free(c->waits_for_cluster);
    free(c);
}

/* One request, one answer: there is always room for it, unless the client does not read; then it is shut out,
 * and the hang-up event frees the connection. */
static void send_answer(Connection *c, json_t *answer)
{
    _cleanup_free_ char *text = answer ? json_to_text(answer) : NULL;
    json_decref(answer);
    size_t size = text ? strlen(text) : 0;
    if (size == 0 || size > PACKET_LIMIT ||
        send(c->descriptor, text, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ||
        sd_event_source_set_io_events(c->source, EPOLLIN) < 0)
        (void)shutdown(c->descriptor, SHUT_RDWR);
}

void connection_answer(Connection *connection, json_t *answer)
{
    send_answer(connection, answer);
}

void connection_fail(Connection *connection, const Error *error)
{
    const ErrorDescription *description = error_describe(error->code);
    json_t *body = json_pack("{s:s,s:s}", "code", description->name, "message", error->text);
    if (*error->field)
        (void)json_object_set_new(body, "field", json_string(error->field));
    send_answer(connection, json_pack("{s:o}", "error", body));
}

static int connection_ready(sd_event_source *source, int descriptor, uint32_t events, void *context)
{
    static char packet[PACKET_LIMIT + 1]; /* one thread, used up before the next event */
    Connection *c = context;
    if (!(events & EPOLLIN)) {
        connection_free(c);
        return 0;
    }
    ssize_t n = recv(descriptor, packet, PACKET_LIMIT, MSG_TRUNC | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        connection_free(c);
        return 0;
    }
    if (n > PACKET_LIMIT) {
        Error error = ERROR_INIT;
        (void)error_set(&error, ERROR_TOO_LARGE, "a request has at most %d bytes", (int)PACKET_LIMIT);
        connection_fail(c, &error);
        return 0;
    }
    packet[n] = '\0';
    request_handle(c->server, c, packet, (size_t)n);
    if (c->waits_for_host || c->waits_for_cluster)
        (void)sd_event_source_set_io_events(c->source, 0); /* hang-ups still come */
    return 0;
}

static int accept_connection(sd_event_source *source, int listener, uint32_t events, void *context)
{
    Server *server = context;
    _cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return 0;
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        server->connection_count >= (size_t)server->settings->connections)
        return 0;
    Connection *c = NEW(Connection);
    *c = (Connection){.server = server,
                      .next = server->connections,
                      .is_allowed =
                          peer.uid == 0 || (server->allowed_user != 0 && peer.uid == server->allowed_user)};
    if (!c->is_allowed)
        log_warning("refused: user %u", peer.uid);
    if (sd_event_add_io(server->event, &c->source, fd, EPOLLIN, connection_ready, c) < 0) {
        free(c);
        return 0;
    }
    c->descriptor = TAKE_FD(fd);
    if (c->next)
        c->next->previous = c;
    server->connections = c;
    server->connection_count++;
    return 0;
}

static int tick(sd_event_source *source, uint64_t now, void *context)
{
    workers_check_deadlines(context);
    (void)sd_event_source_set_time_relative(source, TICK_SECONDS * USEC_PER_SEC);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* First processes of hosts come to us when their workers end; we only take their end from them. Workers are
 * waited for by their own number. */
static int reap_hosts(sd_event_source *source, const struct signalfd_siginfo *information, void *context)
{
    const Server *server = context;
    STRING_MAP_FOREACH (server->state.hosts, i) {
        const Host *host = i.value;
        if (host->pid > 0)
            (void)waitpid(host->pid, NULL, WNOHANG);
    }
    return 0;
}

static int end_loop(sd_event_source *source, const struct signalfd_siginfo *information, void *context)
{
    const Server *server = context;
    return sd_event_exit(server->event, 0);
}

static int open_listener(Server *server, Error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct passwd *user = getpwnam(server->settings->socket_user);
    server->allowed_user = user ? user->pw_uid : 0;
    if (!user)
        log_warning("there is no user %s; only root may ask", server->settings->socket_user);
    if (string_copy(address.sun_path, sizeof(address.sun_path), server->settings->socket) < 0)
        return error_set(error, ERROR_CONFIGURATION, "[sandbox] socket is too long a path");
    (void)unlink(address.sun_path); /* we hold the lock, so its owner is gone */
    server->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(0177);
    int r =
        server->listener < 0 || bind(server->listener, (const struct sockaddr *)&address, sizeof(address)) < 0
            ? -errno
            : 0;
    (void)umask(old);
    if (r >= 0 && user && (chown(address.sun_path, 0, user->pw_gid) < 0 || chmod(address.sun_path, 0660) < 0))
        r = -errno;
    if (r >= 0 && listen(server->listener, BACKLOG) < 0)
        r = -errno;
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot listen on %s", server->settings->socket) : 0;
}

static int take_lock(Server *server, Error *error)
{
    _cleanup_free_ char *path = path_join(server->settings->state, "lock");
    int r = directory_make(server->settings->state, 0700);
    if (r >= 0)
        r = directory_make(server->settings->runtime, 0700);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot make %s or %s", server->settings->state,
                               server->settings->runtime);
    server->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (server->lock < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot open %s", path);
    /* Workers of a killed daemon end with it, but not in the same instant. */
    Usec deadline = clock_monotonic(&system_clock) + LOCK_PATIENCE_MS * USEC_PER_MSEC;
    while (flock(server->lock, LOCK_EX | LOCK_NB) < 0) {
        if (clock_monotonic(&system_clock) > deadline)
            return error_set(error, ERROR_CONFLICT, "bastide-sandboxd runs already with state %s",
                             server->settings->state);
        const struct timespec pause = {.tv_nsec = 10000000};
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

static int open_cgroups(Server *server, Error *error)
{
    _cleanup_free_ char *name = string_format("bastide-%s", server->settings->name);
    int r = cgroups_open("/proc/self/mountinfo", "/proc/self/cgroup", name, &server->cgroups, error);
    return r < 0 ? r : 0;
}

static int open_network(Server *server, Error *error)
{
    size_t cluster_count = 0, host_count = 0;
    _cleanup_free_ NetworkCluster *clusters =
        NEW_ARRAY(NetworkCluster, string_map_count(server->state.clusters) + 1);
    _cleanup_free_ NetworkHost *hosts = NEW_ARRAY(NetworkHost, string_map_count(server->state.hosts) + 1);
    STRING_MAP_FOREACH (server->state.clusters, i) {
        const Cluster *c = i.value;
        clusters[cluster_count++] =
            (NetworkCluster){.number = c->number, .blocks = c->blocks, .block_count = c->block_count};
    }
    STRING_MAP_FOREACH (server->state.hosts, i) {
        const Host *h = i.value;
        if (h->state == HOST_RUNNING)
            hosts[host_count++] = (NetworkHost){.cluster_number = h->cluster->number, .ipv4 = h->ipv4};
    }
    int r = network_open(server->settings, server->state.plan.ipv6_prefix, clusters, cluster_count, hosts,
                         host_count, &server->network, error);
    for (size_t i = 0; r >= 0 && i < cluster_count; i++)
        r = network_add_cluster(&server->network, &clusters[i], error); /* after a boot they are gone */
    return r;
}

static int open_loop(Server *server, Error *error)
{
    static const int signals[] = {SIGCHLD, SIGTERM, SIGINT};
    sigset_t blocked;
    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < ELEMENTSOF(signals); i++)
        (void)sigaddset(&blocked, signals[i]);
    (void)sigprocmask(SIG_BLOCK, &blocked, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    int r = sd_event_new(&server->event);
    if (r >= 0)
        r = sd_event_add_signal(server->event, NULL, SIGCHLD, reap_hosts, server);
    if (r >= 0)
        r = sd_event_add_signal(server->event, NULL, SIGTERM, end_loop, server);
    if (r >= 0)
        r = sd_event_add_signal(server->event, NULL, SIGINT, end_loop, server);
    if (r >= 0)
        r = sd_event_add_time_relative(server->event, NULL, CLOCK_MONOTONIC, TICK_SECONDS * USEC_PER_SEC, 0,
                                       tick, server);
    if (r >= 0)
        r = sd_event_add_io(server->event, NULL, server->listener, EPOLLIN, accept_connection, server);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "cannot make the event loop") : 0;
}

static int prepare(Server *server, Error *error)
{
    server->stage = path_join(server->settings->runtime, "stage");
    server->router = network_router_path(server->settings);
    int r = take_lock(server, error);
    if (r >= 0 && (r = directory_make(server->stage, 0700)) < 0)
        error_set_errno(error, ERROR_IO, -r, "cannot make %s", server->stage);
    if (r >= 0)
        r = open_cgroups(server, error);
    if (r >= 0)
        r = state_open(server->settings, &server->state, error);
    if (r >= 0)
        r = open_network(server, error);
    if (r >= 0 && (r = remove_unknown_groups(server)) < 0)
        error_set_errno(error, ERROR_INTERNAL, -r, "cannot remove left-over control groups");
    return r;
}

static void adopt_hosts(Server *server)
{
    size_t running = 0, dead = 0;
    STRING_MAP_FOREACH (server->state.hosts, i) {
        Host *host = i.value;
        if (host->pid_descriptor >= 0 && host->state == HOST_RUNNING)
            host_watch(server, host);
        running += host->state == HOST_RUNNING;
        dead += host->state == HOST_DEAD;
        if (host->state == HOST_DELETING)
            host_schedule(server, host);
    }
    if (running + dead > 0)
        log_notice("adopted %zu running hosts; %zu have ended", running, dead);
}

static void server_done(Server *server)
{
    while (server->connections)
        connection_free(server->connections);
    workers_stop(server);
    if (server->state.hosts) { /* opened */
        STRING_MAP_FOREACH (server->state.hosts, i) {
            Host *host = i.value;
            (void)sd_event_source_disable_unref(host->pid_source);
        }
        state_done(&server->state);
    }
    if (server->network.router)
        network_done(&server->network);
    (void)sd_event_unref(server->event);
    filter_done(&server->filter);
    free(server->stage);
    free(server->router);
    if (server->listener >= 0) {
        (void)unlink(server->settings->socket);
        (void)close(server->listener);
    }
    if (server->lock >= 0)
        (void)close(server->lock);
}

int server_run(const Settings *settings, Error *error)
{
    Server server = {.settings = settings, .lock = -1, .listener = -1};
    if (geteuid() != 0)
        return error_set(error, ERROR_FORBIDDEN, "bastide-sandboxd needs root: it makes namespaces");
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    int r = filter_build(&server.filter, error);
    if (r >= 0)
        r = prepare(&server, error);
    if (r >= 0)
        r = open_listener(&server, error);
    if (r >= 0)
        r = open_loop(&server, error);
    if (r >= 0) {
        adopt_hosts(&server);
        log_notice("ready on %s, pool %s", settings->socket, settings->pool);
        (void)sd_notify(0, "READY=1");
        r = sd_event_loop(server.event);
        if (r < 0)
            error_set_errno(error, ERROR_INTERNAL, -r, "event loop");
    }
    server_done(&server);
    return r;
}

static int purge_hosts(Server *server, Error *error)
{
    STRING_MAP_FOREACH (server->state.hosts, i) {
        Host *host = i.value;
        /* All at once first; the groups below find what this misses. */
        if (host->pid_descriptor >= 0 && host->state != HOST_DEAD)
            (void)kill(host->pid, SIGKILL);
    }
    return remove_unknown_groups(server) < 0
               ? error_set(error, ERROR_INTERNAL, "cannot remove control groups")
               : 0;
}

int server_purge(const Settings *settings, Error *error)
{
    Server server = {.settings = settings, .lock = -1, .listener = -1};
    server.stage = path_join(settings->runtime, "stage");
    _cleanup_free_ char *hosts = path_join(settings->state, "hosts");
    int r = take_lock(&server, error);
    if (r >= 0)
        r = open_cgroups(&server, error);
    if (r >= 0)
        r = state_open(settings, &server.state, error);
    if (r >= 0) {
        r = purge_hosts(&server, error);
        /* With an empty table every group is unknown. */
        string_map_free(server.state.tokens);
        string_map_free(server.state.hosts);
        server.state.tokens = string_map_new(NULL);
        server.state.hosts = string_map_new(NULL);
        if (r >= 0 && (r = remove_unknown_groups(&server)) < 0)
            error_set_errno(error, ERROR_INTERNAL, -r, "cannot remove control groups");
    }
    if (r >= 0)
        cgroups_close(&server.cgroups);
    if (r >= 0)
        r = network_purge(settings, error);
    if (r >= 0 && (r = directory_remove(hosts)) < 0)
        error_set_errno(error, ERROR_IO, -r, "cannot remove %s", hosts);
    if (r >= 0) {
        (void)rmdir(server.stage);
        (void)rmdir(settings->runtime);
        (void)unlink(settings->socket);
    }
    server_done(&server);
    return r;
}
