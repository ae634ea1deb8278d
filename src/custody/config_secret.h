/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Passwords that a configuration file needs: the file says where one is, never what it is (SV1).
 *
 *   sealed:BASE64     opened by the keeper; the context is the setting's name, so it fits in no other place
 *   file:/PATH        a file of mode 0600 of this user or root; its first line
 *   credential:NAME   of the service manager, below $CREDENTIALS_DIRECTORY
 *
 * Everything else is refused with the command that makes the first of these. Any thread; blocking. */

#include "base/buffer.h"
#include "base/secret.h"
#include "custody/keeper_client.h"

enum { CONFIG_SECRET_MAX = 4096 };

/* Whether the value is of one of the forms. setting: "database.password"; the value is never quoted. */
int config_secret_check(const char *value, const char *setting, Error *error);
/* keeper_socket: for sealed values. */
int config_secret_read(const char *value, const char *setting, const char *keeper_socket, Secret **ret_secret,
                       Error *error);
/* "sealed:…", appended. */
int config_secret_seal(KeeperClient *keeper, const char *setting, const Secret *plain, Buffer *ret_value,
                       Error *error);
