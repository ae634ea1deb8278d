/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/settings.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "sandbox/addresses.h"

#define KEY(section_, key_, type_, member, default_, minimum_, maximum_, description_)                       \
    {                                                                                                        \
        .section = (section_), .key = (key_), .type = (type_), .offset = offsetof(Settings, member),         \
        .default_value = (default_), .minimum = (minimum_), .maximum = (maximum_),                           \
        .description = (description_)                                                                        \
    }

const ConfigKey settings_keys[] = {
    KEY("sandbox", "name", CONFIG_STRING, name, "bst", 0, 0,
        "short name of this installation, 1 to 6 of [a-z0-9]: prefix of its links, control groups and "
        "run-time paths"),
    KEY("sandbox", "socket", CONFIG_PATH, socket, BASTIDE_PREFIX "/run/sandbox.sock", 0, 0,
        "Unix socket for requests"),
    KEY("sandbox", "user", CONFIG_STRING, socket_user, "bastide-provisioner", 0, 0,
        "user that may send requests, beside root"),
    KEY("sandbox", "state", CONFIG_PATH, state, BASTIDE_PREFIX "/var/sandbox", 0, 0, "journal of the hosts"),
    KEY("sandbox", "images", CONFIG_PATH, images, BASTIDE_PREFIX "/var/sandbox/images", 0, 0, "image trees"),
    KEY("sandbox", "runtime", CONFIG_PATH, runtime, "/run/bastide-sandbox", 0, 0,
        "run-time directory; must not outlive a boot"),
    KEY("sandbox", "runner", CONFIG_PATH, runner, BASTIDE_PREFIX "/bin/bastide-runner", 0, 0,
        "static program bound read-only into every host"),
    KEY("network", "pool", CONFIG_STRING, pool, "10.214.0.0/16", 0, 0,
        "IPv4 pool of the hosts, /8 to /24; must not overlap a route of the machine"),
    KEY("network", "block_prefix", CONFIG_INTEGER, block_prefix, "26", 20, 29,
        "length of the prefix of one block; a cluster takes as many blocks as it needs"),
    KEY("network", "mtu", CONFIG_INTEGER, uplink_mtu, "1500", 1280, 65535, "MTU of all links"),
    KEY("hosts", "image", CONFIG_STRING, default_image, "debian12", 0, 0, "image when a request names none"),
    KEY("hosts", "storage", CONFIG_STRING, storage, "memory", 0, 0,
        "where changes to the root file system live: memory (counted as memory of the host) or disk"),
    KEY("hosts", "storage_size", CONFIG_BYTES, storage_bytes, "4G", 0, 0,
        "size limit of the changes when they live in memory; never more than half the memory of the host"),
    KEY("hosts", "memory_default", CONFIG_BYTES, memory_default, "512M", 0, 0,
        "memory limit when a request has none"),
    KEY("hosts", "memory_minimum", CONFIG_BYTES, memory_minimum, "32M", 0, 0,
        "least memory a request may ask for"),
    KEY("hosts", "memory_maximum", CONFIG_BYTES, memory_maximum, "16G", 0, 0,
        "most memory a request may ask for"),
    KEY("hosts", "tasks_default", CONFIG_INTEGER, tasks_default, "1024", 16, 32768,
        "task limit when a request has none"),
    KEY("hosts", "tasks_maximum", CONFIG_INTEGER, tasks_maximum, "8192", 16, 32768,
        "highest task limit a request may ask for"),
    KEY("hosts", "first_uid", CONFIG_INTEGER, first_uid, "536870912", 65536, 2000000000,
        "first user and group id of the range that hosts get 65,536 ids each from"),
    KEY("limits", "hosts_per_cluster", CONFIG_INTEGER, hosts_per_cluster, "1000", 1, 1000,
        "hosts of one cluster (a bridge takes 1,023 ports)"),
    KEY("limits", "hosts", CONFIG_INTEGER, hosts_total, "4000", 1, 16384, "hosts in all"),
    KEY("limits", "clusters", CONFIG_INTEGER, clusters_total, "512", 1, 16384, "clusters in all"),
    KEY("limits", "workers", CONFIG_INTEGER, workers, "24", 1, 128, "hosts made or removed at the same time"),
    KEY("limits", "connections", CONFIG_INTEGER, connections, "1200", 4, 4096, "open connections"),
    KEY("limits", "create_timeout", CONFIG_MILLISECONDS, create_timeout, "30s", 1000, 600000,
        "time to make one host"),
    KEY("image", "suite", CONFIG_STRING, suite, "bookworm", 0, 0, "Debian suite of built images"),
    KEY("image", "packages", CONFIG_LIST, packages,
        "openssh-server iproute2 nftables procps haproxy python3 python3-psycopg2 postgresql-15 openssl sudo "
        "ca-certificates iputils-ping",
        0, 0, "packages of built images, beside the minimal base"),
    KEY("image", "apt_sources", CONFIG_LIST, apt_sources, NULL, 0, 0,
        "apt source files; none = those of /etc/apt that name the suite"),
    {0},
};

static bool short_name_is_valid(const char *name, size_t maximum)
{
    size_t length = name ? strlen(name) : 0;
    if (length == 0 || length > maximum)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]))
            return false;
    return true;
}

static int settings_check(Settings *s, Error *error)
{
    if (!short_name_is_valid(s->name, 6))
        return error_set(error, ERROR_CONFIGURATION,
                         "[sandbox] name must be 1 to 6 characters of a-z and 0-9");
    if (addresses_parse_pool(s->pool, &s->pool_address, &s->pool_prefix) < 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "[network] pool must be an IPv4 network from /8 to /24, like 10.214.0.0/16");
    if ((unsigned)s->block_prefix < s->pool_prefix + 1 || (unsigned)s->block_prefix > s->pool_prefix + 16)
        return error_set(error, ERROR_CONFIGURATION,
                         "[network] block_prefix must be 1 to 16 bits longer than the pool's prefix");
    if (string_equal(s->storage, "disk"))
        s->is_disk_storage = true;
    else if (!string_equal(s->storage, "memory"))
        return error_set(error, ERROR_CONFIGURATION, "[hosts] storage must be memory or disk");
    if (!name_is_valid(s->default_image) || !name_is_valid(s->suite))
        return error_set(error, ERROR_CONFIGURATION, "[hosts] image and [image] suite must be plain names");
    if (s->memory_minimum > s->memory_default || s->memory_default > s->memory_maximum)
        return error_set(error, ERROR_CONFIGURATION,
                         "[hosts] memory_minimum, memory_default and memory_maximum must ascend");
    if (s->first_uid % 65536 != 0 || s->first_uid + s->hosts_total * 65536 > (int64_t)UINT32_MAX - 65536)
        return error_set(
            error, ERROR_CONFIGURATION,
            "[hosts] first_uid must be a multiple of 65536, and the range of all hosts must fit below 2^32");
    return 0;
}

int settings_load(const char *path, bool may_be_absent, Settings *ret_settings, Error *error)
{
    *ret_settings = (Settings){0};
    int r = config_load(path, may_be_absent, settings_keys, ret_settings, error);
    if (r >= 0)
        r = settings_check(ret_settings, error);
    if (r < 0)
        settings_done(ret_settings);
    return r;
}

void settings_done(Settings *settings)
{
    config_done(settings_keys, settings);
}
