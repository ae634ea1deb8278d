/* SPDX-License-Identifier: Apache-2.0 */
#include "api/openapi.h"

#include <ctype.h>

#include "api/route.h"
#include "base/string.h"

enum { STRING_LIMIT = 64 * 1024, OPERATION_ID_SIZE = 128, SEGMENT_SIZE = 64 };

static void set(json_t *object, const char *name, json_t *value)
{
    ASSERT(json_object_set_new(object, name, value) == 0);
}

static void set_string(json_t *object, const char *name, const char *value)
{
    set(object, name, json_string(value));
}

static void set_integer(json_t *object, const char *name, int64_t value)
{
    set(object, name, json_integer(value));
}

static json_t *reference(const char *kind, const char *name)
{
    char path[128];
    (void)string_print(path, sizeof(path), "#/components/%s/%s", kind, name);
    return json_pack("{s:s}", "$ref", path);
}

/* Bodies
 * ---------------------------------------------------------------------------------------------------- */

static void set_type(json_t *schema, const char *type, bool is_nullable)
{
    set(schema, "type", is_nullable ? json_pack("[s, s]", type, "null") : json_string(type));
}

static void set_count(json_t *schema, const char *minimum, const char *maximum, const JsonField *field)
{
    if (field->minimum > 0)
        set_integer(schema, minimum, field->minimum);
    if (field->maximum > 0)
        set_integer(schema, maximum, field->maximum);
}

static void describe_string(json_t *schema, const JsonField *field)
{
    set_count(schema, "minLength", "maxLength", field);
    if (field->minimum == 0 && field->maximum == 0)
        set_integer(schema, "maxLength", STRING_LIMIT);
    if (field->flags & JSON_FIELD_SECRET) {
        set_string(schema, "format", "password");
        set(schema, "writeOnly", json_true());
    }
    if (field->flags & JSON_FIELD_NAME)
        set_string(schema, "x-bastide-form", "name");
    if (field->flags & JSON_FIELD_IDENTIFIER)
        set_string(schema, "x-bastide-form", "identifier");
}

static void describe_integer(json_t *schema, const JsonField *field)
{
    if (field->minimum == 0 && field->maximum == 0)
        return;
    set_integer(schema, "minimum", field->minimum);
    set_integer(schema, "maximum", field->maximum);
}

static void describe_array(json_t *schema, const JsonField *field)
{
    set_count(schema, "minItems", "maxItems", field);
    set(schema, "items",
        field->type == JSON_FIELD_STRING_ARRAY ? json_pack("{s:s}", "type", "string") : json_object());
}

static void describe_object(json_t *schema, const JsonField *field)
{
    set_count(schema, "minProperties", "maxProperties", field);
}

static void describe_nothing(json_t *schema, const JsonField *field)
{
    (void)schema;
    (void)field;
}

static const struct FieldKind {
    const char *type; /* NULL = any */
    void (*describe)(json_t *schema, const JsonField *field);
} field_kinds[] = {
    [JSON_FIELD_STRING] = {"string", describe_string},
    [JSON_FIELD_INTEGER] = {"integer", describe_integer},
    [JSON_FIELD_BOOLEAN] = {"boolean", describe_nothing},
    [JSON_FIELD_OBJECT] = {"object", describe_object},
    [JSON_FIELD_ARRAY] = {"array", describe_array},
    [JSON_FIELD_STRING_ARRAY] = {"array", describe_array},
    [JSON_FIELD_ANY] = {NULL, describe_nothing},
};

static json_t *field_schema(const JsonField *field)
{
    const struct FieldKind *kind = &field_kinds[field->type];
    json_t *schema = json_object();
    if (kind->type)
        set_type(schema, kind->type, field->flags & JSON_FIELD_NULLABLE);
    if (field->description)
        set_string(schema, "description", field->description);
    kind->describe(schema, field);
    return schema;
}

static json_t *body_schema(const ApiRoute *route, bool *ret_is_required)
{
    json_t *schema = json_pack("{s:s}", "type", "object");
    *ret_is_required = !route->fields;
    if (!route->fields) /* a document with rules of its own, or a request that another parser reads */
        return schema;
    json_t *properties = json_object(), *required = json_array();
    for (const JsonField *field = route->fields; field->name; field++) {
        set(properties, field->name, field_schema(field));
        if (field->flags & JSON_FIELD_REQUIRED)
            ASSERT(json_array_append_new(required, json_string(field->name)) == 0);
    }
    *ret_is_required = json_array_size(required) > 0;
    set(schema, "properties", properties);
    set(schema, "additionalProperties", json_false());
    if (*ret_is_required)
        set(schema, "required", required);
    else
        json_decref(required);
    return schema;
}

