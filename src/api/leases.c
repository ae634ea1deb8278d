/* SPDX-License-Identifier: Apache-2.0 */
/* Leases of clusters: prolonged by people, watched by a periodic job that warns and that deletes what has
 * ended, in whatever state it is. What it knows is in the database, so it goes on after a restart. */

#include <inttypes.h>

#include "api/clusters.h"
#include "base/log.h"
#include "base/string.h"
#include "domain/lease/lease.h"

static const Usec PERIOD = 5 * USEC_PER_SEC;
/* A deletion that failed is tried again after this. */
static const int64_t RETRY_AFTER = 600 * (int64_t)USEC_PER_SEC;
enum { BATCH = 64, SNAPSHOT_LIMIT = 16 * 1024 * 1024 };

/* Prolonging
 * ----------------------------------------------------------------------------------------------------------------
 */

typedef struct LeaseBody {
    const char *prolong, *expires_at;
} LeaseBody;

const JsonField cluster_lease_fields[] = {
    {"prolong", JSON_FIELD_STRING, offsetof(LeaseBody, prolong), 0, 1, 32, "so much longer than now: \"7d\""},
    {"expires_at", JSON_FIELD_STRING, offsetof(LeaseBody, expires_at), 0, 1, 64,
     "when it is to end (RFC 3339), or \"never\""},
    {0},
};

static int read_wanted(const LeaseBody *body, int64_t expires_at, int64_t *ret_wanted, Error *error)
{
    int64_t milliseconds;
    Usec time;
    if (!body->prolong == !body->expires_at)
        return error_set_field(error, ERROR_BAD_FIELD, "prolong", "Say either 'prolong' or 'expires_at'.");
    if (body->prolong) {
        if (string_to_milliseconds(body->prolong, &milliseconds) < 0 || milliseconds <= 0)
            return error_set_field(error, ERROR_BAD_FIELD, "prolong",
                                   "'prolong' is a time such as 12h or 7d.");
        if (expires_at == 0)
            return error_set_field(error, ERROR_CONFLICT, "prolong", "The lease of the cluster has no end.");
        *ret_wanted = expires_at + milliseconds * (int64_t)USEC_PER_MSEC;
        return 0;
    }
    *ret_wanted = 0;
    if (string_equal(body->expires_at, "never"))
        return 0;
    if (timestamp_parse(body->expires_at, &time) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "expires_at",
                               "'expires_at' is a time such as 2030-01-31T12:00:00Z, or never.");
    *ret_wanted = (int64_t)time;
    return 0;
}

/* Of the template that the cluster was made from. */
static int read_terms(const ClusterGetRow *row, LeaseTerms *ret_terms, Error *error)
{
    _cleanup_json_ json_t *snapshot = NULL;
    _cleanup_issues_ IssueList issues = {0};
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    int r = json_parse(row->snapshot, strlen(row->snapshot), SNAPSHOT_LIMIT, &snapshot, error);
    if (r < 0)
        return r;
    json_t *document = json_object_get(snapshot, "template");
    if (!document || catalog_entry_parse(CATALOG_CLUSTER_TEMPLATE, document, 0, &entry, &issues) < 0)
        return error_set(error, ERROR_INTERNAL, "The template of the cluster cannot be read.");
    *ret_terms = (LeaseTerms){.maximum = entry->template.lease_maximum, .step = entry->template.lease_step};
    return 0;
}

static int set_lease(ApiCall *call, const ClusterGetRow *row, int64_t wanted, Error *error)
{
    int r = statement_cluster_set_lease(
        call->transaction,
        &(ClusterSetLeaseParameters){.expires_at = wanted,
                                     .updated_at = (int64_t)store_now(call->transaction),
                                     .tenant = call->tenant,
                                     .id = row->id},
        error);
    if (r < 0)
        return r;
    char time[TIMESTAMP_SIZE] = "never";
    if (wanted > 0)
        timestamp_format((Usec)wanted, time);
    call->audit_object = arena_format(call->arena, "cluster:%s", row->id);
    call->audit_details = arena_format(call->arena, "{\"expires_at\":\"%s\"}", time);
    return engine_publish(call->transaction,
                          &(EngineEvent){.tenant = call->tenant,
                                         .type = "lease_changed",
                                         .cluster_id = row->id,
                                         .message = arena_format(call->arena, "The lease ends %s%s.",
                                                                 wanted > 0 ? "at " : "", time)},
                          &call->effects, error);
}

int cluster_lease_handler(ApiCall *call, Error *error)
{
    LeaseBody body = {0};
    ClusterGetRow row = {0};
    LeaseTerms terms;
    int64_t wanted = 0;
    int r = body_dispatch(call, cluster_lease_fields, &body, error);
    if (r >= 0)
        r = cluster_find(call, call->parameters[0], &row, error);
    if (r >= 0 && (string_equal(row.status, "terminated") || string_equal(row.status, "deleting")))
        r = error_set(error, ERROR_CONFLICT, "The cluster is %s.", row.status);
    if (r >= 0)
        r = read_wanted(&body, row.expires_at, &wanted, error);
    if (r >= 0)
        r = read_terms(&row, &terms, error);
    if (r >= 0)
        r = lease_check_prolong(&terms, row.created_at, row.expires_at, (int64_t)store_now(call->transaction),
                                wanted, error);
    if (r >= 0)
        r = set_lease(call, &row, wanted, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "id", row.id);
    writer_string(&writer, "name", row.name);
    writer_time(&writer, "expires_at", wanted);
    writer_end_object(&writer);
    return writer.status;
}

