/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/string.h"
#include "domain/catalog/internal.h"
#include "domain/catalog/tokens.h"

static const char *const actions[_SERVICE_ACTION_MAX] = {
    [SERVICE_INSTALL] = "install", [SERVICE_CONFIGURE] = "configure", [SERVICE_INITIALIZE] = "initialize",
    [SERVICE_START] = "start",     [SERVICE_STOP] = "stop",           [SERVICE_REMOVE] = "remove",
};

/* Types of actions that are known; only scripts of approved bundles run here. */
static const struct {
    const char *type;
    bool has_executor;
} action_types[] = {{"script", true}, {"chef-solo", false}, {"shell", false}, {"docker", false}};

const char *service_action_to_string(ServiceAction action)
{
    return action >= 0 && action < _SERVICE_ACTION_MAX ? actions[action] : NULL;
}

ServiceAction service_action_from_string(const char *text)
{
    for (ServiceAction action = 0; action < _SERVICE_ACTION_MAX; action++)
        if (string_equal(actions[action], text))
            return action;
    return _SERVICE_ACTION_INVALID;
}

bool action_type_has_executor(const char *type)
{
    for (size_t i = 0; i < ELEMENTSOF(action_types); i++)
        if (string_equal(action_types[i].type, type))
            return action_types[i].has_executor;
    return false;
}

static bool action_type_is_known(const char *type)
{
    for (size_t i = 0; i < ELEMENTSOF(action_types); i++)
        if (string_equal(action_types[i].type, type))
            return true;
    return false;
}

/* Dependencies */

typedef struct DependencyPair {
    NameList requires, uses;
} DependencyPair;

static const Member pair_members[] = {
    {"requires", MEMBER_NAMES, 0, offsetof(DependencyPair, requires), 0, 0, NULL},
    {"uses", MEMBER_NAMES, 0, offsetof(DependencyPair, uses), 0, 0, NULL},
    {0},
};

static void parse_install(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogService *service = destination;
    DependencyPair pair = {0};
    members_parse(members, value, path, pair_members, ISSUE_WARNING, &pair);
    service->install_requires = pair.requires;
    service->install_uses = pair.uses;
}

static void parse_runtime(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogService *service = destination;
    DependencyPair pair = {0};
    members_parse(members, value, path, pair_members, ISSUE_WARNING, &pair);
    service->runtime_requires = pair.requires;
    service->runtime_uses = pair.uses;
}

static const Member dependency_members[] = {
    {"provides", MEMBER_NAMES, 0, offsetof(CatalogService, provides), 0, 0, NULL},
    {"conflicts", MEMBER_NAMES, 0, offsetof(CatalogService, conflicts), 0, 0, NULL},
    {"install", MEMBER_CUSTOM, 0, 0, 0, 0, parse_install},
    {"runtime", MEMBER_CUSTOM, 0, 0, 0, 0, parse_runtime},
    {0},
};

static void parse_dependencies(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogService *service = destination;
    if (json_is_array(value)) /* an old form: what must run before */
        member_names(members, value, path, &service->runtime_requires);
    else
        members_parse(members, value, path, dependency_members, ISSUE_WARNING, service);
}

/* Actions */

typedef struct ScriptFields {
    const char *bundle, *script;
    int64_t timeout;
    bool is_live;
} ScriptFields;

static void parse_restart(Members *members, const json_t *value, const char *path, void *destination)
{
    ScriptFields *script = destination;
    if (json_is_boolean(value))
        script->is_live = json_is_false(value);
    else
        member_issue(members, path, "wrong_type", "must be true or false");
}

static const Member script_members[] = {
    {"bundle", MEMBER_NAME, MEMBER_REQUIRED, offsetof(ScriptFields, bundle), 0, 0, NULL},
    {"script", MEMBER_STRING, MEMBER_REQUIRED | MEMBER_NONEMPTY, offsetof(ScriptFields, script), 0, 0, NULL},
    {"timeout", MEMBER_DURATION, 0, offsetof(ScriptFields, timeout), 0, 0, NULL},
    {"restart", MEMBER_CUSTOM, 0, 0, 0, 0, parse_restart},
    {0},
};

