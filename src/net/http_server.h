/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The HTTPS server: HTTP/1.1 as RFC 9112 has it, strictly, over OpenSSL, on a nested epoll below the
 * program's sd-event loop. All functions belong to the loop's thread but http_exchange_post(),
 * http_exchange_resume() and http_exchange_is_abandoned(), which any thread that holds the exchange may call.
 * A request is given to the handler once its head is read and its body complete (bounded by the handler's
 * limit); the handler answers at once or later, from any thread, exactly once.
 *
 * Absolute deadlines: handshake 10 s, head 10 s, body by minimum rate, handler 30 s unless streaming or
 * marked waiting, idle keep-alive 75 s, stalled write 30 s. One request of a connection is in flight at a
 * time; pipelined ones wait in the socket.
 *
 * Every answer carries X-Request-Id, Strict-Transport-Security, X-Content-Type-Options, Cache-Control:
 * no-store, a Content-Security-Policy that allows nothing, Referrer-Policy and Date;
 * http_exchange_set_header() replaces the default of the same name. */

#include <openssl/ssl.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "net/http_method.h"

typedef struct HttpServer HttpServer;
typedef struct HttpExchange HttpExchange; /* one request and its answer */
typedef struct HttpStream HttpStream;     /* a server-sent event stream that an exchange became */

/* All strings are borrowed from the exchange and live as long as it. */
typedef struct HttpRequest {
    HttpMethod method;
    const char *path;  /* percent-decoded once; no dot segments, no NUL; starts with '/' */
    const char *query; /* raw, without '?'; "" when absent */
    const char *body;
    size_t body_size;
    const char *remote_address; /* numeric, without port */
    const char *request_id;     /* random, also sent as X-Request-Id */
    const char *peer_uri;       /* first URI SAN of a verified client certificate, or NULL */
    const char *peer_serial;    /* its serial, lower-case hex, or NULL */
} HttpRequest;

const HttpRequest *http_exchange_request(const HttpExchange *exchange);
/* Case-insensitive name; NULL when absent. Repeated fields that are not lists are refused by the parser. */
const char *http_exchange_header(const HttpExchange *exchange, const char *name);
/* Decoded query parameter, the index-th of that name; NULL when absent. Bad escapes were refused before. */
const char *http_exchange_query(HttpExchange *exchange, const char *name, unsigned index);
/* Iterates over all query parameters; false at the end. */
bool http_exchange_query_at(HttpExchange *exchange, unsigned index, const char **ret_name,
                            const char **ret_value);
/* Freed with the exchange. Used by the loop's thread until the handler hands the exchange to another, then by
 * that. */
Arena *http_exchange_arena(HttpExchange *exchange);

/* True once the client is gone or its deadline has passed: an answer would reach nobody. Any thread. */
bool http_exchange_is_abandoned(const HttpExchange *exchange);

/* The answer. Set status and headers, then finish with the body; from the thread that holds the exchange. */
/* A value with control characters, and the framing fields, are left out with an error in the log. */
void http_exchange_set_header(HttpExchange *exchange, const char *name, const char *value);
/* Copies the body; loop thread only. The exchange is invalid afterwards. */
void http_exchange_reply(HttpExchange *exchange, int status, const char *content_type, const void *body,
                         size_t size);
/* As above from any thread: the answer is queued to the loop. The exchange is invalid afterwards. */
void http_exchange_post(HttpExchange *exchange, int status, const char *content_type, const void *body,
                        size_t size);
/* From any thread: has `resume` called with the exchange on the loop's thread, which then holds it. When the
 * server is gone, the exchange is freed and `resume` never called. */
typedef void (*HttpExchangeResume)(HttpExchange *exchange, void *userdata);
void http_exchange_resume(HttpExchange *exchange, HttpExchangeResume resume, void *userdata);
/* For long polls: lifts the handler deadline to the given time from now. Holder's thread. */
void http_exchange_set_deadline(HttpExchange *exchange, Usec from_now);

/* Turns the exchange into a text/event-stream. Loop thread. `closed` is called once on the loop's thread when
 * the client is gone, was too slow (its queue overflowed), or the server drains; the stream is then invalid.
 * It is never called from inside http_stream_send(), and not after http_stream_close(). NULL when the client
 * has gone meanwhile; either way the exchange is invalid afterwards, but its request stays readable until
 * `closed` returns. */
