/* SPDX-License-Identifier: Apache-2.0 */
#include "base/string.h"
#include "domain/catalog/internal.h"
#include "domain/catalog/tokens.h"
#include "domain/macro/macro.h"

/* Links */

static const Member link_members[] = {
    {"label", MEMBER_STRING, 0, offsetof(CatalogLink, label), 0, 0, NULL},
    {"url", MEMBER_STRING, MEMBER_REQUIRED | MEMBER_NONEMPTY, offsetof(CatalogLink, url), 0, 0, NULL},
    {0},
};

void macro_check(Members *members, const char *text, const char *path, bool may_be_secret)
{
    MacroText parsed;
    Error error = ERROR_INIT;
    if (macro_parse(members->arena, text, &parsed, &error) < 0) {
        member_issue(members, path, "bad_macro", "%s (column %u)", error.text, error.column);
        return;
    }
    for (size_t i = 0; i < parsed.count && !may_be_secret; i++)
        if (!parsed.parts[i].literal && parsed.parts[i].macro.kind == MACRO_SECRET)
            member_issue(members, path, "bad_macro", "a secret cannot stand here");
}

void links_parse(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogLinks *links = destination;
    if (!member_is_array(members, value, path, 100))
        return;
    links->items = arena_allocate_array(members->arena, json_array_size(value) + 1, sizeof(CatalogLink));
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        CatalogLink *link = &links->items[links->count++];
        const char *child = item_path(members, path, i);
        members_parse(members, item, child, link_members, ISSUE_WARNING, link);
        if (link->url)
            macro_check(members, link->url, member_path(members, child, "url"), false);
    }
}

/* Defaults */

static void merge_config(Members *members, const json_t *value, const char *path, CatalogTemplate *template)
{
    if (!json_is_object(value)) {
        member_issue(members, path, "wrong_type", "must be an object");
        return;
    }
    if (!template->config)
        template->config = json_object();
    /* Deep, since two services may each add to the same object; of a copy, since the document must not
     * change. */
    _cleanup_json_ json_t *copy = json_deep_copy(value);
    (void)json_object_update_recursive(template->config, copy);
}

typedef struct ServiceItem {
    const char *name;
    const json_t *config;
} ServiceItem;

static const Member service_item_members[] = {
    {"name", MEMBER_NAME, MEMBER_REQUIRED, offsetof(ServiceItem, name), 0, 0, NULL},
    {"config", MEMBER_OBJECT, 0, offsetof(ServiceItem, config), 0, 0, NULL},
    {0},
};

static void parse_default_services(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogTemplate *template = destination;
    if (!member_is_array(members, value, path, NAME_LIST_LIMIT))
        return;
    NameList *list = &template->services;
    list->items = arena_allocate_array(members->arena, json_array_size(value) + 1, sizeof(char *));
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        const char *child = item_path(members, path, i);
        ServiceItem service = {0};
        if (json_is_object(item)) {
            members_parse(members, item, child, service_item_members, ISSUE_WARNING, &service);
            if (service.config)
                merge_config(members, service.config, member_path(members, child, "config"), template);
        } else
            service.name = member_name(members, item, child);
        if (service.name && name_list_contains(list, service.name))
            member_warning(members, child, "repeated", "'%s' is named twice", service.name);
        else if (service.name)
            list->items[list->count++] = service.name;
    }
}

static void parse_config(Members *members, const json_t *value, const char *path, void *destination)
{
    merge_config(members, value, path, destination);
}

static const Member default_members[] = {
    {"services", MEMBER_CUSTOM, 0, 0, 0, 0, parse_default_services},
    {"provider", MEMBER_NAME, 0, offsetof(CatalogTemplate, provider), 0, 0, NULL},
    {"hardwaretype", MEMBER_NAME, 0, offsetof(CatalogTemplate, hardware_type), 0, 0, NULL},
    {"imagetype", MEMBER_NAME, 0, offsetof(CatalogTemplate, image_type), 0, 0, NULL},
    {"dnsSuffix", MEMBER_STRING, 0, offsetof(CatalogTemplate, dns_suffix), 0, 0, NULL},
    {"config", MEMBER_CUSTOM, 0, 0, 0, 0, parse_config},
    {0},
};

static void parse_defaults(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogTemplate *template = destination;
    members_parse(members, value, path, default_members, ISSUE_WARNING, template);
    const char *suffix = template->dns_suffix;
    if (suffix && *suffix == '.')
        suffix++;
    if (!string_is_empty(suffix) && !hostname_is_valid(suffix))
        member_issue(members, member_path(members, path, "dnsSuffix"), "bad_name",
                     "must be a DNS domain in small letters");
}

