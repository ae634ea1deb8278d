/* SPDX-License-Identifier: Apache-2.0 */
/* What clusters take when they are made or grow: bundles, quota, machines. */

#include "api/clusters.h"
#include "api/quotas.h"
#include "base/string.h"

/* Every script's bundle must have an approved version; that one is pinned for the cluster's life. */
static int pin_bundle(StoreTransaction *transaction, const char *tenant, const char *name, json_t *bundles,
                      Error *error)
{
    if (json_object_get(bundles, name))
        return 0;
    BundleFindApprovedRow row;
    int r = statement_bundle_find_approved(
        transaction, &(BundleFindApprovedParameters){.tenant = tenant, .name = name}, &row, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_APPROVED,
                         "The bundle '%s', which the services need, has no approved version: upload it and "
                         "have it approved.",
                         name);
    return json_object_set_new(bundles, name,
                               json_pack("{s:s, s:s}", "version", row.version, "digest", row.digest));
}

int cluster_pin_bundles(StoreTransaction *transaction, const char *tenant, CatalogEntry *const *services,
                        size_t count, json_t *bundles, Error *error)
{
    for (size_t i = 0; i < count; i++)
        for (ServiceAction action = 0; action < _SERVICE_ACTION_MAX; action++) {
            const CatalogAction *row = &services[i]->service.actions[action];
            const char *name = row->fields ? json_string_value(json_object_get(row->fields, "bundle")) : NULL;
            if (!row->type || !row->has_executor || !name)
                continue;
            int r = pin_bundle(transaction, tenant, name, bundles, error);
            if (r < 0)
                return r;
        }
    return 0;
}

int cluster_check_quota(ApiCall *call, int64_t clusters, size_t nodes, Error *error)
{
    const int64_t more[_QUOTA_MAX] = {[QUOTA_CLUSTERS] = clusters, [QUOTA_NODES] = (int64_t)nodes};
    return quota_take(call, more, error);
}

/* Machines of a pool are leased by the node that names them, in the transaction that makes the node, and free
 * again once it is deleted. */
typedef struct Pool {
    const json_t *machines; /* NULL = the provider makes machines itself */
    ProviderIdsInUseRow *used;
    size_t used_count, next;
} Pool;

static int open_pool(ApiCall *call, const Plan *plan, Pool *pool, Error *error)
{
    *pool = (Pool){0};
    if (!string_equal(plan->provider->provider.provider_type, "hosts"))
        return 0;
    pool->machines = json_object_get(plan->provider->provider.fields, "pool");
    int r = statement_provider_ids_in_use(
        call->transaction,
        &(ProviderIdsInUseParameters){.tenant = call->tenant, .provider = plan->provider->name}, &pool->used,
        &pool->used_count, error);
    return MIN(r, 0);
}

static bool is_used(const Pool *pool, const char *address)
{
    for (size_t i = 0; i < pool->used_count; i++)
        if (string_equal(pool->used[i].provider_id, address))
            return true;
    return false;
}

/* The next free machine; "" when the provider makes machines itself. */
static int lease_machine(Pool *pool, const Plan *plan, size_t needed, const char **ret_address, Error *error)
{
    *ret_address = "";
    if (!pool->machines)
        return 0;
    while (pool->next < json_array_size(pool->machines)) {
        const char *address =
            json_string_value(json_object_get(json_array_get(pool->machines, pool->next++), "address"));
        if (address && !is_used(pool, address)) {
            *ret_address = address;
            return 0;
        }
    }
    return error_set(error, ERROR_QUOTA,
                     "The pool of the provider '%s' has %zu machines, %zu of them leased; %zu are needed.",
                     plan->provider->name, json_array_size(pool->machines), pool->used_count, needed);
}

static int insert_node(ApiCall *call, const Plan *plan, const char *cluster_id, const ClusterNode *node,
                       const char *address, const char **ret_id, Error *error)
{
    _cleanup_json_ json_t *services = json_array();
    for (size_t i = 0; i < node->service_count; i++)
        (void)json_array_append_new(services, json_string(plan->services[node->services[i]]->name));
    _cleanup_free_ char *text = json_to_text(services);
    *ret_id = store_new_id(call->transaction);
    return statement_node_insert(call->transaction,
                                 &(NodeInsertParameters){.tenant = call->tenant,
                                                         .id = *ret_id,
                                                         .cluster_id = cluster_id,
                                                         .number = node->number,
                                                         .hostname = node->hostname,
                                                         .services = text,
                                                         .hardware_type = node->hardware_type ?: "",
                                                         .flavor = node->flavor ?: "",
                                                         .image_type = node->image_type ?: "",
                                                         .image = node->image ?: "",
                                                         .ssh_user = node->ssh_user ?: "root",
                                                         .provider_id = address,
                                                         .created_at = (int64_t)store_now(call->transaction)},
                                 error);
}

int cluster_insert_nodes(ApiCall *call, const Plan *plan, const char *cluster_id, size_t first,
                         const char **node_ids, Error *error)
{
    Pool pool;
    int r = first < plan->node_count ? open_pool(call, plan, &pool, error) : 0;
    for (size_t i = first; i < plan->node_count && r >= 0; i++) {
        const char *address;
        r = lease_machine(&pool, plan, plan->node_count - first, &address, error);
        if (r >= 0)
            r = insert_node(call, plan, cluster_id, &plan->nodes[i], address, &node_ids[i], error);
    }
    return MIN(r, 0);
}
