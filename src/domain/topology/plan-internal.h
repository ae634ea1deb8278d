/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Steps from a resolved request to a plan, shared by what makes clusters and what changes them. Pure; one
 * thread at a time. */

#include "domain/layout/layout.h"
#include "domain/topology/plan.h"
#include "domain/topology/resolve.h"

/* The layout problem of a resolution, with nodes that exist already. */
int plan_solve(Arena *arena, const Resolution *resolution, const LayoutClass *existing, size_t existing_count,
               uint64_t budget, LayoutResult *ret_result, Error *error);
/* A layout that cannot be: the reasons become issues. -EINVAL. */
int plan_report_unsolved(const LayoutResult *result, IssueList *issues);
/* Fills in what the provider calls the node's types. */
void plan_map_types(const Plan *plan, const Resolution *resolution, ClusterNode *node);
