/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/state.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"

enum { JOURNAL_LIMIT = 65536, JOURNAL_VERSION = 1 };

static const char *const state_names[_HOST_STATE_MAX] = {[HOST_CREATING] = "creating",
                                                         [HOST_RUNNING] = "running",
                                                         [HOST_DEAD] = "dead",
                                                         [HOST_DELETING] = "deleting"};

const char *host_state_name(HostState state)
{
    return state_names[state];
}

static HostState host_state_from_name(const char *name)
{
    for (unsigned i = 0; i < _HOST_STATE_MAX; i++)
        if (string_equal(name, state_names[i]))
            return (HostState)i;
    return _HOST_STATE_INVALID;
}

static void host_free(void *pointer)
{
    Host *host = pointer;
    free(host->token);
    free(host->tenant);
    free(host->hostname);
    free(host->image);
    free(host->image_root);
    free(host->ssh_user_ca);
    free(host->principals_root);
    free(host->principals_operator);
    if (host->pid_descriptor >= 0)
        (void)close(host->pid_descriptor);
    free(host);
}

static void host_free_pointer(Host **host)
{
    if (*host)
        host_free(*host);
}

static void cluster_free(void *pointer)
{
    Cluster *cluster = pointer;
    free(cluster->name);
    free(cluster->blocks);
    free(cluster);
}

char *state_host_directory(const State *state, const Host *host)
{
    return string_format("%s/hosts/%s", state->settings->state, host->id);
}

static json_t *cluster_blocks(const Cluster *cluster)
{
    json_t *blocks = json_array();
    for (size_t i = 0; i < cluster->block_count; i++)
        (void)json_array_append_new(blocks, json_integer(cluster->blocks[i]));
    return blocks;
}

int state_save_host(const State *state, const Host *host)
{
    _cleanup_free_ char *directory = state_host_directory(state, host);
    _cleanup_free_ char *path = path_join(directory, "host.json");
    int r = directory_make(directory, 0700);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *record = json_pack(
        "{s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:I,s:o,s:I,s:I,s:I,s:I,s:s,s:I,s:I,s:s,s:I,s:b}",
        "version", JOURNAL_VERSION, "boot", state->boot, "state", host_state_name(host->state), "id",
        host->id, "token", host->token, "tenant", host->tenant, "cluster", host->cluster->name, "hostname",
        host->hostname, "image", host->image, "image_root", host->image_root, "image_host_usr",
        host->image_kind == IMAGE_HOST_USR, "cluster_number", (json_int_t)host->cluster->number,
        "cluster_blocks", cluster_blocks(host->cluster), "ipv4", (json_int_t)host->ipv4, "slot",
        (json_int_t)host->slot, "memory", (json_int_t)host->limits.memory_bytes, "tasks",
        (json_int_t)host->limits.tasks, "request_digest", host->request_digest, "pid", (json_int_t)host->pid,
        "start_time", (json_int_t)host->start_time, "host_key", host->host_key, "created",
        (json_int_t)host->created, "cut", host->is_cut);
    if (!record)
        return -EINVAL;
    _cleanup_free_ char *text = json_to_text(record);
    return file_write_atomic(path, text, strlen(text), 0600);
}

static void mark_address(State *state, uint32_t ipv4, bool is_used)
{
    uint32_t offset = ipv4 - state->plan.pool;
    if (is_used)
        state->used[offset / 8] |= (uint8_t)(1U << (offset % 8));
    else
        state->used[offset / 8] &= (uint8_t) ~(1U << (offset % 8));
}

static bool address_is_used(const State *state, uint32_t ipv4)
{
    uint32_t offset = ipv4 - state->plan.pool;
    return state->used[offset / 8] & (1U << (offset % 8));
}

static void cluster_take_block(State *state, Cluster *cluster, uint32_t block)
{
    if (state->block_owners[block] == cluster)
        return;
    cluster->blocks =
        memory_resize_array(cluster->blocks, cluster->block_count + 1, sizeof(*cluster->blocks));
    cluster->blocks[cluster->block_count++] = block;
    state->block_owners[block] = cluster;
}

static int free_block(const State *state, uint32_t *ret_block)
{
    uint32_t count = plan_block_count(&state->plan);
    for (uint32_t block = 1; block < count; block++) /* 0 is the uplink's */
        if (!state->block_owners[block]) {
            *ret_block = block;
            return 0;
        }
    return -ENOSPC;
}

static Cluster *cluster_new(State *state, const char *name, uint32_t number)
{
    Cluster *cluster = NEW(Cluster);
    cluster->name = string_duplicate(name);
    cluster->number = number;
    cluster_take_block(state, cluster, number);
    string_map_set(state->clusters, name, cluster);
    return cluster;
}

