/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How the parts of the HTTP server see each other; private to net (and its tests). All on the loop's thread
 * unless said.
 *
 * Theory of operation. The server has an epoll of its own below sd-event (dispatching through sd-event costs
 * more with every ready descriptor) and drains it in batches. Every connection is in one state; a state has a
 * class of deadline, and as all members of a class have the same period, each class is a FIFO list: the
 * oldest stands in front and one tick looks at the fronts only. Deadlines that depend on progress are looked
 * at again every second (DEADLINE_RECHECK).
 *
 * A connection reads only in the states that want bytes. Bytes go from the server's one scratch buffer
 * straight into the parser; only an incomplete rest is kept with the connection, so an idle connection owns
 * no buffer. An exchange is made when a head is whole and holds everything the handler sees; when the client
 * goes away, the exchange is abandoned: it lives on with its holder, and the answer goes nowhere.
 *
 * Nothing is freed while events may point at it: closed connections wait in a list for the end of the
 * dispatch. What has to happen later on the loop (flushing streams, going on with buffered bytes) is queued
 * as work, for which a deferred source of sd-event is switched on. */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "base/buffer.h"
#include "net/address_table.h"
#include "net/http_parse.h"
#include "net/http_server.h"

typedef struct HttpConnection HttpConnection;

/* What the data pointer of an epoll event points at begins with this. */
typedef enum PollKind { POLL_CONNECTION, POLL_LISTENER, POLL_QUEUE } PollKind;

typedef enum ConnectionState {
    CONNECTION_HANDSHAKE,
    CONNECTION_IDLE,    /* between requests; no byte of the next one */
    CONNECTION_HEAD,    /* part of a head has come */
    CONNECTION_BODY,    /* part of a body is missing */
    CONNECTION_HANDLER, /* the handler, or who it handed the exchange to, owes an answer */
    CONNECTION_ANSWER,  /* the rest of an answer waits for the socket */
    CONNECTION_STREAM,
    CONNECTION_LINGER, /* all is said; what the client still sends is dropped, so that no reset eats the
                          answer */
    CONNECTION_CLOSED,
    _CONNECTION_STATE_MAX,
} ConnectionState;

typedef enum DeadlineClass {
    DEADLINE_HANDSHAKE,
    DEADLINE_HEAD,
    DEADLINE_BODY,
    DEADLINE_HANDLER,
    DEADLINE_IDLE,
    DEADLINE_WRITE,
    DEADLINE_STREAM,
    DEADLINE_LINGER,
    DEADLINE_RECHECK,
    _DEADLINE_MAX,
    DEADLINE_NONE = _DEADLINE_MAX,
} DeadlineClass;

/* Who is at the other end; counted, since exchanges may outlive their connection. */
typedef struct HttpPeer {
    atomic_uint references;
    char address[INET6_ADDRSTRLEN];
    char *uri, *serial; /* owned, or NULL */
} HttpPeer;

struct HttpConnection {
    PollKind kind;
    ConnectionState state;
    int descriptor;
    uint32_t interest; /* epoll events asked for */
    bool is_redirect;
    uint16_t https_port;  /* where redirects go */
    bool is_keep_alive;   /* of the answer being made */
    bool is_processing;   /* inside connection_process(): do not enter it again */
    bool is_failed;       /* the TLS session is broken: no more calls into it */
    bool is_write_wanted; /* TLS must write before it can go on */
    bool is_queued;
    HttpServer *server;
    SSL *session; /* NULL: plain */
    HttpPeer *peer;
    HttpExchange *exchange; /* being read or handled */
    HttpStream *stream;
    Buffer input;    /* what the parser could not use yet */
    size_t scanned;  /* of input, by http_head_find() */
    Buffer output;   /* what the socket did not take yet */
    size_t written;  /* of output */
    size_t moved;    /* bytes read or written in this state, for the minimum rates */
    Usec entered;    /* when the state began */
    Usec progressed; /* last byte moved */
    Usec check_at;
    DeadlineClass deadline;
    AddressKey address;
    HttpConnection *deadline_next, *deadline_previous;
    HttpConnection *all_next, *all_previous;
    HttpConnection *work_next; /* also links closed ones */
};

typedef struct HttpQueue HttpQueue;

enum { HTTP_DEFAULT_HEADERS = 5 };

struct HttpExchange {
    HttpRequest request;
    HttpConnection *connection; /* NULL once abandoned; loop thread only */
    HttpQueue *queue;           /* counted */
    HttpPeer *peer;             /* counted */
    const Clock *clock;         /* outlives the server */
    atomic_bool is_abandoned;
    _Atomic Usec deadline; /* absolute */
    Usec started;
    char request_id[24];
    Arena *arena; /* made at first use */
    Buffer body;
    ssize_t body_limit;
    size_t body_counted; /* of the server's body_memory */
    HttpChunked chunked;
    Buffer headers;            /* of the answer, as on the wire */
    unsigned replaced_headers; /* bit per default header */
    bool is_query_parsed;
    unsigned query_count;
    struct HttpQueryPair *query;
    /* For the queue. */
    HttpExchange *queue_next;
    HttpExchangeResume resume;
    void *resume_userdata;
    int answer_status;
    char answer_type[128];
    Buffer answer;
    HttpHead head;
    char head_bytes[]; /* the head, cut into terminated strings */
};

