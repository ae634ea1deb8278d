/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Signed heads of the audit trail. The keeper signs the head of each shard at start, at stop, every minute
 * and every thousand records; it never signs a lower one. So whoever cuts the trail, rewrites it or puts back
 * an older database has signatures against him: those kept with the records, and what the keeper remembers.
 *
 * When they do not fit the records, nothing is changed any more until root accepts the database as restored
 * (`bastide-manager accept-restore`), which begins a new epoch of the keeper and is a record itself. Reading
 * goes on. */

#include "api/api_internal.h"
#include "crypto/sign.h"

/* Compares what is there with the newest signatures, and signs. Blocks; before the API serves. */
void audit_heads_start(Api *api);
/* On the loop, now and then. */
void audit_heads_tick(Api *api);
/* Signs a last time; blocks. */
void audit_heads_stop(Api *api);
/* 0, or ERROR_UNAVAILABLE with the reason: then nothing may be changed. Any thread. */
int audit_heads_check(const Api *api, Error *error);
/* Of the last signature; 0 = none yet. */
Usec audit_heads_signed_at(const Api *api);
/* The key that signs; false while the keeper has not told it. */
bool audit_heads_key(const Api *api, uint8_t ret_key[static SIGN_PUBLIC_SIZE]);
/* After the keeper's new epoch: records it and signs. Blocks. */
int audit_heads_accept(Api *api, const char *reason, Error *error);

/* The signatures of a shard, all of them, against its records. ret_bad is the first record that may be wrong,
 * or 0. In a job. */
int audit_heads_verify(StoreTransaction *transaction, const uint8_t key[static SIGN_PUBLIC_SIZE],
                       int64_t shard, int64_t *ret_signed, int64_t *ret_bad, Error *error);
