/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A create request against the catalog: defaults filled in, everything looked up, every rule checked that
 * does not need the solver. What is left is a layout problem: services, candidates, constraints, a number of
 * nodes. */

#include "domain/topology/request.h"

typedef struct TypeCandidate {
    CatalogEntry *entry; /* reference */
    const CatalogMapping *mapping;
} TypeCandidate;

typedef struct ResolvedConstraint {
    const ServiceConstraint *given; /* of the template; NULL = none */
    bool has_quantity;              /* the request fixes the number of nodes */
    int64_t quantity;
} ResolvedConstraint;

typedef struct Resolution {
    Arena *arena;
    CatalogEntry *template, *provider;
    CatalogEntry **services;         /* by name; references */
    ResolvedConstraint *constraints; /* one a service */
    size_t service_count;
    TypeCandidate *hardware, *images; /* by name */
    size_t hardware_count, image_count;
    int64_t node_count;
    const json_t *config; /* borrowed from the request or the template; NULL = none */
    const char *dns_suffix;
    int64_t lease;
} Resolution;

/* 0, or -EINVAL with every fault in issues, or another errno with *error set. */
int cluster_resolve(Catalog *catalog, const ClusterRequest *request, Resolution **ret_resolution,
                    IssueList *issues, Error *error);
Resolution *resolution_free(Resolution *resolution);
DEFINE_CLEANUP(Resolution, resolution_free);
#define _cleanup_resolution_ _cleanup_(resolution_free_pointer)
/* The index of a service, or -1. */
ssize_t resolution_find(const Resolution *resolution, const char *service);
