/* SPDX-License-Identifier: Apache-2.0 */
/* Events and the audit trail. */

#include "api/api_internal.h"
#include "base/string.h"

static int list_events(ApiCall *call, Error *error)
{
    Page page;
    int64_t after = -1;
    int r = page_read(call, &page, error);
    const char *after_text = query_or_empty(call, "after");
    if (r >= 0 && *after_text && string_to_i64(after_text, 0, INT64_MAX, &after) < 0)
        r = error_set_field(error, ERROR_BAD_REQUEST, "after", "'after' must be the sequence of an event.");
    if (r < 0)
        return r;
    EventListRow *rows = NULL;
    size_t count = 0;
    const char *cluster = query_or_empty(call, "cluster_id"),
               *execution = query_or_empty(call, "execution_id");
    if (after >= 0) {
        r = statement_event_list(call->transaction,
                                 &(EventListParameters){.sees_private = viewer_sees_private(call),
                                                        .username = call->principal.username,
                                                        .right = GRANT_ALL,
                                                        .tenant = call->tenant,
                                                        .after = after,
                                                        .cluster_id = cluster,
                                                        .execution_id = execution,
                                                        .maximum = page.size},
                                 &rows, &count, error);
    } else {
        EventListNewestRow *newest;
        r = statement_event_list_newest(
            call->transaction,
            &(EventListNewestParameters){.sees_private = viewer_sees_private(call),
                                         .username = call->principal.username,
                                         .right = GRANT_ALL,
                                         .tenant = call->tenant,
                                         .cluster_id = cluster,
                                         .execution_id = execution,
                                         .maximum = page.size,
                                         .offset = page.offset},
            &newest, &count, error);
        rows = arena_allocate_array(call->arena, (r >= 0 ? count : 0) + 1, sizeof(*rows));
        for (size_t i = 0; r >= 0 && i < count; i++)
            rows[i] = (EventListRow){newest[i].sequence, newest[i].time,       newest[i].type,
                                     newest[i].severity, newest[i].cluster_id, newest[i].execution_id,
                                     newest[i].node_id,  newest[i].task,       newest[i].message,
                                     newest[i].data};
    }
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        event_write(&writer, &rows[i]);
    list_end(call, &writer, &page, page.offset + (int64_t)count);
    return writer.status;
}

static int no_handler(ApiCall *call, Error *error)
{
    (void)call;
    return error_set(error, ERROR_INTERNAL, "A stream has no handler.");
}

const ApiRoute routes_events[] = {
    ROUTE(GET, "/events", EVENT_LIST, NEEDS_TENANT, READ, NO_BODY, list_events, NULL, 200,
          "Events, newest first; with after=SEQUENCE in order", .query = query_events),
    ROUTE(GET, "/events/stream", EVENT_LIST, NEEDS_TENANT, STREAM, NO_BODY, no_handler, NULL, 200,
          "Events as they happen (server-sent events), resumable by Last-Event-ID", .query = query_stream),
    {0},
};

static int list_audit(ApiCall *call, Error *error)
{
    Page page;
    AuditListRow *rows;
    AuditCountRow total = {0};
    size_t count;
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_audit_list(call->transaction,
                                 &(AuditListParameters){.actor = query_or_empty(call, "actor"),
                                                        .object_tenant = query_or_empty(call, "tenant"),
                                                        .action = query_or_empty(call, "action"),
                                                        .maximum = page.size,
                                                        .offset = page.offset},
                                 &rows, &count, error);
    if (r >= 0)
        r = statement_audit_count(call->transaction, &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++) {
        writer_begin_object(&writer, NULL);
        writer_integer(&writer, "shard", rows[i].shard);
        writer_integer(&writer, "sequence", rows[i].sequence);
        writer_time(&writer, "timestamp", rows[i].time);
        writer_string(&writer, "actor", rows[i].actor);
        writer_string(&writer, "tenant", *rows[i].object_tenant ? rows[i].object_tenant : NULL);
        writer_string(&writer, "source", rows[i].source);
        writer_string(&writer, "request_id", rows[i].request_id);
        writer_string(&writer, "action", rows[i].action);
        writer_string(&writer, "object", rows[i].object);
        writer_string(&writer, "outcome", rows[i].outcome);
        writer_raw(&writer, "details", rows[i].details);
        writer_end_object(&writer);
    }
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

static int verify_audit(ApiCall *call, Error *error)
{
    AuditVerification verification;
    int r = audit_trail_verify_all(call->transaction, &verification, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_boolean(&writer, "valid", verification.bad_sequence == 0);
    writer_integer(&writer, "records", verification.records);
    if (verification.bad_sequence > 0) {
        writer_integer(&writer, "first_bad_shard", verification.bad_shard);
        writer_integer(&writer, "first_bad_sequence", verification.bad_sequence);
    }
    writer_end_object(&writer);
    return writer.status;
}

const ApiRoute routes_audit[] = {
    ROUTE(GET, "/audit", AUDIT_LIST, NO_TENANT, READ, NO_BODY, list_audit, NULL, 200,
          "The audit trail, newest first", .query = query_audit),
    ROUTE(GET, "/audit/verification", AUDIT_LIST, NO_TENANT, READ, NO_BODY, verify_audit, NULL, 200,
          "Walks the hash chains and names the first record that does not fit"),
    {0},
};
