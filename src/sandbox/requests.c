/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "sandbox/image.h"
#include "sandbox/server_internal.h"

enum {
    PRINCIPALS_MAX = 64,
    PRINCIPAL_MAX = 255,
    LIST_PAGE = 200,
    HOSTNAME_MAX = 63,
    TOKEN_MAX = 128,
    CA_MAX = 1024
};

/* Each handler answers through the result, or returns WAITS after having marked the connection. */
enum { WAITS = 1 };
typedef int (*Handler)(Server *server, Connection *connection, json_t *request, json_t **ret_answer,
                       Error *error);

json_t *host_to_json(const Server *server, const Host *host)
{
    char v4[ADDRESS_TEXT_SIZE], v6[ADDRESS_TEXT_SIZE], gateway[ADDRESS_TEXT_SIZE],
        gateway6[ADDRESS_TEXT_SIZE], created[TIMESTAMP_SIZE];
    uint8_t ipv6[16];
    const AddressPlan *plan = &server->network.plan;
    ipv4_format(host->ipv4, v4);
    ipv4_format(plan_gateway_address(plan, plan_block_of(plan, host->ipv4)), gateway);
    plan_ipv6(plan, host->cluster->number, host->ipv4, ipv6);
    ipv6_format(ipv6, v6);
    plan_ipv6(plan, host->cluster->number, 0, ipv6);
    ipv6_format(ipv6, gateway6);
    timestamp_format(host->created, created);
    json_t *keys = *host->host_key ? json_pack("[s]", host->host_key) : json_array();
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:s,s:i,s:s,s:o,s:s,s:b}", "id", host->id,
                     "hostname", host->hostname, "cluster", host->cluster->name, "tenant", host->tenant,
                     "image", host->image, "state", host_state_name(host->state), "address_v4", v4,
                     "address_v6", v6, "prefix", (int)plan->block_prefix, "gateway", gateway, "prefix_v6", 64,
                     "gateway_v6", gateway6, "host_keys", keys, "created_at", created, "cut", host->is_cut);
}

typedef struct CreateRequest {
    const char *operation, *token, *cluster, *tenant, *hostname, *image, *ssh_user_ca;
    int64_t memory_bytes, tasks;
    json_t *principals;
} CreateRequest;

#define TEXT(name_, type_, member_, flags_, maximum_)                                                        \
    {                                                                                                        \
        .name = (name_), .type = JSON_FIELD_STRING, .offset = offsetof(type_, member_), .flags = (flags_),   \
        .minimum = 1, .maximum = (maximum_)                                                                  \
    }

static const JsonField create_fields[] = {
    TEXT("op", CreateRequest, operation, JSON_FIELD_REQUIRED, 32),
    TEXT("token", CreateRequest, token, JSON_FIELD_REQUIRED | JSON_FIELD_NAME, TOKEN_MAX),
    TEXT("cluster", CreateRequest, cluster, JSON_FIELD_REQUIRED | JSON_FIELD_NAME, 255),
    TEXT("tenant", CreateRequest, tenant, JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 255),
    TEXT("hostname", CreateRequest, hostname, JSON_FIELD_REQUIRED, HOSTNAME_MAX),
    TEXT("image", CreateRequest, image, JSON_FIELD_NAME | JSON_FIELD_NULLABLE, 100),
    TEXT("ssh_user_ca", CreateRequest, ssh_user_ca, JSON_FIELD_REQUIRED, CA_MAX),
    {.name = "memory_bytes",
     .type = JSON_FIELD_INTEGER,
     .offset = offsetof(CreateRequest, memory_bytes),
     .flags = JSON_FIELD_NULLABLE,
     .minimum = 1,
     .maximum = INT64_MAX},
    {.name = "tasks",
     .type = JSON_FIELD_INTEGER,
     .offset = offsetof(CreateRequest, tasks),
     .flags = JSON_FIELD_NULLABLE,
     .minimum = 1,
     .maximum = 32768},
    {.name = "principals",
     .type = JSON_FIELD_OBJECT,
     .offset = offsetof(CreateRequest, principals),
     .flags = JSON_FIELD_REQUIRED},
    {0},
};

