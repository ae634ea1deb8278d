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
#include "crypto/hash.h"

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
typedef struct LeaseWatch LeaseWatch; /* leases of clusters: leases.c */
typedef struct AuditHeads AuditHeads; /* audit_heads.c */
typedef struct Shipping Shipping;     /* audit_shipping.c */
typedef struct Care Care;             /* care.c */
typedef struct Denials Denials;       /* refusals of unknown callers: denials.c */

enum { REQUEST_KEY_SIZE = 32 };
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
    LeaseWatch *leases;
    KeysCare *keys;
    bool is_draining;
    /* Connections to the keeper, one a pool thread at a time. */
    pthread_mutex_t keeper_lock;
    KeeperClient **keepers;
    unsigned keeper_count;
    uint8_t signing_key[32];
    bool has_signing_key;
    int sandbox_reserved;
    Denials *denials;
    Care *care;
    AuditHeads *audit_heads;
    Shipping *shipping;
    /* The key of ETags and of digests of requests: tags.c. */
    uint8_t request_key[REQUEST_KEY_SIZE];
    _Atomic(uint64_t) records_lost; /* of refusals, which could not be written */
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

/* change.c: what surrounds every change of an object, in the transaction of the change: precondition,
 * repetition, what the object was and is, the audit record. */
struct ApiChange {
    const ApiRoute *shown; /* the GET route that shows the object, or NULL */
    char before[HASH_HEX_SIZE], after[HASH_HEX_SIZE];
    const char *key; /* Idempotency-Key, or NULL */
    char request_digest[HASH_HEX_SIZE];
    bool is_claimed; /* the key was new, and is this call's */
    bool is_replayed;
    int status; /* of the repeated answer, as are: */
    const char *content_type, *answer;
};
/* In a job, when the caller is known and may do it. */
int change_prepare(ApiCall *call, Error *error);
/* In the write job: before and after the handler's work. change_begin() gives 1 when this was done before and
 * the answer is ready: then nothing else is to be done. */
int change_begin(ApiCall *call, Error *error);
int change_end(ApiCall *call, Error *error);
/* A record of its own, for what changed nothing. */
int change_record(ApiCall *call, const char *outcome, const char *details, Error *error);
/* The object as its GET route shows it: 1, or 0 when there is none (for this caller). Whole = as one who may
 * see everything. In a job. */
int change_view(ApiCall *call, bool is_whole, Buffer *ret_text, Error *error);
/* Text of a request in a record: bounded, printable. In the arena of the call. */
const char *change_text(ApiCall *call, const char *text);

/* idempotency.c */
/* Reads the header; the key stays in call->change. */
int idempotency_read(ApiCall *call, Error *error);
/* In a job: 1 when the answer is known and set in call->change, 0 when there is none yet. */
int idempotency_find(ApiCall *call, Error *error);
/* In the write job: as above, and takes the key when it is new. */
int idempotency_claim(ApiCall *call, Error *error);
/* In a write job: keeps the answer of the call. */
int idempotency_store(ApiCall *call, Error *error);
int idempotency_forget(ApiCall *call, Error *error);
void idempotency_replay(ApiCall *call);
int idempotency_expire(StoreTransaction *transaction, Error *error);

/* tags.c: ETag, If-None-Match, If-Match */
/* Reads the key, or makes one. At start. */
int tags_load_key(Api *api, Error *error);
/* Keyed; of the purpose and the parts with their lengths; hex. */
void tags_digest(Api *api, const char *purpose, const StoreBlob *parts, size_t count,
                 char ret_hex[static HASH_HEX_SIZE]);
/* Gives the answer its ETag, or makes it 304. */
void tags_answer(ApiCall *call);
/* In the write job: ERROR_PRECONDITION when If-Match or If-None-Match does not hold. */
int tags_check(ApiCall *call, Error *error);

/* care.c: the timer for all that is done now and then */
int care_start(Api *api, Error *error);
/* Before the store is closed. */
void care_stop(Api *api);

/* denials.c: refusals of unknown callers, one or two records a source and minute. Any thread. */
Denials *denials_new(void);
Denials *denials_free(Denials *denials);
void denials_note(Api *api, ApiCall *call);
/* Writes what was counted in minutes that are over; all of it when `is_last`. */
void denials_flush(Api *api, bool is_last);
typedef struct DenialCounters {
    uint64_t noted, dropped; /* dropped: of too many sources in one minute */
} DenialCounters;
DenialCounters denials_counters(Denials *denials);

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
/* A number of the query, 0 to maximum; left as it is when absent. */
int query_number(ApiCall *call, const char *name, int64_t maximum, int64_t *value, Error *error);
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

/* leases.c: from the timer of the loop */
void leases_new(Api *api);
void leases_free(Api *api);
void leases_tick(Api *api, Usec now);

/* stream.c */
void streams_new(Api *api);
void streams_free(Api *api);
void streams_published(Api *api);
void streams_begin(ApiCall *call);
void streams_drain(Api *api);
void event_write(Writer *writer, const EventListRow *row);
