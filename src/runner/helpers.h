/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What scripts call to read their parameters and secrets; also reachable as bastide-param, bastide-secret,
 * bastide-list. */

#include "base/macros.h"

/* Each takes the arguments behind the verb, writes to standard output, returns an exit status (1 = not
 * there). */
int helper_parameter(int argc, char **argv);
int helper_secret(int argc, char **argv);
int helper_list(int argc, char **argv);

/* The flat form of parameters, one "path<TAB>value" a line: looks a path up; owned, NULL when absent. */
char *parameters_find(const char *text, const char *path);