enum { SCRIPT_TIMEOUT_LIMIT = 24 * 60 * 60 * 1000 };

static void check_script_fields(Members *members, const json_t *fields, const char *path, bool *ret_is_live)
{
    ScriptFields script = {.timeout = 1};
    members_parse(members, fields, path, script_members, ISSUE_ERROR, &script);
    if (script.script && !path_is_safe_relative(script.script))
        member_issue(members, member_path(members, path, "script"), "bad_path",
                     "must be a path inside the bundle, without '..' and not absolute");
    if (script.timeout < 1 || script.timeout > SCRIPT_TIMEOUT_LIMIT)
        member_issue(members, member_path(members, path, "timeout"), "out_of_range",
                     "must be from 1 ms to 24 h");
    *ret_is_live = script.is_live;
}

static void check_plain_fields(Members *members, const json_t *fields, const char *path)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)fields, name, value)
        (void)member_string(members, value, member_path(members, path, name));
}

static const Member action_members[] = {
    {"type", MEMBER_STRING, MEMBER_REQUIRED | MEMBER_NONEMPTY, offsetof(CatalogAction, type), 0, 0, NULL},
    {"fields", MEMBER_OBJECT, 0, offsetof(CatalogAction, fields), 0, 0, NULL},
    {0},
};

static void parse_action(Members *members, const json_t *value, const char *path, CatalogAction *action)
{
    members_parse(members, value, path, action_members, ISSUE_WARNING, action);
    if (!action->type)
        return;
    action->has_executor = action_type_has_executor(action->type);
    const char *fields_path = member_path(members, path, "fields");
    if (!action_type_is_known(action->type))
        member_warning(
            members, member_path(members, path, "type"), "unknown_reference",
            "the type '%s' is not known; the action is kept and planned, and refused when it is to run",
            action->type);
    if (string_equal(action->type, "script")) {
        if (action->fields)
            check_script_fields(members, action->fields, fields_path, &action->is_live);
        else
            member_issue(members, fields_path, "missing", "is required: it names the bundle and the script");
    } else if (action->fields)
        check_plain_fields(members, action->fields, fields_path);
}

static void parse_actions(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogService *service = destination;
    if (!json_is_object(value)) {
        member_issue(members, path, "wrong_type", "must be an object");
        return;
    }
    const char *name;
    json_t *item;
    json_object_foreach ((json_t *)(uintptr_t)value, name, item) {
        const char *child = member_path(members, path, name);
        ServiceAction action = service_action_from_string(name);
        if (action < 0)
            member_warning(members, child, "unknown_member", "is no action that is known; it is ignored");
        else if (!json_is_null(item))
            parse_action(members, item, child, &service->actions[action]);
    }
}

static const Member provisioner_members[] = {
    {"actions", MEMBER_CUSTOM, 0, 0, 0, 0, parse_actions},
    {0},
};

static void parse_provisioner(Members *members, const json_t *value, const char *path, void *destination)
{
    members_parse(members, value, path, provisioner_members, ISSUE_WARNING, destination);
}

/* Ports */

static void parse_port_range(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogPort *port = destination;
    int64_t first = 0, last = 0;
    if (json_is_integer(value))
        first = last = json_integer_value(value);
    else if (json_is_string(value)) {
        const char *text = json_string_value(value), *dash = strchr(text, '-');
        _cleanup_free_ char *low =
            dash ? string_duplicate_n(text, (size_t)(dash - text)) : string_duplicate(text);
        if (string_to_i64(low, 1, 65535, &first) < 0 ||
            string_to_i64(dash ? dash + 1 : text, 1, 65535, &last) < 0)
            first = 0;
    }
    if (first < 1 || last > 65535 || first > last) {
        member_issue(members, path, "bad_port",
                     "must be a port from 1 to 65535, or a range such as \"8000-8010\"");
        return;
    }
    port->first = (uint16_t)first;
    port->last = (uint16_t)last;
}

static void parse_protocol(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogPort *port = destination;
    const char *text = json_string_value(value);
    if (string_equal(text, "tcp") || string_equal(text, "udp"))
        port->protocol = *text == 't' ? PORT_TCP : PORT_UDP;
    else
        member_issue(members, path, "bad_protocol", "must be \"tcp\" or \"udp\"");
}

