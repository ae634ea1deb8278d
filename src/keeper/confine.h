/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the keeper gives up before it touches a key (SV21), in this order: core dumps and being traced, swap
 * (mlockall), root, all capabilities, new privileges, and every system call that it does not need. Main
 * thread, before others start. */

#include <sys/types.h>

#include "base/error.h"

/* No core, not dumpable, files made for the owner only. */
int confine_process(Error *error);
/* Locks present and future memory. As root it raises the limit first; where it cannot (no CAP_SYS_RESOURCE)
 * CAP_IPC_LOCK alone is kept over the change of user, because locking would otherwise end at the limit.
 * ret_keeps_capability says so. */
int confine_memory(bool is_required, bool *ret_keeps_capability, Error *error);
/* From root to the user; for a process that is not root, checks that it is that user already. Capabilities go
 * in both cases. */
int confine_user(uid_t uid, gid_t gid, bool keeps_lock_capability, Error *error);
/* Allow-list of system calls; anything else kills the process. Call after libraries were set up and sockets
 * opened. */
int confine_system_calls(Error *error);
