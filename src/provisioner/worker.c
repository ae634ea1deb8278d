/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/string.h"
#include "provisioner/automators/automator.h"
#include "provisioner/execute.h"
#include "provisioner/outbox.h"
#include "provisioner/providers/provider.h"

enum { LEASE_MAX = 32, LEASE_WAIT_MS = 5000, TASK_STACK = 512 * 1024, EXIT_FENCED = 75 };
#define REQUEST_TIMEOUT (30 * USEC_PER_SEC)
#define RENEW_INTERVAL  (600 * USEC_PER_SEC)
#define STATUS_WAIT_MS  500

typedef struct Worker Worker;

typedef struct Running {
    Worker *worker;
    Task *task;
    ExecuteContext context;
    bool is_lost; /* below the worker's mutex: the manager gave the task to somebody else */
} Running;

struct Worker {
    const WorkerSettings *settings;
    Manager *manager;
    ExecuteServices services;
    Outbox *outbox;
    Usec heartbeat_interval;
    atomic_bool is_stopping, is_fenced, is_drained;
    pthread_mutex_t mutex;
    pthread_cond_t condition; /* a task ended */
    StringMap *running;       /* Running *, by task id and attempt: until reported */
    unsigned threads;         /* of tasks, below the mutex */
};

/* --- session --- */

static json_t *capabilities(void)
{
    json_t *provider_list = json_array(), *automator_list = json_array();
    for (const Provider *const *provider = providers; *provider; provider++)
        (void)json_array_append_new(provider_list, json_string((*provider)->type));
    for (const Automator *const *automator = automators; *automator; automator++)
        (void)json_array_append_new(automator_list, json_string((*automator)->type));
    return json_pack("{so so}", "providers", provider_list, "automators", automator_list);
}

static int start_session(Worker *worker, Error *error)
{
    _cleanup_json_ json_t *answer = NULL,
                          *body = json_pack("{ss ss si so}", "name", worker->settings->name, "version",
                                            BASTIDE_VERSION, "capacity", (int)worker->settings->capacity,
                                            "capabilities", capabilities());
    int r = manager_request(worker->manager, "POST", "/internal/v1/session", body, REQUEST_TIMEOUT, &answer,
                            error);
    if (r < 0)
        return r;
    json_int_t epoch = json_integer_value(json_object_get(answer, "epoch"));
    json_int_t interval = json_integer_value(json_object_get(answer, "heartbeat_ms"));
    if (epoch <= 0 || interval < 10 || interval > 3600 * 1000)
        return error_set(error, ERROR_PROTOCOL, "the manager's answer has no epoch or heartbeat");
    worker->services.epoch = (uint64_t)epoch;
    worker->heartbeat_interval = (Usec)interval * USEC_PER_MSEC;
    log_notice("session with %s, epoch %lld", worker->settings->identity->url, (long long)epoch);
    return 0;
}

static void sleep_while(const atomic_bool *stop, Usec time)
{
    Usec until = clock_monotonic(&system_clock) + time;
    while (!*stop && clock_monotonic(&system_clock) < until)
        (void)nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
}

/* A manager that starts later than we do is not an error; one that refuses us is. */
static int start_session_patiently(Worker *worker, int signals, Error *error)
{
    for (unsigned attempt = 0;; attempt++) {
        Error failure = ERROR_INIT;
        int r = start_session(worker, &failure);
        if (r >= 0)
            return 0;
        if (!error_describe(failure.code)->is_retry_sensible) {
            *error = failure;
            return r;
        }
        log_error_record(attempt == 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "session", &failure);
        struct pollfd ready = {signals, POLLIN, 0};
        if (poll(&ready, 1, (int)MIN(500U << MIN(attempt, 5U), 10000U)) > 0)
            return error_set(error, ERROR_CANCELLED, "stopped before a session began");
    }
}

