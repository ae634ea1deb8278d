/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The keeper's directory: the master key, and files sealed under it. A sealed file is bound to its name
 * (associated data), so two of them cannot be exchanged. Everything is written beside, synced and renamed: a
 * file is there in whole or not at all. The master key lies in `master.key` either raw (0400) or wrapped by a
 * passphrase (Argon2id); then the vault is locked until vault_unlock. One process at a time (a lock file);
 * one thread. */

#include "base/error.h"
#include "base/secret.h"

typedef struct Vault Vault;

/* The directory must exist, belong to this user and be closed to all others. -EBUSY with an error when
 * another keeper has it. */
int vault_open(const char *directory, Vault **ret_vault, Error *error);
Vault *vault_free(Vault *vault);
DEFINE_CLEANUP(Vault, vault_free);
#define _cleanup_vault_ _cleanup_(vault_free_pointer)

bool vault_has_master(const Vault *vault);
bool vault_is_unlocked(const Vault *vault);
/* Makes the master key; passphrase NULL = raw. The vault is unlocked afterwards. */
int vault_create_master(Vault *vault, const Secret *passphrase, Error *error);
/* Raw: passphrase NULL. A wrapped key without a passphrase gives -ENOKEY with ERROR_SEALED. */
int vault_unlock(Vault *vault, const Secret *passphrase, Error *error);
bool vault_is_wrapped(const Vault *vault);
/* Forgets the master key. */
void vault_lock(Vault *vault);

/* name: relative, e.g. "signing/head.0"; directories below the vault are made as needed. */
int vault_write(Vault *vault, const char *name, const void *data, size_t size, Error *error);
int vault_write_secret(Vault *vault, const char *name, const Secret *secret, Error *error);
/* -ENOENT (without setting the error) when there is no such file. ERROR_CRYPTO when it was changed. */
int vault_read(Vault *vault, const char *name, size_t limit, Secret **ret_content, Error *error);
bool vault_exists(const Vault *vault, const char *name);
int vault_remove(Vault *vault, const char *name, Error *error);
/* Owned absolute path. */
char *vault_path(const Vault *vault, const char *name);
