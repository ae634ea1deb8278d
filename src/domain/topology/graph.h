/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The task graph of one operation on a cluster: which tasks there are and which must end before which. There
 * are no stages: a task may run as soon as its last predecessor has succeeded.
 *
 * Rules. On a node the hardware tasks follow each other; then each service has a chain of the actions that it
 * defines, which begins after the node's bootstrap. Across nodes: INSTALL(A) waits for INSTALL(B) when A
 * depends on B to install; INITIALIZE(A) and START(A) wait for START(B) when A depends on B to run; STOP(B)
 * waits for STOP(A). Names that a service provides stand for all its present providers; `uses` count only
 * when present; what lacks the action passes the edge on to its own dependencies; edges that follow from
 * others are left out. When create or new services change the cluster's network, each node gets one firewall
 * task between its bootstrap and its first START, and tasks whose configuration needs addresses of others
 * wait for the CONFIRM of those.
 *
 * "All of group U before each of group V" costs |U| x |V| edges; beyond |U| + |V| it goes through one task of
 * kind `join`, which the engine itself completes. So the number of edges is linear in the number of nodes.
 * Tasks and edges come in one order that depends on the input only. Pure; one thread at a time per graph. */

#include "domain/catalog/catalog.h"
#include "domain/macro/macro.h"

typedef enum TaskKind {
    TASK_KIND_PROVIDER,
    TASK_KIND_AUTOMATOR,
    TASK_KIND_FIREWALL,
    TASK_KIND_CERTIFICATE,
    TASK_KIND_BOOTSTRAP,
    TASK_KIND_JOIN,
    _TASK_KIND_MAX,
} TaskKind;

typedef enum TaskAction {
    TASK_CREATE,
    TASK_CONFIRM,
    TASK_BOOTSTRAP,
    TASK_FIREWALL,
    TASK_INSTALL,
    TASK_CERTIFICATE,
    TASK_CONFIGURE,
    TASK_INITIALIZE,
    TASK_START,
    TASK_STOP,
    TASK_REMOVE,
    TASK_DELETE,
    TASK_JOIN,
    _TASK_ACTION_MAX,
    _TASK_ACTION_INVALID = -22,
} TaskAction;

const char *task_kind_to_string(TaskKind kind);
const char *task_action_to_string(TaskAction action);
TaskAction task_action_from_string(const char *text);
TaskKind task_action_kind(TaskAction action);

enum { TASK_NOTHING = UINT32_MAX };

typedef struct PlanTask {
    TaskAction action;
    uint32_t node;        /* index into the nodes, or TASK_NOTHING */
    uint32_t service;     /* index into the services, or TASK_NOTHING */
    uint32_t certificate; /* index into the service's certificates, or TASK_NOTHING */
    const char *label;    /* of a join: what it waits for; else NULL */
    bool is_final;        /* is told of the cluster without the nodes that leave */
} PlanTask;

typedef struct PlanEdge {
    uint32_t before, after; /* task indexes */
} PlanEdge;

typedef struct ClusterNode {
    uint32_t number; /* from 1000 */
    const char *hostname;
    const char *hardware_type, *image_type, *flavor, *image, *ssh_user; /* NULL where not known */
    const uint32_t *services;                                           /* ascending indexes */
    size_t service_count;
} ClusterNode;

/* A cluster as the graph sees it. All borrowed. Services by name, nodes by number. */
typedef struct ClusterShape {
    CatalogEntry *const *services;
    size_t service_count;
    const ClusterNode *nodes;
    size_t node_count;
    const json_t *config; /* macros in it decide who waits for addresses; NULL = none */
} ClusterShape;

typedef enum ClusterAction {
    CLUSTER_CREATE,
    CLUSTER_DELETE,
    CLUSTER_CONFIGURE,
    CLUSTER_CONFIGURE_WITH_RESTART,
    CLUSTER_STOP_SERVICES,
    CLUSTER_START_SERVICES,
    CLUSTER_RESTART_SERVICES,
    CLUSTER_ADD_SERVICES,
    _CLUSTER_ACTION_MAX,
    _CLUSTER_ACTION_INVALID = -22,
} ClusterAction;

const char *cluster_action_to_string(ClusterAction action);

enum {
    GRAPH_WITHOUT_FIREWALL = 1 << 0,     /* no firewall tasks */
    GRAPH_WITHOUT_CERTIFICATES = 1 << 1, /* no certificate tasks */
    GRAPH_ASSUME_RUNNING = 1 << 2, /* dependencies outside the plan run already: do not start them again */
    GRAPH_WITHOUT_JOINS = 1 << 3,  /* direct edges only; for comparing */
};

typedef struct GraphScope {
    const bool *services; /* NULL = all; else one a service */
    const bool *nodes;    /* NULL = all; else one a node */
    unsigned flags;
} GraphScope;

/* A change of who is in a cluster, or of what services are told. */
typedef enum NodeFate {
    NODE_KEPT,
    NODE_NEW,
    NODE_LEAVING, /* its services are stopped before it is deleted */
    NODE_LOST,    /* it cannot be reached, or never worked: it is only deleted */
} NodeFate;

enum {
    SLOT_NEW = 1 << 0,        /* the service comes to this node */
    SLOT_TOLD = 1 << 1,       /* it is configured again while the cluster grows */
    SLOT_TOLD_AGAIN = 1 << 2, /* ... and while it shrinks */
};

typedef struct GraphChange {
    const uint8_t *nodes;        /* NodeFate, one a node */
    const uint8_t *slots;        /* flags, one a service on a node: by node, then as the node lists them */
    const bool *firewalls;       /* one a node: the rules change while the cluster grows */
    const bool *later_firewalls; /* ... and while it shrinks */
    size_t batch;                /* nodes with one service that may be told at a time; 0 = all */
    unsigned flags;
} GraphChange;

typedef struct TaskGraph {
    Arena *arena; /* labels */
    PlanTask *tasks;
    size_t task_count, task_capacity;
    PlanEdge *edges;
    size_t edge_count, edge_capacity;
} TaskGraph;

/* ERROR_CYCLE names the services that wait for each other. */
int task_graph_build(const ClusterShape *shape, ClusterAction action, const GraphScope *scope,
                     TaskGraph **ret_graph, Error *error);
/* The shape holds all nodes: those that stay with what they have afterwards, new ones, those that leave. */
int task_graph_build_change(const ClusterShape *shape, const GraphChange *change, TaskGraph **ret_graph,
                            Error *error);
TaskGraph *task_graph_free(TaskGraph *graph);
DEFINE_CLEANUP(TaskGraph, task_graph_free);
#define _cleanup_task_graph_ _cleanup_(task_graph_free_pointer)

/* An order in which each task comes after its predecessors (owned array of task_count indexes), or
 * ERROR_CYCLE. */
int task_graph_order(const TaskGraph *graph, uint32_t **ret_order, Error *error);
/* The longest path in tasks, joins not counted (owned array). */
int task_graph_critical_path(const TaskGraph *graph, uint32_t **ret_path, size_t *ret_length, Error *error);

/* The dependencies among the services of a shape that a rule follows, for tests and explanations. matrix[a *
 * n + b]: a waits for b. SERVICE_INSTALL: to install; SERVICE_START, SERVICE_STOP: to run. Minimal, passed
 * through. Owned. */
int service_dependencies(const ClusterShape *shape, ServiceAction action, bool **ret_matrix, Error *error);
