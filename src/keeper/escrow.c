/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/escrow.h"

#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "keeper/vault.h"

static int write_share(const char *directory, unsigned number, const uint8_t *bytes, Error *error)
{
    char hex[2 * KEEPER_SHARE_SIZE + 1], name[32];
    _cleanup_free_ char *path = NULL, *text = NULL;
    int r;

    (void)string_print(name, sizeof(name), "share-%u", number);
    path = path_join(directory, name);
    hex_encode(bytes, KEEPER_SHARE_SIZE, hex);
    text = string_format("bastide-share-1:%s\n", hex);
    r = file_write_new(path, text, strlen(text), 0400);
    memory_wipe(hex, sizeof(hex));
    memory_wipe(text, strlen(text));
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write %s", path) : 0;
}

int escrow_split(KeeperClient *client, uint32_t threshold, uint32_t count, const char *directory,
                 Error *error)
{
    Buffer shares = BUFFER_INIT_SECRET((size_t)KEEPER_SHARES_MAX * KEEPER_SHARE_SIZE);
    int r = directory_make(directory, 0700);

    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot make %s", directory);
    r = keeper_client_split_master(client, threshold, count, &shares, error);
    for (unsigned i = 0; r >= 0 && i < count; i++)
        r = write_share(directory, i + 1, shares.data + (size_t)i * KEEPER_SHARE_SIZE, error);
    buffer_wipe(&shares);
    return r;
}

void escrow_shares_done(EscrowShares *shares)
{
    memory_wipe(shares, sizeof(*shares));
}

static int combine(const EscrowShares *shares, Secret **ret_master, Error *error)
{
    KeeperShare parts[KEEPER_SHARES_MAX];
    uint8_t master[KEEPER_SHARE_SECRET_SIZE];
    int r = 0;

    for (size_t i = 0; r >= 0 && i < shares->count; i++)
        r = keeper_share_decode(shares->bytes[i], KEEPER_SHARE_SIZE, &parts[i]);
    r = r < 0 ? error_set(error, ERROR_BAD_REQUEST, "this is no share")
              : keeper_shares_combine(parts, shares->count, master, error);
    if (r >= 0) {
        *ret_master = secret_new(master, sizeof(master));
        r = *ret_master ? 0 : error_set(error, ERROR_INTERNAL, "no guarded memory for the key");
    }
    memory_wipe(parts, sizeof(parts));
    memory_wipe(master, sizeof(master));
    return r;
}

int escrow_restore(const KeeperConfig *config, const EscrowShares *shares, const Secret *passphrase,
                   Error *error)
{
    _cleanup_secret_ Secret *master = NULL;
    _cleanup_vault_ Vault *vault = NULL;
    int r = combine(shares, &master, error);

    if (r >= 0)
        r = vault_open(config->directory, &vault, error);
    if (r >= 0)
        r = vault_check_master(vault, master, error);
    return r < 0 ? r : vault_restore_master(vault, master, passphrase, error);
}
