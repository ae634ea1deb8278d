/* SPDX-License-Identifier: Apache-2.0 */
#include "base/string.h"
#include "engine/engine_internal.h"

static void append_change(EngineEffects *effects, const char *execution_id, int64_t number,
                          const char *provisioner_id, int64_t attempt)
{
    if (effects->change_count == effects->change_capacity) {
        effects->change_capacity = MAX(effects->change_capacity * 2, (size_t)16);
        effects->changes =
            memory_resize_array(effects->changes, effects->change_capacity, sizeof(*effects->changes));
    }
    char task[TASK_ID_SIZE];
    task_id_format(task, execution_id, number);
    effects->changes[effects->change_count++] = (struct EngineLeaseChange){
        .task = string_duplicate(task),
        .provisioner_id = string_duplicate(provisioner_id),
        .attempt = attempt,
    };
}

void effects_lease(EngineEffects *effects, const char *execution_id, int64_t number,
                   const char *provisioner_id, int64_t attempt)
{
    append_change(effects, execution_id, number, provisioner_id, attempt);
}

void effects_recover(EngineEffects *effects, const char *execution_id, int64_t number,
                     const char *provisioner_id, int64_t attempt)
{
    append_change(effects, execution_id, number, provisioner_id, attempt);
    effects->changes[effects->change_count - 1].is_recovered = true;
}

void effects_release(EngineEffects *effects, const char *execution_id, int64_t number)
{
    append_change(effects, execution_id, number, "", 0);
}

void engine_effects_reset(EngineEffects *effects)
{
    for (size_t i = 0; i < effects->change_count; i++) {
        free(effects->changes[i].task);
        free(effects->changes[i].provisioner_id);
    }
    effects->change_count = 0;
    effects->has_events = false;
    effects->has_runnable = false;
    effects->was_limited = false;
}

void engine_effects_done(EngineEffects *effects)
{
    engine_effects_reset(effects);
    free(effects->changes);
    *effects = (EngineEffects){0};
}
