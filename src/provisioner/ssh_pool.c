/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/ssh_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/file.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/string.h"
#include "provisioner/ssh_session.h"

enum { EVENTS_MAX = 256, TICK_MS = 250, TICK_CONNECTING_MS = 50 };

typedef enum OrderKind { ORDER_REQUEST, ORDER_RENEW } OrderKind;

/* What other threads ask of the pool's thread. */
typedef struct Order Order;
struct Order {
    Order *next;
    OrderKind kind;
    char *key, *address, *user; /* owned */
    uint16_t port;
    StringList host_keys;
    SshCredential *credential;
    Buffer frame;
    SshRequest *request;
};

struct SshPool {
    SshPoolSettings settings;
    char *holder;
    pthread_t thread;
    int epoll, wake;
    pthread_mutex_t mutex;
    Order *orders, **orders_end; /* below the mutex */
    bool is_stopping;            /* below the mutex */
    atomic_uint count;
    /* The pool's thread only: */
    StringMap *by_key; /* Session *, borrowed: those that take requests */
    Session **sessions;
    size_t session_count, session_capacity;
};

/* --- orders --- */

static char *node_key(const SshNode *node)
{
    _cleanup_buffer_ Buffer key = BUFFER_INIT;
    (void)buffer_append_format(&key, "%s|%u|%s", node->address, node->port, node->user);
    for (size_t i = 0; i < node->host_key_count; i++)
        (void)buffer_append_format(&key, "|%s", node->host_keys[i]);
    return buffer_take_string(&key);
}

static Order *order_new(OrderKind kind, const SshNode *node)
{
    Order *order = NEW(Order);
    order->kind = kind;
    order->key = node_key(node);
    order->address = string_duplicate(node->address);
    order->user = string_duplicate(node->user);
    order->port = node->port;
    for (size_t i = 0; i < node->host_key_count; i++)
        string_list_append(&order->host_keys, node->host_keys[i]);
    return order;
}

static void order_free(Order *order)
{
    free(order->key);
    free(order->address);
    free(order->user);
    string_list_done(&order->host_keys);
    ssh_credential_unref(order->credential);
    buffer_wipe(&order->frame);
    free(order);
}

static void give_order(SshPool *pool, Order *order)
{
    (void)pthread_mutex_lock(&pool->mutex);
    *pool->orders_end = order;
    pool->orders_end = &order->next;
    (void)pthread_mutex_unlock(&pool->mutex);
    (void)write_full(pool->wake, &(uint64_t){1}, sizeof(uint64_t));
}

void ssh_pool_request(SshPool *pool, const SshNode *node, SshCredential *credential, Buffer *frame,
                      Usec timeout, SshCallback callback, void *userdata)
{
    Order *order = order_new(ORDER_REQUEST, node);
    order->credential = ssh_credential_ref(credential);
    order->frame = *frame;
    *frame = BUFFER_INIT;
    order->request = NEW(SshRequest);
    *order->request = (SshRequest){.timeout = timeout, .callback = callback, .userdata = userdata};
    give_order(pool, order);
}

void ssh_pool_renew(SshPool *pool, const SshNode *node)
{
    give_order(pool, order_new(ORDER_RENEW, node));
}

unsigned ssh_pool_count(const SshPool *pool)
{
    return pool->count;
}

/* --- sessions, on the pool's thread --- */

static void end_request(SshRequest *request, ErrorCode code, const char *text)
{
    Error error = ERROR_INIT;
    (void)error_set(&error, code, "%s", text);
    SshEvent event = {.error = &error, .is_last = true};
    request->callback(&event, request->userdata);
    free(request);
}

static void drop_session(SshPool *pool, size_t index, const Error *error)
{
    Session *session = pool->sessions[index];
    if (session->socket >= 0)
        (void)epoll_ctl(pool->epoll, EPOLL_CTL_DEL, session->socket, NULL);
    if (string_map_get(pool->by_key, session->key) == session)
        (void)string_map_take(pool->by_key, session->key);
    pool->sessions[index] = pool->sessions[--pool->session_count];
    pool->count = (unsigned)pool->session_count;
    session_end_requests(session, error);
    session_free(session);
}

