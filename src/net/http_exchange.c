/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/log.h"
#include "base/string.h"
#include "net/http_internal.h"

/* An exchange is one allocation: the struct, the parsed head, and the head's bytes, which are cut into
 * terminated strings in place (values shrink or stay when decoded, and each is followed by at least one byte
 * that has done its duty). */

enum { BODY_LIMIT_DEFAULT = 1024 * 1024, ANSWER_HEAD_LIMIT = 32 * 1024 };

typedef struct HttpQueryPair {
    const char *name, *value;
} HttpQueryPair;

static const struct {
    const char *name, *value;
} default_headers[] = {
    {"Strict-Transport-Security", "max-age=31536000"},
    {"X-Content-Type-Options", "nosniff"},
    {"Cache-Control", "no-store"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
    {"Referrer-Policy", "no-referrer"},
};
_Static_assert(ELEMENTSOF(default_headers) == HTTP_DEFAULT_HEADERS, "one bit each");

/* Set by the server alone. */
static const char *const framing_headers[] = {"Content-Length", "Transfer-Encoding", "Connection",
                                              "Content-Type",   "Trailer",           "Upgrade",
                                              "Date",           "X-Request-Id"};

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < ELEMENTSOF(reasons); i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Status";
}

static char *terminate(char *bytes, HttpSpan span)
{
    bytes[span.offset + span.length] = '\0';
    return bytes + span.offset;
}

/* Cuts the head into strings. The method's bytes are not needed any more. */
static void cut_head(HttpExchange *exchange)
{
    HttpHead *head = &exchange->head;
    char *bytes = exchange->head_bytes;

    for (unsigned i = 0; i < head->field_count; i++) {
        (void)terminate(bytes, head->fields[i].name);
        (void)terminate(bytes, head->fields[i].value);
    }
    exchange->request.query = head->query.length > 0 ? terminate(bytes, head->query) : "";
    char *path = terminate(bytes, head->path);
    if (head->has_escapes) /* checked by the parser */
        ASSERT(http_percent_decode(path, head->path.length, false, path) >= 0);
    exchange->request.path = path;
}

HttpExchange *http_exchange_new(HttpConnection *connection, const char *head, size_t size,
                                HttpFault *ret_fault)
{
    HttpServer *server = connection->server;
    HttpExchange *exchange = memory_new(sizeof(HttpExchange) + size + 1);

    memcpy(exchange->head_bytes, head, size);
    *ret_fault = http_head_parse(exchange->head_bytes, size, &exchange->head);
    if (*ret_fault != HTTP_FAULT_NONE) {
        free(exchange);
        return NULL;
    }
    cut_head(exchange);
    id_generate(&server->random.random, exchange->request_id);
    exchange->connection = connection;
    exchange->queue = http_queue_ref(server->queue);
    exchange->peer = http_peer_ref(connection->peer);
    exchange->clock = server->clock;
    exchange->started = clock_monotonic(server->clock);
    atomic_init(&exchange->is_abandoned, false);
    atomic_init(&exchange->deadline, 0);
    exchange->chunked = HTTP_CHUNKED_INIT;
    exchange->request.method = exchange->head.method;
    exchange->request.body = "";
    exchange->request.request_id = exchange->request_id;
    exchange->request.remote_address = exchange->peer->address;
    exchange->request.peer_uri = exchange->peer->uri;
    exchange->request.peer_serial = exchange->peer->serial;

    if (exchange->head.is_chunked || exchange->head.content_length > 0) {
        ssize_t limit = server->handler->body_limit
                            ? server->handler->body_limit(exchange->request.method, exchange->request.path,
                                                          server->userdata)
                            : -1;
        exchange->body_limit = limit < 0 ? BODY_LIMIT_DEFAULT : limit;
    }
    return exchange;
}

void http_exchange_free(HttpExchange *exchange, HttpServer *server)
{
    if (server)
        server->body_memory -= exchange->body_counted;
    buffer_done(&exchange->body);
    buffer_done(&exchange->headers);
    buffer_done(&exchange->answer);
    free(exchange->query);
    arena_free(exchange->arena);
    http_peer_unref(exchange->peer);
    http_queue_unref(exchange->queue);
    free(exchange);
}

static void call_done(HttpExchange *exchange, HttpServer *server, int status, size_t sent)
{
    if (server->handler->done)
        server->handler->done(&exchange->request, status, sent,
                              clock_monotonic(server->clock) - exchange->started, server->userdata);
}

