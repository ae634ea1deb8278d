/* SPDX-License-Identifier: Apache-2.0 */

/* What a document says about others. A name that is not there is a warning, because catalogs are loaded in
 * any order; a cycle among services that are there is an error. */

#include <errno.h>

#include "base/map.h"
#include "base/string.h"
#include "domain/catalog/internal.h"
#include "domain/macro/macro.h"

typedef struct References {
    Catalog *catalog;
    Members *members;
    Error *error;
    int result;
} References;

static bool exists(References *references, CatalogKind kind, const char *name)
{
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    int r = catalog_get(references->catalog, kind, name, &entry, references->error);
    if (r < 0)
        references->result = r;
    return entry != NULL;
}

static void check_name(References *references, CatalogKind kind, const char *name, const char *path)
{
    static const char *const what[_CATALOG_KIND_MAX] = {"provider", "hardware type", "image type", "service",
                                                        "cluster template"};
    if (name && !exists(references, kind, name))
        member_warning(references->members, path, "unknown_reference", "there is no %s '%s' (yet)",
                       what[kind], name);
}

static void check_names(References *references, CatalogKind kind, const NameList *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++)
        check_name(references, kind, names->items[i], item_path(references->members, path, i));
}

/* All services that are known, as a graph. */

typedef struct ServiceGraph {
    CatalogEntry **services; /* references */
    size_t count;
    StringMap *by_name;   /* name -> index + 1 */
    StringMap *providers; /* virtual name -> StringList of names, owned */
    uint8_t *state;
    bool is_strict; /* follow `requires` by name only */
    bool is_runtime;
    Buffer trail;
} ServiceGraph;

static void free_list(void *value)
{
    string_list_done(value);
    free(value);
}

static void service_graph_done(ServiceGraph *graph)
{
    for (size_t i = 0; i < graph->count; i++)
        catalog_entry_unref(graph->services[i]);
    free(graph->services);
    string_map_free(graph->by_name);
    string_map_free(graph->providers);
    free(graph->state);
    buffer_done(&graph->trail);
}

static void service_graph_add(ServiceGraph *graph, const CatalogEntry *entry)
{
    graph->services[graph->count++] = catalog_entry_ref(entry);
    string_map_set(graph->by_name, entry->name, (void *)(uintptr_t)graph->count);
    for (size_t i = 0; i < entry->service.provides.count; i++) {
        const char *name = entry->service.provides.items[i];
        StringList *list = string_map_get(graph->providers, name);
        if (!list) {
            list = NEW(StringList);
            string_map_set(graph->providers, name, list);
        }
        string_list_append(list, entry->name);
    }
}

static int service_graph_load(ServiceGraph *graph, References *references, const CatalogEntry *changed)
{
    _cleanup_string_list_ StringList names = {0};
    int r = references->catalog->list(references->catalog, CATALOG_SERVICE, &names, references->error);
    if (r < 0)
        return r;
    *graph = (ServiceGraph){.by_name = string_map_new(NULL), .providers = string_map_new(free_list)};
    graph->services = NEW_ARRAY(CatalogEntry *, names.count + 1);
    service_graph_add(graph, changed);
    for (size_t i = 0; i < names.count; i++) {
        _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
        r = catalog_get(references->catalog, CATALOG_SERVICE, names.items[i], &entry, references->error);
        if (r < 0)
            return r;
        if (entry && !string_equal(entry->name, changed->name))
            service_graph_add(graph, entry);
    }
    graph->state = NEW_ARRAY(uint8_t, graph->count);
    return 0;
}

enum { UNSEEN, OPEN, DONE };
static bool finds_cycle(ServiceGraph *graph, size_t index, unsigned depth);

static bool follow(ServiceGraph *graph, size_t from, const char *name, unsigned depth)
{
    size_t next = (size_t)(uintptr_t)string_map_get(graph->by_name, name);
    if (next > 0 && finds_cycle(graph, next - 1, depth + 1))
        return true;
    const StringList *providers = graph->is_strict ? NULL : string_map_get(graph->providers, name);
    for (size_t i = 0; providers && i < providers->count; i++) {
        next = (size_t)(uintptr_t)string_map_get(graph->by_name, providers->items[i]);
        if (next > 0 && next - 1 != from && finds_cycle(graph, next - 1, depth + 1))
            return true;
    }
    return false;
}

