/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What administrators hand to the keeper's verbs: passphrases and shares of the master key, from files or
 * standard input, never from the command line. Main thread of a verb. */

#include "base/error.h"
#include "base/secret.h"
#include "custody/keeper_protocol.h"

enum { PASSPHRASE_LIMIT = 1024 };

/* A file that only its owner can read, or standard input for "-". Without the line's end. */
int input_read_passphrase(const char *path, Secret **ret_passphrase, Error *error);
/* Shares, one a line, from a file or from standard input for "-"; added to those that are there, at most
 * KEEPER_SHARES_MAX. The caller wipes them. */
int input_read_shares(const char *path, uint8_t (*shares)[KEEPER_SHARE_SIZE], size_t *count, Error *error);
/* "bastide-share-1:…"; bytes of KEEPER_SHARE_SIZE, -EBADMSG for what is no share. */
int input_parse_share(const char *line, size_t length, uint8_t ret_bytes[static KEEPER_SHARE_SIZE]);
