/* SPDX-License-Identifier: Apache-2.0 */
/* Events. */

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
