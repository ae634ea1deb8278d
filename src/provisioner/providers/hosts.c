/* SPDX-License-Identifier: Apache-2.0 */

/* Machines that exist already and are reached by SSH. Which one belongs to a node is decided where all nodes
 * are known: the manager puts the chosen entry of the pool into the task (provider.fields.host), so that no
 * two provisioners can lease the same machine. The entry states the host key: a machine is never trusted on
 * first use. */

#include "base/string.h"
#include "provisioner/providers/provider.h"

typedef struct HostEntry {
    const char *address, *user, *host_key;
    int64_t port;
} HostEntry;

static const JsonField entry_fields[] = {
    {.name = "address",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(HostEntry, address),
     .flags = JSON_FIELD_REQUIRED,
     .maximum = 64},
    {.name = "port",
     .type = JSON_FIELD_INTEGER,
     .offset = offsetof(HostEntry, port),
     .minimum = 1,
     .maximum = 65535},
    {.name = "user", .type = JSON_FIELD_STRING, .offset = offsetof(HostEntry, user), .maximum = 64},
    {.name = "host_key",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(HostEntry, host_key),
     .flags = JSON_FIELD_REQUIRED,
     .maximum = 4096},
    {0},
};

/* The entry chosen for this node: "host", or the one of the pool with the node's provider id as address. */
static int find_entry(const Task *task, HostEntry *ret_entry, Error *error)
{
    json_t *entry = json_object_get(task->provider_fields, "host");
    size_t i;
    json_t *candidate;
    json_array_foreach (json_object_get(task->provider_fields, "pool"), i, candidate)
        if (!entry && task->node.provider_id &&
            string_equal(json_string_value(json_object_get(candidate, "address")), task->node.provider_id))
            entry = candidate;
    if (!json_is_object(entry))
        return error_set_field(error, ERROR_BAD_FIELD, "provider.fields.host",
                               "no machine of the pool was chosen for this node");
    *ret_entry = (HostEntry){.user = "root", .port = 22};
    return json_dispatch(entry, entry_fields, ret_entry, "provider.fields.host", JSON_UNKNOWN_IGNORE, NULL,
                         error);
}

static int hosts_create(ExecuteContext *context, json_t **ret_result, Error *error)
{
    HostEntry entry;
    int r = find_entry(context->task, &entry, error);
    if (r < 0)
        return r;
    bool is_v6 = strchr(entry.address, ':') != NULL;
    *ret_result = json_pack("{ss s{ss} s[s] ss sI}", "provider_id", entry.address, "addresses",
                            is_v6 ? "access_v6" : "access_v4", entry.address, "host_keys", entry.host_key,
                            "ssh_user", entry.user, "ssh_port", (json_int_t)entry.port);
    if (!is_v6)
        (void)json_object_set_new(json_object_get(*ret_result, "addresses"), "bind_v4",
                                  json_string(entry.address));
    return 0;
}

static int hosts_confirm(ExecuteContext *context, json_t **ret_result, Error *error)
{
    (void)ret_result;
    Outcome outcome = {0};
    int r = execute_bootstrap(context, &outcome, error);
    outcome_done(&outcome);
    return r;
}

/* The machine goes back to the pool by the manager's books; there is nothing to take away. */
static int hosts_remove(ExecuteContext *context, Error *error)
{
    (void)context;
    (void)error;
    return 0;
}

const Provider provider_hosts = {
    .type = "hosts",
    .summary = "a pool of machines that exist already",
    .create = hosts_create,
    .confirm = hosts_confirm,
    .remove = hosts_remove,
};
