/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The layout solver: which services share a machine, on what hardware and image, and how many such machines
 * there are. Pure and deterministic: no clock, no randomness, no I/O, no floating point; the same problem
 * gives the same answer on every machine. Complete: IMPOSSIBLE is a proof, and comes with a smallest set of
 * constraints that contradict each other. Bounded: a budget of steps, after which it says GAVE_UP. Any
 * thread; nothing is shared between calls; one may use 1 MiB of stack.
 *
 * Rules. A service that no constraint mentions is on every node. Every other requested service is on at least
 * one node, unless a minimum of 0 was stated. A node has all members of a must-coexist set or none, never all
 * members of a cant-coexist set, at least one service, and hardware and image that all its services allow.
 * Members that are not in the cluster do not count in a must-coexist set and make a cant-coexist set
 * harmless.
 *
 * Preference. A new node's hardware and image are the first that all its services allow: those of the
 * preference list in its order, then the others by name. Layouts are ordered: more services first, then
 * hardware, then image (in that same order), then the sorted service names, then where the node comes from:
 * existing classes in their order, new nodes last. The answer is the one whose vector of layout counts in
 * that order is lexicographically greatest.
 *
 * Existing nodes (adding services, growing, shrinking) are classes of equal nodes. They keep what they have;
 * nodes are added only when node_count exceeds their number and removed only when it is below. Among the
 * answers, those come first that put the fewest services which the cluster already has on further existing
 * nodes (what must-coexist sets force a node to take is not counted); preference decides the rest. */

#include "base/error.h"

enum {
    LAYOUT_SERVICES_MAX = 512,
    LAYOUT_BLOCKS_MAX = 128, /* constrained services; those that must coexist count as one */
    LAYOUT_SETS_MAX = 1024,  /* of each kind */
    LAYOUT_TYPES_MAX = 256,  /* hardware, and image */
    LAYOUT_CLASSES_MAX = 64,
    LAYOUT_NODES_MAX = 1000000,
};

#define LAYOUT_UNLIMITED UINT32_MAX
/* One to three seconds of one core; common problems take some thousands. An explanation may take as much
 * again. */
#define LAYOUT_BUDGET_DEFAULT UINT64_C(10000000)

/* Borrowed names. */
typedef struct LayoutNames {
    const char *const *items;
    size_t count;
} LayoutNames;

typedef struct LayoutService {
    const char *name;
    uint32_t minimum, maximum; /* nodes; maximum LAYOUT_UNLIMITED = none */
    bool is_minimum_stated;
    bool is_constrained; /* the template has a constraint for it (it may still state nothing) */
    bool has_quantity;   /* the request fixes the number of nodes */
    uint32_t quantity;
    LayoutNames hardware, images; /* empty = all */
} LayoutService;

/* Equal nodes that exist already. */
typedef struct LayoutClass {
    LayoutNames services;         /* of the problem's services */
    const char *hardware, *image; /* need not be candidates for new nodes */
    uint32_t count;
    bool may_extend; /* may take more services */
    bool may_remove;
} LayoutClass;

typedef struct LayoutProblem {
    const LayoutService *services;
    size_t service_count;
    const LayoutNames *must_coexist, *cant_coexist; /* may name services that are not in the cluster */
    size_t must_coexist_count, cant_coexist_count;
    LayoutNames hardware, images;                      /* candidates for new nodes, in any order */
    LayoutNames hardware_preference, image_preference; /* may be empty; unknown names are ignored */
    uint32_t node_count;                               /* in all, existing nodes included */
    const LayoutClass *existing;
    size_t existing_count;
    uint64_t budget; /* steps; 0 = LAYOUT_BUDGET_DEFAULT */
} LayoutProblem;

typedef enum LayoutStatus {
    LAYOUT_SOLVED,
    LAYOUT_IMPOSSIBLE,
    LAYOUT_GAVE_UP,
    _LAYOUT_STATUS_MAX,
} LayoutStatus;

typedef enum LayoutConflictKind {
    LAYOUT_CONFLICT_NODE_COUNT,
    LAYOUT_CONFLICT_EXISTING, /* index of the class: alone, when its nodes cannot stay whatever else is
                                 dropped */
    LAYOUT_CONFLICT_IMAGES,   /* index of the service, as for the other kinds below */
    LAYOUT_CONFLICT_HARDWARE,
    LAYOUT_CONFLICT_MAXIMUM,
    LAYOUT_CONFLICT_MUST_COEXIST, /* index of the set */
    LAYOUT_CONFLICT_CANT_COEXIST, /* index of the set */
    LAYOUT_CONFLICT_QUANTITY,
    LAYOUT_CONFLICT_MINIMUM,
    _LAYOUT_CONFLICT_MAX,
} LayoutConflictKind;

typedef struct LayoutConflict {
    LayoutConflictKind kind;
    size_t index;
    char *sentence; /* "'a' and 'b' must not share a machine" */
} LayoutConflict;

typedef struct LayoutNodes {
    const char **services; /* borrowed from the problem, sorted */
    size_t service_count;
    const char *hardware, *image; /* borrowed from the problem */
    uint32_t count;
    int existing; /* the class that these nodes are of, or -1: new */
} LayoutNodes;

typedef struct LayoutResult {
    LayoutStatus status;
    LayoutNodes *nodes; /* SOLVED: in layout order */
    size_t node_class_count;
    uint32_t *removed; /* SOLVED: how many nodes of each existing class go; existing_count items */
    size_t removed_count;
    LayoutConflict *conflicts; /* IMPOSSIBLE: removing any one makes the problem solvable ... */
    size_t conflict_count;
    bool is_minimal; /* ... if this is set; else the budget ended before all were tried */
    char *summary;   /* IMPOSSIBLE, GAVE_UP: one text for the operator */
    uint64_t steps;
} LayoutResult;

const char *layout_status_to_string(LayoutStatus status);
const char *layout_conflict_kind_to_string(LayoutConflictKind kind);

/* 0 with *ret_result filled (its texts borrow from the problem; done with layout_result_done), -EINVAL or
 * -E2BIG with *error for a problem that is malformed (duplicate names, no candidates, limits). A result is
 * checked by layout_verify before it is handed out. */
int layout_solve(const LayoutProblem *problem, LayoutResult *ret_result, Error *error);
void layout_result_done(LayoutResult *result);
#define _cleanup_layout_result_ _cleanup_(layout_result_done)

/* Checks a SOLVED result against the rules above, sharing no code with the solver: 0, or -EBADMSG with the
 * first rule that is broken. Preference between valid answers is not judged, the order and the choice of
 * hardware and image are. */
int layout_verify(const LayoutProblem *problem, const LayoutResult *result, Error *error);

/* The same for nodes in any order and with any allowed hardware and image: for clusters not made by the
 * solver. */
int layout_check(const LayoutProblem *problem, const LayoutNodes *nodes, size_t node_class_count,
                 Error *error);
