/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A cluster as a task of it needs to see it: the snapshot that it was made from, its nodes as they are now,
 * its sealed secrets. Read in one job; owns everything. One thread. */

#include "api/api_internal.h"
#include "crypto/x509.h"
#include "domain/firewall/firewall.h"
#include "domain/macro/macro.h"

typedef struct ViewNode {
    MacroNode macro;
    const char *id, *hardware_type, *flavor, *image_type, *image, *ssh_user, *provider_id;
    int64_t ssh_port;
    json_t *addresses, *host_keys; /* owned by the view */
} ViewNode;

typedef struct ViewSecret {
    const char *name, *context;
    StoreBlob value;
} ViewSecret;

typedef struct ClusterView {
    Arena *arena;
    const char *cluster_id, *cluster_name, *owner;
    json_t *snapshot, *config;                              /* owned */
    const json_t *template, *provider, *services, *bundles; /* of the snapshot */
    ViewNode *nodes;
    MacroNode *macro_nodes;
    size_t node_count;
    const ViewNode *self; /* the task's node */
    MacroView *macros;
    ViewSecret *secrets, *provider_secrets;
    size_t secret_count, provider_secret_count;
    CatalogEntry **entries; /* of self's services, made for the firewall */
    size_t entry_count;
} ClusterView;

/* Who counts as there: everybody but those that are deleted or lost, and for a task that is final also those
 * that are about to leave; the task's own node always does. details: of the task. */
int cluster_view_read(Api *api, const char *tenant, const char *cluster_id, const char *node_id,
                      const char *details, ClusterView **ret_view, Error *error);
ClusterView *cluster_view_free(ClusterView *view);
DEFINE_CLEANUP(ClusterView, cluster_view_free);
/* What the firewall of `self` is made of; in the arena. */
int cluster_view_firewall(ClusterView *view, Arena *arena, FirewallInput *ret_input, Error *error);
/* The names of a certificate, evaluated for a node; in a job. details: of the task. */
int certificate_names(StoreTransaction *transaction, Arena *arena, const char *tenant, const char *cluster_id,
                      const char *node_id, const char *service, const char *details,
                      const char **ret_common_name, StringList *ret_dns_names, IpAddress **ret_addresses,
                      size_t *ret_address_count, Error *error);
