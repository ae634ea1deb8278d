/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/task.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/string.h"
#include "runner/protocol.h"

static const char *const kind_names[] = {
    [TASK_PROVIDER] = "provider",       [TASK_AUTOMATOR] = "automator", [TASK_FIREWALL] = "firewall",
    [TASK_CERTIFICATE] = "certificate", [TASK_BOOTSTRAP] = "bootstrap",
};

const char *task_kind_to_string(TaskKind kind)
{
    return kind_names[kind];
}

static TaskKind kind_from_string(const char *text)
{
    for (size_t i = 0; i < ELEMENTSOF(kind_names); i++)
        if (string_equal(kind_names[i], text))
            return (TaskKind)i;
    return _TASK_KIND_INVALID;
}

/* --- tables --- */

typedef struct Parts { /* members that are taken apart further */
    const char *kind;
    json_t *node, *provider, *service, *bundle, *firewall, *certificate;
    json_t *addresses, *host_keys;
    json_t *service_action;
    const char *bundle_digest;
} Parts;

typedef struct Draft {
    Task task;
    Parts parts;
} Draft;

#define STRING(name_, member_, flags_, maximum_)                                                             \
    {                                                                                                        \
        .name = (name_), .type = JSON_FIELD_STRING, .offset = offsetof(Draft, member_), .flags = (flags_),   \
        .maximum = (maximum_)                                                                                \
    }
#define INTEGER(name_, member_, flags_, minimum_, maximum_)                                                  \
    {                                                                                                        \
        .name = (name_), .type = JSON_FIELD_INTEGER, .offset = offsetof(Draft, member_), .flags = (flags_),  \
        .minimum = (minimum_), .maximum = (maximum_)                                                         \
    }
#define OBJECT(name_, member_, flags_)                                                                       \
    {                                                                                                        \
        .name = (name_), .type = JSON_FIELD_OBJECT, .offset = offsetof(Draft, member_), .flags = (flags_)    \
    }
#define REQUIRED JSON_FIELD_REQUIRED
#define OPTIONAL JSON_FIELD_NULLABLE

