/* SPDX-License-Identifier: Apache-2.0 */
#include "api/audit_heads.h"

#include <errno.h>
#include <inttypes.h>

#include "base/log.h"
#include "base/string.h"

enum { SHARDS_MAX = 64, RECORDS_MAX = 1000, PAGE = 500, SHARD_TEXT_SIZE = 24 };
static const Usec LOOK_INTERVAL = 5 * USEC_PER_SEC, SIGN_INTERVAL = 60 * USEC_PER_SEC;

typedef enum HeadsState {
    HEADS_FIT,
    HEADS_BEHIND, /* the keeper has signed a later head: an older database was put back, or records were cut
                   */
    HEADS_DIFFER, /* a signature does not fit the records: they were rewritten */
} HeadsState;

struct AuditHeads {
    pthread_mutex_t lock; /* one at a time signs */
    _Atomic(HeadsState) state;
    _Atomic(Usec) signed_at;
    atomic_bool is_working, is_checked, has_key;
    Usec look_due;
    uint8_t key[SIGN_PUBLIC_SIZE];
};

typedef struct Head {
    int64_t shard, sequence, signed_sequence, epoch;
    uint8_t hash[HASH_SIZE];
    uint8_t signature[SIGN_SIGNATURE_SIZE];
    int64_t time;
} Head;

typedef struct Heads {
    Api *api;
    Head items[SHARDS_MAX];
    size_t count;
    HeadsState state; /* of a check */
    int64_t new_epoch;
} Heads;

static void shard_text(int64_t shard, char text[static SHARD_TEXT_SIZE])
{
    (void)string_print(text, SHARD_TEXT_SIZE, "%" PRId64, shard);
}

/* Reading
 * ----------------------------------------------------------------------------------------------------------
 */

static int read_heads(StoreTransaction *transaction, void *context, Error *error)
{
    Heads *heads = context;
    AuditHeadsListRow *rows;
    size_t count;
    int r = statement_audit_heads_list(transaction, &rows, &count, error);
    heads->count = 0;
    for (size_t i = 0; i < count && i < SHARDS_MAX && r >= 0; i++) {
        Head *head = &heads->items[heads->count++];
        AuditSignatureLastRow last;
        *head = (Head){.shard = rows[i].shard, .sequence = rows[i].sequence};
        if (rows[i].hash.size == HASH_SIZE)
            memcpy(head->hash, rows[i].hash.data, HASH_SIZE);
        r = statement_audit_signature_last(transaction, &(AuditSignatureLastParameters){.shard = head->shard},
                                           &last, error);
        if (r == 1) {
            head->signed_sequence = last.sequence;
            head->epoch = last.epoch;
        }
    }
    return MIN(r, 0);
}

static bool signature_is_good(const uint8_t *key, int64_t shard, int64_t epoch, int64_t sequence,
                              int64_t time, StoreBlob hash, StoreBlob signature)
{
    char text[SHARD_TEXT_SIZE];
    shard_text(shard, text);
    return hash.size == HASH_SIZE && signature.size == SIGN_SIGNATURE_SIZE &&
           audit_head_verify(key, text, (uint64_t)epoch, (uint64_t)sequence, (Usec)time, hash.data,
                             signature.data) == 0;
}

int audit_heads_verify(StoreTransaction *transaction, const uint8_t key[static SIGN_PUBLIC_SIZE],
                       int64_t shard, int64_t *ret_signed, int64_t *ret_bad, Error *error)
{
    int64_t good = 0, epoch = 0;
    *ret_bad = 0;
    for (size_t count = PAGE; count == PAGE && *ret_bad == 0;) {
        AuditSignaturesAfterRow *rows;
        int r = statement_audit_signatures_after(
            transaction,
            &(AuditSignaturesAfterParameters){
                .shard = shard, .after = good, .after_epoch = epoch, .maximum = PAGE},
            &rows, &count, error);
        if (r < 0)
            return r;
        for (size_t i = 0; i < count && *ret_bad == 0; i++) {
            const AuditSignaturesAfterRow *row = &rows[i];
            bool is_good = row->record_hash.size == HASH_SIZE && row->hash.size == HASH_SIZE &&
                           memcmp(row->record_hash.data, row->hash.data, HASH_SIZE) == 0 &&
                           signature_is_good(key, shard, row->epoch, row->sequence, row->time, row->hash,
                                             row->signature);
            if (!is_good) {
                *ret_bad = good + 1;
                break;
            }
            good = row->sequence;
            epoch = row->epoch;
        }
    }
    *ret_signed = good;
    return 0;
}

