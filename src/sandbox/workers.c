/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "sandbox/server_internal.h"

/* What a worker tells through its pipe, in one write. */
typedef struct WorkerResult {
    int result;
    HostMade made;
    Error error;
} WorkerResult;

typedef struct Worker Worker;
struct Worker {
    Worker *next;
    Server *server;
    Host *host;
    pid_t pid;
    int pipe;
    bool is_making;
    Usec deadline;
    sd_event_source *source;
};

enum { DELETE_ATTEMPTS = 5, DEADLINE_GRACE_SECONDS = 15 };

static void run_make(const Server *server, const Host *host, WorkerResult *result)
{
    char bridge[LINK_NAME_SIZE];
    bridge_name_of(host->cluster->number, bridge);
    _cleanup_free_ char *directory = state_host_directory(&server->state, host);
    const HostSpec spec = {
        .id = host->id,
        .hostname = host->hostname,
        .image_root = host->image_root,
        .image_kind = host->image_kind,
        .stage = server->stage,
        .layer = server->settings->is_disk_storage ? directory : NULL,
        .runner = server->settings->runner,
        .router = server->router,
        .bridge = bridge,
        /* Files in memory count as memory and no kill frees them: they may never fill the limit. */
        .storage_bytes = MIN(server->settings->storage_bytes, host->limits.memory_bytes / 2),
        .limits = host->limits,
        .first_uid = (uint32_t)server->settings->first_uid + host->slot * HOST_IDS,
        .plan = server->network.plan,
        .cluster_number = host->cluster->number,
        .ipv4 = host->ipv4,
        .mtu = server->network.mtu,
        .ssh_user_ca = host->ssh_user_ca,
        .principals_root = host->principals_root,
        .principals_operator = host->principals_operator,
        .cgroups = &server->cgroups,
        .filter = &server->filter,
    };
    result->result =
        host_make(&spec, (unsigned)server->settings->create_timeout, &result->made, &result->error);
}

static void run_destroy(const Server *server, const Host *host, int pid_descriptor, WorkerResult *result)
{
    char bridge[LINK_NAME_SIZE];
    bridge_name_of(host->cluster->number, bridge);
    _cleanup_free_ char *directory = state_host_directory(&server->state, host);
    const HostRemains remains = {
        .id = host->id,
        .router = server->router,
        .bridge = bridge,
        .directory = directory,
        .plan = server->network.plan,
        .cluster_number = host->cluster->number,
        .ipv4 = host->ipv4,
        .pid_descriptor = pid_descriptor,
        .cgroups = &server->cgroups,
    };
    result->result = host_destroy(&remains, &result->error);
}

/* A worker that outlives a killed daemon must not keep its lock, its listener or its clients: everything goes
 * but the standard files, the result pipe (3) and the host's process (4). */
static int keep_descriptors(int output, int process)
{
    enum { OUTPUT = 3, PROCESS = 4 };
    /* First away from the numbers they shall get. */
    int high_output = fcntl(output, F_DUPFD_CLOEXEC, 64);
    int high_process = process >= 0 ? fcntl(process, F_DUPFD_CLOEXEC, 64) : -1;
    if (high_output < 0 || dup3(high_output, OUTPUT, O_CLOEXEC) < 0)
        return -errno;
    if (process >= 0 && (high_process < 0 || dup3(high_process, PROCESS, O_CLOEXEC) < 0))
        return -errno;
    return close_range(process >= 0 ? PROCESS + 1 : PROCESS, ~0U, 0) < 0 ? -errno : 0;
}

_noreturn_ static void worker_run(const Server *server, const Host *host, bool is_making, int output,
                                  pid_t daemon)
{
    WorkerResult result = {.error = ERROR_INIT};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)prctl(PR_SET_NAME, "sandbox-worker", 0, 0, 0);
    if (getppid() != daemon)
        _exit(1); /* it ended before we asked to follow it */
    if (keep_descriptors(output, host->pid_descriptor) < 0)
        _exit(1);
    if (is_making)
        run_make(server, host, &result);
    else
        run_destroy(server, host, host->pid_descriptor >= 0 ? 4 : -1, &result);
    _exit(write_full(3, &result, sizeof(result)) < 0 ? 1 : 0);
}