static void watch(SshPool *pool, Session *session)
{
    uint32_t events = session_events(session);
    if (events == session->watched || session->socket < 0)
        return;
    struct epoll_event event = {.events = events, .data.ptr = session};
    int operation = session->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(pool->epoll, operation, session->socket, &event) < 0 && !session->has_failed) {
        (void)error_set_errno(&session->failure, ERROR_IO, errno, "cannot watch a connection");
        session->has_failed = true;
    }
    session->watched = events;
}

/* Room for one more: the session that has been idle longest goes. */
static bool make_room(SshPool *pool)
{
    if (pool->session_count < pool->settings.sessions_max)
        return true;
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < pool->session_count; i++)
        if (!pool->sessions[i]->requests &&
            (found == SIZE_MAX || pool->sessions[i]->idle < pool->sessions[found]->idle))
            found = i;
    if (found == SIZE_MAX)
        return false;
    drop_session(pool, found, NULL);
    return true;
}

static Session *open_session(SshPool *pool, const Order *order, Usec now)
{
    if (!make_room(pool))
        return NULL;
    const char **host_keys = NEW_ARRAY(const char *, order->host_keys.count + 1);
    for (size_t i = 0; i < order->host_keys.count; i++)
        host_keys[i] = order->host_keys.items[i];
    SshNode node = {.address = order->address,
                    .port = order->port,
                    .user = order->user,
                    .host_keys = host_keys,
                    .host_key_count = order->host_keys.count};
    Session *session = session_new(order->key, &node, order->credential, &pool->settings, now);
    free(host_keys);
    if (pool->session_count == pool->session_capacity) {
        pool->session_capacity = MAX(pool->session_capacity * 2, (size_t)64);
        pool->sessions = memory_resize_array(pool->sessions, pool->session_capacity, sizeof(*pool->sessions));
    }
    pool->sessions[pool->session_count++] = session;
    pool->count = (unsigned)pool->session_count;
    string_map_set(pool->by_key, session->key, session);
    return session;
}

static void take_request(SshPool *pool, Order *order, Usec now)
{
    Session *session = string_map_get(pool->by_key, order->key);
    if (!session || session->has_failed)
        session = open_session(pool, order, now);
    if (!session) {
        end_request(order->request, ERROR_BUSY, "all SSH sessions are in use");
        return;
    }
    session_add(session, order->request, &order->frame, now);
    session_step(session, now);
    watch(pool, session);
}

static void take_order(SshPool *pool, Order *order, Usec now)
{
    if (order->kind == ORDER_REQUEST)
        take_request(pool, order, now);
    else {
        Session *session = string_map_take(pool->by_key, order->key);
        if (session)
            session->is_retired = true;
    }
    order_free(order);
}

static void take_orders(SshPool *pool, Usec now)
{
    (void)pthread_mutex_lock(&pool->mutex);
    Order *orders = pool->orders;
    pool->orders = NULL;
    pool->orders_end = &pool->orders;
    (void)pthread_mutex_unlock(&pool->mutex);
    while (orders) {
        Order *order = orders;
        orders = order->next;
        take_order(pool, order, now);
    }
}

/* Ends sessions that failed, are retired and free, or were idle for too long. */
static void sweep(SshPool *pool, Usec now)
{
    for (size_t i = 0; i < pool->session_count;) {
        Session *session = pool->sessions[i];
        bool is_idle =
            !session->requests && (session->is_retired || now >= session->idle + pool->settings.idle_timeout);
        if (session->has_failed || is_idle)
            drop_session(pool, i, &session->failure);
        else
            i++;
    }
}

static bool tick(SshPool *pool, Usec now)
{
    bool is_connecting = false;
    for (size_t i = 0; i < pool->session_count; i++) {
        Session *session = pool->sessions[i];
        session_tick(session, now);
        /* libssh does not always say what it waits for while it connects. */
        if (session->state < SESSION_READY) {
            session_step(session, now);
            is_connecting = session->state < SESSION_READY || is_connecting;
        } else if (session->outgoing.size > 0)
            session_step(session, now);
        watch(pool, session);
    }
    return is_connecting;
}

