/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/topology/resolve.h"

#include <errno.h>
#include <inttypes.h>

#include "base/string.h"
#include "domain/catalog/members.h"
#include "domain/macro/macro.h"

typedef struct Resolver {
    Catalog *catalog;
    const ClusterRequest *request;
    Resolution *resolution;
    const CatalogTemplate *template;
    IssueList *issues;
    Error *error;
} Resolver;

/* Sets *ret_entry, or adds an issue when there is none. */
static int find(Resolver *resolver, CatalogKind kind, const char *name, const char *field,
                CatalogEntry **ret_entry)
{
    static const char *const what[_CATALOG_KIND_MAX] = {"provider", "hardware type", "image type", "service",
                                                        "cluster template"};
    int r = catalog_get(resolver->catalog, kind, name, ret_entry, resolver->error);
    if (r == 0 && !*ret_entry)
        issue_add(resolver->issues, ISSUE_ERROR, field, "unknown_reference", "there is no %s '%s'",
                  what[kind], name);
    return r;
}

ssize_t resolution_find(const Resolution *resolution, const char *service)
{
    size_t low = 0, high = resolution->service_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(resolution->services[middle]->name, service) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < resolution->service_count && string_equal(resolution->services[low]->name, service)
               ? (ssize_t)low
               : -1;
}

static int resolve_provider(Resolver *resolver)
{
    const char *name =
        resolver->request->provider ? resolver->request->provider : resolver->template->provider;
    if (!name) {
        issue_add(resolver->issues, ISSUE_ERROR, "provider", "missing",
                  "neither the request nor the template names a provider");
        return 0;
    }
    int r = find(resolver, CATALOG_PROVIDER, name, "provider", &resolver->resolution->provider);
    if (r < 0 || !resolver->resolution->provider)
        return r;
    const char *type_name = resolver->resolution->provider->provider.provider_type;
    const ProviderType *type = provider_type_find(type_name);
    if (!type)
        issue_add(resolver->issues, ISSUE_ERROR, "provider", "unknown_reference",
                  "the provider '%s' has the type '%s', which is not known", name, type_name);
    else if (!type->has_executor)
        issue_add(resolver->issues, ISSUE_WARNING, "provider", "no_executor",
                  "providers of the type '%s' can be planned, but not run", type_name);
    const char *field;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)resolver->request->provider_fields, field, value) {
        const ProviderField *row = type ? provider_type_field(type, field) : NULL;
        if (!row || !(row->flags & (PROVIDER_FIELD_OVERRIDE | PROVIDER_FIELD_USER)))
            issue_add(resolver->issues, ISSUE_ERROR, "providerFields", "unknown_member",
                      "'%s' cannot be given with a request", field);
    }
    return 0;
}

