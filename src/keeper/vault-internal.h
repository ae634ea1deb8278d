/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the vault share. One thread, as the vault itself. */

#include "crypto/aead.h"
#include "keeper/vault.h"

struct Vault {
    char *directory;
    int lock; /* descriptor that holds the lock */
    Secret *master;
    Secret *next;  /* the master key to come, while a rotation is under way */
    char *reached; /* the last file that this process has moved to it; NULL = none yet */
};

enum {
    VAULT_FILE_HEADER_SIZE = 4 + AEAD_NONCE_SIZE,
    VAULT_FILE_LIMIT = 4 * 1024 * 1024,
    VAULT_MASTER_FILE_MAX = 256,
};

extern const char vault_file_magic[4];
extern const char vault_master_name[];

/* The content of a master key file: raw for passphrase NULL, otherwise wrapped. -EINVAL for a passphrase that
 * is too short (with an error). */
int vault_master_encode(const Secret *master, const Secret *passphrase, uint8_t *ret_file, size_t *ret_size,
                        Error *error);
/* As vault_write and vault_read, under the given key. -EBADMSG without an error for another key. */
int vault_write_under(Vault *vault, const Secret *key, const char *name, const void *data, size_t size,
                      Error *error);
int vault_open_under(const Secret *key, const char *name, const uint8_t *file, size_t size,
                     Secret **ret_content);
/* After the master key is known: takes up a rotation that was begun. */
int vault_rotation_resume(Vault *vault, Error *error);
