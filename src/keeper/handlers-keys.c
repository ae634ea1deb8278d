/* SPDX-License-Identifier: Apache-2.0 */
/* Life of the keys themselves: new data keys, the end of old ones, another master key, its escrow. */

#include <errno.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/shamir.h"
#include "keeper/keeper-internal.h"

/* Files of one request of ROTATE_MASTER: some tens of milliseconds in which nobody else is served. */
enum { MASTER_STEP_FILES = 16 };
_Static_assert((int)KEEPER_SHARE_SECRET_SIZE <= (int)SHAMIR_SECRET_MAX, "a master key can be shared");

/* --- data keys --- */

int handle_rotate_data_keys(Request *request, Error *error)
{
    int r = keeper_rotate(request->keeper, error);

    if (r < 0)
        return r;
    request_note_number(request, "generation", request->keeper->generation);
    return message_put_u32(request->reply, KEEPER_FIELD_GENERATION, request->keeper->generation);
}

int handle_retire_data_keys(Request *request, Error *error)
{
    uint32_t oldest = (uint32_t)message_get_u64(&request->view, KEEPER_FIELD_GENERATION, 0);
    unsigned count = 0;
    int r;

    request_note_number(request, "generation", oldest);
    r = keeper_retire(request->keeper, oldest, &count, error);
    if (r < 0)
        return r;
    request_note_number(request, "destroyed", count);
    return message_put_u32(request->reply, KEEPER_FIELD_COUNT, count);
}

int handle_shred_tenant(Request *request, Error *error)
{
    _cleanup_free_ char *tenant = NULL;
    unsigned count = 0;
    int r = request_text(request, KEEPER_FIELD_TENANT, &tenant, error);

    if (r >= 0 && string_is_empty(tenant))
        r = error_set_field(error, ERROR_BAD_FIELD, "tenant", "the keys of which tenant?");
    if (r < 0)
        return r;
    request_note(request, "tenant", tenant);
    r = keeper_shred(request->keeper, tenant, &count, error);
    if (r < 0)
        return r;
    request_note_number(request, "destroyed", count);
    log_notice("the data keys of a tenant were destroyed");
    r = message_put_u32(request->reply, KEEPER_FIELD_GENERATION, request->keeper->generation);
    return r < 0 ? r : message_put_u32(request->reply, KEEPER_FIELD_COUNT, count);
}

/* --- master key --- */

/* Begins when none is under way, then moves some files; the caller asks again until nothing is left. */
int handle_rotate_master(Request *request, Error *error)
{
    _cleanup_secret_ Secret *passphrase = NULL;
    Vault *vault = request->keeper->vault;
    bool is_left = false, is_new = !vault_is_rotating(vault);
    int r = request_optional_secret(request, KEEPER_FIELD_PASSPHRASE, &passphrase, error);

    /* Silently losing the passphrase would be a surprise of the worst kind. */
    if (r >= 0 && is_new && !passphrase && vault_is_wrapped(vault))
        r = error_set_field(error, ERROR_BAD_FIELD, "passphrase",
                            "the master key is wrapped; give the passphrase of the new one");
    if (r >= 0)
        r = vault_rotation_begin(vault, passphrase, error);
    if (r >= 0)
        r = vault_rotation_step(vault, MASTER_STEP_FILES, &is_left, error);
    if (r < 0)
        return r;
    request_note(request, "step", is_new ? "first" : is_left ? "further" : "last");
    if (!is_left)
        log_notice("the master key was replaced");
    return message_put_u32(request->reply, KEEPER_FIELD_ROTATING, is_left);
}

int handle_split_master(Request *request, Error *error)
{
    uint64_t count = message_get_u64(&request->view, KEEPER_FIELD_COUNT, 0),
             threshold = message_get_u64(&request->view, KEEPER_FIELD_THRESHOLD, 0);
    const Secret *master = vault_master(request->keeper->vault);
    uint8_t secrets[KEEPER_SHARES_MAX * KEEPER_SHARE_SECRET_SIZE], bytes[KEEPER_SHARE_SIZE];
    KeeperShare share = {.threshold = (uint8_t)threshold};
    int r = 0;

    if (threshold < 2 || threshold > count || count > KEEPER_SHARES_MAX)
        return error_set_field(error, ERROR_BAD_FIELD, "count",
                               "2 to %d shares, of which 2 or more are needed together", KEEPER_SHARES_MAX);
    if (vault_is_rotating(request->keeper->vault))
        return error_set(error, ERROR_CONFLICT,
                         "the master key is being replaced; finish that first, then split the new one");
    request_note_number(request, "shares", count);
    request_note_number(request, "threshold", threshold);
    random_bytes(&system_random, share.set, sizeof(share.set));
    r = shamir_split(secret_bytes(master), secret_size(master), (unsigned)threshold, (unsigned)count,
                     &system_random, secrets);
    for (unsigned i = 0; r >= 0 && i < count; i++) {
        share.point = (uint8_t)(i + 1);
        memcpy(share.secret, secrets + i * KEEPER_SHARE_SECRET_SIZE, KEEPER_SHARE_SECRET_SIZE);
        keeper_share_encode(&share, bytes);
        r = message_put_bytes(request->reply, KEEPER_FIELD_SHARE, bytes, sizeof(bytes));
    }
    memory_wipe(secrets, sizeof(secrets));
    memory_wipe(&share, sizeof(share));
    memory_wipe(bytes, sizeof(bytes));
    return r;
}

static int get_shares(Request *request, KeeperShare *shares, size_t *ret_count, Error *error)
{
    const uint8_t *data;
    size_t size;

    for (*ret_count = 0;
         message_get_bytes(&request->view, KEEPER_FIELD_SHARE, (unsigned)*ret_count, &data, &size) >= 0;
         ++*ret_count) {
        if (*ret_count >= KEEPER_SHARES_MAX)
            return error_set(error, ERROR_TOO_LARGE, "at most %d shares", KEEPER_SHARES_MAX);
        if (keeper_share_decode(data, size, &shares[*ret_count]) < 0)
            return error_set(error, ERROR_BAD_REQUEST, "share %zu is none, or was mistyped", *ret_count + 1);
    }
    return 0;
}

/* The drill: do these shares give the key of this directory? Nothing is changed, nothing is told but that. */
int handle_check_shares(Request *request, Error *error)
{
    KeeperShare shares[KEEPER_SHARES_MAX];
    uint8_t bytes[KEEPER_SHARE_SECRET_SIZE];
    _cleanup_secret_ Secret *master = NULL;
    size_t count = 0;
    int r = get_shares(request, shares, &count, error);

    if (r >= 0)
        r = keeper_shares_combine(shares, count, bytes, error);
    if (r >= 0) {
        request_note_number(request, "shares", count);
        master = secret_new(bytes, sizeof(bytes));
        r = master ? vault_check_master(request->keeper->vault, master, error)
                   : error_set(error, ERROR_INTERNAL, "no guarded memory for the key");
    }
    memory_wipe(shares, sizeof(shares));
    memory_wipe(bytes, sizeof(bytes));
    return r;
}
