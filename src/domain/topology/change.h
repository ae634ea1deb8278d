/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Changes of a cluster that exists: which tasks an operation consists of, and what the cluster looks like
 * afterwards. The documents are those that the cluster was made from (its snapshot), not those that the
 * catalog has now. Making a plan changes nothing; the same cluster and request give the same plan and the
 * same digest, so a preview can be held against what then runs. One thread at a time. */

#include "crypto/hash.h"
#include "domain/macro/macro.h"
#include "domain/topology/plan.h"

typedef enum ChangeOperation {
    CHANGE_START,
    CHANGE_STOP,
    CHANGE_RESTART,
    CHANGE_ADD_SERVICES,
    CHANGE_SCALE,
    CHANGE_REPLACE,
    _CHANGE_OPERATION_MAX,
    _CHANGE_OPERATION_INVALID = -22,
} ChangeOperation;

/* "restart"; also the name of the workflow that the engine runs. */
const char *change_operation_to_string(ChangeOperation operation);
ChangeOperation change_operation_from_string(const char *text);

/* Borrowed from the document that it was read from, lists from the arena. */
typedef struct ChangeRequest {
    const char *operation_name; /* NULL = the caller's default */
    ChangeOperation operation;
    NameList services; /* empty = all */
    int64_t nodes;     /* scale: in all; 0 = as the quantities need them */
    RequestQuantity *quantities;
    size_t quantity_count;
    int64_t *numbers; /* of nodes that go */
    size_t number_count;
    bool is_dead;            /* those cannot be reached: nothing is stopped on them */
    int64_t revision;        /* of the cluster that the caller saw; 0 = any */
    const char *plan_digest; /* of the preview that the caller saw; NULL = any */
    json_t *service_array, *quantity_object, *remove_array, *node_array;
} ChangeRequest;

extern const JsonField change_fields[];
/* Also checks that the members fit the operation. */
int change_request_parse(Arena *arena, json_t *document, ChangeRequest *ret_request, Error *error);

/* A node that exists. */
typedef struct StateNode {
    uint32_t number;
    const char *hostname, *status;
    const char *hardware_type, *image_type, *flavor, *image, *ssh_user;
    const char *addresses[_ADDRESS_TYPE_MAX]; /* NULL = not known */
    NameList services;
    bool is_member;   /* the work that made it was completed */
    NodeFate leaving; /* of work that was not completed: NODE_LEAVING, NODE_LOST; else NODE_KEPT */
} StateNode;

/* A cluster as it is. All borrowed. */
typedef struct ClusterState {
    const char *id, *name, *owner;
    int64_t template_version, revision;
    json_t *snapshot; /* {template, provider, services} */
    const json_t *request, *config;
    const StateNode *nodes; /* by number, without those that are deleted */
    size_t node_count;
    uint32_t next_number;    /* of a new node: none before had it */
    bool is_settled;         /* the last work succeeded, so what was told is known */
    const json_t *manifests; /* of the cluster's bundles, by name */
    Catalog *catalog;        /* as it is now, with the documents of the snapshot in place of newer ones */
} ClusterState;

typedef struct Change {
    Plan *plan; /* the cluster afterwards, and the tasks that lead there */
    ChangeOperation operation;
    uint8_t *fates;        /* NodeFate of the plan's nodes; NULL = all stay */
    size_t existing_count; /* so many of the plan's nodes exist already */
    json_t *request;       /* from which the cluster could have been made as it is then; NULL = as before */
    json_t *told;          /* [{node, service, when, parameters}]; NULL = nobody */
    char digest[HASH_HEX_SIZE]; /* over all that the tasks depend on */
} Change;

/* 0, -EINVAL with every fault in issues (which must be given), or another negative errno with *error set. */
int change_make(const ClusterState *state, const ChangeRequest *request, Change **ret_change,
                IssueList *issues, Error *error);
Change *change_free(Change *change);
DEFINE_CLEANUP(Change, change_free);
#define _cleanup_change_ _cleanup_(change_free_pointer)

/* Whether the operation changes which nodes and services there are. */
bool change_is_of_members(ChangeOperation operation);

/* The preview: what plan_to_json() gives, with operation, steps in an order in which they can run, revision
 * and digest. Owned. */
json_t *change_to_json(const ClusterState *state, const Change *change);
