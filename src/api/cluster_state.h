/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A cluster as the planner of changes needs it, read from the database. It owns everything that its state
 * borrows. One thread at a time. */

#include "api/api_internal.h"
#include "domain/topology/change.h"

typedef struct LoadedState {
    Arena *arena;
    ClusterState state;
    json_t *snapshot, *request, *config; /* owned */
    const char **node_ids;               /* as the nodes of the state */
} LoadedState;

/* In a job. Nothing of the row is kept. */
int loaded_state_read(StoreTransaction *transaction, const char *tenant, const ClusterGetRow *row,
                      LoadedState **ret_state, Error *error);
LoadedState *loaded_state_free(LoadedState *loaded);
DEFINE_CLEANUP(LoadedState, loaded_state_free);
#define _cleanup_loaded_state_ _cleanup_(loaded_state_free_pointer)
