/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a user asks for: the create request of a cluster in both spellings ("template" and "clusterTemplate",
 * "nodes" and "numMachines"). Borrowed from the document except the lists, which live in the arena of the
 * request. */

#include "domain/catalog/catalog.h"

typedef struct RequestQuantity {
    const char *service;
    int64_t count;
} RequestQuantity;

typedef struct ClusterRequest {
    Arena *arena;
    json_t *document;
    const char *name, *template, *description;
    int64_t nodes; /* 0 = as few as the template says */
    const char *provider, *hardware_type, *image_type, *dns_suffix;
    NameList services; /* empty and !has_services = the template's */
    bool has_services;
    const json_t *config; /* object or NULL: replaces the template's whole */
    const json_t *provider_fields;
    int64_t lease; /* ms; -1 = the template's */
    RequestQuantity *quantities;
    size_t quantity_count;
} ClusterRequest;

enum { CLUSTER_NODES_LIMIT = 10000 };

/* Unknown members are errors. -EINVAL with every fault in issues. */
int cluster_request_parse(json_t *document, ClusterRequest **ret_request, IssueList *issues);
ClusterRequest *cluster_request_free(ClusterRequest *request);
DEFINE_CLEANUP(ClusterRequest, cluster_request_free);
#define _cleanup_cluster_request_ _cleanup_(cluster_request_free_pointer)
