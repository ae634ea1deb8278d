/* SPDX-License-Identifier: Apache-2.0 */
/* Long polls for tasks. A poll that finds nothing waits in a list; a commit that made a task runnable, the
 * end of a back-off, or a lapsed lease wakes the list. No wake-up is lost: a poll that came back empty is
 * tried again when the generation moved while its job ran. */

#include <errno.h>
#include <inttypes.h>

#include "api/internal.h"
#include "api/keys.h"
#include "base/log.h"
#include "base/string.h"

enum { POLL_MAXIMUM = 256, POLL_WAIT_MAX_MS = 60000 };
static const Usec TICK = USEC_PER_SEC;

typedef struct Poll Poll;
struct Poll {
    Poll *next;
    ApiCall *call;
    int64_t epoch, maximum;
    Usec deadline; /* monotonic */
    uint64_t generation;
    EngineLease *leases; /* copies in the call's arena */
    size_t lease_count;
    int64_t next_runnable; /* wall clock; 0 = none */
    int result;
};

struct PollList {
    Poll *waiting;
    uint64_t generation;
    Usec next_tick;
    int64_t next_runnable;
};

typedef struct LeaseBody {
    int64_t epoch, maximum, wait_ms;
} LeaseBody;

static const JsonField lease_fields[] = {
    {"epoch", JSON_FIELD_INTEGER, offsetof(LeaseBody, epoch), JSON_FIELD_REQUIRED, 1, INT64_MAX,
     "of the session"},
    {"maximum", JSON_FIELD_INTEGER, offsetof(LeaseBody, maximum), JSON_FIELD_REQUIRED, 1, POLL_MAXIMUM,
     "tasks to take"},
    {"wait_ms", JSON_FIELD_INTEGER, offsetof(LeaseBody, wait_ms), 0, 0, POLL_WAIT_MAX_MS,
     "how long to wait for some"},
    {0},
};

static void try_lease(Poll *poll);

static void finish_poll(Poll *poll, int result)
{
    ApiCall *call = poll->call;
    free(poll);
    api_call_finish(call, result);
}

static void copy_leases(Poll *poll, const EngineLease *leases, size_t count)
{
    Arena *arena = poll->call->arena;
    poll->leases = arena_allocate_array(arena, count + 1, sizeof(*poll->leases));
    poll->lease_count = count;
    for (size_t i = 0; i < count; i++) {
        EngineLease *copy = &poll->leases[i];
        *copy = leases[i];
        const char **strings[] = {&copy->tenant,     &copy->task,    &copy->step, &copy->execution_id,
                                  &copy->cluster_id, &copy->node_id, &copy->kind, &copy->action,
                                  &copy->service,    &copy->details};
        for (size_t j = 0; j < ELEMENTSOF(strings); j++)
            *strings[j] = arena_string(arena, *strings[j]);
    }
}

static int lease_job(StoreTransaction *transaction, void *context, Error *error)
{
    Poll *poll = context;
    ApiCall *call = poll->call;
    engine_effects_reset(&call->effects);
    poll->lease_count = 0;
    ProvisionerGetRow provisioner;
    const char *id = internal_provisioner(call);
    int r =
        statement_provisioner_get(transaction, &(ProvisionerGetParameters){.id = id}, &provisioner, error);
    if (r < 0)
        return r;
    if (r == 0 || string_equal(provisioner.status, "removed"))
        return error_set(error, ERROR_UNAUTHENTICATED, "The provisioner was removed.");
    if (provisioner.epoch != poll->epoch)
        return error_set(error, ERROR_STALE, "A newer session of this provisioner has begun.");
    /* Nobody listens any more: what were leased now would lie idle until its lease lapsed. */
    if (string_equal(provisioner.status, "draining") || http_exchange_is_abandoned(call->exchange))
        return 0;
    /* Its secrets could not be handed over. */
    if (keys_is_sealed(call->api))
        return 0;
    EngineLease *leases;
    size_t count;
    r = engine_lease(call->api->engine, transaction, id, poll->epoch, (unsigned)poll->maximum, &leases,
                     &count, &call->effects, error);
    if (r < 0)
        return r;
    copy_leases(poll, leases, count);
    poll->next_runnable = 0;
    if (count > 0)
        return 0;
    TasksNextRunnableTimeRow next;
    r = statement_tasks_next_runnable_time(
        transaction, &(TasksNextRunnableTimeParameters){.now = (int64_t)store_now(transaction)}, &next,
        error);
    if (r == 1)
        poll->next_runnable = next.not_before;
    return MIN(r, 0);
}

/* A task whose description cannot be made (its template is at fault) has failed, like one that a provisioner
 * reports. */
typedef struct BuildFailure {
    ApiCall *call;
    int64_t epoch;
    const EngineLease *lease;
    const Error *cause;
} BuildFailure;

