/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Clusters, between the files of this folder: the handlers that plan and create, on pool threads, and the
 * step from a plan to an execution, in a write job. The plan stays the caller's. */

#include "api/api_internal.h"
#include "domain/topology/plan.h"

int cluster_plan_handler(ApiCall *call, Error *error);
int cluster_create_handler(ApiCall *call, Error *error);
int cluster_change_plan_handler(ApiCall *call, Error *error);
int cluster_change_handler(ApiCall *call, Error *error);

/* In a job: by id, or by name among those that are not terminated. ERROR_NOT_FOUND when there is none. */
int cluster_find(ApiCall *call, const char *id_or_name, ClusterGetRow *ret_row, Error *error);

/* In a job: adds the newest approved version of each bundle that the services name and that is not pinned
 * yet. */
int cluster_pin_bundles(StoreTransaction *transaction, const char *tenant, CatalogEntry *const *services,
                        size_t count, json_t *bundles, Error *error);
/* In a write job: whether the tenant may have so many more. */
int cluster_check_quota(ApiCall *call, int64_t clusters, size_t nodes, Error *error);
/* In a write job: the plan's nodes from `first` on, with machines of the pool where there is one. */
int cluster_insert_nodes(ApiCall *call, const Plan *plan, const char *cluster_id, size_t first,
                         const char **node_ids, Error *error);

typedef struct ClusterSubmission {
    const char *cluster_id, *workflow;
    const char *const *node_ids; /* as the nodes of the plan */
    const char *parameters;      /* JSON text; NULL = {} */
} ClusterSubmission;
/* In a write job: the graph of a plan as an execution. */
int cluster_submit_graph(ApiCall *call, const Plan *plan, const ClusterSubmission *submission,
                         const char **ret_execution_id, Error *error);
