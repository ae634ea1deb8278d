/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* `bastide-manager init`: directories, certificates, database, first administrator. Safe to repeat: what is
 * there stays. */

#include "manager/manager_config.h"

int setup_initialise(const ManagerConfig *config, Error *error);
