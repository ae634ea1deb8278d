/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/keyring.h"

#include <errno.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "custody/keeper_protocol.h"

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

static void forget_keys(Keyring *keyring)
{
    (void)string_map_free(keyring->keys);
    keyring->keys = string_map_new(free_key);
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

/* What shredding left: the last generation that is gone; 0 = none. */
static int read_mark(Keyring *keyring, const char *hex, uint32_t *ret_generation, Error *error)
{
    _cleanup_secret_ Secret *content = NULL;
    char name[HASH_HEX_SIZE + 32];
    Reader reader;
    int r;

    *ret_generation = 0;
    (void)string_print(name, sizeof(name), "shredded/%s", hex);
    r = vault_read(keyring->vault, name, 4, &content, error);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    reader = READER(secret_bytes(content), secret_size(content));
    return reader_u32(&reader, ret_generation) < 0 ? error_set(error, ERROR_CRYPTO, "%s is damaged", name)
                                                   : 0;
}

static int load_key(Keyring *keyring, const char *hex, uint32_t generation, bool is_new_allowed,
                    Secret **ret_key, Error *error)
{
    _cleanup_secret_ Secret *key = NULL;
    char name[HASH_HEX_SIZE + 32];
    uint32_t shredded = 0;
    int r = read_mark(keyring, hex, &shredded, error);

    if (r < 0)
        return r;
    if (generation <= shredded)
        return error_set(error, ERROR_CRYPTO, "the keys that the tenant had then were destroyed");
    (void)string_print(name, sizeof(name), "keyring/%s.%u", hex, generation);
    r = vault_read(keyring->vault, name, AEAD_KEY_SIZE, &key, error);
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
    r = load_key(keyring, hex, generation, is_new_allowed, &key, error);
    if (r < 0)
        return r;
    /* Bounded in the plainest way: beyond this many tenants the keys are read from the files again. */
    if (string_map_count(keyring->keys) >= CACHE_MAX)
        forget_keys(keyring);
    string_map_set(keyring->keys, name, key);
    *ret_key = key;
    return 0;
}

/* "<64 hexadecimal digits>.<generation>" */
static bool parse_name(const char *name, uint32_t *ret_generation)
{
    const char *dot = strrchr(name, '.');
    uint64_t generation;

    if (!dot || dot - name != HASH_HEX_SIZE - 1 || string_to_u64(dot + 1, UINT32_MAX, &generation) < 0)
        return false;
    *ret_generation = (uint32_t)generation;
    return true;
}

/* Destroys the key files of a tenant (hex NULL = of all) of generations before `limit`. */
static int destroy_keys(Keyring *keyring, const char *hex, uint32_t limit, unsigned *ret_count, Error *error)
{
    _cleanup_string_list_ StringList names = {0};
    char kept[HASH_HEX_SIZE];
    int r = vault_list(keyring->vault, "keyring", &names, error);

    hash_sha256_hex(KEEPER_TENANT_CONFIGURATION, strlen(KEEPER_TENANT_CONFIGURATION), kept);
    forget_keys(keyring);
    *ret_count = 0;
    for (size_t i = 0; r >= 0 && i < names.count; i++) {
        const char *name = names.items[i] + strlen("keyring/");
        uint32_t generation;

        if (!parse_name(name, &generation) || generation >= limit)
            continue;
        if (hex ? !string_starts_with(name, hex) : string_starts_with(name, kept))
            continue;
        r = vault_destroy(keyring->vault, names.items[i], error);
        *ret_count += r >= 0;
        r = r == -ENOENT ? 0 : r;
    }
    return r;
}

int keyring_retire(Keyring *keyring, uint32_t oldest, unsigned *ret_count, Error *error)
{
    return destroy_keys(keyring, NULL, oldest, ret_count, error);
}

int keyring_shred(Keyring *keyring, const char *tenant, uint32_t generation, unsigned *ret_count,
                  Error *error)
{
    _cleanup_buffer_ Buffer mark = BUFFER_INIT;
    char hex[HASH_HEX_SIZE], name[HASH_HEX_SIZE + 32];
    int r = buffer_append_u32(&mark, generation);

    hash_sha256_hex(tenant, strlen(tenant), hex);
    (void)string_print(name, sizeof(name), "shredded/%s", hex);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "the mark cannot be written");
    /* The mark first: from now on nothing opens, whatever happens to the files. */
    r = vault_write(keyring->vault, name, mark.data, mark.size, error);
    return r < 0 ? r : destroy_keys(keyring, hex, generation + 1, ret_count, error);
}