/* From services[0], the changed one; a cycle counts only when it comes back to that one. */
static bool finds_cycle(ServiceGraph *graph, size_t index, unsigned depth)
{
    if (graph->state[index] == OPEN && index == 0) {
        (void)buffer_append_string(&graph->trail, graph->services[0]->name);
        return true;
    }
    if (graph->state[index] != UNSEEN || depth > 1000)
        return false;
    graph->state[index] = OPEN;
    const CatalogService *service = &graph->services[index]->service;
    const NameList *lists[] = {graph->is_runtime ? &service->runtime_requires : &service->install_requires,
                               graph->is_runtime ? &service->runtime_uses : &service->install_uses};
    for (size_t i = 0; i < (graph->is_strict ? 1 : ELEMENTSOF(lists)); i++)
        for (size_t j = 0; j < lists[i]->count; j++)
            if (follow(graph, index, lists[i]->items[j], depth)) {
                (void)buffer_append_format(&graph->trail, " <- %s", graph->services[index]->name);
                return true;
            }
    graph->state[index] = DONE;
    return false;
}

static void check_cycles(ServiceGraph *graph, Members *members, bool is_runtime)
{
    const char *path = is_runtime ? "dependencies.runtime" : "dependencies.install";
    graph->is_runtime = is_runtime;
    for (unsigned pass = 0; pass < 2; pass++) {
        graph->is_strict = pass == 0;
        memset(graph->state, UNSEEN, graph->count);
        buffer_clear(&graph->trail);
        if (!finds_cycle(graph, 0, 0))
            continue;
        if (graph->is_strict)
            member_issue(members, path, "cycle", "the services need each other: %s",
                         buffer_string(&graph->trail));
        else
            member_warning(members, path, "cycle",
                           "the services wait for each other when all of them are in one cluster: %s",
                           buffer_string(&graph->trail));
        return;
    }
}

static void check_dependencies(References *references, const ServiceGraph *graph, const NameList *names,
                               const char *path)
{
    for (size_t i = 0; i < names->count; i++)
        if (!string_map_has(graph->by_name, names->items[i]) &&
            !string_map_has(graph->providers, names->items[i]))
            member_warning(references->members, item_path(references->members, path, i), "unknown_reference",
                           "no service is called '%s' or provides it (yet)", names->items[i]);
}

static void check_service_references(References *references, const CatalogEntry *entry)
{
    const CatalogService *service = &entry->service;
    ServiceGraph graph = {0};
    int r = service_graph_load(&graph, references, entry);
    if (r < 0) {
        references->result = r;
        service_graph_done(&graph);
        return;
    }
    check_dependencies(references, &graph, &service->install_requires, "dependencies.install.requires");
    check_dependencies(references, &graph, &service->install_uses, "dependencies.install.uses");
    check_dependencies(references, &graph, &service->runtime_requires, "dependencies.runtime.requires");
    check_dependencies(references, &graph, &service->runtime_uses, "dependencies.runtime.uses");
    check_cycles(&graph, references->members, false);
    check_cycles(&graph, references->members, true);
    for (size_t i = 0; i < service->port_count; i++)
        for (size_t j = 0; j < service->ports[i].source_count; j++) {
            const PortSource *source = &service->ports[i].sources[j];
            if (source->kind == PORT_FROM_SERVICE && !string_map_has(graph.by_name, source->text))
                member_warning(references->members,
                               arena_format(references->members->arena, "network.ports[%zu].from[%zu]", i, j),
                               "unknown_reference", "there is no service '%s' (yet)", source->text);
        }
    service_graph_done(&graph);
}

/* Templates */

typedef struct MacroCheck {
    References *references;
    const NameList *compatible;
} MacroCheck;

static int check_macro_service(void *context, const char *path, const MacroText *text, Error *error)
{
    MacroCheck *check = context;
    for (size_t i = 0; i < text->count; i++) {
        const Macro *macro = &text->parts[i].macro;
        if (!text->parts[i].literal && macro->service &&
            !name_list_contains(check->compatible, macro->service))
            check_name(check->references, CATALOG_SERVICE, macro->service, path);
    }
    return 0;
}

