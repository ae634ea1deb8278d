/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/topology/request.h"

#include <errno.h>

#include "base/string.h"
#include "domain/catalog/members.h"

static void parse_services(Members *members, const json_t *value, const char *path, void *destination)
{
    ClusterRequest *request = destination;
    member_names(members, value, path, &request->services);
    request->has_services = request->services.count > 0;
}

static void parse_quantities(Members *members, const json_t *value, const char *path, void *destination)
{
    ClusterRequest *request = destination;
    if (!json_is_object(value) || json_object_size(value) > NAME_LIST_LIMIT) {
        member_issue(members, path, "wrong_type", "must be an object of at most %d numbers", NAME_LIST_LIMIT);
        return;
    }
    request->quantities =
        arena_allocate_array(members->arena, json_object_size(value) + 1, sizeof(RequestQuantity));
    const char *name;
    json_t *item;
    json_object_foreach ((json_t *)(uintptr_t)value, name, item) {
        RequestQuantity *quantity = &request->quantities[request->quantity_count];
        quantity->service = name;
        if (member_integer(members, item, member_path(members, path, name), 0, CLUSTER_NODES_LIMIT,
                           &quantity->count))
            request->quantity_count++;
    }
}

/* -1 and null mean the template's own. */
static void parse_lease(Members *members, const json_t *value, const char *path, void *destination)
{
    ClusterRequest *request = destination;
    if (json_is_integer(value) && json_integer_value(value) == -1)
        return;
    (void)member_duration(members, value, path, &request->lease);
}

#define NODES(spelling)                                                                                      \
    {                                                                                                        \
        spelling, MEMBER_INTEGER, 0, offsetof(ClusterRequest, nodes), 1, CLUSTER_NODES_LIMIT, NULL           \
    }
#define NAME(spelling, member)                                                                               \
    {                                                                                                        \
        spelling, MEMBER_NAME, 0, offsetof(ClusterRequest, member), 0, 0, NULL                               \
    }

static const Member request_members[] = {
    {"name", MEMBER_NAME, MEMBER_REQUIRED, offsetof(ClusterRequest, name), 0, 0, NULL},
    NAME("template", template),
    NAME("clusterTemplate", template),
    NODES("nodes"),
    NODES("numMachines"),
    {"description", MEMBER_STRING, 0, offsetof(ClusterRequest, description), 0, 0, NULL},
    NAME("provider", provider),
    {"providerFields", MEMBER_OBJECT, 0, offsetof(ClusterRequest, provider_fields), 0, 0, NULL},
    {"services", MEMBER_CUSTOM, 0, 0, 0, 0, parse_services},
    NAME("hardwaretype", hardware_type),
    NAME("imagetype", image_type),
    {"config", MEMBER_OBJECT, 0, offsetof(ClusterRequest, config), 0, 0, NULL},
    {"dns_suffix", MEMBER_STRING, 0, offsetof(ClusterRequest, dns_suffix), 0, 0, NULL},
    {"dnsSuffix", MEMBER_STRING, 0, offsetof(ClusterRequest, dns_suffix), 0, 0, NULL},
    {"lease", MEMBER_CUSTOM, 0, 0, 0, 0, parse_lease},
    {"initialLeaseDuration", MEMBER_CUSTOM, 0, 0, 0, 0, parse_lease},
    {"quantities", MEMBER_CUSTOM, 0, 0, 0, 0, parse_quantities},
    {0},
};

static void check_spellings(Members *members, const json_t *document)
{
    static const char *const pairs[][2] = {{"template", "clusterTemplate"},
                                           {"nodes", "numMachines"},
                                           {"dns_suffix", "dnsSuffix"},
                                           {"lease", "initialLeaseDuration"}};
    for (size_t i = 0; i < ELEMENTSOF(pairs); i++)
        if (json_object_get(document, pairs[i][0]) && json_object_get(document, pairs[i][1]))
            member_issue(members, pairs[i][1], "contradiction",
                         "is another spelling of '%s'; give one of them", pairs[i][0]);
    if (!json_object_get(document, "template") && !json_object_get(document, "clusterTemplate"))
        member_issue(members, "template", "missing", "is required");
}

int cluster_request_parse(json_t *document, ClusterRequest **ret_request, IssueList *issues)
{
    size_t errors_before = issues->error_count;
    _cleanup_cluster_request_ ClusterRequest *request = NEW(ClusterRequest);
    *request = (ClusterRequest){.arena = arena_new(), .document = json_incref(document), .lease = -1};
    Members members = {request->arena, issues};
    members_parse(&members, document, "", request_members, ISSUE_ERROR, request);
    if (json_is_object(document))
        check_spellings(&members, document);
    const char *suffix = request->dns_suffix;
    if (suffix && *suffix == '.')
        suffix++;
    if (!string_is_empty(suffix) && (!hostname_is_valid(suffix) || strlen(suffix) > 180))
        member_issue(&members, "dns_suffix", "bad_name", "must be a DNS domain in small letters");
    if (issues->error_count > errors_before)
        return -EINVAL;
    *ret_request = TAKE_PTR(request);
    return 0;
}

ClusterRequest *cluster_request_free(ClusterRequest *request)
{
    if (!request)
        return NULL;
    json_decref(request->document);
    arena_free(request->arena);
    free(request);
    return NULL;
}
