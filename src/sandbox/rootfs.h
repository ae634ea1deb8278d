/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The root file system of a host. Runs in the host's first process while that still is root of the machine,
 * but in a mount namespace of its own. That namespace stays owned by the machine's user namespace, so that
 * nobody inside the host ever has the right to mount, whatever capabilities he gets hold of. */

#include "base/error.h"
#include "sandbox/host.h"

/* `user_namespace`: descriptor, for shifting the ids of the image. The network namespace must be entered
 * already (sysfs shows that one). Ends with the host's root as "/". */
int rootfs_enter(const HostSpec *spec, int user_namespace, const char *host_key_pem, size_t host_key_size,
                 Error *error);