static const Member compatibility_members[] = {
    {"services", MEMBER_NAMES, 0, offsetof(CatalogTemplate, compatible_services), 0, 0, NULL},
    {"hardwaretypes", MEMBER_NAMES, 0, offsetof(CatalogTemplate, compatible_hardware_types), 0, 0, NULL},
    {"imagetypes", MEMBER_NAMES, 0, offsetof(CatalogTemplate, compatible_image_types), 0, 0, NULL},
    {0},
};

static void parse_compatibility(Members *members, const json_t *value, const char *path, void *destination)
{
    members_parse(members, value, path, compatibility_members, ISSUE_WARNING, destination);
}

/* Constraints */

static void parse_sets(Members *members, const json_t *value, const char *path, void *destination)
{
    NameLists *sets = destination;
    if (!member_is_array(members, value, path, 256))
        return;
    sets->items = arena_allocate_array(members->arena, json_array_size(value) + 1, sizeof(NameList));
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        const char *child = item_path(members, path, i);
        NameList *set = &sets->items[sets->count++];
        member_names(members, item, child, set);
        if (set->count < 2)
            member_warning(members, child, "no_effect", "a set of fewer than two services says nothing");
    }
}

static const Member layout_members[] = {
    {"mustcoexist", MEMBER_CUSTOM, 0, offsetof(CatalogTemplate, must_coexist), 0, 0, parse_sets},
    {"cantcoexist", MEMBER_CUSTOM, 0, offsetof(CatalogTemplate, cant_coexist), 0, 0, parse_sets},
    {0},
};

static void parse_layout(Members *members, const json_t *value, const char *path, void *destination)
{
    members_parse(members, value, path, layout_members, ISSUE_WARNING, destination);
}

static void parse_minimum(Members *members, const json_t *value, const char *path, void *destination)
{
    ServiceConstraint *constraint = destination;
    constraint->has_minimum = member_integer(members, value, path, 0, INT32_MAX, &constraint->minimum);
}

static const Member quantity_members[] = {
    {"min", MEMBER_CUSTOM, 0, 0, 0, 0, parse_minimum},
    {"max", MEMBER_INTEGER, 0, offsetof(ServiceConstraint, maximum), 0, INT32_MAX, NULL},
    {0},
};

static void parse_quantities(Members *members, const json_t *value, const char *path, void *destination)
{
    ServiceConstraint *constraint = destination;
    members_parse(members, value, path, quantity_members, ISSUE_WARNING, constraint);
    if (constraint->minimum > constraint->maximum)
        member_issue(members, member_path(members, path, "min"), "contradiction",
                     "must not be larger than max");
}

static const Member constraint_members[] = {
    {"hardwaretypes", MEMBER_NAMES, 0, offsetof(ServiceConstraint, hardware_types), 0, 0, NULL},
    {"imagetypes", MEMBER_NAMES, 0, offsetof(ServiceConstraint, image_types), 0, 0, NULL},
    {"quantities", MEMBER_CUSTOM, 0, 0, 0, 0, parse_quantities},
    {0},
};

static void parse_service_constraints(Members *members, const json_t *value, const char *path,
                                      void *destination)
{
    CatalogTemplate *template = destination;
    if (!json_is_object(value)) {
        member_issue(members, path, "wrong_type", "must be an object");
        return;
    }
    template->constraints =
        arena_allocate_array(members->arena, json_object_size(value) + 1, sizeof(ServiceConstraint));
    const char *name;
    json_t *item;
    json_object_foreach ((json_t *)(uintptr_t)value, name, item) {
        const char *child = member_path(members, path, name);
        if (!name_is_valid(name)) {
            member_issue(members, child, "bad_name", "'%s' is no valid name of a service", name);
            continue;
        }
        ServiceConstraint *constraint = &template->constraints[template->constraint_count++];
        *constraint = (ServiceConstraint){.service = name, .maximum = INT32_MAX};
        members_parse(members, item, child, constraint_members, ISSUE_WARNING, constraint);
    }
}

static const Member size_members[] = {
    {"min", MEMBER_INTEGER, 0, offsetof(CatalogTemplate, size_minimum), 0, INT32_MAX, NULL},
    {"max", MEMBER_INTEGER, 0, offsetof(CatalogTemplate, size_maximum), 0, INT32_MAX, NULL},
    {0},
};

static void parse_size(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogTemplate *template = destination;
    members_parse(members, value, path, size_members, ISSUE_WARNING, template);
    if (template->size_maximum > 0 && template->size_minimum > template->size_maximum)
        member_issue(members, member_path(members, path, "min"), "contradiction",
                     "must not be larger than max");
}