static void note_fenced(Worker *worker, const char *where, const Error *error)
{
    if (error->code == ERROR_STALE && !worker->is_fenced) {
        log_error("%s: another process of this provisioner took over; this one ends", where);
        worker->is_fenced = true;
    } else if (error->code != ERROR_STALE)
        log_error_record(LOG_LEVEL_WARNING, where, error);
}

/* --- tasks --- */

static void running_free(void *value)
{
    Running *running = value;
    task_free(running->task);
    free(running);
}

/* The manager may lease the next attempt before we have read its answer to the report of the last one, so
 * both may be known at the same time. */
static char *running_key(const char *task, int64_t attempt)
{
    return string_format("%s#%" PRId64, task, attempt);
}

static void forget_task(Worker *worker, const char *task, int64_t attempt)
{
    _cleanup_free_ char *key = running_key(task, attempt);
    (void)pthread_mutex_lock(&worker->mutex);
    (void)string_map_remove(worker->running, key);
    (void)pthread_cond_broadcast(&worker->condition);
    (void)pthread_mutex_unlock(&worker->mutex);
}

static void task_reported(const char *task, int64_t attempt, void *userdata)
{
    forget_task(userdata, task, attempt);
}

static void send_output(const Task *task, RunnerStream stream, uint64_t offset, const void *data, size_t size,
                        void *userdata)
{
    Worker *worker = userdata;
    outbox_add_output(worker->outbox, task, stream, offset, data, size);
}

static void log_outcome(const Task *task, const Outcome *outcome)
{
    log_info("task %s attempt %lld %s %s on %s: %s%s%s", task->id, (long long)task->attempt,
             task_kind_to_string(task->kind), task->action, task->node.id,
             outcome_state_to_string(outcome->state), error_is_set(&outcome->error) ? ": " : "",
             outcome->error.text);
}

static void *task_main(void *argument)
{
    Running *running = argument;
    Worker *worker = running->worker;
    Outcome outcome = {0};
    execute_task(&running->context, &outcome);
    log_outcome(running->task, &outcome);
    (void)pthread_mutex_lock(&worker->mutex);
    bool is_lost = running->is_lost;
    (void)pthread_mutex_unlock(&worker->mutex);
    /* Whoever stops does not know how the step ends; the next attempt will. */
    bool is_ours = !is_lost && !running->context.is_abandoned;
    if (is_ours)
        outbox_add_report(worker->outbox, running->task, &outcome);
    outcome_done(&outcome);
    if (!is_ours)
        forget_task(worker, running->task->id, running->task->attempt);
    (void)pthread_mutex_lock(&worker->mutex);
    worker->threads--;
    (void)pthread_cond_broadcast(&worker->condition);
    (void)pthread_mutex_unlock(&worker->mutex);
    return NULL;
}

static int start_thread(Running *running)
{
    pthread_attr_t attributes;
    pthread_t thread;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, TASK_STACK);
    int failure = pthread_create(&thread, &attributes, task_main, running);
    (void)pthread_attr_destroy(&attributes);
    return -failure;
}

/* Attempts of the task below the given one: somebody has the next one. Mutex held. */
static void mark_lost(Worker *worker, const char *task, int64_t attempt)
{
    STRING_MAP_FOREACH (worker->running, i) {
        Running *running = i.value;
        if (string_equal(running->task->id, task) && running->task->attempt < attempt) {
            running->is_lost = true;
            running->context.is_abandoned = true;
        }
    }
}