static const JsonField task_fields[] = {
    STRING("id", task.id, REQUIRED, 80),
    STRING("step", task.step, OPTIONAL, RUNNER_STEP_ID_MAX),
    INTEGER("attempt", task.attempt, REQUIRED, 1, UINT32_MAX),
    INTEGER("epoch", task.epoch, OPTIONAL, 0, INT64_MAX),
    STRING("tenant", task.tenant, REQUIRED | JSON_FIELD_IDENTIFIER, 255),
    STRING("cluster", task.cluster, REQUIRED | JSON_FIELD_NAME, 255),
    STRING("execution", task.execution, OPTIONAL, 80),
    STRING("kind", parts.kind, REQUIRED, 32),
    STRING("action", task.action, REQUIRED | JSON_FIELD_NAME, 64),
    INTEGER("timeout_ms", task.timeout_ms, REQUIRED, 1, 24 * 3600 * 1000),
    {.name = "idempotent",
     .type = JSON_FIELD_BOOLEAN,
     .offset = offsetof(Draft, task.is_idempotent),
     .flags = OPTIONAL},
    OBJECT("node", parts.node, REQUIRED),
    OBJECT("provider", parts.provider, OPTIONAL),
    OBJECT("service", parts.service, OPTIONAL),
    OBJECT("bundle", parts.bundle, OPTIONAL),
    OBJECT("parameters", task.parameters, OPTIONAL),
    OBJECT("secrets", task.secrets, OPTIONAL | JSON_FIELD_SECRET),
    OBJECT("secret_contexts", task.secret_contexts, OPTIONAL),
    OBJECT("firewall", parts.firewall, OPTIONAL),
    OBJECT("certificate", parts.certificate, OPTIONAL),
    OBJECT("results", task.results, OPTIONAL),
    {0},
};
static const JsonField node_fields[] = {
    STRING("id", task.node.id, REQUIRED | JSON_FIELD_NAME, 80),
    INTEGER("number", task.node.number, OPTIONAL, 0, INT32_MAX),
    STRING("hostname", task.node.hostname, OPTIONAL, 253),
    STRING("hardware_type", task.node.hardware_type, OPTIONAL, 255),
    STRING("flavor", task.node.flavor, OPTIONAL, 255),
    STRING("image_type", task.node.image_type, OPTIONAL, 255),
    STRING("image", task.node.image, OPTIONAL, 255),
    STRING("ssh_user", task.node.ssh_user, OPTIONAL, 64),
    OBJECT("addresses", parts.addresses, OPTIONAL),
    INTEGER("ssh_port", task.node.ssh_port, OPTIONAL, 1, 65535),
    {.name = "host_keys",
     .type = JSON_FIELD_STRING_ARRAY,
     .offset = offsetof(Draft, parts.host_keys),
     .flags = OPTIONAL,
     .maximum = TASK_HOST_KEYS_MAX},
    STRING("provider_id", task.node.provider_id, OPTIONAL, 255),
    {0},
};
static const JsonField address_fields[] = {
    STRING("access_v4", task.node.access_v4, OPTIONAL, 64),
    STRING("bind_v4", task.node.bind_v4, OPTIONAL, 64),
    STRING("access_v6", task.node.access_v6, OPTIONAL, 64),
    {0},
};
static const JsonField provider_fields[] = {
    STRING("name", task.provider_name, OPTIONAL, 255),
    STRING("type", task.provider_type, REQUIRED, 64),
    OBJECT("fields", task.provider_fields, OPTIONAL),
    {0},
};
static const JsonField service_fields[] = {
    STRING("name", task.service_name, OPTIONAL, 255),
    OBJECT("action", parts.service_action, OPTIONAL),
    {0},
};
static const JsonField action_fields[] = {
    STRING("type", task.automator, REQUIRED, 64),
    OBJECT("fields", task.action_fields, OPTIONAL),
    {0},
};
static const JsonField script_fields[] = {
    STRING("script", task.script, OPTIONAL, RUNNER_PATH_MAX),
    {0},
};
static const JsonField bundle_fields[] = {
    STRING("name", task.bundle_name, OPTIONAL, 255),
    STRING("version", task.bundle_version, OPTIONAL, 255),
    STRING("digest", parts.bundle_digest, REQUIRED, 64),
    {0},
};
static const JsonField firewall_fields[] = {
    STRING("ruleset", task.ruleset, REQUIRED, RUNNER_RULESET_MAX),
    INTEGER("confirm_seconds", task.confirm_seconds, REQUIRED, 1, 600),
    {0},
};
static const JsonField certificate_fields[] = {
    STRING("name", task.certificate.name, REQUIRED | JSON_FIELD_NAME, 255),
    STRING("key_path", task.certificate.key_path, REQUIRED, RUNNER_PATH_MAX),
    STRING("certificate_path", task.certificate.certificate_path, REQUIRED, RUNNER_PATH_MAX),
    STRING("ca_path", task.certificate.ca_path, OPTIONAL, RUNNER_PATH_MAX),
    STRING("owner", task.certificate.owner, OPTIONAL, 64),
    STRING("common_name", task.certificate.common_name, OPTIONAL, 64),
    STRING("reload", task.certificate.reload, OPTIONAL, RUNNER_PATH_MAX),
    {0},
};

/* --- checks that the tables cannot make --- */

static int check_string_map(json_t *object, const char *field, Error *error)
{
    if (json_object_size(object) > TASK_SECRETS_MAX)
        return error_set_field(error, ERROR_TOO_LARGE, field, "at most %d entries", TASK_SECRETS_MAX);
    const char *name;
    json_t *value;
    json_object_foreach (object, name, value) {
        if (!name_is_valid(name) || strlen(name) > RUNNER_SECRET_NAME_MAX)
            return error_set_field(error, ERROR_BAD_FIELD, field, "a name of an entry is malformed");
        if (!json_is_string(value))
            return error_set_field(error, ERROR_BAD_FIELD, field, "the entry \"%s\" is not text", name);
    }
    return 0;
}

