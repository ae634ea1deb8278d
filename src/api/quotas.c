/* SPDX-License-Identifier: Apache-2.0 */
/* Quotas of tenants (SV24): what a tenant may have at most, and what it has. One table of what is limited
 * gives fields, answers and checks. They are checked in the transaction that uses them up. */

#include "api/quotas.h"

#include "api/api_internal.h"
#include "base/string.h"

static int read_usage(ApiCall *call, const char *tenant, QuotaUsage *usage, Error *error)
{
    TenantUsageRow row;
    int r =
        statement_tenant_usage(call->transaction, &(TenantUsageParameters){.tenant = tenant}, &row, error);
    if (r <= 0)
        return r < 0 ? r : error_set(error, ERROR_NOT_FOUND, "There is no tenant '%s'.", tenant);
    *usage = (QuotaUsage){
        .maximum = {row.maximum_clusters, row.maximum_nodes, row.maximum_running_tasks,
                    row.maximum_bundle_bytes},
        .used = {row.clusters, row.nodes, row.running_tasks, row.bundle_bytes},
    };
    return 0;
}

static const struct {
    const char *name, *what;
} descriptions[_QUOTA_MAX] = {
    [QUOTA_CLUSTERS] = {"clusters", "clusters"},
    [QUOTA_NODES] = {"nodes", "nodes"},
    [QUOTA_RUNNING_TASKS] = {"running_tasks", "tasks at a time"},
    [QUOTA_BUNDLE_BYTES] = {"bundle_bytes", "bytes of bundles"},
};

int quota_take(ApiCall *call, const int64_t more[static _QUOTA_MAX], Error *error)
{
    QuotaUsage usage;
    int r = read_usage(call, call->tenant, &usage, error);
    for (unsigned i = 0; r >= 0 && i < _QUOTA_MAX; i++)
        if (more[i] > 0 && usage.maximum[i] > 0 && usage.used[i] + more[i] > usage.maximum[i])
            return error_set(error, ERROR_QUOTA,
                             "The tenant may have %lld %s; %lld are used and this needs %lld more.",
                             (long long)usage.maximum[i], descriptions[i].what, (long long)usage.used[i],
                             (long long)more[i]);
    return r;
}

/* Routes
 * ------------------------------------------------------------------------------------------------------------
 */

static int answer_quotas(ApiCall *call, Error *error)
{
    QuotaUsage usage;
    int r = read_usage(call, call->tenant, &usage, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "tenant", call->tenant);
    for (unsigned i = 0; i < _QUOTA_MAX; i++) {
        writer_begin_object(&writer, descriptions[i].name);
        writer_integer(&writer, "used", usage.used[i]);
        writer_integer(&writer, "maximum", usage.maximum[i]);
        writer_end_object(&writer);
    }
    writer_end_object(&writer);
    return writer.status;
}

typedef struct QuotaBody {
    int64_t maximum[_QUOTA_MAX];
} QuotaBody;

#define QUOTA_FIELD(name_, quota_, text_)                                                                    \
    {                                                                                                        \
        name_, JSON_FIELD_INTEGER, offsetof(QuotaBody, maximum[quota_]), 0, 0, INT64_C(1) << 53, text_       \
    }

static const JsonField quota_fields[] = {
    QUOTA_FIELD("clusters", QUOTA_CLUSTERS, "that are not terminated; 0 = unlimited"),
    QUOTA_FIELD("nodes", QUOTA_NODES, "of such clusters; 0 = unlimited"),
    QUOTA_FIELD("running_tasks", QUOTA_RUNNING_TASKS, "handed out at a time; 0 = unlimited"),
    QUOTA_FIELD("bundle_bytes", QUOTA_BUNDLE_BYTES, "of archives that were uploaded; 0 = unlimited"),
    {0},
};

static int patch_quotas(ApiCall *call, Error *error)
{
    QuotaUsage usage;
    QuotaBody body;
    int r = read_usage(call, call->tenant, &usage, error);
    if (r < 0)
        return r;
    memcpy(body.maximum, usage.maximum, sizeof(body.maximum));
    r = body_dispatch(call, quota_fields, &body, error);
    if (r >= 0)
        r = statement_tenant_set_quotas(
            call->transaction,
            &(TenantSetQuotasParameters){.tenant = call->tenant,
                                         .maximum_clusters = body.maximum[QUOTA_CLUSTERS],
                                         .maximum_nodes = body.maximum[QUOTA_NODES],
                                         .maximum_running_tasks = body.maximum[QUOTA_RUNNING_TASKS],
                                         .maximum_bundle_bytes = body.maximum[QUOTA_BUNDLE_BYTES]},
            error);
    if (r < 0)
        return r;
    _cleanup_free_ char *details = json_to_sorted_text(call->body);
    call->audit_object = arena_format(call->arena, "tenant:%s", call->tenant);
    call->audit_details = arena_string(call->arena, details);
    call->effects.has_runnable = true; /* there may be room for waiting tasks */
    return answer_quotas(call, error);
}

const ApiRoute routes_quotas[] = {
    ROUTE(GET, "/tenants/{name}/quotas", TENANT_QUOTAS_GET, TENANT_OF_PATH, READ, NO_BODY, answer_quotas,
          NULL, 200, "What a tenant may have at most, and what it has"),
    ROUTE(PATCH, "/tenants/{name}/quotas", TENANT_QUOTAS_SET, TENANT_OF_PATH, WRITE, JSON_BODY, patch_quotas,
          "tenant_quotas", 200, "Changes what a tenant may have; what it has stays", .fields = quota_fields),
    {0},
};
