/* SPDX-License-Identifier: Apache-2.0 */
#include "api/audit_shipping.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/audit_lines.h"
#include "base/file.h"
#include "base/log.h"
#include "base/string.h"

enum { BATCH = 500, BATCHES_MAX = 40, SHARDS_MAX = 64 };
static const Usec INTERVAL = USEC_PER_SEC;
static const char SINK[] = "file", SETTING[] = "audit.shipping";

struct Shipping {
    pthread_mutex_t lock; /* one at a time ships */
    atomic_bool is_working;
    _Atomic(Usec) failing_since; /* monotonic; 0 = all is well */
    _Atomic(int64_t) lag;
    Usec due;
};

/* Settings
 * ---------------------------------------------------------------------------------------------------------
 */

static int settle_settings(StoreTransaction *transaction, void *context, Error *error)
{
    const char *text = context;
    SettingGetRow row;
    int r = statement_setting_get(transaction, &(SettingGetParameters){.name = SETTING}, &row, error);
    if (r < 0)
        return r;
    const char *before = r == 1 ? arena_string(store_arena(transaction), row.value) : "{}";
    if (string_equal(before, text))
        return 0;
    r = audit_trail_append(
        transaction,
        &(AuditRecord){
            .actor = "local administration",
            .authentication = "local",
            .action = "audit_settings",
            .object = "audit",
            .details = arena_format(store_arena(transaction), "{\"before\":%s,\"after\":%s}", before, text)},
        error);
    if (r >= 0)
        r = statement_setting_put(transaction, &(SettingPutParameters){.name = SETTING, .value = text},
                                  error);
    return MIN(r, 0);
}

int shipping_start(Api *api, Error *error)
{
    const ApiSettings *settings = &api->settings;
    _cleanup_buffer_ Buffer text = BUFFER_INIT;
    Writer writer = writer_new(&text);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "file", settings->audit_file);
    writer_integer(&writer, "refuse_after_seconds", (int64_t)(settings->audit_refuse_after / USEC_PER_SEC));
    writer_end_object(&writer);
    bool is_used = settings->audit_file != NULL;
    char *value = string_duplicate(is_used ? buffer_string(&text) : "{}");
    int r = store_run(settings->store, STORE_WRITE, settle_settings, value, error);
    free(value);
    if (r < 0 || !is_used)
        return r;
    api->shipping = NEW(Shipping);
    ASSERT(pthread_mutex_init(&api->shipping->lock, NULL) == 0);
    return 0;
}

/* Shipping
 * ---------------------------------------------------------------------------------------------------------
 */

typedef struct Batch {
    Buffer lines;
    struct {
        int64_t shard, sequence;
    } reached[SHARDS_MAX];
    size_t shard_count;
    int64_t count, lag;
} Batch;

static int read_shard(StoreTransaction *transaction, Batch *batch, const AuditHeadsListRow *head,
                      Error *error)
{
    AuditShippedGetRow shipped = {0};
    AuditRecordsAfterRow *rows;
    size_t count;
    int r = statement_audit_shipped_get(
        transaction, &(AuditShippedGetParameters){.sink = SINK, .shard = head->shard}, &shipped, error);
    if (r >= 0)
        r = statement_audit_records_after(
            transaction,
            &(AuditRecordsAfterParameters){.shard = head->shard, .after = shipped.sequence, .maximum = BATCH},
            &rows, &count, error);
    if (r < 0)
        return r;
    batch->lag += head->sequence - shipped.sequence;
    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        audit_line_record(&batch->lines, &rows[i]);
    batch->count += (int64_t)count;
    batch->reached[batch->shard_count].shard = head->shard;
    batch->reached[batch->shard_count++].sequence = rows[count - 1].sequence;
    return batch->lines.has_overflowed
               ? error_set(error, ERROR_TOO_LARGE, "The records of a batch are too large.")
               : 0;
}

static int read_batch(StoreTransaction *transaction, void *context, Error *error)
{
    Batch *batch = context;
    AuditHeadsListRow *heads;
    size_t count;
    buffer_clear(&batch->lines);
    batch->shard_count = 0;
    batch->count = batch->lag = 0;
    int r = statement_audit_heads_list(transaction, &heads, &count, error);
    for (size_t i = 0; i < count && i < SHARDS_MAX && r >= 0; i++)
        r = read_shard(transaction, batch, &heads[i], error);
    return MIN(r, 0);
}

