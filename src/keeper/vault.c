/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/aead.h"
#include "keeper/vault-internal.h"

enum {
    WRAP_SALT_SIZE = 16,
    WRAP_HEADER_SIZE = 4 + 4 + 4 + WRAP_SALT_SIZE,
    WRAP_SIZE = WRAP_HEADER_SIZE + AEAD_NONCE_SIZE + AEAD_KEY_SIZE + AEAD_TAG_SIZE,
    WRAP_PASSES = 4,
    WRAP_KIBIBYTES = 64 * 1024,
    WRAP_PASSES_MAX = 16,
    WRAP_KIBIBYTES_MAX = 1024 * 1024,
    PASSPHRASE_MINIMUM = 12,
};
_Static_assert(WRAP_SALT_SIZE == crypto_pwhash_SALTBYTES, "salt of Argon2id");
_Static_assert((int)WRAP_SIZE <= (int)VAULT_MASTER_FILE_MAX, "a master key file has room");

const char vault_file_magic[4] = {'B', 'S', 'F', '1'};
const char vault_master_name[] = "master.key";
static const char wrap_magic[4] = {'B', 'S', 'M', '1'};

char *vault_path(const Vault *vault, const char *name)
{
    return path_join(vault->directory, name);
}

static int check_directory(const char *directory, Error *error)
{
    struct stat status;

    if (lstat(directory, &status) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "cannot look at %s", directory);
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0)
        return error_set(error, ERROR_INSECURE, "%s must be a directory of the keeper's user with mode 0700",
                         directory);
    return 0;
}

