/* SPDX-License-Identifier: Apache-2.0 */
/* The keys as people see them: what lies under which, rotation, the end of a tenant's keys. No key passes
 * here. */

#include "api/keys.h"

#include <errno.h>

#include "base/string.h"

enum { TENANTS_SHOWN = 1000 };

typedef struct KeysView {
    KeeperStatus status;
    SealedValuesByTenantRow *rows;
    size_t count;
    int64_t pending;
} KeysView;

static int ask_status(Api *api, KeeperStatus *status, Error *error)
{
    KeeperClient *keeper = keeper_take(api, error);
    int r = keeper ? keeper_client_status(keeper, status, error) : -EIO;
    keeper_give(api, keeper);
    return r;
}

static void write_keys(ApiCall *call, const KeysView *view)
{
    KeysProgress progress = keys_progress(call->api);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "state", keeper_state_to_string(view->status.state));
    writer_integer(&writer, "generation", view->status.generation);
    writer_integer(&writer, "retired", view->status.retired);
    writer_string(&writer, "master_key", view->status.is_wrapped ? "wrapped" : "file");
    writer_boolean(&writer, "master_key_rotating", view->status.is_rotating);
    writer_begin_object(&writer, "rotation");
    writer_string(&writer, "state",
                  view->pending == 0    ? "done"
                  : progress.is_running ? "running"
                  : progress.unreadable ? "stuck"
                                        : "waiting");
    writer_integer(&writer, "pending", view->pending);
    writer_integer(&writer, "unreadable", progress.unreadable);
    writer_end_object(&writer);
    writer_begin_array(&writer, "tenants");
    for (size_t i = 0; i < view->count; i++) {
        writer_begin_object(&writer, NULL);
        writer_string(&writer, "tenant", view->rows[i].tenant);
        writer_integer(&writer, "values", view->rows[i].total);
        writer_integer(&writer, "oldest_generation", view->rows[i].oldest);
        writer_end_object(&writer);
    }
    writer_end_array(&writer);
    writer_end_object(&writer);
}

static int read_keys(ApiCall *call, void *context, Error *error)
{
    KeysView *view = context;
    SealedValuesOutdatedCountRow pending;
    int r = statement_sealed_values_by_tenant(call->transaction,
                                              &(SealedValuesByTenantParameters){.maximum = TENANTS_SHOWN},
                                              &view->rows, &view->count, error);
    if (r >= 0)
        r = statement_sealed_values_outdated_count(
            call->transaction, &(SealedValuesOutdatedCountParameters){.generation = view->status.generation},
            &pending, error);
    if (r < 0)
        return r;
    view->pending = pending.total;
    buffer_clear(&call->answer);
    write_keys(call, view); /* here, while the rows are there */
    return 0;
}

static int get_keys(ApiCall *call, Error *error)
{
    KeysView view = {0};
    int r = ask_status(call->api, &view.status, error);
    return r < 0 ? r : api_call_run(call, STORE_READ, read_keys, &view, error);
}

static int note_only(ApiCall *call, void *context, Error *error)
{
    (void)error;
    call->audit_object = context;
    return 0;
}

static int post_rotate(ApiCall *call, Error *error)
{
    uint32_t generation;
    KeeperClient *keeper = keeper_take(call->api, error);
    int r = keeper ? keeper_client_rotate_data_keys(keeper, &generation, error) : -EIO;
    keeper_give(call->api, keeper);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, note_only, arena_format(call->arena, "generation:%u", generation),
                         error);
    if (r < 0)
        return r;
    keys_care(call->api);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_integer(&writer, "generation", generation);
    writer_end_object(&writer);
    return writer.status;
}

/* Shredding
 * ------------------------------------------------------------------------------------------------------------------
 */

typedef struct ShredBody {
    const char *tenant, *confirmation;
} ShredBody;

static const JsonField shred_fields[] = {
    {"tenant", JSON_FIELD_STRING, offsetof(ShredBody, tenant), JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 1,
     255, "whose keys are destroyed"},
    {"confirmation", JSON_FIELD_STRING, offsetof(ShredBody, confirmation), JSON_FIELD_REQUIRED, 1, 255,
     "the tenant's name again"},
    {0},
};

static int note_intent(ApiCall *call, void *context, Error *error)
{
    call->audit_object = arena_format(call->arena, "tenant:%s", (const char *)context);
    call->audit_details = "{\"phase\":\"begun\"}";
    (void)error;
    return 0;
}

static int remove_values(ApiCall *call, void *context, Error *error)
{
    int64_t *removed = context;
    const char *tenant = json_string_value(json_object_get(call->body, "tenant"));
    int r = statement_sealed_values_delete_tenant(
        call->transaction, &(SealedValuesDeleteTenantParameters){.tenant = tenant}, error);
    if (r < 0)
        return r;
    *removed = r;
    call->audit_object = arena_format(call->arena, "tenant:%s", tenant);
    call->audit_details =
        arena_format(call->arena, "{\"phase\":\"done\",\"values\":%lld}", (long long)*removed);
    return 0;
}

/* Recorded before it is done: what cannot be undone must not go unseen either. */
static int post_shred(ApiCall *call, Error *error)
{
    ShredBody body = {0};
    uint32_t keys = 0;
    int64_t values = 0;
    int r = body_dispatch(call, shred_fields, &body, error);
    if (r >= 0 && !string_equal(body.tenant, body.confirmation))
        r = error_set_field(error, ERROR_BAD_FIELD, "confirmation",
                            "Give the tenant's name again: nothing brings its values back.");
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, note_intent, (void *)(uintptr_t)body.tenant, error);
    if (r < 0)
        return r;
    KeeperClient *keeper = keeper_take(call->api, error);
    r = keeper ? keeper_client_shred_tenant(keeper, body.tenant, &keys, error) : -EIO;
    keeper_give(call->api, keeper);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, remove_values, &values, error);
    if (r < 0)
        return r;
    keys_care(call->api);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "tenant", body.tenant);
    writer_integer(&writer, "keys_destroyed", keys);
    writer_integer(&writer, "values_removed", values);
    writer_end_object(&writer);
    return writer.status;
}

const ApiRoute routes_keys[] = {
    ROUTE(GET, "/keys", KEYS_GET, NO_TENANT, POOL, NO_BODY, get_keys, NULL, 200,
          "Generations of the data keys, and what lies under older ones", .while_sealed = true),
    ROUTE(POST, "/keys/rotate", KEYS_MANAGE, NO_TENANT, POOL, NO_BODY, post_rotate, "keys_rotate", 202,
          "Begins new data keys; all values are sealed anew, then the old keys are destroyed",
          .unshown = "the keeper has them, not the database"),
    ROUTE(POST, "/keys/shred", KEYS_MANAGE, NO_TENANT, POOL, JSON_BODY, post_shred, "keys_shred", 200,
          "Destroys all keys of a tenant: its secrets are gone, here and in every copy of the database",
          .fields = shred_fields, .unshown = "the keeper has them, not the database"),
    {0},
};
