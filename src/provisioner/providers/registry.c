/* SPDX-License-Identifier: Apache-2.0 */
#include "base/string.h"
#include "provisioner/providers/provider.h"

const Provider *const providers[] = {&provider_sandbox, &provider_hosts, NULL};

const Provider *provider_find(const char *type)
{
    for (const Provider *const *provider = providers; *provider; provider++)
        if (string_equal((*provider)->type, type))
            return *provider;
    return NULL;
}

int execute_provider(ExecuteContext *context, Outcome *outcome, Error *error)
{
    const Task *task = context->task;
    const Provider *provider = provider_find(task->provider_type);
    if (!provider)
        return error_set_field(error, ERROR_BAD_REFERENCE, "provider.type",
                               "this provisioner has no provider \"%s\"", task->provider_type);
    if (string_equal(task->action, "create"))
        return provider->create(context, &outcome->result, error);
    if (string_equal(task->action, "confirm"))
        return provider->confirm ? provider->confirm(context, &outcome->result, error) : 0;
    if (string_equal(task->action, "delete"))
        return provider->remove(context, error);
    return error_set_field(error, ERROR_BAD_FIELD, "action", "a provider does not know the action \"%s\"",
                           task->action);
}
