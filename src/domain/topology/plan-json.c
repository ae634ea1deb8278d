/* SPDX-License-Identifier: Apache-2.0 */
#include "base/string.h"
#include "domain/topology/plan.h"

static json_t *service_names(const Plan *plan, const uint32_t *services, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array, json_string(plan->services[services[i]]->name));
    return array;
}

static json_t *layout_to_json(const Plan *plan)
{
    json_t *array = json_array();
    for (size_t i = 0; i < plan->layout_count; i++) {
        const PlanLayout *row = &plan->layout[i];
        (void)json_array_append_new(
            array, json_pack("{s:i, s:o, s:s, s:s}", "count", (int)row->count, "services",
                             service_names(plan, row->services, row->service_count), "hardwaretype",
                             row->hardware_type, "imagetype", row->image_type));
    }
    return array;
}

static json_t *nodes_to_json(const Plan *plan)
{
    json_t *array = json_array();
    for (size_t i = 0; i < plan->node_count; i++) {
        const ClusterNode *node = &plan->nodes[i];
        (void)json_array_append_new(array, json_pack("{s:i, s:s, s:o, s:s, s:s}", "number", (int)node->number,
                                                     "hostname", node->hostname, "services",
                                                     service_names(plan, node->services, node->service_count),
                                                     "hardwaretype", node->hardware_type, "imagetype",
                                                     node->image_type));
    }
    return array;
}

static json_t *tasks_to_json(const Plan *plan)
{
    size_t counts[_TASK_ACTION_MAX] = {0};
    for (size_t i = 0; i < plan->graph->task_count; i++)
        counts[plan->graph->tasks[i].action]++;
    json_t *by_action = json_object();
    for (TaskAction action = 0; action < _TASK_ACTION_MAX; action++)
        if (counts[action] > 0)
            (void)json_object_set_new(by_action, task_action_to_string(action),
                                      json_integer((json_int_t)counts[action]));
    return json_pack("{s:I, s:o}", "total", (json_int_t)plan->graph->task_count, "by_action", by_action);
}

static json_t *firewall_to_json(const Plan *plan)
{
    json_t *array = json_array();
    for (size_t i = 0; i < plan->service_count; i++)
        for (size_t j = 0; j < plan->services[i]->service.port_count; j++) {
            const CatalogPort *port = &plan->services[i]->service.ports[j];
            json_t *from = json_array();
            for (size_t k = 0; k < port->source_count; k++)
                (void)json_array_append_new(from, json_string(port->sources[k].spelling));
            char range[16];
            (void)string_print(range, sizeof(range), "%u-%u", port->first, port->last);
            (void)json_array_append_new(
                array, json_pack("{s:s, s:o, s:s, s:o}", "service", plan->services[i]->name, "port",
                                 port->first == port->last ? json_integer(port->first) : json_string(range),
                                 "protocol", port->protocol == PORT_TCP ? "tcp" : "udp", "from", from));
        }
    return array;
}

static json_t *certificates_to_json(const Plan *plan)
{
    json_t *array = json_array();
    for (size_t i = 0; i < plan->graph->task_count; i++) {
        const PlanTask *task = &plan->graph->tasks[i];
        if (task->action != TASK_CERTIFICATE)
            continue;
        const CatalogEntry *service = plan->services[task->service];
        const CatalogCertificate *certificate = &service->service.certificates[task->certificate];
        json_t *names = json_array();
        for (size_t j = 0; j < certificate->dns_names.count; j++)
            (void)json_array_append_new(names, json_string(certificate->dns_names.items[j]));
        (void)json_array_append_new(
            array, json_pack("{s:s, s:s, s:i, s:o}", "name", certificate->name, "service", service->name,
                             "node", (int)plan->nodes[task->node].number, "dns_names", names));
    }
    return array;
}

char *plan_task_describe(const Plan *plan, uint32_t index)
{
    const PlanTask *task = &plan->graph->tasks[index];
    const char *action = task_action_to_string(task->action);
    if (task->node == TASK_NOTHING)
        return string_format("%s: %s", action, task->label ? task->label : "");
    const char *service = task->service == TASK_NOTHING ? "" : plan->services[task->service]->name;
    return string_format("%s%s%s on %u", action, *service ? " " : "", service,
                         plan->nodes[task->node].number);
}

static json_t *critical_path_to_json(const Plan *plan)
{
    json_t *array = json_array();
    for (size_t i = 0; i < plan->critical_path_length; i++) {
        _cleanup_free_ char *text = plan_task_describe(plan, plan->critical_path[i]);
        (void)json_array_append_new(array, json_string(text));
    }
    return array;
}

