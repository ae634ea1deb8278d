/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plan_view.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/string.h"
#include "cli/cli.h"
#include "cli/text.h"

enum { NODES_SHOWN = 40, PATH_SHOWN = 60, STEPS_SHOWN = 60 };

static const ViewField layout_view[] = {
    {"COUNT", "count", FIELD_NUMBER, IN_LIST},
    {"SERVICES", "services", FIELD_LIST, IN_LIST | MAY_SHRINK},
    {"HARDWARE", "hardwaretype", FIELD_TEXT, IN_LIST},
    {"IMAGE", "imagetype", FIELD_TEXT, IN_LIST},
    {0},
};
static const ViewField node_view[] = {
    {"NODE", "number", FIELD_NUMBER, IN_LIST},
    {"HOSTNAME", "hostname", FIELD_STRONG, IN_LIST | MAY_SHRINK},
    {"SERVICES", "services", FIELD_LIST, IN_LIST | MAY_SHRINK},
    {0},
};
static const ViewField firewall_view[] = {
    {"SERVICE", "service", FIELD_STRONG, IN_LIST},
    {"PORT", "port", FIELD_NUMBER, IN_LIST},
    {"PROTOCOL", "protocol", FIELD_TEXT, IN_LIST},
    {"OPEN FOR", "from", FIELD_LIST, IN_LIST | MAY_SHRINK},
    {0},
};
static const ViewField certificate_view[] = {
    {"NAME", "name", FIELD_STRONG, IN_LIST},
    {"SERVICE", "service", FIELD_TEXT, IN_LIST},
    {"NODE", "node", FIELD_NUMBER, IN_LIST},
    {"DNS NAMES", "dns_names", FIELD_LIST, IN_LIST | MAY_SHRINK},
    {0},
};

static void print_part(const json_t *plan, const char *title, const char *member, const ViewField *fields)
{
    const json_t *items = json_object_get(plan, member);
    if (json_array_size(items) == 0)
        return;
    view_heading(title);
    view_list(items, fields, "");
}

static void print_nodes(const json_t *plan)
{
    json_t *nodes = json_object_get(plan, "nodes");
    size_t count = json_array_size(nodes);
    _cleanup_json_ json_t *first = json_array();
    for (size_t i = 0; i < count && i < NODES_SHOWN; i++)
        (void)json_array_append(first, json_array_get(nodes, i));
    if (count == 0)
        return;
    view_heading("Nodes");
    view_list(first, node_view, "");
    if (count > NODES_SHOWN)
        (void)printf("%sand %zu more; -o json shows all%s\n", style_begin(stdout, STYLE_FAINT),
                     count - NODES_SHOWN, style_end(stdout));
}

/* As many steps on a line as fit. */
static void print_path(const json_t *path)
{
    const char *arrow = text_is_unicode() ? " → " : " > ";
    size_t width = terminal_width() ? terminal_width() : SIZE_MAX, count = json_array_size(path);
    _cleanup_free_ char *head = string_format("longest chain, %zu steps: ", count);
    size_t column = strlen(head);
    (void)printf("%s%s%s", style_begin(stdout, STYLE_FAINT), head, style_end(stdout));
    for (size_t i = 0; i < count && i < PATH_SHOWN; i++) {
        _cleanup_free_ char *step = text_safe(json_string_value(json_array_get(path, i)));
        size_t needed = text_width(step) + (i ? 3 : 0);
        bool is_break = i > 0 && column + needed + 2 > width;
        (void)printf("%s%s%s", i ? arrow : "", is_break ? "\n  " : "", step);
        column = is_break ? 2 + text_width(step) : column + needed;
    }
    (void)printf("%s\n", count > PATH_SHOWN ? " ..." : "");
}

static void print_tasks(const json_t *plan)
{
    _cleanup_buffer_ Buffer line = BUFFER_INIT;
    const char *name;
    json_t *count;
    view_heading("Work");
    json_object_foreach (json_at(plan, "tasks.by_action"), name, count)
        (void)buffer_append_format(&line, "%s%lld %s", line.size ? ", " : "",
                                   (long long)json_integer_value(count), name);
    _cleanup_free_ char *safe = text_safe(buffer_string(&line));
    (void)printf("%" PRId64 " tasks: %s\n", json_number_at(plan, "tasks.total"), safe);
    const json_t *path = json_object_get(plan, "critical_path");
    if (json_array_size(path) == 0)
        return;
    print_path(path);
}