static void start_task(Worker *worker, json_t *document)
{
    Error error = ERROR_INIT;
    Task *task = NULL;
    if (task_parse(document, &task, &error) < 0) {
        /* A lease that we cannot read lapses; the manager sees why in our log, and another provisioner may be
         * newer. */
        log_error_record(LOG_LEVEL_ERROR, "a task cannot be read", &error);
        return;
    }
    Running *running = NEW(Running);
    running->worker = worker;
    running->task = task;
    running->context.services = &worker->services;
    running->context.task = task;
    _cleanup_free_ char *key = running_key(task->id, task->attempt);
    (void)pthread_mutex_lock(&worker->mutex);
    bool is_known = string_map_has(worker->running, key);
    if (!is_known) {
        mark_lost(worker, task->id, task->attempt);
        string_map_set(worker->running, key, running);
        worker->threads++;
    }
    (void)pthread_mutex_unlock(&worker->mutex);
    if (is_known) {
        log_warning("task %s was leased to us twice", task->id);
        running_free(running);
        return;
    }
    if (start_thread(running) < 0) {
        log_error("no thread for task %s", task->id);
        (void)pthread_mutex_lock(&worker->mutex);
        worker->threads--;
        (void)pthread_mutex_unlock(&worker->mutex);
        forget_task(worker, task->id, task->attempt);
    }
}

static unsigned free_capacity(Worker *worker)
{
    (void)pthread_mutex_lock(&worker->mutex);
    size_t used = string_map_count(worker->running);
    (void)pthread_mutex_unlock(&worker->mutex);
    return used >= worker->settings->capacity ? 0 : worker->settings->capacity - (unsigned)used;
}

static bool stops_leasing(const Worker *worker)
{
    return worker->is_stopping || worker->is_fenced || worker->is_drained;
}

static void wait_for_capacity(Worker *worker)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    (void)pthread_mutex_lock(&worker->mutex);
    if (string_map_count(worker->running) >= worker->settings->capacity)
        (void)pthread_cond_timedwait(&worker->condition, &worker->mutex, &until);
    (void)pthread_mutex_unlock(&worker->mutex);
}

static void *lease_main(void *argument)
{
    Worker *worker = argument;
    while (!stops_leasing(worker)) {
        unsigned capacity = free_capacity(worker);
        if (capacity == 0) {
            wait_for_capacity(worker);
            continue;
        }
        Error error = ERROR_INIT;
        _cleanup_json_ json_t *answer = NULL,
                              *body = json_pack("{sI si si}", "epoch", (json_int_t)worker->services.epoch,
                                                "maximum", (int)MIN(capacity, (unsigned)LEASE_MAX), "wait_ms",
                                                LEASE_WAIT_MS);
        int r = manager_request(worker->manager, "POST", "/internal/v1/tasks/lease", body,
                                REQUEST_TIMEOUT + LEASE_WAIT_MS * USEC_PER_MSEC, &answer, &error);
        if (r < 0) {
            note_fenced(worker, "lease", &error);
            sleep_while(&worker->is_stopping, USEC_PER_SEC);
            continue;
        }
        json_t *tasks = json_object_get(answer, "tasks");
        for (size_t i = 0; i < json_array_size(tasks) && i < TASKS_LIMIT; i++)
            start_task(worker, json_array_get(tasks, i));
    }
    return NULL;
}

/* --- heartbeat --- */

static json_t *heartbeat_body(Worker *worker)
{
    json_t *list = json_array();
    (void)pthread_mutex_lock(&worker->mutex);
    STRING_MAP_FOREACH (worker->running, i) {
        const Running *running = i.value;
        (void)json_array_append_new(list, json_pack("{ss sI}", "task", running->task->id, "attempt",
                                                    (json_int_t)running->task->attempt));
    }
    (void)pthread_mutex_unlock(&worker->mutex);
    return json_pack("{sI so si}", "epoch", (json_int_t)worker->services.epoch, "running", list, "free",
                     stops_leasing(worker) ? 0 : (int)free_capacity(worker));
}

static void mark_cancelled(Worker *worker, const char *task)
{
    STRING_MAP_FOREACH (worker->running, i) {
        Running *running = i.value;
        if (string_equal(running->task->id, task))
            running->context.is_cancelled = true;
    }
}

