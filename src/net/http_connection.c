/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/string.h"
#include "net/http_internal.h"
#include "net/tls.h"

/* The connection's state machine; http_internal.h has the theory of operation. A plain connection (no
 * session) differs in the two transport functions only. */

enum {
    READ_ROUNDS = 8,     /* per event, so that one busy client does not starve the others */
    WRITE_ROUNDS = 64,   /* TLS records per event: 1 MiB */
    MINIMUM_RATE = 1024, /* bytes a second, for bodies and for answers */
    OUTPUT_KEPT = 64 * 1024,
};
static const Usec body_grace = 10 * USEC_PER_SEC, write_grace = 30 * USEC_PER_SEC,
                  stall_limit = 30 * USEC_PER_SEC, handler_limit = 30 * USEC_PER_SEC;

static const DeadlineClass state_deadlines[_CONNECTION_STATE_MAX] = {
    [CONNECTION_HANDSHAKE] = DEADLINE_HANDSHAKE, [CONNECTION_IDLE] = DEADLINE_IDLE,
    [CONNECTION_HEAD] = DEADLINE_HEAD,           [CONNECTION_BODY] = DEADLINE_BODY,
    [CONNECTION_HANDLER] = DEADLINE_HANDLER,     [CONNECTION_ANSWER] = DEADLINE_WRITE,
    [CONNECTION_STREAM] = DEADLINE_STREAM,       [CONNECTION_LINGER] = DEADLINE_LINGER,
    [CONNECTION_CLOSED] = DEADLINE_NONE,
};

static void process(HttpConnection *connection);

static Usec now_of(const HttpConnection *connection)
{
    return clock_monotonic(connection->server->clock);
}

static bool is_reading(const HttpConnection *connection)
{
    return connection->state == CONNECTION_IDLE || connection->state == CONNECTION_HEAD ||
           connection->state == CONNECTION_BODY;
}

static void enter(HttpConnection *connection, ConnectionState state)
{
    connection->state = state;
    connection->entered = connection->progressed = now_of(connection);
    connection->moved = 0;
    http_server_set_deadline(connection->server, connection, state_deadlines[state]);
}

/* Asks epoll for what the state needs. Wanting to read less is left to the event that nobody wants: a quick
 * handler then costs no system call. */
static void update_interest(HttpConnection *connection)
{
    uint32_t events = EPOLLRDHUP | (connection->interest & EPOLLIN);
    struct epoll_event event = {.data.ptr = connection};

    if (connection->state == CONNECTION_CLOSED)
        return;
    if (is_reading(connection) || connection->state == CONNECTION_HANDSHAKE ||
        connection->state == CONNECTION_LINGER)
        events |= EPOLLIN;
    if (http_connection_backlog(connection) > 0 || connection->is_write_wanted)
        events |= EPOLLOUT;
    if (events == connection->interest)
        return;
    event.events = connection->interest = events;
    ASSERT(epoll_ctl(connection->server->epoll, EPOLL_CTL_MOD, connection->descriptor, &event) == 0);
}

/* -EAGAIN, or what is wrong with the session for good. */
static int session_error(HttpConnection *connection, int result)
{
    int error = SSL_get_error(connection->session, result);

    connection->is_write_wanted = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return -EAGAIN;
    connection->is_failed = error != SSL_ERROR_ZERO_RETURN;
    ERR_clear_error();
    return error == SSL_ERROR_ZERO_RETURN ? 0 : -EIO;
}

/* Bytes read; 0 at the end, -EAGAIN, -EIO. */
static ssize_t transport_read(HttpConnection *connection, char *data, size_t size)
{
    size_t count = 0;

    if (!connection->session) {
        ssize_t received = recv(connection->descriptor, data, size, 0);
        return received >= 0 ? received : errno == EAGAIN || errno == EINTR ? -EAGAIN : -EIO;
    }
    ERR_clear_error();
    int r = SSL_read_ex(connection->session, data, size, &count);
    if (r <= 0)
        return session_error(connection, r);
    connection->is_write_wanted = false;
    return (ssize_t)count;
}

