/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The directory that people sign in with: an LDAP server or Active Directory (SV2). Search with an account of
 * our own, then bind as who was found. Servers are tried in order; one that failed is left alone for a
 * moment. Nothing secret is kept: the password of our own account is read from its file each time, those of
 * people live as long as the call. Blocking, with a deadline for each call and a limit of calls at a time:
 * pool threads. One object, any number of threads. */

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "base/string.h"
#include "directory/account_state.h"

/* The section [ldap] of the manager's configuration; owned by who read it. */
typedef struct DirectorySettings {
    StringList servers; /* none = no directory */
    char *ca_file, *bind_dn, *bind_password_file, *base_dn, *group_base_dn;
    char *user_filter, *username_attribute, *group_attribute, *group_filter, *nested_filter;
    int64_t nested_levels, server_timeout_ms, timeout_ms, sync_interval_ms, unverified_limit_ms;
    bool is_active_directory, requires_group;
} DirectorySettings;

enum { DIRECTORY_CALLS_MAX = 4 }; /* at a time */

typedef struct Directory Directory;

/* What the directory says about somebody; in the arena of the call. */
typedef struct DirectoryAccount {
    const char *username; /* in the directory's own spelling */
    const char *dn;
    const char *id;    /* stays when the entry is moved or renamed, and is never given again */
    StringList groups; /* names in their normal spelling (directory_name_normalise), nested ones too */
    AccountState state;
} DirectoryAccount;
void directory_account_done(DirectoryAccount *account);
#define _cleanup_directory_account_ _cleanup_(directory_account_done)

/* Checks and copies nothing: the settings must outlive it. Main thread, before others. ERROR_CONFIGURATION,
 * ERROR_INSECURE. */
int directory_new(const DirectorySettings *settings, const Clock *clock, Directory **ret_directory,
                  Error *error);
Directory *directory_free(Directory *directory);
DEFINE_CLEANUP(Directory, directory_free);
const DirectorySettings *directory_settings(const Directory *directory);

/* 1 when the name and the password are right and the account may be used; 0 when not, with the account's
 * username when there is such an entry; then *ret_reason says what was wrong, for the log alone. Negative
 * when no server gave an answer: ERROR_UNAVAILABLE, ERROR_TIMED_OUT, ERROR_TOO_LARGE; ERROR_BUSY when too
 * many calls wait. */
int directory_sign_in(Directory *directory, Arena *arena, const char *username, const Secret *password,
                      DirectoryAccount *ret_account, const char **ret_reason, Error *error);
/* The account of that name as it is now; 0 when there is none. */
int directory_look_up(Directory *directory, Arena *arena, const char *username, DirectoryAccount *ret_account,
                      Error *error);

typedef struct DirectoryServerStatus {
    const char *url;
    Usec tried_at, answered_at; /* wall clock; 0 = never */
    char problem[256];          /* of the last try; "" = none */
} DirectoryServerStatus;
/* index: from 0; false behind the last. */
bool directory_server_status(Directory *directory, size_t index, DirectoryServerStatus *ret_status);
