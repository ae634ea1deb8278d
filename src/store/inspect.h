/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A look at a PostgreSQL server from outside, for the doctor (DS3): what the role may do beyond its need,
 * whether the server takes connections that it must not, whether the clocks agree. Opens connections of its
 * own and changes nothing. Blocking; any thread. */

#include "base/clock.h"
#include "base/error.h"

/* One line a finding, for people; never a password. */
typedef void (*StoreFinding)(void *context, const char *text);

/* location: as StoreSettings has it, of PostgreSQL. Negative when the server cannot be asked at all. */
int store_inspect(const char *location, const Clock *clock, StoreFinding found, void *context, Error *error);
