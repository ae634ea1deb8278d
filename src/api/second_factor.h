/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The second factor of accounts: codes by time, whose key the keeper has sealed, and recovery codes, of which
 * only hashes are stored. A code is spent in the transaction that accepts it, so it counts once. */

#include "api/route.h"
#include "crypto/totp.h"

typedef struct SecondFactorState {
    bool exists, is_confirmed;
    int64_t version;
    Buffer sealed_key;
} SecondFactorState;

/* What was shown, checked but not yet spent. */
typedef struct SecondFactorProof {
    bool has_step, has_recovery_code;
    int64_t step;
    uint8_t recovery_hash[HASH_SIZE];
} SecondFactorProof;

/* In a job, which may run again. */
int second_factor_load(StoreTransaction *transaction, const char *username, SecondFactorState *state,
                       Error *error);
void second_factor_state_done(SecondFactorState *state);
#define _cleanup_second_factor_ _cleanup_(second_factor_state_done)

/* On a pool thread: 1 when the code is one of now, or looks like a recovery code, 0 when it is wrong. */
int second_factor_check(ApiCall *call, const char *username, const SecondFactorState *state, const char *code,
                        SecondFactorProof *ret_proof, Error *error);
/* In a write job: 0 when it was used before, or no such recovery code is left; 1 otherwise, also when there
 * is nothing to spend. */
int second_factor_spend(StoreTransaction *transaction, const char *username, const SecondFactorProof *proof,
                        Error *error);
