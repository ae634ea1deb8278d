/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The database's password on its way to libpq: read where the configuration says, handed over as a password
 * file that exists in memory alone (an unnamed file of mode 0600 of this process), so that it stands in no
 * connection string, environment or directory. Main thread, once, as the manager's user. */

#include "manager/manager_config.h"

/* Adds the password file to config->database when there is a password. */
int database_password_apply(ManagerConfig *config, Error *error);