static bool parse_source(Members *members, const char *text, const char *path, PortSource *source)
{
    source->spelling = text;
    if (string_equal(text, "cluster"))
        source->kind = PORT_FROM_CLUSTER;
    else if (string_equal(text, "anywhere"))
        source->kind = PORT_FROM_ANYWHERE;
    else if (string_starts_with(text, "service:") && name_is_valid(text + 8)) {
        source->kind = PORT_FROM_SERVICE;
        source->text = text + 8;
    } else {
        AddressToken network;
        if (cidr_parse(text, &network) < 0) {
            member_issue(
                members, path, "bad_source",
                "must be \"service:<name>\", \"cluster\", \"anywhere\" or a network such as \"10.0.0.0/8\"");
            return false;
        }
        char canonical[ADDRESS_TOKEN_SIZE];
        address_format(&network, canonical);
        source->kind = PORT_FROM_CIDR;
        source->text = arena_string(members->arena, canonical);
    }
    return true;
}

static void parse_sources(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogPort *port = destination;
    if (!member_is_array(members, value, path, 64))
        return;
    if (json_array_size(value) == 0)
        member_issue(members, path, "empty", "must say from where the port may be reached");
    port->sources = arena_allocate_array(members->arena, json_array_size(value) + 1, sizeof(PortSource));
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        const char *child = item_path(members, path, i);
        const char *text = member_string(members, item, child);
        if (text && parse_source(members, text, child, &port->sources[port->source_count]))
            port->source_count++;
    }
}

static const Member port_members[] = {
    {"port", MEMBER_CUSTOM, MEMBER_REQUIRED, 0, 0, 0, parse_port_range},
    {"protocol", MEMBER_CUSTOM, 0, 0, 0, 0, parse_protocol},
    {"from", MEMBER_CUSTOM, MEMBER_REQUIRED, 0, 0, 0, parse_sources},
    {0},
};

static void parse_ports(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogService *service = destination;
    if (!member_is_array(members, value, path, 128))
        return;
    service->ports = arena_allocate_array(members->arena, json_array_size(value) + 1, sizeof(CatalogPort));
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item)
        members_parse(members, item, item_path(members, path, i), port_members, ISSUE_ERROR,
                      &service->ports[service->port_count++]);
}

static const Member network_members[] = {
    {"ports", MEMBER_CUSTOM, 0, 0, 0, 0, parse_ports},
    {0},
};

static void parse_network(Members *members, const json_t *value, const char *path, void *destination)
{
    members_parse(members, value, path, network_members, ISSUE_ERROR, destination);
}

/* Certificates */

static const Member certificate_members[] = {
    {"name", MEMBER_NAME, MEMBER_REQUIRED, offsetof(CatalogCertificate, name), 0, 0, NULL},
    {"key_path", MEMBER_STRING, MEMBER_REQUIRED, offsetof(CatalogCertificate, key_path), 0, 0, NULL},
    {"certificate_path", MEMBER_STRING, MEMBER_REQUIRED, offsetof(CatalogCertificate, certificate_path), 0, 0,
     NULL},
    {"ca_path", MEMBER_STRING, 0, offsetof(CatalogCertificate, ca_path), 0, 0, NULL},
    {"owner", MEMBER_STRING, 0, offsetof(CatalogCertificate, owner), 0, 0, NULL},
    {"dns_names", MEMBER_STRINGS, 0, offsetof(CatalogCertificate, dns_names), 0, 0, NULL},
    {"reload", MEMBER_STRING, 0, offsetof(CatalogCertificate, reload), 0, 0, NULL},
    {0},
};

