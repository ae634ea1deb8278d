/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An automator does something to a service on a node. Each is a const struct in the table of registry.c. */

#include "provisioner/execute.h"

typedef struct Automator {
    const char *type; /* "script" */
    const char *summary;
    int (*run)(ExecuteContext *context, Outcome *outcome, Error *error);
} Automator;

extern const Automator automator_script;
extern const Automator *const automators[]; /* ended by NULL */
const Automator *automator_find(const char *type);