typedef struct Principals {
    json_t *root, *operator;
} Principals;
static const JsonField principals_fields[] = {
    {.name = "root",
     .type = JSON_FIELD_STRING_ARRAY,
     .offset = offsetof(Principals, root),
     .maximum = PRINCIPALS_MAX},
    {.name = "operator",
     .type = JSON_FIELD_STRING_ARRAY,
     .offset = offsetof(Principals, operator),
     .maximum = PRINCIPALS_MAX},
    {0},
};

/* sshd reads the file line by line and takes options before the name, so only plain words may come in. */
static int principals_text(const json_t *array, const char *field, char **ret_text, Error *error)
{
    size_t i;
    const json_t *item;
    _cleanup_buffer_ Buffer text = BUFFER_INIT;
    json_array_foreach (array, i, item) {
        const char *name = json_string_value(item);
        size_t length = strlen(name);
        bool is_plain = length > 0 && length <= PRINCIPAL_MAX && *name != '#';
        for (size_t k = 0; k < length; k++)
            is_plain = is_plain && name[k] > ' ' && name[k] < 0x7f && name[k] != ',' && name[k] != '"';
        if (!is_plain)
            return error_set_field(
                error, ERROR_BAD_FIELD, field,
                "a principal is 1 to %d printable characters without spaces, commas and quotes",
                PRINCIPAL_MAX);
        buffer_append_format(&text, "%s\n", name);
    }
    *ret_text = buffer_take_string(&text);
    return 0;
}

static int check_authority(const char *key, Error *error)
{
    static const char *const types[] = {"ssh-ed25519 AAAA", "ecdsa-sha2-nistp256 AAAA"};
    bool is_known = false;
    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        is_known = is_known || string_starts_with(key, types[i]);
    if (!is_known || string_has_control(key, strlen(key), NULL))
        return error_set_field(error, ERROR_BAD_FIELD, "ssh_user_ca",
                               "ssh_user_ca must be one public key line, ssh-ed25519 or ecdsa-sha2-nistp256");
    return 0;
}

static int check_limits(const Settings *settings, CreateRequest *request, Error *error)
{
    if (request->memory_bytes == 0)
        request->memory_bytes = (int64_t)settings->memory_default;
    if (request->tasks == 0)
        request->tasks = settings->tasks_default;
    if ((uint64_t)request->memory_bytes < settings->memory_minimum ||
        (uint64_t)request->memory_bytes > settings->memory_maximum)
        return error_set_field(
            error, ERROR_BAD_FIELD, "memory_bytes", "memory_bytes must be from %llu to %llu",
            (unsigned long long)settings->memory_minimum, (unsigned long long)settings->memory_maximum);
    if (request->tasks < 16 || request->tasks > settings->tasks_maximum)
        return error_set_field(error, ERROR_BAD_FIELD, "tasks", "tasks must be from 16 to %lld",
                               (long long)settings->tasks_maximum);
    return 0;
}

static void request_digest(const CreateRequest *request, const char *root, const char *operator,
                           char ret_digest[static 65])
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    _cleanup_free_ char *text =
        string_format("%s\n%s\n%s\n%s\n%lld\n%lld\n%s\n%s\n%s", request->cluster, request->tenant,
                      request->hostname, request->image, (long long)request->memory_bytes,
                      (long long)request->tasks, request->ssh_user_ca, root, operator);
    (void)crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    hex_encode(hash, sizeof(hash), ret_digest);
}

