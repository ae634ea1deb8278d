/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One-time codes by time (RFC 6238): six digits, steps of 30 seconds, HMAC-SHA-1, which is what every
 * authenticator program speaks. And recovery codes for the day it is lost: 80 random bits. Any thread. */

#include "base/clock.h"
#include "base/macros.h"
#include "base/secret.h"
#include "crypto/hash.h"

enum {
    TOTP_KEY_SIZE = 20,
    TOTP_CODE_LENGTH = 6,
    TOTP_KEY_TEXT_SIZE = 33, /* base32 with NUL */
    RECOVERY_CODE_SIZE = 20, /* "abcd-efgh-ijkl-mnop" with NUL */
};

Secret *totp_key_new(Random *random);
/* Base32 (RFC 4648) without padding, as the programs take it. */
void totp_key_text(const Secret *key, char ret_text[static TOTP_KEY_TEXT_SIZE]);
void totp_code(const Secret *key, int64_t step, char ret_code[static TOTP_CODE_LENGTH + 1]);
int64_t totp_step(Usec realtime);
/* Gives the step of the code when it is that of the present, the last or the next step; -EKEYREJECTED
 * otherwise. Whoever calls sees to it that a step is taken once. */
int totp_check(const Secret *key, const char *code, Usec realtime, int64_t *ret_step);

void recovery_code_new(Random *random, char ret_code[static RECOVERY_CODE_SIZE]);
/* The hash that is stored; any case, with or without hyphens. False when it has not the shape of one. */
bool recovery_code_hash(const char *username, const char *code, uint8_t ret_hash[static HASH_SIZE]);