/* Bytes taken (perhaps none), or -EIO. */
static ssize_t transport_write(HttpConnection *connection, const uint8_t *data, size_t size)
{
    size_t total = 0;

    for (unsigned round = 0; total < size && round < WRITE_ROUNDS; round++) {
        size_t count = 0;
        if (connection->session) {
            ERR_clear_error();
            int r = SSL_write_ex(connection->session, data + total, size - total, &count);
            if (r <= 0 && session_error(connection, r) != -EAGAIN)
                return -EIO;
            if (r <= 0)
                break;
            connection->is_write_wanted = false;
        } else {
            ssize_t sent = send(connection->descriptor, data + total, size - total, MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN && errno != EINTR)
                return -EIO;
            if (sent < 0)
                break;
            count = (size_t)sent;
        }
        total += count;
    }
    if (total > 0) {
        connection->progressed = now_of(connection);
        connection->moved += total;
    }
    return (ssize_t)total;
}

/* Says goodbye to the session; whether it is heard does not matter. */
static void say_goodbye(HttpConnection *connection)
{
    if (connection->session && !connection->is_failed && SSL_is_init_finished(connection->session)) {
        ERR_clear_error();
        (void)SSL_shutdown(connection->session);
        ERR_clear_error();
        connection->is_failed = true;
    }
}

/* All is said. Closing at once would answer what is still coming with a reset, which may overtake our answer.
 */
static void linger(HttpConnection *connection)
{
    say_goodbye(connection);
    (void)shutdown(connection->descriptor, SHUT_WR);
    if (!connection->is_processing) /* else process() still looks at it, and drops it */
        buffer_done(&connection->input);
    connection->is_write_wanted = false;
    enter(connection, CONNECTION_LINGER);
    update_interest(connection);
}

static void drop_lingering(HttpConnection *connection)
{
    HttpServer *server = connection->server;

    for (unsigned round = 0; round < READ_ROUNDS; round++) {
        ssize_t count = recv(connection->descriptor, server->scratch, sizeof(server->scratch), 0);
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (count <= 0) {
            http_connection_close(connection);
            return;
        }
    }
}

static void answer_done(HttpConnection *connection)
{
    if (!connection->is_keep_alive) {
        linger(connection);
        return;
    }
    enter(connection, CONNECTION_IDLE);
    if (connection->is_processing)
        return;
    process(connection);
    if (is_reading(connection) && connection->session && SSL_has_pending(connection->session))
        http_server_queue_work(connection->server, connection);
    update_interest(connection);
}

static void flush(HttpConnection *connection)
{
    size_t backlog = http_connection_backlog(connection);
    ssize_t count = transport_write(connection, connection->output.data + connection->written, backlog);

    if (count < 0) {
        http_connection_close(connection);
        return;
    }
    connection->written += (size_t)count;
    if ((size_t)count == backlog) {
        buffer_done(&connection->output);
        connection->written = 0;
        if (connection->state == CONNECTION_ANSWER)
            answer_done(connection);
    }
    update_interest(connection);
}

void http_connection_answer(HttpConnection *connection, const void *data, size_t size)
{
    ssize_t count = 0;

    connection->moved = 0;
    if (http_connection_backlog(connection) == 0)
        count = transport_write(connection, data, size);
    if (count >= 0 && (size_t)count == size) {
        answer_done(connection);
        return;
    }
    if (count < 0 ||
        http_connection_append(connection, (const char *)data + count, size - (size_t)count) < 0) {
        http_connection_close(connection);
        return;
    }
    enter(connection, CONNECTION_ANSWER);
    update_interest(connection);
}

int http_connection_append(HttpConnection *connection, const void *data, size_t size)
{
    if (connection->written >= OUTPUT_KEPT) {
        buffer_consume(&connection->output, connection->written);
        connection->written = 0;
    }
    connection->output.limit = SIZE_MAX / 2; /* bounded by who appends: one answer, or the stream's queue */
    return buffer_append(&connection->output, data, size);
}

/* Ends the connection after what is queued. */
void http_connection_finish(HttpConnection *connection)
{
    connection->stream = NULL;
    connection->is_keep_alive = false;
    enter(connection, CONNECTION_ANSWER);
    flush(connection);
}

void http_connection_become_stream(HttpConnection *connection, HttpStream *stream)
{
    connection->stream = stream;
    enter(connection, CONNECTION_STREAM);
    if (!connection->is_processing)
        buffer_done(&connection->input);
    http_server_queue_work(connection->server, connection);
}