static void print_rest(const json_t *plan)
{
    static const ViewField fields[] = {
        {"Secrets generated", "secrets", FIELD_LIST, IN_DETAILS | MAY_LACK},
        {"Cost an hour", "cost.hourly", FIELD_TEXT, IN_DETAILS | MAY_LACK},
        {0},
    };
    if (json_array_size(json_object_get(plan, "secrets")) > 0 || *json_text_at(plan, "cost.hourly"))
        view_heading("Besides");
    view_details(plan, fields);
    if (json_is_false(json_at(plan, "cost.complete")))
        (void)printf("%ssome hardware has no price%s\n", style_begin(stdout, STYLE_FAINT), style_end(stdout));
}

static void print_warnings(const json_t *plan)
{
    size_t index;
    json_t *warning;
    json_array_foreach (json_object_get(plan, "warnings"), index, warning)
        cli_warn("%s",
                 json_is_string(warning) ? json_string_value(warning) : json_text_at(warning, "message"));
}

void plan_view_print(const json_t *plan, const char *name)
{
    _cleanup_free_ char *safe_name = text_safe(name);
    _cleanup_free_ char *template = text_safe(json_text_at(plan, "template.name"));
    _cleanup_free_ char *provider = text_safe(json_text_at(plan, "provider.name"));
    size_t count = json_array_size(json_object_get(plan, "nodes"));
    (void)printf("%s%s%s: %zu node%s from template %s (version %" PRId64 ") at provider %s\n",
                 style_begin(stdout, STYLE_STRONG), safe_name, style_end(stdout), count,
                 count == 1 ? "" : "s", template, json_number_at(plan, "template.version"), provider);
    print_part(plan, "Layout", "layout", layout_view);
    print_nodes(plan);
    print_part(plan, "Open ports; all others are closed", "firewall", firewall_view);
    print_part(plan, "Certificates", "certificates", certificate_view);
    print_tasks(plan);
    print_rest(plan);
    print_warnings(plan);
}

/* Operations on a cluster that exists
 * --------------------------------------------------------------------------------------- */

static void print_steps(const json_t *steps)
{
    size_t count = json_array_size(steps);
    view_heading("Steps, in an order in which they can run");
    for (size_t i = 0; i < count && i < STEPS_SHOWN; i++) {
        _cleanup_free_ char *step = text_safe(json_string_value(json_array_get(steps, i)));
        (void)printf("%4zu  %s\n", i + 1, step);
    }
    if (count > STEPS_SHOWN)
        (void)printf("%sand %zu more; -o json shows all%s\n", style_begin(stdout, STYLE_FAINT),
                     count - STEPS_SHOWN, style_end(stdout));
}

static const ViewField moving_view[] = {
    {"NODE", "number", FIELD_NUMBER, IN_LIST},
    {"BECOMES", "change", FIELD_STRONG, IN_LIST},
    {"HOSTNAME", "hostname", FIELD_TEXT, IN_LIST | MAY_SHRINK},
    {"SERVICES", "services", FIELD_LIST, IN_LIST | MAY_SHRINK},
    {"HARDWARE", "hardwaretype", FIELD_TEXT, IN_LIST},
    {0},
};
static const ViewField told_view[] = {
    {"SERVICE", "service", FIELD_STRONG, IN_LIST},
    {"NODE", "node", FIELD_NUMBER, IN_LIST},
    {"WHILE", "when", FIELD_TEXT, IN_LIST},
    {"WHAT IS NEW TO IT", "parameters", FIELD_LIST, IN_LIST | MAY_SHRINK},
    {0},
};

static void print_moving(const json_t *plan)
{
    _cleanup_json_ json_t *moving = json_array();
    size_t index;
    json_t *node;
    json_array_foreach (json_object_get(plan, "nodes"), index, node)
        if (*json_text_at(node, "change") && !string_equal(json_text_at(node, "change"), "kept"))
            (void)json_array_append(moving, node);
    if (json_array_size(moving) == 0)
        return;
    view_heading("Nodes that come and go");
    view_list(moving, moving_view, "");
}

void change_view_print(const json_t *plan)
{
    _cleanup_free_ char *cluster = text_safe(json_text_at(plan, "cluster"));
    _cleanup_free_ char *operation = text_safe(json_text_at(plan, "operation"));
    _cleanup_free_ char *digest = text_safe(json_text_at(plan, "digest"));
    const json_t *steps = json_object_get(plan, "steps");
    size_t count = json_array_size(steps);
    (void)printf("%s%s%s: %s, %zu step%s\n", style_begin(stdout, STYLE_STRONG), cluster, style_end(stdout),
                 operation, count, count == 1 ? "" : "s");
    print_moving(plan);
    print_part(plan, "Services that are configured again", "told", told_view);
    if (count > 0)
        print_steps(steps);
    if (json_array_size(json_object_get(plan, "critical_path")) > 0)
        print_path(json_object_get(plan, "critical_path"));
    (void)printf("\nplan digest %s\n", digest);
    print_warnings(plan);
}