static int host_died(sd_event_source *source, int descriptor, uint32_t events, void *context)
{
    Host *host = context;
    (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
    if (host->state == HOST_RUNNING) {
        log_warning("host %s (%s) ended by itself", host->id, host->hostname);
        host->state = HOST_DEAD;
    }
    return 0;
}

void host_watch(Server *server, Host *host)
{
    sd_event_source *source = NULL;
    int r = sd_event_add_io(server->event, &source, host->pid_descriptor, EPOLLIN, host_died, host);
    if (r < 0)
        log_error("cannot watch host %s: %s", host->id, strerror(-r));
    host->pid_source = source;
}

static void forget_host(Server *server, Host *host)
{
    Cluster *empty = NULL;
    Error error = ERROR_INIT;
    sd_event_source *source = host->pid_source;
    (void)sd_event_source_disable_unref(source);
    state_remove_host(&server->state, host, &empty);
    if (!empty)
        return;
    if (network_remove_cluster(&server->network, empty->number, &error) < 0)
        log_error_record(LOG_LEVEL_ERROR, "cluster", &error);
    state_remove_cluster(&server->state, empty);
}

static void answer_deleted(Server *server, const Host *host)
{
    for (Connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (c->waits_for_host != host)
            continue;
        c->waits_for_host = NULL;
        if (error_is_set(&host->failure))
            connection_fail(c, &host->failure);
        else
            connection_answer(c, json_pack("{s:s,s:b}", "id", host->id, "deleted", 1));
    }
}

static void answer_cluster_deleted(Server *server, const char *cluster)
{
    if (string_map_has(server->state.clusters, cluster))
        return;
    for (Connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (!string_equal(c->waits_for_cluster, cluster))
            continue;
        free(TAKE_PTR(c->waits_for_cluster));
        connection_answer(c, json_pack("{s:s,s:b}", "cluster", cluster, "deleted", 1));
    }
}

static void after_destroy(Server *server, Host *host, const WorkerResult *result)
{
    if (result->result < 0) {
        log_error_record(LOG_LEVEL_ERROR, "removing a host", &result->error);
        /* The deadline tick tries again; after that the next start of the daemon does. */
        host->needs_worker = ++host->attempts < DELETE_ATTEMPTS;
        if (!host->needs_worker) {
            for (Connection *c = server->connections, *next; c; c = next) {
                next = c->next;
                if (c->waits_for_host == host || string_equal(c->waits_for_cluster, host->cluster->name)) {
                    c->waits_for_host = NULL;
                    free(TAKE_PTR(c->waits_for_cluster));
                    connection_fail(c, &result->error);
                }
            }
        }
        return;
    }
    _cleanup_free_ char *cluster = string_duplicate(host->cluster->name);
    log_info("host %s removed", host->id);
    answer_deleted(server, host);
    forget_host(server, host);
    answer_cluster_deleted(server, cluster);
}

static void undo(Server *server, Host *host, const Error *error)
{
    host->failure = *error;
    if (!error_is_set(&host->failure))
        (void)error_set(&host->failure, ERROR_INTERNAL, "the worker that made the host failed");
    log_error_record(LOG_LEVEL_ERROR, "making a host", &host->failure);
    /* The token must be free for another try while this one is being cleaned up. */
    if (string_map_get(server->state.tokens, host->token) == host)
        (void)string_map_remove(server->state.tokens, host->token);
    host->state = HOST_DELETING;
    host->needs_worker = true;
}

static void after_make(Server *server, Host *host, const WorkerResult *result)
{
    bool is_wanted = host->state == HOST_CREATING; /* or deleted meanwhile */
    host->pid = result->made.pid;
    host->start_time = result->made.start_time;
    (void)string_copy(host->host_key, sizeof(host->host_key), result->made.host_key);
    if (!is_wanted) {
        host->needs_worker = true;
        return;
    }
    if (result->result < 0) {
        undo(server, host, &result->error);
        return;
    }
    Error error = ERROR_INIT;
    uint64_t start_time = 0;
    host->pid_descriptor = pidfd_open(host->pid, 0);
    if (host->pid_descriptor < 0 || process_start_time(host->pid, &start_time) < 0 ||
        start_time != host->start_time) {
        (void)error_set(&error, ERROR_INTERNAL, "the host ended right after its start");
        undo(server, host, &error);
        return;
    }
    host->state = HOST_RUNNING;
    int r = state_save_host(&server->state, host);
    if (r < 0) {
        (void)error_set_errno(&error, ERROR_IO, -r, "cannot record the host");
        undo(server, host, &error);
        return;
    }
    host_watch(server, host);
    log_info("host %s (%s) of cluster %s runs", host->id, host->hostname, host->cluster->name);
    for (Connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (c->waits_for_host == host) {
            c->waits_for_host = NULL;
            connection_answer(c, host_to_json(server, host));
        }
    }
}

static void worker_free(Worker *worker)
{
    Worker **link = &worker->server->workers;
    while (*link != worker)
        link = &(*link)->next;
    *link = worker->next;
    worker->server->worker_count--;
    (void)sd_event_source_disable_unref(worker->source);
    (void)close(worker->pipe);
    free(worker);
}

static int worker_done(sd_event_source *source, int descriptor, uint32_t events, void *context)
{
    Worker *worker = context;
    Server *server = worker->server;
    Host *host = worker->host;
    bool is_making = worker->is_making;
    WorkerResult result = {.error = ERROR_INIT};
    if (read_full(descriptor, &result, sizeof(result)) != (ssize_t)sizeof(result)) {
        result = (WorkerResult){.result = -EIO, .error = ERROR_INIT};
        (void)error_set(&result.error, ERROR_INTERNAL, "the worker process was killed");
    }
    (void)waitpid(worker->pid, NULL, 0);
    worker_free(worker);
    host->has_worker = false;
    if (is_making)
        after_make(server, host, &result);
    else
        after_destroy(server, host, &result);
    workers_start_waiting(server);
    return 0;
}

static int worker_start(Server *server, Host *host)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    bool is_making = host->state == HOST_CREATING;
    pid_t daemon = getpid(), pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        worker_run(server, host, is_making, ends[1], daemon);
    }
    (void)close(ends[1]);
    if (pid < 0) {
        (void)close(ends[0]);
        return -EAGAIN;
    }
    Worker *worker = NEW(Worker);
    *worker = (Worker){.next = server->workers,
                       .server = server,
                       .host = host,
                       .pid = pid,
                       .pipe = ends[0],
                       .is_making = is_making};
    worker->deadline = clock_monotonic(&system_clock) +
                       (Usec)server->settings->create_timeout * USEC_PER_MSEC +
                       DEADLINE_GRACE_SECONDS * USEC_PER_SEC;
    server->workers = worker;
    server->worker_count++;
    host->has_worker = true;
    host->needs_worker = false;
    /* Reading blocks only if the worker wrote half of one atomic write: never. */
    int r = sd_event_add_io(server->event, &worker->source, worker->pipe, EPOLLIN, worker_done, worker);
    ASSERT(r >= 0);
    return 0;
}

