/* SPDX-License-Identifier: Apache-2.0 */
/* Executions that stand still: whoever had one done has lost the right to it (an account that was
 * deactivated, a role or a membership that was taken). What runs on a node runs to its end; no further step
 * is handed out until somebody entitled has it go on, or cancels it. */

#include "base/string.h"
#include "engine/engine_internal.h"

static int record(Transition *transition, const char *tenant, const char *cluster_id,
                  const char *execution_id, const char *action, const char *severity, const char *message)
{
    int r = engine_publish(transition->transaction,
                           &(EngineEvent){.tenant = tenant,
                                          .type = action,
                                          .severity = severity,
                                          .cluster_id = cluster_id,
                                          .execution_id = execution_id,
                                          .message = message},
                           transition->effects, transition->error);
    if (r < 0)
        return r;
    return audit_trail_append(transition->transaction,
                              &(AuditRecord){.actor = transition->actor,
                                             .tenant = tenant,
                                             .action = action,
                                             .object = arena_format(store_arena(transition->transaction),
                                                                    "execution:%s", execution_id)},
                              transition->error);
}

static int hold(Transition *transition, const char *tenant, const char *execution_id,
                const ExecutionResponsibleRow *row)
{
    int r = statement_execution_hold(transition->transaction,
                                     &(ExecutionHoldParameters){.tenant = tenant, .id = execution_id},
                                     transition->error);
    if (r <= 0)
        return r;
    const char *message = arena_format(store_arena(transition->transaction),
                                       "'%s' may not have this done any more; it waits for somebody who may.",
                                       row->responsible);
    return record(transition, tenant, row->cluster_id, execution_id, "execution_held", "warning", message);
}

int execution_check_entitled(Transition *transition, const char *tenant, const char *execution_id)
{
    const EngineSettings *settings = &transition->engine->settings;
    ExecutionResponsibleRow row;
    if (!settings->is_entitled || string_equal(transition->batch->entitled_execution, execution_id))
        return 1;
    int r = statement_execution_responsible(
        transition->transaction, &(ExecutionResponsibleParameters){.tenant = tenant, .id = execution_id},
        &row, transition->error);
    if (r <= 0 || row.is_held)
        return MIN(r, 0);
    r = settings->is_entitled(transition->transaction, tenant, row.responsible, row.cluster_id, row.workflow,
                              settings->userdata, transition->error);
    if (r > 0)
        transition->batch->entitled_execution = execution_id;
    if (r == 0)
        r = hold(transition, tenant, execution_id, &row);
    else
        return r;
    return MIN(r, 0);
}

int engine_resume(Engine *engine, StoreTransaction *transaction, const char *tenant, const char *execution_id,
                  const char *actor, EngineEffects *effects, Error *error)
{
    Transition transition = {
        .engine = engine, .transaction = transaction, .effects = effects, .error = error, .actor = actor};
    ExecutionResponsibleRow row;
    int r = statement_execution_responsible(
        transaction, &(ExecutionResponsibleParameters){.tenant = tenant, .id = execution_id}, &row, error);
    if (r <= 0)
        return r < 0 ? r : error_set(error, ERROR_NOT_FOUND, "There is no execution '%s'.", execution_id);
    r = statement_execution_resume(
        transaction, &(ExecutionResumeParameters){.tenant = tenant, .id = execution_id, .responsible = actor},
        error);
    if (r <= 0)
        return r < 0 ? r : error_set(error, ERROR_CONFLICT, "The execution does not stand still.");
    effects->has_runnable = true;
    return record(&transition, tenant, row.cluster_id, execution_id, "execution_resumed", "info",
                  arena_format(store_arena(transaction), "'%s' has it go on.", actor));
}
