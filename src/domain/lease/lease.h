/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The rules of a cluster's lease: how far it may be prolonged, when its owner is warned, and when the clock
 * may be believed that it has ended. Pure; times are microseconds since 1970 unless they are called
 * monotonic. */

#include "base/clock.h"
#include "base/error.h"

typedef struct LeaseTerms {
    int64_t maximum, step; /* ms, of the template; 0 = unlimited, any */
} LeaseTerms;

/* Whether a lease may end at another time; 0 = never. ERROR_BAD_FIELD says which rule is in the way. */
int lease_check_prolong(const LeaseTerms *terms, int64_t created_at, int64_t expires_at, int64_t now,
                        int64_t wanted, Error *error);

/* 0 = no warning yet; 1 = less than a day is left, 2 = less than an hour. */
int64_t lease_warning_level(int64_t expires_at, int64_t now);

/* The wall clock against the monotonic one. After a jump of more than a minute nothing is ended for a while,
 * so that a wrong clock which is soon put right deletes nobody's cluster. */
typedef struct LeaseClock {
    bool is_known;
    int64_t offset;  /* wall minus monotonic, when last looked */
    Usec hold_until; /* monotonic */
} LeaseClock;

/* True when leases that have ended by the wall clock may be acted upon. */
bool lease_clock_observe(LeaseClock *clock, Usec wall, Usec monotonic);
