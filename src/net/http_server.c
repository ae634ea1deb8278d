/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/string.h"
#include "net/http_internal.h"
#include "net/tls.h"

/* Listeners, the nested epoll, deadlines, the queue of answers from other threads, and drain. http_internal.h
 * has the theory of operation. */

enum {
    EVENTS_PER_BATCH = 256,
    BATCHES_PER_DISPATCH = 8,
    ACCEPTS_PER_EVENT = 64,
    LISTEN_BACKLOG = 4096,
    ANSWER_LIMIT = 256 * 1024 * 1024,
    ANSWER_KEPT = 256 * 1024,
};

static const Usec tick_interval = 250 * USEC_PER_MSEC;

static const Usec deadline_periods[_DEADLINE_MAX] = {
    [DEADLINE_HANDSHAKE] = 10 * USEC_PER_SEC, [DEADLINE_HEAD] = 10 * USEC_PER_SEC,
    [DEADLINE_BODY] = 10 * USEC_PER_SEC,      [DEADLINE_HANDLER] = 30 * USEC_PER_SEC,
    [DEADLINE_IDLE] = 75 * USEC_PER_SEC,      [DEADLINE_WRITE] = 30 * USEC_PER_SEC,
    [DEADLINE_STREAM] = 5 * USEC_PER_SEC,     [DEADLINE_LINGER] = 2 * USEC_PER_SEC,
    [DEADLINE_RECHECK] = 1 * USEC_PER_SEC,
};

HttpPeer *http_peer_ref(HttpPeer *peer)
{
    atomic_fetch_add_explicit(&peer->references, 1, memory_order_relaxed);
    return peer;
}

void http_peer_unref(HttpPeer *peer)
{
    if (!peer || atomic_fetch_sub_explicit(&peer->references, 1, memory_order_acq_rel) != 1)
        return;
    free(peer->uri);
    free(peer->serial);
    free(peer);
}

HttpQueue *http_queue_ref(HttpQueue *queue)
{
    atomic_fetch_add_explicit(&queue->references, 1, memory_order_relaxed);
    return queue;
}