int vault_open(const char *directory, Vault **ret_vault, Error *error)
{
    _cleanup_vault_ Vault *vault = NULL;
    _cleanup_free_ char *path = NULL;
    int r = check_directory(directory, error);

    if (r < 0)
        return r;
    vault = NEW(Vault);
    vault->directory = string_duplicate(directory);
    path = vault_path(vault, "lock");
    vault->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (vault->lock < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot open %s", path);
    if (flock(vault->lock, LOCK_EX | LOCK_NB) < 0)
        return error_set(error, ERROR_CONFLICT, "another keeper uses %s", directory);
    *ret_vault = TAKE_PTR(vault);
    return 0;
}

Vault *vault_free(Vault *vault)
{
    if (!vault)
        return NULL;
    vault_lock(vault);
    close_pointer(&vault->lock);
    free(vault->directory);
    free(vault);
    return NULL;
}

bool vault_exists(const Vault *vault, const char *name)
{
    _cleanup_free_ char *path = vault_path(vault, name);

    return access(path, F_OK) == 0;
}

bool vault_has_master(const Vault *vault)
{
    return vault_exists(vault, vault_master_name);
}

bool vault_is_unlocked(const Vault *vault)
{
    return vault->master != NULL;
}

void vault_lock(Vault *vault)
{
    vault->master = secret_free(vault->master);
    vault->next = secret_free(vault->next);
    free(vault->reached);
    vault->reached = NULL;
}

/* --- master key --- */

static uint32_t get_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void put_u32(uint8_t *bytes, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

static int derive(const Secret *passphrase, const uint8_t *header, uint8_t ret_key[static AEAD_KEY_SIZE])
{
    uint32_t passes = get_u32(header + 4), kibibytes = get_u32(header + 8);

    if (passes < 1 || passes > WRAP_PASSES_MAX || kibibytes < 8 || kibibytes > WRAP_KIBIBYTES_MAX)
        return -EBADMSG;
    if (crypto_pwhash(ret_key, AEAD_KEY_SIZE, (const char *)secret_bytes(passphrase), secret_size(passphrase),
                      header + 12, passes, (size_t)kibibytes * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return -ENOMEM;
    return 0;
}

static int wrap(const Secret *passphrase, const uint8_t *master, uint8_t ret_file[static WRAP_SIZE])
{
    uint8_t key[AEAD_KEY_SIZE], *nonce = ret_file + WRAP_HEADER_SIZE;
    int r;

    memcpy(ret_file, wrap_magic, sizeof(wrap_magic));
    put_u32(ret_file + 4, WRAP_PASSES);
    put_u32(ret_file + 8, WRAP_KIBIBYTES);
    random_bytes(&system_random, ret_file + 12, WRAP_SALT_SIZE);
    random_bytes(&system_random, nonce, AEAD_NONCE_SIZE);
    r = derive(passphrase, ret_file, key);
    if (r >= 0)
        r = aead_seal(key, nonce, ret_file, WRAP_HEADER_SIZE, master, AEAD_KEY_SIZE, nonce + AEAD_NONCE_SIZE);
    memory_wipe(key, sizeof(key));
    return r;
}

static int unwrap(const Secret *passphrase, const uint8_t *file, uint8_t ret_master[static AEAD_KEY_SIZE])
{
    const uint8_t *nonce = file + WRAP_HEADER_SIZE;
    uint8_t key[AEAD_KEY_SIZE];
    int r = derive(passphrase, file, key);

    if (r >= 0)
        r = aead_open(key, nonce, file, WRAP_HEADER_SIZE, nonce + AEAD_NONCE_SIZE,
                      AEAD_KEY_SIZE + AEAD_TAG_SIZE, ret_master);
    memory_wipe(key, sizeof(key));
    return r;
}

int vault_master_encode(const Secret *master, const Secret *passphrase, uint8_t *ret_file, size_t *ret_size,
                        Error *error)
{
    int r = 0;

    if (passphrase && secret_size(passphrase) < PASSPHRASE_MINIMUM)
        return error_set(error, ERROR_INSECURE, "a passphrase needs at least %d characters",
                         PASSPHRASE_MINIMUM);
    if (passphrase)
        r = wrap(passphrase, secret_bytes(master), ret_file);
    else
        memcpy(ret_file, secret_bytes(master), AEAD_KEY_SIZE);
    *ret_size = passphrase ? WRAP_SIZE : AEAD_KEY_SIZE;
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "cannot wrap the master key") : 0;
}

int vault_create_master(Vault *vault, const Secret *passphrase, Error *error)
{
    _cleanup_free_ char *path = vault_path(vault, vault_master_name);
    _cleanup_secret_ Secret *master = NULL;
    uint8_t bytes[AEAD_KEY_SIZE], file[VAULT_MASTER_FILE_MAX];
    size_t size;
    int r;

    random_bytes(&system_random, bytes, sizeof(bytes));
    master = secret_new(bytes, sizeof(bytes));
    memory_wipe(bytes, sizeof(bytes));
    if (!master)
        return error_set(error, ERROR_INTERNAL, "no guarded memory for the master key");
    r = vault_master_encode(master, passphrase, file, &size, error);
    if (r < 0)
        return r;
    r = file_write_new(path, file, size, 0400);
    memory_wipe(file, sizeof(file));
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot write the master key");
    vault->master = TAKE_PTR(master);
    return 0;
}

/* Owned content; wipe it. */
static int read_master_file(const Vault *vault, char **ret_content, size_t *ret_size, Error *error)
{
    _cleanup_free_ char *path = vault_path(vault, vault_master_name);
    int r = file_read_private(path, geteuid(), WRAP_SIZE, ret_content, ret_size);

    if (r == -EPERM)
        return error_set(error, ERROR_INSECURE,
                         "%s must be a plain file of the keeper's user, closed to all others", path);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot read the master key") : 0;
}

static bool is_wrapped(const char *content, size_t size)
{
    return size == WRAP_SIZE && memcmp(content, wrap_magic, sizeof(wrap_magic)) == 0;
}

bool vault_is_wrapped(const Vault *vault)
{
    char *content = NULL;
    size_t size = 0;
    bool result = read_master_file(vault, &content, &size, NULL) >= 0 && is_wrapped(content, size);

    if (content)
        memory_wipe(content, size);
    free(content);
    return result;
}

static int take_master(Vault *vault, const char *content, size_t size, const Secret *passphrase, Error *error)
{
    uint8_t master[AEAD_KEY_SIZE];
    int r = 0;

    if (is_wrapped(content, size)) {
        if (!passphrase)
            return error_set(error, ERROR_SEALED,
                             "the master key is wrapped; unseal the keeper with its passphrase");
        r = unwrap(passphrase, (const uint8_t *)content, master);
        if (r == -EBADMSG)
            return error_set(error, ERROR_FORBIDDEN, "the passphrase is wrong");
        if (r < 0)
            return error_set_errno(error, ERROR_INTERNAL, -r, "the passphrase could not be tried");
    } else if (size != AEAD_KEY_SIZE)
        return error_set(error, ERROR_CRYPTO, "the master key file is damaged");
    else
        memcpy(master, content, sizeof(master));
    vault_lock(vault);
    vault->master = secret_new(master, sizeof(master));
    memory_wipe(master, sizeof(master));
    return vault->master ? 0 : error_set(error, ERROR_INTERNAL, "no guarded memory for the master key");
}

int vault_unlock(Vault *vault, const Secret *passphrase, Error *error)
{
    char *content = NULL;
    size_t size = 0;
    int r = read_master_file(vault, &content, &size, error);

    if (r < 0)
        return r;
    r = take_master(vault, content, size, passphrase, error);
    memory_wipe(content, size);
    free(content);
    return r < 0 ? r : vault_rotation_resume(vault, error);
}

/* --- files --- */

static int make_parent(const char *path)
{
    _cleanup_free_ char *parent = string_duplicate(path);
    char *slash = strrchr(parent, '/');

    if (!slash)
        return 0;
    *slash = '\0';
    if (access(parent, F_OK) == 0)
        return 0;
    return directory_make(parent, 0700);
}

static char *associated_data(const char *name)
{
    return string_format("bastide-file-1 %s", name);
}

int vault_write_under(Vault *vault, const Secret *key, const char *name, const void *data, size_t size,
                      Error *error)
{
    _cleanup_free_ char *path = vault_path(vault, name), *associated = associated_data(name);
    _cleanup_free_ uint8_t *file = NULL;
    int r;

    file = memory_try_new_array(VAULT_FILE_HEADER_SIZE + size + AEAD_TAG_SIZE, 1, VAULT_FILE_LIMIT);
    if (!file)
        return error_set(error, ERROR_TOO_LARGE, "%s would be too large", name);
    memcpy(file, vault_file_magic, sizeof(vault_file_magic));
    random_bytes(&system_random, file + 4, AEAD_NONCE_SIZE);
    r = aead_seal(secret_bytes(key), file + 4, associated, strlen(associated), data, size,
                  file + VAULT_FILE_HEADER_SIZE);
    if (r >= 0)
        r = make_parent(path);
    if (r >= 0)
        r = file_write_atomic(path, file, VAULT_FILE_HEADER_SIZE + size + AEAD_TAG_SIZE, 0600);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write %s", name) : 0;
}

int vault_write(Vault *vault, const char *name, const void *data, size_t size, Error *error)
{
    ASSERT(vault->master);
    return vault_write_under(vault, vault->next ? vault->next : vault->master, name, data, size, error);
}

int vault_write_secret(Vault *vault, const char *name, const Secret *secret, Error *error)
{
    return vault_write(vault, name, secret_bytes(secret), secret_size(secret), error);
}

int vault_open_under(const Secret *key, const char *name, const uint8_t *file, size_t size,
                     Secret **ret_content)
{
    _cleanup_free_ char *associated = associated_data(name);
    _cleanup_free_ uint8_t *plain = NULL;
    size_t plain_size;
    int r;

    if (size < VAULT_FILE_HEADER_SIZE + AEAD_TAG_SIZE ||
        memcmp(file, vault_file_magic, sizeof(vault_file_magic)) != 0)
        return -EBADMSG;
    plain_size = size - VAULT_FILE_HEADER_SIZE - AEAD_TAG_SIZE;
    plain = NEW_ARRAY(uint8_t, plain_size + 1);
    r = aead_open(secret_bytes(key), file + 4, associated, strlen(associated), file + VAULT_FILE_HEADER_SIZE,
                  plain_size + AEAD_TAG_SIZE, plain);
    if (r < 0)
        return r;
    *ret_content = secret_new(plain, plain_size);
    memory_wipe(plain, plain_size);
    return *ret_content ? 0 : -ENOMEM;
}

/* While the master key is rotated a file lies under one of two keys. */
static int open_file(Vault *vault, const char *name, const uint8_t *file, size_t size, Secret **ret_content)
{
    int r = vault_open_under(vault->master, name, file, size, ret_content);

    return r == -EBADMSG && vault->next ? vault_open_under(vault->next, name, file, size, ret_content) : r;
}

int vault_read(Vault *vault, const char *name, size_t limit, Secret **ret_content, Error *error)
{
    _cleanup_free_ char *path = vault_path(vault, name), *file = NULL;
    size_t size = 0;
    int r;

    ASSERT(vault->master);
    r = file_read_private(path, geteuid(), limit + VAULT_FILE_HEADER_SIZE + AEAD_TAG_SIZE, &file, &size);
    if (r == -ENOENT)
        return r;
    if (r == -EPERM)
        return error_set(error, ERROR_INSECURE,
                         "%s must be a plain file of the keeper's user, closed to all others", path);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", name);
    r = open_file(vault, name, (const uint8_t *)file, size, ret_content);
    if (r == -EBADMSG)
        return error_set(error, ERROR_CRYPTO, "%s was changed, or belongs to another master key", name);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot open %s", name) : 0;
}

int vault_remove(Vault *vault, const char *name, Error *error)
{
    _cleanup_free_ char *path = vault_path(vault, name);
    int r;

    if (unlink(path) < 0)
        return errno == ENOENT ? -ENOENT : error_set_errno(error, ERROR_IO, errno, "cannot remove %s", name);
    r = file_sync_parent(path);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot sync the removal of %s", name) : 0;
}

/* What the disk itself keeps of an overwritten block is beyond a program; but nothing else is left of it. */
static int overwrite(const char *path)
{
    _cleanup_close_ int descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    uint8_t noise[4096];
    struct stat status;
    int r = 0;

    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return -errno;
    random_bytes(&system_random, noise, sizeof(noise));
    for (off_t done = 0; r >= 0 && done < status.st_size; done += (off_t)sizeof(noise))
        r = write_full(descriptor, noise, MIN(sizeof(noise), (size_t)(status.st_size - done)));
    return r >= 0 && fsync(descriptor) < 0 ? -errno : r;
}

int vault_destroy(Vault *vault, const char *name, Error *error)
{
    _cleanup_free_ char *path = vault_path(vault, name);
    int r = overwrite(path);

    if (r == -ENOENT)
        return r;
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot overwrite %s", name);
    return vault_remove(vault, name, error);
}