static int take_host_keys(Draft *draft, Error *error)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=-. @_";
    size_t i;
    const json_t *item;
    json_array_foreach (draft->parts.host_keys, i, item) {
        const char *line = json_string_value(item);
        if (strlen(line) > 4096 || line[strspn(line, allowed)] != 0)
            return error_set_field(error, ERROR_BAD_FIELD, "node.host_keys", "a host key is malformed");
        draft->task.node.host_keys[draft->task.node.host_key_count++] = line;
    }
    return 0;
}

static int take_digest(Draft *draft, Error *error)
{
    size_t size;
    if (!draft->parts.bundle)
        return 0;
    if (hex_decode(draft->parts.bundle_digest, draft->task.bundle_digest, sizeof(draft->task.bundle_digest),
                   &size) < 0 ||
        size != sizeof(draft->task.bundle_digest))
        return error_set_field(error, ERROR_BAD_FIELD, "bundle.digest",
                               "the digest must be 64 hexadecimal digits");
    draft->task.has_bundle = true;
    return 0;
}

static int check_kind(Draft *draft, Error *error)
{
    Task *task = &draft->task;
    task->kind = kind_from_string(draft->parts.kind);
    if (task->kind == _TASK_KIND_INVALID)
        return error_set_field(error, ERROR_BAD_FIELD, "kind",
                               "this provisioner knows no tasks of kind \"%s\"", draft->parts.kind);
    const struct {
        TaskKind kind;
        bool is_there;
        const char *field;
    } needs[] = {
        {TASK_PROVIDER, task->provider_type != NULL, "provider"},
        {TASK_AUTOMATOR, task->automator != NULL, "service.action"},
        {TASK_FIREWALL, task->ruleset != NULL, "firewall"},
        {TASK_CERTIFICATE, task->certificate.name != NULL, "certificate"},
    };
    for (size_t i = 0; i < ELEMENTSOF(needs); i++)
        if (needs[i].kind == task->kind && !needs[i].is_there)
            return error_set_field(error, ERROR_BAD_FIELD, needs[i].field, "a %s task needs this member",
                                   kind_names[task->kind]);
    if (!task->step)
        task->step = task->id;
    if (!runner_step_id_is_valid(task->step) || !runner_step_id_is_valid(task->id))
        return error_set_field(error, ERROR_BAD_FIELD, "step", "the id is malformed");
    if (task->script && !path_is_safe_relative(task->script))
        return error_set_field(error, ERROR_BAD_FIELD, "service.action.fields.script",
                               "the path must be relative and safe");
    return 0;
}

static int take_apart(Draft *draft, Error *error)
{
    const struct {
        json_t *const *object;
        const JsonField *fields;
        const char *path;
        JsonUnknown unknown;
    } parts[] = {
        /* Later managers may say more than we know; what we know is checked. */
        {&draft->task.document, task_fields, "", JSON_UNKNOWN_IGNORE},
        {&draft->parts.node, node_fields, "node", JSON_UNKNOWN_IGNORE},
        {&draft->parts.addresses, address_fields, "node.addresses", JSON_UNKNOWN_IGNORE},
        {&draft->parts.provider, provider_fields, "provider", JSON_UNKNOWN_IGNORE},
        {&draft->parts.service, service_fields, "service", JSON_UNKNOWN_IGNORE},
        {&draft->parts.service_action, action_fields, "service.action", JSON_UNKNOWN_IGNORE},
        {&draft->task.action_fields, script_fields, "service.action.fields", JSON_UNKNOWN_IGNORE},
        {&draft->parts.bundle, bundle_fields, "bundle", JSON_UNKNOWN_IGNORE},
        {&draft->parts.firewall, firewall_fields, "firewall", JSON_UNKNOWN_IGNORE},
        {&draft->parts.certificate, certificate_fields, "certificate", JSON_UNKNOWN_IGNORE},
    };
    for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
        int r = *parts[i].object ? json_dispatch(*parts[i].object, parts[i].fields, draft, parts[i].path,
                                                 parts[i].unknown, NULL, error)
                                 : 0;
        if (r < 0)
            return r;
    }
    int r = check_kind(draft, error);
    if (r >= 0)
        r = take_host_keys(draft, error);
    if (r >= 0)
        r = take_digest(draft, error);
    if (r >= 0)
        r = check_string_map(draft->task.secrets, "secrets", error);
    return r < 0 ? r : check_string_map(draft->task.secret_contexts, "secret_contexts", error);
}

