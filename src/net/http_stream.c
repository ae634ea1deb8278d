/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>

#include "base/string.h"
#include "net/http_internal.h"

/* Server-sent events. The queue of a stream is its connection's output; sending only appends, the writing is
 * done by the server's next dispatch, so that a burst of events becomes few TLS records and nothing is freed
 * below a sender's feet. A stream that ends for our reasons gets a `retry:` line, so the client comes back
 * with Last-Event-ID. */

enum { RETRY_DROPPED = 5, RETRY_DRAINED = 2 };
static const Usec heartbeat_interval = 20 * USEC_PER_SEC, stall_limit = 30 * USEC_PER_SEC;

static int append_data(Buffer *buffer, const char *data)
{
    int r = 0;

    for (const char *line = data; r >= 0;) {
        size_t length = strcspn(line, "\r\n");
        r = buffer_append_string(buffer, "data: ");
        if (r >= 0)
            r = buffer_append(buffer, line, length);
        if (r >= 0)
            r = buffer_append_string(buffer, "\n");
        line += length;
        if (!*line)
            break;
        line += line[0] == '\r' && line[1] == '\n' ? 2 : 1;
    }
    return r;
}

int http_stream_send(HttpStream *stream, uint64_t id, const char *event, const char *data)
{
    HttpServer *server = stream->connection->server;
    Buffer *buffer = &server->answer;
    int r = 0;

    if (stream->is_ending)
        return -ENOBUFS;
    if (event && string_has_control(event, strlen(event), NULL))
        return -EINVAL;
    buffer_clear(buffer);
    if (id > 0)
        r = buffer_append_format(buffer, "id: %" PRIu64 "\n", id);
    if (r >= 0 && event)
        r = buffer_append_format(buffer, "event: %s\n", event);
    if (r >= 0)
        r = append_data(buffer, data ? data : "");
    if (r >= 0)
        r = buffer_append_string(buffer, "\n");
    if (r < 0)
        return r;

    http_server_queue_work(server, stream->connection);
    if (http_stream_backlog(stream) + buffer->size > server->limits.stream_queue) {
        server->counters.streams_dropped++;
        stream->is_ending = true;
        stream->retry_seconds = RETRY_DROPPED;
        return -ENOBUFS;
    }
    stream->last_sent = clock_monotonic(server->clock);
    if (http_stream_backlog(stream) == 0) /* a queue begins to stall when it begins */
        stream->connection->progressed = stream->last_sent;
    r = http_connection_append(stream->connection, buffer->data, buffer->size);
    if (r < 0)
        return r;
    stream->sent += buffer->size;
    return 0;
}

size_t http_stream_backlog(const HttpStream *stream)
{
    return http_connection_backlog(stream->connection);
}

const HttpRequest *http_stream_request(const HttpStream *stream)
{
    return &stream->exchange->request;
}

void http_stream_tick(HttpStream *stream, Usec now)
{
    HttpConnection *connection = stream->connection;
    static const char heartbeat[] = ":\n\n";

    if (stream->is_ending)
        return;
    if (http_stream_backlog(stream) > 0) {
        if (now - MIN(now, connection->progressed) >= stall_limit) {
            connection->server->counters.streams_dropped++;
            http_connection_close(connection);
        }
    } else if (now - MIN(now, stream->last_sent) >= heartbeat_interval) {
        if (http_connection_append(connection, heartbeat, sizeof(heartbeat) - 1) < 0)
            return;
        connection->progressed = stream->last_sent = now;
        http_server_queue_work(connection->server, connection);
    }
}

static void release(HttpStream *stream, HttpServer *server, bool is_told)
{
    if (is_told && stream->closed)
        stream->closed(stream, stream->userdata);
    if (server->handler->done)
        server->handler->done(&stream->exchange->request, 200, stream->sent,
                              clock_monotonic(server->clock) - stream->exchange->started, server->userdata);
    http_exchange_free(stream->exchange, server);
    free(stream);
}

void http_stream_end(HttpStream *stream)
{
    HttpConnection *connection = stream->connection;
    char hint[32];

    if (stream->retry_seconds > 0) {
        (void)string_print(hint, sizeof(hint), "retry: %u000\n\n", stream->retry_seconds);
        (void)http_connection_append(connection, hint, strlen(hint));
    }
    connection->stream = NULL;
    release(stream, connection->server, true);
    http_connection_finish(connection);
}

void http_stream_gone(HttpStream *stream)
{
    release(stream, stream->connection->server, true);
}

void http_stream_drain(HttpStream *stream)
{
    stream->is_ending = true;
    stream->retry_seconds = RETRY_DRAINED;
    http_server_queue_work(stream->connection->server, stream->connection);
}

void http_stream_close(HttpStream *stream)
{
    HttpConnection *connection = stream->connection;

    connection->stream = NULL;
    release(stream, connection->server, false);
    http_connection_finish(connection);
}