/* The host that an earlier create with this token made or is making. */
static int answer_repeated(Server *server, Connection *connection, Host *host, const char *digest,
                           json_t **ret_answer, Error *error)
{
    if (!string_equal(host->request_digest, digest))
        return error_set_field(error, ERROR_CONFLICT, "token", "this token made another host (%s)", host->id);
    switch (host->state) {
    case HOST_RUNNING:
        *ret_answer = host_to_json(server, host);
        return 0;
    case HOST_CREATING:
        connection->waits_for_host = host;
        return WAITS;
    case HOST_DEAD:
        return error_set(error, ERROR_CONFLICT, "host %s of this token has ended; delete it first", host->id);
    case HOST_DELETING:
    case _HOST_STATE_MAX:
    case _HOST_STATE_INVALID:
    default:
        return error_set(error, ERROR_CONFLICT, "host %s of this token is being deleted", host->id);
    }
}

static int add_host(Server *server, const CreateRequest *request, const Image *image, Host **ret_host,
                    Error *error)
{
    Host *host = NULL;
    bool grown = false;
    int r = state_add_host(&server->state, request->cluster, &host, &grown, error);
    if (r < 0)
        return r;
    host->token = string_duplicate(request->token);
    host->tenant = string_duplicate(request->tenant);
    host->hostname = string_duplicate(request->hostname);
    host->image = string_duplicate(request->image);
    host->image_root = string_duplicate(image->root);
    host->image_kind = image->kind;
    host->ssh_user_ca = string_duplicate(request->ssh_user_ca);
    host->limits =
        (CgroupLimits){.memory_bytes = (uint64_t)request->memory_bytes, .tasks = (uint64_t)request->tasks};
    host->state = HOST_CREATING;
    const NetworkCluster cluster = {.number = host->cluster->number,
                                    .blocks = host->cluster->blocks,
                                    .block_count = host->cluster->block_count};
    if (grown)
        r = network_add_cluster(&server->network, &cluster, error);
    if (r >= 0 && (r = state_save_host(&server->state, host)) < 0)
        error_set_errno(error, ERROR_IO, -r, "cannot record the host");
    if (r < 0) {
        Cluster *empty = NULL;
        state_remove_host(&server->state, host, &empty);
        if (empty) {
            (void)network_remove_cluster(&server->network, empty->number, NULL);
            state_remove_cluster(&server->state, empty);
        }
        return r;
    }
    string_map_set(server->state.tokens, host->token, host);
    *ret_host = host;
    return 0;
}

static int handle_create(Server *server, Connection *connection, json_t *request, json_t **ret_answer,
                         Error *error)
{
    CreateRequest create = {.image = server->settings->default_image};
    Principals principals = {0};
    _cleanup_free_ char *root = NULL, *operator= NULL;
    _cleanup_image_ Image image = {0};
    char digest[65];
    int r = json_dispatch(request, create_fields, &create, "", JSON_UNKNOWN_ERROR, NULL, error);
    if (r >= 0)
        r = json_dispatch(create.principals, principals_fields, &principals, "principals", JSON_UNKNOWN_ERROR,
                          NULL, error);
    if (r >= 0)
        r = principals_text(principals.root, "principals.root", &root, error);
    if (r >= 0)
        r = principals_text(principals.operator, "principals.operator", &operator, error);
    if (r >= 0)
        r = check_authority(create.ssh_user_ca, error);
    if (r >= 0)
        r = check_limits(server->settings, &create, error);
    if (r < 0)
        return r;
    if (!hostname_is_valid(create.hostname))
        return error_set_field(error, ERROR_BAD_FIELD, "hostname",
                               "hostname must be a DNS name of lower-case letters, digits and hyphens");
    request_digest(&create, root, operator, digest);
    Host *host = string_map_get(server->state.tokens, create.token);
    if (host)
        return answer_repeated(server, connection, host, digest, ret_answer, error);
    for (const Connection *c = server->connections; c; c = c->next)
        if (string_equal(c->waits_for_cluster, create.cluster))
            return error_set(error, ERROR_CONFLICT, "cluster %s is being deleted", create.cluster);
    r = image_find(server->settings, create.image, &image, error);
    if (r >= 0)
        r = add_host(server, &create, &image, &host, error);
    if (r < 0)
        return r;
    host->principals_root = TAKE_PTR(root);
    host->principals_operator = TAKE_PTR(operator);
    (void)string_copy(host->request_digest, sizeof(host->request_digest), digest);
    connection->waits_for_host = host;
    host_schedule(server, host);
    return WAITS;
}

