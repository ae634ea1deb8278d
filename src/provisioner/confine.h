/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the provisioner gives up for good before it talks to anybody (SV21): being root, gaining rights by
 * executing, being dumped or traced, executing programs at all, opening a port. Main thread, before others
 * start. */

#include "base/error.h"

/* user: whom to become when started as root; NULL = refuse to be root. */
int confine_self(const char *user, Error *error);
