/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The first process of a host: starts sshd and keeps it running, reaps orphans, ends the host on SIGTERM. It
 * has no file open but what it opens itself, and its memory is not readable inside (not dumpable, and it
 * belongs to the machine's user namespace). */

#include "base/macros.h"

/* Writes one byte to `ready` and closes it when sshd listens, then stays for ever. */
_noreturn_ void host_init_run(int ready);
