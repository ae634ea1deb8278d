/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/access/scope.h"

#include <errno.h>

#include "base/json.h"

void token_scope_done(TokenScope *scope)
{
    string_list_done(&scope->tenants);
    *scope = (TokenScope){0};
}

static int read_permissions(const json_t *names, TokenScope *scope, Error *error)
{
    size_t i;
    const json_t *name;
    if (!json_is_array(names) || json_array_size(names) > TOKEN_SCOPE_PERMISSIONS_MAX)
        return error_set_field(error, ERROR_BAD_FIELD, "permissions", "This is a list of at most %d names.",
                               (int)TOKEN_SCOPE_PERMISSIONS_MAX);
    json_array_foreach (names, i, name) {
        Permission permission = permission_from_string(json_string_value(name));
        if (permission < 0 || permission == PERMISSION_OPEN)
            return error_set_field(error, ERROR_BAD_FIELD, "permissions",
                                   "The entry %zu is not the name of a permission.", i + 1);
        permission_set_add(&scope->permissions, permission);
    }
    scope->has_permissions = true;
    return 0;
}

static int read_tenants(const json_t *names, TokenScope *scope, Error *error)
{
    size_t i;
    const json_t *name;
    if (!json_is_array(names) || json_array_size(names) > TOKEN_SCOPE_TENANTS_MAX)
        return error_set_field(error, ERROR_BAD_FIELD, "tenants", "This is a list of at most %d names.",
                               (int)TOKEN_SCOPE_TENANTS_MAX);
    json_array_foreach (names, i, name) {
        const char *text = json_string_value(name);
        if (!text || !identifier_is_valid(text))
            return error_set_field(error, ERROR_BAD_FIELD, "tenants",
                                   "The entry %zu is not the name of a tenant.", i + 1);
        if (!string_list_contains(&scope->tenants, text))
            string_list_append(&scope->tenants, text);
    }
    scope->has_tenants = true;
    return 0;
}

int token_scope_read(const json_t *permissions, const json_t *tenants, TokenScope *ret_scope, Error *error)
{
    int r = 0;
    *ret_scope = (TokenScope){0};
    if (permissions)
        r = read_permissions(permissions, ret_scope, error);
    if (r >= 0 && tenants)
        r = read_tenants(tenants, ret_scope, error);
    if (r < 0)
        token_scope_done(ret_scope);
    return r;
}

int token_scope_parse(const char *text, TokenScope *ret_scope)
{
    *ret_scope = (TokenScope){0};
    if (!*text)
        return 0;
    _cleanup_json_ json_t *document = NULL;
    Error error = ERROR_INIT;
    if (json_parse(text, strlen(text), 64 * 1024, &document, &error) < 0 || !json_is_object(document) ||
        token_scope_read(json_object_get(document, "permissions"), json_object_get(document, "tenants"),
                         ret_scope, &error) < 0)
        return -EINVAL;
    return 0;
}

char *token_scope_to_text(const TokenScope *scope)
{
    if (!scope->has_permissions && !scope->has_tenants)
        return string_duplicate("");
    _cleanup_json_ json_t *document = json_object();
    if (scope->has_permissions) {
        json_t *names = json_array();
        for (unsigned i = PERMISSION_OPEN + 1; i < _PERMISSION_MAX; i++)
            if (permission_set_has(&scope->permissions, (Permission)i))
                (void)json_array_append_new(names, json_string(permission_describe((Permission)i)->name));
        (void)json_object_set_new(document, "permissions", names);
    }
    if (scope->has_tenants) {
        json_t *names = json_array();
        for (size_t i = 0; i < scope->tenants.count; i++)
            (void)json_array_append_new(names, json_string(scope->tenants.items[i]));
        (void)json_object_set_new(document, "tenants", names);
    }
    return json_to_text(document);
}

int token_scope_narrow(TokenScope *scope, const TokenScope *of_maker, Error *error)
{
    if (of_maker->has_permissions) {
        if (!scope->has_permissions)
            scope->permissions = of_maker->permissions;
        scope->has_permissions = true;
        if (!permission_set_covers(&of_maker->permissions, &scope->permissions))
            return error_set_field(error, ERROR_FORBIDDEN, "permissions",
                                   "A token does not make one that may do more than itself.");
    }
    if (!of_maker->has_tenants)
        return 0;
    bool is_open = !scope->has_tenants;
    scope->has_tenants = true;
    for (size_t i = 0; is_open && i < of_maker->tenants.count; i++)
        string_list_append(&scope->tenants, of_maker->tenants.items[i]);
    for (size_t i = 0; i < scope->tenants.count; i++)
        if (!string_list_contains(&of_maker->tenants, scope->tenants.items[i]))
            return error_set_field(error, ERROR_FORBIDDEN, "tenants",
                                   "A token does not make one for other tenants than its own.");
    return 0;
}

static void intersect(PermissionSet *set, const PermissionSet *with)
{
    for (size_t i = 0; i < PERMISSION_SET_WORDS; i++)
        set->words[i] &= with->words[i];
}

void token_scope_apply(const TokenScope *scope, const char *tenant, Principal *principal)
{
    if (scope->has_permissions)
        intersect(&principal->rights, &scope->permissions);
    if (!scope->has_tenants)
        return;
    if (tenant && !string_list_contains(&scope->tenants, tenant)) {
        principal->rights = (PermissionSet){0};
        principal->is_member = false;
        return;
    }
    PermissionSet kept = access_role_permissions(ACCESS_ROLE_DEFAULT),
                  of_tenants = permission_set_of_tenants();
    if (tenant)
        permission_set_unite(&kept, &of_tenants);
    intersect(&principal->rights, &kept);
}