static void add_request_body(json_t *operation, const ApiRoute *route)
{
    if (route->body == NO_BODY)
        return;
    bool is_required = true, is_raw = route->body == RAW_BODY;
    json_t *schema = is_raw ? json_pack("{s:s, s:s}", "type", "string", "format", "binary")
                            : body_schema(route, &is_required);
    set(operation, "requestBody",
        json_pack("{s:b, s:{s:{s:o}}, s:I}", "required", is_required, "content",
                  is_raw ? "application/octet-stream" : "application/json", "schema", schema,
                  "x-bastide-limit",
                  (json_int_t)(route->body_limit ? route->body_limit : ROUTE_BODY_DEFAULT)));
}

/* Parameters and answers
 * ------------------------------------------------------------------------------------ */

static void add_query(json_t *list, const char *name, const char *description)
{
    ASSERT(json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:{s:s}}", "name", name, "in", "query",
                                                 "description", description, "schema", "type", "string")) ==
           0);
}

/* What a list is filtered by, sorted and cut down. */
static void add_columns(json_t *list, const ApiRoute *route)
{
    if (!route->columns)
        return;
    add_query(list, "_sort", "a column, with '-' before it downwards; may come several times");
    add_query(list, "_search", "part of a name, in any case");
    add_query(list, "_include", "columns of the answer, with commas");
    for (const ListColumn *column = route->columns; column->name; column++) {
        bool is_there = false;
        for (const RouteQuery *query = route->query; query && query->name; query++)
            is_there |= string_equal(query->name, column->name);
        if (!is_there)
            add_query(list, column->name, "only rows where it is this; several times: one of them");
    }
}

static json_t *parameters(const ApiRoute *route)
{
    json_t *list = json_array();
    for (const char *start = strchr(route->path, '{'); start; start = strchr(start + 1, '{')) {
        char name[SEGMENT_SIZE];
        (void)string_print(name, sizeof(name), "%.*s", (int)strcspn(start + 1, "}"), start + 1);
        ASSERT(json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:{s:s}}", "name", name, "in", "path",
                                                     "required", 1, "schema", "type", "string")) == 0);
    }
    if (route->tenant == NEEDS_TENANT)
        ASSERT(json_array_append_new(list, reference("parameters", "Tenant")) == 0);
    for (const RouteQuery *query = route->query; query && query->name; query++) {
        json_t *schema = json_pack("{s:s}", "type", query->maximum > 0 ? "integer" : "string");
        if (query->maximum > 0) {
            set_integer(schema, "minimum", query->minimum);
            set_integer(schema, "maximum", query->maximum);
        }
        ASSERT(
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "name", query->name, "in", "query",
                                                  "description", query->description, "schema", schema)) == 0);
    }
    add_columns(list, route);
    return list;
}

static json_t *responses(const ApiRoute *route)
{
    json_t *success = json_pack("{s:s}", "description", route->summary);
    const char *type = route->mode == ROUTE_STREAM ? "text/event-stream"
                       : route->content_type       ? route->content_type
                                                   : "application/json";
    if (route->success_status != 204)
        set(success, "content", json_pack("{s:{}}", type));
    char status[8];
    (void)string_print(status, sizeof(status), "%d", route->success_status);
    json_t *all = json_object();
    set(all, status, success);
    set(all, "default", reference("responses", "Error"));
    return all;
}

static void make_operation_id(const ApiRoute *route, char id[static OPERATION_ID_SIZE])
{
    (void)string_print(id, OPERATION_ID_SIZE, "%s%s", http_method_name(route->method), route->path);
    char *out = id;
    for (const char *in = id; *in; in++)
        if (isalnum((unsigned char)*in))
            *out++ = (char)tolower((unsigned char)*in);
        else if (*in != '{' && *in != '}')
            *out++ = '_';
    *out = '\0';
}