/* The newest signature of each shard, against its records. All of them are for GET /audit/verification. */
static int check_newest(StoreTransaction *transaction, void *context, Error *error)
{
    Heads *heads = context;
    int r = read_heads(transaction, heads, error);
    heads->state = HEADS_FIT;
    for (size_t i = 0; i < heads->count && r >= 0; i++) {
        const Head *head = &heads->items[i];
        AuditSignatureLastRow last;
        AuditHashAtRow record;
        r = statement_audit_signature_last(transaction, &(AuditSignatureLastParameters){.shard = head->shard},
                                           &last, error);
        if (r <= 0)
            continue;
        r = statement_audit_hash_at(transaction,
                                    &(AuditHashAtParameters){.shard = head->shard, .sequence = last.sequence},
                                    &record, error);
        bool is_good = r == 1 && record.hash.size == HASH_SIZE && last.hash.size == HASH_SIZE &&
                       memcmp(record.hash.data, last.hash.data, HASH_SIZE) == 0 &&
                       signature_is_good(heads->api->audit_heads->key, head->shard, last.epoch, last.sequence,
                                         last.time, last.hash, last.signature);
        if (!is_good)
            heads->state = HEADS_DIFFER;
    }
    return MIN(r, 0);
}

/* Signing
 * ----------------------------------------------------------------------------------------------------------
 */

static int store_signatures(StoreTransaction *transaction, void *context, Error *error)
{
    const Heads *heads = context;
    int r = 0;
    for (size_t i = 0; i < heads->count && r >= 0; i++) {
        const Head *head = &heads->items[i];
        if (head->time > 0)
            r = statement_audit_signature_insert(
                transaction,
                &(AuditSignatureInsertParameters){.shard = head->shard,
                                                  .epoch = head->epoch,
                                                  .sequence = head->sequence,
                                                  .time = head->time,
                                                  .hash = {head->hash, HASH_SIZE},
                                                  .signature = {head->signature, SIGN_SIGNATURE_SIZE}},
                error);
    }
    if (r >= 0 && heads->new_epoch > 0)
        r = audit_trail_append(
            transaction,
            &(AuditRecord){.actor = "keeper",
                           .action = "audit_epoch",
                           .object = "audit",
                           .details = arena_format(store_arena(transaction), "{\"epoch\":%" PRId64 "}",
                                                   heads->new_epoch)},
            error);
    return MIN(r, 0);
}

static void set_state(AuditHeads *heads, HeadsState state)
{
    if (atomic_exchange(&heads->state, state) == state)
        return;
    if (state == HEADS_FIT)
        log_notice("The audit trail fits what the keeper has signed.");
    else
        log_error(
            "THE AUDIT TRAIL DOES NOT FIT WHAT THE KEEPER HAS SIGNED: %s. Nothing is changed until root "
            "accepts the database as restored (bastide-manager accept-restore).",
            state == HEADS_BEHIND ? "an older database was put back, or records were removed"
                                  : "records were rewritten or removed");
}

typedef struct Remembered {
    int64_t shard, sequence;
    const uint8_t *hash;
    bool is_there;
} Remembered;

static int find_remembered(StoreTransaction *transaction, void *context, Error *error)
{
    Remembered *remembered = context;
    AuditHashAtRow record;
    int r = statement_audit_hash_at(
        transaction, &(AuditHashAtParameters){.shard = remembered->shard, .sequence = remembered->sequence},
        &record, error);
    remembered->is_there =
        r == 1 && record.hash.size == HASH_SIZE && memcmp(record.hash.data, remembered->hash, HASH_SIZE) == 0;
    return MIN(r, 0);
}