typedef struct NamedRequest {
    const char *operation, *id, *cluster, *state, *after;
} NamedRequest;
static const JsonField id_fields[] = {TEXT("op", NamedRequest, operation, JSON_FIELD_REQUIRED, 32),
                                      TEXT("id", NamedRequest, id, JSON_FIELD_REQUIRED, ID_LENGTH),
                                      {0}};
static const JsonField cluster_fields[] = {
    TEXT("op", NamedRequest, operation, JSON_FIELD_REQUIRED, 32),
    TEXT("cluster", NamedRequest, cluster, JSON_FIELD_REQUIRED | JSON_FIELD_NAME, 255),
    {0}};
static const JsonField network_fields[] = {TEXT("op", NamedRequest, operation, JSON_FIELD_REQUIRED, 32),
                                           TEXT("id", NamedRequest, id, JSON_FIELD_REQUIRED, ID_LENGTH),
                                           TEXT("state", NamedRequest, state, JSON_FIELD_REQUIRED, 16),
                                           {0}};
static const JsonField list_fields[] = {
    TEXT("op", NamedRequest, operation, JSON_FIELD_REQUIRED, 32),
    TEXT("cluster", NamedRequest, cluster, JSON_FIELD_NAME | JSON_FIELD_NULLABLE, 255),
    TEXT("after", NamedRequest, after, JSON_FIELD_NULLABLE, ID_LENGTH),
    {0}};
static const JsonField plain_fields[] = {TEXT("op", NamedRequest, operation, JSON_FIELD_REQUIRED, 32), {0}};

static int dispatch(json_t *request, const JsonField *fields, NamedRequest *ret_request, Error *error)
{
    *ret_request = (NamedRequest){0};
    int r = json_dispatch(request, fields, ret_request, "", JSON_UNKNOWN_ERROR, NULL, error);
    if (r >= 0 && ret_request->id && !id_is_valid(ret_request->id))
        r = error_set_field(error, ERROR_BAD_FIELD, "id", "id is not one of a host");
    return r;
}

static int find_host(Server *server, const char *id, Host **ret_host, Error *error)
{
    *ret_host = string_map_get(server->state.hosts, id);
    return *ret_host ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no host %s", id);
}

static int handle_status(Server *server, Connection *connection, json_t *request, json_t **ret_answer,
                         Error *error)
{
    NamedRequest named;
    Host *host = NULL;
    uint64_t memory = 0, tasks = 0;
    int r = dispatch(request, id_fields, &named, error);
    if (r >= 0)
        r = find_host(server, named.id, &host, error);
    if (r < 0)
        return r;
    cgroups_usage(&server->cgroups, host->id, &memory, &tasks);
    *ret_answer = host_to_json(server, host);
    (void)json_object_set_new(*ret_answer, "memory_bytes",
                              json_integer((json_int_t)host->limits.memory_bytes));
    (void)json_object_set_new(*ret_answer, "memory_used", json_integer((json_int_t)memory));
    (void)json_object_set_new(*ret_answer, "tasks", json_integer((json_int_t)host->limits.tasks));
    (void)json_object_set_new(*ret_answer, "tasks_used", json_integer((json_int_t)tasks));
    (void)json_object_set_new(*ret_answer, "pid", json_integer(host->state == HOST_RUNNING ? host->pid : 0));
    return 0;
}