static int report_build_failure(ApiCall *call, void *context, Error *error)
{
    const BuildFailure *failure = context;
    const ErrorDescription *description = error_describe(failure->cause->code);
    EngineReport report = {
        .task = failure->lease->task,
        .attempt = failure->lease->attempt,
        .state = ENGINE_REPORT_FAILED,
        .is_retry_sensible = description->is_retry_sensible,
        .error_code = description->name,
        .error_message = failure->cause->text,
    };
    int r = engine_report(call->api->engine, call->transaction, internal_provisioner(call), failure->epoch,
                          &report, &call->effects, error);
    return MIN(r, 0);
}

/* Which secrets are handed out with which tasks. */
typedef struct SecretReads {
    const Poll *poll;
    const char **secrets; /* of each lease, or NULL */
    size_t count;         /* of those with secrets */
} SecretReads;

static int record_reads(StoreTransaction *transaction, void *context, Error *error)
{
    const SecretReads *reads = context;
    const ApiCall *call = reads->poll->call;
    Arena *arena = store_arena(transaction);
    AuditRecord *records = arena_allocate_array(arena, reads->count, sizeof(*records));
    size_t count = 0;
    for (size_t i = 0; i < reads->poll->lease_count; i++) {
        const EngineLease *lease = &reads->poll->leases[i];
        if (!reads->secrets[i])
            continue;
        records[count++] =
            (AuditRecord){.actor = call->principal.username,
                          .authentication = call->authentication,
                          .tenant = lease->tenant,
                          .source = call->request->remote_address,
                          .request_id = call->request->request_id,
                          .action = "secret_read",
                          .object = arena_format(arena, "task:%s", lease->task),
                          .details = arena_format(arena, "{\"secrets\":\"%s\"}", reads->secrets[i])};
    }
    return audit_trail_append_many(transaction, records, count, error);
}

static void build_work(Api *api, void *context)
{
    Poll *poll = context;
    ApiCall *call = poll->call;
    SecretReads reads = {.poll = poll,
                         .secrets =
                             arena_allocate_array(call->arena, poll->lease_count, sizeof(*reads.secrets))};
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_begin_array(&writer, "tasks");
    for (size_t i = 0; i < poll->lease_count; i++) {
        Error error = ERROR_INIT;
        if (task_build(call, &poll->leases[i], internal_provisioner(call), &writer, &reads.secrets[i],
                       &error) >= 0) {
            reads.count += reads.secrets[i] != NULL;
            continue;
        }
        log_error_record(LOG_LEVEL_WARNING, poll->leases[i].task, &error);
        BuildFailure failure = {call, poll->epoch, &poll->leases[i], &error};
        Error report_error = ERROR_INIT;
        if (api_call_run(call, STORE_WRITE, report_build_failure, &failure, &report_error) < 0)
            log_error_record(LOG_LEVEL_ERROR, "reporting a task that cannot be described", &report_error);
    }
    writer_end_array(&writer);
    writer_end_object(&writer);
    int r = writer.status;
    if (r >= 0 && reads.count > 0) /* a secret whose reading is not recorded is not handed out */
        r = store_run(api->settings.store, STORE_WRITE, record_reads, &reads, &call->error);
    finish_poll(poll, r);
}

static void answer_nothing(Poll *poll)
{
    (void)buffer_append_string(&poll->call->answer, "{\"tasks\":[]}");
    finish_poll(poll, 0);
}

static void arm_timer(Api *api)
{
    PollList *polls = api->polls;
    Usec now = clock_monotonic(api->settings.clock), wall = clock_realtime(api->settings.clock),
         next = now + TICK;
    if (polls->next_runnable > 0)
        next =
            MIN(next, polls->next_runnable <= (int64_t)wall ? now : now + (Usec)polls->next_runnable - wall);
    for (const Poll *poll = polls->waiting; poll; poll = poll->next)
        next = MIN(next, poll->deadline);
    (void)sd_event_source_set_time(api->timer_source, next);
    (void)sd_event_source_set_enabled(api->timer_source, SD_EVENT_ONESHOT);
}

static void lease_done_on_loop(Api *api, void *context)
{
    Poll *poll = context;
    PollList *polls = api->polls;
    if (poll->result < 0) {
        finish_poll(poll, poll->result);
        return;
    }
    if (poll->lease_count > 0) {
        if (pool_submit(api, build_work, poll) < 0)
            build_work(api, poll);
        return;
    }
    if (api->is_draining || http_exchange_is_abandoned(poll->call->exchange) ||
        clock_monotonic(api->settings.clock) >= poll->deadline) {
        answer_nothing(poll);
        return;
    }
    if (poll->generation != polls->generation) {
        try_lease(poll);
        return;
    }
    if (poll->next_runnable > 0 && (polls->next_runnable == 0 || poll->next_runnable < polls->next_runnable))
        polls->next_runnable = poll->next_runnable;
    poll->next = polls->waiting;
    polls->waiting = poll;
    arm_timer(api);
}

