/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The daemon: event loop, connections, workers. One thread; whatever may block (making and removing hosts)
 * runs in worker processes that are forked without exec, so a host costs no start of a program. */

#include "base/error.h"
#include "sandbox/settings.h"

/* Runs until SIGTERM or SIGINT; hosts keep running. */
int server_run(const Settings *settings, Error *error);
/* Removes every host, link, mount, control group and record; refuses while the daemon runs. */
int server_purge(const Settings *settings, Error *error);
