/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whether an account of a directory may be used, from what its entry says: Active Directory, shadow
 * attributes, 389 Directory Server and FreeIPA, the password policy of OpenLDAP. An attribute that is there
 * and cannot be understood counts against the account. Pure. Any thread. */

#include "base/clock.h"

typedef enum AccountState {
    ACCOUNT_USABLE,
    ACCOUNT_DISABLED,
    ACCOUNT_EXPIRED,
    ACCOUNT_LOCKED,
    ACCOUNT_UNCLEAR, /* an attribute makes no sense */
    _ACCOUNT_STATE_MAX,
} AccountState;

/* Attributes that say something about it; NULL ends the list. */
extern const char *const account_state_attributes[];

/* What one value of one of these attributes means. */
AccountState account_state_of(const char *attribute, const char *value, Usec realtime);
const char *account_state_to_string(AccountState state); /* "disabled" */
