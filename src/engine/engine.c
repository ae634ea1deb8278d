/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's memory: which leases run and until when. Everything else is in the store. */

#include "engine/engine.h"

#include <inttypes.h>

#include "base/string.h"
#include "engine/engine_internal.h"

static const Usec LEASE_DEFAULT = 30 * USEC_PER_SEC;
static const Usec RETRY_BASE_DEFAULT = 2 * USEC_PER_SEC;
static const Usec RETRY_MAXIMUM_DEFAULT = 300 * USEC_PER_SEC;
enum { MAXIMUM_FAILURES_DEFAULT = 3 };

Engine *engine_new(const EngineSettings *settings)
{
    Engine *engine = NEW(Engine);
    engine->settings = *settings;
    if (engine->settings.lease == 0)
        engine->settings.lease = LEASE_DEFAULT;
    if (engine->settings.retry_base == 0)
        engine->settings.retry_base = RETRY_BASE_DEFAULT;
    if (engine->settings.retry_maximum == 0)
        engine->settings.retry_maximum = RETRY_MAXIMUM_DEFAULT;
    if (engine->settings.maximum_failures == 0)
        engine->settings.maximum_failures = MAXIMUM_FAILURES_DEFAULT;
    ASSERT(pthread_mutex_init(&engine->lock, NULL) == 0);
    engine->leases = string_map_new(free);
    return engine;
}

Engine *engine_free(Engine *engine)
{
    if (!engine)
        return NULL;
    string_map_free(engine->leases);
    (void)pthread_mutex_destroy(&engine->lock);
    free(engine);
    return NULL;
}

void task_id_format(char destination[static TASK_ID_SIZE], const char *execution_id, int64_t number)
{
    ASSERT(string_print(destination, TASK_ID_SIZE, "%s-%" PRId64, execution_id, number) == 0);
}

bool engine_task_parse(const char *task, char execution_id[static ID_SIZE], int64_t *ret_number)
{
    size_t length = strnlen(task, TASK_ID_SIZE);
    if (length <= ID_LENGTH + 1 || length >= TASK_ID_SIZE || task[ID_LENGTH] != '-')
        return false;
    memcpy(execution_id, task, ID_LENGTH);
    execution_id[ID_LENGTH] = '\0';
    return id_is_valid(execution_id) &&
           string_to_i64(task + ID_LENGTH + 1, 1, ENGINE_TASKS_MAX, ret_number) == 0;
}

EngineReportState engine_report_state_from_string(const char *text)
{
    static const char *const names[_ENGINE_REPORT_MAX] = {
        [ENGINE_REPORT_SUCCEEDED] = "succeeded",
        [ENGINE_REPORT_FAILED] = "failed",
        [ENGINE_REPORT_CANCELLED] = "cancelled",
        [ENGINE_REPORT_UNKNOWN] = "unknown",
    };
    for (unsigned i = 0; i < _ENGINE_REPORT_MAX; i++)
        if (string_equal(text, names[i]))
            return (EngineReportState)i;
    return _ENGINE_REPORT_INVALID;
}

EngineDecision engine_decision_from_string(const char *text)
{
    static const char *const names[_ENGINE_DECISION_MAX] = {
        [ENGINE_DECISION_RETRY] = "retry",
        [ENGINE_DECISION_DONE] = "done",
        [ENGINE_DECISION_FAIL] = "fail",
    };
    for (unsigned i = 0; i < _ENGINE_DECISION_MAX; i++)
        if (string_equal(text, names[i]))
            return (EngineDecision)i;
    return _ENGINE_DECISION_INVALID;
}

void engine_apply(Engine *engine, EngineEffects *effects)
{
    Usec deadline = clock_monotonic(engine->settings.clock) + engine->settings.lease;
    bool is_room = false;
    ASSERT(pthread_mutex_lock(&engine->lock) == 0);
    engine->is_limited |= effects->was_limited;
    for (size_t i = 0; i < effects->change_count; i++) {
        const struct EngineLeaseChange *change = &effects->changes[i];
        if (change->attempt == 0) {
            is_room |= engine->is_limited;
            (void)string_map_remove(engine->leases, change->task);
            continue;
        }
        HeldLease *lease = NEW(HeldLease);
        lease->attempt = change->attempt;
        lease->deadline = deadline;
        lease->is_recovered = change->is_recovered;
        engine->has_recovered |= change->is_recovered;
        (void)string_copy(lease->provisioner_id, sizeof(lease->provisioner_id), change->provisioner_id);
        string_map_set(engine->leases, change->task, lease);
    }
    ASSERT(pthread_mutex_unlock(&engine->lock) == 0);

    if (effects->has_events && engine->settings.published)
        engine->settings.published(engine->settings.userdata);
    if ((effects->has_runnable || is_room) && engine->settings.wake)
        engine->settings.wake(engine->settings.userdata);
    engine_effects_reset(effects);
}

