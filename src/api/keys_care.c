/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdatomic.h>

#include "api/keys.h"
#include "api/sealed_store.h"
#include "base/log.h"
#include "base/string.h"

/* Small enough that the database's writer is held for milliseconds. */
enum { BATCH = 32 };
static const Usec PROBE_INTERVAL = 3 * USEC_PER_SEC;
/* How often the database is asked for older values without a reason. */
static const Usec CARE_INTERVAL = 300 * USEC_PER_SEC;

struct KeysCare {
    sd_event_source *timer;
    atomic_bool is_sealed, is_probing, is_running, is_wanted;
    _Atomic(int64_t) renewed, unreadable;
    _Atomic(uint32_t) generation; /* as the keeper told last */
    _Atomic(uint64_t) cared_at;
};

bool keys_is_sealed(const Api *api)
{
    return api->keys && atomic_load(&api->keys->is_sealed);
}

KeysProgress keys_progress(const Api *api)
{
    return (KeysProgress){.is_running = atomic_load(&api->keys->is_running),
                          .renewed = atomic_load(&api->keys->renewed),
                          .unreadable = atomic_load(&api->keys->unreadable)};
}

/* Renewing
 * -------------------------------------------------------------------------------------------------------------------
 */

typedef struct Outdated {
    char *tenant, *owner_kind, *owner, *name, *context;
    Buffer value, renewed;
} Outdated;

typedef struct Batch {
    int64_t generation, offset;
    Outdated items[BATCH];
    size_t count;
} Batch;

static void batch_clear(Batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        Outdated *item = &batch->items[i];
        free(item->tenant);
        free(item->owner_kind);
        free(item->owner);
        free(item->name);
        free(item->context);
        buffer_done(&item->value);
        buffer_done(&item->renewed);
    }
    batch->count = 0;
}

static int read_batch(StoreTransaction *transaction, void *context, Error *error)
{
    Batch *batch = context;
    SealedValuesOutdatedRow *rows;
    size_t count;
    batch_clear(batch);
    int r = statement_sealed_values_outdated(
        transaction,
        &(SealedValuesOutdatedParameters){
            .generation = batch->generation, .maximum = BATCH, .offset = batch->offset},
        &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        Outdated *item = &batch->items[batch->count++];
        *item = (Outdated){.tenant = string_duplicate(rows[i].tenant),
                           .owner_kind = string_duplicate(rows[i].owner_kind),
                           .owner = string_duplicate(rows[i].owner),
                           .name = string_duplicate(rows[i].name),
                           .context = string_duplicate(rows[i].context),
                           .value = BUFFER_INIT,
                           .renewed = BUFFER_INIT};
        r = buffer_append(&item->value, rows[i].value.data, rows[i].value.size);
    }
    return r;
}

static int write_batch(StoreTransaction *transaction, void *context, Error *error)
{
    const Batch *batch = context;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->count; i++) {
        const Outdated *item = &batch->items[i];
        if (item->renewed.size > 0)
            r = statement_sealed_value_renew(
                transaction,
                &(SealedValueRenewParameters){.value = {item->renewed.data, item->renewed.size},
                                              .generation = batch->generation,
                                              .tenant = item->tenant,
                                              .owner_kind = item->owner_kind,
                                              .owner = item->owner,
                                              .name = item->name,
                                              .old_value = {item->value.data, item->value.size}},
                error);
    }
    return MIN(r, 0);
}

/* What does not open stays as it is and is passed over by the next batch. */
static int renew_batch(KeysCare *care, KeeperClient *keeper, Batch *batch, Error *error)
{
    for (size_t i = 0; i < batch->count; i++) {
        Outdated *item = &batch->items[i];
        int r = keeper_client_renew_value(keeper, item->tenant, item->context, item->value.data,
                                          item->value.size, &item->renewed, error);
        if (r >= 0)
            continue;
        if (error->code != ERROR_CRYPTO && error->code != ERROR_BAD_REQUEST)
            return r;
        log_warning("A sealed value of the tenant %s (%s) cannot be sealed anew: %s", item->tenant,
                    item->context, error->text);
        error_clear(error);
        atomic_fetch_add(&care->unreadable, 1);
        batch->offset++;
    }
    return 0;
}

/* Retiring
 * -------------------------------------------------------------------------------------------------------------------
 */

typedef struct Retirement {
    int64_t generation;
    bool is_due;
} Retirement;

static int forbid_older(StoreTransaction *transaction, void *context, Error *error)
{
    Retirement *retirement = context;
    SealedValuesOutdatedCountRow left;
    int r = statement_sealed_values_outdated_count(
        transaction, &(SealedValuesOutdatedCountParameters){.generation = retirement->generation}, &left,
        error);
    retirement->is_due = r >= 0 && left.total == 0;
    if (r < 0 || !retirement->is_due)
        return MIN(r, 0);
    r = sealed_store_set_oldest(transaction, retirement->generation, error);
    if (r >= 0)
        r = audit_trail_append(
            transaction,
            &(AuditRecord){.actor = "system",
                           .action = "keys_retire",
                           .object = arena_format(store_arena(transaction), "generation:%lld",
                                                  (long long)retirement->generation - 1)},
            error);
    return r;
}

