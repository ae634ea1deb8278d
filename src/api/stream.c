/* SPDX-License-Identifier: Apache-2.0 */
/* Event streams. Each subscriber keeps the sequence it has reached; after a commit its next page is read from
 * the store, so a slow reader costs no memory here and can resume anywhere. The caller's rights are checked
 * again with each page: who lost them loses the stream. */

#include <inttypes.h>

#include "api/api_internal.h"
#include "api/rights.h"
#include "base/log.h"
#include "base/string.h"
#include "domain/access/scope.h"

enum { STREAM_PAGE = 256, STREAM_BACKLOG = 128 * 1024 };

typedef struct Subscriber Subscriber;
struct Subscriber {
    Subscriber *next;
    Api *api;
    HttpStream *stream; /* NULL once it is closed */
    char *tenant, *username, *token_id, *cluster_id, *execution_id;
    Permission permission;
    int64_t position;
    bool is_reading, is_stale;
    /* The page being read, made on a store thread. */
    EventListRow *rows;
    size_t count;
    Arena *arena;
    int result;
};

struct StreamList {
    Subscriber *first;
    bool is_posted;
};

static void read_page(Subscriber *subscriber);

static void subscriber_free(Subscriber *subscriber)
{
    free(subscriber->tenant);
    free(subscriber->username);
    free(subscriber->token_id);
    free(subscriber->cluster_id);
    free(subscriber->execution_id);
    arena_free(subscriber->arena);
    free(subscriber);
}

static void unlink_subscriber(Subscriber *subscriber)
{
    for (Subscriber **link = &subscriber->api->streams->first; *link; link = &(*link)->next)
        if (*link == subscriber) {
            *link = subscriber->next;
            break;
        }
    if (!subscriber->is_reading)
        subscriber_free(subscriber);
}

static void on_closed(HttpStream *stream, void *userdata)
{
    (void)stream;
    Subscriber *subscriber = userdata;
    subscriber->stream = NULL;
    unlink_subscriber(subscriber);
}

/* From our side: on_closed() is not called then. */
static void close_subscriber(Subscriber *subscriber)
{
    HttpStream *stream = TAKE_PTR(subscriber->stream);
    unlink_subscriber(subscriber);
    http_stream_close(stream);
}

static void copy_rows(Subscriber *subscriber, const EventListRow *rows, size_t count)
{
    arena_reset(subscriber->arena);
    subscriber->rows = arena_allocate_array(subscriber->arena, count + 1, sizeof(*rows));
    subscriber->count = count;
    for (size_t i = 0; i < count; i++) {
        EventListRow *copy = &subscriber->rows[i];
        *copy = rows[i];
        const char **strings[] = {&copy->type,    &copy->severity, &copy->cluster_id, &copy->execution_id,
                                  &copy->node_id, &copy->message,  &copy->data};
        for (size_t j = 0; j < ELEMENTSOF(strings); j++)
            *strings[j] = arena_string(subscriber->arena, *strings[j]);
    }
}

/* The token or session that the stream came by; gone with it. */
static int check_token(StoreTransaction *transaction, const Subscriber *subscriber, Principal *principal,
                       Error *error)
{
    TokenGetRow token;
    _cleanup_token_scope_ TokenScope scope = {0};
    if (!subscriber->token_id)
        return 0;
    const int64_t now = (int64_t)store_now(transaction);
    int r =
        statement_token_get(transaction, &(TokenGetParameters){.id = subscriber->token_id}, &token, error);
    if (r < 0)
        return r;
    if (r == 0 || token.expires_at <= now ||
        (token.idle_limit > 0 && token.last_used_at + token.idle_limit <= now) ||
        token_scope_parse(token.scope, &scope) < 0)
        return error_set(error, ERROR_UNAUTHENTICATED, "Unauthorized User");
    token_scope_apply(&scope, subscriber->tenant, principal);
    return 0;
}

static int check_rights(StoreTransaction *transaction, const Subscriber *subscriber, Error *error)
{
    AccessRights rights;
    int r = rights_load(transaction, store_arena(transaction), subscriber->username, subscriber->tenant,
                        false, &rights, error);
    if (r < 0 || !rights.is_active)
        return r < 0 ? r : error_set(error, ERROR_UNAUTHENTICATED, "Unauthorized User");
    Principal principal = {.username = subscriber->username,
                           .tenant = subscriber->tenant,
                           .is_member = rights.is_member,
                           .rights = rights.permissions};
    r = check_token(transaction, subscriber, &principal, error);
    if (r < 0)
        return r;
    AccessVerdict verdict = access_decide(&principal, subscriber->permission, NULL);
    return access_verdict_to_error(&verdict, NULL, error);
}

static int page_job(StoreTransaction *transaction, void *context, Error *error)
{
    Subscriber *subscriber = context;
    int r = check_rights(transaction, subscriber, error);
    if (r < 0)
        return r;
    EventListRow *rows;
    size_t count;
    r = statement_event_list(transaction,
                             &(EventListParameters){.tenant = subscriber->tenant,
                                                    .after = subscriber->position,
                                                    .cluster_id = subscriber->cluster_id,
                                                    .execution_id = subscriber->execution_id,
                                                    .maximum = STREAM_PAGE},
                             &rows, &count, error);
    if (r < 0)
        return r;
    copy_rows(subscriber, rows, count);
    return 0;
}