static void mark_tasks(Worker *worker, const json_t *ids, bool is_lost, const json_t *beat_running)
{
    size_t i;
    const json_t *id;
    (void)pthread_mutex_lock(&worker->mutex);
    json_array_foreach (ids, i, id) {
        if (!json_is_string(id))
            continue;
        const char *task = json_string_value(id);
        if (!is_lost) {
            mark_cancelled(worker, task);
            continue;
        }
        /* What was leased after the heartbeat was written is not meant. */
        size_t k;
        const json_t *entry;
        int64_t told = 0;
        json_array_foreach (beat_running, k, entry)
            if (string_equal(json_string_value(json_object_get(entry, "task")), task))
                told = MAX(told, json_integer_value(json_object_get(entry, "attempt")));
        mark_lost(worker, task, told + 1);
    }
    (void)pthread_mutex_unlock(&worker->mutex);
}

static void beat(Worker *worker)
{
    Error error = ERROR_INIT;
    _cleanup_json_ json_t *answer = NULL, *body = heartbeat_body(worker);
    if (manager_request(worker->manager, "POST", "/internal/v1/heartbeat", body, REQUEST_TIMEOUT, &answer,
                        &error) < 0) {
        note_fenced(worker, "heartbeat", &error);
        return;
    }
    const json_t *running = json_object_get(body, "running");
    mark_tasks(worker, json_object_get(answer, "cancel"), false, running);
    mark_tasks(worker, json_object_get(answer, "lost"), true, running);
    if (json_is_true(json_object_get(answer, "drain")) && !worker->is_drained) {
        log_notice("the manager drains this provisioner");
        worker->is_drained = true;
    }
}

static void renew_certificate(Worker *worker)
{
    Error error = ERROR_INIT;
    int r = identity_renew(worker->settings->identity, worker->manager, &error);
    if (r > 0) {
        manager_reload(worker->manager);
        log_notice("the certificate of this provisioner was renewed");
    } else if (r < 0)
        log_error_record(LOG_LEVEL_WARNING, "renewing the certificate", &error);
}

static void *heartbeat_main(void *argument)
{
    Worker *worker = argument;
    Usec renew_at = 0;
    /* Also while draining: leases are held until the last report. */
    while (!worker->is_stopping && !worker->is_fenced) {
        beat(worker);
        Usec now = clock_monotonic(&system_clock);
        if (now >= renew_at) {
            renew_certificate(worker);
            renew_at = now + RENEW_INTERVAL;
        }
        sleep_while(&worker->is_stopping, worker->heartbeat_interval);
    }
    return NULL;
}

/* --- life --- */

static bool has_tasks(Worker *worker)
{
    (void)pthread_mutex_lock(&worker->mutex);
    bool result = string_map_count(worker->running) > 0;
    (void)pthread_mutex_unlock(&worker->mutex);
    return result;
}

static void abandon_tasks(Worker *worker)
{
    (void)pthread_mutex_lock(&worker->mutex);
    STRING_MAP_FOREACH (worker->running, i)
        ((Running *)i.value)->context.is_abandoned = true;
    while (worker->threads > 0)
        (void)pthread_cond_wait(&worker->condition, &worker->mutex);
    (void)pthread_mutex_unlock(&worker->mutex);
}

/* Until a signal, a drain that is complete, or fencing; then until the tasks have ended or their time is up.
 */
static void wait_for_end(Worker *worker, int signals, bool *ret_is_drained)
{
    bool is_told = false;
    Usec deadline = USEC_INFINITY;
    while (!worker->is_fenced && clock_monotonic(&system_clock) < deadline) {
        if ((is_told || worker->is_drained) && !has_tasks(worker))
            break;
        struct pollfd ready = {signals, POLLIN, 0};
        if (poll(&ready, 1, is_told ? 50 : STATUS_WAIT_MS) <= 0)
            continue;
        struct signalfd_siginfo info;
        if (read(signals, &info, sizeof(info)) < 0)
            continue;
        if (is_told)
            break; /* told twice: now */
        is_told = true;
        log_notice("stopping: no new tasks, up to %llu s for those that run",
                   (unsigned long long)(worker->settings->drain_timeout / USEC_PER_SEC));
        worker->is_drained = true;
        deadline = clock_monotonic(&system_clock) + worker->settings->drain_timeout;
    }
    *ret_is_drained = !has_tasks(worker);
}