static void answer_fault(HttpConnection *connection, int status, const char *text)
{
    HttpExchange *exchange = TAKE_PTR(connection->exchange);

    http_answer_fault(connection, status, text, exchange ? exchange->request_id : NULL);
    if (exchange)
        http_exchange_free(exchange, connection->server);
    http_connection_answer(connection, connection->server->answer.data, connection->server->answer.size);
}

static void refuse(HttpConnection *connection, HttpFault fault)
{
    connection->server->counters.faults++;
    answer_fault(connection, http_fault_status(fault), http_fault_text(fault));
}

static void hand_over(HttpConnection *connection)
{
    HttpServer *server = connection->server;

    server->counters.requests++;
    connection->is_keep_alive = connection->exchange->head.is_keep_alive && !server->is_draining;
    enter(connection, CONNECTION_HANDLER);
    server->handler->handle(connection->exchange, server->userdata);
}

static void begin_body(HttpConnection *connection, bool has_more)
{
    HttpExchange *exchange = connection->exchange;
    const HttpHead *head = &exchange->head;

    if (!head->is_chunked && head->content_length == 0) {
        hand_over(connection);
        return;
    }
    if (exchange->body_limit == 0 || head->content_length > (uint64_t)exchange->body_limit) {
        refuse(connection, HTTP_FAULT_BODY_TOO_LARGE);
        return;
    }
    enter(connection, CONNECTION_BODY);
    if (head->expects_continue && !has_more) {
        static const char proceed[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (http_connection_append(connection, proceed, sizeof(proceed) - 1) < 0)
            http_connection_close(connection);
        else
            flush(connection);
    }
}

static void redirect(HttpConnection *connection, const char *data, size_t size)
{
    HttpServer *server = connection->server;
    HttpHead head;
    HttpFault fault = http_head_parse(data, size, &head);

    if (fault != HTTP_FAULT_NONE) {
        refuse(connection, fault);
        return;
    }
    server->counters.requests++;
    http_answer_redirect(connection, data, &head, connection->https_port);
    http_connection_answer(connection, server->answer.data, server->answer.size);
}

/* Returns the bytes taken; 0 when more are needed. */
static size_t take_head(HttpConnection *connection, const char *data, size_t size)
{
    size_t head_size;
    HttpFault fault = http_head_find(data, size, &connection->scanned, &head_size);

    if (fault != HTTP_FAULT_NONE) {
        refuse(connection, fault);
        return size;
    }
    if (head_size == 0) {
        if (connection->state == CONNECTION_IDLE)
            enter(connection, CONNECTION_HEAD);
        return 0;
    }
    connection->scanned = 0;
    if (connection->is_redirect) {
        redirect(connection, data, head_size);
        return size;
    }
    connection->exchange = http_exchange_new(connection, data, head_size, &fault);
    if (connection->exchange)
        begin_body(connection, size > head_size);
    else
        refuse(connection, fault);
    return head_size;
}

static bool keep_body(HttpConnection *connection, const char *data, size_t size)
{
    int r = http_exchange_append_body(connection->exchange, data, size);

    if (r == -E2BIG)
        refuse(connection, HTTP_FAULT_BODY_TOO_LARGE);
    else if (r < 0)
        answer_fault(connection, 503, "too many request bodies at a time; try again");
    return r >= 0;
}

static size_t take_body(HttpConnection *connection, const char *data, size_t size)
{
    HttpExchange *exchange = connection->exchange;
    size_t taken = 0;

    connection->progressed = now_of(connection);
    if (!exchange->head.is_chunked) {
        taken = (size_t)MIN((uint64_t)size, exchange->head.content_length - exchange->body.size);
        connection->moved += taken;
        if (keep_body(connection, data, taken) && exchange->body.size == exchange->head.content_length)
            hand_over(connection);
        return taken;
    }
    while (taken < size && !http_chunked_is_complete(&exchange->chunked)) {
        const char *body;
        size_t count, body_size;
        HttpFault fault =
            http_chunked_step(&exchange->chunked, data + taken, size - taken, &count, &body, &body_size);
        if (fault != HTTP_FAULT_NONE) {
            refuse(connection, fault);
            return size;
        }
        taken += count;
        connection->moved += body_size; /* framing does not count as progress */
        if (body_size > 0 && !keep_body(connection, body, body_size))
            return size;
    }
    if (http_chunked_is_complete(&exchange->chunked))
        hand_over(connection);
    return taken;
}

/* Feeds the parser; returns the bytes used. Handlers that answer at once bring the state back to reading, so
 * that pipelined requests are taken in this loop and not by recursion. */
static size_t feed(HttpConnection *connection, const char *data, size_t size)
{
    size_t used = 0;

    connection->is_processing = true;
    while (used < size && is_reading(connection)) {
        size_t taken = connection->state == CONNECTION_BODY ? take_body(connection, data + used, size - used)
                                                            : take_head(connection, data + used, size - used);
        if (taken == 0)
            break;
        used += taken;
    }
    connection->is_processing = false;
    return used;
}

/* True when bytes that were not used belong to a next request that will be answered. */
static bool wants_rest(const HttpConnection *connection)
{
    return is_reading(connection) || connection->state == CONNECTION_HANDLER ||
           (connection->state == CONNECTION_ANSWER && connection->is_keep_alive);
}

/* Goes on with what is kept in input. */
static void process(HttpConnection *connection)
{
    if (connection->input.size == 0)
        return;
    size_t used = feed(connection, (const char *)connection->input.data, connection->input.size);
    if (!wants_rest(connection) || used == connection->input.size)
        buffer_done(&connection->input);
    else
        buffer_consume(&connection->input, used);
}

static void take_bytes(HttpConnection *connection, const char *data, size_t size)
{
    connection->input.limit = 4 * (size_t)HTTP_HEAD_LIMIT;
    if (connection->input.size > 0) {
        if (buffer_append(&connection->input, data, size) < 0)
            http_connection_close(connection);
        else
            process(connection);
        return;
    }
    size_t used = feed(connection, data, size);
    if (used < size && wants_rest(connection) &&
        buffer_append(&connection->input, data + used, size - used) < 0)
        http_connection_close(connection);
}

static void read_more(HttpConnection *connection)
{
    HttpServer *server = connection->server;

    for (unsigned round = 0; round < READ_ROUNDS && is_reading(connection); round++) {
        ssize_t count = transport_read(connection, server->scratch, sizeof(server->scratch));
        if (count == -EAGAIN)
            break;
        if (count <= 0) {
            http_connection_close(connection);
            return;
        }
        take_bytes(connection, server->scratch, (size_t)count);
        /* What is still in the socket wakes us by itself. */
        if (!connection->session || !SSL_has_pending(connection->session))
            break;
        if (round + 1 == READ_ROUNDS && is_reading(connection))
            http_server_queue_work(server, connection);
    }
    update_interest(connection);
}

static void handshake(HttpConnection *connection)
{
    HttpServer *server = connection->server;

    ERR_clear_error();
    int r = SSL_do_handshake(connection->session);
    if (r != 1) {
        if (session_error(connection, r) == -EAGAIN) {
            update_interest(connection);
            return;
        }
        server->counters.handshakes_failed++;
        connection->is_failed = true;
        http_connection_close(connection);
        return;
    }
    connection->is_write_wanted = false;
    (void)tls_session_peer(connection->session, &connection->peer->uri, &connection->peer->serial);
    enter(connection, CONNECTION_IDLE);
    read_more(connection); /* the first request often comes with the end of the handshake */
}

void http_connection_start(HttpConnection *connection)
{
    enter(connection, connection->session ? CONNECTION_HANDSHAKE : CONNECTION_HEAD);
}

void http_connection_event(HttpConnection *connection, uint32_t events)
{
    if (connection->state == CONNECTION_CLOSED)
        return;
    if (events & EPOLLERR) {
        http_connection_close(connection);
        return;
    }
    if (connection->state == CONNECTION_HANDSHAKE) {
        handshake(connection);
        return;
    }
    if ((events & EPOLLOUT) && http_connection_backlog(connection) > 0)
        flush(connection);
    if (is_reading(connection) && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLOUT))) {
        read_more(connection);
    } else if (connection->state == CONNECTION_LINGER) {
        drop_lingering(connection);
    } else if (connection->state != CONNECTION_CLOSED && (events & (EPOLLRDHUP | EPOLLHUP))) {
        http_connection_close(connection); /* nobody waits for the answer any more */
    } else if ((events & EPOLLIN) && (connection->interest & EPOLLIN)) {
        connection->interest &= ~(uint32_t)EPOLLIN;
        struct epoll_event event = {.data.ptr = connection, .events = connection->interest};
        if (connection->state != CONNECTION_CLOSED)
            ASSERT(epoll_ctl(connection->server->epoll, EPOLL_CTL_MOD, connection->descriptor, &event) == 0);
    }
}

