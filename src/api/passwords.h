/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Passwords of accounts: hashed, changed, reset. Pool threads, because hashing takes its time. */

#include "api/route.h"
#include "crypto/password.h"

int password_hash_text(const char *text, char ret_hash[static PASSWORD_HASH_SIZE], Error *error);
/* Until when a one-time password that is made now must have been changed. */
int64_t password_expiry(Api *api, int64_t now);
/* The account must choose another at its next sign-in; its tokens and sessions end. */
int password_set_for_other(ApiCall *call, const char *username, const char *password, Error *error);
