/* SPDX-License-Identifier: Apache-2.0 */
/* Set-up, opening and closing of the keeper. */

#include <errno.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "keeper/keeper-internal.h"

enum { STATE_LIMIT = 4 + 64, GENERATION_MAX = 1000000 };

static const char state_name[] = "state", retired_name[] = "retired";
static const struct {
    const char *name;
    size_t offset;
} seeds[] = {
    {"signing/ed25519.key", offsetof(Keeper, signing)},
    {"ca/ssh-user.key", offsetof(Keeper, ssh_user)},
    {"ca/ssh-host.key", offsetof(Keeper, ssh_host)},
};

static Secret **seed_of(Keeper *keeper, size_t index)
{
    return (Secret **)(void *)((char *)keeper + seeds[index].offset);
}

static int write_state(Keeper *keeper, uint32_t generation, const char *organisation, Error *error)
{
    _cleanup_buffer_ Buffer state = BUFFER_INIT;
    int r = buffer_append_u32(&state, generation);

    if (r >= 0)
        r = buffer_append_string(&state, organisation);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "the state cannot be written");
    return vault_write(keeper->vault, state_name, state.data, state.size, error);
}

static int read_state(Keeper *keeper, Error *error)
{
    _cleanup_secret_ Secret *content = NULL;
    int r = vault_read(keeper->vault, state_name, STATE_LIMIT, &content, error);
    Reader reader;

    if (r == -ENOENT)
        return error_set(error, ERROR_CRYPTO, "the keeper's state is missing");
    if (r < 0)
        return r;
    reader = READER(secret_bytes(content), secret_size(content));
    if (reader_u32(&reader, &keeper->generation) < 0 || keeper->generation == 0 ||
        keeper->generation > GENERATION_MAX)
        return error_set(error, ERROR_CRYPTO, "the keeper's state is damaged");
    free(keeper->organisation);
    keeper->organisation =
        string_duplicate_n((const char *)secret_bytes(content) + 4, secret_size(content) - 4);
    return 0;
}

static int read_retired(Keeper *keeper, Error *error)
{
    _cleanup_secret_ Secret *content = NULL;
    int r = vault_read(keeper->vault, retired_name, 4, &content, error);
    Reader reader;

    keeper->retired = 0;
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    reader = READER(secret_bytes(content), secret_size(content));
    return reader_u32(&reader, &keeper->retired) < 0
               ? error_set(error, ERROR_CRYPTO, "the mark of retired keys is damaged")
               : 0;
}

static int load_seeds(Keeper *keeper, Error *error)
{
    for (size_t i = 0; i < ELEMENTSOF(seeds); i++) {
        Secret **seed = seed_of(keeper, i);
        int r;

        *seed = secret_free(*seed);
        r = vault_read(keeper->vault, seeds[i].name, SIGN_SEED_SIZE, seed, error);
        if (r == -ENOENT)
            return error_set(error, ERROR_CRYPTO, "%s is missing", seeds[i].name);
        if (r < 0)
            return r;
        if (secret_size(*seed) != SIGN_SEED_SIZE)
            return error_set(error, ERROR_CRYPTO, "%s has the wrong size", seeds[i].name);
    }
    return 0;
}

void keeper_close(Keeper *keeper)
{
    for (size_t i = 0; i < ELEMENTSOF(seeds); i++)
        *seed_of(keeper, i) = secret_free(*seed_of(keeper, i));
    keeper->authority = authority_free(keeper->authority);
    keeper->keyring = keyring_free(keeper->keyring);
    vault_lock(keeper->vault);
    keeper->generation = 0;
    if (keeper->state == KEEPER_STATE_OPEN)
        keeper->state = KEEPER_STATE_SEALED;
}

int keeper_open(Keeper *keeper, const Secret *passphrase, Error *error)
{
    int r = vault_unlock(keeper->vault, passphrase, error);

    if (r >= 0)
        r = read_state(keeper, error);
    if (r >= 0)
        r = read_retired(keeper, error);
    if (r >= 0)
        r = load_seeds(keeper, error);
    if (r >= 0)
        r = authority_load(keeper->vault, &keeper->authority, error);
    if (r < 0) {
        keeper_close(keeper);
        return r;
    }
    keeper->keyring = keyring_new(keeper->vault);
    keeper->state = KEEPER_STATE_OPEN;
    return 0;
}

int keeper_unseal(Keeper *keeper, const Secret *passphrase, Error *error)
{
    return keeper_open(keeper, passphrase, error);
}

/* What an interrupted set-up left. Data keys can only exist after `state` was written: with them, this is no
 * interrupted set-up but a damaged directory, and nothing may be thrown away. */
static int clear_leftovers(Keeper *keeper, Error *error)
{
    static const char *const names[] = {"ca", "signing", "provisioners", "master.key"};

    if (vault_exists(keeper->vault, "keyring"))
        return error_set(error, ERROR_CONFLICT,
                         "the directory has data keys but no state; it is damaged and left alone");
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        _cleanup_free_ char *path = vault_path(keeper->vault, names[i]);
        int r = directory_remove(path);

        if (r < 0 && unlink(path) < 0 && errno != ENOENT)
            return error_set_errno(error, ERROR_IO, errno, "cannot remove what an interrupted set-up left");
    }
    return 0;
}

