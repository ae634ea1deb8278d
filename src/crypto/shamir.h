/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shamir's secret sharing over GF(2^8) (the field of AES, polynomial 0x11b): any `threshold` of `count`
 * shares give the secret back, fewer tell nothing about it. Field arithmetic takes the same time for all
 * values and reads no table. Integrity is the caller's business: wrong shares give a wrong secret. Any
 * thread; no state. */

#include "base/clock.h"

enum { SHAMIR_SHARES_MAX = 16, SHAMIR_SECRET_MAX = 64 };

/* Share i (from 0) is that of the point i + 1; each has `size` bytes, one after the other. -EINVAL for a
 * threshold below 2 or above the count, or sizes beyond the limits. */
int shamir_split(const uint8_t *secret, size_t size, unsigned threshold, unsigned count, Random *random,
                 uint8_t *ret_shares);
/* points: 1 to 255, each once (-EINVAL). */
int shamir_combine(const uint8_t *points, const uint8_t *const *shares, unsigned count, size_t size,
                   uint8_t *ret_secret);
/* The field, for the tests. */
uint8_t shamir_multiply(uint8_t a, uint8_t b);
uint8_t shamir_invert(uint8_t a);
