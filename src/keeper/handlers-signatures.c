/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures over what must not go backwards. The last state is on disk before a signature leaves. */

#include <errno.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "keeper/keeper-internal.h"

/* An approved set is renewed every half hour or so; one that lived much longer would keep a revoked bundle
 * alive. */
#define APPROVED_LIFE_MAXIMUM (2 * 3600 * USEC_PER_SEC)

/* u64 number, 32 bytes of hash. */
enum { RECORD_SIZE = 8 + HASH_SIZE, HEAD_FILE_SIZE = KEEPER_SHARD_MAX + 64 };

/* A smaller number than the recorded one is refused, and so is the same number with another hash; the same
 * again is a repetition. */
static int check_and_record(Keeper *keeper, const char *file, uint64_t number, const uint8_t *hash,
                            const char *what, Error *error)
{
    _cleanup_secret_ Secret *record = NULL;
    _cleanup_buffer_ Buffer next = BUFFER_INIT;
    uint64_t last = 0;
    int r = vault_read(keeper->vault, file, RECORD_SIZE, &record, error);

    if (r < 0 && r != -ENOENT)
        return r;
    if (r >= 0) {
        Reader reader = READER(secret_bytes(record), secret_size(record));

        if (secret_size(record) != RECORD_SIZE || reader_u64(&reader, &last) < 0)
            return error_set(error, ERROR_CRYPTO, "%s is damaged", file);
        if (number < last)
            return error_set(error, ERROR_STALE, "%s %llu was signed already; a lower one is refused", what,
                             (unsigned long long)last);
        if (number == last)
            return memcmp(secret_bytes(record) + 8, hash, HASH_SIZE) == 0
                       ? 0
                       : error_set(error, ERROR_STALE, "%s %llu was signed already with another content",
                                   what, (unsigned long long)last);
    }
    r = buffer_append_u64(&next, number);
    if (r >= 0)
        r = buffer_append(&next, hash, HASH_SIZE);
    return r < 0 ? r : vault_write(keeper->vault, file, next.data, next.size, error);
}

static int put_signature(Request *request, const Buffer *bytes)
{
    uint8_t signature[SIGN_SIGNATURE_SIZE];
    int r = sign_message(request->keeper->signing, bytes->data, bytes->size, signature);

    return r < 0 ? r
                 : message_put_bytes(request->reply, KEEPER_FIELD_SIGNATURE, signature, sizeof(signature));
}

static const char epoch_file[] = "signing/audit-epoch";

/* 1 until root has accepted a restored database. */
static int read_epoch(const Keeper *keeper, uint64_t *ret_epoch, Error *error)
{
    _cleanup_secret_ Secret *content = NULL;
    int r = vault_read(keeper->vault, epoch_file, 8, &content, error);

    *ret_epoch = 1;
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    Reader reader = READER(secret_bytes(content), secret_size(content));
    return reader_u64(&reader, ret_epoch) < 0 ? error_set(error, ERROR_CRYPTO, "%s is damaged", epoch_file)
                                              : 0;
}

int handle_begin_audit_epoch(Request *request, Error *error)
{
    _cleanup_buffer_ Buffer content = BUFFER_INIT;
    uint64_t epoch;
    int r = read_epoch(request->keeper, &epoch, error);

    if (r >= 0)
        r = buffer_append_u64(&content, ++epoch);
    if (r >= 0)
        r = vault_write(request->keeper->vault, epoch_file, content.data, content.size, error);
    if (r < 0)
        return r;
    request_note_number(request, "epoch", epoch);
    log_notice("audit heads begin anew: a restored database was accepted");
    return message_put_u64(request->reply, KEEPER_FIELD_EPOCH, epoch);
}

static int head_file(Request *request, uint64_t *ret_epoch, char **ret_shard,
                     char file[static HEAD_FILE_SIZE], Error *error)
{
    int r = request_text(request, KEEPER_FIELD_SHARD, ret_shard, error);

    if (r < 0)
        return r;
    if (!name_is_valid(*ret_shard))
        return error_set_field(error, ERROR_BAD_FIELD, "shard",
                               "a shard's name has letters, digits, '_', '.' and '-'");
    request_note(request, "shard", *ret_shard);
    r = read_epoch(request->keeper, ret_epoch, error);
    (void)string_print(file, HEAD_FILE_SIZE, "signing/head-%llu-%s", (unsigned long long)*ret_epoch,
                       *ret_shard);
    return r;
}

int handle_audit_head(Request *request, Error *error)
{
    static const uint8_t none[RECORD_SIZE];
    _cleanup_free_ char *shard = NULL;
    _cleanup_secret_ Secret *record = NULL;
    char file[HEAD_FILE_SIZE];
    const uint8_t *bytes = none;
    uint64_t epoch, sequence = 0;
    int r = head_file(request, &epoch, &shard, file, error);

    if (r >= 0)
        r = vault_read(request->keeper->vault, file, RECORD_SIZE, &record, error);
    if (r >= 0 && secret_size(record) == RECORD_SIZE)
        bytes = secret_bytes(record);
    else if (r >= 0)
        return error_set(error, ERROR_CRYPTO, "%s is damaged", file);
    else if (r != -ENOENT)
        return r;
    Reader reader = READER(bytes, RECORD_SIZE);
    (void)reader_u64(&reader, &sequence);
    r = message_put_u64(request->reply, KEEPER_FIELD_SEQUENCE, sequence);
    if (r >= 0)
        r = message_put_bytes(request->reply, KEEPER_FIELD_HASH, bytes + 8, HASH_SIZE);
    return r < 0 ? r : message_put_u64(request->reply, KEEPER_FIELD_EPOCH, epoch);
}

