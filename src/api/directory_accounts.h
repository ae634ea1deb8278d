/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Accounts that a directory vouches for: a row without a password, made at the first sign-in, and membership
 * of the groups that have an ldap_group_dn. The row holds to one entry of the directory; another entry that
 * gets the name later is somebody else. What the directory says counts again at every sign-in and at
 * intervals. */

#include "api/route.h"
#include "directory/directory.h"

typedef struct DirectorySync DirectorySync;

/* In a write job: makes the account or brings it up to date. 1 = it may be used as far as the directory is
 * concerned; 0 = it may not, for the reason that is given for the log. */
int directory_account_store(StoreTransaction *transaction, const DirectorySettings *settings,
                            const DirectoryAccount *account, const char **ret_reason, Error *error);
/* In a write job: the account, its sessions and tokens end until the directory has it again. */
int directory_account_withdraw(StoreTransaction *transaction, const char *username, const char *reason,
                               Error *error);

/* Looks at all such accounts now and then; without a directory it ends what they still have. Loop's thread,
 * not from a job. */
int directory_sync_start(Api *api, Error *error);
void directory_sync_stop(Api *api);
