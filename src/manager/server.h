/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* `bastide-manager run`: the listeners, the API, and their life. As the manager's user, on the main thread.
 */

#include "manager/manager_config.h"

int server_run(const ManagerConfig *config, Error *error);