static const Member constraints_members[] = {
    {"layout", MEMBER_CUSTOM, 0, 0, 0, 0, parse_layout},
    {"services", MEMBER_CUSTOM, 0, 0, 0, 0, parse_service_constraints},
    {"size", MEMBER_CUSTOM, 0, 0, 0, 0, parse_size},
    {0},
};

static void parse_constraints(Members *members, const json_t *value, const char *path, void *destination)
{
    members_parse(members, value, path, constraints_members, ISSUE_WARNING, destination);
}

/* Administration */

static const Member lease_members[] = {
    {"initial", MEMBER_DURATION, 0, offsetof(CatalogTemplate, lease_initial), 0, 0, NULL},
    {"max", MEMBER_DURATION, 0, offsetof(CatalogTemplate, lease_maximum), 0, 0, NULL},
    {"step", MEMBER_DURATION, 0, offsetof(CatalogTemplate, lease_step), 0, 0, NULL},
    {0},
};

static void parse_lease(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogTemplate *template = destination;
    members_parse(members, value, path, lease_members, ISSUE_WARNING, template);
    if (template->lease_maximum > 0 && template->lease_initial > template->lease_maximum)
        member_issue(members, member_path(members, path, "initial"), "contradiction",
                     "must not be longer than max");
}

static const Member administration_members[] = {
    {"leaseduration", MEMBER_CUSTOM, 0, 0, 0, 0, parse_lease},
    {0},
};

static void parse_administration(Members *members, const json_t *value, const char *path, void *destination)
{
    members_parse(members, value, path, administration_members, ISSUE_WARNING, destination);
}

/* Secrets */

static const Member secret_members[] = {
    {"name", MEMBER_STRING, MEMBER_REQUIRED, offsetof(TemplateSecret, name), 0, 0, NULL},
    {"length", MEMBER_INTEGER, 0, offsetof(TemplateSecret, length), 16, 1024, NULL},
    {"alphabet", MEMBER_STRING, 0, offsetof(TemplateSecret, alphabet), 0, 0, NULL},
    {"services", MEMBER_NAMES, MEMBER_REQUIRED, offsetof(TemplateSecret, services), 0, 0, NULL},
    {0},
};

static bool alphabet_is_known(const char *alphabet)
{
    return string_equal(alphabet, "alphanumeric") || string_equal(alphabet, "hex") ||
           string_equal(alphabet, "base64url");
}

static void parse_secrets(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogTemplate *template = destination;
    if (!member_is_array(members, value, path, 64))
        return;
    template->secrets =
        arena_allocate_array(members->arena, json_array_size(value) + 1, sizeof(TemplateSecret));
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        TemplateSecret *secret = &template->secrets[template->secret_count];
        *secret = (TemplateSecret){.length = 32, .alphabet = "alphanumeric"};
        const char *child = item_path(members, path, i);
        members_parse(members, item, child, secret_members, ISSUE_ERROR, secret);
        if (secret->name && !token_is_secret_name(secret->name))
            member_issue(members, member_path(members, child, "name"), "bad_name",
                         "must begin with a letter and have at most 128 letters, digits, '.', '-' or '_'");
        if (secret->alphabet && !alphabet_is_known(secret->alphabet))
            member_issue(members, member_path(members, child, "alphabet"), "out_of_range",
                         "must be \"alphanumeric\", \"hex\" or \"base64url\"");
        if (json_object_get(item, "services") && secret->services.count == 0)
            member_issue(members, member_path(members, child, "services"), "empty",
                         "must name the services that get the secret");
        for (size_t j = 0; j < template->secret_count; j++)
            if (secret->name && string_equal(template->secrets[j].name, secret->name))
                member_issue(members, member_path(members, child, "name"), "repeated", "'%s' is there twice",
                             secret->name);
        template->secret_count++;
    }
}

/* Parents */

static const Member extends_members[] = {
    {"name", MEMBER_NAME, MEMBER_REQUIRED, 0, 0, 0, NULL},
    {0},
};

static void parse_extends(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogTemplate *template = destination;
    members_parse(members, value, path, extends_members, ISSUE_WARNING, &template->extends);
    if (template->extends)
        member_warning(members, path, "not_resolved",
                       "parents are not merged; the template is used as it stands");
}

static void parse_includes(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogTemplate *template = destination;
    if (!member_is_array(members, value, path, 64))
        return;
    template->includes.items =
        arena_allocate_array(members->arena, json_array_size(value) + 1, sizeof(char *));
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        const char *name = NULL;
        members_parse(members, item, item_path(members, path, i), extends_members, ISSUE_WARNING, &name);
        if (name)
            template->includes.items[template->includes.count++] = name;
    }
    if (template->includes.count > 0)
        member_warning(members, path, "not_resolved",
                       "parts are not merged; the template is used as it stands");
}

/* The rules that concern several members at once. */