static void check_service_macros(References *references, const json_t *value, const char *path,
                                 const NameList *compatible)
{
    MacroCheck check = {references, compatible};
    (void)macro_walk(references->members->arena, value, path, check_macro_service, NULL, &check, NULL);
}

/* A service that a constraint names: known nowhere = an error, not in the compatible ones = without effect.
 */
static void check_constraint_name(References *references, const CatalogTemplate *template, const char *name,
                                  const char *path)
{
    if (template->compatible_services.count > 0 &&
        !name_list_contains(&template->compatible_services, name)) {
        if (exists(references, CATALOG_SERVICE, name))
            member_warning(references->members, path, "no_effect", "'%s' is not in compatibility.services",
                           name);
        else
            member_issue(references->members, path, "unknown_reference",
                         "'%s' is neither in compatibility.services nor a service of the catalog", name);
    } else
        check_name(references, CATALOG_SERVICE, name, path);
}

static void check_sets(References *references, const CatalogTemplate *template, const NameLists *sets,
                       const char *path)
{
    for (size_t i = 0; i < sets->count; i++)
        for (size_t j = 0; j < sets->items[i].count; j++)
            check_constraint_name(references, template, sets->items[i].items[j],
                                  arena_format(references->members->arena, "%s[%zu][%zu]", path, i, j));
}

static void check_template_references(References *references, const CatalogEntry *entry)
{
    const CatalogTemplate *template = &entry->template;
    Members *members = references->members;
    check_name(references, CATALOG_PROVIDER, template->provider, "defaults.provider");
    check_name(references, CATALOG_HARDWARE_TYPE, template->hardware_type, "defaults.hardwaretype");
    check_name(references, CATALOG_IMAGE_TYPE, template->image_type, "defaults.imagetype");
    check_names(references, CATALOG_SERVICE, &template->services, "defaults.services");
    check_names(references, CATALOG_SERVICE, &template->compatible_services, "compatibility.services");
    check_names(references, CATALOG_HARDWARE_TYPE, &template->compatible_hardware_types,
                "compatibility.hardwaretypes");
    check_names(references, CATALOG_IMAGE_TYPE, &template->compatible_image_types,
                "compatibility.imagetypes");
    for (size_t i = 0; i < template->constraint_count; i++) {
        const ServiceConstraint *constraint = &template->constraints[i];
        const char *path = member_path(members, "constraints.services", constraint->service);
        check_constraint_name(references, template, constraint->service, path);
        check_names(references, CATALOG_HARDWARE_TYPE, &constraint->hardware_types,
                    member_path(members, path, "hardwaretypes"));
        check_names(references, CATALOG_IMAGE_TYPE, &constraint->image_types,
                    member_path(members, path, "imagetypes"));
    }
    check_sets(references, template, &template->must_coexist, "constraints.layout.mustcoexist");
    check_sets(references, template, &template->cant_coexist, "constraints.layout.cantcoexist");
    for (size_t i = 0; i < template->secret_count; i++)
        check_names(references, CATALOG_SERVICE, &template->secrets[i].services,
                    arena_format(members->arena, "secrets[%zu].services", i));
    if (template->config)
        check_service_macros(references, template->config, "defaults.config", &template->compatible_services);
}

int entry_check_references(Catalog *catalog, const CatalogEntry *entry, Members *members, Error *error)
{
    References references = {catalog, members, error, 0};
    switch (entry->kind) {
    case CATALOG_HARDWARE_TYPE:
    case CATALOG_IMAGE_TYPE:
        for (size_t i = 0; i < entry->mappings.count; i++)
            check_name(&references, CATALOG_PROVIDER, entry->mappings.items[i].provider,
                       member_path(members, "providermap", entry->mappings.items[i].provider));
        break;
    case CATALOG_SERVICE:
        check_service_references(&references, entry);
        break;
    case CATALOG_CLUSTER_TEMPLATE:
        check_template_references(&references, entry);
        break;
    case CATALOG_PROVIDER:
    case _CATALOG_KIND_MAX:
    case _CATALOG_KIND_INVALID:
        break;
    }
    const json_t *links = json_object_get(entry->document, "links");
    static const NameList nothing = {0};
    if (links && references.result == 0)
        check_service_macros(&references, links, "links",
                             entry->kind == CATALOG_CLUSTER_TEMPLATE ? &entry->template.compatible_services
                                                                     : &nothing);
    return references.result;
}
