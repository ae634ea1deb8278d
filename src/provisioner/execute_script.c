/* SPDX-License-Identifier: Apache-2.0 */

/* Scripts of approved bundles: the one way in which anything of a user runs on a node (PR9). */

#include <errno.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "provisioner/execute.h"

enum { OUTPUT_LIMIT = 4 * 1024 * 1024 };
#define CANCEL_GRACE (10 * USEC_PER_SEC)
#define PATIENCE     (180 * USEC_PER_SEC)

typedef struct Output {
    const ExecuteContext *context;
    MaskStream streams[2];
    uint64_t offsets[2]; /* of the masked text */
} Output;

static void send_masked(Output *output, RunnerStream stream, const void *data, size_t size, bool is_end)
{
    unsigned index = (unsigned)stream - RUNNER_STDOUT;
    _cleanup_buffer_ Buffer masked = BUFFER_INIT;
    if (mask_stream_feed(&output->streams[index], data, size, is_end, &masked) < 0 || masked.size == 0)
        return;
    const ExecuteServices *services = output->context->services;
    services->send_output(output->context->task, stream, output->offsets[index], masked.data, masked.size,
                          services->userdata);
    output->offsets[index] += masked.size;
}

static void take_output(RunnerStream stream, const void *data, size_t size, void *userdata)
{
    send_masked(userdata, stream, data, size, false);
}

static void end_output(Output *output)
{
    for (RunnerStream stream = RUNNER_STDOUT; stream <= RUNNER_STDERR; stream++) {
        send_masked(output, stream, "", 0, true);
        mask_stream_done(&output->streams[stream - RUNNER_STDOUT]);
    }
}

/* The secrets of the task that the script says it uses. */
static size_t choose_secrets(const ExecuteContext *context, const BundleScript *script,
                             NodeStepSecret *secrets)
{
    size_t count = 0;
    for (size_t i = 0; i < context->secret_count; i++)
        for (size_t k = 0; k < script->secret_count; k++)
            if (string_equal(context->secret_names[i], script->secrets[k])) {
                secrets[count++] =
                    (NodeStepSecret){.name = context->secret_names[i], .value = context->secrets[i]};
                break;
            }
    return count;
}

static int check_secrets(const BundleScript *script, size_t count, Error *error)
{
    return count == script->secret_count
               ? 0
               : error_set(error, ERROR_BAD_REFERENCE,
                           "the script \"%s\" needs secrets that this task has not", script->path);
}

static int note_end(const NodeStepResult *result, Outcome *outcome, Error *error)
{
    if (result->results && json_object_size(result->results) > 0)
        outcome->result = json_pack("{sO}", "outputs", result->results);
    if (result->end == NODE_STEP_NEEDS_DECISION) {
        outcome->state = OUTCOME_UNKNOWN;
        return error_set(error, ERROR_CONFLICT, "%s",
                         result->message ? result->message : "nobody knows how the step ended");
    }
    if (result->is_cancelled) {
        outcome->state = OUTCOME_CANCELLED;
        return error_set(error, ERROR_CANCELLED, "the step was ended on the node");
    }
    if (result->is_timed_out)
        return error_set(error, ERROR_TIMED_OUT, "the step did not end in its time and was killed");
    if (result->signal != 0)
        return error_set(error, ERROR_STEP_FAILED, "the script was killed by signal %d", result->signal);
    if (result->exit_status != 0)
        return error_set(error, ERROR_STEP_FAILED, "the script ended with status %d%s%s", result->exit_status,
                         result->message ? ": " : "", result->message ? result->message : "");
    if (result->message)
        return error_set(error, ERROR_STEP_FAILED, "%s", result->message);
    return 0;
}

typedef struct Files {
    NodeStepFile *items;
    char **sources; /* owned */
    size_t count;
} Files;

static void files_done(Files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->sources[i]);
    free(files->items);
    free(files->sources);
}

