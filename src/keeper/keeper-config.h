/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The keeper's configuration file, `$prefix/etc/keeper.conf`. Main thread. */

#include <sys/types.h>

#include "base/config.h"
#include "base/log.h"

typedef struct KeeperConfig {
    char *directory, *socket;
    char *user, *manager_user;
    char *passphrase_credential; /* NULL = none */
    char *lock_memory;           /* "required" or "attempt" */
    char *log_level, *log_format;
    /* resolved */
    uid_t uid, manager_uid;
    gid_t gid, manager_gid;
    bool is_lock_required;
} KeeperConfig;

extern const ConfigKey keeper_config_keys[];

/* Reads and checks the file, and looks the users up. */
int keeper_config_load(const char *path, bool may_be_absent, KeeperConfig *config, Error *error);
void keeper_config_done(KeeperConfig *config);
