/* SPDX-License-Identifier: Apache-2.0 */
/* Groups, roles, permissions; visibility of objects and grants on them; who may do what, and why. */

#include <errno.h>

#include "base/string.h"
#include "cli/cli.h"
#include "cli/text.h"

static const ViewField group_view[] = {
    {"GROUP", "name", FIELD_STRONG, IN_BOTH},
    {"ROLE", "role", FIELD_TEXT, IN_BOTH | MAY_LACK},
    {"DIRECTORY GROUP", "ldap_dn", FIELD_TEXT, IN_BOTH | MAY_LACK | MAY_SHRINK},
    {"USERS", "users", FIELD_NUMBER, IN_LIST},
    {"TENANTS", "tenants", FIELD_NUMBER, IN_LIST},
    {"USERS", "users", FIELD_LIST, IN_DETAILS | MAY_LACK},
    {"TENANTS", "tenants", FIELD_MAP, IN_DETAILS | MAY_LACK},
    {"CREATED", "created_at", FIELD_TIME, IN_BOTH},
    {0},
};
static const ViewField role_view[] = {
    {"ROLE", "name", FIELD_STRONG, IN_BOTH},
    {"OF", "type", FIELD_TEXT, IN_BOTH},
    {"BUILT IN", "built_in", FIELD_FLAG, IN_BOTH},
    {"DESCRIPTION", "description", FIELD_TEXT, IN_BOTH | MAY_LACK | MAY_SHRINK},
    {"PERMISSIONS", "permissions", FIELD_LIST, IN_DETAILS | MAY_LACK | HAS_LINES},
    {0},
};
static const ViewField permission_view[] = {
    {"ROLE", "role", FIELD_STRONG, IN_LIST},
    {"PERMISSION", "permission", FIELD_TEXT, IN_LIST},
    {"TO", "description", FIELD_TEXT, IN_LIST | MAY_SHRINK},
    {0},
};
static const ViewField grant_view[] = {
    {"TO", "subject", FIELD_STRONG, IN_LIST},     {"KIND", "subject_kind", FIELD_TEXT, IN_LIST},
    {"RIGHTS", "rights", FIELD_LIST, IN_LIST},    {"BY", "granted_by", FIELD_TEXT, IN_LIST},
    {"SINCE", "created_at", FIELD_TIME, IN_LIST}, {0},
};
static const ViewField explanation_view[] = {
    {"ACCOUNT", "username", FIELD_STRONG, IN_DETAILS}, {"TENANT", "tenant", FIELD_TEXT, IN_DETAILS},
    {"ALLOWED", "allowed", FIELD_FLAG, IN_DETAILS},    {"RULE", "rule", FIELD_TEXT, IN_DETAILS},
    {"WHY", "text", FIELD_TEXT, IN_DETAILS},           {0},
};
static const ViewField held_role_view[] = {
    {"ROLE", "role", FIELD_STRONG, IN_LIST},
    {"OF", "scope", FIELD_TEXT, IN_LIST},
    {"THROUGH GROUP", "group", FIELD_TEXT, IN_LIST | MAY_LACK},
    {"GIVES IT", "gives", FIELD_FLAG, IN_LIST},
    {0},
};
static const ViewField held_grant_view[] = {
    {"KIND", "kind", FIELD_TEXT, IN_LIST},
    {"OBJECT", "id", FIELD_STRONG, IN_LIST | MAY_SHRINK},
    {"RIGHTS", "rights", FIELD_LIST, IN_LIST},
    {"THROUGH GROUP", "group", FIELD_TEXT, IN_LIST | MAY_LACK},
    {0},
};

/* A request whose answer is told in one sentence by the caller. */
static int send(Cli *cli, const char *method, const char *path, const json_t *body, const char *sentence,
                Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_request(cli, method, path, body, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "%s", sentence);
    return MIN(r, 0);
}

/* Groups
 * --------------------------------------------------------------------------------------------------------------------
 */

static int groups_list(Cli *cli, Error *error)
{
    return cli_show_list(cli, "/user-groups", group_view, "No groups.", error);
}

static int groups_show(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/user-groups/%s", cli_argument(cli, 0));
    return cli_show_object(cli, path, group_view, error);
}

