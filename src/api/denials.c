/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals of callers that nobody knows. The first of a source in a minute is recorded at once, the rest of
 * the minute as one number: a flood cannot fill the disk, and what it hides is the number, not the fact. The
 * table has room for so many sources a minute; what comes from others is counted as dropped, and that is
 * recorded, too. */

#include <inttypes.h>

#include "api/api_internal.h"
#include "base/log.h"
#include "base/string.h"

enum { SOURCES_MAX = 1024, OBJECT_SIZE = 160 };
static const Usec MINUTE = 60 * USEC_PER_SEC;

typedef struct Source {
    uint64_t count; /* after the first, which has a record of its own */
} Source;

struct Denials {
    pthread_mutex_t lock;
    StringMap *sources; /* address to Source, of this minute */
    Usec minute;
    uint64_t dropped_now; /* of this minute */
    DenialCounters counters;
};

/* Records that wait for the store. */
typedef struct DenialRecord {
    char source[64], request_id[ID_SIZE], object[OBJECT_SIZE];
    uint64_t count; /* 0 = a single one */
} DenialRecord;

typedef struct DenialBatch {
    Api *api;
    size_t count;
    DenialRecord records[];
} DenialBatch;

Denials *denials_new(void)
{
    Denials *denials = NEW(Denials);
    ASSERT(pthread_mutex_init(&denials->lock, NULL) == 0);
    denials->sources = string_map_new(free);
    return denials;
}

Denials *denials_free(Denials *denials)
{
    if (!denials)
        return NULL;
    string_map_free(denials->sources);
    (void)pthread_mutex_destroy(&denials->lock);
    free(denials);
    return NULL;
}

static int write_batch(StoreTransaction *transaction, void *context, Error *error)
{
    const DenialBatch *batch = context;
    AuditRecord *records = arena_allocate_array(store_arena(transaction), batch->count, sizeof(*records));
    for (size_t i = 0; i < batch->count; i++) {
        const DenialRecord *record = &batch->records[i];
        records[i] = (AuditRecord){.actor = "nobody",
                                   .source = record->source,
                                   .request_id = record->request_id,
                                   .action = "authenticate",
                                   .object = record->object,
                                   .outcome = "denied"};
        if (record->count > 0)
            records[i].details =
                arena_format(store_arena(transaction), "{\"requests\":%" PRIu64 "}", record->count);
    }
    return audit_trail_append_many(transaction, records, batch->count, error);
}

static void batch_written(int result, const Error *error, void *context)
{
    DenialBatch *batch = context;
    if (result < 0) {
        log_error_record(LOG_LEVEL_ERROR, "recording refusals", error);
        atomic_fetch_add(&batch->api->records_lost, batch->count);
    }
    free(batch);
}

static void submit_batch(Api *api, DenialBatch *batch)
{
    Error error = ERROR_INIT;
    batch->api = api;
    int r = store_submit(api->settings.store, STORE_WRITE, write_batch, batch_written, batch, &error);
    if (r < 0)
        batch_written(r, &error, batch);
}

static DenialBatch *batch_new(size_t capacity)
{
    return memory_new(sizeof(DenialBatch) + capacity * sizeof(DenialRecord));
}

static void batch_add(DenialBatch *batch, const char *source, const char *object, uint64_t count)
{
    DenialRecord *record = &batch->records[batch->count++];
    (void)string_copy(record->source, sizeof(record->source), source);
    (void)string_copy(record->object, sizeof(record->object), object);
    record->count = count;
}

/* With the lock held: what was counted, and an empty table. NULL when there is nothing to write. */
static DenialBatch *end_minute(Denials *denials)
{
    DenialBatch *batch = batch_new(string_map_count(denials->sources) + 1);
    STRING_MAP_FOREACH (denials->sources, i) {
        const Source *source = i.value;
        if (source->count > 0)
            batch_add(batch, i.key, "requests of this source in a minute", source->count);
    }
    if (denials->dropped_now > 0)
        batch_add(batch, "", "requests of further sources in a minute", denials->dropped_now);
    denials->dropped_now = 0;
    string_map_free(denials->sources);
    denials->sources = string_map_new(free);
    if (batch->count > 0)
        return batch;
    free(batch);
    return NULL;
}

/* With the lock held. True when the request is the first of its source. */
static bool count_source(Denials *denials, const char *address)
{
    denials->counters.noted++;
    Source *source = string_map_get(denials->sources, address);
    if (source) {
        source->count++;
        return false;
    }
    if (string_map_count(denials->sources) >= SOURCES_MAX) {
        denials->counters.dropped++;
        denials->dropped_now++;
        return false;
    }
    string_map_set(denials->sources, address, NEW(Source));
    return true;
}

void denials_flush(Api *api, bool is_last)
{
    Denials *denials = api->denials;
    Usec minute = clock_monotonic(api->settings.clock) / MINUTE;
    ASSERT(pthread_mutex_lock(&denials->lock) == 0);
    bool is_over = is_last || minute != denials->minute;
    DenialBatch *batch = is_over ? end_minute(denials) : NULL;
    denials->minute = minute;
    ASSERT(pthread_mutex_unlock(&denials->lock) == 0);
    if (batch)
        submit_batch(api, batch);
}

void denials_note(Api *api, ApiCall *call)
{
    const HttpRequest *request = call->request;
    denials_flush(api, false);
    ASSERT(pthread_mutex_lock(&api->denials->lock) == 0);
    bool is_first = count_source(api->denials, request->remote_address);
    ASSERT(pthread_mutex_unlock(&api->denials->lock) == 0);
    if (!is_first)
        return;
    DenialBatch *batch = batch_new(1);
    char object[OBJECT_SIZE];
    (void)string_print(object, sizeof(object), "%s %.100s", http_method_name(request->method),
                       change_text(call, request->path));
    batch_add(batch, request->remote_address, object, 0);
    (void)string_copy(batch->records[0].request_id, ID_SIZE, request->request_id);
    submit_batch(api, batch);
}

DenialCounters denials_counters(Denials *denials)
{
    ASSERT(pthread_mutex_lock(&denials->lock) == 0);
    DenialCounters counters = denials->counters;
    ASSERT(pthread_mutex_unlock(&denials->lock) == 0);
    return counters;
}
