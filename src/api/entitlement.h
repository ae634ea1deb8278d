/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whether who answers for an execution may still have it done: asked by the engine before each step is handed
 * out, so that work ends with the right to it (SV8). In jobs. */

#include "domain/access/access.h"
#include "store/store.h"

/* What a workflow needs. */
Permission permission_of_workflow(const char *workflow);
/* 1 or 0, or negative; userdata is not used. "system" is the installation itself. */
int execution_is_entitled(StoreTransaction *transaction, const char *tenant, const char *username,
                          const char *cluster_id, const char *workflow, void *userdata, Error *error);
