/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The manager's configuration file, $prefix/etc/manager.conf. Main thread. */

#include <sys/types.h>

#include "base/config.h"
#include "base/string.h"
#include "directory/directory.h"
#include "directory/kerberos.h"

typedef struct ManagerConfig {
    char *database_password; /* where it is, never itself; NULL = none */
    char *directory, *user, *database, *keeper_socket, *admin_socket, *log_level, *log_format;
    char *external_address, *internal_address;
    int64_t external_port, internal_port;
    char *rest_certificate, *rest_key, *external_ca_certificate; /* paths; NULL = not given */
    char *internal_certificate, *internal_key, *ca_certificate;
    StringList management_addresses; /* names and addresses in the certificates, beside the loopback */
    int64_t lease_ms, heartbeat_ms, readers, drain_ms;
    char *organisation;
    char *audit_file, *audit_when_unreachable;
    int64_t audit_unreachable_after_ms;
    DirectorySettings ldap;
    KerberosSettings kerberos;
    char *proxy_address, *proxy_client_ca, *proxy_user_header;
    int64_t proxy_port;
    StringList proxy_names, proxy_local_accounts;
    uid_t uid; /* resolved */
    gid_t gid;
} ManagerConfig;

extern const ConfigKey manager_config_keys[];

int manager_config_load(const char *path, ManagerConfig *config, Error *error);
/* The same, but a password in the clear is no reason to stop: it is about to be sealed. */
int manager_config_load_for_sealing(const char *path, ManagerConfig *config, Error *error);
void manager_config_done(ManagerConfig *config);
/* Becomes the configured user when started as root; refuses to go on as root. */
int manager_become_user(const ManagerConfig *config, Error *error);
/* Owned path below the directory. */
char *manager_path(const ManagerConfig *config, const char *name);