static int retire(Api *api, KeeperClient *keeper, const KeeperStatus *status, Error *error)
{
    Retirement retirement = {.generation = status->generation};
    uint32_t count = 0;
    if (status->retired + 1 >= status->generation)
        return 0;
    int r = store_run(api->settings.store, STORE_WRITE, forbid_older, &retirement, error);
    if (r >= 0 && retirement.is_due)
        r = keeper_client_retire_data_keys(keeper, status->generation, &count, error);
    if (r >= 0 && retirement.is_due)
        log_notice("All sealed values lie under generation %u; %u older keys were destroyed.",
                   status->generation, count);
    return r;
}

/* The pass
 * -------------------------------------------------------------------------------------------------------------------
 */

static int care_for(Api *api, KeeperClient *keeper, Error *error)
{
    KeysCare *care = api->keys;
    KeeperStatus status;
    Batch batch = {0};
    int r = keeper_client_status(keeper, &status, error);
    if (r < 0 || status.state != KEEPER_STATE_OPEN)
        return r;
    batch.generation = status.generation;
    do {
        r = store_run(api->settings.store, STORE_READ, read_batch, &batch, error);
        if (r >= 0)
            r = renew_batch(care, keeper, &batch, error);
        if (r >= 0 && batch.count > 0)
            r = store_run(api->settings.store, STORE_WRITE, write_batch, &batch, error);
        if (r >= 0)
            atomic_fetch_add(&care->renewed, (int64_t)batch.count);
    } while (r >= 0 && batch.count == BATCH && !api->is_draining);
    bool is_whole = batch.count < BATCH && batch.offset == 0;
    batch_clear(&batch);
    return r < 0 || !is_whole ? r : retire(api, keeper, &status, error);
}

static void care_work(Api *api, void *context)
{
    (void)context;
    KeysCare *care = api->keys;
    while (atomic_exchange(&care->is_wanted, false)) {
        Error error = ERROR_INIT;
        atomic_store(&care->renewed, 0);
        atomic_store(&care->unreadable, 0);
        KeeperClient *keeper = keeper_take(api, &error);
        if (keeper && care_for(api, keeper, &error) < 0)
            log_error_record(LOG_LEVEL_WARNING, "sealing values under new keys; it goes on later", &error);
        keeper_give(api, keeper);
    }
    atomic_store(&care->is_running, false);
    if (atomic_load(&care->is_wanted)) /* asked for between the last look and now */
        keys_care(api);
}

void keys_care(Api *api)
{
    atomic_store(&api->keys->is_wanted, true);
    if (atomic_exchange(&api->keys->is_running, true))
        return;
    atomic_store(&api->keys->cared_at, clock_monotonic(api->settings.clock));
    if (pool_submit(api, care_work, NULL) < 0)
        atomic_store(&api->keys->is_running, false);
}

/* Probing
 * --------------------------------------------------------------------------------------------------------------------
 */

static void probe_work(Api *api, void *context)
{
    (void)context;
    Error error = ERROR_INIT;
    KeysCare *care = api->keys;
    KeeperStatus status = {.state = _KEEPER_STATE_INVALID};
    KeeperClient *keeper = keeper_take(api, &error);
    int r = keeper ? keeper_client_status(keeper, &status, &error) : -EIO;
    keeper_give(api, keeper);
    if (r >= 0) {
        bool is_sealed = status.state != KEEPER_STATE_OPEN;
        if (atomic_exchange(&care->is_sealed, is_sealed) != is_sealed)
            log_notice(is_sealed ? "The keeper is sealed: only the status is served until it is unsealed."
                                 : "The keeper is open.");
        Usec now = clock_monotonic(api->settings.clock);
        if (!is_sealed && (atomic_exchange(&care->generation, status.generation) != status.generation ||
                           now - atomic_load(&care->cared_at) > CARE_INTERVAL))
            keys_care(api);
    }
    atomic_store(&care->is_probing, false);
}

static int on_probe(sd_event_source *source, uint64_t usec, void *userdata)
{
    Api *api = userdata;
    if (!atomic_exchange(&api->keys->is_probing, true) && pool_submit(api, probe_work, NULL) < 0)
        atomic_store(&api->keys->is_probing, false);
    (void)sd_event_source_set_time(source, usec + PROBE_INTERVAL);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int keys_start(Api *api, Error *error)
{
    api->keys = NEW(KeysCare);
    /* The first answer is waited for, so that nothing is served in between. */
    probe_work(api, NULL);
    int r = sd_event_add_time_relative(api->settings.event, &api->keys->timer, CLOCK_MONOTONIC,
                                       PROBE_INTERVAL, USEC_PER_SEC / 4, on_probe, api);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "Setting up a timer") : 0;
}

void keys_stop(Api *api)
{
    if (!api->keys)
        return;
    sd_event_source_disable_unref(api->keys->timer);
    free(api->keys);
    api->keys = NULL;
}