static int compare_entries(const void *a, const void *b)
{
    const CatalogEntry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int resolve_services(Resolver *resolver)
{
    Resolution *resolution = resolver->resolution;
    const NameList *names =
        resolver->request->has_services ? &resolver->request->services : &resolver->template->services;
    if (names->count == 0)
        issue_add(resolver->issues, ISSUE_ERROR, "services", "missing",
                  "neither the request nor the template names services");
    resolution->services = arena_allocate_array(resolution->arena, names->count + 1, sizeof(CatalogEntry *));
    for (size_t i = 0; i < names->count; i++) {
        const char *field = arena_format(resolution->arena, "services[%zu]", i);
        if (resolver->template->compatible_services.count > 0 &&
            !name_list_contains(&resolver->template->compatible_services, names->items[i])) {
            issue_add(resolver->issues, ISSUE_ERROR, field, "not_compatible",
                      "the template '%s' does not allow the service '%s'", resolution->template->name,
                      names->items[i]);
            continue;
        }
        CatalogEntry *entry = NULL;
        int r = find(resolver, CATALOG_SERVICE, names->items[i], field, &entry);
        if (r < 0)
            return r;
        if (entry)
            resolution->services[resolution->service_count++] = entry;
    }
    if (resolution->service_count > 0)
        qsort(resolution->services, resolution->service_count, sizeof(CatalogEntry *), compare_entries);
    return 0;
}

/* Called so itself, or provided by one of the services. */
static bool is_present(const Resolution *resolution, const char *name)
{
    if (resolution_find(resolution, name) >= 0)
        return true;
    for (size_t i = 0; i < resolution->service_count; i++)
        if (name_list_contains(&resolution->services[i]->service.provides, name))
            return true;
    return false;
}

static void check_requires(Resolver *resolver, const CatalogEntry *entry, const NameList *names,
                           const char *phase)
{
    for (size_t i = 0; i < names->count; i++)
        if (!is_present(resolver->resolution, names->items[i]))
            issue_add(resolver->issues, ISSUE_ERROR, "services", "missing_dependency",
                      "the service '%s' needs '%s' %s; add it, or a service that provides it", entry->name,
                      names->items[i], phase);
}

static void check_conflicts(Resolver *resolver, const CatalogEntry *entry)
{
    const Resolution *resolution = resolver->resolution;
    for (size_t i = 0; i < entry->service.conflicts.count; i++) {
        const char *name = entry->service.conflicts.items[i];
        for (size_t j = 0; j < resolution->service_count; j++) {
            const CatalogEntry *other = resolution->services[j];
            if (other == entry ||
                (!string_equal(other->name, name) && !name_list_contains(&other->service.provides, name)))
                continue;
            issue_add(resolver->issues, ISSUE_ERROR, "services", "conflict",
                      "the services '%s' and '%s' conflict%s%s%s", entry->name, other->name,
                      string_equal(other->name, name) ? "" : " (the second provides '",
                      string_equal(other->name, name) ? "" : name,
                      string_equal(other->name, name) ? "" : "')");
        }
    }
}

static void check_services(Resolver *resolver)
{
    Resolution *resolution = resolver->resolution;
    for (size_t i = 0; i < resolution->service_count; i++) {
        const CatalogEntry *entry = resolution->services[i];
        check_requires(resolver, entry, &entry->service.install_requires, "to be installed");
        check_requires(resolver, entry, &entry->service.runtime_requires, "to run");
        check_conflicts(resolver, entry);
        for (ServiceAction action = 0; action < _SERVICE_ACTION_MAX; action++) {
            const CatalogAction *row = &entry->service.actions[action];
            if (row->type && !row->has_executor) {
                issue_add(resolver->issues, ISSUE_WARNING, "services", "no_executor",
                          "the actions of '%s' are of the type '%s', which can be planned, but not run",
                          entry->name, row->type);
                break;
            }
        }
    }
}

/* Types */

typedef struct TypeRule {
    CatalogKind kind;
    const char *field, *what;
    const char *requested, *preset;
    const NameList *compatible;
    TypeCandidate **candidates;
    size_t *count;
} TypeRule;

static const CatalogMapping *mapping_for(const CatalogEntry *entry, const char *provider)
{
    for (size_t i = 0; i < entry->mappings.count; i++) {
        const CatalogMapping *mapping = &entry->mappings.items[i];
        if (string_equal(mapping->provider, provider) &&
            (entry->kind == CATALOG_HARDWARE_TYPE ? mapping->flavor : mapping->image))
            return mapping;
    }
    return NULL;
}

static int add_candidate(Resolver *resolver, const TypeRule *rule, const char *name, bool is_chosen)
{
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    int r = is_chosen ? find(resolver, rule->kind, name, rule->field, &entry)
                      : catalog_get(resolver->catalog, rule->kind, name, &entry, resolver->error);
    if (r < 0 || !entry)
        return r;
    const char *provider = resolver->resolution->provider->name;
    const CatalogMapping *mapping = mapping_for(entry, provider);
    if (!mapping && is_chosen)
        issue_add(resolver->issues, ISSUE_ERROR, rule->field, "no_mapping",
                  "the %s '%s' does not say what it is on the provider '%s'", rule->what, name, provider);
    if (mapping)
        (*rule->candidates)[(*rule->count)++] = (TypeCandidate){TAKE_PTR(entry), mapping};
    return 0;
}

static int resolve_types(Resolver *resolver, const TypeRule *rule)
{
    Resolution *resolution = resolver->resolution;
    const char *chosen = rule->requested ? rule->requested : rule->preset;
    if (chosen) {
        *rule->candidates = arena_allocate_array(resolution->arena, 1, sizeof(TypeCandidate));
        if (rule->compatible->count > 0 && !name_list_contains(rule->compatible, chosen)) {
            issue_add(resolver->issues, ISSUE_ERROR, rule->field, "not_compatible",
                      "the template '%s' does not allow the %s '%s'", resolution->template->name, rule->what,
                      chosen);
            return 0;
        }
        return add_candidate(resolver, rule, chosen, true);
    }
    _cleanup_string_list_ StringList names = {0};
    if (rule->compatible->count > 0) {
        for (size_t i = 0; i < rule->compatible->count; i++)
            string_list_append(&names, rule->compatible->items[i]);
        string_list_sort(&names);
    } else {
        int r = resolver->catalog->list(resolver->catalog, rule->kind, &names, resolver->error);
        if (r < 0)
            return r;
    }
    *rule->candidates = arena_allocate_array(resolution->arena, names.count + 1, sizeof(TypeCandidate));
    for (size_t i = 0; i < names.count; i++) {
        int r = add_candidate(resolver, rule, names.items[i], false);
        if (r < 0)
            return r;
    }
    if (*rule->count == 0)
        issue_add(resolver->issues, ISSUE_ERROR, rule->field, "no_mapping",
                  "no %s that the template allows exists on the provider '%s'", rule->what,
                  resolution->provider->name);
    return 0;
}

static int resolve_all_types(Resolver *resolver)
{
    Resolution *resolution = resolver->resolution;
    const CatalogTemplate *template = resolver->template;
    const TypeRule rules[] = {
        {CATALOG_HARDWARE_TYPE, "hardwaretype", "hardware type", resolver->request->hardware_type,
         template->hardware_type, &template->compatible_hardware_types, &resolution->hardware,
         &resolution->hardware_count},
        {CATALOG_IMAGE_TYPE, "imagetype", "image type", resolver->request->image_type, template->image_type,
         &template->compatible_image_types, &resolution->images, &resolution->image_count},
    };
    for (size_t i = 0; resolution->provider && i < ELEMENTSOF(rules); i++) {
        int r = resolve_types(resolver, &rules[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Numbers */

static void resolve_size(Resolver *resolver)
{
    const CatalogTemplate *template = resolver->template;
    int64_t nodes = resolver->request->nodes > 0 ? resolver->request->nodes : MAX(template->size_minimum, 1);
    if (nodes < template->size_minimum)
        issue_add(resolver->issues, ISSUE_ERROR, "nodes", "out_of_range",
                  "the template '%s' needs at least %" PRId64 " nodes", resolver->resolution->template->name,
                  template->size_minimum);
    int64_t maximum =
        template->size_maximum > 0 ? MIN(template->size_maximum, CLUSTER_NODES_LIMIT) : CLUSTER_NODES_LIMIT;
    if (nodes > maximum)
        issue_add(resolver->issues, ISSUE_ERROR, "nodes", "out_of_range",
                  "at most %" PRId64 " nodes are allowed", maximum);
    resolver->resolution->node_count = nodes;
}

static void resolve_constraints(Resolver *resolver)
{
    Resolution *resolution = resolver->resolution;
    const CatalogTemplate *template = resolver->template;
    resolution->constraints =
        arena_allocate_array(resolution->arena, resolution->service_count + 1, sizeof(ResolvedConstraint));
    for (size_t i = 0; i < resolution->service_count; i++)
        for (size_t j = 0; j < template->constraint_count; j++)
            if (string_equal(template->constraints[j].service, resolution->services[i]->name))
                resolution->constraints[i].given = &template->constraints[j];
}

static void apply_quantities(Resolver *resolver)
{
    Resolution *resolution = resolver->resolution;
    for (size_t i = 0; i < resolver->request->quantity_count; i++) {
        const RequestQuantity *quantity = &resolver->request->quantities[i];
        const char *field = arena_format(resolution->arena, "quantities.%s", quantity->service);
        ssize_t index = resolution_find(resolution, quantity->service);
        if (index < 0) {
            issue_add(resolver->issues, ISSUE_ERROR, field, "unknown_reference",
                      "the service '%s' is not among those of the cluster", quantity->service);
            continue;
        }
        ResolvedConstraint *constraint = &resolution->constraints[index];
        const ServiceConstraint *given = constraint->given;
        if (given && (quantity->count < given->minimum || quantity->count > given->maximum))
            issue_add(resolver->issues, ISSUE_ERROR, field, "out_of_range",
                      "the template allows %" PRId64 " to %" PRId64 " of '%s'", given->minimum,
                      given->maximum, quantity->service);
        constraint->has_quantity = true;
        constraint->quantity = quantity->count;
    }
}

static void resolve_lease(Resolver *resolver)
{
    const CatalogTemplate *template = resolver->template;
    int64_t lease = resolver->request->lease;
    resolver->resolution->lease = lease < 0 ? template->lease_initial : lease;
    if (lease < 0 || template->lease_initial == 0)
        return;
    if (lease == 0 || lease > template->lease_initial)
        issue_add(resolver->issues, ISSUE_ERROR, "lease", "out_of_range",
                  "the template allows a first lease of at most %" PRId64 " ms", template->lease_initial);
}

/* Configuration */

typedef struct ConfigCheck {
    Resolver *resolver;
    int result;
} ConfigCheck;

static void check_macro(ConfigCheck *check, const MacroPart *part, const char *path)
{
    Resolver *resolver = check->resolver;
    const Macro *macro = &part->macro;
    /* One that the template does not declare is looked for among the tenant's secrets, by whoever may. */
    if (macro->kind == MACRO_SECRET)
        return;
    if (!macro->service || resolution_find(resolver->resolution, macro->service) >= 0)
        return;
    bool is_known = name_list_contains(&resolver->template->compatible_services, macro->service);
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    if (!is_known) {
        int r = catalog_get(resolver->catalog, CATALOG_SERVICE, macro->service, &entry, resolver->error);
        if (r < 0)
            check->result = r;
    }
    if (is_known || entry)
        issue_add(resolver->issues, ISSUE_WARNING, path, "absent_service",
                  "%s: the service '%s' is not in this cluster; %s stays as it is", path, macro->service,
                  part->text);
    else
        issue_add(resolver->issues, ISSUE_ERROR, path, "bad_macro", "%s: %s: there is no service '%s'", path,
                  part->text, macro->service);
}

static int visit_config(void *context, const char *path, const MacroText *text, Error *error)
{
    ConfigCheck *check = context;
    for (size_t i = 0; i < text->count; i++)
        if (!text->parts[i].literal)
            check_macro(check, &text->parts[i], path);
    return check->result;
}

static void visit_config_error(void *context, const char *path, const Error *error)
{
    ConfigCheck *check = context;
    issue_add(check->resolver->issues, ISSUE_ERROR, path, "bad_macro", "%s: %s (column %u)", path,
              error->text, error->column);
}

static int resolve_config(Resolver *resolver)
{
    Resolution *resolution = resolver->resolution;
    resolution->config = resolver->request->config ? resolver->request->config : resolver->template->config;
    if (!resolution->config)
        return 0;
    ConfigCheck check = {.resolver = resolver};
    int r = macro_walk(resolution->arena, resolution->config, "config", visit_config, visit_config_error,
                       &check, resolver->error);
    return r < 0 ? r : check.result;
}

static int resolve(Resolver *resolver)
{
    Resolution *resolution = resolver->resolution;
    int r = find(resolver, CATALOG_CLUSTER_TEMPLATE, resolver->request->template, "template",
                 &resolution->template);
    if (r < 0 || !resolution->template)
        return r;
    resolver->template = &resolution->template->template;
    r = resolve_provider(resolver);
    if (r < 0)
        return r;
    r = resolve_services(resolver);
    if (r < 0)
        return r;
    if (resolver->issues->error_count == 0) /* else what is missing would be told twice */
        check_services(resolver);
    r = resolve_all_types(resolver);
    if (r < 0)
        return r;
    resolve_size(resolver);
    resolve_constraints(resolver);
    apply_quantities(resolver);
    resolve_lease(resolver);
    resolution->dns_suffix =
        resolver->request->dns_suffix ? resolver->request->dns_suffix : resolver->template->dns_suffix;
    return resolve_config(resolver);
}

int cluster_resolve(Catalog *catalog, const ClusterRequest *request, Resolution **ret_resolution,
                    IssueList *issues, Error *error)
{
    size_t errors_before = issues->error_count;
    _cleanup_resolution_ Resolution *resolution = NEW(Resolution);
    resolution->arena = arena_new();
    Resolver resolver = {
        .catalog = catalog, .request = request, .resolution = resolution, .issues = issues, .error = error};
    int r = resolve(&resolver);
    if (r < 0)
        return r;
    if (issues->error_count > errors_before)
        return -EINVAL;
    *ret_resolution = TAKE_PTR(resolution);
    return 0;
}

Resolution *resolution_free(Resolution *resolution)
{
    if (!resolution)
        return NULL;
    catalog_entry_unref(resolution->template);
    catalog_entry_unref(resolution->provider);
    for (size_t i = 0; i < resolution->service_count; i++)
        catalog_entry_unref(resolution->services[i]);
    for (size_t i = 0; i < resolution->hardware_count; i++)
        catalog_entry_unref(resolution->hardware[i].entry);
    for (size_t i = 0; i < resolution->image_count; i++)
        catalog_entry_unref(resolution->images[i].entry);
    arena_free(resolution->arena);
    free(resolution);
    return NULL;
}