static json_t *group_body(const Cli *cli)
{
    json_t *body = json_object();
    const char *role = cli_option(cli, "role"), *dn = cli_option(cli, "ldap-group");
    if (role)
        (void)json_object_set_new(body, "role", json_string(role));
    if (dn)
        (void)json_object_set_new(body, "ldap_group_dn", json_string(dn));
    return body;
}

static int groups_create(Cli *cli, Error *error)
{
    const char *name = cli_argument(cli, 0);
    _cleanup_json_ json_t *body = group_body(cli);
    (void)json_object_set_new(body, "group_name", json_string(name));
    _cleanup_free_ char *done = string_format("Created the group '%s'.", name);
    return send(cli, "POST", "/user-groups", body, done, error);
}

static int groups_change(Cli *cli, Error *error)
{
    const char *name = cli_argument(cli, 0);
    _cleanup_json_ json_t *body = group_body(cli);
    if (json_object_size(body) == 0)
        return error_set(error, ERROR_BAD_REQUEST, "say what to change: --role or --ldap-group");
    _cleanup_free_ char *path = cli_path("/user-groups/%s", name);
    _cleanup_free_ char *done = string_format("Changed the group '%s'.", name);
    return send(cli, "POST", path, body, done, error);
}

static int groups_delete(Cli *cli, Error *error)
{
    const char *name = cli_argument(cli, 0);
    _cleanup_free_ char *question = string_format("Delete the group '%s'? Type yes: ", name);
    _cleanup_free_ char *path = cli_path("/user-groups/%s", name);
    _cleanup_free_ char *done = string_format("Deleted the group '%s'.", name);
    int r = cli_confirm(cli, question, error);
    return r < 0 ? r : send(cli, "DELETE", path, NULL, done, error);
}

static int change_member(Cli *cli, const char *method, const char *sentence, Error *error)
{
    const char *group = cli_argument(cli, 0), *user = cli_argument(cli, 1);
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "group_name", group, "username", user);
    _cleanup_free_ char *done = string_format("'%s' %s '%s'.", user, sentence, group);
    return send(cli, method, "/user-groups/users", body, done, error);
}

static int groups_add_user(Cli *cli, Error *error)
{
    return change_member(cli, "PUT", "is in the group", error);
}

static int groups_remove_user(Cli *cli, Error *error)
{
    return change_member(cli, "DELETE", "is no longer in the group", error);
}

static int tenants_add_group(Cli *cli, Error *error)
{
    const char *tenant = cli_argument(cli, 0), *group = cli_argument(cli, 1);
    const char *role = cli_option(cli, "role") ?: "user";
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s, s:s}", "tenant_name", tenant, "group_name", group, "role", role);
    _cleanup_free_ char *done = string_format("The members of '%s' are %s in '%s'.", group, role, tenant);
    return send(cli, "PUT", "/tenants/user-groups", body, done, error);
}

static int tenants_remove_group(Cli *cli, Error *error)
{
    const char *tenant = cli_argument(cli, 0), *group = cli_argument(cli, 1);
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "tenant_name", tenant, "group_name", group);
    _cleanup_free_ char *done = string_format("'%s' is no longer in '%s'.", group, tenant);
    return send(cli, "DELETE", "/tenants/user-groups", body, done, error);
}

/* Roles and permissions
 * ------------------------------------------------------------------------------------------------------- */

static int roles_list(Cli *cli, Error *error)
{
    return cli_show_list(cli, "/roles", role_view, "No roles.", error);
}

static int roles_show(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/roles/%s", cli_argument(cli, 0));
    return cli_show_object(cli, path, role_view, error);
}

static int roles_create(Cli *cli, Error *error)
{
    const char *name = cli_argument(cli, 0), *description = cli_option(cli, "description");
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s}", "name", name, "type", cli_option(cli, "system") ? "system" : "tenant");
    if (description)
        (void)json_object_set_new(body, "description", json_string(description));
    _cleanup_free_ char *done = string_format(
        "Created the role '%s'. Give it permissions: bastide permissions add %s PERMISSION", name, name);
    return send(cli, "POST", "/roles", body, done, error);
}

static int roles_delete(Cli *cli, Error *error)
{
    const char *name = cli_argument(cli, 0);
    _cleanup_free_ char *question = string_format("Delete the role '%s'? Type yes: ", name);
    _cleanup_free_ char *path = cli_path("/roles/%s", name);
    _cleanup_free_ char *done = string_format("Deleted the role '%s'.", name);
    int r = cli_confirm(cli, question, error);
    return r < 0 ? r : send(cli, "DELETE", path, NULL, done, error);
}

