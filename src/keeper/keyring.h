/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The tenants' data keys. A key is made when a tenant first seals something in the present generation,
 * written to the vault (keyring/<SHA-256 of the tenant>.<generation>) before it is used, and kept in memory
 * afterwards. One thread. */

#include "base/error.h"
#include "base/secret.h"
#include "keeper/vault.h"

typedef struct Keyring Keyring;

Keyring *keyring_new(Vault *vault /* borrowed */);
Keyring *keyring_free(Keyring *keyring);
DEFINE_CLEANUP(Keyring, keyring_free);
/* The key, borrowed until the next call. ERROR_CRYPTO when there is none and is_new_allowed is false. */
int keyring_get(Keyring *keyring, const char *tenant, uint32_t generation, bool is_new_allowed,
                const Secret **ret_key, Error *error);
/* Destroys the keys of all generations before `oldest`. */
int keyring_retire(Keyring *keyring, uint32_t oldest, unsigned *ret_count, Error *error);
/* Destroys all keys of a tenant; values of generations up to `generation` never open again, also from copies
 * of the database. Can be repeated. */
int keyring_shred(Keyring *keyring, const char *tenant, uint32_t generation, unsigned *ret_count,
                  Error *error);
