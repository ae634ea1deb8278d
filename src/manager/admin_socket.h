/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Administration on this machine: a Unix socket that answers root and the manager's own user. One JSON object
 * a line in, one out:
 * {"op":"token","username":"admin","life_seconds":900} -> {"value":"btk-…"}; {"op":"ping"} ->
 * {"version":"…"}. Loop thread; at most a few callers, each for one request. */

#include <systemd/sd-event.h>

#include "api/api.h"

typedef struct AdminSocket AdminSocket;
int admin_socket_new(sd_event *event, const char *path, Api *api, AdminSocket **ret_socket, Error *error);
AdminSocket *admin_socket_free(AdminSocket *socket);
DEFINE_CLEANUP(AdminSocket, admin_socket_free);

/* The other side, for `bastide-manager token`: owned answer line. */
int admin_socket_ask(const char *path, const char *request, char **ret_answer, Error *error);