static int permissions_list(Cli *cli, Error *error)
{
    const char *role = cli_argument(cli, 0);
    _cleanup_free_ char *path = role ? cli_path("/permissions/%s", role) : string_duplicate("/permissions");
    return cli_show_list(cli, path, permission_view, "No permissions.", error);
}

static int change_permission(Cli *cli, const char *method, const char *sentence, Error *error)
{
    const char *role = cli_argument(cli, 0), *permission = cli_argument(cli, 1);
    _cleanup_free_ char *path = cli_path("/permissions/%s/%s", role, permission);
    _cleanup_free_ char *done = string_format("The role '%s' %s '%s', at once.", role, sentence, permission);
    return send(cli, method, path, NULL, done, error);
}

static int permissions_add(Cli *cli, Error *error)
{
    return change_permission(cli, "PUT", "has", error);
}

static int permissions_remove(Cli *cli, Error *error)
{
    return change_permission(cli, "DELETE", "no longer has", error);
}

/* Objects
 * -------------------------------------------------------------------------------------------------------------------
 */

/* "cluster/shop", "template/web-stack": what people write, the API's path, and its kind of object. */
static const struct ObjectKind {
    const char *name, *path, *kind;
} object_kinds[] = {
    {"cluster", "/clusters/%s", "cluster"},
    {"bundle", "/bundles/%s", "bundle"},
    {"provider", "/catalog/providers/%s", "provider"},
    {"hardware-type", "/catalog/hardwaretypes/%s", "hardware_type"},
    {"image-type", "/catalog/imagetypes/%s", "image_type"},
    {"service", "/catalog/services/%s", "service"},
    {"template", "/catalog/clustertemplates/%s", "template"},
};

static const struct ObjectKind *parse_object(const char *text, const char **ret_name, Error *error)
{
    const char *slash = strchr(text, '/');
    for (size_t i = 0; slash && i < ELEMENTSOF(object_kinds); i++) {
        const char *name = object_kinds[i].name;
        if (strlen(name) == (size_t)(slash - text) && string_starts_with(text, name) && slash[1]) {
            *ret_name = slash + 1;
            return &object_kinds[i];
        }
    }
    (void)error_set(
        error, ERROR_BAD_REQUEST,
        "an object is KIND/NAME, KIND one of cluster, bundle, provider, hardware-type, image-type, "
        "service, template");
    return NULL;
}

/* Owned, or NULL. */
static char *object_path(const char *text, const char *suffix, Error *error)
{
    const char *name = NULL;
    const struct ObjectKind *kind = parse_object(text, &name, error);
    if (!kind)
        return NULL;
    _cleanup_free_ char *encoded = cli_path("%s", name);
    size_t before = strcspn(kind->path, "%");
    return string_format("%.*s%s%s", (int)before, kind->path, encoded, suffix);
}

static int visibility_set(Cli *cli, Error *error)
{
    const char *object = cli_argument(cli, 0), *visibility = cli_argument(cli, 1);
    _cleanup_free_ char *path = object_path(object, "/set-visibility", error);
    if (!path)
        return -EINVAL;
    _cleanup_json_ json_t *body = json_pack("{s:s}", "visibility", visibility);
    _cleanup_free_ char *done = string_format("%s is %s.", object, visibility);
    return send(cli, "PATCH", path, body, done, error);
}

static int grants_list(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = object_path(cli_argument(cli, 0), "/grants", error);
    return path ? cli_show_list(cli, path, grant_view, "No grants.", error) : -EINVAL;
}

/* --user or --group, one of them. */
static json_t *subject_body(const Cli *cli, const char **ret_subject, Error *error)
{
    const char *user = cli_option(cli, "user"), *group = cli_option(cli, "group");
    if (!user == !group) {
        (void)error_set(error, ERROR_BAD_REQUEST, "say to whom: --user NAME or --group NAME");
        return NULL;
    }
    *ret_subject = user ?: group;
    return json_pack("{s:s}", user ? "username" : "group_name", *ret_subject);
}

