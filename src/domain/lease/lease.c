/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/lease/lease.h"

#include <errno.h>
#include <inttypes.h>

#include "base/macros.h"

static const int64_t HOUR = 3600 * (int64_t)USEC_PER_SEC;
static const int64_t DAY = 24 * 3600 * (int64_t)USEC_PER_SEC;
static const int64_t JUMP = 60 * (int64_t)USEC_PER_SEC;
static const Usec HOLD = 600 * USEC_PER_SEC;

int lease_check_prolong(const LeaseTerms *terms, int64_t created_at, int64_t expires_at, int64_t now,
                        int64_t wanted, Error *error)
{
    int64_t maximum = terms->maximum * (int64_t)USEC_PER_MSEC, step = terms->step * (int64_t)USEC_PER_MSEC;
    if (wanted == 0)
        return terms->maximum == 0 ? 0
                                   : error_set_field(error, ERROR_BAD_FIELD, "expires_at",
                                                     "The template allows no lease without an end.");
    if (wanted <= now)
        return error_set_field(error, ERROR_BAD_FIELD, "expires_at", "The lease would end in the past.");
    if (terms->maximum > 0 && wanted - created_at > maximum)
        return error_set_field(error, ERROR_BAD_FIELD, "expires_at",
                               "The template allows a life of at most %" PRId64 " s in all.",
                               terms->maximum / 1000);
    if (terms->step > 0 && expires_at > 0 && wanted - expires_at > step)
        return error_set_field(error, ERROR_BAD_FIELD, "expires_at",
                               "The template allows at most %" PRId64 " s more at a time.",
                               terms->step / 1000);
    return 0;
}

int64_t lease_warning_level(int64_t expires_at, int64_t now)
{
    if (expires_at == 0 || expires_at - now > DAY)
        return 0;
    return expires_at - now > HOUR ? 1 : 2;
}

bool lease_clock_observe(LeaseClock *clock, Usec wall, Usec monotonic)
{
    int64_t offset = (int64_t)wall - (int64_t)monotonic, moved = offset - clock->offset;
    if (clock->is_known && (moved > JUMP || moved < -JUMP))
        clock->hold_until = monotonic + HOLD;
    clock->is_known = true;
    clock->offset = offset;
    return monotonic >= clock->hold_until;
}