/* A page, so that an answer is one packet; `next` is what to give as `after`. */
static int handle_list(Server *server, Connection *connection, json_t *request, json_t **ret_answer,
                       Error *error)
{
    NamedRequest named;
    int r = dispatch(request, list_fields, &named, error);
    if (r < 0)
        return r;
    json_t *hosts = json_array();
    const char *next = NULL;
    bool is_past = !named.after;
    STRING_MAP_FOREACH (server->state.hosts, i) {
        const Host *host = i.value;
        char v4[ADDRESS_TEXT_SIZE];
        if (!is_past) {
            is_past = string_equal(host->id, named.after);
            continue;
        }
        if (named.cluster && !string_equal(named.cluster, host->cluster->name))
            continue;
        if (json_array_size(hosts) == LIST_PAGE) {
            next = json_string_value(json_object_get(json_array_get(hosts, LIST_PAGE - 1), "id"));
            break;
        }
        ipv4_format(host->ipv4, v4);
        (void)json_array_append_new(hosts, json_pack("{s:s,s:s,s:s,s:s,s:s}", "id", host->id, "hostname",
                                                     host->hostname, "cluster", host->cluster->name, "state",
                                                     host_state_name(host->state), "address_v4", v4));
    }
    *ret_answer = json_pack("{s:o,s:s?}", "hosts", hosts, "next", next);
    return 0;
}

static void start_delete(Server *server, Host *host)
{
    bool is_made_now = host->state == HOST_CREATING && host->has_worker; /* removed when its worker is done */
    Error gone = ERROR_INIT;
    (void)error_set(&gone, ERROR_CANCELLED, "the host was deleted while it was made");
    for (Connection *c = server->connections, *next; c && host->state == HOST_CREATING; c = next) {
        next = c->next;
        if (c->waits_for_host == host) {
            c->waits_for_host = NULL;
            connection_fail(c, &gone);
        }
    }
    if (host->state == HOST_DELETING && host->has_worker)
        return;
    host->state = HOST_DELETING;
    host->attempts = 0;
    if (!is_made_now)
        host_schedule(server, host);
}

static int handle_delete(Server *server, Connection *connection, json_t *request, json_t **ret_answer,
                         Error *error)
{
    NamedRequest named;
    int r = dispatch(request, id_fields, &named, error);
    if (r < 0)
        return r;
    Host *host = string_map_get(server->state.hosts, named.id);
    if (!host) {
        *ret_answer = json_pack("{s:s,s:b}", "id", named.id, "deleted", 1);
        return 0;
    }
    start_delete(server, host);
    connection->waits_for_host = host;
    return WAITS;
}

static int handle_delete_cluster(Server *server, Connection *connection, json_t *request, json_t **ret_answer,
                                 Error *error)
{
    NamedRequest named;
    int r = dispatch(request, cluster_fields, &named, error);
    if (r < 0)
        return r;
    if (!string_map_has(server->state.clusters, named.cluster)) {
        *ret_answer = json_pack("{s:s,s:b}", "cluster", named.cluster, "deleted", 1);
        return 0;
    }
    STRING_MAP_FOREACH (server->state.hosts, i) {
        Host *host = i.value;
        if (string_equal(host->cluster->name, named.cluster))
            start_delete(server, host);
    }
    connection->waits_for_cluster = string_duplicate(named.cluster);
    return WAITS;
}

static int handle_network(Server *server, Connection *connection, json_t *request, json_t **ret_answer,
                          Error *error)
{
    NamedRequest named;
    Host *host = NULL;
    int r = dispatch(request, network_fields, &named, error);
    if (r >= 0)
        r = find_host(server, named.id, &host, error);
    if (r < 0)
        return r;
    bool is_cut = string_equal(named.state, "cut");
    if (!is_cut && !string_equal(named.state, "restore"))
        return error_set_field(error, ERROR_BAD_FIELD, "state", "state must be cut or restore");
    if (host->state != HOST_RUNNING)
        return error_set(error, ERROR_CONFLICT, "host %s is %s", host->id, host_state_name(host->state));
    r = network_cut(&server->network, host->ipv4, is_cut, error);
    if (r < 0)
        return r;
    host->is_cut = is_cut;
    r = state_save_host(&server->state, host);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot record the host");
    *ret_answer = json_pack("{s:s,s:s}", "id", host->id, "network", is_cut ? "cut" : "up");
    return 0;
}