void http_connection_work(HttpConnection *connection)
{
    if (connection->stream && connection->stream->is_ending)
        http_stream_end(connection->stream);
    else if (http_connection_backlog(connection) > 0)
        flush(connection);
    if (is_reading(connection))
        read_more(connection);
}

/* When a transfer that makes progress must end: slower than the minimum rate, or stalled. */
static Usec transfer_deadline(const HttpConnection *connection, Usec grace)
{
    Usec by_rate = connection->entered + grace + connection->moved * (USEC_PER_SEC / MINIMUM_RATE);

    return MIN(by_rate, connection->progressed + stall_limit);
}

static bool is_expired(const HttpConnection *connection, Usec now)
{
    if (connection->state == CONNECTION_BODY)
        return now >= transfer_deadline(connection, body_grace);
    if (connection->state == CONNECTION_ANSWER)
        return now >= transfer_deadline(connection, write_grace);
    if (connection->state == CONNECTION_HANDLER) {
        Usec own = atomic_load(&connection->exchange->deadline);
        return now >= (own > 0 ? own : connection->entered + handler_limit);
    }
    return true;
}

void http_connection_expire(HttpConnection *connection)
{
    HttpServer *server = connection->server;
    Usec now = now_of(connection);

    if (connection->state == CONNECTION_STREAM) {
        http_server_set_deadline(server, connection, DEADLINE_STREAM);
        http_stream_tick(connection->stream, now);
        return;
    }
    if (!is_expired(connection, now)) {
        http_server_set_deadline(server, connection, DEADLINE_RECHECK);
        return;
    }
    if (connection->state != CONNECTION_IDLE && connection->state != CONNECTION_LINGER)
        server->counters.timeouts++;
    if (connection->state == CONNECTION_HEAD || connection->state == CONNECTION_BODY) {
        answer_fault(connection, 408, "the request did not come in time");
    } else if (connection->state == CONNECTION_HANDLER) {
        HttpExchange *exchange = TAKE_PTR(connection->exchange);
        http_answer_fault(connection, 503, "the answer was not ready in time; try again",
                          exchange->request_id);
        http_connection_answer(connection, server->answer.data, server->answer.size);
        http_exchange_abandon(exchange);
    } else {
        http_connection_close(connection);
    }
}

