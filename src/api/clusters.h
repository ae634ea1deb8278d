/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Clusters, between the files of this folder: the handlers that plan and create, on pool threads, and the
 * step from a plan to an execution, in a write job. The plan stays the caller's. */

#include "api/api_internal.h"
#include "domain/topology/plan.h"

int cluster_plan_handler(ApiCall *call, Error *error);
int cluster_create_handler(ApiCall *call, Error *error);
/* In a write job: the graph of a plan as an execution. node_ids by the plan's nodes. */
int cluster_submit_graph(ApiCall *call, const Plan *plan, const char *cluster_id, const char *const *node_ids,
                         const char *workflow, const char **ret_execution_id, Error *error);
