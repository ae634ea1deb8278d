/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The secrets store (SE1 to SE4, SE7): keys with versions of a value. Values are sealed by the keeper (class
 * `user`) and never stand in a list, an event, a log or an audit record; a value that is read is recorded
 * first. A task gets one as an envelope for its provisioner, after the rights of the account that asked for
 * the run were looked at again. Handlers run on pool threads, the rest in jobs. */

#include "api/api_internal.h"

enum { SECRET_KEY_MAX = 255, SECRET_VALUE_MAX = 64 * 1024, SECRET_VERSIONS_MAX = 100 };

/* A secret as a task needs it. Strings and value in the arena. */
typedef struct StoredSecret {
    const char *tenant, *key, *context;
    int64_t version;
    StoreBlob value; /* sealed */
} StoredSecret;

/* Whether the account may use the secret now, and its present version. ERROR_BAD_REFERENCE, with the same
 * text, when there is none and when it may not. */
int secret_for_use(StoreTransaction *transaction, Arena *arena, const char *tenant, const char *username,
                   const char *key, StoredSecret *ret_secret, Error *error);

/* "sealed_values/secret/<key>/<version>"; owned. */
char *secret_context(const char *key, int64_t version);
/* Stores a value as a new version (the secret's row must be there or be made before); in a write job. */
int secret_put_version(ApiCall *call, const char *key, int64_t version, const Buffer *sealed, Error *error);
/* Makes the secret's row, its resource and version 1. */
typedef struct NewSecret {
    const char *key, *description;
    bool is_hidden, is_private;
    int64_t expires_at;
    const Buffer *sealed; /* of version 1 */
} NewSecret;
int secret_create(ApiCall *call, const NewSecret *secret, Error *error);
/* The caller may see the value of a hidden secret. call->object is the secret. */
bool secret_shows_hidden(const ApiCall *call);
int secret_check_key(const char *key, Error *error);