typedef void (*HttpStreamClosed)(HttpStream *stream, void *userdata);
HttpStream *http_exchange_start_stream(HttpExchange *exchange, HttpStreamClosed closed, void *userdata);
/* Queues one event (id 0 = none; data may have several lines). -ENOBUFS when the client is too slow: the
 * stream will close with a resumable id. Loop thread. */
int http_stream_send(HttpStream *stream, uint64_t id, const char *event, const char *data);
/* The request that became this stream; as long as the stream. */
const HttpRequest *http_stream_request(const HttpStream *stream);
/* Bytes queued and not yet written. */
size_t http_stream_backlog(const HttpStream *stream);
void http_stream_close(HttpStream *stream);

typedef struct HttpServerHandler {
    /* The head is complete: the body limit in bytes for this method and path (0 = no body allowed, -1 =
     * default 1 MiB). Must be pure and quick. */
    ssize_t (*body_limit)(HttpMethod method, const char *path, void *userdata);
    /* The request is complete. */
    void (*handle)(HttpExchange *exchange, void *userdata);
    /* One line for the access log; may be NULL. */
    void (*done)(const HttpRequest *request, int status, size_t sent, Usec duration, void *userdata);
} HttpServerHandler;

/* A generation of TLS settings: chain, key, client CA. Counted; swapped as a whole; old connections keep
 * theirs. */
typedef struct TlsGeneration TlsGeneration;
typedef struct TlsServerSettings {
    const char *certificate_file, *key_file; /* PEM */
    const char *client_ca_file;              /* NULL = no client certificates */
    bool is_client_certificate_required;
} TlsServerSettings;
int tls_generation_new(const TlsServerSettings *settings, TlsGeneration **ret_generation, Error *error);
/* Any thread. */
TlsGeneration *tls_generation_ref(TlsGeneration *generation);
TlsGeneration *tls_generation_unref(TlsGeneration *generation);

typedef struct HttpServerLimits {
    unsigned connections;             /* in all; 0 = 20,000 */
    unsigned connections_per_address; /* 0 = 256 */
    size_t stream_queue;              /* bytes queued per stream; 0 = 256 KiB */
    size_t body_memory;               /* bytes of request bodies held at a time, in all; 0 = 256 MiB */
} HttpServerLimits;

int http_server_new(sd_event *event, const Clock *clock, const HttpServerHandler *handler, void *userdata,
                    const HttpServerLimits *limits, HttpServer **ret_server, Error *error);
/* Listens on a numeric address and port ("127.0.0.1", "::"); port 0 = any. The generation is borrowed
 * (counted). */
int http_server_listen(HttpServer *server, const char *address, uint16_t port, TlsGeneration *generation,
                       uint16_t *ret_port, Error *error);
/* A plain listener that answers every request with 308 to https on the given port, and does nothing else. */
int http_server_listen_redirect(HttpServer *server, const char *address, uint16_t port, uint16_t https_port,
                                uint16_t *ret_port, Error *error);
/* New connections of that listener (index in order of listen calls) use the new generation. */
void http_server_set_generation(HttpServer *server, unsigned listener, TlsGeneration *generation);
/* Stops accepting, answers what is in flight with Connection: close, ends streams; `drained` is called once
 * on the loop when all are gone; those that are left when the grace (from now) is over are cut off. */
void http_server_drain(HttpServer *server, Usec grace, void (*drained)(void *userdata), void *userdata);
typedef struct HttpServerCounters {
    uint64_t accepted, refused; /* connections; refused = over a limit */
    uint64_t handshakes_failed;
    uint64_t requests;
    uint64_t faults;          /* requests that broke a rule of the protocol */
    uint64_t timeouts;        /* cut off by a deadline */
    uint64_t streams_dropped; /* subscribers that were too slow */
} HttpServerCounters;
HttpServerCounters http_server_counters(const HttpServer *server);
unsigned http_server_connection_count(const HttpServer *server);
HttpServer *http_server_free(HttpServer *server);
DEFINE_CLEANUP(HttpServer, http_server_free);
DEFINE_CLEANUP(TlsGeneration, tls_generation_unref);