/* The head that the keeper signed last must be among the records, whatever was added behind it. */
static int check_remembered(Heads *heads, KeeperClient *keeper, const Head *head, Error *error)
{
    char text[SHARD_TEXT_SIZE];
    uint8_t hash[HASH_SIZE];
    uint64_t epoch, sequence;
    shard_text(head->shard, text);
    int r = keeper_client_audit_head(keeper, text, &epoch, &sequence, hash, error);
    if (r < 0 || sequence == 0)
        return r;
    Remembered remembered = {.shard = head->shard, .sequence = (int64_t)sequence, .hash = hash};
    r = store_run(heads->api->settings.store, STORE_READ, find_remembered, &remembered, error);
    if (r < 0 || remembered.is_there)
        return r;
    set_state(heads->api->audit_heads, head->sequence < (int64_t)sequence ? HEADS_BEHIND : HEADS_DIFFER);
    return error_set(error, ERROR_STALE, "The head that the keeper signed last is not among the records.");
}

static int sign_head(Heads *heads, KeeperClient *keeper, Head *head, Error *error)
{
    char text[SHARD_TEXT_SIZE];
    uint64_t epoch;
    Usec now = clock_realtime(heads->api->settings.clock);
    shard_text(head->shard, text);
    int r = keeper_client_sign_audit_head(keeper, text, (uint64_t)head->sequence, now, head->hash, &epoch,
                                          head->signature, error);
    if (r < 0)
        return r;
    if (head->signed_sequence > 0 && (int64_t)epoch != head->epoch)
        heads->new_epoch = (int64_t)epoch;
    head->epoch = (int64_t)epoch;
    head->time = (int64_t)now;
    return 0;
}

static int learn_key(AuditHeads *state, KeeperClient *keeper, Error *error)
{
    if (atomic_load(&state->has_key))
        return 0;
    KeeperPublic public_ = {0};
    int r = keeper_client_public(keeper, &public_, error);
    if (r >= 0) {
        memcpy(state->key, public_.signing_key, SIGN_PUBLIC_SIZE);
        atomic_store(&state->has_key, true);
    }
    keeper_public_done(&public_);
    return r;
}

static int sign_due(Heads *heads, KeeperClient *keeper, bool is_forced, Error *error)
{
    Api *api = heads->api;
    AuditHeads *state = api->audit_heads;
    bool is_late = clock_realtime(api->settings.clock) >= atomic_load(&state->signed_at) + SIGN_INTERVAL;
    size_t signed_count = 0;
    for (size_t i = 0; i < heads->count; i++) {
        Head *head = &heads->items[i];
        int64_t moved = head->sequence - head->signed_sequence;
        if (head->sequence == 0 || !(is_forced || moved >= RECORDS_MAX || (moved != 0 && is_late)))
            continue;
        int r = check_remembered(heads, keeper, head, error);
        if (r < 0)
            return r;
        r = sign_head(heads, keeper, head, error);
        if (r < 0) {
            if (error->code == ERROR_STALE)
                set_state(state, HEADS_BEHIND);
            return r;
        }
        signed_count++;
    }
    if (signed_count == 0)
        return 0;
    int r = store_run(api->settings.store, STORE_WRITE, store_signatures, heads, error);
    if (r >= 0)
        atomic_store(&state->signed_at, clock_realtime(api->settings.clock));
    return r;
}

/* What is there is compared once with the newest signatures, then signed. */
static int work(Api *api, bool is_forced, Error *error)
{
    AuditHeads *state = api->audit_heads;
    Heads *heads = NEW(Heads);
    heads->api = api;
    ASSERT(pthread_mutex_lock(&state->lock) == 0);
    KeeperClient *keeper = keeper_take(api, error);
    int r = keeper ? learn_key(state, keeper, error) : -ECONNREFUSED;
    if (r >= 0 && !atomic_load(&state->is_checked)) {
        r = store_run(api->settings.store, STORE_READ, check_newest, heads, error);
        if (r >= 0) {
            set_state(state, heads->state);
            atomic_store(&state->is_checked, true);
            is_forced = true; /* the keeper may know more than the database */
        }
    }
    if (r >= 0 && atomic_load(&state->state) != HEADS_DIFFER) {
        r = store_run(api->settings.store, STORE_READ, read_heads, heads, error);
        if (r >= 0)
            r = sign_due(heads, keeper, is_forced, error);
    }
    keeper_give(api, keeper);
    ASSERT(pthread_mutex_unlock(&state->lock) == 0);
    free(heads);
    return r;
}

