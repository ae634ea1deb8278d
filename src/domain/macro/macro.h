/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Macros in configuration values and links: text between percent signs that stands for something of the
 * cluster.
 *
 *   %cluster.name%  %cluster.id%  %cluster.owner%
 *   %host.self%  %host.service.S%  %host.service.S[i]%
 *   %ip.self%  %ip.T.self%  %ip.service.S%  %ip.T.service.S%  (and [i]); T = access_v4, bind_v4, access_v6,
 * bind_v6 %num.service.S%  %instance.self.service.S% %join(X,'d')%  %map(X,'fmt')%  %join(map(X,'fmt'),'d')%
 * X = a host or ip macro; $ = the item, $$ = a dollar %secret.NAME%   only as a whole value; never becomes
 * the value, but a reference to it
 *
 * Lists are in the order of node numbers everywhere. `%%` stands for itself and stays as it is; a percent
 * sign that does not begin something like a macro ("50 % of", "%H:%M") is text. Anything that begins like one
 * must be one: unknown names are errors, with the column. Parsing and evaluation are separate, so documents
 * are checked when they are written. Pure; any thread. Memory is the caller's arena. */

#include "base/error.h"
#include "base/json.h"
#include "base/string.h"

typedef enum MacroKind {
    MACRO_CLUSTER_NAME,
    MACRO_CLUSTER_ID,
    MACRO_CLUSTER_OWNER,
    MACRO_HOST,
    MACRO_ADDRESS,
    MACRO_COUNT,
    MACRO_INSTANCE,
    MACRO_SECRET,
} MacroKind;

typedef enum AddressType {
    ADDRESS_ACCESS_V4,
    ADDRESS_BIND_V4,
    ADDRESS_ACCESS_V6,
    ADDRESS_BIND_V6,
    _ADDRESS_TYPE_MAX,
    _ADDRESS_TYPE_INVALID = -22,
} AddressType;

const char *address_type_to_string(AddressType type);
AddressType address_type_from_string(const char *text);

typedef struct Macro {
    MacroKind kind;
    const char *service; /* NULL = self, or not about nodes */
    int64_t index;       /* -1 = all */
    AddressType address_type;
    const char *secret;
    bool is_joined;
    const char *delimiter; /* "," unless said */
    const char *format;    /* of map; NULL = the item itself */
} Macro;

typedef struct MacroPart {
    const char *literal; /* NULL = a macro */
    Macro macro;
    unsigned column;  /* of the percent sign, from 1 */
    const char *text; /* the macro as it was written, with its percent signs */
} MacroPart;

typedef struct MacroText {
    MacroPart *parts;
    size_t count;
} MacroText;

enum { MACRO_TEXT_LIMIT = 65536, MACRO_NAME_LIMIT = 255, MACRO_INDEX_LIMIT = 100000 };

/* A whole value. -EINVAL with ERROR_BAD_MACRO; error->column is set. */
int macro_parse(Arena *arena, const char *text, MacroText *ret_text, Error *error);
/* What stands between two percent signs, nothing before or after it. */
int macro_parse_expression(Arena *arena, const char *expression, Macro *ret_macro, Error *error);

/* Each string value below `value` (objects and arrays); stops at the first callback that returns negative.
 * path is the member's path. */
typedef int (*MacroVisit)(void *context, const char *path, const MacroText *text, Error *error);
/* error->field names the member. Values that are malformed are reported through visit_error when it is given
 * (and the walk goes on), else they end the walk. */
typedef void (*MacroVisitError)(void *context, const char *path, const Error *error);
int macro_walk(Arena *arena, const json_t *value, const char *path, MacroVisit visit,
               MacroVisitError visit_error, void *context, Error *error);

/* What a configuration needs to know before it can be expanded. */
typedef struct MacroReferences {
    StringList services;         /* named at all */
    StringList address_services; /* whose addresses are needed: known only once their nodes are confirmed */
    StringList host_services;    /* whose host names are needed: known from the plan */
    StringList secrets;
    bool needs_own_address;
} MacroReferences;
void macro_references_done(MacroReferences *references);
#define _cleanup_macro_references_ _cleanup_(macro_references_done)
/* Of a configuration or of any part of one. Sorted lists. */
int macro_references(const json_t *config, MacroReferences *ret_references, Error *error);

/* The cluster as the macros see it. All borrowed. */
typedef struct MacroNode {
    uint32_t number;
    const char *hostname;                     /* NULL = not known */
    const char *addresses[_ADDRESS_TYPE_MAX]; /* NULL = not known; bind falls back to access */
    const char *const *services;
    size_t service_count;
} MacroNode;

typedef struct MacroView MacroView;
/* nodes in any order; borrowed until the view is freed. absent_services (may be NULL): services that exist
 * and are not in this cluster. */
MacroView *macro_view_new(const char *cluster_name, const char *cluster_id, const char *owner,
                          const MacroNode *nodes, size_t node_count, const char *const *absent_services,
                          size_t absent_count);
MacroView *macro_view_free(MacroView *view);
DEFINE_CLEANUP(MacroView, macro_view_free);
#define _cleanup_macro_view_ _cleanup_(macro_view_free_pointer)

/* Expands one value for the node with this number (0 = none: `self` macros are then errors). Macros about a
 * service that exists but has no node here, and %instance.self.service.S% on a node without S, stay as they
 * are, because one configuration serves all nodes; everything else that cannot be answered is an error. */
int macro_expand(const MacroView *view, uint32_t node, const char *text, char **ret_text, Error *error);
/* A copy of the configuration with every string value expanded. A value "%secret.NAME%" becomes {"$secret":
 * "NAME"} and NAME is added to secrets (may be NULL). */
int macro_expand_json(const MacroView *view, uint32_t node, const json_t *config, json_t **ret_config,
                      StringList *secrets, Error *error);
#define MACRO_SECRET_MEMBER "$secret"
