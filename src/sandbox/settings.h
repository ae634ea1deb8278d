/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The configuration of bastide-sandboxd (sandbox.conf): one table gives parser, defaults and documentation.
 * Main thread; the strings belong to the Settings until settings_done. */

#include <netinet/in.h>

#include "base/config.h"
#include "base/string.h"

typedef struct Settings {
    char *name;        /* of this installation: prefix of links, control groups and run-time paths */
    char *socket;      /* where requests come in */
    char *socket_user; /* who may ask beside root */
    char *state;       /* journal of hosts, IPv6 prefix, disk layers */
    char *images;      /* image trees */
    char *runtime; /* pinned network namespace, staging directory; on a file system that does not outlive a
                      boot */
    char *runner;  /* program bound into every host */
    char *pool;    /* IPv4 */
    char *storage; /* "memory" or "disk" */
    char *default_image;
    char *suite;
    StringList packages;
    StringList apt_sources;
    int64_t block_prefix, uplink_mtu;
    int64_t hosts_per_cluster, hosts_total, clusters_total, workers, connections;
    int64_t first_uid;
    int64_t create_timeout; /* milliseconds */
    uint64_t memory_default, memory_minimum, memory_maximum, storage_bytes;
    int64_t tasks_default, tasks_maximum;

    /* Worked out of `pool`. */
    uint32_t pool_address; /* host byte order */
    unsigned pool_prefix;
    bool is_disk_storage;
} Settings;

extern const ConfigKey settings_keys[];

/* Loads the file and checks what a table cannot say. */
int settings_load(const char *path, bool may_be_absent, Settings *ret_settings, Error *error);
void settings_done(Settings *settings);
#define _cleanup_settings_ _cleanup_(settings_done)