static int note_batch(StoreTransaction *transaction, void *context, Error *error)
{
    const Batch *batch = context;
    int r = 0;
    for (size_t i = 0; i < batch->shard_count && r >= 0; i++)
        r = statement_audit_shipped_put(transaction,
                                        &(AuditShippedPutParameters){.sink = SINK,
                                                                     .shard = batch->reached[i].shard,
                                                                     .sequence = batch->reached[i].sequence},
                                        error);
    return MIN(r, 0);
}

/* All of it, or none: half a line would spoil what follows. */
static int append(const char *path, const Buffer *lines)
{
    _cleanup_close_ int descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    int r = write_full(descriptor, lines->data, lines->size);
    if (r >= 0 && fsync(descriptor) < 0)
        r = -errno;
    if (r < 0)
        (void)!ftruncate(descriptor, status.st_size);
    return MIN(r, 0);
}

static int ship_batch(Api *api, Batch *batch, Error *error)
{
    Store *store = api->settings.store;
    int r = store_run(store, STORE_READ, read_batch, batch, error);
    if (r < 0)
        return r;
    atomic_store(&api->shipping->lag, batch->lag);
    if (batch->count == 0)
        return 0;
    r = append(api->settings.audit_file, &batch->lines);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "Writing %s", api->settings.audit_file);
    r = store_run(store, STORE_WRITE, note_batch, batch, error);
    if (r >= 0)
        atomic_store(&api->shipping->lag, batch->lag - batch->count);
    return r;
}

static void ship(Api *api)
{
    Shipping *shipping = api->shipping;
    Batch batch = {.lines = BUFFER_INIT_LIMIT(64 * 1024 * 1024)};
    Error error = ERROR_INIT;
    int r = 0;
    ASSERT(pthread_mutex_lock(&shipping->lock) == 0);
    for (int i = 0; i < BATCHES_MAX && r >= 0; i++) {
        r = ship_batch(api, &batch, &error);
        if (batch.count == 0)
            break;
    }
    ASSERT(pthread_mutex_unlock(&shipping->lock) == 0);
    buffer_done(&batch.lines);
    Usec since = atomic_load(&shipping->failing_since);
    if (r < 0 && since == 0)
        log_error_record(LOG_LEVEL_ERROR, "THE AUDIT TRAIL IS NOT SHIPPED", &error);
    else if (r >= 0 && since != 0)
        log_notice("The audit trail is shipped again.");
    atomic_store(&shipping->failing_since, r >= 0 ? 0 : since ?: clock_monotonic(api->settings.clock));
}

static void ship_in_pool(Api *api, void *context)
{
    (void)context;
    ship(api);
    atomic_store(&api->shipping->is_working, false);
}

void shipping_tick(Api *api)
{
    Shipping *shipping = api->shipping;
    Usec now = clock_monotonic(api->settings.clock);
    if (!shipping || now < shipping->due || atomic_exchange(&shipping->is_working, true))
        return;
    shipping->due = now + INTERVAL;
    if (pool_submit(api, ship_in_pool, NULL) < 0)
        atomic_store(&shipping->is_working, false);
}

void shipping_stop(Api *api)
{
    if (api->shipping)
        ship(api);
}

int shipping_check(const Api *api, Error *error)
{
    Usec since = api->shipping ? atomic_load(&api->shipping->failing_since) : 0;
    Usec limit = api->settings.audit_refuse_after;
    if (since == 0 || limit == 0 || clock_monotonic(api->settings.clock) < since + limit)
        return 0;
    return error_set(error, ERROR_UNAVAILABLE,
                     "The audit trail cannot be shipped off; by policy nothing is changed until it can.");
}

ShippingState shipping_state(const Api *api)
{
    if (!api->shipping)
        return (ShippingState){0};
    return (ShippingState){.is_used = true,
                           .is_failing = atomic_load(&api->shipping->failing_since) != 0,
                           .lag = atomic_load(&api->shipping->lag)};
}
