/* SPDX-License-Identifier: Apache-2.0 */
/* Policies as objects (SV22): one table of the domain gives parser, limits and description. */

#include "api/policies.h"

#include <errno.h>

#include "api/api_internal.h"
#include "base/log.h"
#include "base/string.h"

static const Usec REFRESH = 5 * USEC_PER_SEC;

struct PolicyBook {
    pthread_mutex_t lock;
    Policy system;
    StringMap *tenants; /* name to Policy *: the system's, tightened */
    Usec loaded_at;     /* monotonic; the loop's thread */
    bool is_loading;    /* the loop's thread and the job that it started */
};

static void free_policy(void *value)
{
    policy_done(value);
    free(value);
}

PolicyBook *policy_book_new(void)
{
    PolicyBook *book = NEW(PolicyBook);
    ASSERT(pthread_mutex_init(&book->lock, NULL) == 0);
    policy_init(&book->system);
    book->tenants = string_map_new(free_policy);
    return book;
}

PolicyBook *policy_book_free(PolicyBook *book)
{
    if (!book)
        return NULL;
    policy_done(&book->system);
    string_map_free(book->tenants);
    (void)pthread_mutex_destroy(&book->lock);
    free(book);
    return NULL;
}

/* Loading
 * -----------------------------------------------------------------------------------------------------------
 */

typedef struct LoadedPolicies {
    Api *api;
    Policy system;
    StringMap *tenants; /* what they have set, over the loosest values */
} LoadedPolicies;

static void loaded_done(LoadedPolicies *loaded)
{
    policy_done(&loaded->system);
    loaded->tenants = string_map_free(loaded->tenants);
}

static void apply_row(LoadedPolicies *loaded, const PoliciesAllRow *row)
{
    PolicyId id = policy_from_name(row->name);
    Policy *policy = &loaded->system;
    if (*row->tenant) {
        policy = string_map_get(loaded->tenants, row->tenant);
        if (!policy) { /* rows come with the system's first */
            policy = NEW(Policy);
            policy_copy(policy, &loaded->system);
            string_map_set(loaded->tenants, row->tenant, policy);
        }
    }
    /* The system's may have become tighter since. */
    _cleanup_policy_ Policy single;
    policy_copy(&single, policy);
    if (id < 0 || policy_apply(&single, id, row->value) < 0) {
        log_warning("The policy '%s' in the database is none that this version knows.", row->name);
        return;
    }
    if (*row->tenant)
        policy_tighten(policy, &single);
    else
        (void)policy_apply(policy, id, row->value);
}

