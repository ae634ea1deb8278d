/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* `bastide-manager doctor`: looks at this installation as an attacker or a careless administrator would leave
 * it, and names each weakness with the way out: modes of files, certificates, the database's role and
 * connections, clocks, limits, the keeper. Changes nothing. As root, so that it sees everything; it becomes
 * the manager's user before it asks the database. One thread.
 */

#include "manager/manager_config.h"

/* Prints a line a finding; *ret_findings counts them. */
int doctor_examine(ManagerConfig *config, const char *config_path, unsigned *ret_findings, Error *error);
