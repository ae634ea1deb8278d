/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How often signing in has failed lately, by name (whether or not there is such an account) and by source
 * address: in memory, of a fixed size, so that no flood of names makes it grow. What is remembered longest
 * ago gives way. Locks of accounts are in the database beside it; what is here slows down and stops sources.
 * Any thread. */

#include "base/clock.h"
#include "base/macros.h"

typedef struct SignInGuard SignInGuard;

SignInGuard *sign_in_guard_new(Random *random);
SignInGuard *sign_in_guard_free(SignInGuard *guard);

/* How long the source must still wait (monotonic now); 0 = it need not. */
Usec sign_in_guard_wait(SignInGuard *guard, const char *source, unsigned maximum, Usec lock, Usec now);
/* Counts a failure of both; the time by which its answer is held back, which doubles with each of a name. */
Usec sign_in_guard_failed(SignInGuard *guard, const char *source, const char *username, Usec memory,
                          Usec now);
/* The name starts anew; its source does not: one good account must not pay for guesses about others. */
void sign_in_guard_succeeded(SignInGuard *guard, const char *username);