void http_queue_unref(HttpQueue *queue)
{
    if (!queue || atomic_fetch_sub_explicit(&queue->references, 1, memory_order_acq_rel) != 1)
        return;
    (void)close(queue->descriptor);
    (void)pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* Any thread. One wakeup for all that is queued until the loop looks. */
void http_queue_push(HttpExchange *exchange)
{
    HttpQueue *queue = exchange->queue;
    bool is_first = false, is_gone;

    (void)pthread_mutex_lock(&queue->lock);
    is_gone = !queue->server;
    if (!is_gone) {
        exchange->queue_next = NULL;
        is_first = !queue->first;
        if (is_first)
            queue->first = exchange;
        else
            queue->last->queue_next = exchange;
        queue->last = exchange;
        /* Under the lock: afterwards the exchange, and with it our hold on the queue, may be gone. */
        if (is_first)
            (void)eventfd_write(queue->descriptor, 1);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    if (is_gone)
        http_exchange_free(exchange, NULL);
}

static HttpExchange *queue_take(HttpQueue *queue)
{
    eventfd_t count;

    (void)eventfd_read(queue->descriptor, &count);
    (void)pthread_mutex_lock(&queue->lock);
    HttpExchange *first = queue->first;
    queue->first = queue->last = NULL;
    (void)pthread_mutex_unlock(&queue->lock);
    return first;
}

static void deliver_queued(HttpServer *server)
{
    for (HttpExchange *exchange = queue_take(server->queue); exchange;) {
        HttpExchange *next = exchange->queue_next;
        http_exchange_deliver(exchange, server);
        exchange = next;
    }
}

static void arm_tick(HttpServer *server)
{
    if (server->is_tick_armed)
        return;
    server->is_tick_armed = sd_event_source_set_time_relative(server->tick_source, tick_interval) >= 0 &&
                            sd_event_source_set_enabled(server->tick_source, SD_EVENT_ONESHOT) >= 0;
}

static void unlink_deadline(HttpServer *server, HttpConnection *connection)
{
    DeadlineList *list = &server->deadlines[connection->deadline];

    if (connection->deadline == DEADLINE_NONE)
        return;
    if (connection->deadline_previous)
        connection->deadline_previous->deadline_next = connection->deadline_next;
    else
        list->first = connection->deadline_next;
    if (connection->deadline_next)
        connection->deadline_next->deadline_previous = connection->deadline_previous;
    else
        list->last = connection->deadline_previous;
    connection->deadline_next = connection->deadline_previous = NULL;
    connection->deadline = DEADLINE_NONE;
}

void http_server_set_deadline(HttpServer *server, HttpConnection *connection, DeadlineClass class)
{
    unlink_deadline(server, connection);
    connection->deadline = class;
    if (class == DEADLINE_NONE)
        return;
    DeadlineList *list = &server->deadlines[class];
    connection->check_at = clock_monotonic(server->clock) + deadline_periods[class];
    connection->deadline_previous = list->last;
    if (list->last)
        list->last->deadline_next = connection;
    else
        list->first = connection;
    list->last = connection;
}

void http_server_queue_work(HttpServer *server, HttpConnection *connection)
{
    if (connection->is_queued || connection->state == CONNECTION_CLOSED)
        return;
    connection->is_queued = true;
    connection->work_next = NULL;
    if (server->work_last)
        server->work_last->work_next = connection;
    else
        server->work_first = connection;
    server->work_last = connection;
    (void)sd_event_source_set_enabled(server->work_source, SD_EVENT_ONESHOT);
}

void http_server_forget(HttpServer *server, HttpConnection *connection)
{
    unlink_deadline(server, connection);
    if (connection->all_previous)
        connection->all_previous->all_next = connection->all_next;
    else
        server->connections = connection->all_next;
    if (connection->all_next)
        connection->all_next->all_previous = connection->all_previous;
    server->connection_count--;
    address_table_remove(server->addresses, &connection->address);
    /* When it is queued, the work list frees it; the links are shared. */
    if (!connection->is_queued) {
        connection->work_next = server->closed;
        server->closed = connection;
    }
    (void)sd_event_source_set_enabled(server->work_source, SD_EVENT_ONESHOT);
}

static void free_closed(HttpServer *server)
{
    while (server->closed) {
        HttpConnection *connection = server->closed;
        server->closed = connection->work_next;
        http_connection_free(connection);
    }
    if (server->answer.capacity > ANSWER_KEPT) {
        buffer_done(&server->answer);
        server->answer.limit = ANSWER_LIMIT;
    }
}

static void do_work(HttpServer *server)
{
    HttpConnection *connection = server->work_first;

    server->work_first = server->work_last = NULL;
    while (connection) {
        HttpConnection *next = connection->work_next;
        connection->is_queued = false;
        if (connection->state == CONNECTION_CLOSED) {
            connection->work_next = server->closed;
            server->closed = connection;
        } else {
            http_connection_work(connection);
        }
        connection = next;
    }
}

const char *http_server_date(HttpServer *server)
{
    time_t now = (time_t)(clock_realtime(server->clock) / USEC_PER_SEC);
    struct tm parts;

    if (now != server->date_second || !*server->date) {
        server->date_second = now;
        if (!gmtime_r(&now, &parts) ||
            strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &parts) == 0)
            (void)string_copy(server->date, sizeof(server->date), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
    return server->date;
}

static void pooled_bytes(Random *random, void *destination, size_t size)
{
    RandomPool *pool = (RandomPool *)random; /* its first member */

    if (size > sizeof(pool->bytes)) {
        random_bytes(&system_random, destination, size);
        return;
    }
    if (pool->used + size > sizeof(pool->bytes)) {
        random_bytes(&system_random, pool->bytes, sizeof(pool->bytes));
        pool->used = 0;
    }
    memcpy(destination, pool->bytes + pool->used, size);
    pool->used += size;
}

HttpConnection *http_server_adopt(HttpServer *server, int descriptor, TlsGeneration *generation,
                                  uint16_t https_port, const struct sockaddr_storage *address)
{
    AddressKey key;
    char text[INET6_ADDRSTRLEN];
    SSL *session = NULL;

    address_describe(address, &key, text);
    bool is_counted = server->connection_count < server->limits.connections &&
                      address_table_add(server->addresses, &key, server->limits.connections_per_address);
    if (is_counted && generation)
        session = tls_generation_session(generation, descriptor);
    if (!is_counted || (generation && !session)) {
        if (is_counted)
            address_table_remove(server->addresses, &key);
        server->counters.refused++;
        (void)close(descriptor);
        return NULL;
    }

    HttpConnection *connection = NEW(HttpConnection);
    *connection = (HttpConnection){
        .kind = POLL_CONNECTION,
        .descriptor = descriptor,
        .interest = EPOLLIN | EPOLLRDHUP,
        .is_redirect = https_port > 0,
        .https_port = https_port,
        .server = server,
        .session = session,
        .peer = NEW(HttpPeer),
        .deadline = DEADLINE_NONE,
        .address = key,
        .all_next = server->connections,
    };
    atomic_init(&connection->peer->references, 1);
    (void)string_copy(connection->peer->address, sizeof(connection->peer->address), text);
    if (server->connections)
        server->connections->all_previous = connection;
    server->connections = connection;
    server->connection_count++;
    server->counters.accepted++;

    struct epoll_event event = {.events = connection->interest, .data.ptr = connection};
    http_connection_start(connection);
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, descriptor, &event) < 0) {
        http_connection_close(connection);
        return NULL;
    }
    arm_tick(server);
    return connection;
}

static void watch_listeners(HttpServer *server, bool is_watched)
{
    for (HttpListener *listener = server->listeners; listener; listener = listener->next) {
        struct epoll_event event = {.events = is_watched ? EPOLLIN : 0, .data.ptr = listener};
        if (listener->descriptor >= 0)
            (void)epoll_ctl(server->epoll, EPOLL_CTL_MOD, listener->descriptor, &event);
    }
    server->is_accepting_paused = !is_watched;
}

static void accept_some(HttpListener *listener)
{
    HttpServer *server = listener->server;
    static const int one = 1;

    for (unsigned i = 0; i < ACCEPTS_PER_EVENT && listener->descriptor >= 0; i++) {
        struct sockaddr_storage address = {0};
        socklen_t length = sizeof(address);
        int descriptor =
            accept4(listener->descriptor, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0) {
            /* Out of descriptors or memory: the next tick tries again, instead of a loop that spins. */
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                log_warning("cannot accept connections: %s", strerrordesc_np(errno));
                watch_listeners(server, false);
                arm_tick(server);
            }
            return;
        }
        (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        (void)http_server_adopt(server, descriptor, listener->generation, listener->https_port, &address);
    }
}

/* True when there may be more. */
static bool poll_batch(HttpServer *server)
{
    struct epoll_event events[EVENTS_PER_BATCH];
    int count = epoll_wait(server->epoll, events, EVENTS_PER_BATCH, 0);

    for (int i = 0; i < count; i++) {
        PollKind kind = *(const PollKind *)events[i].data.ptr;
        if (kind == POLL_CONNECTION)
            http_connection_event(events[i].data.ptr, events[i].events);
        else if (kind == POLL_LISTENER)
            accept_some(events[i].data.ptr);
        else
            deliver_queued(server);
    }
    free_closed(server);
    return count > 0;
}

static int on_epoll(sd_event_source *source, int descriptor, uint32_t events, void *userdata)
{
    HttpServer *server = userdata;

    for (unsigned i = 0; i < BATCHES_PER_DISPATCH && poll_batch(server); i++)
        continue;
    return 0;
}

/* Says that the drain is over, once, from the loop itself. */
static void check_drained(HttpServer *server)
{
    if (!server->is_draining || server->is_drained || server->connection_count > 0)
        return;
    server->is_drained = true;
    if (server->drained)
        server->drained(server->drained_userdata); /* may free the server */
}

static int on_work(sd_event_source *source, void *userdata)
{
    HttpServer *server = userdata;

    do_work(server);
    free_closed(server);
    check_drained(server);
    return 0;
}

static void expire(HttpServer *server)
{
    Usec now = clock_monotonic(server->clock);

    for (DeadlineClass class = 0; class < _DEADLINE_MAX; class ++) {
        DeadlineList *list = &server->deadlines[class];
        while (list->first && list->first->check_at <= now) {
            HttpConnection *connection = list->first;
            unlink_deadline(server, connection);
            http_connection_expire(connection);
        }
    }
    if (server->is_draining && now >= server->drain_until) {
        while (server->connections)
            http_connection_close(server->connections);
    }
    if (server->is_accepting_paused && !server->is_draining)
        watch_listeners(server, true);
}

static int on_tick(sd_event_source *source, uint64_t time, void *userdata)
{
    HttpServer *server = userdata;

    server->is_tick_armed = false;
    expire(server);
    free_closed(server);
    if (server->connection_count > 0 || server->is_accepting_paused)
        arm_tick(server);
    return 0;
}

void http_server_turn(HttpServer *server)
{
    for (unsigned i = 0; i < 1000 && (poll_batch(server) || server->work_first); i++)
        do_work(server);
    expire(server);
    do_work(server);
    free_closed(server);
}

static int add_sources(HttpServer *server)
{
    int r = sd_event_add_io(server->event, &server->epoll_source, server->epoll, EPOLLIN, on_epoll, server);

    if (r >= 0)
        r = sd_event_add_defer(server->event, &server->work_source, on_work, server);
    if (r >= 0)
        r = sd_event_source_set_enabled(server->work_source, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(server->event, &server->tick_source, CLOCK_MONOTONIC, 0, 1, on_tick,
                                       server);
    if (r >= 0)
        r = sd_event_source_set_enabled(server->tick_source, SD_EVENT_OFF);
    return r;
}

static int add_queue(HttpServer *server)
{
    HttpQueue *queue = server->queue = NEW(HttpQueue);

    queue->kind = POLL_QUEUE;
    queue->server = server;
    atomic_init(&queue->references, 1);
    (void)pthread_mutex_init(&queue->lock, NULL);
    queue->descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (queue->descriptor < 0)
        return -errno;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = queue};
    return epoll_ctl(server->epoll, EPOLL_CTL_ADD, queue->descriptor, &event) < 0 ? -errno : 0;
}

int http_server_new(sd_event *event, const Clock *clock, const HttpServerHandler *handler, void *userdata,
                    const HttpServerLimits *limits, HttpServer **ret_server, Error *error)
{
    static const HttpServerLimits no_limits = {0};
    HttpServer *server = NEW(HttpServer);
    int r;

    if (!limits)
        limits = &no_limits;
    server->event = sd_event_ref(event);
    server->clock = clock;
    server->handler = handler;
    server->userdata = userdata;
    server->limits = (HttpServerLimits){
        .connections = limits->connections ? limits->connections : 20000,
        .connections_per_address = limits->connections_per_address ? limits->connections_per_address : 256,
        .stream_queue = limits->stream_queue ? limits->stream_queue : 256 * (size_t)1024,
        .body_memory = limits->body_memory ? limits->body_memory : 256 * (size_t)1024 * 1024,
    };
    server->addresses = address_table_new();
    server->answer.limit = ANSWER_LIMIT;
    server->random = (RandomPool){.random.bytes = pooled_bytes, .used = sizeof(server->random.bytes)};
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    r = server->epoll < 0 ? -errno : add_queue(server);
    if (r >= 0)
        r = add_sources(server);
    if (r < 0) {
        http_server_free(server);
        return error_set_errno(error, ERROR_IO, -r, "cannot set up the HTTP server");
    }
    *ret_server = server;
    return 0;
}

static int make_address(const char *address, uint16_t port, struct sockaddr_storage *ret_address,
                        socklen_t *ret_length)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    *ret_address = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
        memcpy(ret_address, &v4, sizeof(v4));
        *ret_length = sizeof(v4);
        return 0;
    }
    if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1) {
        memcpy(ret_address, &v6, sizeof(v6));
        *ret_length = sizeof(v6);
        return 0;
    }
    return -EINVAL;
}

