/* SPDX-License-Identifier: Apache-2.0 */
#include "base/string.h"
#include "provisioner/automators/automator.h"

const Automator *const automators[] = {&automator_script, NULL};

const Automator *automator_find(const char *type)
{
    for (const Automator *const *automator = automators; *automator; automator++)
        if (string_equal((*automator)->type, type))
            return *automator;
    return NULL;
}

int execute_automator(ExecuteContext *context, Outcome *outcome, Error *error)
{
    const Automator *automator = automator_find(context->task->automator);
    if (!automator)
        return error_set_field(error, ERROR_BAD_REFERENCE, "service.action.type",
                               "this provisioner has no automator \"%s\"", context->task->automator);
    return automator->run(context, outcome, error);
}