static int load_job(StoreTransaction *transaction, void *context, Error *error)
{
    LoadedPolicies *loaded = context;
    PoliciesAllRow *rows;
    size_t count;
    loaded_done(loaded); /* the job may run again */
    policy_init(&loaded->system);
    loaded->tenants = string_map_new(free_policy);
    int r = statement_policies_all(transaction, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        apply_row(loaded, &rows[i]);
    return MIN(r, 0);
}

static void put_into_force(LoadedPolicies *loaded)
{
    PolicyBook *book = loaded->api->policies;
    ASSERT(pthread_mutex_lock(&book->lock) == 0);
    Policy system = book->system;
    StringMap *tenants = book->tenants;
    book->system = loaded->system;
    book->tenants = loaded->tenants;
    loaded->system = system;
    loaded->tenants = tenants;
    ASSERT(pthread_mutex_unlock(&book->lock) == 0);
}

int policies_load(Api *api, Error *error)
{
    LoadedPolicies loaded = {.api = api};
    policy_init(&loaded.system);
    int r = store_run(api->settings.store, STORE_READ, load_job, &loaded, error);
    if (r >= 0)
        put_into_force(&loaded);
    loaded_done(&loaded);
    return r;
}

static void refreshed(int result, const Error *error, void *context)
{
    LoadedPolicies *loaded = context;
    PolicyBook *book = loaded->api->policies;
    if (result >= 0)
        put_into_force(loaded);
    else
        log_error_record(LOG_LEVEL_WARNING, "reading the policies", error);
    __atomic_store_n(&book->is_loading, false, __ATOMIC_RELEASE);
    loaded_done(loaded);
    free(loaded);
}

void policies_refresh(Api *api)
{
    PolicyBook *book = api->policies;
    Usec now = clock_monotonic(api->settings.clock);
    /* Nobody else writes to the embedded database. */
    if (string_equal(store_dialect(api->settings.store), "sqlite") || now < book->loaded_at + REFRESH ||
        __atomic_load_n(&book->is_loading, __ATOMIC_ACQUIRE))
        return;
    book->loaded_at = now;
    LoadedPolicies *loaded = NEW(LoadedPolicies);
    loaded->api = api;
    policy_init(&loaded->system);
    __atomic_store_n(&book->is_loading, true, __ATOMIC_RELEASE);
    Error error = ERROR_INIT;
    if (store_submit(api->settings.store, STORE_READ, load_job, refreshed, loaded, &error) < 0)
        refreshed(-EAGAIN, &error, loaded);
}

/* Asking
 * ------------------------------------------------------------------------------------------------------------
 */

int64_t policy_of_system(Api *api, PolicyId id)
{
    return policy_of_tenant(api, NULL, id);
}

int64_t policy_of_tenant(Api *api, const char *tenant, PolicyId id)
{
    PolicyBook *book = api->policies;
    ASSERT(pthread_mutex_lock(&book->lock) == 0);
    const Policy *policy = tenant ? string_map_get(book->tenants, tenant) : NULL;
    int64_t number = (policy ?: &book->system)->numbers[id];
    ASSERT(pthread_mutex_unlock(&book->lock) == 0);
    return number;
}

bool policy_names_any(Api *api, const char *tenant, PolicyId id)
{
    return policy_of_tenant(api, tenant, id) > 0; /* of names: how many */
}

bool policy_names_role(Api *api, const char *tenant, PolicyId id, const char *role)
{
    PolicyBook *book = api->policies;
    ASSERT(pthread_mutex_lock(&book->lock) == 0);
    const Policy *policy = tenant ? string_map_get(book->tenants, tenant) : NULL;
    bool is_named = string_list_contains(&(policy ?: &book->system)->names[id], role);
    ASSERT(pthread_mutex_unlock(&book->lock) == 0);
    return is_named;
}

void policy_of_installation(Api *api, Policy *ret_policy)
{
    PolicyBook *book = api->policies;
    ASSERT(pthread_mutex_lock(&book->lock) == 0);
    policy_copy(ret_policy, &book->system);
    ASSERT(pthread_mutex_unlock(&book->lock) == 0);
}

int policy_of_account(Api *api, StoreTransaction *transaction, const char *username, Policy *ret_policy,
                      Error *error)
{
    MembershipsOfUserRow *rows;
    size_t count;
    int r = statement_memberships_of_user(transaction, &(MembershipsOfUserParameters){.username = username},
                                          &rows, &count, error);
    if (r < 0)
        return r;
    policy_of_installation(api, ret_policy);
    PolicyBook *book = api->policies;
    ASSERT(pthread_mutex_lock(&book->lock) == 0);
    for (size_t i = 0; i < count; i++) {
        const Policy *policy = string_map_get(book->tenants, rows[i].tenant);
        if (policy)
            policy_tighten(ret_policy, policy);
    }
    ASSERT(pthread_mutex_unlock(&book->lock) == 0);
    return 0;
}

/* Routes
 * ------------------------------------------------------------------------------------------------------------
 */

static void write_value(Writer *writer, const char *name, const Policy *policy, PolicyId id)
{
    if (policy_describe(id)->kind != POLICY_KIND_NAMES) {
        writer_integer(writer, name, policy->numbers[id]);
        return;
    }
    writer_begin_array(writer, name);
    for (size_t i = 0; i < policy->names[id].count; i++)
        writer_string(writer, NULL, policy->names[id].items[i]);
    writer_end_array(writer);
}

static void write_policy(Writer *writer, const Policy *policy, PolicyId id, const PoliciesOfTenantRow *set)
{
    const PolicyDescription *row = policy_describe(id);
    writer_begin_object(writer, NULL);
    writer_string(writer, "name", row->name);
    write_value(writer, "value", policy, id);
    writer_string(writer, "kind", policy_kind_to_string(row->kind));
    writer_boolean(writer, "is_set", set != NULL);
    writer_integer(writer, "minimum", row->minimum);
    writer_integer(writer, "maximum", row->maximum);
    writer_string(writer, "tighter", row->direction == POLICY_LOWER ? "lower" : "higher");
    writer_boolean(writer, "for_tenants", row->scope == POLICY_SCOPE_TENANT);
    writer_string(writer, "meaning", row->meaning);
    writer_time(writer, "changed_at", set ? set->changed_at : 0);
    writer_string(writer, "changed_by", set ? set->changed_by : NULL);
    writer_end_object(writer);
}

/* What is set for the system or one tenant, and what is in force there. */
static int answer_policies(ApiCall *call, const char *tenant, Error *error)
{
    PoliciesOfTenantRow *own, *of_system;
    size_t own_count, system_count;
    int r = statement_policies_of_tenant(call->transaction, &(PoliciesOfTenantParameters){.tenant = ""},
                                         &of_system, &system_count, error);
    if (r >= 0)
        r = statement_policies_of_tenant(call->transaction, &(PoliciesOfTenantParameters){.tenant = tenant},
                                         &own, &own_count, error);
    if (r < 0)
        return r;
    LoadedPolicies loaded = {.api = call->api, .tenants = string_map_new(free_policy)};
    policy_init(&loaded.system);
    for (size_t i = 0; i < system_count; i++)
        apply_row(&loaded, &(PoliciesAllRow){"", of_system[i].name, of_system[i].value});
    for (size_t i = 0; *tenant && i < own_count; i++)
        apply_row(&loaded, &(PoliciesAllRow){tenant, own[i].name, own[i].value});
    const Policy *policy = string_map_get(loaded.tenants, tenant) ?: &loaded.system;
    buffer_clear(&call->answer);
    Writer writer = list_begin(call);
    int64_t total = 0;
    for (unsigned id = 0; id < _POLICY_MAX; id++) {
        const PoliciesOfTenantRow *set = NULL;
        for (size_t i = 0; i < own_count; i++)
            if (string_equal(own[i].name, policy_describe((PolicyId)id)->name))
                set = &own[i];
        if (*tenant && policy_describe((PolicyId)id)->scope != POLICY_SCOPE_TENANT)
            continue;
        write_policy(&writer, policy, (PolicyId)id, set);
        total++;
    }
    list_end(call, &writer, &(Page){.size = total}, total);
    loaded_done(&loaded);
    return writer.status;
}

static int get_policies(ApiCall *call, Error *error)
{
    return answer_policies(call, "", error);
}

static int get_policies_of_tenant(ApiCall *call, Error *error)
{
    return answer_policies(call, call->tenant, error);
}

typedef struct PolicyChange {
    const char *tenant;       /* "" = the system */
    char *texts[_POLICY_MAX]; /* owned; NULL = not named, or back to the default */
    bool is_named[_POLICY_MAX];
} PolicyChange;

static void change_done(PolicyChange *change)
{
    for (unsigned i = 0; i < _POLICY_MAX; i++)
        free(change->texts[i]);
}
#define _cleanup_change_ _cleanup_(change_done)

/* {"name": value, "other": null}: null goes back to the default. */
static int read_change(const json_t *body, PolicyChange *change, Error *error)
{
    const char *name;
    json_t *value;
    if (!body || json_object_size(body) == 0)
        return error_set(error, ERROR_BAD_REQUEST, "Say which policies to change: {\"name\": value}.");
    json_object_foreach ((json_t *)(uintptr_t)body, name, value) {
        PolicyId id = policy_from_name(name);
        if (id < 0)
            return error_set_field(error, ERROR_BAD_FIELD, name, "There is no policy of this name.");
        int r = json_is_null(value) ? 0 : policy_read(id, value, &change->texts[id], error);
        if (r < 0)
            return r;
        change->is_named[id] = true;
    }
    return 0;
}

static int check_tenant_change(ApiCall *call, const PolicyChange *change, Error *error)
{
    PoliciesOfTenantRow *rows;
    size_t count;
    int r = statement_policies_of_tenant(call->transaction, &(PoliciesOfTenantParameters){.tenant = ""},
                                         &rows, &count, error);
    if (r < 0)
        return r;
    LoadedPolicies loaded = {.api = call->api};
    policy_init(&loaded.system);
    for (size_t i = 0; i < count; i++)
        apply_row(&loaded, &(PoliciesAllRow){"", rows[i].name, rows[i].value});
    for (unsigned id = 0; r >= 0 && id < _POLICY_MAX; id++)
        if (change->texts[id])
            r = policy_check_within(&loaded.system, (PolicyId)id, change->texts[id], error);
    loaded_done(&loaded);
    return MIN(r, 0);
}

static int store_change(ApiCall *call, void *context, Error *error)
{
    const PolicyChange *change = context;
    int r = *change->tenant ? check_tenant_change(call, change, error) : 0;
    for (unsigned id = 0; r >= 0 && id < _POLICY_MAX; id++) {
        const char *name = policy_describe((PolicyId)id)->name;
        if (change->texts[id])
            r = statement_policy_put(
                call->transaction,
                &(PolicyPutParameters){.tenant = change->tenant,
                                       .name = name,
                                       .value = change->texts[id],
                                       .changed_at = (int64_t)store_now(call->transaction),
                                       .changed_by = call->principal.username},
                error);
        else if (change->is_named[id])
            r = statement_policy_delete(
                call->transaction, &(PolicyDeleteParameters){.tenant = change->tenant, .name = name}, error);
    }
    if (r < 0)
        return r;
    call->audit_object =
        *change->tenant ? arena_format(call->arena, "policies:%s", change->tenant) : "policies";
    _cleanup_free_ char *text = json_to_sorted_text(call->body);
    call->audit_details = arena_string(call->arena, text);
    return answer_policies(call, change->tenant, error);
}

static int change_policies(ApiCall *call, const char *tenant, Error *error)
{
    _cleanup_change_ PolicyChange change = {.tenant = tenant};
    int r = read_change(call->body, &change, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, store_change, &change, error);
    return r < 0 ? r : policies_load(call->api, error);
}

static int patch_policies(ApiCall *call, Error *error)
{
    return change_policies(call, "", error);
}

static int patch_policies_of_tenant(ApiCall *call, Error *error)
{
    return change_policies(call, call->tenant, error);
}

const ApiRoute routes_policies[] = {
    ROUTE(GET, "/policies", POLICY_GET, NO_TENANT, READ, NO_BODY, get_policies, NULL, 200,
          "Policies of the installation", .shows_object = true),
    ROUTE(PATCH, "/policies", POLICY_SET, NO_TENANT, POOL, JSON_BODY, patch_policies, "policy_set", 200,
          "Changes policies of the installation; null is the default", .shown_by = "/policies"),
    ROUTE(GET, "/policies/{name}", TENANT_POLICY_GET, TENANT_OF_PATH, READ, NO_BODY, get_policies_of_tenant,
          NULL, 200, "Policies of a tenant"),
    ROUTE(PATCH, "/policies/{name}", TENANT_POLICY_SET, TENANT_OF_PATH, POOL, JSON_BODY,
          patch_policies_of_tenant, "policy_set", 200, "Tightens policies of a tenant"),
    {0},
};