int task_parse(json_t *document, Task **ret_task, Error *error)
{
    if (!json_is_object(document))
        return error_set(error, ERROR_BAD_DOCUMENT, "a task is an object");
    Draft *draft = NEW(Draft);
    draft->task.document = json_incref(document);
    draft->task.node.ssh_user = "root";
    draft->task.node.ssh_port = 22;
    int r = take_apart(draft, error);
    if (r >= 0)
        *ret_task = memory_duplicate(&draft->task, sizeof(draft->task));
    else
        json_decref(document);
    free(draft);
    return r;
}

Task *task_free(Task *task)
{
    json_decref(task->document);
    free(task);
    return NULL;
}

/* --- parameters --- */

static int append_escaped(Buffer *buffer, const char *text)
{
    int r = 0;
    for (const char *p = text; r >= 0 && *p; p++) {
        const char *escape = *p == '\n' ? "\\n" : *p == '\t' ? "\\t" : *p == '\\' ? "\\\\" : NULL;
        r = escape ? buffer_append_string(buffer, escape) : buffer_append_byte(buffer, (uint8_t)*p);
    }
    return r;
}

static int append_scalar(Buffer *buffer, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return append_escaped(buffer, json_string_value(value));
    case JSON_INTEGER:
        return buffer_append_format(buffer, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL:
        return buffer_append_format(buffer, "%.17g", json_real_value(value));
    case JSON_TRUE:
        return buffer_append_string(buffer, "true");
    case JSON_FALSE:
        return buffer_append_string(buffer, "false");
    case JSON_NULL:
    case JSON_OBJECT:
    case JSON_ARRAY:
        return 0;
    }
    return 0;
}

static int flatten(Buffer *buffer, Buffer *path, const json_t *value)
{
    size_t length = path->size;
    int r = 0;
    if (json_is_object(value)) {
        const char *name;
        const json_t *member;
        json_object_foreach ((json_t *)(uintptr_t)value, name, member) {
            r = length > 0 ? buffer_append_byte(path, '.') : 0;
            if (r >= 0)
                r = append_escaped(path, name);
            if (r >= 0)
                r = flatten(buffer, path, member);
            buffer_truncate(path, length);
            if (r < 0)
                return r;
        }
        return 0;
    }
    if (json_is_array(value)) {
        for (size_t i = 0; r >= 0 && i < json_array_size(value); i++) {
            r = buffer_append_format(path, "%s%zu", length > 0 ? "." : "", i);
            if (r >= 0)
                r = flatten(buffer, path, json_array_get(value, i));
            buffer_truncate(path, length);
        }
        return r;
    }
    r = buffer_append(buffer, path->data, path->size);
    if (r >= 0)
        r = buffer_append_byte(buffer, '\t');
    if (r >= 0)
        r = append_scalar(buffer, value);
    return r < 0 ? r : buffer_append_byte(buffer, '\n');
}

int task_flatten_parameters(const json_t *parameters, size_t limit, char **ret_text)
{
    _cleanup_buffer_ Buffer text = BUFFER_INIT_LIMIT(limit), path = BUFFER_INIT_LIMIT(64 * 1024);
    int r = parameters ? flatten(&text, &path, parameters) : 0;
    if (r < 0)
        return r;
    *ret_text = buffer_take_string(&text);
    return 0;
}