static uint16_t bound_port(int descriptor)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    struct sockaddr_in6 v6;

    if (getsockname(descriptor, (struct sockaddr *)&address, &length) < 0)
        return 0;
    memcpy(&v6, &address, sizeof(v6)); /* the port is at the same place in both families */
    return ntohs(v6.sin6_port);
}

static int open_listener(const char *address, uint16_t port, int *ret_descriptor)
{
    static const int one = 1;
    struct sockaddr_storage socket_address;
    socklen_t length;
    int r = make_address(address, port, &socket_address, &length);
    if (r < 0)
        return r;

    int descriptor = socket(socket_address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -errno;
    /* DEFER_ACCEPT would only hide the clients that say nothing from our limits. */
    if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(descriptor, (struct sockaddr *)&socket_address, length) < 0 ||
        listen(descriptor, LISTEN_BACKLOG) < 0) {
        r = -errno;
        (void)close(descriptor);
        return r;
    }
    *ret_descriptor = descriptor;
    return 0;
}

static int add_listener(HttpServer *server, const char *address, uint16_t port, TlsGeneration *generation,
                        uint16_t https_port, uint16_t *ret_port, Error *error)
{
    HttpListener *listener, **end = &server->listeners;
    int descriptor = -1;
    int r = open_listener(address, port, &descriptor);
    if (r == -EINVAL)
        return error_set(error, ERROR_CONFIGURATION, "%s is not a numeric address of this machine", address);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot listen on %s port %u", address, port);

    while (*end)
        end = &(*end)->next;
    *end = listener = NEW(HttpListener);
    *listener = (HttpListener){
        .kind = POLL_LISTENER,
        .descriptor = descriptor,
        .server = server,
        .generation = generation ? tls_generation_ref(generation) : NULL,
        .https_port = https_port,
    };
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = listener};
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, descriptor, &event) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot watch the listener on %s", address);
    if (ret_port)
        *ret_port = bound_port(descriptor);
    return 0;
}