static bool is_subset(const NameList *small, const NameList *large)
{
    for (size_t i = 0; i < small->count; i++)
        if (!name_list_contains(large, small->items[i]))
            return false;
    return true;
}

static void check_layout(Members *members, const CatalogTemplate *template)
{
    for (size_t i = 0; i < template->cant_coexist.count; i++)
        for (size_t j = 0; j < template->must_coexist.count; j++)
            if (template->cant_coexist.items[i].count >= 2 &&
                is_subset(&template->cant_coexist.items[i], &template->must_coexist.items[j]))
                member_issue(members, item_path(members, "constraints.layout.cantcoexist", i),
                             "contradiction",
                             "these services must share a node by constraints.layout.mustcoexist[%zu]", j);
}

static void check_default_compatibility(Members *members, const CatalogTemplate *template)
{
    for (size_t i = 0; i < template->services.count; i++)
        if (template->compatible_services.count > 0 &&
            !name_list_contains(&template->compatible_services, template->services.items[i]))
            member_issue(members, item_path(members, "defaults.services", i), "contradiction",
                         "'%s' is not in compatibility.services", template->services.items[i]);
    const struct {
        const char *name, *path, *list_path;
        const NameList *list;
    } defaults[] = {
        {template->hardware_type, "defaults.hardwaretype", "compatibility.hardwaretypes",
         &template->compatible_hardware_types},
        {template->image_type, "defaults.imagetype", "compatibility.imagetypes",
         &template->compatible_image_types},
    };
    for (size_t i = 0; i < ELEMENTSOF(defaults); i++)
        if (defaults[i].name && defaults[i].list->count > 0 &&
            !name_list_contains(defaults[i].list, defaults[i].name))
            member_issue(members, defaults[i].path, "contradiction", "'%s' is not in %s", defaults[i].name,
                         defaults[i].list_path);
}

typedef struct ConfigCheck {
    Members *members;
    const CatalogTemplate *template;
} ConfigCheck;

static int check_config_macro(void *context, const char *path, const MacroText *text, Error *error)
{
    ConfigCheck *check = context;
    for (size_t i = 0; i < text->count; i++) {
        const Macro *macro = &text->parts[i].macro;
        if (text->parts[i].literal || macro->kind != MACRO_SECRET)
            continue;
        bool is_declared = false;
        for (size_t j = 0; j < check->template->secret_count && !is_declared; j++)
            is_declared = string_equal(check->template->secrets[j].name, macro->secret);
        if (!is_declared)
            member_warning(
                check->members, path, "bad_macro",
                "the secret '%s' is not declared in secrets; it must be one of the tenant's secrets "
                "when a cluster is made",
                macro->secret);
    }
    return 0;
}

static void config_macro_error(void *context, const char *path, const Error *error)
{
    ConfigCheck *check = context;
    member_issue(check->members, path, "bad_macro", "%s (column %u)", error->text, error->column);
}

static const Member template_members[] = {
    {"defaults", MEMBER_CUSTOM, 0, 0, 0, 0, parse_defaults},
    {"compatibility", MEMBER_CUSTOM, 0, 0, 0, 0, parse_compatibility},
    {"constraints", MEMBER_CUSTOM, 0, 0, 0, 0, parse_constraints},
    {"administration", MEMBER_CUSTOM, 0, 0, 0, 0, parse_administration},
    {"links", MEMBER_CUSTOM, 0, offsetof(CatalogTemplate, links), 0, 0, links_parse},
    {"extends", MEMBER_CUSTOM, 0, 0, 0, 0, parse_extends},
    {"includes", MEMBER_CUSTOM, 0, 0, 0, 0, parse_includes},
    {"secrets", MEMBER_CUSTOM, 0, 0, 0, 0, parse_secrets},
    {"name", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"label", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"description", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"icon", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"version", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {0},
};

static const Member template_common_members[] = {
    COMMON_MEMBERS(CatalogEntry),
    {"defaults", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"compatibility", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"constraints", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"administration", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"links", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"extends", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"includes", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {"secrets", MEMBER_IGNORED, 0, 0, 0, 0, NULL},
    {0},
};

void template_parse(Members *members, const json_t *document, CatalogEntry *entry)
{
    CatalogTemplate *template = &entry->template;
    template->size_minimum = 1;
    members_parse(members, document, "", template_common_members, ISSUE_WARNING, entry);
    if (!json_is_object(document))
        return;
    members_parse(members, document, "", template_members, ISSUE_WARNING, template);
    check_layout(members, template);
    check_default_compatibility(members, template);
    ConfigCheck check = {members, template};
    if (template->config)
        (void)macro_walk(members->arena, template->config, "defaults.config", check_config_macro,
                         config_macro_error, &check, NULL);
}