static int change_grant(Cli *cli, const char *method, json_t *rights, const char *sentence, Error *error)
{
    const char *object = cli_argument(cli, 0), *subject = NULL;
    _cleanup_json_ json_t *body = subject_body(cli, &subject, error);
    _cleanup_free_ char *path = body ? object_path(object, "/grants", error) : NULL;
    if (!path) {
        json_decref(rights);
        return -EINVAL;
    }
    if (rights)
        (void)json_object_set_new(body, "rights", rights);
    _cleanup_free_ char *done = string_format("'%s' %s %s.", subject, sentence, object);
    return send(cli, method, path, body, done, error);
}

static int grants_add(Cli *cli, Error *error)
{
    json_t *rights = json_array();
    for (int i = 1; cli_argument(cli, i); i++)
        (void)json_array_append_new(rights, json_string(cli_argument(cli, i)));
    return change_grant(cli, "PUT", rights, "has these rights on", error);
}

static int grants_remove(Cli *cli, Error *error)
{
    return change_grant(cli, "DELETE", NULL, "has no grant any more on", error);
}

/* Explain and review
 * -----------------------------------------------------------------------------------------------------------
 */

static void show_part(const char *title, const json_t *items, const ViewField *fields)
{
    if (json_array_size(items) == 0)
        return;
    view_heading(title);
    view_list(items, fields, "");
}

static int access_explain(Cli *cli, Error *error)
{
    const char *object = cli_argument(cli, 2), *name = NULL;
    const struct ObjectKind *kind = object ? parse_object(object, &name, error) : NULL;
    if (object && !kind)
        return -EINVAL;
    char *path = string_duplicate("/access/explain");
    cli_path_query(&path, "user", cli_argument(cli, 0));
    cli_path_query(&path, "permission", cli_argument(cli, 1));
    cli_path_query(&path, "kind", kind ? kind->kind : NULL);
    cli_path_query(&path, "id", name);
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_get(cli, path, &answer, error);
    free(path);
    if (r < 0 || cli_show_raw(cli, answer))
        return MIN(r, 0);
    view_details(answer, explanation_view);
    show_part("Roles", json_object_get(answer, "roles"), held_role_view);
    show_part("Grants on it", json_object_get(answer, "grants"), held_grant_view);
    return 0;
}

/* "manager, user (through group ops)"; owned. */
static char *roles_text(const json_t *roles)
{
    char *text = string_duplicate("");
    size_t index;
    const json_t *role;
    json_array_foreach (roles, index, role) {
        const char *group = json_text_at(role, "group"), *name = json_text_at(role, "role");
        char *longer = *group ? string_format("%s%s%s (group %s)", text, *text ? ", " : "", name, group)
                              : string_format("%s%s%s", text, *text ? ", " : "", name);
        free(text);
        text = longer;
    }
    return text;
}

static int access_review(Cli *cli, Error *error)
{
    static const ViewField review_view[] = {
        {"ACCOUNT", "username", FIELD_STRONG, IN_LIST},
        {"ACTIVE", "active", FIELD_FLAG, IN_LIST},
        {"ROLES", "roles_text", FIELD_TEXT, IN_LIST},
        {"PERMISSIONS", "permission_count", FIELD_NUMBER, IN_LIST},
        {"GRANTS", "grant_count", FIELD_NUMBER, IN_LIST},
        {"OWNS", "owned_objects", FIELD_NUMBER, IN_LIST},
        {0},
    };
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_get_list(cli, "/access/review", &answer, error);
    if (r < 0 || cli_show_raw(cli, answer))
        return MIN(r, 0);
    size_t index;
    json_t *row;
    json_array_foreach (json_object_get(answer, "items"), index, row) {
        _cleanup_free_ char *roles = roles_text(json_object_get(row, "roles"));
        (void)json_object_set_new(row, "roles_text", json_string(roles));
        (void)json_object_set_new(
            row, "permission_count",
            json_integer((json_int_t)json_array_size(json_object_get(row, "permissions"))));
        (void)json_object_set_new(row, "grant_count",
                                  json_integer((json_int_t)json_array_size(json_object_get(row, "grants"))));
    }
    view_list(json_object_get(answer, "items"), review_view, "Nobody.");
    return 0;
}

/* The table
 * -----------------------------------------------------------------------------------------------------------------
 */