/* Watching
 * ------------------------------------------------------------------------------------------------------------------
 */

struct LeaseWatch {
    LeaseClock clock;
    Usec next; /* monotonic */
    bool is_working, was_holding;
    bool may_end;
    EngineEffects effects;
};

static int warn(Api *api, StoreTransaction *transaction, const ClustersLeaseEndingRow *row, int64_t level,
                Error *error)
{
    int r = statement_cluster_set_lease_warned(
        transaction,
        &(ClusterSetLeaseWarnedParameters){.lease_warned = level, .tenant = row->tenant, .id = row->id},
        error);
    if (r < 0)
        return r;
    return engine_publish(transaction,
                          &(EngineEvent){.tenant = row->tenant,
                                         .type = "lease_ends_soon",
                                         .severity = "warning",
                                         .cluster_id = row->id,
                                         .message = level == 2 ? "The lease ends in less than an hour; the "
                                                                 "cluster is deleted then."
                                                               : "The lease ends in less than a day; the "
                                                                 "cluster is deleted then."},
                          &api->leases->effects, error);
}

static int warn_all(Api *api, StoreTransaction *transaction, int64_t now, Error *error)
{
    ClustersLeaseEndingRow *rows;
    size_t count;
    int r = statement_clusters_lease_ending(
        transaction,
        &(ClustersLeaseEndingParameters){.now = now,
                                         .day = now + 24 * 3600 * (int64_t)USEC_PER_SEC,
                                         .hour = now + 3600 * (int64_t)USEC_PER_SEC,
                                         .maximum = BATCH},
        &rows, &count, error);
    for (size_t i = 0; i < count && r >= 0; i++)
        r = warn(api, transaction, &rows[i], lease_warning_level(rows[i].expires_at, now), error);
    return MIN(r, 0);
}

static int end_lease(Api *api, StoreTransaction *transaction, const ClustersExpiredRow *row, Error *error)
{
    const char *execution_id;
    int r = cluster_begin_deletion(&(Deletion){.api = api,
                                               .transaction = transaction,
                                               .tenant = row->tenant,
                                               .cluster_id = row->id,
                                               .actor = "system",
                                               .effects = &api->leases->effects},
                                   &execution_id, error);
    if (r >= 0)
        r = engine_publish(transaction,
                           &(EngineEvent){.tenant = row->tenant,
                                          .type = "lease_ended",
                                          .severity = "warning",
                                          .cluster_id = row->id,
                                          .execution_id = execution_id,
                                          .message = "The lease has ended; the cluster is deleted."},
                           &api->leases->effects, error);
    if (r >= 0)
        r = audit_trail_append(
            transaction,
            &(AuditRecord){.actor = "system",
                           .tenant = row->tenant,
                           .action = "lease_end",
                           .object = arena_format(store_arena(transaction), "cluster:%s", row->id)},
            error);
    return r;
}

static int watch_job(StoreTransaction *transaction, void *context, Error *error)
{
    Api *api = context;
    int64_t now = (int64_t)store_now(transaction);
    engine_effects_reset(&api->leases->effects);
    int r = warn_all(api, transaction, now, error);
    if (r < 0 || !api->leases->may_end)
        return r;
    ClustersExpiredRow *rows;
    size_t count;
    r = statement_clusters_expired(
        transaction,
        &(ClustersExpiredParameters){.now = now, .retry_before = now - RETRY_AFTER, .maximum = BATCH}, &rows,
        &count, error);
    for (size_t i = 0; i < count && r >= 0; i++)
        r = end_lease(api, transaction, &rows[i], error);
    return MIN(r, 0);
}

static void finish_on_loop(Api *api, void *context)
{
    (void)context;
    engine_apply(api->engine, &api->leases->effects);
    api->leases->is_working = false;
}

static void watch_done(int result, const Error *error, void *context)
{
    Api *api = context;
    if (result < 0) {
        log_error_record(LOG_LEVEL_ERROR, "looking after leases", error);
        engine_effects_reset(&api->leases->effects);
    }
    loop_post(api, finish_on_loop, NULL);
}

void leases_tick(Api *api, Usec now)
{
    LeaseWatch *watch = api->leases;
    Error error = ERROR_INIT;
    if (watch->is_working || now < watch->next || api->is_draining)
        return;
    watch->next = now + PERIOD;
    watch->may_end = lease_clock_observe(&watch->clock, clock_realtime(api->settings.clock), now);
    if (!watch->may_end && !watch->was_holding)
        log_warning("The clock has jumped: for ten minutes no lease is ended.");
    watch->was_holding = !watch->may_end;
    watch->is_working = true;
    if (store_submit(api->settings.store, STORE_WRITE, watch_job, watch_done, api, &error) < 0)
        watch->is_working = false; /* a full queue: at the next tick */
}

void leases_new(Api *api)
{
    api->leases = NEW(LeaseWatch);
}

void leases_free(Api *api)
{
    if (!api->leases)
        return;
    engine_effects_done(&api->leases->effects);
    free(api->leases);
    api->leases = NULL;
}