static bool is_stopping(SshPool *pool)
{
    (void)pthread_mutex_lock(&pool->mutex);
    bool result = pool->is_stopping;
    (void)pthread_mutex_unlock(&pool->mutex);
    return result;
}

static void *pool_main(void *argument)
{
    SshPool *pool = argument;
    Usec next_tick = 0;
    struct epoll_event events[EVENTS_MAX];
    while (!is_stopping(pool)) {
        Usec now = clock_monotonic(&system_clock);
        int wait = now >= next_tick ? 0 : (int)((next_tick - now) / USEC_PER_MSEC) + 1;
        int count = epoll_wait(pool->epoll, events, EVENTS_MAX, wait);
        now = clock_monotonic(&system_clock);
        bool is_woken = false;
        for (int i = 0; i < count; i++) {
            Session *session = events[i].data.ptr;
            if (!session) {
                is_woken = true;
                continue;
            }
            session_step(session, now);
            watch(pool, session);
        }
        if (is_woken) {
            (void)read_full(pool->wake, &(uint64_t){0}, sizeof(uint64_t));
            take_orders(pool, now);
        }
        if (now >= next_tick)
            next_tick = now + (tick(pool, now) ? TICK_CONNECTING_MS : TICK_MS) * USEC_PER_MSEC;
        sweep(pool, now);
    }
    return NULL;
}

/* --- life --- */

static void set_defaults(SshPoolSettings *settings)
{
    if (settings->sessions_max == 0)
        settings->sessions_max = 1024;
    if (settings->connect_timeout == 0)
        settings->connect_timeout = 15 * USEC_PER_SEC;
    if (settings->idle_timeout == 0)
        settings->idle_timeout = 300 * USEC_PER_SEC;
    if (settings->ping_interval == 0)
        settings->ping_interval = 15 * USEC_PER_SEC;
}

int ssh_pool_new(const SshPoolSettings *settings, SshPool **ret_pool, Error *error)
{
    if (ssh_init() != SSH_OK)
        return error_set(error, ERROR_INTERNAL, "libssh cannot be set up");
    SshPool *pool = NEW(SshPool);
    pool->settings = *settings;
    set_defaults(&pool->settings);
    pool->settings.holder = pool->holder = string_duplicate(settings->holder);
    pool->orders_end = &pool->orders;
    (void)pthread_mutex_init(&pool->mutex, NULL);
    pool->by_key = string_map_new(NULL);
    pool->epoll = epoll_create1(EPOLL_CLOEXEC);
    pool->wake = eventfd(0, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    int r = 0;
    if (pool->epoll < 0 || pool->wake < 0 || epoll_ctl(pool->epoll, EPOLL_CTL_ADD, pool->wake, &event) < 0)
        r = error_set_errno(error, ERROR_IO, errno, "cannot set the SSH pool up");
    if (r >= 0) {
        int failure = pthread_create(&pool->thread, NULL, pool_main, pool);
        if (failure != 0)
            r = error_set_errno(error, ERROR_INTERNAL, failure, "cannot start the SSH thread");
    }
    if (r < 0) {
        close_pointer(&pool->epoll);
        close_pointer(&pool->wake);
        string_map_free(pool->by_key);
        free(pool->holder);
        free(pool);
        return r;
    }
    *ret_pool = pool;
    return 0;
}

SshPool *ssh_pool_free(SshPool *pool)
{
    (void)pthread_mutex_lock(&pool->mutex);
    pool->is_stopping = true;
    (void)pthread_mutex_unlock(&pool->mutex);
    (void)write_full(pool->wake, &(uint64_t){1}, sizeof(uint64_t));
    (void)pthread_join(pool->thread, NULL);
    Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_CANCELLED, "the provisioner is stopping");
    while (pool->session_count > 0)
        drop_session(pool, 0, &error);
    while (pool->orders) {
        Order *order = pool->orders;
        pool->orders = order->next;
        if (order->request)
            end_request(order->request, ERROR_CANCELLED, "the provisioner is stopping");
        order_free(order);
    }
    string_map_free(pool->by_key);
    free(pool->sessions);
    (void)close(pool->epoll);
    (void)close(pool->wake);
    (void)pthread_mutex_destroy(&pool->mutex);
    free(pool->holder);
    free(pool);
    return NULL;
}
