/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Finding and ending what a step has started. A supervisor is the subreaper of its step, so that whatever the
 * script starts stays below it however often it forks or changes its session. One thread. */

#include <sys/types.h>

#include "base/macros.h"

/* Sends the signal to all descendants of the process (not to itself); how many there were. */
unsigned processes_signal_descendants(pid_t ancestor, int signal);
/* For a supervisor that was killed: kills what carries the step's id in its environment. (Numbers of
 * processes and sessions may have been given out again, so they prove nothing.) */
unsigned processes_kill_leftovers(const char *step);

/* In the child of a fork: leaves the session of the connection, closes every descriptor but `kept` (-1 =
 * none), and puts the null device in place of the first three. */
void process_detach(int kept);

/* Runs a program by argument vector, with input on its standard input; collects at most output_limit bytes of
 * standard output and the beginning of standard error. Killed after timeout_ms (-ETIMEDOUT). Returns the exit
 * status (128 + signal). */
typedef struct Command {
    const char *const *arguments; /* [0] is an absolute path */
    const void *input;
    size_t input_size;
    size_t output_limit; /* more than that is -E2BIG */
    int timeout_ms;
} Command;
int command_run(const Command *command, char **ret_output, char ret_error[static 1024]);