void http_exchange_abandon(HttpExchange *exchange)
{
    HttpServer *server = exchange->connection->server;

    exchange->connection = NULL;
    atomic_store(&exchange->is_abandoned, true);
    call_done(exchange, server, 499, 0);
}

int http_exchange_append_body(HttpExchange *exchange, const void *data, size_t size)
{
    HttpServer *server = exchange->connection->server;

    if (size > (size_t)exchange->body_limit - exchange->body.size)
        return -E2BIG;
    if (size > server->limits.body_memory - MIN(server->body_memory, server->limits.body_memory))
        return -ENOMEM;
    /* A body of known length gets its memory at once when it is small, else as it comes: a claim costs
     * nothing. */
    if (!exchange->body.limit) {
        exchange->body.limit = (size_t)exchange->body_limit + 64;
        if (exchange->head.content_length <= 64 * 1024)
            (void)!buffer_reserve(&exchange->body, (size_t)exchange->head.content_length);
    }
    int r = buffer_append(&exchange->body, data, size);
    if (r < 0)
        return r;
    exchange->body_counted += size;
    server->body_memory += size;
    exchange->request.body = buffer_string(&exchange->body);
    exchange->request.body_size = exchange->body.size;
    return 0;
}

const HttpRequest *http_exchange_request(const HttpExchange *exchange)
{
    return &exchange->request;
}

const char *http_exchange_header(const HttpExchange *exchange, const char *name)
{
    const HttpField *field = http_head_field(&exchange->head, exchange->head_bytes, name);

    return field ? exchange->head_bytes + field->value.offset : NULL;
}

static char *decode_part(Arena *arena, const char *text, size_t length)
{
    char *decoded = arena_allocate(arena, length + 1);

    ASSERT(http_percent_decode(text, length, true, decoded) >= 0); /* checked by the parser */
    return decoded;
}

static void parse_query(HttpExchange *exchange)
{
    const char *cursor = exchange->request.query, *end = cursor + strlen(cursor);
    HttpQueryPart part;

    exchange->is_query_parsed = true;
    if (cursor == end)
        return;
    Arena *arena = http_exchange_arena(exchange);
    exchange->query = NEW_ARRAY(HttpQueryPair, HTTP_QUERY_MAX);
    while (exchange->query_count < HTTP_QUERY_MAX && http_query_next(&cursor, end, &part)) {
        exchange->query[exchange->query_count++] = (HttpQueryPair){
            .name = decode_part(arena, part.name, part.name_length),
            .value = decode_part(arena, part.value, part.value_length),
        };
    }
}

const char *http_exchange_query(HttpExchange *exchange, const char *name, unsigned index)
{
    if (!exchange->is_query_parsed)
        parse_query(exchange);
    for (unsigned i = 0; i < exchange->query_count; i++) {
        if (string_equal(exchange->query[i].name, name) && index-- == 0)
            return exchange->query[i].value;
    }
    return NULL;
}

bool http_exchange_query_at(HttpExchange *exchange, unsigned index, const char **ret_name,
                            const char **ret_value)
{
    if (!exchange->is_query_parsed)
        parse_query(exchange);
    if (index >= exchange->query_count)
        return false;
    *ret_name = exchange->query[index].name;
    *ret_value = exchange->query[index].value;
    return true;
}

Arena *http_exchange_arena(HttpExchange *exchange)
{
    if (!exchange->arena)
        exchange->arena = arena_new();
    return exchange->arena;
}

bool http_exchange_is_abandoned(const HttpExchange *exchange)
{
    return atomic_load(&exchange->is_abandoned);
}

void http_exchange_set_deadline(HttpExchange *exchange, Usec from_now)
{
    atomic_store(&exchange->deadline, clock_monotonic(exchange->clock) + from_now);
}

void http_exchange_set_header(HttpExchange *exchange, const char *name, const char *value)
{
    bool is_bad = string_is_empty(name) || string_has_control(name, strlen(name), NULL) ||
                  strpbrk(name, ": ") || string_has_control(value, strlen(value), "\t");

    for (size_t i = 0; i < ELEMENTSOF(framing_headers) && !is_bad; i++)
        is_bad = strcasecmp(name, framing_headers[i]) == 0;
    exchange->headers.limit = ANSWER_HEAD_LIMIT;
    size_t before = exchange->headers.size;
    if (is_bad || buffer_append_format(&exchange->headers, "%s: %s\r\n", name, value) < 0) {
        ASSERT(exchange->headers.size == before);
        log_error("answer %s: the header field %s cannot be sent", exchange->request_id, name);
        return;
    }
    for (unsigned i = 0; i < ELEMENTSOF(default_headers); i++) {
        if (strcasecmp(name, default_headers[i].name) == 0)
            exchange->replaced_headers |= 1U << i;
    }
}