static int set_up(Worker *worker, const char *bundles, Error *error)
{
    const WorkerSettings *settings = worker->settings;
    int r = directory_make(bundles, 0700);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot make %s", bundles);
    worker->services.credentials = credentials_new(worker->manager, worker->services.epoch);
    worker->services.approval = approval_new(worker->manager, bundles, settings->identity->signing_key);
    r = outbox_new(worker->manager, worker->services.epoch, task_reported, worker, &worker->outbox, error);
    if (r < 0)
        return r;
    SshPoolSettings pool = {.sessions_max = settings->sessions_max,
                            .epoch = worker->services.epoch,
                            .holder = settings->identity->id};
    return ssh_pool_new(&pool, &worker->services.pool, error);
}

static void tear_down(Worker *worker)
{
    if (worker->services.pool)
        ssh_pool_free(worker->services.pool);
    if (worker->outbox)
        outbox_free(worker->outbox);
    if (worker->services.credentials)
        credentials_free(worker->services.credentials);
    if (worker->services.approval)
        approval_free(worker->services.approval);
    string_map_free(worker->running);
    manager_free(worker->manager);
}

static int work(Worker *worker, int signals, Error *error)
{
    pthread_t lease, heartbeat;
    int failure = pthread_create(&heartbeat, NULL, heartbeat_main, worker);
    if (failure == 0) {
        failure = pthread_create(&lease, NULL, lease_main, worker);
        if (failure != 0) {
            worker->is_stopping = true;
            (void)pthread_join(heartbeat, NULL);
        }
    }
    if (failure != 0)
        return error_set_errno(error, ERROR_INTERNAL, failure, "cannot start a thread");
    bool is_drained;
    wait_for_end(worker, signals, &is_drained);
    if (!is_drained) {
        abandon_tasks(worker);
        (void)outbox_flush(worker->outbox, clock_monotonic(&system_clock) + 2 * USEC_PER_SEC);
    }
    worker->is_stopping = true;
    (void)pthread_join(lease, NULL);
    (void)pthread_join(heartbeat, NULL);
    abandon_tasks(worker);
    return worker->is_fenced ? EXIT_FENCED : 0;
}

int worker_run(const WorkerSettings *settings, Error *error)
{
    const Identity *identity = settings->identity;
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    _cleanup_close_ int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot watch signals");
    ManagerSettings manager = {.url = identity->url,
                               .ca_file = identity->ca_file,
                               .certificate_file = identity->certificate_file,
                               .key_file = identity->key_file};
    Worker worker = {
        .settings = settings, .manager = manager_new(&manager), .running = string_map_new(running_free)};
    (void)pthread_mutex_init(&worker.mutex, NULL);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&worker.condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    worker.services = (ExecuteServices){.manager = worker.manager,
                                        .envelope_key = identity->envelope_key,
                                        .sandbox_socket = settings->sandbox_socket,
                                        .ca_file = identity->ca_file,
                                        .send_output = send_output,
                                        .userdata = &worker};
    _cleanup_free_ char *bundles = path_join(identity->directory, "bundles");
    int r = start_session_patiently(&worker, signals, error);
    if (r >= 0)
        r = set_up(&worker, bundles, error);
    if (r >= 0)
        r = work(&worker, signals, error);
    tear_down(&worker);
    (void)pthread_cond_destroy(&worker.condition);
    (void)pthread_mutex_destroy(&worker.mutex);
    return r;
}
