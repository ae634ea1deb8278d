/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Routes and calls. A route stands in exactly one table (routes_<resource>); its permission and tenant rule
 * stand beside its path. PERMISSION_OPEN must be spelled out: a row without a permission does not compile
 * (ROUTE has no default), and tools/check-routes compares the table with the list of open routes in the
 * security model. */

#include "api/writer.h"
#include "base/json.h"
#include "domain/access/access.h"
#include "engine/audit_trail.h"
#include "engine/engine.h"
#include "net/http_server.h"
#include "store/statements.h"

typedef struct Api Api;
typedef struct ApiCall ApiCall;
typedef struct ApiRoute ApiRoute;
typedef struct RouteObject RouteObject;

/* Runs in a job (transaction set) or, for ROUTE_POOL, on a pool thread (transaction NULL). Sets status and
 * answer. */
typedef int (*ApiHandler)(ApiCall *call, Error *error);

typedef enum TenantRule {
    NO_TENANT,
    NEEDS_TENANT,   /* of the header or the token */
    TENANT_OF_PATH, /* the first parameter */
} TenantRule;
typedef enum RouteMode {
    ROUTE_READ,   /* in a read job */
    ROUTE_WRITE,  /* in a write job, audited */
    ROUTE_POOL,   /* on a pool thread: blocks */
    ROUTE_STREAM, /* becomes an event stream */
} RouteMode;
typedef enum RouteBody { NO_BODY, JSON_BODY, RAW_BODY } RouteBody;

enum { ROUTE_PARAMETERS_MAX = 3, ROUTE_BODY_DEFAULT = 1024 * 1024 };

/* A parameter of the query, for the description. */
typedef struct RouteQuery {
    const char *name; /* NULL ends the table */
    const char *description;
    int64_t minimum, maximum; /* of a number; 0 and 0 = a string */
} RouteQuery;

struct ApiRoute {
    HttpMethod method;
    const char *path; /* below the base, "/clusters/{id}" */
    Permission permission;
    TenantRule tenant;
    RouteMode mode;
    RouteBody body;
    size_t body_limit; /* 0 = ROUTE_BODY_DEFAULT */
    ApiHandler handler;
    const char *action; /* name of the audit record for what changes something; NULL = none */
    const char *summary;
    const JsonField *fields;   /* of the body, for the description; NULL = free */
    const RouteQuery *query;   /* NULL = none */
    const char *content_type;  /* of the answer; NULL = JSON */
    const RouteObject *object; /* what the path names, when it has an owner and a visibility (resources.c) */
    int success_status;
    /* Of what changes something: the path of the GET route that shows the object, and the member of the body
     * that names it. NULL = what route_object() finds. */
    const char *shown_by, *shown_member;
    const char *unshown;    /* why no GET route can show what it changes */
    bool has_secret_answer; /* it is shown once: never kept for a repetition of the request */
    bool shows_object;      /* a GET of one object whose path does not end with its name */
    bool while_sealed;      /* also served while the keeper is sealed */
};

#define ROUTE(method_, path_, permission_, tenant_, mode_, body_, handler_, action_, status_, summary_, ...) \
    {                                                                                                        \
        .method = HTTP_METHOD_##method_, .path = path_, .permission = PERMISSION_##permission_,              \
        .tenant = tenant_, .mode = ROUTE_##mode_, .body = body_, .handler = handler_, .action = action_,     \
        .success_status = status_, .summary = summary_, __VA_ARGS__                                          \
    }

typedef struct ApiChange ApiChange; /* change.c */

struct ApiCall {
    Api *api;
    HttpExchange *exchange;
    const HttpRequest *request;
    const ApiRoute *route;
    Arena *arena;
    const char *parameters[ROUTE_PARAMETERS_MAX];
    Principal principal;
    AccessObject object;        /* of the request, once it was found and the caller may do it */
    const char *tenant;         /* of the request; NULL when the route needs none */
    bool is_inline;             /* a read on the loop's thread: may use the access cache */
    uint64_t access_generation; /* of the cache, from before the read's snapshot */
    bool must_change_password;  /* signed in with a one-time password: good for nothing else */
    bool has_second_factor;     /* what was shown was got with a second factor */
    bool is_session;            /* a cookie was shown, not a token */
    const char *scope;          /* what the token is limited to, as stored; "" or NULL = nothing */
    bool is_counted;            /* against the rates of account and tenant */
    Usec delay;                 /* before a refusal is sent */
    unsigned retry_after;       /* seconds, for 429 and 503 */
    json_t *body;               /* parsed, for JSON_BODY; an object or NULL when it was empty */

    StoreTransaction *transaction;
    EngineEffects effects;
    Error error;

    int status;               /* starts as the route's */
    const char *content_type; /* starts as JSON */
    Buffer answer;
    const char *audit_object; /* "kind:id", set by handlers that change something */
    const char *audit_details;

    const char *real_actor;     /* who acts in the principal's name; NULL = the principal itself */
    const char *authentication; /* how it was authenticated; NULL = by token, or not at all */
    bool is_view;               /* runs inside another call, to show an object: the query is not for it */
    bool is_refused;            /* what is answered as not found is there, but not for the caller */
    bool is_recorded;           /* the audit trail has its record */
    ApiChange *change;          /* of a call that changes something; in the arena */
};

/* Parameters of the query that several routes share. */
extern const RouteQuery query_page[], query_version[], query_clusters[], query_of_cluster[], query_log[],
    query_operations[], query_events[], query_stream[], query_audit[];

/* Tables, ended by a row without path. */
/* How to find what a request is about. Kinds without an owner of their own (nodes, executions, operations)
 * stand for their cluster. */
struct RouteObject {
    const char *name; /* in answers */
    /* Fills kind and id (and the tenant, when it is not that of the request); 1 = found, 0 = there is none.
     */
    int (*find)(ApiCall *call, AccessObject *object, Error *error);
    bool can_be_global;
    bool can_be_new; /* the request may make it */
};
extern const RouteObject object_cluster, object_node, object_execution, object_execution_of_query,
    object_operation, object_document, object_new_document, object_bundle;

extern const ApiRoute routes_system[], routes_users[], routes_passwords[], routes_tokens[], routes_sessions[],
    routes_second_factor[], routes_policies[], routes_quotas[], routes_tenants[], routes_catalog[],
    routes_clusters[], routes_executions[], routes_events[], routes_provisioners[], routes_bundles[],
    routes_audit[], routes_keys[], routes_directory[];
extern const ApiRoute routes_internal[];
extern const ApiRoute *const api_route_tables[]; /* NULL-terminated: the external ones */

/* Compares segment by segment; "{…}" takes one segment that is not empty, copied to the arena. */
bool route_path_matches(const char *pattern, const char *path, Arena *arena,
                        const char *ret_parameters[static ROUTE_PARAMETERS_MAX]);
/* The route for a method and a path below the base. -ENOENT: no such path; -EOPNOTSUPP: not with this method.
 * Parameters are copied to the arena. */
int route_find(const ApiRoute *const *tables, HttpMethod method, const char *path, Arena *arena,
               const ApiRoute **ret_route, const char *ret_parameters[static ROUTE_PARAMETERS_MAX]);
const char *http_method_name(HttpMethod method);

/* How the object of a changing route is represented: the GET route that it names; or the one for its own path
 * or what that lies below; or the one for what it makes. NULL: none, which tools/check-routes refuses. */
const ApiRoute *route_object(const ApiRoute *route);
/* A GET of one object: its answer has an ETag. */
bool route_shows_object(const ApiRoute *route);