static void check_certificate(Members *members, const CatalogCertificate *certificate, const char *path)
{
    const struct {
        const char *member, *value;
    } paths[] = {{"key_path", certificate->key_path},
                 {"certificate_path", certificate->certificate_path},
                 {"ca_path", certificate->ca_path}};
    for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
        if (paths[i].value && !token_is_absolute_path(paths[i].value))
            member_issue(members, member_path(members, path, paths[i].member), "bad_path",
                         "must be an absolute path of letters, digits and . _ - @ + without '..'");
        for (size_t j = 0; j < i; j++)
            if (paths[i].value && string_equal(paths[i].value, paths[j].value))
                member_issue(members, member_path(members, path, paths[i].member), "bad_path",
                             "is the same file as %s", paths[j].member);
    }
    if (certificate->owner && !token_is_user(certificate->owner))
        member_issue(members, member_path(members, path, "owner"), "bad_name",
                     "must be the name of a user on the node");
    if (certificate->reload && !path_is_safe_relative(certificate->reload))
        member_issue(members, member_path(members, path, "reload"), "bad_path",
                     "must be a path inside the bundle");
    for (size_t i = 0; i < certificate->dns_names.count; i++) {
        const char *name = certificate->dns_names.items[i];
        const char *child = item_path(members, member_path(members, path, "dns_names"), i);
        if (strchr(name, '%'))
            macro_check(members, name, child, false);
        else if (!hostname_is_valid(string_starts_with(name, "*.") ? name + 2 : name))
            member_issue(members, child, "bad_name",
                         "must be a DNS name in small letters, or contain a macro");
    }
}

static void parse_certificates(Members *members, const json_t *value, const char *path, void *destination)
{
    CatalogService *service = destination;
    if (!member_is_array(members, value, path, 16))
        return;
    service->certificates =
        arena_allocate_array(members->arena, json_array_size(value) + 1, sizeof(CatalogCertificate));
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        CatalogCertificate *certificate = &service->certificates[service->certificate_count];
        const char *child = item_path(members, path, i);
        members_parse(members, item, child, certificate_members, ISSUE_ERROR, certificate);
        check_certificate(members, certificate, child);
        for (size_t j = 0; j < service->certificate_count; j++)
            if (certificate->name && string_equal(service->certificates[j].name, certificate->name))
                member_issue(members, member_path(members, child, "name"), "repeated", "'%s' is there twice",
                             certificate->name);
        service->certificate_count++;
    }
}

/* The rules that concern several members at once. */
static void check_service(Members *members, const CatalogEntry *entry)
{
    const CatalogService *service = &entry->service;
    if (!entry->name)
        return;
    if (name_list_contains(&service->conflicts, entry->name))
        member_issue(members, "dependencies.conflicts", "contradiction", "the service conflicts with itself");
    const struct {
        const NameList *list;
        const char *path;
    } needs[] = {{&service->install_requires, "dependencies.install.requires"},
                 {&service->install_uses, "dependencies.install.uses"},
                 {&service->runtime_requires, "dependencies.runtime.requires"},
                 {&service->runtime_uses, "dependencies.runtime.uses"}};
    for (size_t i = 0; i < ELEMENTSOF(needs); i++)
        for (size_t j = 0; j < needs[i].list->count; j++) {
            const char *name = needs[i].list->items[j];
            const char *child = item_path(members, needs[i].path, j);
            if (string_equal(name, entry->name))
                member_issue(members, child, "cycle", "the service depends on itself");
            else if (name_list_contains(&service->conflicts, name))
                member_issue(members, child, "contradiction",
                             "the service both depends on '%s' and conflicts with it", name);
        }
}

static const Member service_content_members[] = {
    {"dependencies", MEMBER_CUSTOM, 0, offsetof(CatalogEntry, service), 0, 0, parse_dependencies},
    {"provisioner", MEMBER_CUSTOM, 0, offsetof(CatalogEntry, service), 0, 0, parse_provisioner},
    {"links", MEMBER_CUSTOM, 0, offsetof(CatalogEntry, service.links), 0, 0, links_parse},
    {"network", MEMBER_CUSTOM, 0, offsetof(CatalogEntry, service), 0, 0, parse_network},
    {"certificates", MEMBER_CUSTOM, 0, offsetof(CatalogEntry, service), 0, 0, parse_certificates},
    COMMON_MEMBERS(CatalogEntry),
    {0},
};

void service_parse(Members *members, const json_t *document, CatalogEntry *entry)
{
    members_parse(members, document, "", service_content_members, ISSUE_WARNING, entry);
    check_service(members, entry);
}
