/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How many requests a second a token, an account, a source and a tenant may make: token buckets in memory, of
 * a fixed number. A bucket holds what one second gives, so a short burst passes. What was used longest ago
 * gives way; it would have been full by then in any case. Any thread. */

#include "base/clock.h"
#include "base/macros.h"

typedef struct RateLimiter RateLimiter;

typedef enum RateKind { RATE_TOKEN, RATE_ACCOUNT, RATE_SOURCE, RATE_TENANT, _RATE_MAX } RateKind;

RateLimiter *rate_limiter_new(Random *random);
RateLimiter *rate_limiter_free(RateLimiter *limiter);
/* Takes one request out of the bucket: 0, or how long to wait for the next (monotonic now; rate a second). */
Usec rate_limiter_take(RateLimiter *limiter, RateKind kind, const void *key, size_t size, uint64_t rate,
                       Usec now);
