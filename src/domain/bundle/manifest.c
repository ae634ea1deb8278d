/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "domain/bundle/internal.h"

typedef struct ManifestTop {
    const char *name, *version, *description;
    json_t *scripts, *files;
} ManifestTop;

static const JsonField top_fields[] = {
    {"name", JSON_FIELD_STRING, offsetof(ManifestTop, name), JSON_FIELD_REQUIRED | JSON_FIELD_NAME, 1, 255,
     "Name"},
    {"version", JSON_FIELD_STRING, offsetof(ManifestTop, version), JSON_FIELD_REQUIRED | JSON_FIELD_NAME, 1,
     64, "Version"},
    {"description", JSON_FIELD_STRING, offsetof(ManifestTop, description), 0, 0, 1024, "What it is for"},
    {"scripts", JSON_FIELD_OBJECT, offsetof(ManifestTop, scripts), JSON_FIELD_REQUIRED, 0, 0,
     "Programs that tasks may run"},
    {"files", JSON_FIELD_OBJECT, offsetof(ManifestTop, files), 0, 0, 0, "Other files"},
    {0},
};

typedef struct ManifestScript {
    const char *description, *timeout;
    bool is_idempotent;
    json_t *parameters, *secrets;
} ManifestScript;

static const JsonField script_fields[] = {
    {"description", JSON_FIELD_STRING, offsetof(ManifestScript, description), 0, 0, 1024, "What it does"},
    {"idempotent", JSON_FIELD_BOOLEAN, offsetof(ManifestScript, is_idempotent), 0, 0, 0,
     "Running it again is harmless"},
    {"parameters", JSON_FIELD_OBJECT, offsetof(ManifestScript, parameters), 0, 0, 0, "Parameters it reads"},
    {"secrets", JSON_FIELD_STRING_ARRAY, offsetof(ManifestScript, secrets), 0, 0, 64, "Secrets it reads"},
    {"timeout", JSON_FIELD_STRING, offsetof(ManifestScript, timeout), 0, 1, 32, "Longest time it may take"},
    {0},
};

typedef struct ManifestParameter {
    const char *type;
    bool is_required;
} ManifestParameter;

static const JsonField parameter_fields[] = {
    {"type", JSON_FIELD_STRING, offsetof(ManifestParameter, type), JSON_FIELD_REQUIRED, 1, 16,
     "string, integer, boolean"},
    {"required", JSON_FIELD_BOOLEAN, offsetof(ManifestParameter, is_required), 0, 0, 0, "Must be given"},
    {0},
};

static const char *const parameter_types[] = {
    [BUNDLE_PARAMETER_STRING] = "string",
    [BUNDLE_PARAMETER_INTEGER] = "integer",
    [BUNDLE_PARAMETER_BOOLEAN] = "boolean",
};

static int parse_parameters(Bundle *bundle, BundleScript *script, json_t *parameters, const char *path,
                            Error *error)
{
    script->parameters =
        arena_allocate_array(bundle->arena, json_object_size(parameters) + 1, sizeof(BundleParameter));
    const char *name;
    json_t *value;
    json_object_foreach (parameters, name, value) {
        const char *child = arena_format(bundle->arena, "%s.parameters.%s", path, name);
        ManifestParameter given = {0};
        int r = json_dispatch(value, parameter_fields, &given, child, JSON_UNKNOWN_ERROR, NULL, error);
        if (r < 0)
            return r;
        BundleParameter *parameter = &script->parameters[script->parameter_count++];
        *parameter = (BundleParameter){.path = name, .is_required = given.is_required};
        size_t type = 0;
        while (type < ELEMENTSOF(parameter_types) && !string_equal(parameter_types[type], given.type))
            type++;
        if (type == ELEMENTSOF(parameter_types))
            return error_set_field(error, ERROR_BAD_FIELD, child,
                                   "%s: the type must be string, integer or boolean", child);
        parameter->type = (BundleParameterType)type;
    }
    return 0;
}

static int parse_script(Bundle *bundle, const char *path, json_t *value, BundleScript *script, Error *error)
{
    const char *field = arena_format(bundle->arena, "scripts.%s", path);
    ManifestScript given = {0};
    int r = json_dispatch(value, script_fields, &given, field, JSON_UNKNOWN_ERROR, NULL, error);
    if (r < 0)
        return r;
    *script =
        (BundleScript){.path = path, .description = given.description, .is_idempotent = given.is_idempotent};
    if (given.timeout && (string_to_milliseconds(given.timeout, &script->timeout_ms) < 0 ||
                          script->timeout_ms < 1 || script->timeout_ms > 24LL * 60 * 60 * 1000))
        return error_set_field(error, ERROR_BAD_FIELD, field,
                               "%s: the timeout must be such as \"90s\" or \"5m\", at most 24h", field);
    script->secrets = arena_allocate_array(bundle->arena, json_array_size(given.secrets) + 1, sizeof(char *));
    size_t i;
    json_t *item;
    json_array_foreach (given.secrets, i, item)
        script->secrets[script->secret_count++] = json_string_value(item);
    return given.parameters ? parse_parameters(bundle, script, given.parameters, field, error) : 0;
}

