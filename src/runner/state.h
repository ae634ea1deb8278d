/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the runner keeps on its node, and where. Everything lies below a state directory that only its own
 * user can enter, so paths are plain strings; secrets lie below a directory on tmpfs. The journal of a step
 * is two files: "begun" is written and synced before the script starts, "done" (with the result) when it has
 * ended. A lock file, held by the step's supervisor for its whole life, says whether the step is running: the
 * kernel gives it back however the supervisor ends. One thread. */

#include <sys/types.h>

#include "base/buffer.h"
#include "base/macros.h"

typedef struct RunnerState {
    char *directory; /* owned; "/var/lib/bastide" */
    char *secrets;   /* owned; "/run/bastide" */
    char boot_id[64];
    char connection[33]; /* random, one per process */
} RunnerState;

/* Makes and checks the directories. On failure *ret_reason (static text) says what is wrong. */
int runner_state_open(const char *directory, const char *secrets, RunnerState *ret_state,
                      const char **ret_reason);
void runner_state_done(RunnerState *state);

/* Owned paths. */
char *runner_step_path(const RunnerState *state, const char *step, const char *file /* or NULL */);
char *runner_secrets_path(const RunnerState *state, const char *step);
char *runner_content_path(const RunnerState *state, const uint8_t digest[static 32]);

/* Takes the lock of a step: a descriptor, -EAGAIN while the step has a supervisor, -ENOENT without such a
 * step. */
int runner_step_lock(const RunnerState *state, const char *step);
/* Looks without taking it: 1, 0, or -ENOENT. */
int runner_step_is_running(const RunnerState *state, const char *step);

typedef struct StepDone {
    int exit_status, signal;
    bool is_timed_out, is_cancelled;
    char message[1024];
} StepDone;

int runner_done_write(const RunnerState *state, const char *step, const StepDone *done);
/* -ENOENT when the step has not ended. */
int runner_done_read(const RunnerState *state, const char *step, StepDone *ret_done);

typedef struct StepBegun {
    char boot_id[64];
    pid_t session;
} StepBegun;
int runner_begun_write(const RunnerState *state, const char *step, pid_t session);
int runner_begun_read(const RunnerState *state, const char *step, StepBegun *ret_begun);

/* Overwrites and removes the secrets of a step; absent is fine. */
int runner_secrets_wipe(const RunnerState *state, const char *step);
/* Removes the secrets whose step has no supervisor any more (it was killed), and steps that ended long ago.
 */
void runner_state_clean(const RunnerState *state);
/* Forgets a step that is not running: -EBUSY when it is. */
int runner_step_forget(const RunnerState *state, const char *step);
/* -ESTALE when the holder has shown a higher epoch before. */
int runner_epoch_check(const RunnerState *state, const char *holder, uint64_t epoch);