static int handle_images(Server *server, Connection *connection, json_t *request, json_t **ret_answer,
                         Error *error)
{
    NamedRequest named;
    int r = dispatch(request, plain_fields, &named, error);
    if (r < 0)
        return r;
    json_t *images = image_list(server->settings);
    size_t i;
    json_t *item;
    json_array_foreach (images, i, item)
        (void)json_object_del(item, "recipe"); /* long, and of no use here */
    *ret_answer = json_pack("{s:o,s:s}", "images", images, "default", server->settings->default_image);
    return 0;
}

static int handle_info(Server *server, Connection *connection, json_t *request, json_t **ret_answer,
                       Error *error)
{
    NamedRequest named;
    char prefix[ADDRESS_TEXT_SIZE];
    uint8_t site[16] = {0};
    const Settings *settings = server->settings;
    int r = dispatch(request, plain_fields, &named, error);
    if (r < 0)
        return r;
    memcpy(site, server->network.plan.ipv6_prefix, sizeof(server->network.plan.ipv6_prefix));
    ipv6_format(site, prefix);
    _cleanup_free_ char *pool_v6 = string_format("%s/48", prefix);
    *ret_answer =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:{s:I,s:I,s:I,s:I,s:I,s:I}}", "version", BASTIDE_VERSION,
                  "name", settings->name, "pool", settings->pool, "pool_v6", pool_v6, "uplink",
                  server->network.uplink, "hosts", (json_int_t)string_map_count(server->state.hosts),
                  "clusters", (json_int_t)string_map_count(server->state.clusters), "limits", "hosts",
                  (json_int_t)settings->hosts_total, "hosts_per_cluster",
                  (json_int_t)settings->hosts_per_cluster, "clusters", (json_int_t)settings->clusters_total,
                  "workers", (json_int_t)settings->workers, "memory_maximum",
                  (json_int_t)settings->memory_maximum, "tasks_maximum", (json_int_t)settings->tasks_maximum);
    return 0;
}

static const struct {
    const char *name;
    Handler handle;
} operations[] = {
    {"create", handle_create},
    {"status", handle_status},
    {"list", handle_list},
    {"delete", handle_delete},
    {"delete-cluster", handle_delete_cluster},
    {"network", handle_network},
    {"images", handle_images},
    {"info", handle_info},
};

static Handler find_handler(const char *name)
{
    for (size_t i = 0; name && i < ELEMENTSOF(operations); i++)
        if (string_equal(operations[i].name, name))
            return operations[i].handle;
    return NULL;
}

void request_handle(Server *server, Connection *connection, const char *packet, size_t size)
{
    Error error = ERROR_INIT;
    _cleanup_json_ json_t *request = NULL;
    json_t *answer = NULL;
    int r;
    if (!connection->is_allowed)
        r = error_set(&error, ERROR_FORBIDDEN, "only root and user %s may ask",
                      server->settings->socket_user);
    else
        r = json_parse(packet, size, PACKET_LIMIT, &request, &error);
    if (r >= 0) {
        Handler handle = find_handler(json_string_value(json_object_get(request, "op")));
        r = handle ? handle(server, connection, request, &answer, &error)
                   : error_set_field(&error, ERROR_BAD_FIELD, "op",
                                     "op must be one of create, status, list, delete, delete-cluster, "
                                     "network, images, info");
    }
    if (r < 0)
        connection_fail(connection, &error);
    else if (answer)
        connection_answer(connection, answer);
    /* else it waits; or it was answered while it waited */
}
