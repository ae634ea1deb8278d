/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The keeper's directory: the master key, and files sealed under it. A sealed file is bound to its name
 * (associated data), so two of them cannot be exchanged. Everything is written beside, synced and renamed: a
 * file is there in whole or not at all. The master key lies in `master.key` either raw (0400) or wrapped by a
 * passphrase (Argon2id); then the vault is locked until vault_unlock. One process at a time (a lock file);
 * one thread. */

#include "base/error.h"
#include "base/secret.h"
#include "base/string.h"

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
/* The new master key lies beside the old one until every file is under it: begun once, then moved on in
 * steps, over any number of starts; in the meantime everything can be read and written. passphrase: of the
 * new key, NULL = raw. Begins nothing when a rotation is under way. */
int vault_rotation_begin(Vault *vault, const Secret *passphrase, Error *error);
bool vault_is_rotating(const Vault *vault);
/* Moves up to `maximum` files; ret_left: whether there are more to come. After the last one the old key is
 * destroyed. */
int vault_rotation_step(Vault *vault, unsigned maximum, bool *ret_left, Error *error);

/* Borrowed, while unlocked: what the escrow splits. */
const Secret *vault_master(const Vault *vault);
/* Whether this is the master key of the directory (it opens `state`), also while the vault is locked. */
int vault_check_master(Vault *vault, const Secret *master, Error *error);
/* Writes the master key anew after it was lost, or its passphrase; the vault is locked and the key was
 * checked. */
int vault_restore_master(Vault *vault, const Secret *master, const Secret *passphrase, Error *error);
/* Forgets the master key. */
void vault_lock(Vault *vault);

/* name: relative, e.g. "signing/head.0"; directories below the vault are made as needed. */
int vault_write(Vault *vault, const char *name, const void *data, size_t size, Error *error);
int vault_write_secret(Vault *vault, const char *name, const Secret *secret, Error *error);
/* -ENOENT (without setting the error) when there is no such file. ERROR_CRYPTO when it was changed. */
int vault_read(Vault *vault, const char *name, size_t limit, Secret **ret_content, Error *error);
bool vault_exists(const Vault *vault, const char *name);
int vault_remove(Vault *vault, const char *name, Error *error);
/* Overwrites it, then removes it; -ENOENT as vault_remove. */
int vault_destroy(Vault *vault, const char *name, Error *error);
/* The files directly below a directory of the vault, sorted, without half-written ones; none when it is not
 * there. */
int vault_list(Vault *vault, const char *directory, StringList *names, Error *error);
/* Owned absolute path. */
char *vault_path(const Vault *vault, const char *name);
