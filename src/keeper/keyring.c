/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/keyring.h"

#include <errno.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/aead.h"
#include "crypto/hash.h"

enum { CACHE_MAX = 1024 };

struct Keyring {
    Vault *vault;
    StringMap *keys; /* file name to Secret */
};

static void free_key(void *key)
{
    (void)secret_free(key);
}

Keyring *keyring_new(Vault *vault)
{
    Keyring *keyring = NEW(Keyring);

    keyring->vault = vault;
    keyring->keys = string_map_new(free_key);
    return keyring;
}

Keyring *keyring_free(Keyring *keyring)
{
    if (!keyring)
        return NULL;
    (void)string_map_free(keyring->keys);
    free(keyring);
    return NULL;
}

static int make_key(Keyring *keyring, const char *name, Secret **ret_key, Error *error)
{
    _cleanup_secret_ Secret *key = NULL;
    uint8_t bytes[AEAD_KEY_SIZE];
    int r;

    random_bytes(&system_random, bytes, sizeof(bytes));
    key = secret_new(bytes, sizeof(bytes));
    memory_wipe(bytes, sizeof(bytes));
    if (!key)
        return error_set(error, ERROR_INTERNAL, "no guarded memory for a data key");
    r = vault_write_secret(keyring->vault, name, key, error);
    if (r >= 0)
        *ret_key = TAKE_PTR(key);
    return r;
}

static int load_key(Keyring *keyring, const char *name, bool is_new_allowed, Secret **ret_key, Error *error)
{
    _cleanup_secret_ Secret *key = NULL;
    int r = vault_read(keyring->vault, name, AEAD_KEY_SIZE, &key, error);

    if (r == -ENOENT && is_new_allowed)
        return make_key(keyring, name, ret_key, error);
    if (r == -ENOENT)
        return error_set(error, ERROR_CRYPTO, "the tenant has no data key of this generation");
    if (r < 0)
        return r;
    if (secret_size(key) != AEAD_KEY_SIZE)
        return error_set(error, ERROR_CRYPTO, "%s has the wrong size", name);
    *ret_key = TAKE_PTR(key);
    return 0;
}

int keyring_get(Keyring *keyring, const char *tenant, uint32_t generation, bool is_new_allowed,
                const Secret **ret_key, Error *error)
{
    char hex[HASH_HEX_SIZE], name[HASH_HEX_SIZE + 32];
    Secret *key;
    int r;

    hash_sha256_hex(tenant, strlen(tenant), hex);
    (void)string_print(name, sizeof(name), "keyring/%s.%u", hex, generation);
    key = string_map_get(keyring->keys, name);
    if (key) {
        *ret_key = key;
        return 0;
    }
    r = load_key(keyring, name, is_new_allowed, &key, error);
    if (r < 0)
        return r;
    /* Bounded in the plainest way: beyond this many tenants the keys are read from the files again. */
    if (string_map_count(keyring->keys) >= CACHE_MAX) {
        (void)string_map_free(keyring->keys);
        keyring->keys = string_map_new(free_key);
    }
    string_map_set(keyring->keys, name, key);
    *ret_key = key;
    return 0;
}