int http_server_listen(HttpServer *server, const char *address, uint16_t port, TlsGeneration *generation,
                       uint16_t *ret_port, Error *error)
{
    ASSERT(generation);
    return add_listener(server, address, port, generation, 0, ret_port, error);
}

int http_server_listen_redirect(HttpServer *server, const char *address, uint16_t port, uint16_t https_port,
                                uint16_t *ret_port, Error *error)
{
    ASSERT(https_port > 0);
    return add_listener(server, address, port, NULL, https_port, ret_port, error);
}

void http_server_set_generation(HttpServer *server, unsigned index, TlsGeneration *generation)
{
    HttpListener *listener = server->listeners;

    while (index-- > 0 && listener)
        listener = listener->next;
    ASSERT(listener && listener->generation && generation);
    TlsGeneration *old = listener->generation;
    listener->generation = tls_generation_ref(generation);
    tls_generation_unref(old);
}

static void close_listeners(HttpServer *server)
{
    for (HttpListener *listener = server->listeners; listener; listener = listener->next) {
        if (listener->descriptor >= 0)
            (void)close(listener->descriptor);
        listener->descriptor = -1;
    }
}

void http_server_drain(HttpServer *server, Usec grace, void (*drained)(void *userdata), void *userdata)
{
    HttpConnection *next;

    ASSERT(!server->is_draining);
    server->is_draining = true;
    server->drain_until = clock_monotonic(server->clock) + grace;
    server->drained = drained;
    server->drained_userdata = userdata;
    close_listeners(server);
    for (HttpConnection *connection = server->connections; connection; connection = next) {
        next = connection->all_next;
        http_connection_drain(connection);
    }
    arm_tick(server);
    (void)sd_event_source_set_enabled(server->work_source, SD_EVENT_ONESHOT);
}