static int free_address(const State *state, const Cluster *cluster, uint32_t *ret_ipv4)
{
    for (size_t i = 0; i < cluster->block_count; i++)
        for (uint32_t k = 0; k < plan_hosts_per_block(&state->plan); k++) {
            uint32_t ipv4 = plan_host_address(&state->plan, cluster->blocks[i], k);
            if (!address_is_used(state, ipv4)) {
                *ret_ipv4 = ipv4;
                return 0;
            }
        }
    return -ENOSPC;
}

static int free_slot(const State *state, uint32_t *ret_slot)
{
    for (uint32_t i = 0; i < (uint32_t)state->settings->hosts_total; i++)
        if (!state->slots[i]) {
            *ret_slot = i;
            return 0;
        }
    return -ENOSPC;
}

static void insert_host(State *state, Cluster *cluster, Host *host)
{
    host->cluster = cluster;
    cluster->host_count++;
    mark_address(state, host->ipv4, true);
    state->slots[host->slot] = 1;
    string_map_set(state->hosts, host->id, host);
}

int state_add_host(State *state, const char *cluster_name, Host **ret_host, bool *ret_grown, Error *error)
{
    const Settings *settings = state->settings;
    Cluster *cluster = string_map_get(state->clusters, cluster_name);
    uint32_t block = 0, ipv4 = 0, slot = 0;
    *ret_grown = false;
    if (free_slot(state, &slot) < 0)
        return error_set(error, ERROR_QUOTA, "this machine has its %lld sandbox hosts; delete some",
                         (long long)settings->hosts_total);
    if (cluster && cluster->host_count >= (size_t)settings->hosts_per_cluster)
        return error_set(error, ERROR_QUOTA, "a cluster may have %lld sandbox hosts",
                         (long long)settings->hosts_per_cluster);
    if (!cluster && string_map_count(state->clusters) >= (size_t)settings->clusters_total)
        return error_set(error, ERROR_QUOTA, "this machine has its %lld sandbox clusters; delete some",
                         (long long)settings->clusters_total);
    if (!cluster || free_address(state, cluster, &ipv4) < 0) {
        if (free_block(state, &block) < 0)
            return error_set(error, ERROR_QUOTA, "the address pool %s is used up", settings->pool);
        if (!cluster)
            cluster = cluster_new(state, cluster_name, block);
        cluster_take_block(state, cluster, block);
        *ret_grown = true;
        ASSERT(free_address(state, cluster, &ipv4) >= 0);
    }
    Host *host = NEW(Host);
    id_generate(&system_random, host->id);
    host->ipv4 = ipv4;
    host->slot = slot;
    host->pid_descriptor = -1;
    host->created = clock_realtime(&system_clock);
    insert_host(state, cluster, host);
    *ret_host = host;
    return 0;
}

void state_remove_host(State *state, Host *host, Cluster **ret_empty)
{
    Cluster *cluster = host->cluster;
    mark_address(state, host->ipv4, false);
    state->slots[host->slot] = 0;
    if (host->token && string_map_get(state->tokens, host->token) == host)
        (void)string_map_remove(state->tokens, host->token);
    (void)string_map_remove(state->hosts, host->id);
    *ret_empty = --cluster->host_count == 0 ? cluster : NULL;
}

void state_remove_cluster(State *state, Cluster *cluster)
{
    for (size_t i = 0; i < cluster->block_count; i++)
        state->block_owners[cluster->blocks[i]] = NULL;
    _cleanup_free_ char *name = string_duplicate(cluster->name);
    (void)string_map_remove(state->clusters, name);
}

typedef struct Record {
    const char *boot, *state, *id, *token, *tenant, *cluster, *hostname, *image, *image_root, *request_digest,
        *host_key;
    int64_t version, cluster_number, ipv4, slot, memory, tasks, pid, start_time, created;
    json_t *blocks;
    bool image_host_usr, cut;
} Record;

#define FIELD(name_, type_, member_)                                                                         \
    {                                                                                                        \
        .name = (name_), .type = (type_), .offset = offsetof(Record, member_), .flags = JSON_FIELD_REQUIRED  \
    }
#define NUMBER(name_, member_, maximum_)                                                                     \
    {                                                                                                        \
        .name = (name_), .type = JSON_FIELD_INTEGER, .offset = offsetof(Record, member_),                    \
        .flags = JSON_FIELD_REQUIRED, .maximum = (maximum_)                                                  \
    }