static json_t *secrets_to_json(const Plan *plan)
{
    json_t *array = json_array();
    const CatalogTemplate *template = &plan->template->template;
    for (size_t i = 0; i < template->secret_count; i++)
        (void)json_array_append_new(array, json_string(template->secrets[i].name));
    return array;
}

json_t *plan_to_json(const Plan *plan)
{
    char cost[DECIMAL_SIZE];
    decimal_format(plan->hourly_cost, cost);
    json_t *result = json_object();
    const struct {
        const char *name;
        json_t *value;
    } members[] = {
        {"template", json_pack("{s:s, s:I}", "name", plan->template->name, "version",
                               (json_int_t)plan->template->version)},
        {"provider", json_pack("{s:s, s:s}", "name", plan->provider->name, "type",
                               plan->provider->provider.provider_type)},
        {"layout", layout_to_json(plan)},
        {"nodes", nodes_to_json(plan)},
        {"tasks", tasks_to_json(plan)},
        {"edges", json_integer((json_int_t)plan->graph->edge_count)},
        {"critical_path", critical_path_to_json(plan)},
        {"firewall", firewall_to_json(plan)},
        {"certificates", certificates_to_json(plan)},
        {"secrets", secrets_to_json(plan)},
        {"cost", json_pack("{s:s, s:b}", "hourly", cost, "complete", plan->is_cost_complete)},
        {"warnings", json_incref(plan->warnings)},
    };
    for (size_t i = 0; i < ELEMENTSOF(members); i++)
        (void)json_object_set_new(result, members[i].name, members[i].value);
    return result;
}

static const CatalogAction *task_service_action(const Plan *plan, const PlanTask *task)
{
    ServiceAction action = service_action_from_string(task_action_to_string(task->action));
    return task->service == TASK_NOTHING || action < 0
               ? NULL
               : &plan->services[task->service]->service.actions[action];
}

static json_t *certificate_details(const CatalogCertificate *certificate)
{
    json_t *names = json_array();
    for (size_t i = 0; i < certificate->dns_names.count; i++)
        (void)json_array_append_new(names, json_string(certificate->dns_names.items[i]));
    return json_pack("{s:s, s:s, s:s, s:s*, s:s, s:o, s:s*}", "name", certificate->name, "key_path",
                     certificate->key_path, "certificate_path", certificate->certificate_path, "ca_path",
                     certificate->ca_path, "owner", certificate->owner ? certificate->owner : "root",
                     "dns_names", names, "reload", certificate->reload);
}

json_t *plan_task_details(const Plan *plan, uint32_t index)
{
    const PlanTask *task = &plan->graph->tasks[index];
    json_t *details = json_object();
    const CatalogAction *action = task_service_action(plan, task);
    if (action && action->type)
        (void)json_object_set_new(details, "action",
                                  json_pack("{s:s, s:o}", "type", action->type, "fields",
                                            action->fields ? json_deep_copy(action->fields) : json_object()));
    if (task->action == TASK_CERTIFICATE)
        (void)json_object_set_new(
            details, "certificate",
            certificate_details(&plan->services[task->service]->service.certificates[task->certificate]));
    if (task->is_final)
        (void)json_object_set_new(details, "final", json_true());
    if (task->label)
        (void)json_object_set_new(details, "label", json_string(task->label));
    return details;
}

int64_t plan_task_timeout(const Plan *plan, uint32_t index)
{
    static const int64_t minutes[_TASK_ACTION_MAX] = {
        [TASK_CREATE] = 10,  [TASK_CONFIRM] = 10,    [TASK_BOOTSTRAP] = 10, [TASK_FIREWALL] = 5,
        [TASK_INSTALL] = 30, [TASK_CERTIFICATE] = 5, [TASK_CONFIGURE] = 10, [TASK_INITIALIZE] = 30,
        [TASK_START] = 10,   [TASK_STOP] = 10,       [TASK_REMOVE] = 10,    [TASK_DELETE] = 10,
    };
    const PlanTask *task = &plan->graph->tasks[index];
    const CatalogAction *action = task_service_action(plan, task);
    const json_t *timeout = action && action->fields ? json_object_get(action->fields, "timeout") : NULL;
    int64_t milliseconds = 0;
    if (json_is_integer(timeout))
        milliseconds = json_integer_value(timeout);
    else if (json_is_string(timeout) && string_to_milliseconds(json_string_value(timeout), &milliseconds) < 0)
        milliseconds = 0;
    return milliseconds > 0 ? milliseconds : minutes[task->action] * 60 * 1000;
}
