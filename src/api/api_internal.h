/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of this folder share: the API object, its pool of threads, its way back to the loop, and the
 * life of a call. */

#include <pthread.h>
#include <stdatomic.h>

#include "api/access_cache.h"
#include "api/api.h"
#include "api/credentials.h"
#include "api/policies.h"
#include "api/route.h"
#include "base/map.h"
#include "base/secret.h"

enum { API_POOL_QUEUE_MAX = 4096, API_PAGE_DEFAULT = 100, API_PAGE_MAX = 1000 };

typedef void (*ApiWork)(Api *api, void *context);

typedef struct WorkItem WorkItem;
struct WorkItem {
    WorkItem *next;
    ApiWork work;
    void *context;
};

typedef struct WorkQueue {
    WorkItem *head, *tail;
    unsigned count;
} WorkQueue;

typedef struct ApiPool {
    pthread_t *threads;
    unsigned thread_count;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    WorkQueue queue;
    bool is_stopping;
} ApiPool;

typedef struct PollList PollList;     /* long polls of provisioners: polls.c */
typedef struct StreamList StreamList; /* event streams: stream.c */
typedef struct SignInGuard SignInGuard;
typedef struct RateLimiter RateLimiter;
typedef struct DirectorySync DirectorySync;
typedef struct KeysCare KeysCare; /* rotation, sealed keeper: keys_care.c */

struct Api {
    ApiSettings settings;
    Engine *engine;
    AccessCache *access_cache;
    PolicyBook *policies;
    SignInGuard *sign_in_guard;
    RateLimiter *rate_limiter;
    Directory *directory; /* borrowed; NULL = none */
    DirectorySync *directory_sync;
    Kerberos *kerberos; /* borrowed; NULL = none */
    _Atomic(int64_t) tokens_purged_at;
    ApiPool pool;
    /* Work for the loop's thread. */
    pthread_mutex_t loop_lock;
    WorkQueue loop_queue;
    int loop_descriptor; /* eventfd */
    sd_event_source *loop_source, *timer_source;
    PollList *polls;
    StreamList *streams;
    KeysCare *keys;
    bool is_draining;
    /* Connections to the keeper, one a pool thread at a time. */
    pthread_mutex_t keeper_lock;
    KeeperClient **keepers;
    unsigned keeper_count;
    uint8_t signing_key[32];
    bool has_signing_key;
    int sandbox_reserved;
};

/* pool.c */
int pool_start(Api *api, unsigned threads);
/* Finishes what is queued; afterwards pool_submit() answers -EAGAIN. */
void pool_stop(Api *api);
void pool_free(Api *api);
/* -EAGAIN when the queue is full. */
int pool_submit(Api *api, ApiWork work, void *context);
/* Runs on the loop's thread soon. Any thread. */
void loop_post(Api *api, ApiWork work, void *context);
int loop_attach(Api *api);
void loop_detach(Api *api);

/* keeper.c: borrow a connection; give it back. */
KeeperClient *keeper_take(Api *api, Error *error);
void keeper_give(Api *api, KeeperClient *client);

/* call.c */
ApiCall *api_call_new(Api *api, HttpExchange *exchange);
/* proxy: the name of the trusted proxy that sent it, or NULL. */
void api_call_begin(Api *api, HttpExchange *exchange, const ApiRoute *const *tables, const char *base,
                    const char *proxy);
/* Frees the call alone: its exchange became a stream. */
void api_call_release(ApiCall *call);
/* Answers and frees the call. Any thread. */
void api_call_finish(ApiCall *call, int result);
/* Runs the handler of a pool route's inner job, audited when the route says so. For handlers on pool threads.
 */
typedef int (*ApiJob)(ApiCall *call, void *context, Error *error);
int api_call_run(ApiCall *call, StoreAccess access, ApiJob job, void *context, Error *error);

/* authenticate.c */
/* In a job: fills the principal of the call from a token or a session. */
int authenticate_token(ApiCall *call, const uint8_t hash[static 32], bool is_session, Error *error);
/* On a pool thread: name, password and, where there is one, the code of a header. */
int authenticate_password(ApiCall *call, const Credentials *credentials, Error *error);
/* In a job, after authentication: the tenant of the request, the caller's rights there, the object of the
 * request if it has one, then the decision. */
int authorise(ApiCall *call, Error *error);

/* resources.c, in a job: finds the object, decides, fills call->object. For routes with an object this has
 * been done before the handler runs. */
int api_object_require(ApiCall *call, const RouteObject *what, Permission permission, Error *error);

/* Whether lists show the caller what is private to others in the tenant. */
bool viewer_sees_private(const ApiCall *call);

/* reply.c */
void reply_error(Buffer *buffer, const Error *error, const char *request_id);
typedef struct Page {
    int64_t size, offset;
} Page;
/* From _size and _offset. */
int page_read(ApiCall *call, Page *ret_page, Error *error);
/* {"items":[ … ],"metadata":{…}}; the caller writes the items between. */
Writer list_begin(ApiCall *call);
void list_end(ApiCall *call, Writer *writer, const Page *page, int64_t total);
/* Query parameter, or "" when absent. */
const char *query_or_empty(ApiCall *call, const char *name);
int body_dispatch(ApiCall *call, const JsonField *fields, void *destination, Error *error);
void answer_empty(ApiCall *call); /* 204 */

/* polls.c: long polls of provisioners */
void polls_new(Api *api);
void polls_free(Api *api);
void polls_wake(Api *api);
void polls_begin(ApiCall *call);
void polls_drain(Api *api);

/* stream.c */
void streams_new(Api *api);
void streams_free(Api *api);
void streams_published(Api *api);
void streams_begin(ApiCall *call);
void streams_drain(Api *api);
void event_write(Writer *writer, const EventListRow *row);
