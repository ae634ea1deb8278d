/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between options.c and options_help.c only. Main thread; everything is borrowed. */

#include "base/options.h"

/* True when the name of the verb is the group's word, or begins with it and a space. */
bool verb_is_in_group(const Verb *verb, const char *group, size_t group_length);
/* Help for the verbs whose first word is `group`. */
void program_print_group_help(const Program *program, const char *group, FILE *stream);