void event_write(Writer *writer, const EventListRow *row)
{
    writer_begin_object(writer, NULL);
    writer_integer(writer, "sequence", row->sequence);
    writer_time(writer, "timestamp", row->time);
    writer_string(writer, "type", row->type);
    writer_string(writer, "severity", row->severity);
    writer_string(writer, "cluster_id", *row->cluster_id ? row->cluster_id : NULL);
    writer_string(writer, "execution_id", *row->execution_id ? row->execution_id : NULL);
    writer_string(writer, "node_id", *row->node_id ? row->node_id : NULL);
    if (row->task > 0) {
        char task[40];
        (void)string_print(task, sizeof(task), "%s-%" PRId64, row->execution_id, row->task);
        writer_string(writer, "operation_id", task);
    }
    writer_string(writer, "message", row->message);
    writer_raw(writer, "data", row->data);
    writer_end_object(writer);
}

static void send_rows(Subscriber *subscriber)
{
    for (size_t i = 0; i < subscriber->count && subscriber->stream; i++) {
        const EventListRow *row = &subscriber->rows[i];
        _cleanup_buffer_ Buffer text = BUFFER_INIT;
        Writer writer = writer_new(&text);
        event_write(&writer, row);
        if (http_stream_send(subscriber->stream, (uint64_t)row->sequence, row->type, buffer_string(&text)) <
            0)
            return;
        subscriber->position = row->sequence;
    }
}

static void page_on_loop(Api *api, void *context)
{
    Subscriber *subscriber = context;
    subscriber->is_reading = false;
    if (!subscriber->stream) {
        subscriber_free(subscriber);
        return;
    }
    if (subscriber->result < 0) {
        close_subscriber(subscriber);
        return;
    }
    size_t count = subscriber->count;
    send_rows(subscriber);
    if (subscriber->stream && (count == STREAM_PAGE || subscriber->is_stale))
        read_page(subscriber);
}

static void page_done(int result, const Error *error, void *context)
{
    (void)error;
    Subscriber *subscriber = context;
    subscriber->result = result;
    loop_post(subscriber->api, page_on_loop, subscriber);
}

static void read_page(Subscriber *subscriber)
{
    if (subscriber->is_reading || http_stream_backlog(subscriber->stream) > STREAM_BACKLOG) {
        subscriber->is_stale = true;
        return;
    }
    subscriber->is_stale = false;
    subscriber->is_reading = true;
    Error error = ERROR_INIT;
    if (store_submit(subscriber->api->settings.store, STORE_READ, page_job, page_done, subscriber, &error) <
        0) {
        subscriber->is_reading = false;
        subscriber->is_stale = true;
    }
}

static void published_on_loop(Api *api, void *context)
{
    (void)context;
    api->streams->is_posted = false;
    for (Subscriber *subscriber = api->streams->first; subscriber; subscriber = subscriber->next)
        read_page(subscriber);
}

/* From the store's threads after commits, and from the loop once a second (rights are checked again then). */
void streams_published(Api *api)
{
    if (__atomic_exchange_n(&api->streams->is_posted, true, __ATOMIC_ACQ_REL))
        return;
    loop_post(api, published_on_loop, NULL);
}

void streams_begin(ApiCall *call)
{
    Api *api = call->api;
    const char *after =
        http_exchange_header(call->exchange, "Last-Event-ID") ?: query_or_empty(call, "after");
    int64_t position = 0;
    if (*after && string_to_i64(after, 0, INT64_MAX, &position) < 0) {
        (void)error_set_field(&call->error, ERROR_BAD_REQUEST, "after",
                              "'after' must be the sequence of an event.");
        api_call_finish(call, -1);
        return;
    }
    Subscriber *subscriber = NEW(Subscriber);
    subscriber->api = api;
    subscriber->tenant = string_duplicate(call->tenant);
    subscriber->username = string_duplicate(call->principal.username);
    subscriber->token_id = string_duplicate(call->principal.token_id);
    subscriber->cluster_id = string_duplicate(query_or_empty(call, "cluster_id"));
    subscriber->execution_id = string_duplicate(query_or_empty(call, "execution_id"));
    subscriber->permission = call->route->permission;
    subscriber->position = position;
    subscriber->arena = arena_new();
    subscriber->stream = http_exchange_start_stream(call->exchange, on_closed, subscriber);
    api_call_release(call);
    if (!subscriber->stream) {
        subscriber_free(subscriber);
        return;
    }
    subscriber->next = api->streams->first;
    api->streams->first = subscriber;
    read_page(subscriber);
}

void streams_new(Api *api)
{
    api->streams = NEW(StreamList);
}

void streams_drain(Api *api)
{
    for (Subscriber *subscriber = api->streams->first, *next; subscriber; subscriber = next) {
        next = subscriber->next;
        close_subscriber(subscriber);
    }
}

void streams_free(Api *api)
{
    free(api->streams);
    api->streams = NULL;
}