static const JsonField record_fields[] = {
    NUMBER("version", version, JOURNAL_VERSION),
    FIELD("boot", JSON_FIELD_STRING, boot),
    FIELD("state", JSON_FIELD_STRING, state),
    FIELD("id", JSON_FIELD_STRING, id),
    FIELD("token", JSON_FIELD_STRING, token),
    FIELD("tenant", JSON_FIELD_STRING, tenant),
    FIELD("cluster", JSON_FIELD_STRING, cluster),
    FIELD("hostname", JSON_FIELD_STRING, hostname),
    FIELD("image", JSON_FIELD_STRING, image),
    FIELD("image_root", JSON_FIELD_STRING, image_root),
    FIELD("image_host_usr", JSON_FIELD_BOOLEAN, image_host_usr),
    NUMBER("cluster_number", cluster_number, 65535),
    {.name = "cluster_blocks",
     .type = JSON_FIELD_ARRAY,
     .offset = offsetof(Record, blocks),
     .flags = JSON_FIELD_REQUIRED,
     .minimum = 1,
     .maximum = 1024},
    NUMBER("ipv4", ipv4, UINT32_MAX),
    NUMBER("slot", slot, 16384),
    NUMBER("memory", memory, INT64_MAX),
    NUMBER("tasks", tasks, 32768),
    FIELD("request_digest", JSON_FIELD_STRING, request_digest),
    NUMBER("pid", pid, INT32_MAX),
    NUMBER("start_time", start_time, INT64_MAX),
    FIELD("host_key", JSON_FIELD_STRING, host_key),
    NUMBER("created", created, INT64_MAX),
    FIELD("cut", JSON_FIELD_BOOLEAN, cut),
    {0},
};

static int take_blocks(State *state, Cluster *cluster, const json_t *blocks)
{
    size_t i;
    const json_t *item;
    json_array_foreach (blocks, i, item) {
        json_int_t block = json_integer_value(item);
        if (block < 1 || block >= plan_block_count(&state->plan) ||
            (state->block_owners[block] && state->block_owners[block] != cluster))
            return -EINVAL;
        cluster_take_block(state, cluster, (uint32_t)block);
    }
    return 0;
}

static int restore_host(State *state, const Record *record)
{
    HostState host_state = host_state_from_name(record->state);
    Cluster *cluster = string_map_get(state->clusters, record->cluster);
    uint32_t ipv4 = (uint32_t)record->ipv4, number = (uint32_t)record->cluster_number;
    if (host_state == _HOST_STATE_INVALID || !id_is_valid(record->id) || !plan_contains(&state->plan, ipv4) ||
        plan_index_of(&state->plan, ipv4) == UINT32_MAX || address_is_used(state, ipv4) ||
        record->slot >= state->settings->hosts_total || state->slots[record->slot] || number < 1 ||
        number >= plan_block_count(&state->plan) || string_map_has(state->hosts, record->id))
        return -EINVAL;
    if (!cluster && state->block_owners[number])
        return -EINVAL;
    if (!cluster)
        cluster = cluster_new(state, record->cluster, number);
    if (take_blocks(state, cluster, record->blocks) < 0 ||
        state->block_owners[plan_block_of(&state->plan, ipv4)] != cluster)
        return -EINVAL;
    _cleanup_(host_free_pointer) Host *host = NEW(Host);
    host->pid_descriptor = -1;
    if (string_copy(host->id, sizeof(host->id), record->id) < 0 ||
        string_copy(host->request_digest, sizeof(host->request_digest), record->request_digest) < 0 ||
        string_copy(host->host_key, sizeof(host->host_key), record->host_key) < 0)
        return -EINVAL;
    host->token = string_duplicate(record->token);
    host->tenant = string_duplicate(record->tenant);
    host->hostname = string_duplicate(record->hostname);
    host->image = string_duplicate(record->image);
    host->image_root = string_duplicate(record->image_root);
    host->image_kind = record->image_host_usr ? IMAGE_HOST_USR : IMAGE_TREE;
    host->state = host_state;
    host->ipv4 = ipv4;
    host->slot = (uint32_t)record->slot;
    host->limits = (CgroupLimits){.memory_bytes = (uint64_t)record->memory, .tasks = (uint64_t)record->tasks};
    host->pid = (pid_t)record->pid;
    host->start_time = (uint64_t)record->start_time;
    host->created = (Usec)record->created;
    host->is_cut = record->cut;
    if (host_state == HOST_CREATING)
        host->state = HOST_DELETING;
    uint64_t start_time = 0;
    bool is_alive = host->pid > 0 && string_equal(record->boot, state->boot);
    /* First the descriptor, then the check: a process that takes the number later cannot be meant any more.
     */
    if (is_alive)
        host->pid_descriptor = pidfd_open(host->pid, 0);
    if (host->pid_descriptor >= 0 &&
        (process_start_time(host->pid, &start_time) < 0 || start_time != host->start_time)) {
        (void)close(host->pid_descriptor);
        host->pid_descriptor = -1;
    }
    if (host->pid_descriptor < 0 && host->state == HOST_RUNNING)
        host->state = HOST_DEAD;
    string_map_set(state->tokens, host->token, host);
    insert_host(state, cluster, TAKE_PTR(host));
    return 0;
}

