/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Running a helper program, without a shell and with nothing inherited but its three standard streams. The
 * calling thread waits; nothing is kept. */

#include <stddef.h>

/* Waits for its end; standard input is the data, the environment a fixed small one, output goes to our
 * standard error. 0, negative errno, or -EIO when it ended with anything but 0. arguments[0] is an absolute
 * path. */
int process_run(const char *const *arguments, const void *input, size_t input_size);

/* What other processes see as our command line, without the paths of the machine. Remember first, in main. */
void process_remember_arguments(int argc, char **argv);
void process_set_title(const char *title);
