/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/step.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "runner/content.h"
#include "runner/processes.h"
#include "runner/protocol.h"
#include "runner/supervisor.h"

void step_request_done(StepRequest *request)
{
    for (size_t i = 0; i < request->file_count; i++)
        free(request->files[i].path);
    for (size_t i = 0; i < request->secret_count; i++)
        free(request->secrets[i].name);
    free(request->files);
    free(request->secrets);
    free(request->step);
    free(request->name);
    *request = (StepRequest){0};
}

static int explain(char text[static 512], int error, const char *what, const char *name)
{
    (void)string_print(text, 512, "%s \"%s\": %s", what, name, strerror(-error));
    return error;
}

static int copy_files(const RunnerState *state, const StepRequest *request, const char *work,
                      char text[static 512])
{
    for (size_t i = 0; i < request->file_count; i++) {
        const StepFile *file = &request->files[i];
        _cleanup_free_ char *path = path_join(work, file->path);
        char *slash = strrchr(path, '/');
        *slash = 0;
        int r = directory_make(path, 0755);
        *slash = '/';
        if (r >= 0)
            r = content_copy(state, file->digest, path);
        if (r == -EBADMSG)
            (void)string_print(text, 512, "the stored content of \"%s\" does not match its digest",
                               file->path);
        else if (r < 0)
            (void)explain(text, r, "cannot place the file", file->path);
        if (r < 0)
            return r;
    }
    return 0;
}

static int write_secrets(const RunnerState *state, const StepRequest *request, char text[static 512])
{
    int r = runner_secrets_wipe(state, request->step);
    if (r >= 0 && request->secret_count == 0)
        return 0;
    _cleanup_free_ char *directory = runner_secrets_path(state, request->step);
    if (r >= 0 && mkdir(directory, 0700) < 0)
        r = -errno;
    if (r < 0)
        return explain(text, r, "cannot make the directory for secrets of", request->step);
    for (size_t i = 0; i < request->secret_count; i++) {
        const StepSecret *secret = &request->secrets[i];
        _cleanup_free_ char *path = path_join(directory, secret->name);
        _cleanup_close_ int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        r = file < 0 ? -errno : write_full(file, secret->value, secret->size);
        if (r < 0)
            return explain(text, r, "cannot write the secret", secret->name);
    }
    return 0;
}

static int write_inputs(const RunnerState *state, const StepRequest *request)
{
    const struct {
        const char *name;
        const uint8_t *data;
        size_t size;
    } inputs[] = {
        {"parameters", request->parameters_flat, request->parameters_flat_size},
        {"parameters.json", request->parameters_json, request->parameters_json_size},
    };
    for (size_t i = 0; i < ELEMENTSOF(inputs); i++) {
        _cleanup_free_ char *path = runner_step_path(state, request->step, inputs[i].name);
        _cleanup_close_ int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r = file < 0 ? -errno : write_full(file, inputs[i].data, inputs[i].size);
        if (r < 0)
            return r;
    }
    char text[1024 + RUNNER_PATH_MAX];
    int r = string_print(
        text, sizeof(text),
        "name %s\nattempt %" PRIu32 "\ntimeout_ms %" PRIu64 "\noutput_limit %" PRIu64 "\nidempotent %d\n",
        request->name, request->attempt, request->timeout_ms, request->output_limit, request->is_idempotent);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = runner_step_path(state, request->step, "request");
    _cleanup_close_ int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return file < 0 ? -errno : write_full(file, text, strlen(text));
}

/* An earlier run of the step that never ended leaves files that must not be taken for this run's. */
static int clear_step(const RunnerState *state, const char *step)
{
    static const char *const leftovers[] = {"begun", "done", "cancel", "stdout", "stderr"};
    for (size_t i = 0; i < ELEMENTSOF(leftovers); i++) {
        _cleanup_free_ char *path = runner_step_path(state, step, leftovers[i]);
        if (unlink(path) < 0 && errno != ENOENT)
            return -errno;
    }
    static const char *const folders[] = {"work", "results"};
    for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
        _cleanup_free_ char *path = runner_step_path(state, step, folders[i]);
        int r = directory_remove(path);
        if (r >= 0 && mkdir(path, 0700) < 0)
            r = -errno;
        if (r < 0)
            return r;
    }
    return 0;
}

static int prepare(const RunnerState *state, const StepRequest *request, char text[static 512])
{
    int r = clear_step(state, request->step);
    if (r >= 0)
        r = write_inputs(state, request);
    if (r < 0)
        return explain(text, r, "cannot prepare the directory of step", request->step);
    _cleanup_free_ char *work = runner_step_path(state, request->step, "work");
    r = copy_files(state, request, work, text);
    return r < 0 ? r : write_secrets(state, request, text);
}

int step_start(const RunnerState *state, const StepRequest *request, int lock, char ret_text[static 512])
{
    ret_text[0] = 0;
    int r = prepare(state, request, ret_text);
    if (r >= 0) {
        pid_t pid = fork();
        if (pid == 0)
            supervisor_main(state, request, lock);
        if (pid < 0)
            r = explain(ret_text, -errno, "cannot start the supervisor of step", request->step);
    }
    if (r < 0) {
        (void)runner_secrets_wipe(state, request->step);
        return r;
    }
    (void)close(lock);
    return 0;
}

void step_clear_leftovers(const RunnerState *state, const char *step)
{
    StepBegun begun;
    if (runner_begun_read(state, step, &begun) >= 0 && string_equal(begun.boot_id, state->boot_id))
        (void)processes_kill_leftovers(step);
}

int step_cancel(const RunnerState *state, const char *step, uint32_t grace_ms)
{
    _cleanup_free_ char *directory = runner_step_path(state, step, NULL);
    if (access(directory, F_OK) < 0)
        return -errno;
    char text[32];
    int r = string_print(text, sizeof(text), "%" PRIu32 "\n", grace_ms);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = runner_step_path(state, step, "cancel");
    return file_write_atomic(path, text, strlen(text), 0600);
}
