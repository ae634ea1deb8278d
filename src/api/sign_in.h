/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Signing in with a name, a password and, where the account has one, a code of the second factor. Whatever
 * was wrong, the answer is one and the same and comes after the same work: unknown, wrong, deactivated,
 * locked. Failures are counted by account, by name and by source; they lock the first, slow down the second
 * and stop the third. Pool threads: hashing takes its time, and the keeper is asked. */

#include "api/route.h"
#include "base/secret.h"

typedef struct SignIn {
    const char *username; /* afterwards in the directory's spelling, where it is of one */
    const Secret *password;
    const char *code; /* or NULL */
    /* Set when it succeeded: */
    bool has_second_factor; /* a code was asked for and right */
    bool must_change_password;
} SignIn;

/* Fills the principal of the call. ERROR_UNAUTHENTICATED; ERROR_SECOND_FACTOR when the password was right and
 * a code is missing or wrong; ERROR_RATE_LIMITED for a source that must wait. */
int sign_in(ApiCall *call, SignIn *sign_in, Error *error);

/* Somebody who is signed in showed a wrong password or code for a change that asks for one: it counts as a
 * failed sign-in. Gives the error back that was set. */
int sign_in_failed_inside(ApiCall *call, int result);
/* Whether it is the password of who is signed in. hash: as it is stored, "" for an account of the directory.
 */
bool sign_in_password_is_right(ApiCall *call, const char *hash, const Secret *password);
/* ERROR_FORBIDDEN while the account is locked. */
int sign_in_check_inside(StoreTransaction *transaction, int64_t locked_until, Error *error);