static int restore_file(State *state, const char *directory)
{
    _cleanup_free_ char *path = path_join(directory, "host.json"), *text = NULL;
    _cleanup_json_ json_t *value = NULL;
    size_t size = 0;
    Record record = {0};
    int r = file_read(path, JOURNAL_LIMIT, &text, &size);
    if (r >= 0)
        r = json_parse(text, size, JOURNAL_LIMIT, &value, NULL);
    if (r >= 0)
        r = json_dispatch(value, record_fields, &record, "", JSON_UNKNOWN_ERROR, NULL, NULL);
    return r < 0 ? r : restore_host(state, &record);
}

static int restore_all(State *state, Error *error)
{
    _cleanup_free_ char *hosts = path_join(state->settings->state, "hosts");
    int r = directory_make(hosts, 0700);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot make %s", hosts);
    DIR *directory = opendir(hosts);
    if (!directory)
        return error_set_errno(error, ERROR_IO, errno, "cannot read %s", hosts);
    const struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (entry->d_name[0] == '.')
            continue;
        _cleanup_free_ char *path = path_join(hosts, entry->d_name);
        r = restore_file(state, path);
        if (r < 0) {
            /* Made by a crash between directory and record, or damaged: its group and links are removed as
             * unknown ones. */
            log_warning("forgetting the damaged record of host %s", entry->d_name);
            (void)directory_remove(path);
        }
    }
    (void)closedir(directory);
    return 0;
}

/* A random unique local /48, made once. */
static int load_ipv6_prefix(State *state, Error *error)
{
    _cleanup_free_ char *path = path_join(state->settings->state, "ipv6-prefix"), *text = NULL;
    size_t size = 0, decoded = 0;
    uint8_t *prefix = state->plan.ipv6_prefix;
    int r = directory_make(state->settings->state, 0700);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot make %s", state->settings->state);
    r = file_read(path, 64, &text, &size);
    if (r >= 0) {
        text[strcspn(text, "\n")] = '\0';
        r = hex_decode(text, prefix, sizeof(state->plan.ipv6_prefix), &decoded);
        if (r >= 0 && decoded == sizeof(state->plan.ipv6_prefix) && prefix[0] == 0xfd)
            return 0;
        return error_set(error, ERROR_CONFIGURATION, "%s is damaged", path);
    }
    if (r != -ENOENT)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", path);
    char encoded[16];
    random_bytes(&system_random, prefix, sizeof(state->plan.ipv6_prefix));
    prefix[0] = 0xfd;
    hex_encode(prefix, sizeof(state->plan.ipv6_prefix), encoded);
    r = file_write_atomic(path, encoded, strlen(encoded), 0600);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write %s", path) : 0;
}

int state_open(const Settings *settings, State *ret_state, Error *error)
{
    *ret_state = (State){
        .settings = settings,
        .plan = {.pool = settings->pool_address,
                 .pool_prefix = settings->pool_prefix,
                 .block_prefix = (unsigned)settings->block_prefix},
        .hosts = string_map_new(host_free),
        .tokens = string_map_new(NULL),
        .clusters = string_map_new(cluster_free),
    };
    ret_state->block_owners = NEW_ARRAY(Cluster *, plan_block_count(&ret_state->plan));
    ret_state->used = NEW_ARRAY(uint8_t, ((size_t)1 << (32 - settings->pool_prefix)) / 8);
    ret_state->slots = NEW_ARRAY(uint8_t, (size_t)settings->hosts_total);
    _cleanup_free_ char *boot = NULL;
    size_t size = 0;
    int r = file_read("/proc/sys/kernel/random/boot_id", 64, &boot, &size);
    if (r >= 0) {
        boot[strcspn(boot, "\n")] = '\0';
        r = string_copy(ret_state->boot, sizeof(ret_state->boot), boot);
    }
    if (r < 0)
        error_set_errno(error, ERROR_INTERNAL, -r, "cannot read the boot id");
    if (r >= 0)
        r = load_ipv6_prefix(ret_state, error);
    if (r >= 0)
        r = restore_all(ret_state, error);
    if (r < 0)
        state_done(ret_state);
    return r;
}

void state_done(State *state)
{
    string_map_free(state->tokens);
    string_map_free(state->hosts);
    string_map_free(state->clusters);
    free(state->block_owners);
    free(state->used);
    free(state->slots);
    *state = (State){0};
}
