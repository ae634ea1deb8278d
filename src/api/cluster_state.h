/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A cluster as the planner of changes needs it, read from the database. It owns everything that its state
 * borrows. One thread at a time. */

#include "api/api_internal.h"
#include "api/catalog_store.h"
#include "domain/topology/change.h"

typedef struct LoadedState {
    Arena *arena;
    ClusterState state;
    json_t *snapshot, *request, *config, *manifests; /* owned */
    MemoryCatalog *catalog;
    const char **node_ids; /* as the nodes of the state */
} LoadedState;

/* In a job. Nothing of the row is kept. */
int loaded_state_read(StoreTransaction *transaction, const char *tenant, const ClusterGetRow *row,
                      LoadedState **ret_state, Error *error);
/* In the same job, for operations that need more than what the cluster was made from: the catalog, the
 * manifests of its bundles, and those of services that are to come. */
int loaded_state_read_catalog(StoreTransaction *transaction, const char *tenant, const NameList *services,
                              LoadedState *loaded, Error *error);
LoadedState *loaded_state_free(LoadedState *loaded);
DEFINE_CLEANUP(LoadedState, loaded_state_free);
#define _cleanup_loaded_state_ _cleanup_(loaded_state_free_pointer)
