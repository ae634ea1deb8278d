/* SPDX-License-Identifier: Apache-2.0 */
/* Another master key for the same files.
 *
 * Theory of operation: two files begin a rotation. `master.key.next` is what `master.key` will be;
 * `master.next` is the new key sealed under the old one, so that whoever can unlock the vault knows both.
 * From then on every write goes under the new key and a read tries both; the steps rewrite what still lies
 * under the old one. At the end one rename puts `master.key.next` in the place of `master.key`, which is the
 * moment when the old key is gone; `master.next`, which the old key alone could open, is removed after it. A
 * stop between any two of these leaves a state that the next unlocking recognises. */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "keeper/vault-internal.h"

static const char next_name[] = "master.next";
static const char next_file_name[] = "master.key.next";
enum { DEPTH_MAX = 4, FILES_MAX = 1000000 };

static int write_next_file(Vault *vault, const Secret *next, const Secret *passphrase, Error *error)
{
    _cleanup_free_ char *path = vault_path(vault, next_file_name);
    uint8_t file[VAULT_MASTER_FILE_MAX];
    size_t size;
    int r = vault_master_encode(next, passphrase, file, &size, error);

    if (r < 0)
        return r;
    r = file_write_atomic(path, file, size, 0400);
    memory_wipe(file, sizeof(file));
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write the new master key") : 0;
}

int vault_rotation_begin(Vault *vault, const Secret *passphrase, Error *error)
{
    _cleanup_secret_ Secret *next = NULL;
    uint8_t bytes[AEAD_KEY_SIZE];
    int r;

    ASSERT(vault->master);
    if (vault->next)
        return 0;
    random_bytes(&system_random, bytes, sizeof(bytes));
    next = secret_new(bytes, sizeof(bytes));
    memory_wipe(bytes, sizeof(bytes));
    if (!next)
        return error_set(error, ERROR_INTERNAL, "no guarded memory for the new master key");
    /* Without `master.next` the first of the two files means nothing and is written anew. */
    r = write_next_file(vault, next, passphrase, error);
    if (r >= 0)
        r = vault_write_under(vault, vault->master, next_name, secret_bytes(next), secret_size(next), error);
    if (r >= 0)
        vault->next = TAKE_PTR(next);
    return r;
}

bool vault_is_rotating(const Vault *vault)
{
    return vault->next != NULL;
}

int vault_rotation_resume(Vault *vault, Error *error)
{
    int r;

    if (!vault_exists(vault, next_name))
        return 0;
    /* The rename was done: what is unlocked is the new key already. */
    if (!vault_exists(vault, next_file_name))
        return MIN(vault_remove(vault, next_name, error), 0);
    r = vault_read(vault, next_name, AEAD_KEY_SIZE, &vault->next, error);
    if (r >= 0 && secret_size(vault->next) != AEAD_KEY_SIZE)
        r = error_set(error, ERROR_CRYPTO, "%s has the wrong size", next_name);
    if (r < 0)
        vault->next = secret_free(vault->next);
    return r;
}

/* --- the files --- */

static bool is_sealed_file(const char *name)
{
    static const char *const others[] = {"lock", "log", vault_master_name, next_name, next_file_name};

    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        if (string_equal(name, others[i]))
            return false;
    return !string_starts_with(name, "log.");
}

static int collect(Vault *vault, const char *directory, unsigned depth, StringList *names)
{
    _cleanup_free_ char *path =
        *directory ? vault_path(vault, directory) : string_duplicate(vault->directory);
    DIR *stream = opendir(path);
    const struct dirent *entry;
    int r = 0;

    if (!stream)
        return errno == ENOENT ? 0 : -errno;
    while (r >= 0 && (errno = 0, entry = readdir(stream))) {
        _cleanup_free_ char *name = NULL;

        /* Half-written files have names that begin with a dot. */
        if (*entry->d_name == '.')
            continue;
        name = *directory ? path_join(directory, entry->d_name) : string_duplicate(entry->d_name);
        if (entry->d_type == DT_DIR)
            r = depth < DEPTH_MAX ? collect(vault, name, depth + 1, names) : 0;
        else if (names->count >= FILES_MAX)
            r = -E2BIG;
        else if (depth > 0 || is_sealed_file(name))
            string_list_append(names, name);
    }
    if (r >= 0 && errno != 0)
        r = -errno;
    (void)closedir(stream);
    return r;
}

