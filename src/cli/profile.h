/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where one is signed in: the file profiles.json in ~/.config/bastide (or $XDG_CONFIG_HOME/bastide), mode
 * 0600 in a directory of mode 0700. A profile has the manager's URL, the CA that vouches for it (a copy
 * beside the file), account, tenant and a token; never a password. Files that others can read are refused.
 * Main thread. */

#include "base/error.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/string.h"

typedef struct Profiles Profiles;

typedef struct Profile { /* strings are owned; NULL = not set */
    char *name, *url, *user, *tenant, *ca_file, *token_id, *expires_at;
    Secret *token;
} Profile;
void profile_done(Profile *profile);
#define _cleanup_profile_ _cleanup_(profile_done)

/* Of the directory (NULL = the person's own), which need not exist. */
int profiles_open(const char *directory, Profiles **ret_profiles, Error *error);
Profiles *profiles_free(Profiles *profiles);
DEFINE_CLEANUP(Profiles, profiles_free);
#define _cleanup_profiles_ _cleanup_(profiles_free_pointer)

const char *profiles_directory(const Profiles *profiles);
/* The chosen one: BASTIDE_PROFILE, else that of the file, else "default". */
const char *profiles_current(const Profiles *profiles);
void profiles_set_current(Profiles *profiles, const char *name);
/* All names; borrowed by the list's copies. */
void profiles_names(const Profiles *profiles, StringList *ret_names);
bool profiles_has(const Profiles *profiles, const char *name);
/* Gives an empty profile of that name when there is none. */
void profiles_get(const Profiles *profiles, const char *name, Profile *ret_profile);
void profiles_put(Profiles *profiles, const Profile *profile);
/* Also the copy of its CA certificate. */
bool profiles_remove(Profiles *profiles, const char *name);
int profiles_save(Profiles *profiles, Error *error);
/* Writes the CA certificate beside the file and names it in the profile. */
int profiles_store_ca(Profiles *profiles, Profile *profile, const char *pem, Error *error);
