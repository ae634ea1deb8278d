/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of this folder share about changes of clusters. Pure; one thread at a time. */

#include "domain/topology/change.h"
#include "domain/topology/internal.h"

/* One making of a plan. All borrowed but the change, which the maker fills. */
typedef struct Maker {
    const ClusterState *state;
    const ChangeRequest *request;
    Change *change;
    Arena *arena; /* of the plan */
    IssueList *issues;
    Error *error;
    size_t existing;                 /* that many of the plan's nodes exist; the others are new */
    const ClusterNode *nodes_before; /* those that exist, with the services that they have now */
    GraphChange graph;
    uint8_t *fates, *slots;
    bool *firewalls, *later_firewalls;
} Maker;

ssize_t plan_find_service(const Plan *plan, const char *name);
/* Which nodes and services there are afterwards; fills fates and the plan's nodes. */
int change_scale(Maker *maker);
int change_add_services(Maker *maker);
int change_replace(Maker *maker);
/* Who must be told, by comparing what each service reads before and after; fills slots and firewalls. */
int change_find_told(Maker *maker);