static const Option limit_options[] = {
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};
static const Option group_options[] = {
    {.name = "role", .argument = "ROLE", .help = "system role of its members; none when absent"},
    {.name = "ldap-group", .argument = "DN", .help = "the group of a directory that it stands for"},
    {.name = NULL},
};
static const Option group_change_options[] = {
    {.name = "role", .argument = "ROLE", .help = "system role of its members; '' for none"},
    {.name = "ldap-group", .argument = "DN", .help = "the group of a directory; '' for none"},
    {.name = NULL},
};
static const Option yes_options[] = {
    {.name = "yes", .letter = 'y', .help = "do not ask"},
    {.name = NULL},
};
static const Option tenant_role_options[] = {
    {.name = "role", .argument = "ROLE", .help = "a role of tenants (user)"},
    {.name = NULL},
};
static const Option role_options[] = {
    {.name = "system", .help = "a role of the installation, not of tenants"},
    {.name = "description", .argument = "TEXT", .help = "what it is for"},
    {.name = NULL},
};
static const Option subject_options[] = {
    {.name = "user", .letter = 'u', .argument = "NAME", .help = "to an account"},
    {.name = "group", .letter = 'g', .argument = "NAME", .help = "to a group"},
    {.name = NULL},
};

static const char object_text[] = "OBJECT is KIND/NAME, KIND one of cluster, bundle, provider, "
                                  "hardware-type, image-type, service, template.";

const CliVerb verbs_access[] = {
    {"groups list", "", 0, 0, SESSION, groups_list, limit_options, "groups of accounts", NULL},
    {"groups show", "NAME", 1, 1, SESSION, groups_show, NULL, "one group with its members and tenants", NULL},
    {"groups create", "NAME", 1, 1, SESSION, groups_create, group_options, "make a group", NULL},
    {"groups change", "NAME", 1, 1, SESSION, groups_change, group_change_options,
     "change a group's system role or its group of a directory", NULL},
    {"groups delete", "NAME", 1, 1, SESSION, groups_delete, yes_options, "remove a group without members",
     NULL},
    {"groups add-user", "GROUP USER", 2, 2, SESSION, groups_add_user, NULL, "put an account into a group",
     NULL},
    {"groups remove-user", "GROUP USER", 2, 2, SESSION, groups_remove_user, NULL,
     "take an account out of a group", NULL},
    {"tenants add-group", "TENANT GROUP", 2, 2, SESSION, tenants_add_group, tenant_role_options,
     "put a group into a tenant, or change its role there", NULL},
    {"tenants remove-group", "TENANT GROUP", 2, 2, SESSION, tenants_remove_group, NULL,
     "take a group out of a tenant", NULL},
    {"roles list", "", 0, 0, SESSION, roles_list, limit_options, "roles, built in and one's own", NULL},
    {"roles show", "NAME", 1, 1, SESSION, roles_show, NULL, "one role with its permissions", NULL},
    {"roles create", "NAME", 1, 1, SESSION, roles_create, role_options, "make a role without permissions",
     NULL},
    {"roles delete", "NAME", 1, 1, SESSION, roles_delete, yes_options, "remove a role that nobody has", NULL},
    {"permissions list", "[ROLE]", 0, 1, SESSION, permissions_list, limit_options,
     "permissions of all roles, or of one", NULL},
    {"permissions add", "ROLE PERMISSION", 2, 2, SESSION, permissions_add, NULL,
     "give a permission to a role", "It counts at once, for everybody who has the role."},
    {"permissions remove", "ROLE PERMISSION", 2, 2, SESSION, permissions_remove, NULL,
     "take a permission from a role", NULL},
    {"visibility set", "OBJECT VISIBILITY", 2, 2, SESSION, visibility_set, NULL,
     "say who sees an object: private, tenant or global", object_text},
    {"grants list", "OBJECT", 1, 1, SESSION, grants_list, limit_options, "who was given rights on an object",
     object_text},
    {"grants add", "OBJECT RIGHT...", 2, 5, SESSION, grants_add, subject_options,
     "give rights on an object: read, use, write, grant",
     "The rights replace those given before. Nobody gives what he does not have there himself."},
    {"grants remove", "OBJECT", 1, 1, SESSION, grants_remove, subject_options,
     "take rights on an object away", object_text},
    {"access explain", "USER PERMISSION [OBJECT]", 2, 3, SESSION, access_explain, NULL,
     "which rule allows or denies, and through which roles and groups", object_text},
    {"access review", "", 0, 0, SESSION, access_review, limit_options,
     "who may do what in the tenant, and through what",
     "With -o json the permissions and grants themselves, for the file of the review."},
    {0},
};
