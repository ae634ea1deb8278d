/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Making tokens and sessions, for the routes and for local administration. In write jobs. */

#include "base/secret.h"
#include "store/store.h"

#define TOKEN_PREFIX   "btk"
#define SESSION_PREFIX "bss"

typedef struct NewToken {
    const char *kind, *username;
    const char *tenant, *description; /* may be NULL */
    const char *scope;                /* JSON as stored; NULL = all that the owner may */
    const char *source;               /* address; NULL = none */
    int64_t expires_at, idle_limit;
    bool has_second_factor;
} NewToken;

/* kind "token" or "session". */
int token_create(StoreTransaction *transaction, Random *random, const NewToken *new_token,
                 char ret_id[static ID_SIZE], Secret **ret_token, Error *error);