static void append_text(Buffer *buffer, const char *text)
{
    (void)!buffer_append(buffer, text, strlen(text));
}

static void append_number(Buffer *buffer, uint64_t number)
{
    char digits[24];
    size_t start = sizeof(digits);

    do {
        digits[--start] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    (void)!buffer_append(buffer, digits + start, sizeof(digits) - start);
}

/* Everything up to the fields that depend on the body. Written by hand, not by format: this is done for every
 * request. */
static void begin_answer(HttpConnection *connection, int status, const char *request_id, unsigned replaced)
{
    HttpServer *server = connection->server;
    Buffer *buffer = &server->answer;

    buffer_clear(buffer);
    append_text(buffer, "HTTP/1.1 ");
    append_number(buffer, (uint64_t)status);
    append_text(buffer, " ");
    append_text(buffer, reason_of(status));
    append_text(buffer, "\r\nDate: ");
    append_text(buffer, http_server_date(server));
    append_text(buffer, "\r\nX-Request-Id: ");
    append_text(buffer, request_id);
    append_text(buffer, "\r\n");
    for (unsigned i = 0; i < ELEMENTSOF(default_headers); i++) {
        /* HSTS means nothing on a plain connection (RFC 6797, 7.2). */
        if ((replaced & (1U << i)) || (i == 0 && connection->is_redirect))
            continue;
        append_text(buffer, default_headers[i].name);
        append_text(buffer, ": ");
        append_text(buffer, default_headers[i].value);
        append_text(buffer, "\r\n");
    }
}

static void append_content(HttpConnection *connection, const char *content_type, size_t size, bool has_length)
{
    Buffer *buffer = &connection->server->answer;

    if (content_type) {
        append_text(buffer, "Content-Type: ");
        append_text(buffer, content_type);
        append_text(buffer, "\r\n");
    }
    if (has_length) {
        append_text(buffer, "Content-Length: ");
        append_number(buffer, size);
        append_text(buffer, "\r\n");
    }
    if (!connection->is_keep_alive)
        append_text(buffer, "Connection: close\r\n");
    append_text(buffer, "\r\n");
}

void http_answer_fault(HttpConnection *connection, int status, const char *text, const char *request_id)
{
    static const struct {
        int status;
        ErrorCode code;
    } codes[] = {
        {400, ERROR_BAD_REQUEST}, {408, ERROR_TIMED_OUT}, {413, ERROR_TOO_LARGE},
        {414, ERROR_TOO_LARGE},   {431, ERROR_TOO_LARGE}, {503, ERROR_BUSY},
    };
    HttpServer *server = connection->server;
    const ErrorDescription *description = error_describe(ERROR_BAD_REQUEST);
    char generated[ID_SIZE], body[768];

    if (!request_id) {
        id_generate(&server->random.random, generated);
        request_id = generated;
    }
    for (size_t i = 0; i < ELEMENTSOF(codes); i++) {
        if (codes[i].status == status)
            description = error_describe(codes[i].code);
    }
    /* All of it is our own text: nothing needs escaping. */
    (void)string_print(
        body, sizeof(body),
        "{\"message\":\"%s\",\"error_code\":\"%s\",\"type\":\"urn:bastide:error:%s\",\"title\":\"%s\","
        "\"status\":%d,\"detail\":\"%s\",\"instance\":\"%s\",\"server_traceback\":null}",
        text, description->conductor_name, description->name, reason_of(status), status, text, request_id);
    connection->is_keep_alive = false;
    begin_answer(connection, status, request_id, 0);
    append_content(connection, "application/problem+json", strlen(body), true);
    append_text(&server->answer, body);
}

void http_answer_redirect(HttpConnection *connection, const char *head_bytes, const HttpHead *head,
                          uint16_t port)
{
    HttpServer *server = connection->server;
    const char *host = head_bytes + head->host.offset;
    size_t length = head->host.length;
    char id[ID_SIZE];

    /* The port of the name asked for is the plain one. A bracketed address has colons of its own. */
    const char *colon = memrchr(host, ':', length);
    if (colon && !memchr(colon, ']', length - (size_t)(colon - host)))
        length = (size_t)(colon - host);
    id_generate(&server->random.random, id);
    connection->is_keep_alive = false;
    begin_answer(connection, 308, id, 0);
    append_text(&server->answer, "Location: https://");
    (void)!buffer_append(&server->answer, host, length);
    if (port != 443) {
        append_text(&server->answer, ":");
        append_number(&server->answer, port);
    }
    (void)!buffer_append(&server->answer, head_bytes + head->target.offset, head->target.length);
    append_text(&server->answer, "\r\n");
    append_content(connection, NULL, 0, true);
}

void http_exchange_reply(HttpExchange *exchange, int status, const char *content_type, const void *body,
                         size_t size)
{
    HttpConnection *connection = exchange->connection;
    bool has_no_body = status == 204 || status == 304;

    if (!connection) { /* abandoned, and perhaps the server with it */
        http_exchange_free(exchange, exchange->queue->server);
        return;
    }
    ASSERT(connection->exchange == exchange && connection->state == CONNECTION_HANDLER);
    HttpServer *server = connection->server;
    if (content_type && string_has_control(content_type, strlen(content_type), NULL)) {
        log_error("answer %s: the content type cannot be sent", exchange->request_id);
        content_type = "application/octet-stream";
    }
    if (server->is_draining)
        connection->is_keep_alive = false;
    begin_answer(connection, status, exchange->request_id, exchange->replaced_headers);
    if (exchange->headers.size > 0)
        (void)!buffer_append(&server->answer, exchange->headers.data, exchange->headers.size);
    append_content(connection, has_no_body ? NULL : content_type, size, !has_no_body);
    if (!has_no_body && exchange->request.method != HTTP_METHOD_HEAD && size > 0 &&
        buffer_append(&server->answer, body, size) < 0) {
        log_error("answer %s: a body of %zu bytes is too large", exchange->request_id, size);
        http_answer_fault(connection, 500, "the answer is too large", exchange->request_id);
        status = 500;
    }

    size_t sent = server->answer.size;
    connection->exchange = NULL;
    http_connection_answer(connection, server->answer.data, sent);
    call_done(exchange, server, status, sent);
    http_exchange_free(exchange, server);
}

void http_exchange_post(HttpExchange *exchange, int status, const char *content_type, const void *body,
                        size_t size)
{
    exchange->answer_status = status;
    (void)string_copy(exchange->answer_type, sizeof(exchange->answer_type), content_type ? content_type : "");
    exchange->answer.limit = SIZE_MAX / 2;
    if (size > 0 && buffer_append(&exchange->answer, body, size) < 0) {
        exchange->answer_status = 500;
        buffer_clear(&exchange->answer);
    }
    exchange->resume = NULL;
    http_queue_push(exchange);
}

void http_exchange_resume(HttpExchange *exchange, HttpExchangeResume resume, void *userdata)
{
    exchange->resume = resume;
    exchange->resume_userdata = userdata;
    http_queue_push(exchange);
}

void http_exchange_deliver(HttpExchange *exchange, HttpServer *server)
{
    if (exchange->resume) {
        exchange->resume(exchange, exchange->resume_userdata);
        return;
    }
    http_exchange_reply(exchange, exchange->answer_status,
                        *exchange->answer_type ? exchange->answer_type : NULL, exchange->answer.data,
                        exchange->answer.size);
}

HttpStream *http_exchange_start_stream(HttpExchange *exchange, HttpStreamClosed closed, void *userdata)
{
    HttpConnection *connection = exchange->connection;

    if (!connection || connection->server->is_draining) {
        if (connection)
            http_exchange_reply(exchange, 503, NULL, NULL, 0);
        else
            http_exchange_free(exchange, exchange->queue->server);
        return NULL;
    }
    ASSERT(connection->exchange == exchange && connection->state == CONNECTION_HANDLER);
    HttpServer *server = connection->server;
    HttpStream *stream = NEW(HttpStream);
    *stream = (HttpStream){
        .connection = connection,
        .exchange = exchange,
        .closed = closed,
        .userdata = userdata,
        .last_sent = clock_monotonic(server->clock),
    };
    connection->is_keep_alive = false; /* the end of the stream is the end of the connection */
    begin_answer(connection, 200, exchange->request_id, exchange->replaced_headers);
    if (exchange->headers.size > 0)
        (void)!buffer_append(&server->answer, exchange->headers.data, exchange->headers.size);
    append_content(connection, "text/event-stream", 0, false);
    append_text(&server->answer, "retry: 2000\n\n");
    connection->exchange = NULL;
    http_connection_become_stream(connection, stream);
    (void)http_connection_append(connection, server->answer.data, server->answer.size);
    return stream;
}