static void work_in_pool(Api *api, void *context)
{
    (void)context;
    Error error = ERROR_INIT;
    if (work(api, false, &error) < 0 && error.code != ERROR_STALE)
        log_error_record(LOG_LEVEL_WARNING, "having the audit trail signed", &error);
    atomic_store(&api->audit_heads->is_working, false);
}

/* Life
 * -------------------------------------------------------------------------------------------------------------
 */

void audit_heads_start(Api *api)
{
    Error error = ERROR_INIT;
    api->audit_heads = NEW(AuditHeads);
    ASSERT(pthread_mutex_init(&api->audit_heads->lock, NULL) == 0);
    if (work(api, true, &error) < 0 && error.code != ERROR_STALE)
        log_error_record(LOG_LEVEL_WARNING, "having the audit trail signed", &error);
}

void audit_heads_tick(Api *api)
{
    AuditHeads *state = api->audit_heads;
    Usec now = clock_monotonic(api->settings.clock);
    if (!state || now < state->look_due || atomic_exchange(&state->is_working, true))
        return;
    state->look_due = now + LOOK_INTERVAL;
    if (atomic_load(&state->state) != HEADS_FIT || pool_submit(api, work_in_pool, NULL) < 0)
        atomic_store(&state->is_working, false);
}

void audit_heads_stop(Api *api)
{
    Error error = ERROR_INIT;
    if (api->audit_heads && atomic_load(&api->audit_heads->state) == HEADS_FIT && work(api, true, &error) < 0)
        log_error_record(LOG_LEVEL_WARNING, "having the audit trail signed a last time", &error);
}

int audit_heads_check(const Api *api, Error *error)
{
    HeadsState state = api->audit_heads ? atomic_load(&api->audit_heads->state) : HEADS_FIT;
    if (state == HEADS_FIT)
        return 0;
    return error_set(
        error, ERROR_UNAVAILABLE,
        "The audit trail does not fit what the keeper has signed (%s): nothing is changed until the "
        "database was accepted as restored.",
        state == HEADS_BEHIND ? "it ends too early" : "records differ");
}

Usec audit_heads_signed_at(const Api *api)
{
    return api->audit_heads ? atomic_load(&api->audit_heads->signed_at) : 0;
}

bool audit_heads_key(const Api *api, uint8_t ret_key[static SIGN_PUBLIC_SIZE])
{
    if (!api->audit_heads || !atomic_load(&api->audit_heads->has_key))
        return false;
    memcpy(ret_key, api->audit_heads->key, SIGN_PUBLIC_SIZE);
    return true;
}

static int record_acceptance(StoreTransaction *transaction, void *context, Error *error)
{
    _cleanup_buffer_ Buffer details = BUFFER_INIT;
    Writer writer = writer_new(&details);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "reason", context);
    writer_end_object(&writer);
    return audit_trail_append(
        transaction,
        &(AuditRecord){.actor = "local administration",
                       .authentication = "local",
                       .action = "audit_restore_accept",
                       .object = "audit",
                       .details = arena_string(store_arena(transaction), buffer_string(&details))},
        error);
}

int audit_heads_accept(Api *api, const char *reason, Error *error)
{
    char *copy = string_duplicate(reason);
    int r = store_run(api->settings.store, STORE_WRITE, record_acceptance, copy, error);
    free(copy);
    if (r < 0)
        return r;
    atomic_store(&api->audit_heads->is_checked, true);
    set_state(api->audit_heads, HEADS_FIT);
    return work(api, true, error);
}
