/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One step on a node: preparing its directory, starting its supervisor, and the supervisor itself.
 *
 * Theory of operation. step_start() is called with the step's lock held. It lays out the directory (copies of
 * the bundle's files by digest, parameters, secrets on tmpfs), forks, and gives the lock to the child: the
 * supervisor. The supervisor leaves the session of the connection, writes "begun", starts the script,
 * collects its output into two capped files, enforces the time limit, obeys a "cancel" file, wipes the
 * secrets and writes "done". It needs nobody: the connection may go, another may come and read the files.
 * When the script ends by itself, what it left running stays (a start script starts daemons); when it is
 * ended by time or cancellation everything below the supervisor is killed. When the supervisor itself is
 * killed, the script dies with it (parent death signal), "done" is missing and the lock is free: nobody can
 * say what took effect. */

#include "runner/state.h"

typedef struct StepFile {
    uint8_t digest[32];
    char *path; /* owned */
} StepFile;

typedef struct StepSecret {
    char *name;           /* owned */
    const uint8_t *value; /* borrowed from the frame */
    size_t size;
} StepSecret;

typedef struct StepRequest {
    char *step, *name; /* owned */
    uint32_t attempt;
    uint64_t timeout_ms, output_limit;
    bool is_idempotent;
    StepFile *files; /* owned */
    size_t file_count;
    StepSecret *secrets; /* owned */
    size_t secret_count;
    const uint8_t *parameters_json, *parameters_flat; /* borrowed */
    size_t parameters_json_size, parameters_flat_size;
    uint8_t *wipe_in_child; /* the frame: overwritten in the supervisor before it does anything else */
    size_t wipe_size;
} StepRequest;
void step_request_done(StepRequest *request);

/* Consumes the lock on success. On failure nothing has begun and ret_text says why. */
int step_start(const RunnerState *state, const StepRequest *request, int lock, char ret_text[static 512]);
/* Before a step runs again: ends what a killed supervisor left running since this boot. Lock held. */
void step_clear_leftovers(const RunnerState *state, const char *step);
/* Asks the supervisor of a running step to end it; harmless when it has ended. */
int step_cancel(const RunnerState *state, const char *step, uint32_t grace_ms);