static int compare_scripts(const void *a, const void *b)
{
    const BundleScript *x = a, *y = b;
    return strcmp(x->path, y->path);
}

static int check_files(json_t *files, json_t *scripts, Error *error)
{
    const char *path;
    json_t *value;
    json_object_foreach (files, path, value) {
        if (!path_is_safe_relative(path) || string_equal(path, BUNDLE_MANIFEST_NAME))
            return error_set_field(error, ERROR_BAD_FIELD, "files", "files: '%.100s' is no path of a file",
                                   path);
        if (json_object_get(scripts, path))
            return error_set_field(error, ERROR_BAD_FIELD, "files", "files: '%.100s' is also a script", path);
        if (!json_is_object(value) || json_object_size(value) > 0)
            return error_set_field(error, ERROR_BAD_FIELD, "files", "files.%.100s must be an empty object",
                                   path);
    }
    return 0;
}

int manifest_parse(Bundle *bundle, json_t *manifest, Error *error)
{
    ManifestTop top = {0};
    int r = json_dispatch(manifest, top_fields, &top, "", JSON_UNKNOWN_ERROR, NULL, error);
    if (r < 0)
        return r;
    bundle->manifest = json_incref(manifest);
    bundle->name = top.name;
    bundle->version = top.version;
    bundle->description = top.description;
    bundle->scripts =
        arena_allocate_array(bundle->arena, json_object_size(top.scripts) + 1, sizeof(BundleScript));
    const char *path;
    json_t *value;
    json_object_foreach (top.scripts, path, value) {
        if (!path_is_safe_relative(path) || string_equal(path, BUNDLE_MANIFEST_NAME))
            return error_set_field(error, ERROR_BAD_FIELD, "scripts",
                                   "scripts: '%.100s' is no path of a script", path);
        r = parse_script(bundle, path, value, &bundle->scripts[bundle->script_count++], error);
        if (r < 0)
            return r;
    }
    if (bundle->script_count > 1)
        qsort(bundle->scripts, bundle->script_count, sizeof(BundleScript), compare_scripts);
    return check_files(top.files, top.scripts, error);
}

int manifest_match(Bundle *bundle, Error *error)
{
    const json_t *files = json_object_get(bundle->manifest, "files");
    for (size_t i = 0; i < bundle->file_count; i++) {
        BundleFile *file = &bundle->files[i];
        file->is_script = bundle_find_script(bundle, file->path) != NULL;
        if (!file->is_script && !json_object_get(files, file->path))
            return error_set(error, ERROR_BAD_DOCUMENT, "the archive is refused: '%s' is not in the manifest",
                             file->path);
    }
    for (size_t i = 0; i < bundle->script_count; i++)
        if (!bundle_find_file(bundle, bundle->scripts[i].path))
            return error_set_field(error, ERROR_BAD_FIELD, "scripts",
                                   "the manifest lists '%.100s', which is not in the archive",
                                   bundle->scripts[i].path);
    const char *path;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)files, path, value)
        if (!bundle_find_file(bundle, path))
            return error_set_field(error, ERROR_BAD_FIELD, "files",
                                   "the manifest lists '%.100s', which is not in the archive", path);
    return 0;
}

const json_t *bundle_find_parameter(const json_t *parameters, const char *path)
{
    const json_t *value = json_object_get(parameters, path);
    for (const char *dot = strchr(path, '.'); !value && dot; dot = strchr(dot + 1, '.')) {
        _cleanup_free_ char *head = string_duplicate_n(path, (size_t)(dot - path));
        const json_t *below = json_object_get(parameters, head);
        if (json_is_object(below))
            value = bundle_find_parameter(below, dot + 1);
    }
    return value;
}

int bundle_check_parameters(const BundleScript *script, const json_t *parameters, Error *error)
{
    for (size_t i = 0; i < script->parameter_count; i++) {
        const BundleParameter *parameter = &script->parameters[i];
        const json_t *value = bundle_find_parameter(parameters, parameter->path);
        const char *text = json_string_value(value);
        int64_t number;
        bool flag;
        if (!value && parameter->is_required)
            return error_set_field(error, ERROR_BAD_FIELD, parameter->path, "%s needs the parameter '%s'",
                                   script->path, parameter->path);
        /* Configuration of the older format writes numbers and booleans as strings. */
        bool is_good =
            !value || (parameter->type == BUNDLE_PARAMETER_STRING && (text || json_is_number(value))) ||
            (parameter->type == BUNDLE_PARAMETER_INTEGER &&
             (json_is_integer(value) || (text && string_to_i64(text, INT64_MIN, INT64_MAX, &number) == 0))) ||
            (parameter->type == BUNDLE_PARAMETER_BOOLEAN &&
             (json_is_boolean(value) || (text && string_to_bool(text, &flag) == 0)));
        if (!is_good)
            return error_set_field(error, ERROR_BAD_FIELD, parameter->path,
                                   "%s: the parameter '%s' must be of type %s", script->path, parameter->path,
                                   parameter_types[parameter->type]);
    }
    return 0;
}
