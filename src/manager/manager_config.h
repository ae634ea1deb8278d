/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The manager's configuration file, $prefix/etc/manager.conf. Main thread. */

#include <sys/types.h>

#include "base/config.h"
#include "base/string.h"
#include "directory/directory.h"

typedef struct ManagerConfig {
    char *directory, *user, *database, *keeper_socket, *admin_socket, *log_level, *log_format;
    char *external_address, *internal_address;
    int64_t external_port, internal_port;
    StringList management_addresses; /* names and addresses in the certificates, beside the loopback */
    int64_t lease_ms, heartbeat_ms, readers, drain_ms;
    char *organisation;
    char *audit_file, *audit_when_unreachable;
    int64_t audit_unreachable_after_ms;
    DirectorySettings ldap;
    uid_t uid; /* resolved */
    gid_t gid;
} ManagerConfig;

extern const ConfigKey manager_config_keys[];

int manager_config_load(const char *path, ManagerConfig *config, Error *error);
void manager_config_done(ManagerConfig *config);
/* Becomes the configured user when started as root; refuses to go on as root. */
int manager_become_user(const ManagerConfig *config, Error *error);
/* Owned path below the directory. */
char *manager_path(const ManagerConfig *config, const char *name);
