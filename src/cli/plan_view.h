/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A plan (docs/internals/protocols.md, section 5) for people. Main thread. */

#include "base/json.h"

void plan_view_print(const json_t *plan, const char *name);
/* The preview of an operation on a cluster that exists. */
void change_view_print(const json_t *plan);