static void list_files(const ApprovedBundle *approved, Files *files)
{
    const Bundle *bundle = approved->bundle;
    files->items = NEW_ARRAY(NodeStepFile, bundle->file_count + 1);
    files->sources = NEW_ARRAY(char *, bundle->file_count + 1);
    for (size_t i = 0; i < bundle->file_count; i++) {
        files->sources[i] = path_join(approved->directory, bundle->files[i].path);
        files->items[i] = (NodeStepFile){
            .digest = bundle->files[i].digest, .path = bundle->files[i].path, .source = files->sources[i]};
        files->count++;
    }
}

static Usec step_timeout(const ExecuteContext *context, const BundleScript *script)
{
    Usec now = clock_monotonic(&system_clock);
    Usec left = context->deadline > now ? context->deadline - now : USEC_PER_MSEC;
    Usec own = (Usec)script->timeout_ms * USEC_PER_MSEC;
    return own > 0 ? MIN(own, left) : left;
}

static int run_on_node(ExecuteContext *context, const NodeDoor *door, NodeStep *step,
                       NodeStepResult *ret_result, Error *error)
{
    Output output = {.context = context, .streams = {MASK_STREAM(context->mask), MASK_STREAM(context->mask)}};
    step->output = take_output;
    step->userdata = &output; /* cppcheck-suppress autoVariables ; taken back below */
    int r = node_run_step(door, step, ret_result, error);
    step->output = NULL;
    step->userdata = NULL;
    end_output(&output);
    return r;
}

int execute_script(ExecuteContext *context, const char *step_id, const char *script_path, Outcome *outcome,
                   Error *error)
{
    const Task *task = context->task;
    if (!task->has_bundle)
        return error_set_field(error, ERROR_BAD_FIELD, "bundle", "a script runs only out of a bundle");
    ApprovedBundle approved;
    int r =
        approval_get_bundle(context->services->approval, task->tenant, task->bundle_digest, &approved, error);
    if (r < 0)
        return r;
    const BundleScript *script = bundle_find_script(approved.bundle, script_path);
    if (!script)
        return error_set(error, ERROR_NOT_APPROVED, "\"%s\" is not a script of the bundle \"%s\"",
                         script_path, approved.bundle->name);
    NodeDoor door;
    r = execute_door(context, &door, error);
    if (r >= 0)
        r = bundle_check_parameters(script, task->parameters, error);
    if (r < 0)
        return r;
    _cleanup_free_ NodeStepSecret *secrets = NEW_ARRAY(NodeStepSecret, context->secret_count + 1);
    size_t secret_count = choose_secrets(context, script, secrets);
    r = check_secrets(script, secret_count, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *json = task->parameters ? json_to_text(task->parameters) : string_duplicate("{}"),
                        *flat = NULL;
    if (strlen(json) > RUNNER_PARAMETERS_MAX ||
        task_flatten_parameters(task->parameters, RUNNER_PARAMETERS_MAX, &flat) < 0)
        return error_set_field(error, ERROR_TOO_LARGE, "parameters", "at most %d bytes",
                               RUNNER_PARAMETERS_MAX);
    Files files = {0};
    list_files(&approved, &files);
    NodeStep step = {
        .step = step_id,
        .script = script_path,
        .attempt = (uint32_t)task->attempt,
        .timeout = step_timeout(context, script),
        .output_limit = OUTPUT_LIMIT,
        .is_idempotent = script->is_idempotent && task->is_idempotent,
        .files = files.items,
        .file_count = files.count,
        .secrets = secrets,
        .secret_count = secret_count,
        .parameters_json = json,
        .parameters_flat = flat,
        .is_cancelled = &context->is_cancelled,
        .cancel_grace = CANCEL_GRACE,
        .patience = PATIENCE,
    };
    NodeStepResult result = {0};
    r = run_on_node(context, &door, &step, &result, error);
    files_done(&files);
    if (r >= 0) {
        r = note_end(&result, outcome, error);
        /* A script that may run again gets another chance: what it needed may come later. */
        outcome->is_retry_sensible = r < 0 && error->code == ERROR_STEP_FAILED && step.is_idempotent;
    } else if (result.may_have_begun) {
        /* It may be running there, or have ended: only the node knows, and it does not answer. */
        outcome->state = OUTCOME_UNKNOWN;
        outcome->is_retry_sensible = step.is_idempotent;
    }
    node_step_result_done(&result);
    return r;
}