int engine_recover(Engine *engine, StoreTransaction *transaction, EngineEffects *effects, Error *error)
{
    TasksLeasedAllRow *rows;
    size_t count;
    int r = statement_tasks_leased_all(transaction, &rows, &count, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        effects_recover(effects, rows[i].execution_id, rows[i].number, rows[i].provisioner_id,
                        rows[i].attempt);
    effects->has_runnable = true;
    return 0;
}

/* After the first heartbeat of a provisioner nothing of its leases is in doubt any more. */
static void settle_recovered(Engine *engine, const char *provisioner_id)
{
    const Usec now = clock_monotonic(engine->settings.clock);
    bool is_any_left = false;
    STRING_MAP_FOREACH (engine->leases, i) {
        HeldLease *lease = i.value;
        if (!lease->is_recovered)
            continue;
        if (!string_equal(lease->provisioner_id, provisioner_id)) {
            is_any_left = true;
            continue;
        }
        lease->is_recovered = false;
        lease->deadline = now;
    }
    engine->has_recovered = is_any_left;
}

void engine_renew(Engine *engine, const char *provisioner_id, const EngineHeld *held, size_t count,
                  bool *is_lost)
{
    Usec deadline = clock_monotonic(engine->settings.clock) + engine->settings.lease;
    ASSERT(pthread_mutex_lock(&engine->lock) == 0);
    for (size_t i = 0; i < count; i++) {
        HeldLease *lease = string_map_get(engine->leases, held[i].task);
        is_lost[i] = !lease || lease->attempt != held[i].attempt ||
                     !string_equal(lease->provisioner_id, provisioner_id);
        if (is_lost[i])
            continue;
        lease->deadline = deadline;
        lease->is_recovered = false;
    }
    if (engine->has_recovered)
        settle_recovered(engine, provisioner_id);
    ASSERT(pthread_mutex_unlock(&engine->lock) == 0);
}

size_t engine_collect_expired(Engine *engine, EngineExpired **ret_expired)
{
    Usec now = clock_monotonic(engine->settings.clock);
    size_t count = 0, capacity = 0;
    EngineExpired *expired = NULL;
    ASSERT(pthread_mutex_lock(&engine->lock) == 0);
    STRING_MAP_FOREACH (engine->leases, i) {
        HeldLease *lease = i.value;
        if (lease->deadline > now)
            continue;
        if (count == capacity) {
            capacity = MAX(capacity * 2, (size_t)16);
            expired = memory_resize_array(expired, capacity, sizeof(*expired));
        }
        (void)string_copy(expired[count].task, sizeof(expired[count].task), i.key);
        expired[count++].attempt = lease->attempt;
        /* Not collected again before the job that expires it has had its time. */
        lease->deadline = now + engine->settings.lease;
    }
    ASSERT(pthread_mutex_unlock(&engine->lock) == 0);
    *ret_expired = expired;
    return count;
}

Usec engine_next_deadline(Engine *engine)
{
    Usec next = USEC_INFINITY;
    ASSERT(pthread_mutex_lock(&engine->lock) == 0);
    STRING_MAP_FOREACH (engine->leases, i) {
        HeldLease *lease = i.value;
        next = MIN(next, lease->deadline);
    }
    ASSERT(pthread_mutex_unlock(&engine->lock) == 0);
    return next;
}

size_t engine_lease_count(Engine *engine)
{
    ASSERT(pthread_mutex_lock(&engine->lock) == 0);
    size_t count = string_map_count(engine->leases);
    ASSERT(pthread_mutex_unlock(&engine->lock) == 0);
    return count;
}
