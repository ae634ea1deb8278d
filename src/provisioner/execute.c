/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/execute.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/envelope.h"

static const char *const state_names[] = {
    [OUTCOME_SUCCEEDED] = "succeeded",
    [OUTCOME_FAILED] = "failed",
    [OUTCOME_CANCELLED] = "cancelled",
    [OUTCOME_UNKNOWN] = "unknown",
};

const char *outcome_state_to_string(OutcomeState state)
{
    return state_names[state];
}

void outcome_done(Outcome *outcome)
{
    json_decref(outcome->result);
    *outcome = (Outcome){0};
}

/* --- secrets --- */

static int open_secret(ExecuteContext *context, const char *name, const json_t *envelope, Error *error)
{
    const Task *task = context->task;
    const char *secret_context = json_string_value(json_object_get(task->secret_contexts, name));
    _cleanup_free_ uint8_t *sealed = NULL;
    size_t size;
    if (!secret_context)
        return error_set_field(error, ERROR_BAD_FIELD, "secret_contexts", "the secret \"%s\" has no context",
                               name);
    if (base64_decode(json_string_value(envelope), json_string_length(envelope),
                      ENVELOPE_PLAIN_MAX + ENVELOPE_OVERHEAD + ENVELOPE_CONTEXT_MAX, &sealed, &size) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "secrets", "the envelope of \"%s\" is malformed",
                               name);
    Secret *value = NULL;
    if (envelope_open(context->services->envelope_key, secret_context, sealed, size, &value) < 0)
        return error_set_field(error, ERROR_CRYPTO, "secrets",
                               "the envelope of \"%s\" does not open with this provisioner's key", name);
    context->secret_names[context->secret_count] = name;
    context->secrets[context->secret_count++] = value;
    mask_add(context->mask, value);
    return 0;
}

static int open_secrets(ExecuteContext *context, Error *error)
{
    size_t count = json_object_size(context->task->secrets);
    context->secrets = NEW_ARRAY(Secret *, count + 1);
    context->secret_names = NEW_ARRAY(const char *, count + 1);
    const char *name;
    const json_t *envelope;
    json_object_foreach (context->task->secrets, name, envelope) {
        int r = open_secret(context, name, envelope, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static void close_secrets(ExecuteContext *context)
{
    for (size_t i = 0; i < context->secret_count; i++)
        secret_free(context->secrets[i]);
    free(context->secrets);
    free(context->secret_names);
    context->secrets = NULL;
    context->secret_names = NULL;
    context->secret_count = 0;
}

/* --- the node --- */

static int get_credential(void *userdata, SshCredential **ret_credential, Error *error)
{
    const ExecuteContext *context = userdata;
    return credentials_get(context->services->credentials, context->task->cluster, ret_credential, error);
}

int execute_door(ExecuteContext *context, NodeDoor *ret_door, Error *error)
{
    const TaskNode *node = &context->task->node;
    const char *address = node->access_v4 ? node->access_v4 : node->access_v6;
    if (!address)
        return error_set_field(error, ERROR_BAD_FIELD, "node.addresses", "the node has no address yet");
    if (node->host_key_count == 0)
        return error_set_field(error, ERROR_UNTRUSTED, "node.host_keys",
                               "the node has no known host key, so it cannot be trusted");
    *ret_door = (NodeDoor){
        .pool = context->services->pool,
        .node = {.address = address,
                 .port = (uint16_t)node->ssh_port,
                 .user = node->ssh_user,
                 .host_keys = node->host_keys,
                 .host_key_count = node->host_key_count},
        .get_credential = get_credential,
        .userdata = context,
        .is_abandoned = &context->is_abandoned,
    };
    return 0;
}

/* --- running --- */

static int (*const executors[])(ExecuteContext *, Outcome *, Error *) = {
    [TASK_PROVIDER] = execute_provider,   [TASK_AUTOMATOR] = execute_automator,
    [TASK_FIREWALL] = execute_firewall,   [TASK_CERTIFICATE] = execute_certificate,
    [TASK_BOOTSTRAP] = execute_bootstrap,
};

static void mask_error(const Mask *mask, Error *error)
{
    _cleanup_free_ char *text = mask_text(mask, error->text), *details = mask_text(mask, error->details);
    (void)string_copy(error->text, sizeof(error->text), text);
    (void)string_copy(error->details, sizeof(error->details), details);
}

/* What a script prints as a result is as public as its output. */
static json_t *mask_json(const Mask *mask, json_t *value)
{
    if (json_is_string(value)) {
        _cleanup_free_ char *text = mask_text(mask, json_string_value(value));
        return json_string(text);
    }
    if (json_is_array(value)) {
        json_t *copy = json_array();
        for (size_t i = 0; i < json_array_size(value); i++)
            (void)json_array_append_new(copy, mask_json(mask, json_array_get(value, i)));
        return copy;
    }
    if (json_is_object(value)) {
        json_t *copy = json_object();
        const char *name;
        json_t *member;
        json_object_foreach (value, name, member)
            (void)json_object_set_new(copy, name, mask_json(mask, member));
        return copy;
    }
    return json_incref(value);
}

void execute_task(ExecuteContext *context, Outcome *ret_outcome)
{
    Outcome outcome = {0};
    Error error = ERROR_INIT;
    context->mask = mask_new();
    context->deadline = clock_monotonic(&system_clock) + (Usec)context->task->timeout_ms * USEC_PER_MSEC;
    int r = open_secrets(context, &error);
    if (r >= 0)
        r = executors[context->task->kind](context, &outcome, &error);
    if (r < 0) {
        bool is_cancelled = context->is_cancelled || error.code == ERROR_CANCELLED;
        if (outcome.state == OUTCOME_SUCCEEDED)
            outcome.state = is_cancelled ? OUTCOME_CANCELLED : OUTCOME_FAILED;
        const ErrorDescription *description = error_describe(error.code);
        if (outcome.state == OUTCOME_FAILED)
            outcome.is_retry_sensible |= description->is_retry_sensible;
        mask_error(context->mask, &error);
        outcome.error = error;
    }
    if (outcome.result) {
        json_t *masked = mask_json(context->mask, outcome.result);
        json_decref(outcome.result);
        outcome.result = masked;
    }
    close_secrets(context);
    mask_free(context->mask);
    context->mask = NULL;
    *ret_outcome = outcome;
}
