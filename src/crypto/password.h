/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Password hashing: Argon2id, 64 MiB, 3 passes, in libsodium's string form
 * ("$argon2id$v=19$m=65536,t=3,p=1$…"). Every call takes some 100 ms of CPU and 64 MiB: call it from a small
 * pool of threads, never from an event loop. */

#include "base/clock.h"
#include "base/macros.h"
#include "base/secret.h"

enum { PASSWORD_HASH_SIZE = 128, PASSWORD_LENGTH_MAX = 1024, PASSWORD_GENERATED_LENGTH = 24 };

/* -E2BIG for a password above PASSWORD_LENGTH_MAX bytes, -ENOMEM. */
int password_hash(const Secret *password, char ret_hash[static PASSWORD_HASH_SIZE]);
/* 0, or -EKEYREJECTED when it does not match. The hash may be NULL or malformed (an account that does not
 * exist): the same work is then done against a constant, so that the time taken does not tell which accounts
 * exist. */
int password_verify(const char *hash, const Secret *password);
/* True for a hash of other parameters than today's, or a malformed one. */
bool password_needs_rehash(const char *hash);
/* A one-time password; NULL without memory. */
Secret *password_generate(Random *random);
