/* SPDX-License-Identifier: Apache-2.0 */

/* Scripts of an approved, digest-pinned bundle. */

#include "provisioner/automators/automator.h"

static int script_run(ExecuteContext *context, Outcome *outcome, Error *error)
{
    const Task *task = context->task;
    if (!task->script)
        return error_set_field(error, ERROR_BAD_FIELD, "service.action.fields.script",
                               "the action names no script");
    return execute_script(context, task->step, task->script, outcome, error);
}

const Automator automator_script = {
    .type = "script",
    .summary = "scripts of approved bundles, run by the runner on the node",
    .run = script_run,
};
