/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Matrices of dependencies and the growing graph, shared by the files of this folder only. Pure; matrices are
 * owned by the caller. */

#include "domain/topology/graph.h"

uint32_t graph_add_task(TaskGraph *graph, TaskAction action, uint32_t node, uint32_t service);
void graph_add_edge(TaskGraph *graph, uint32_t before, uint32_t after);
/* Each of `before` precedes each of `after`; over the join that *join remembers when that is fewer edges. */
void graph_connect(TaskGraph *graph, const uint32_t *before, size_t before_count, const uint32_t *after,
                   size_t after_count, unsigned flags, uint32_t *join, const char *label);
/* Edges in order, each once. */
void graph_unique_edges(TaskGraph *graph);

/* Raw dependencies: matrix[a * n + b] = a depends on b, provides expanded, absent ones left out. Owned. */
bool *service_matrix(const ClusterShape *shape, bool is_runtime);
/* reach[a * n + b]: a depends on b over any number of steps. Owned. */
bool *matrix_closure(const bool *matrix, size_t count);
/* The closure of the dependencies; ERROR_CYCLE. Owned. */
int service_reach(const ClusterShape *shape, bool is_runtime, bool **ret_reach, Error *error);
/* Who waits for whom when only services with the action count. Owned. */
bool *matrix_minimal(const bool *reach, const bool *has_action, size_t count);
bool service_has_action(const CatalogEntry *service, ServiceAction action);
/* Whether a running service must be stopped to take a new configuration. */
bool service_restarts_to_configure(const CatalogEntry *service);
