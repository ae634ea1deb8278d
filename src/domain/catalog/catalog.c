/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/catalog/catalog.h"

#include <errno.h>

#include "base/map.h"
#include "base/string.h"
#include "domain/catalog/decimal.h"
#include "domain/catalog/internal.h"

static const char *const kinds[_CATALOG_KIND_MAX] = {
    [CATALOG_PROVIDER] = "providers",
    [CATALOG_HARDWARE_TYPE] = "hardwaretypes",
    [CATALOG_IMAGE_TYPE] = "imagetypes",
    [CATALOG_SERVICE] = "services",
    [CATALOG_CLUSTER_TEMPLATE] = "clustertemplates",
};

const char *catalog_kind_to_string(CatalogKind kind)
{
    return kind >= 0 && kind < _CATALOG_KIND_MAX ? kinds[kind] : NULL;
}

CatalogKind catalog_kind_from_string(const char *text)
{
    for (CatalogKind kind = 0; kind < _CATALOG_KIND_MAX; kind++)
        if (string_equal(kinds[kind], text))
            return kind;
    return _CATALOG_KIND_INVALID;
}

/* Providers */

static const Member provider_members[] = {
    COMMON_MEMBERS(CatalogEntry),
    {"providertype", MEMBER_NAME, MEMBER_REQUIRED, offsetof(CatalogEntry, provider.provider_type), 0, 0,
     NULL},
    {"provisioner", MEMBER_OBJECT, 0, offsetof(CatalogEntry, provider.fields), 0, 0, NULL},
    {0},
};

static void provider_parse(Members *members, const json_t *document, CatalogEntry *entry)
{
    members_parse(members, document, "", provider_members, ISSUE_WARNING, entry);
    if (!entry->provider.provider_type)
        return;
    _cleanup_json_ json_t *none = json_object();
    provider_fields_check(members, entry->provider.provider_type,
                          entry->provider.fields ? entry->provider.fields : none, "provisioner");
}

json_t *provider_document_redact(const json_t *document)
{
    json_t *copy = json_deep_copy(document);
    const char *type = json_string_value(json_object_get(copy, "providertype"));
    json_t *fields = json_object_get(copy, "provisioner");
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(fields, next, name, value) if (provider_field_is_sensitive(type, name))(void)
        json_object_set_new(fields, name, json_pack("{s:b}", "sealed", 1));
    return copy;
}

/* Hardware and image types */

static const Member hardware_mapping_members[] = {
    {"flavor", MEMBER_STRING, 0, offsetof(CatalogMapping, flavor), 0, 0, NULL},
    {"cost", MEMBER_STRING, 0, offsetof(CatalogMapping, cost), 0, 0, NULL},
    {0},
};

static const Member image_mapping_members[] = {
    {"image", MEMBER_STRING, 0, offsetof(CatalogMapping, image), 0, 0, NULL},
    {"sshuser", MEMBER_STRING, 0, offsetof(CatalogMapping, ssh_user), 0, 0, NULL},
    {0},
};

/* The older format lets anything stand beside the members that mean something (vcpu, ram, disks, ...). */
static void parse_mapping(Members *members, const json_t *value, const char *path, bool is_hardware,
                          CatalogMapping *mapping)
{
    if (!json_is_object(value)) {
        member_issue(members, path, "wrong_type", "must be an object");
        return;
    }
    const Member *table = is_hardware ? hardware_mapping_members : image_mapping_members;
    _cleanup_json_ json_t *known = json_object();
    for (const Member *row = table; row->name; row++) {
        json_t *member = json_object_get(value, row->name);
        if (member)
            (void)json_object_set(known, row->name, member);
    }
    members_parse(members, known, path, table, ISSUE_WARNING, mapping);
    if (is_hardware ? !mapping->flavor : !mapping->image)
        member_warning(members, path, "missing", "without %s it cannot be used with this provider",
                       is_hardware ? "a flavor" : "an image");
    Decimal ignored;
    if (mapping->cost && decimal_parse(mapping->cost, &ignored) < 0) {
        member_warning(members, member_path(members, path, "cost"), "bad_number",
                       "is no decimal number such as \"0.12\"; the cost of plans leaves it out");
        mapping->cost = NULL;
    }
}

static void parse_mappings(Members *members, const json_t *value, const char *path, bool is_hardware,
                           CatalogMappings *mappings)
{
    if (!json_is_object(value)) {
        member_issue(members, path, "wrong_type", "must be an object");
        return;
    }
    mappings->items =
        arena_allocate_array(members->arena, json_object_size(value) + 1, sizeof(CatalogMapping));
    const char *name;
    json_t *item;
    json_object_foreach ((json_t *)(uintptr_t)value, name, item) {
        const char *child = member_path(members, path, name);
        if (!name_is_valid(name)) {
            member_issue(members, child, "bad_name", "'%s' is no valid name of a provider", name);
            continue;
        }
        CatalogMapping *mapping = &mappings->items[mappings->count++];
        mapping->provider = name;
        parse_mapping(members, item, child, is_hardware, mapping);
    }
}

static void parse_hardware_map(Members *members, const json_t *value, const char *path, void *destination)
{
    parse_mappings(members, value, path, true, destination);
}

static void parse_image_map(Members *members, const json_t *value, const char *path, void *destination)
{
    parse_mappings(members, value, path, false, destination);
}