void http_connection_drain(HttpConnection *connection)
{
    if (connection->state == CONNECTION_IDLE || connection->state == CONNECTION_HANDSHAKE)
        http_connection_close(connection);
    else if (connection->state == CONNECTION_STREAM)
        http_stream_drain(connection->stream);
}

void http_connection_close(HttpConnection *connection)
{
    ConnectionState state = connection->state;

    if (state == CONNECTION_CLOSED)
        return;
    say_goodbye(connection);
    connection->state = CONNECTION_CLOSED;
    (void)epoll_ctl(connection->server->epoll, EPOLL_CTL_DEL, connection->descriptor, NULL);
    (void)close(connection->descriptor);
    connection->descriptor = -1;
    http_server_forget(connection->server, connection);

    HttpExchange *exchange = TAKE_PTR(connection->exchange);
    if (exchange && state == CONNECTION_HANDLER)
        http_exchange_abandon(exchange);
    else if (exchange)
        http_exchange_free(exchange, connection->server);
    HttpStream *stream = TAKE_PTR(connection->stream);
    if (stream)
        http_stream_gone(stream);
}

void http_connection_free(HttpConnection *connection)
{
    ASSERT(connection->state == CONNECTION_CLOSED && !connection->exchange && !connection->stream);
    buffer_done(&connection->input);
    buffer_done(&connection->output);
    SSL_free(connection->session);
    http_peer_unref(connection->peer);
    free(connection);
}