int handle_sign_audit_head(Request *request, Error *error)
{
    _cleanup_buffer_ Buffer bytes = BUFFER_INIT;
    _cleanup_free_ char *shard = NULL;
    uint64_t sequence = message_get_u64(&request->view, KEEPER_FIELD_SEQUENCE, 0);
    Usec time = message_get_u64(&request->view, KEEPER_FIELD_TIME, 0);
    const uint8_t *hash;
    uint64_t epoch = 0;
    char file[HEAD_FILE_SIZE];
    int r = request_fixed(request, KEEPER_FIELD_HASH, HASH_SIZE, &hash, error);

    if (r >= 0)
        r = head_file(request, &epoch, &shard, file, error);
    if (r < 0)
        return r;
    request_note_number(request, "sequence", sequence);
    r = check_and_record(request->keeper, file, sequence, hash, "audit head", error);
    if (r >= 0)
        r = audit_head_encode(shard, epoch, sequence, time, hash, &bytes);
    if (r >= 0)
        r = put_signature(request, &bytes);
    return r < 0 ? r : message_put_u64(request->reply, KEEPER_FIELD_EPOCH, epoch);
}

static int get_digests(const Request *request, uint8_t **ret_digests, size_t *ret_count, Error *error)
{
    _cleanup_free_ uint8_t *digests = NEW_ARRAY(uint8_t, (size_t)KEEPER_DIGESTS_MAX * HASH_SIZE);
    size_t count = 0, size;
    const uint8_t *data;

    while (message_get_bytes(&request->view, KEEPER_FIELD_DIGEST, (unsigned)count, &data, &size) >= 0) {
        if (count >= KEEPER_DIGESTS_MAX)
            return error_set(error, ERROR_TOO_LARGE, "an approved set has at most %d digests",
                             KEEPER_DIGESTS_MAX);
        if (size != HASH_SIZE)
            return error_set_field(error, ERROR_BAD_FIELD, "digest", "a digest has %d bytes", HASH_SIZE);
        memcpy(digests + count * HASH_SIZE, data, HASH_SIZE);
        count++;
    }
    *ret_digests = TAKE_PTR(digests);
    *ret_count = count;
    return 0;
}

static int get_set(Request *request, ApprovedSet *set, uint8_t **ret_digests, Error *error)
{
    _cleanup_free_ char *tenant = NULL;
    Usec now = clock_realtime(request->keeper->clock);
    int r = request_text(request, KEEPER_FIELD_TENANT, &tenant, error);

    if (r < 0)
        return r;
    if (string_is_empty(tenant) || string_copy(set->tenant, sizeof(set->tenant), tenant) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "tenant", "an approved set belongs to a tenant");
    set->serial = message_get_u64(&request->view, KEEPER_FIELD_SET_SERIAL, 0);
    set->expiry = message_get_u64(&request->view, KEEPER_FIELD_EXPIRY, 0);
    request_note(request, "tenant", tenant);
    request_note_number(request, "serial", set->serial);
    if (set->expiry <= now || set->expiry > now + APPROVED_LIFE_MAXIMUM)
        return error_set_field(error, ERROR_BAD_FIELD, "expiry",
                               "an approved set expires within two hours from now");
    r = get_digests(request, ret_digests, &set->count, error);
    set->digests = *ret_digests;
    return r;
}

int handle_sign_approved_set(Request *request, Error *error)
{
    _cleanup_buffer_ Buffer bytes = BUFFER_INIT;
    _cleanup_free_ uint8_t *digests = NULL;
    ApprovedSet set = {0};
    uint8_t hash[HASH_SIZE];
    char hex[HASH_HEX_SIZE], file[HASH_HEX_SIZE + 32];
    int r = get_set(request, &set, &digests, error);

    if (r >= 0)
        r = approved_set_encode(&set, &bytes);
    if (r == -EINVAL && !error_is_set(error))
        return error_set_field(error, ERROR_BAD_FIELD, "digest",
                               "digests come in ascending order, each once");
    if (r < 0)
        return r;
    request_note_number(request, "digests", set.count);
    hash_sha256(set.digests, set.count * HASH_SIZE, hash);
    hash_sha256_hex(set.tenant, strlen(set.tenant), hex);
    (void)string_print(file, sizeof(file), "signing/approved-%s", hex);
    r = check_and_record(request->keeper, file, set.serial, hash, "approved set", error);
    if (r >= 0)
        r = message_put_bytes(request->reply, KEEPER_FIELD_SET, bytes.data, bytes.size);
    return r < 0 ? r : put_signature(request, &bytes);
}
