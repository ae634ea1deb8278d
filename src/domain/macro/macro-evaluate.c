/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/map.h"
#include "domain/macro/macro.h"

/* Indexes of the nodes with one service, by node number. */
typedef struct ServiceNodes {
    size_t *nodes;
    size_t count, capacity;
} ServiceNodes;

struct MacroView {
    const char *cluster_name, *cluster_id, *owner;
    const MacroNode **nodes; /* by number */
    size_t node_count;
    StringMap *services; /* name -> ServiceNodes, owned */
    StringMap *absent;   /* names */
};

static void service_nodes_free(void *value)
{
    ServiceNodes *list = value;
    free(list->nodes);
    free(list);
}

static int compare_nodes(const void *a, const void *b)
{
    const MacroNode *const *x = a, *const *y = b;
    return (*x)->number < (*y)->number ? -1 : (*x)->number > (*y)->number;
}

MacroView *macro_view_new(const char *cluster_name, const char *cluster_id, const char *owner,
                          const MacroNode *nodes, size_t node_count, const char *const *absent_services,
                          size_t absent_count)
{
    MacroView *view = NEW(MacroView);
    *view = (MacroView){
        .cluster_name = cluster_name, .cluster_id = cluster_id, .owner = owner, .node_count = node_count};
    view->nodes = NEW_ARRAY(const MacroNode *, node_count);
    for (size_t i = 0; i < node_count; i++)
        view->nodes[i] = &nodes[i];
    if (node_count > 0)
        qsort(view->nodes, node_count, sizeof(*view->nodes), compare_nodes);
    view->services = string_map_new(service_nodes_free);
    view->absent = string_map_new(NULL);
    for (size_t i = 0; i < absent_count; i++)
        string_map_set(view->absent, absent_services[i], view);
    for (size_t i = 0; i < node_count; i++)
        for (size_t j = 0; j < view->nodes[i]->service_count; j++) {
            const char *name = view->nodes[i]->services[j];
            ServiceNodes *list = string_map_get(view->services, name);
            if (!list) {
                list = NEW(ServiceNodes);
                string_map_set(view->services, name, list);
            }
            if (list->count == list->capacity) {
                list->capacity = list->capacity ? list->capacity * 2 : 8;
                list->nodes = memory_resize_array(list->nodes, list->capacity, sizeof(size_t));
            }
            list->nodes[list->count++] = i;
        }
    return view;
}

MacroView *macro_view_free(MacroView *view)
{
    if (!view)
        return NULL;
    string_map_free(view->services);
    string_map_free(view->absent);
    free(view->nodes);
    free(view);
    return NULL;
}