static json_t *operation(const ApiRoute *route)
{
    char id[OPERATION_ID_SIZE], tag[SEGMENT_SIZE];
    make_operation_id(route, id);
    (void)string_print(tag, sizeof(tag), "%.*s", (int)strcspn(route->path + 1, "/"), route->path + 1);
    json_t *object =
        json_pack("{s:s, s:s, s:[s]}", "operationId", id, "summary", route->summary, "tags", tag);
    set_string(object, "x-bastide-permission", permission_describe(route->permission)->name);
    if (route->action)
        set_string(object, "x-bastide-audit", route->action);
    if (route->permission == PERMISSION_OPEN)
        set(object, "security", json_array());
    json_t *list = parameters(route);
    if (json_array_size(list) > 0)
        set(object, "parameters", list);
    else
        json_decref(list);
    add_request_body(object, route);
    set(object, "responses", responses(route));
    return object;
}

static void add_paths(json_t *paths)
{
    for (size_t t = 0; api_route_tables[t]; t++)
        for (const ApiRoute *route = api_route_tables[t]; route->path; route++) {
            json_t *path = json_object_get(paths, route->path);
            if (!path)
                set(paths, route->path, path = json_object());
            char method[16];
            (void)string_print(method, sizeof(method), "%s", http_method_name(route->method));
            for (char *letter = method; *letter; letter++)
                *letter = (char)tolower((unsigned char)*letter);
            set(path, method, operation(route));
        }
}

/* What all have in common
 * ----------------------------------------------------------------------------------- */

static json_t *error_schema(void)
{
    static const struct {
        const char *name, *type, *description;
    } members[] = {
        {"message", "string", "what is wrong, for a person"},
        {"error_code", "string", "name of the error in the Conductor API"},
        {"type", "string", "urn:bastide:error:NAME; stable, for programs"},
        {"title", "string", "what errors of this type have in common"},
        {"status", "integer", "the HTTP status"},
        {"detail", "string", "as message"},
        {"instance", "string", "the request's id, also in X-Request-Id and in the log"},
        {"field", "string", "the member of the body or the query that is wrong"},
        {"line", "integer", "where in the body"},
        {"column", "integer", "where in the line"},
    };
    json_t *properties = json_object();
    for (size_t i = 0; i < ELEMENTSOF(members); i++)
        set(properties, members[i].name,
            json_pack("{s:s, s:s}", "type", members[i].type, "description", members[i].description));
    set(properties, "server_traceback", json_pack("{s:s}", "type", "null"));
    return json_pack("{s:s, s:o, s:[s, s, s, s, s, s, s]}", "type", "object", "properties", properties,
                     "required", "message", "error_code", "type", "title", "status", "detail", "instance");
}

static json_t *components(void)
{
    json_t *tenant = json_pack("{s:s, s:s, s:s, s:{s:s}}", "name", "Tenant", "in", "header", "description",
                               "the tenant; the token's own when absent", "schema", "type", "string");
    json_t *error = json_pack("{s:s, s:{s:{s:o}}}", "description", "The request was not done", "content",
                              "application/problem+json", "schema", reference("schemas", "Error"));
    json_t *schemes = json_pack("{s:{s:s, s:s}, s:{s:s, s:s}, s:{s:s, s:s, s:s}}", "basic", "type", "http",
                                "scheme", "basic", "bearer", "type", "http", "scheme", "bearer", "token",
                                "type", "apiKey", "in", "header", "name", "Authentication-Token");
    return json_pack("{s:{s:o}, s:{s:o}, s:{s:o}, s:o}", "parameters", "Tenant", tenant, "responses", "Error",
                     error, "schemas", "Error", error_schema(), "securitySchemes", schemes);
}

json_t *openapi_document(void)
{
    json_t *paths = json_object();
    add_paths(paths);
    json_t *document =
        json_pack("{s:s, s:{s:s, s:s, s:s, s:{s:s}}, s:[{s:s}], s:[{s:[]}, {s:[]}, {s:[]}], s:o, s:o}",
                  "openapi", "3.1.0", "info", "title", "Bastide", "version", BASTIDE_VERSION, "description",
                  "Plans, makes and keeps clusters. Written by `bastide-manager openapi` from the program's "
                  "own tables.",
                  "license", "name", "Apache-2.0", "servers", "url", "/api/v3.1", "security", "basic",
                  "bearer", "token", "paths", paths, "components", components());
    ASSERT(document);
    return document;
}
