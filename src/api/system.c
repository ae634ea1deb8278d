/* SPDX-License-Identifier: Apache-2.0 */
/* Version, status, the internal CA's certificate. */

#include "api/audit_heads.h"
#include "api/audit_shipping.h"
#include "base/string.h"

static int get_version(ApiCall *call, Error *error)
{
    (void)error;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "edition", "bastide");
    writer_string(&writer, "version", BASTIDE_VERSION);
    writer_string(&writer, "api", "v3.1");
    writer_end_object(&writer);
    return writer.status;
}

static void write_service(Writer *writer, const char *name, bool is_up, const char *extra)
{
    writer_begin_object(writer, name);
    writer_string(writer, "status", is_up ? "Active" : "Inactive");
    writer_boolean(writer, "is_remote", false);
    writer_string(writer, "extra_info", extra);
    writer_end_object(writer);
}

typedef struct StatusCounts {
    int64_t provisioners, provisioners_alive;
} StatusCounts;

static int count_provisioners(StoreTransaction *transaction, void *context, Error *error)
{
    StatusCounts *counts = context;
    ProvisionerListRow *rows;
    size_t count;
    int r = statement_provisioner_list(transaction, &(ProvisionerListParameters){.maximum = 1000}, &rows,
                                       &count, error);
    if (r < 0)
        return r;
    *counts = (StatusCounts){.provisioners = (int64_t)count};
    int64_t limit = (int64_t)store_now(transaction) - 60 * (int64_t)USEC_PER_SEC;
    for (size_t i = 0; i < count; i++)
        counts->provisioners_alive += rows[i].last_heartbeat_at > limit;
    return 0;
}

static const char *audit_state_text(ApiCall *call)
{
    char when[TIMESTAMP_SIZE] = "never";
    DenialCounters denials = denials_counters(call->api->denials);
    Usec signed_at = audit_heads_signed_at(call->api);
    if (signed_at > 0)
        timestamp_format(signed_at, when);
    ShippingState shipping = shipping_state(call->api);
    const char *shipped = !shipping.is_used ? "not shipped"
                                            : arena_format(call->arena, "%s, %lld records behind",
                                                           shipping.is_failing ? "SHIPPING FAILS" : "shipped",
                                                           (long long)shipping.lag);
    return arena_format(call->arena, "signed %s; %s; refusals dropped %llu, records lost %llu", when, shipped,
                        (unsigned long long)denials.dropped,
                        (unsigned long long)atomic_load(&call->api->records_lost));
}

static int get_status(ApiCall *call, Error *error)
{
    StatusCounts counts = {0};
    int r = store_run(call->api->settings.store, STORE_READ, count_provisioners, &counts, error);
    if (r < 0)
        return r;
    KeeperStatus keeper_status = {.state = KEEPER_STATE_UNINITIALISED};
    Error keeper_error = ERROR_INIT;
    KeeperClient *keeper = keeper_take(call->api, &keeper_error);
    bool is_keeper_open = keeper && keeper_client_status(keeper, &keeper_status, &keeper_error) >= 0 &&
                          keeper_status.state == KEEPER_STATE_OPEN;
    keeper_give(call->api, keeper);
    bool has_provisioner = counts.provisioners_alive > 0;
    Error audit_error = ERROR_INIT;
    bool is_audit_whole =
        audit_heads_check(call->api, &audit_error) >= 0 && shipping_check(call->api, &audit_error) >= 0;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "status", is_keeper_open && has_provisioner && is_audit_whole ? "OK" : "Fail");
    writer_begin_object(&writer, "services");
    write_service(&writer, "Manager", true, "version " BASTIDE_VERSION);
    write_service(&writer, "Database", true, store_dialect(call->api->settings.store));
    write_service(&writer, "Keeper", is_keeper_open,
                  error_is_set(&keeper_error) ? "cannot be reached"
                                              : keeper_state_to_string(keeper_status.state));
    write_service(&writer, "Provisioners", has_provisioner,
                  arena_format(call->arena, "%lld of %lld answer", (long long)counts.provisioners_alive,
                               (long long)counts.provisioners));
    write_service(&writer, "Audit trail", is_audit_whole,
                  is_audit_whole ? audit_state_text(call) : audit_error.text);
    writer_end_object(&writer);
    writer_integer(&writer, "leased_operations", (int64_t)engine_lease_count(call->api->engine));
    writer_end_object(&writer);
    return writer.status;
}

static int get_ca(ApiCall *call, Error *error)
{
    (void)error;
    return buffer_append_string(&call->answer, call->api->settings.ca_certificate);
}

const ApiRoute routes_system[] = {
    ROUTE(GET, "/version", OPEN, NO_TENANT, READ, NO_BODY, get_version, NULL, 200, "Version of the manager",
          .while_sealed = true),
    ROUTE(GET, "/ca", OPEN, NO_TENANT, READ, NO_BODY, get_ca, NULL, 200, "Certificate of the internal CA",
          .content_type = "application/x-pem-file", .while_sealed = true),
    ROUTE(GET, "/status", STATUS_GET, NO_TENANT, POOL, NO_BODY, get_status, NULL, 200,
          "State of the manager and its parts", .while_sealed = true),
    {0},
};