static const Member hardware_members[] = {
    COMMON_MEMBERS(CatalogEntry),
    {"providermap", MEMBER_CUSTOM, MEMBER_REQUIRED, offsetof(CatalogEntry, mappings), 0, 0,
     parse_hardware_map},
    {0},
};

static const Member image_members[] = {
    COMMON_MEMBERS(CatalogEntry),
    {"providermap", MEMBER_CUSTOM, MEMBER_REQUIRED, offsetof(CatalogEntry, mappings), 0, 0, parse_image_map},
    {0},
};

/* Entries */

int catalog_entry_parse(CatalogKind kind, json_t *document, int64_t version, CatalogEntry **ret_entry,
                        IssueList *issues)
{
    size_t errors_before = issues->error_count;
    _cleanup_catalog_entry_ CatalogEntry *entry = NEW(CatalogEntry);
    *entry = (CatalogEntry){.references = 1,
                            .kind = kind,
                            .version = version,
                            .arena = arena_new(),
                            .document = json_incref(document)};
    Members members = {entry->arena, issues};
    switch (kind) {
    case CATALOG_PROVIDER:
        provider_parse(&members, document, entry);
        break;
    case CATALOG_HARDWARE_TYPE:
        members_parse(&members, document, "", hardware_members, ISSUE_WARNING, entry);
        break;
    case CATALOG_IMAGE_TYPE:
        members_parse(&members, document, "", image_members, ISSUE_WARNING, entry);
        break;
    case CATALOG_SERVICE:
        service_parse(&members, document, entry);
        break;
    case CATALOG_CLUSTER_TEMPLATE:
        template_parse(&members, document, entry);
        break;
    case _CATALOG_KIND_MAX:
    case _CATALOG_KIND_INVALID:
        issue_add(issues, ISSUE_ERROR, "", "bad_kind", "there is no such kind of document");
        break;
    }
    if (issues->error_count > errors_before)
        return -EINVAL;
    *ret_entry = TAKE_PTR(entry);
    return 0;
}

CatalogEntry *catalog_entry_ref(const CatalogEntry *entry)
{
    CatalogEntry *mutable_entry = (CatalogEntry *)(uintptr_t)entry;
    if (mutable_entry)
        mutable_entry->references++;
    return mutable_entry;
}

CatalogEntry *catalog_entry_unref(CatalogEntry *entry)
{
    if (!entry || --entry->references > 0)
        return NULL;
    if (entry->kind == CATALOG_CLUSTER_TEMPLATE)
        json_decref(entry->template.config);
    json_decref(entry->document);
    arena_free(entry->arena);
    free(entry);
    return NULL;
}

/* The catalog in memory */

struct MemoryCatalog {
    Catalog interface; /* first, so that the pointers are the same */
    StringMap *entries[_CATALOG_KIND_MAX];
};

static void free_entry(void *value)
{
    catalog_entry_unref(value);
}

static int memory_get(Catalog *catalog, CatalogKind kind, const char *name, CatalogEntry **ret_entry,
                      Error *error)
{
    MemoryCatalog *memory = (MemoryCatalog *)catalog;
    *ret_entry = catalog_entry_ref(string_map_get(memory->entries[kind], name));
    return 0;
}

static int memory_list(Catalog *catalog, CatalogKind kind, StringList *ret_names, Error *error)
{
    MemoryCatalog *memory = (MemoryCatalog *)catalog;
    StringList names = {0};
    STRING_MAP_FOREACH (memory->entries[kind], i)
        string_list_append(&names, i.key);
    string_list_sort(&names);
    *ret_names = names;
    return 0;
}

MemoryCatalog *memory_catalog_new(void)
{
    MemoryCatalog *catalog = NEW(MemoryCatalog);
    catalog->interface = (Catalog){memory_get, memory_list};
    for (CatalogKind kind = 0; kind < _CATALOG_KIND_MAX; kind++)
        catalog->entries[kind] = string_map_new(free_entry);
    return catalog;
}

MemoryCatalog *memory_catalog_free(MemoryCatalog *catalog)
{
    if (!catalog)
        return NULL;
    for (CatalogKind kind = 0; kind < _CATALOG_KIND_MAX; kind++)
        string_map_free(catalog->entries[kind]);
    free(catalog);
    return NULL;
}

Catalog *memory_catalog_interface(MemoryCatalog *catalog)
{
    return &catalog->interface;
}

void memory_catalog_put(MemoryCatalog *catalog, const CatalogEntry *entry)
{
    string_map_set(catalog->entries[entry->kind], entry->name, catalog_entry_ref(entry));
}

int catalog_validate(Catalog *catalog, CatalogKind kind, const char *name, json_t *document,
                     CatalogEntry **ret_entry, IssueList *issues, Error *error)
{
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    size_t errors_before = issues->error_count;
    const char *own_name = json_string_value(json_object_get(document, "name"));
    if (name && own_name && !string_equal(name, own_name))
        issue_add(issues, ISSUE_ERROR, "name", "contradiction",
                  "name: the document is '%s', the request says '%s'", own_name, name);
    if (catalog_entry_parse(kind, document, 0, &entry, issues) < 0)
        return -EINVAL;
    Members members = {entry->arena, issues};
    int r = entry_check_references(catalog, entry, &members, error);
    if (r < 0)
        return r;
    if (issues->error_count > errors_before)
        return -EINVAL;
    if (ret_entry)
        *ret_entry = TAKE_PTR(entry);
    return 0;
}
