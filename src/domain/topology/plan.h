/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From a create request and the catalog to a plan: which nodes with which services on which types, their
 * names, the graph of tasks, what the firewall will let through, the certificates and secrets, and the cost.
 * Making a plan changes nothing; the same input gives the same plan, byte for byte. What is made from a plan
 * later is exactly what the preview showed. One thread at a time; a plan owns (or holds references to)
 * everything it points to. */

#include "domain/catalog/decimal.h"
#include "domain/topology/graph.h"
#include "domain/topology/request.h"

typedef struct PlanLayout {
    uint32_t count;
    const uint32_t *services; /* indexes, ascending */
    size_t service_count;
    const char *hardware_type, *image_type;
} PlanLayout;

typedef struct Plan {
    Arena *arena;
    const char *cluster_name, *dns_suffix;
    CatalogEntry *template, *provider;
    CatalogEntry **services; /* by name */
    size_t service_count;
    json_t *config; /* effective, macros not expanded */
    PlanLayout *layout;
    size_t layout_count;
    ClusterNode *nodes; /* by number */
    size_t node_count;
    TaskGraph *graph;
    uint32_t *critical_path; /* task indexes */
    size_t critical_path_length;
    Decimal hourly_cost;
    bool is_cost_complete; /* every node's type has a cost */
    int64_t lease;         /* ms; 0 = for ever */
    json_t *warnings;      /* array of strings */
} Plan;

typedef struct PlanSettings {
    uint64_t cluster_number;     /* goes into the host names; 0 = preview */
    uint64_t solver_step_budget; /* 0 = the solver's own */
    unsigned graph_flags;
} PlanSettings;

/* -EINVAL with every fault in issues; warnings go to issues too. Another negative errno with *error set when
 * the catalog could not be read. settings may be NULL. */
int plan_create(Catalog *catalog, const ClusterRequest *request, const PlanSettings *settings,
                Plan **ret_plan, IssueList *issues, Error *error);
Plan *plan_free(Plan *plan);
DEFINE_CLEANUP(Plan, plan_free);
#define _cleanup_plan_ _cleanup_(plan_free_pointer)

/* The answer of POST /cluster-plans. Owned. */
json_t *plan_to_json(const Plan *plan);
/* "start web on 1002"; owned. */
char *plan_task_describe(const Plan *plan, uint32_t task);
/* The cluster as the graph and operations on it see it; borrowed from the plan. */
ClusterShape plan_shape(const Plan *plan);
/* What the engine stores with a task so that the provisioner can be told what to do, without addresses,
 * expanded parameters or secrets: service action, bundle script, certificate names as written, timeout. Owned
 * object. */
json_t *plan_task_details(const Plan *plan, uint32_t task);
/* From the fields of a script action, else the default of the action. */
int64_t plan_task_timeout(const Plan *plan, uint32_t task);