void workers_start_waiting(Server *server)
{
    if (server->worker_count >= (size_t)server->settings->workers)
        return;
    STRING_MAP_FOREACH (server->state.hosts, i) {
        Host *host = i.value;
        if (!host->needs_worker || host->has_worker)
            continue;
        if (server->worker_count >= (size_t)server->settings->workers || worker_start(server, host) < 0)
            return; /* the tick tries again */
    }
}

void host_schedule(Server *server, Host *host)
{
    host->needs_worker = true;
    workers_start_waiting(server);
}

void workers_check_deadlines(Server *server)
{
    Usec now = clock_monotonic(&system_clock);
    for (Worker *w = server->workers; w; w = w->next)
        if (now > w->deadline)
            (void)kill(w->pid, SIGKILL);
    workers_start_waiting(server);
}

void workers_stop(Server *server)
{
    while (server->workers) {
        (void)kill(server->workers->pid, SIGKILL);
        (void)waitpid(server->workers->pid, NULL, 0);
        worker_free(server->workers);
    }
}

static int check_group(const char *id, void *context)
{
    Server *server = context;
    if (string_map_has(server->state.hosts, id))
        return 0;
    log_notice("removing the left-over control group %s", id);
    return cgroups_remove(&server->cgroups, id, 10000);
}

int remove_unknown_groups(Server *server)
{
    return cgroups_foreach(&server->cgroups, check_group, server);
}