unsigned http_server_connection_count(const HttpServer *server)
{
    return server->connection_count;
}

HttpServerCounters http_server_counters(const HttpServer *server)
{
    return server->counters;
}

static void free_queue(HttpServer *server)
{
    HttpQueue *queue = server->queue;

    if (!queue)
        return;
    (void)pthread_mutex_lock(&queue->lock);
    queue->server = NULL; /* from now on whoever answers frees */
    (void)pthread_mutex_unlock(&queue->lock);
    for (HttpExchange *exchange = queue_take(queue); exchange;) {
        HttpExchange *next = exchange->queue_next;
        http_exchange_free(exchange, server);
        exchange = next;
    }
    http_queue_unref(queue);
}

HttpServer *http_server_free(HttpServer *server)
{
    if (!server)
        return NULL;
    while (server->connections)
        http_connection_close(server->connections);
    do_work(server);
    free_closed(server);
    free_queue(server);
    close_listeners(server);
    while (server->listeners) {
        HttpListener *listener = server->listeners;
        server->listeners = listener->next;
        tls_generation_unref(listener->generation);
        free(listener);
    }
    sd_event_source_disable_unref(server->epoll_source);
    sd_event_source_disable_unref(server->work_source);
    sd_event_source_disable_unref(server->tick_source);
    sd_event_unref(server->event);
    if (server->epoll >= 0)
        (void)close(server->epoll);
    address_table_free(server->addresses);
    buffer_done(&server->answer);
    free(server);
    return NULL;
}