int vault_list(Vault *vault, const char *directory, StringList *names, Error *error)
{
    int r = collect(vault, directory, DEPTH_MAX, names);

    string_list_sort(names);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot read the directory %s", directory) : 0;
}

/* 1 when it lay under the old key. */
static int move_file(Vault *vault, const char *name, Error *error)
{
    _cleanup_free_ char *path = vault_path(vault, name), *file = NULL;
    _cleanup_secret_ Secret *content = NULL;
    size_t size = 0;
    int r = file_read_private(path, geteuid(), VAULT_FILE_LIMIT, &file, &size);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", name);
    r = vault_open_under(vault->next, name, (const uint8_t *)file, size, &content);
    if (r >= 0)
        return 0;
    r = vault_open_under(vault->master, name, (const uint8_t *)file, size, &content);
    if (r < 0)
        return error_set(error, ERROR_CRYPTO, "%s was changed, or belongs to another master key", name);
    r = vault_write_under(vault, vault->next, name, secret_bytes(content), secret_size(content), error);
    return r < 0 ? r : 1;
}

static int finish(Vault *vault, Error *error)
{
    _cleanup_free_ char *from = vault_path(vault, next_file_name), *to = vault_path(vault, vault_master_name);
    int r;

    if (rename(from, to) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot put the new master key in its place");
    r = file_sync_parent(to);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot sync the new master key");
    (void)secret_free(vault->master);
    vault->master = TAKE_PTR(vault->next);
    free(vault->reached);
    vault->reached = NULL;
    r = vault_remove(vault, next_name, error);
    return r == -ENOENT ? 0 : r;
}

int vault_rotation_step(Vault *vault, unsigned maximum, bool *ret_left, Error *error)
{
    _cleanup_string_list_ StringList names = {0};
    unsigned moved = 0;
    int r = collect(vault, "", 0, &names);

    ASSERT(vault->next);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read the keeper's directory");
    string_list_sort(&names);
    for (size_t i = 0; i < names.count; i++) {
        if (vault->reached && strcmp(names.items[i], vault->reached) <= 0)
            continue;
        if (moved >= maximum) {
            *ret_left = true;
            return 0;
        }
        r = move_file(vault, names.items[i], error);
        if (r < 0)
            return r;
        moved += (unsigned)r;
        free(vault->reached);
        vault->reached = string_duplicate(names.items[i]);
    }
    *ret_left = false;
    return finish(vault, error);
}

/* --- escrow --- */

const Secret *vault_master(const Vault *vault)
{
    return vault->master;
}

int vault_check_master(Vault *vault, const Secret *master, Error *error)
{
    _cleanup_free_ char *path = vault_path(vault, "state"), *file = NULL;
    _cleanup_secret_ Secret *content = NULL;
    size_t size = 0;
    int r = file_read_private(path, geteuid(), VAULT_FILE_LIMIT, &file, &size);

    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read the keeper's state");
    r = vault_open_under(master, "state", (const uint8_t *)file, size, &content);
    return r < 0 ? error_set(error, ERROR_CRYPTO, "the shares give no key that opens this directory") : 0;
}

int vault_restore_master(Vault *vault, const Secret *master, const Secret *passphrase, Error *error)
{
    _cleanup_free_ char *path = vault_path(vault, vault_master_name);
    uint8_t file[VAULT_MASTER_FILE_MAX];
    size_t size;
    int r = vault_master_encode(master, passphrase, file, &size, error);

    if (r < 0)
        return r;
    r = file_write_atomic(path, file, size, 0400);
    memory_wipe(file, sizeof(file));
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write the master key") : 0;
}