static void lease_done(int result, const Error *error, void *context)
{
    Poll *poll = context;
    poll->result = result;
    if (result < 0)
        poll->call->error = *error;
    else
        engine_apply(poll->call->api->engine, &poll->call->effects);
    loop_post(poll->call->api, lease_done_on_loop, poll);
}

static void try_lease(Poll *poll)
{
    Api *api = poll->call->api;
    poll->next = NULL;
    poll->generation = api->polls->generation;
    int r = store_submit(api->settings.store, STORE_WRITE, lease_job, lease_done, poll, &poll->call->error);
    if (r < 0)
        finish_poll(poll, r);
}

void polls_begin(ApiCall *call)
{
    LeaseBody body = {.wait_ms = 0};
    int r = body_dispatch(call, lease_fields, &body, &call->error);
    if (r < 0) {
        api_call_finish(call, r);
        return;
    }
    Usec wait = (Usec)body.wait_ms * USEC_PER_MSEC;
    http_exchange_set_deadline(call->exchange, wait + 30 * USEC_PER_SEC);
    Poll *poll = NEW(Poll);
    poll->call = call;
    poll->epoch = body.epoch;
    poll->maximum = body.maximum;
    poll->deadline = clock_monotonic(call->api->settings.clock) + wait;
    try_lease(poll);
}

static void wake_on_loop(Api *api, void *context)
{
    (void)context;
    PollList *polls = api->polls;
    polls->generation++;
    polls->next_runnable = 0;
    Poll *waiting = polls->waiting;
    polls->waiting = NULL;
    while (waiting) {
        Poll *next = waiting->next;
        try_lease(waiting);
        waiting = next;
    }
}

void polls_wake(Api *api)
{
    loop_post(api, wake_on_loop, NULL);
}

/* Ticks
 * -------------------------------------------------------------------------------------------------------------------
 */

typedef struct ExpiryJob {
    Api *api;
    EngineExpired *expired;
    size_t count;
    EngineEffects effects;
} ExpiryJob;

static int expire_job(StoreTransaction *transaction, void *context, Error *error)
{
    ExpiryJob *job = context;
    engine_effects_reset(&job->effects);
    for (size_t i = 0; i < job->count; i++) {
        int r = engine_expire(job->api->engine, transaction, &job->expired[i], &job->effects, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static void expire_done(int result, const Error *error, void *context)
{
    ExpiryJob *job = context;
    if (result < 0)
        log_error_record(LOG_LEVEL_ERROR, "taking back lapsed leases", error);
    else
        engine_apply(job->api->engine, &job->effects);
    engine_effects_done(&job->effects);
    free(job->expired);
    free(job);
}

static void expire_leases(Api *api)
{
    ExpiryJob *job = NEW(ExpiryJob);
    job->api = api;
    job->count = engine_collect_expired(api->engine, &job->expired);
    Error error = ERROR_INIT;
    if (job->count == 0 ||
        store_submit(api->settings.store, STORE_WRITE, expire_job, expire_done, job, &error) < 0) {
        free(job->expired);
        free(job);
    }
}

static void end_late_polls(Api *api, Usec now)
{
    Poll **link = &api->polls->waiting;
    while (*link) {
        Poll *poll = *link;
        if (poll->deadline > now && !api->is_draining) {
            link = &poll->next;
            continue;
        }
        *link = poll->next;
        answer_nothing(poll);
    }
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    Api *api = userdata;
    PollList *polls = api->polls;
    Usec now = clock_monotonic(api->settings.clock);
    end_late_polls(api, now);
    if (now >= polls->next_tick) {
        polls->next_tick = now + TICK;
        expire_leases(api);
        streams_published(api);
        policies_refresh(api);
        leases_tick(api, now);
    }
    if (polls->next_runnable > 0 && (int64_t)clock_realtime(api->settings.clock) >= polls->next_runnable)
        wake_on_loop(api, NULL);
    arm_timer(api);
    return 0;
}

void polls_new(Api *api)
{
    api->polls = NEW(PollList);
    ASSERT(sd_event_add_time(api->settings.event, &api->timer_source, CLOCK_MONOTONIC, 0, USEC_PER_MSEC,
                             on_timer, api) >= 0);
    arm_timer(api);
}

void polls_drain(Api *api)
{
    end_late_polls(api, clock_monotonic(api->settings.clock));
}

void polls_free(Api *api)
{
    if (!api->polls)
        return;
    api->is_draining = true;
    polls_drain(api);
    api->timer_source = sd_event_source_disable_unref(api->timer_source);
    free(api->polls);
    api->polls = NULL;
}