struct HttpStream {
    HttpConnection *connection;
    HttpExchange *exchange;
    HttpStreamClosed closed;
    void *userdata;
    size_t sent;
    Usec last_sent;
    bool is_ending; /* dropped or drained: told so at the next dispatch */
    unsigned retry_seconds;
};

/* Answers from other threads. Counted: exchanges hold it, so it outlives the server. */
struct HttpQueue {
    PollKind kind;
    atomic_uint references;
    int descriptor; /* eventfd */
    pthread_mutex_t lock;
    HttpExchange *first, *last; /* under lock */
    HttpServer *server;         /* NULL once the server is gone; under lock for other threads */
};

typedef struct HttpListener {
    PollKind kind;
    int descriptor;
    HttpServer *server;
    TlsGeneration *generation; /* NULL: redirects */
    uint16_t https_port;
    struct HttpListener *next;
} HttpListener;

typedef struct DeadlineList {
    HttpConnection *first, *last;
} DeadlineList;

/* Random bytes fetched by the kilobyte. */
typedef struct RandomPool {
    Random random;
    size_t used;
    uint8_t bytes[1024];
} RandomPool;

struct HttpServer {
    sd_event *event;
    const Clock *clock;
    const HttpServerHandler *handler;
    void *userdata;
    HttpServerLimits limits;
    HttpServerCounters counters;
    int epoll;
    sd_event_source *epoll_source, *work_source, *tick_source;
    HttpListener *listeners;
    HttpQueue *queue;
    AddressTable *addresses;
    HttpConnection *connections, *work_first, *work_last, *closed;
    unsigned connection_count;
    DeadlineList deadlines[_DEADLINE_MAX];
    size_t body_memory;
    bool is_tick_armed, is_accepting_paused, is_draining, is_drained;
    Usec drain_until;
    void (*drained)(void *userdata);
    void *drained_userdata;
    time_t date_second;
    char date[32]; /* "Sun, 22 Nov 2026 10:00:00 GMT" */
    RandomPool random;
    Buffer answer; /* the answer being made */
    char scratch[HTTP_HEAD_LIMIT];
};

/* http_server.c */
/* Takes the descriptor. A session of the generation, or plain when NULL (redirects, which have an https_port,
 * and the fuzz target's pipe). NULL when over a limit; the descriptor is closed then. */
HttpConnection *http_server_adopt(HttpServer *server, int descriptor, TlsGeneration *generation,
                                  uint16_t https_port, const struct sockaddr_storage *address);
void http_server_queue_work(HttpServer *server, HttpConnection *connection);
void http_server_set_deadline(HttpServer *server, HttpConnection *connection, DeadlineClass class);
/* Takes the connection out of all lists but the closed one. */
void http_server_forget(HttpServer *server, HttpConnection *connection);
const char *http_server_date(HttpServer *server);
/* Handles what is ready now, queued work and deadlines, without the loop: for tests. */
void http_server_turn(HttpServer *server);
void http_queue_push(HttpExchange *exchange);
HttpQueue *http_queue_ref(HttpQueue *queue);
void http_queue_unref(HttpQueue *queue);
HttpPeer *http_peer_ref(HttpPeer *peer);
void http_peer_unref(HttpPeer *peer);

/* http_connection.c */
void http_connection_start(HttpConnection *connection);
void http_connection_event(HttpConnection *connection, uint32_t events);
/* Queued work: streams to flush or end, bytes that TLS holds back. */
void http_connection_work(HttpConnection *connection);
void http_connection_expire(HttpConnection *connection);
void http_connection_drain(HttpConnection *connection);
/* Ends it at once; an exchange is abandoned, a stream told. */
void http_connection_close(HttpConnection *connection);
void http_connection_free(HttpConnection *connection);
/* The answer of the exchange in flight. */
void http_connection_answer(HttpConnection *connection, const void *data, size_t size);
/* Streams: queue bytes, and what comes after they are flushed. */
int http_connection_append(HttpConnection *connection, const void *data, size_t size);
void http_connection_finish(HttpConnection *connection);
void http_connection_become_stream(HttpConnection *connection, HttpStream *stream);
static inline size_t http_connection_backlog(const HttpConnection *connection)
{
    return connection->output.size - connection->written;
}

/* http_exchange.c */
/* From the head's bytes; *ret_fault says why not (NULL is returned then). */
HttpExchange *http_exchange_new(HttpConnection *connection, const char *head, size_t size,
                                HttpFault *ret_fault);
/* server NULL: it is gone. */
void http_exchange_free(HttpExchange *exchange, HttpServer *server);
void http_exchange_abandon(HttpExchange *exchange);
/* Appends body bytes: 0, -E2BIG over the exchange's limit, -ENOMEM over the server's memory for bodies. */
int http_exchange_append_body(HttpExchange *exchange, const void *data, size_t size);
/* The exchange was answered from another thread. */
void http_exchange_deliver(HttpExchange *exchange, HttpServer *server);
/* Writes the answer to a request that never became an exchange, or whose time is over, into server->answer.
 */
void http_answer_fault(HttpConnection *connection, int status, const char *text, const char *request_id);
void http_answer_redirect(HttpConnection *connection, const char *head_bytes, const HttpHead *head,
                          uint16_t port);

/* http_stream.c */
void http_stream_tick(HttpStream *stream, Usec now);
/* At the next dispatch after it was dropped or drained. */
void http_stream_end(HttpStream *stream);
/* The connection is gone: tells the owner and frees. */
void http_stream_gone(HttpStream *stream);
void http_stream_drain(HttpStream *stream);