static int make_seeds(Keeper *keeper, Error *error)
{
    for (size_t i = 0; i < ELEMENTSOF(seeds); i++) {
        _cleanup_secret_ Secret *seed = NULL;
        uint8_t public_key[SIGN_PUBLIC_SIZE];
        int r = sign_generate(&seed, public_key);

        if (r < 0)
            return error_set_errno(error, ERROR_CRYPTO, -r, "no key for %s", seeds[i].name);
        r = vault_write_secret(keeper->vault, seeds[i].name, seed, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_organisation(const char *organisation, Error *error)
{
    size_t length = strlen(organisation);

    if (length == 0 || length > 64 || string_has_control(organisation, length, NULL))
        return error_set_field(error, ERROR_BAD_FIELD, "organisation",
                               "the organisation must be 1 to 64 printable characters");
    return 0;
}

int keeper_initialise(Keeper *keeper, const char *organisation, const char *ca_certificate,
                      const Secret *ca_key, const Secret *passphrase, Error *error)
{
    int r;

    if (keeper->state != KEEPER_STATE_UNINITIALISED)
        return error_set(error, ERROR_CONFLICT, "the keeper is set up already");
    if (!ca_certificate != !ca_key)
        return error_set(error, ERROR_BAD_REQUEST,
                         "a CA certificate and its key are given together or not at all");
    r = check_organisation(organisation, error);
    if (r >= 0)
        r = clear_leftovers(keeper, error);
    if (r >= 0)
        r = vault_create_master(keeper->vault, passphrase, error);
    if (r >= 0)
        r = make_seeds(keeper, error);
    if (r >= 0)
        r = authority_create(keeper->vault, organisation, ca_certificate, ca_key,
                             clock_realtime(keeper->clock), error);
    if (r >= 0)
        r = write_state(keeper, 1, organisation, error);
    if (r >= 0) {
        keeper->state = KEEPER_STATE_SEALED;
        r = keeper_open(keeper, passphrase, error);
    }
    if (r < 0)
        vault_lock(keeper->vault);
    return r;
}

int keeper_import_ca(Keeper *keeper, const char *ca_certificate, const Secret *ca_key, Error *error)
{
    Authority *authority = NULL;
    int r = authority_create(keeper->vault, keeper->organisation, ca_certificate, ca_key,
                             clock_realtime(keeper->clock), error);

    if (r >= 0)
        r = authority_load(keeper->vault, &authority, error);
    if (r < 0)
        return r;
    (void)authority_free(keeper->authority);
    keeper->authority = authority;
    return 0;
}

int keeper_rotate(Keeper *keeper, Error *error)
{
    int r;

    if (keeper->generation >= GENERATION_MAX)
        return error_set(error, ERROR_QUOTA, "the data keys cannot be rotated further");
    r = write_state(keeper, keeper->generation + 1, keeper->organisation, error);
    if (r >= 0)
        keeper->generation++;
    return r;
}

int keeper_retire(Keeper *keeper, uint32_t oldest, unsigned *ret_count, Error *error)
{
    _cleanup_buffer_ Buffer mark = BUFFER_INIT;
    uint32_t retired = MAX(oldest, (uint32_t)1) - 1;
    int r = buffer_append_u32(&mark, MAX(retired, keeper->retired));

    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "the mark cannot be written");
    if (oldest > keeper->generation)
        return error_set_field(error, ERROR_BAD_FIELD, "generation", "the present generation stays");
    r = vault_write(keeper->vault, retired_name, mark.data, mark.size, error);
    if (r < 0)
        return r;
    keeper->retired = MAX(retired, keeper->retired);
    return keyring_retire(keeper->keyring, oldest, ret_count, error);
}

/* A new generation begins, so that a key which the tenant gets later is never one of those that are gone. */
int keeper_shred(Keeper *keeper, const char *tenant, unsigned *ret_count, Error *error)
{
    int r = keeper_rotate(keeper, error);

    return r < 0 ? r : keyring_shred(keeper->keyring, tenant, keeper->generation - 1, ret_count, error);
}

int keeper_new(const char *directory, const Clock *clock, Keeper **ret_keeper, Error *error)
{
    _cleanup_keeper_ Keeper *keeper = NEW(Keeper);
    _cleanup_free_ char *path = path_join(directory, "log");
    int r;

    keeper->clock = clock;
    r = vault_open(directory, &keeper->vault, error);
    if (r >= 0)
        r = journal_open(path, &keeper->journal, error);
    if (r < 0)
        return r;
    if (vault_exists(keeper->vault, state_name)) {
        keeper->state = KEEPER_STATE_SEALED;
        if (!vault_is_wrapped(keeper->vault)) {
            r = keeper_open(keeper, NULL, error);
            if (r < 0)
                return r;
        }
    }
    *ret_keeper = TAKE_PTR(keeper);
    return 0;
}

Keeper *keeper_free(Keeper *keeper)
{
    if (!keeper)
        return NULL;
    if (keeper->vault)
        keeper_close(keeper);
    (void)journal_free(keeper->journal);
    (void)vault_free(keeper->vault);
    free(keeper->organisation);
    free(keeper);
    return NULL;
}

KeeperState keeper_state(const Keeper *keeper)
{
    return keeper->state;
}

const char *keeper_trust(const Keeper *keeper)
{
    return keeper->authority ? authority_trust(keeper->authority) : NULL;
}
