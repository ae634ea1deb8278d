/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cluster_request.h"

#include "base/string.h"
#include "cli/document.h"

enum { NODES_MAX = 100000 };

#define REQUEST_OPTIONS                                                                                      \
    {.name = "template", .letter = 'T', .argument = "NAME", .help = "cluster template"},                     \
        {.name = "nodes", .letter = 'n', .argument = "N", .help = "number of nodes"},                        \
        {.name = "quantity",                                                                                 \
         .letter = 'q',                                                                                      \
         .argument = "SERVICE=N",                                                                            \
         .help = "so many nodes with this service",                                                          \
         .is_repeatable = true},                                                                             \
        {.name = "service",                                                                                  \
         .letter = 's',                                                                                      \
         .argument = "NAME",                                                                                 \
         .help = "a service to have, in place of the template's own choice",                                 \
         .is_repeatable = true},                                                                             \
        {.name = "provider", .letter = 'p', .argument = "NAME", .help = "provider of the machines"},         \
        {.name = "hardware", .argument = "NAME", .help = "hardware type of all nodes"},                      \
        {.name = "image", .argument = "NAME", .help = "image type of all nodes"},                            \
        {.name = "config",                                                                                   \
         .letter = 'c',                                                                                      \
         .argument = "FILE",                                                                                 \
         .help = "configuration over the template's defaults, JSON or YAML; - is standard input"},           \
        {.name = "lease", .letter = 'l', .argument = "TIME", .help = "life of the cluster, e.g. 12h or 7d"}, \
        {.name = "dns-suffix", .argument = "DOMAIN", .help = "domain of the nodes' names"},                  \
        {.name = "description", .argument = "TEXT", .help = "what it is for"},                               \
    {                                                                                                        \
        .name = "file", .letter = 'f', .argument = "FILE",                                                   \
        .help = "a whole request, JSON or YAML; the other options change it"                                 \
    }

const Option cluster_request_options[] = {REQUEST_OPTIONS, {.name = NULL}};
const Option cluster_create_options[] = {
    REQUEST_OPTIONS,
    {.name = "watch", .letter = 'w', .help = "show the work until it ends; the exit status tells how"},
    {.name = "timeout", .argument = "TIME", .help = "stop watching after this, e.g. 10m; the work goes on"},
    {.name = NULL},
};

/* Options whose text is a member as it is. */
static const struct {
    const char *option, *member, *other_spelling;
} texts[] = {
    {"template", "template", "clusterTemplate"}, {"provider", "provider", NULL},
    {"hardware", "hardwaretype", NULL},          {"image", "imagetype", NULL},
    {"dns-suffix", "dns_suffix", "dnsSuffix"},   {"description", "description", NULL},
};

static void set_member(json_t *request, const char *member, const char *other_spelling, json_t *value)
{
    if (other_spelling)
        (void)json_object_del(request, other_spelling);
    (void)json_object_set_new(request, member, value);
}

static int set_numbers(const ParsedOptions *options, json_t *request, Error *error)
{
    const char *nodes = options_get(options, "nodes"), *lease = options_get(options, "lease"), *quantity;
    int64_t number;
    if (nodes && string_to_i64(nodes, 1, NODES_MAX, &number) < 0)
        return error_set_field(error, ERROR_BAD_REQUEST, "--nodes", "must be a number from 1 to %d",
                               (int)NODES_MAX);
    if (nodes)
        set_member(request, "nodes", "numMachines", json_integer(number));
    if (lease && (string_to_milliseconds(lease, &number) < 0 || number <= 0))
        return error_set_field(error, ERROR_BAD_REQUEST, "--lease", "must be a time such as 90m, 12h or 7d");
    if (lease)
        set_member(request, "lease", "initialLeaseDuration", json_integer(number));
    for (unsigned i = 0; (quantity = options_get_nth(options, "quantity", i)); i++) {
        const char *equals = strchr(quantity, '=');
        _cleanup_free_ char *service =
            equals ? string_duplicate_n(quantity, (size_t)(equals - quantity)) : NULL;
        if (!service || !name_is_valid(service) || string_to_i64(equals + 1, 0, NODES_MAX, &number) < 0)
            return error_set_field(error, ERROR_BAD_REQUEST, "--quantity", "must be SERVICE=N, e.g. web=3");
        if (!json_is_object(json_object_get(request, "quantities")))
            (void)json_object_set_new(request, "quantities", json_object());
        (void)json_object_set_new(json_object_get(request, "quantities"), service, json_integer(number));
    }
    return 0;
}

static int set_services(const ParsedOptions *options, json_t *request, Error *error)
{
    const char *service;
    for (unsigned i = 0; (service = options_get_nth(options, "service", i)); i++) {
        if (!name_is_valid(service))
            return error_set_field(error, ERROR_BAD_REQUEST, "--service", "must be the name of a service");
        if (i == 0)
            (void)json_object_set_new(request, "services", json_array());
        (void)json_array_append_new(json_object_get(request, "services"), json_string(service));
    }
    return 0;
}

static int set_config(const ParsedOptions *options, json_t *request, Error *error)
{
    const char *path = options_get(options, "config");
    _cleanup_json_ json_t *config = NULL;
    int r = path ? document_read(path, &config, NULL, error) : 0;
    if (r < 0 || !path)
        return r;
    if (!json_is_object(config))
        return error_set_field(error, ERROR_BAD_DOCUMENT, "--config", "%s must hold an object", path);
    (void)json_object_set(request, "config", config);
    return 0;
}

int cluster_request_make(const ParsedOptions *options, const char *name, json_t **ret_request, Error *error)
{
    const char *file = options_get(options, "file"), *config = options_get(options, "config");
    _cleanup_json_ json_t *request = NULL;
    if (string_equal(file, "-") && string_equal(config, "-"))
        return error_set(error, ERROR_BAD_REQUEST, "only one of --file and --config can be standard input");
    int r = file ? document_read(file, &request, NULL, error) : 0;
    if (r < 0)
        return r;
    if (file && !json_is_object(request))
        return error_set(error, ERROR_BAD_DOCUMENT, "%s must hold an object", file);
    if (!request)
        request = json_object();
    if (name)
        (void)json_object_set_new(request, "name", json_string(name));
    if (!json_is_string(json_object_get(request, "name")))
        return error_set(error, ERROR_BAD_REQUEST, "the cluster needs a name: give NAME, or one in the file");
    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        if (options_get(options, texts[i].option))
            set_member(request, texts[i].member, texts[i].other_spelling,
                       json_string(options_get(options, texts[i].option)));
    if (!json_object_get(request, "template") && !json_object_get(request, "clusterTemplate"))
        return error_set(error, ERROR_BAD_REQUEST,
                         "the cluster needs a template: give --template ('bastide catalog list templates')");
    r = set_numbers(options, request, error);
    if (r >= 0)
        r = set_services(options, request, error);
    if (r >= 0)
        r = set_config(options, request, error);
    if (r < 0)
        return r;
    *ret_request = TAKE_PTR(request);
    return 0;
}