static ssize_t find_node(const MacroView *view, uint32_t number)
{
    size_t low = 0, high = view->node_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (view->nodes[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < view->node_count && view->nodes[low]->number == number ? (ssize_t)low : -1;
}

static const char *node_address(const MacroNode *node, AddressType type)
{
    const char *address = node->addresses[type];
    if (!address && type == ADDRESS_BIND_V4)
        address = node->addresses[ADDRESS_ACCESS_V4];
    if (!address && type == ADDRESS_BIND_V6)
        address = node->addresses[ADDRESS_ACCESS_V6];
    return address;
}

typedef struct Evaluation {
    const MacroView *view;
    ssize_t self; /* index, -1 = none */
    const MacroPart *part;
    Buffer *output;
    Error *error;
} Evaluation;

static int evaluation_fail(Evaluation *evaluation, const char *format, ...) _printf_(2, 3);

static int evaluation_fail(Evaluation *evaluation, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)error_set_v(evaluation->error, ERROR_BAD_MACRO, format, arguments);
    va_end(arguments);
    if (evaluation->error && evaluation->error->column == 0)
        evaluation->error->column = evaluation->part->column;
    return -EINVAL;
}

static int append(Evaluation *evaluation, const char *text, size_t length)
{
    return buffer_append(evaluation->output, text, length) < 0
               ? error_set(evaluation->error, ERROR_TOO_LARGE, "the expanded value is too long")
               : 0;
}

static int append_text(Evaluation *evaluation, const char *text)
{
    return append(evaluation, text, strlen(text));
}

static int append_formatted(Evaluation *evaluation, const char *format, const char *item)
{
    if (!format)
        return append_text(evaluation, item);
    int r = 0;
    for (const char *p = format; *p && r == 0;) {
        if (p[0] == '$' && p[1] == '$') {
            r = append(evaluation, "$", 1);
            p += 2;
        } else if (p[0] == '$') {
            r = append_text(evaluation, item);
            p++;
        } else {
            size_t length = strcspn(p, "$");
            r = append(evaluation, p, length);
            p += length;
        }
    }
    return r;
}

static int append_item(Evaluation *evaluation, const MacroNode *node)
{
    const Macro *macro = &evaluation->part->macro;
    const char *item = macro->kind == MACRO_HOST ? node->hostname : node_address(node, macro->address_type);
    if (!item && macro->kind == MACRO_HOST)
        return evaluation_fail(evaluation, "%s: node %u has no host name", evaluation->part->text,
                               node->number);
    if (!item)
        return evaluation_fail(evaluation, "%s: node %u has no address of type %s", evaluation->part->text,
                               node->number, address_type_to_string(macro->address_type));
    return append_formatted(evaluation, macro->format, item);
}

/* NULL with *ret_is_known = true when the service exists and has no node here. */
static const ServiceNodes *find_service(const Evaluation *evaluation, const char *name, bool *ret_is_known)
{
    const ServiceNodes *list = string_map_get(evaluation->view->services, name);
    *ret_is_known = list || string_map_has(evaluation->view->absent, name);
    return list;
}

static int append_self(Evaluation *evaluation)
{
    if (evaluation->self < 0)
        return evaluation_fail(evaluation, "%s: there is no node that this value is for",
                               evaluation->part->text);
    return append_item(evaluation, evaluation->view->nodes[evaluation->self]);
}

static int append_list(Evaluation *evaluation, const ServiceNodes *list)
{
    const Macro *macro = &evaluation->part->macro;
    if (macro->index >= 0) {
        if ((size_t)macro->index >= list->count)
            return evaluation_fail(evaluation, "%s: the service has only %zu nodes", evaluation->part->text,
                                   list->count);
        return append_item(evaluation, evaluation->view->nodes[list->nodes[macro->index]]);
    }
    for (size_t i = 0; i < list->count; i++) {
        int r = i > 0 ? append_text(evaluation, macro->delimiter) : 0;
        if (r == 0)
            r = append_item(evaluation, evaluation->view->nodes[list->nodes[i]]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int append_instance(Evaluation *evaluation, const ServiceNodes *list)
{
    if (evaluation->self < 0)
        return append_self(evaluation);
    for (size_t i = 0; i < list->count; i++)
        if (list->nodes[i] == (size_t)evaluation->self) {
            char number[24];
            (void)string_print(number, sizeof(number), "%zu", i + 1);
            return append_text(evaluation, number);
        }
    return append_text(evaluation, evaluation->part->text);
}

static int append_service_macro(Evaluation *evaluation)
{
    const Macro *macro = &evaluation->part->macro;
    bool is_known;
    const ServiceNodes *list = find_service(evaluation, macro->service, &is_known);
    if (!is_known)
        return evaluation_fail(evaluation, "%s: there is no service '%s'", evaluation->part->text,
                               macro->service);
    if (macro->kind == MACRO_COUNT) {
        char number[24];
        (void)string_print(number, sizeof(number), "%zu", list ? list->count : 0);
        return append_text(evaluation, number);
    }
    if (!list)
        return append_text(evaluation, evaluation->part->text);
    return macro->kind == MACRO_INSTANCE ? append_instance(evaluation, list) : append_list(evaluation, list);
}

static int append_cluster(Evaluation *evaluation, const char *value)
{
    if (!value)
        return evaluation_fail(evaluation, "%s is not known here", evaluation->part->text);
    return append_text(evaluation, value);
}

static int append_macro(Evaluation *evaluation)
{
    const Macro *macro = &evaluation->part->macro;
    if (macro->service)
        return append_service_macro(evaluation);
    switch (macro->kind) {
    case MACRO_CLUSTER_NAME:
        return append_cluster(evaluation, evaluation->view->cluster_name);
    case MACRO_CLUSTER_ID:
        return append_cluster(evaluation, evaluation->view->cluster_id);
    case MACRO_CLUSTER_OWNER:
        return append_cluster(evaluation, evaluation->view->owner);
    case MACRO_HOST:
    case MACRO_ADDRESS:
        return append_self(evaluation);
    case MACRO_COUNT:
    case MACRO_INSTANCE:
    case MACRO_SECRET:
        break;
    }
    return evaluation_fail(evaluation, "%s cannot stand in a text", evaluation->part->text);
}

static int expand_parsed(const MacroView *view, uint32_t node, const MacroText *text, char **ret_text,
                         Error *error)
{
    _cleanup_buffer_ Buffer output = BUFFER_INIT_LIMIT(1024 * 1024);
    Evaluation evaluation = {.view = view, .self = find_node(view, node), .output = &output, .error = error};
    for (size_t i = 0; i < text->count; i++) {
        evaluation.part = &text->parts[i];
        int r = evaluation.part->literal ? append_text(&evaluation, evaluation.part->literal)
                                         : append_macro(&evaluation);
        if (r < 0)
            return r;
    }
    *ret_text = buffer_take_string(&output);
    return 0;
}

int macro_expand(const MacroView *view, uint32_t node, const char *text, char **ret_text, Error *error)
{
    _cleanup_arena_ Arena *arena = arena_new();
    MacroText parsed;
    int r = macro_parse(arena, text, &parsed, error);
    return r < 0 ? r : expand_parsed(view, node, &parsed, ret_text, error);
}

typedef struct Expansion {
    const MacroView *view;
    Arena *arena;
    uint32_t node;
    StringList *secrets;
    Error *error;
} Expansion;

static int expand_string(Expansion *expansion, const json_t *value, json_t **ret_value)
{
    MacroText text;
    if (!strchr(json_string_value(value), '%')) {
        *ret_value = json_copy((json_t *)(uintptr_t)value);
        return 0;
    }
    int r = macro_parse(expansion->arena, json_string_value(value), &text, expansion->error);
    if (r < 0)
        return r;
    if (text.count == 1 && !text.parts[0].literal && text.parts[0].macro.kind == MACRO_SECRET) {
        const char *name = text.parts[0].macro.secret;
        if (expansion->secrets && !string_list_contains(expansion->secrets, name))
            string_list_append(expansion->secrets, name);
        *ret_value = json_pack("{s:s}", MACRO_SECRET_MEMBER, name);
        return 0;
    }
    _cleanup_free_ char *expanded = NULL;
    r = expand_parsed(expansion->view, expansion->node, &text, &expanded, expansion->error);
    if (r < 0)
        return r;
    *ret_value = json_string(expanded);
    return *ret_value ? 0 : error_set(expansion->error, ERROR_BAD_MACRO, "the expanded value is not UTF-8");
}

static int expand_value(Expansion *expansion, const json_t *value, const char *path, unsigned depth,
                        json_t **ret_value);

static int expand_array(Expansion *expansion, const json_t *value, const char *path, unsigned depth,
                        json_t **ret_value)
{
    _cleanup_json_ json_t *array = json_array();
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        json_t *expanded = NULL;
        int r = expand_value(expansion, item, arena_format(expansion->arena, "%s[%zu]", path, i), depth + 1,
                             &expanded);
        if (r < 0)
            return r;
        (void)json_array_append_new(array, expanded);
    }
    *ret_value = TAKE_PTR(array);
    return 0;
}

static int expand_object(Expansion *expansion, const json_t *value, const char *path, unsigned depth,
                         json_t **ret_value)
{
    _cleanup_json_ json_t *object = json_object();
    const char *name;
    json_t *member;
    json_object_foreach ((json_t *)(uintptr_t)value, name, member) {
        const char *child = *path ? arena_format(expansion->arena, "%s.%s", path, name) : name;
        json_t *expanded = NULL;
        int r = expand_value(expansion, member, child, depth + 1, &expanded);
        if (r < 0)
            return r;
        (void)json_object_set_new(object, name, expanded);
    }
    *ret_value = TAKE_PTR(object);
    return 0;
}

static int expand_value(Expansion *expansion, const json_t *value, const char *path, unsigned depth,
                        json_t **ret_value)
{
    int r = 0;
    if (depth > JSON_DEPTH_LIMIT)
        r = error_set(expansion->error, ERROR_TOO_LARGE, "the configuration is nested too deeply");
    else if (json_is_string(value))
        r = expand_string(expansion, value, ret_value);
    else if (json_is_array(value))
        return expand_array(expansion, value, path, depth, ret_value);
    else if (json_is_object(value))
        return expand_object(expansion, value, path, depth, ret_value);
    else
        *ret_value = json_deep_copy(value);
    if (r < 0 && expansion->error && !*expansion->error->field)
        (void)string_copy(expansion->error->field, sizeof(expansion->error->field), path);
    return r;
}

int macro_expand_json(const MacroView *view, uint32_t node, const json_t *config, json_t **ret_config,
                      StringList *secrets, Error *error)
{
    _cleanup_arena_ Arena *arena = arena_new();
    Expansion expansion = {.view = view, .arena = arena, .node = node, .secrets = secrets, .error = error};
    return expand_value(&expansion, config, "", 0, ret_config);
}
