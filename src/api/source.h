/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who is counted as one source: an IPv4 address, or the first four groups of an IPv6 address, because one who
 * holds a /64 has all addresses in it. Any thread. */

#include "base/macros.h"

enum { SOURCE_SIZE = 64 };

void source_of_address(const char *address, char ret_source[static SOURCE_SIZE]);
