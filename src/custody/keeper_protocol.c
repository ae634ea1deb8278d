/* SPDX-License-Identifier: Apache-2.0 */
#include "custody/keeper_protocol.h"

#include <errno.h>

#include "base/string.h"
#include "crypto/envelope.h"
#include "crypto/shamir.h"
#include "crypto/ssh.h"
#include "crypto/x509.h"

/* --- fields --- */

#define TEXT_FIELD(tag, name, maximum)                                                                       \
    {                                                                                                        \
        KEEPER_FIELD_##tag, name, MESSAGE_STRING, true, false, maximum                                       \
    }
#define OPTIONAL_TEXT(tag, name, maximum)                                                                    \
    {                                                                                                        \
        KEEPER_FIELD_##tag, name, MESSAGE_STRING, false, false, maximum                                      \
    }
#define TEXT_LIST(tag, name, maximum)                                                                        \
    {                                                                                                        \
        KEEPER_FIELD_##tag, name, MESSAGE_STRING, false, true, maximum                                       \
    }
#define BYTES_FIELD(tag, name, maximum)                                                                      \
    {                                                                                                        \
        KEEPER_FIELD_##tag, name, MESSAGE_BYTES, true, false, maximum                                        \
    }
#define OPTIONAL_BYTES(tag, name, maximum)                                                                   \
    {                                                                                                        \
        KEEPER_FIELD_##tag, name, MESSAGE_BYTES, false, false, maximum                                       \
    }
#define BYTES_LIST(tag, name, maximum)                                                                       \
    {                                                                                                        \
        KEEPER_FIELD_##tag, name, MESSAGE_BYTES, false, true, maximum                                        \
    }
#define U32_FIELD(tag, name)                                                                                 \
    {                                                                                                        \
        KEEPER_FIELD_##tag, name, MESSAGE_U32, true, false, 4                                                \
    }
#define U64_FIELD(tag, name)                                                                                 \
    {                                                                                                        \
        KEEPER_FIELD_##tag, name, MESSAGE_U64, true, false, 8                                                \
    }
#define FIELDS(symbol) static const MessageField symbol[]
#define END                                                                                                  \
    {                                                                                                        \
        0                                                                                                    \
    }

enum {
    SEALED_MAX = KEEPER_VALUE_MAX + 64,
    ENVELOPE_MAX = KEEPER_VALUE_MAX + KEEPER_CONTEXT_MAX + ENVELOPE_OVERHEAD,
    PASSPHRASE_MAX = 1024,
    WORD_MAX = 32,
    CERTIFICATE_LINE_MAX = 16 * 1024,
    SET_MAX = 64 + KEEPER_TENANT_MAX + KEEPER_DIGESTS_MAX * HASH_SIZE,
};

#define TENANT  TEXT_FIELD(TENANT, "tenant", KEEPER_TENANT_MAX)
#define CONTEXT TEXT_FIELD(CONTEXT, "context", KEEPER_CONTEXT_MAX)
#define SEALED  BYTES_FIELD(SEALED, "sealed", SEALED_MAX)

FIELDS(nothing) = {END};
FIELDS(error_out) = {TEXT_FIELD(CODE, "code", 64), TEXT_FIELD(TEXT, "text", 512), END};
FIELDS(status_out) = {TEXT_FIELD(STATE, "state", WORD_MAX),
                      TEXT_FIELD(VERSION, "version", 64),
                      U32_FIELD(GENERATION, "generation"),
                      U32_FIELD(RETIRED, "retired"),
                      U32_FIELD(ROTATING, "rotating"),
                      U32_FIELD(WRAPPED, "wrapped"),
                      END};
FIELDS(initialise_in) = {TEXT_FIELD(ORGANISATION, "organisation", 64),
                         OPTIONAL_TEXT(CA_CERTIFICATE, "ca_certificate", CHAIN_LIMIT),
                         OPTIONAL_BYTES(CA_KEY, "ca_key", KEY_PEM_LIMIT),
                         OPTIONAL_BYTES(PASSPHRASE, "passphrase", PASSPHRASE_MAX), END};
FIELDS(chain_out) = {TEXT_FIELD(CHAIN, "chain", CHAIN_LIMIT), END};
FIELDS(unseal_in) = {BYTES_FIELD(PASSPHRASE, "passphrase", PASSPHRASE_MAX), END};
FIELDS(public_out) = {TEXT_FIELD(CHAIN, "chain", CHAIN_LIMIT),
                      TEXT_FIELD(SSH_USER_CA, "ssh_user_ca", SSH_KEY_LINE_MAX),
                      TEXT_FIELD(SSH_HOST_CA, "ssh_host_ca", SSH_KEY_LINE_MAX),
                      BYTES_FIELD(SIGNING_KEY, "signing_key", SIGN_PUBLIC_SIZE), END};
FIELDS(import_in) = {TEXT_FIELD(CA_CERTIFICATE, "ca_certificate", CHAIN_LIMIT),
                     BYTES_FIELD(CA_KEY, "ca_key", KEY_PEM_LIMIT), END};
FIELDS(generation_out) = {U32_FIELD(GENERATION, "generation"), END};
FIELDS(retire_in) = {U32_FIELD(GENERATION, "generation"), END};
FIELDS(count_out) = {U32_FIELD(COUNT, "count"), END};
FIELDS(shred_in) = {TENANT, END};
FIELDS(shred_out) = {U32_FIELD(GENERATION, "generation"), U32_FIELD(COUNT, "count"), END};
FIELDS(rotate_master_in) = {OPTIONAL_BYTES(PASSPHRASE, "passphrase", PASSPHRASE_MAX), END};
FIELDS(rotate_master_out) = {U32_FIELD(ROTATING, "rotating"), END};
FIELDS(split_in) = {U32_FIELD(COUNT, "count"), U32_FIELD(THRESHOLD, "threshold"), END};
FIELDS(share_list) = {BYTES_LIST(SHARE, "share", KEEPER_SHARE_SIZE), END};
FIELDS(seal_value_in) = {TEXT_FIELD(CLASS, "class", WORD_MAX), TENANT, CONTEXT,
                         BYTES_FIELD(PLAINTEXT, "plaintext", KEEPER_VALUE_MAX), END};
FIELDS(sealed_out) = {SEALED, END};
FIELDS(open_value_in) = {TENANT, CONTEXT, SEALED, END};
FIELDS(plaintext_out) = {BYTES_FIELD(PLAINTEXT, "plaintext", KEEPER_VALUE_MAX), END};
FIELDS(reseal_value_in) = {TENANT, CONTEXT, SEALED, TEXT_FIELD(PROVISIONER, "provisioner", WORD_MAX), END};
FIELDS(envelope_out) = {BYTES_FIELD(ENVELOPE, "envelope", ENVELOPE_MAX), END};
FIELDS(generate_in) = {
    TEXT_FIELD(CLASS, "class", WORD_MAX),       TENANT, CONTEXT, U32_FIELD(LENGTH, "length"),
    TEXT_FIELD(ALPHABET, "alphabet", WORD_MAX), END};
FIELDS(issue_in) = {
    TEXT_FIELD(PROFILE, "profile", WORD_MAX),   BYTES_FIELD(PUBLIC_KEY, "public_key", PUBLIC_KEY_LIMIT),
    TEXT_FIELD(COMMON_NAME, "common_name", 64), TEXT_LIST(DNS_NAME, "dns_name", 253),
    BYTES_LIST(IP_ADDRESS, "ip_address", 16),   TEXT_LIST(URI, "uri", 512),
    U32_FIELD(LIFE_SECONDS, "life_seconds"),    END};
FIELDS(certificate_out) = {TEXT_FIELD(CHAIN, "chain", CHAIN_LIMIT),
                           TEXT_FIELD(SERIAL, "serial", SERIAL_HEX_SIZE), END};
FIELDS(enrol_in) = {TEXT_FIELD(PROVISIONER, "provisioner", WORD_MAX),
                    BYTES_FIELD(PUBLIC_KEY, "public_key", PUBLIC_KEY_LIMIT),
                    BYTES_FIELD(ENVELOPE_KEY, "envelope_key", ENVELOPE_KEY_SIZE), END};
FIELDS(remove_in) = {TEXT_FIELD(PROVISIONER, "provisioner", WORD_MAX), END};
FIELDS(ssh_user_in) = {BYTES_FIELD(PUBLIC_KEY, "public_key", SSH_KEY_BLOB_MAX),
                       U32_FIELD(LIFE_SECONDS, "life_seconds"),
                       TEXT_FIELD(KEY_ID, "key_id", SSH_KEY_ID_MAX),
                       TEXT_LIST(PRINCIPAL, "principal", SSH_PRINCIPAL_LENGTH_MAX),
                       OPTIONAL_TEXT(FORCE_COMMAND, "force_command", 1024),
                       OPTIONAL_TEXT(SOURCE_ADDRESS, "source_address", 512),
                       U32_FIELD(PTY, "pty"),
                       END};
FIELDS(ssh_host_in) = {BYTES_FIELD(PUBLIC_KEY, "public_key", SSH_KEY_BLOB_MAX),
                       U32_FIELD(LIFE_SECONDS, "life_seconds"), TEXT_FIELD(KEY_ID, "key_id", SSH_KEY_ID_MAX),
                       TEXT_LIST(PRINCIPAL, "principal", SSH_PRINCIPAL_LENGTH_MAX), END};
FIELDS(ssh_out) = {TEXT_FIELD(CERTIFICATE, "certificate", CERTIFICATE_LINE_MAX), END};
FIELDS(audit_in) = {TEXT_FIELD(SHARD, "shard", KEEPER_SHARD_MAX), U64_FIELD(SEQUENCE, "sequence"),
                    BYTES_FIELD(HASH, "hash", HASH_SIZE), U64_FIELD(TIME, "time"), END};
FIELDS(head_out) = {BYTES_FIELD(SIGNATURE, "signature", SIGN_SIGNATURE_SIZE), U64_FIELD(EPOCH, "epoch"), END};
FIELDS(shard_in) = {TEXT_FIELD(SHARD, "shard", KEEPER_SHARD_MAX), END};
FIELDS(last_head_out) = {U64_FIELD(SEQUENCE, "sequence"), BYTES_FIELD(HASH, "hash", HASH_SIZE),
                         U64_FIELD(EPOCH, "epoch"), END};
FIELDS(epoch_out) = {U64_FIELD(EPOCH, "epoch"), END};
FIELDS(approved_in) = {TENANT, U64_FIELD(SET_SERIAL, "serial"), U64_FIELD(EXPIRY, "expiry"),
                       BYTES_LIST(DIGEST, "digest", HASH_SIZE), END};
FIELDS(approved_out) = {BYTES_FIELD(SET, "set", SET_MAX),
                        BYTES_FIELD(SIGNATURE, "signature", SIGN_SIGNATURE_SIZE), END};

/* --- messages --- */

const MessageType keeper_request_types[] = {
    {KEEPER_STATUS, "STATUS", nothing},
    {KEEPER_INITIALISE, "INITIALISE", initialise_in},
    {KEEPER_UNSEAL, "UNSEAL", unseal_in},
    {KEEPER_SEAL, "SEAL", nothing},
    {KEEPER_PUBLIC, "PUBLIC", nothing},
    {KEEPER_IMPORT_CA, "IMPORT_CA", import_in},
    {KEEPER_ROTATE_DATA_KEYS, "ROTATE_DATA_KEYS", nothing},
    {KEEPER_RETIRE_DATA_KEYS, "RETIRE_DATA_KEYS", retire_in},
    {KEEPER_SHRED_TENANT, "SHRED_TENANT", shred_in},
    {KEEPER_ROTATE_MASTER, "ROTATE_MASTER", rotate_master_in},
    {KEEPER_SPLIT_MASTER, "SPLIT_MASTER", split_in},
    {KEEPER_CHECK_SHARES, "CHECK_SHARES", share_list},
    {KEEPER_SEAL_VALUE, "SEAL_VALUE", seal_value_in},
    {KEEPER_OPEN_VALUE, "OPEN_VALUE", open_value_in},
    {KEEPER_RESEAL_VALUE, "RESEAL_VALUE", reseal_value_in},
    {KEEPER_GENERATE_SECRET, "GENERATE_SECRET", generate_in},
    {KEEPER_RENEW_VALUE, "RENEW_VALUE", open_value_in},
    {KEEPER_ISSUE_CERTIFICATE, "ISSUE_CERTIFICATE", issue_in},
    {KEEPER_ENROL_PROVISIONER, "ENROL_PROVISIONER", enrol_in},
    {KEEPER_REMOVE_PROVISIONER, "REMOVE_PROVISIONER", remove_in},
    {KEEPER_ISSUE_SSH_USER, "ISSUE_SSH_USER", ssh_user_in},
    {KEEPER_ISSUE_SSH_HOST, "ISSUE_SSH_HOST", ssh_host_in},
    {KEEPER_SIGN_AUDIT_HEAD, "SIGN_AUDIT_HEAD", audit_in},
    {KEEPER_SIGN_APPROVED_SET, "SIGN_APPROVED_SET", approved_in},
    {KEEPER_BEGIN_AUDIT_EPOCH, "BEGIN_AUDIT_EPOCH", nothing},
    {KEEPER_AUDIT_HEAD, "AUDIT_HEAD", shard_in},
    {0},
};

#define ANSWER(symbol, fields)                                                                               \
    {                                                                                                        \
        KEEPER_##symbol | KEEPER_ANSWER, #symbol, fields                                                     \
    }
const MessageType keeper_answer_types[] = {
    ANSWER(STATUS, status_out),
    ANSWER(INITIALISE, chain_out),
    ANSWER(UNSEAL, nothing),
    ANSWER(SEAL, nothing),
    ANSWER(PUBLIC, public_out),
    ANSWER(IMPORT_CA, chain_out),
    ANSWER(ROTATE_DATA_KEYS, generation_out),
    ANSWER(RETIRE_DATA_KEYS, count_out),
    ANSWER(SHRED_TENANT, shred_out),
    ANSWER(ROTATE_MASTER, rotate_master_out),
    ANSWER(SPLIT_MASTER, share_list),
    ANSWER(CHECK_SHARES, nothing),
    ANSWER(SEAL_VALUE, sealed_out),
    ANSWER(OPEN_VALUE, plaintext_out),
    ANSWER(RESEAL_VALUE, envelope_out),
    ANSWER(GENERATE_SECRET, sealed_out),
    ANSWER(RENEW_VALUE, sealed_out),
    ANSWER(ISSUE_CERTIFICATE, certificate_out),
    ANSWER(ENROL_PROVISIONER, certificate_out),
    ANSWER(REMOVE_PROVISIONER, nothing),
    ANSWER(ISSUE_SSH_USER, ssh_out),
    ANSWER(ISSUE_SSH_HOST, ssh_out),
    ANSWER(SIGN_AUDIT_HEAD, head_out),
    ANSWER(SIGN_APPROVED_SET, approved_out),
    ANSWER(BEGIN_AUDIT_EPOCH, epoch_out),
    ANSWER(AUDIT_HEAD, last_head_out),
    {KEEPER_ERROR, "ERROR", error_out},
    {0},
};

static const struct {
    uint16_t type;
    unsigned who;
} access_rows[] = {
#define KEEPER_REQUEST(symbol, number, name, who) {number, who},
#include "custody/keeper-requests.h"
#undef KEEPER_REQUEST
};

_Static_assert(ELEMENTSOF(access_rows) == ELEMENTSOF(keeper_request_types) - 1,
               "each request has its access row");
_Static_assert(ELEMENTSOF(access_rows) == ELEMENTSOF(keeper_answer_types) - 2, "each request has its answer");

unsigned keeper_request_who(uint16_t type)
{
    for (size_t i = 0; i < ELEMENTSOF(access_rows); i++)
        if (access_rows[i].type == type)
            return access_rows[i].who;
    return KEEPER_PEER_NONE;
}

const char *keeper_peer_to_string(KeeperPeer peer)
{
    if (peer == KEEPER_PEER_ROOT)
        return "root";
    return peer == KEEPER_PEER_MANAGER ? "manager" : "nobody";
}

ssize_t keeper_frame_size(const uint8_t length[static 4])
{
    size_t size =
        4 + ((size_t)length[0] << 24 | (size_t)length[1] << 16 | (size_t)length[2] << 8 | length[3]);

    if (size > KEEPER_FRAME_LIMIT)
        return -E2BIG;
    return size < MESSAGE_HEADER_SIZE ? -EBADMSG : (ssize_t)size;
}

static int find_name(const char *const *names, int count, const char *text)
{
    for (int i = 0; i < count; i++)
        if (string_equal(names[i], text))
            return i;
    return -EINVAL;
}

static const char *const state_names[_KEEPER_STATE_MAX] = {
    [KEEPER_STATE_UNINITIALISED] = "uninitialised",
    [KEEPER_STATE_SEALED] = "sealed",
    [KEEPER_STATE_OPEN] = "open",
};

const char *keeper_state_to_string(KeeperState state)
{
    return state >= 0 && state < _KEEPER_STATE_MAX ? state_names[state] : NULL;
}

KeeperState keeper_state_from_string(const char *text)
{
    return (KeeperState)find_name(state_names, _KEEPER_STATE_MAX, text);
}

static const char *const alphabet_names[_SECRET_ALPHABET_MAX] = {
    [SECRET_ALPHANUMERIC] = "alphanumeric",
    [SECRET_HEX] = "hex",
    [SECRET_BASE64URL] = "base64url",
};

const char *secret_alphabet_to_string(SecretAlphabet alphabet)
{
    return alphabet >= 0 && alphabet < _SECRET_ALPHABET_MAX ? alphabet_names[alphabet] : NULL;
}

SecretAlphabet secret_alphabet_from_string(const char *text)
{
    return (SecretAlphabet)find_name(alphabet_names, _SECRET_ALPHABET_MAX, text);
}

const char *secret_alphabet_characters(SecretAlphabet alphabet)
{
    static const char *const characters[_SECRET_ALPHABET_MAX] = {
        [SECRET_ALPHANUMERIC] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        [SECRET_HEX] = "0123456789abcdef",
        [SECRET_BASE64URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    };

    return alphabet >= 0 && alphabet < _SECRET_ALPHABET_MAX ? characters[alphabet] : NULL;
}

/* --- escrow --- */

static const uint8_t share_magic[4] = {'B', 'S', 'S', '1'};
enum { SHARE_SUM_SIZE = 4 };
_Static_assert((int)KEEPER_SHARES_MAX == (int)SHAMIR_SHARES_MAX, "as many shares as can be made");

void keeper_share_encode(const KeeperShare *share, uint8_t ret_bytes[static KEEPER_SHARE_SIZE])
{
    uint8_t *position = ret_bytes, hash[HASH_SIZE];

    memcpy(position, share_magic, sizeof(share_magic));
    position += sizeof(share_magic);
    memcpy(position, share->set, sizeof(share->set));
    position += sizeof(share->set);
    *position++ = share->threshold;
    *position++ = share->point;
    memcpy(position, share->secret, sizeof(share->secret));
    position += sizeof(share->secret);
    hash_sha256(ret_bytes, (size_t)(position - ret_bytes), hash);
    memcpy(position, hash, SHARE_SUM_SIZE);
}

int keeper_share_decode(const uint8_t *bytes, size_t size, KeeperShare *ret_share)
{
    uint8_t hash[HASH_SIZE];

    if (size != KEEPER_SHARE_SIZE || memcmp(bytes, share_magic, sizeof(share_magic)) != 0)
        return -EBADMSG;
    hash_sha256(bytes, KEEPER_SHARE_SIZE - SHARE_SUM_SIZE, hash);
    if (memcmp(hash, bytes + KEEPER_SHARE_SIZE - SHARE_SUM_SIZE, SHARE_SUM_SIZE) != 0)
        return -EBADMSG;
    bytes += sizeof(share_magic);
    memcpy(ret_share->set, bytes, sizeof(ret_share->set));
    bytes += sizeof(ret_share->set);
    ret_share->threshold = *bytes++;
    ret_share->point = *bytes++;
    memcpy(ret_share->secret, bytes, sizeof(ret_share->secret));
    return ret_share->threshold >= 2 && ret_share->threshold <= KEEPER_SHARES_MAX && ret_share->point > 0
               ? 0
               : -EBADMSG;
}

int keeper_shares_combine(const KeeperShare *shares, size_t count,
                          uint8_t ret_master[static KEEPER_SHARE_SECRET_SIZE], Error *error)
{
    uint8_t points[KEEPER_SHARES_MAX];
    const uint8_t *secrets[KEEPER_SHARES_MAX];

    if (count > KEEPER_SHARES_MAX)
        return error_set(error, ERROR_TOO_LARGE, "at most %d shares", KEEPER_SHARES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (memcmp(shares[i].set, shares[0].set, sizeof(shares[i].set)) != 0 ||
            shares[i].threshold != shares[0].threshold)
            return error_set(error, ERROR_BAD_REQUEST, "share %zu is of another splitting than the first one",
                             i + 1);
        for (size_t j = 0; j < i; j++)
            if (shares[i].point == shares[j].point)
                return error_set(error, ERROR_BAD_REQUEST, "shares %zu and %zu are the same", j + 1, i + 1);
        points[i] = shares[i].point;
        secrets[i] = shares[i].secret;
    }
    if (count == 0 || count < shares[0].threshold)
        return error_set(error, ERROR_BAD_REQUEST, "%zu shares are not enough%s", count,
                         count > 0 ? "; more of the same splitting are needed" : "");
    return shamir_combine(points, secrets, (unsigned)count, KEEPER_SHARE_SECRET_SIZE, ret_master) < 0
               ? error_set(error, ERROR_BAD_REQUEST, "the shares do not fit together")
               : 0;
}

/* --- signed forms --- */

static const char audit_magic[] = "bastide-audit-head-1";
static const char set_magic[] = "bastide-approved-set-1";

static int append_counted(Buffer *buffer, const char *text)
{
    int r = buffer_append_u32(buffer, (uint32_t)strlen(text));

    return r < 0 ? r : buffer_append_string(buffer, text);
}

int audit_head_encode(const char *shard, uint64_t epoch, uint64_t sequence, Usec time,
                      const uint8_t hash[static HASH_SIZE], Buffer *ret_bytes)
{
    int r = buffer_append_string(ret_bytes, audit_magic);

    if (r >= 0)
        r = append_counted(ret_bytes, shard);
    if (r >= 0)
        r = buffer_append_u64(ret_bytes, epoch);
    if (r >= 0)
        r = buffer_append_u64(ret_bytes, sequence);
    if (r >= 0)
        r = buffer_append_u64(ret_bytes, time);
    return r < 0 ? r : buffer_append(ret_bytes, hash, HASH_SIZE);
}

int audit_head_verify(const uint8_t signing_key[static SIGN_PUBLIC_SIZE], const char *shard, uint64_t epoch,
                      uint64_t sequence, Usec time, const uint8_t hash[static HASH_SIZE],
                      const uint8_t signature[static SIGN_SIGNATURE_SIZE])
{
    _cleanup_buffer_ Buffer bytes = BUFFER_INIT;
    int r = audit_head_encode(shard, epoch, sequence, time, hash, &bytes);

    return r < 0 ? r : sign_verify(signing_key, bytes.data, bytes.size, signature);
}

static bool is_ascending(const uint8_t *digests, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (memcmp(digests + (i - 1) * HASH_SIZE, digests + i * HASH_SIZE, HASH_SIZE) >= 0)
            return false;
    return true;
}

int approved_set_encode(const ApprovedSet *set, Buffer *ret_bytes)
{
    int r;

    if (set->count > KEEPER_DIGESTS_MAX)
        return -E2BIG;
    if (!is_ascending(set->digests, set->count))
        return -EINVAL;
    r = buffer_append_string(ret_bytes, set_magic);
    if (r >= 0)
        r = append_counted(ret_bytes, set->tenant);
    if (r >= 0)
        r = buffer_append_u64(ret_bytes, set->serial);
    if (r >= 0)
        r = buffer_append_u64(ret_bytes, set->expiry);
    if (r >= 0)
        r = buffer_append_u32(ret_bytes, (uint32_t)set->count);
    if (r >= 0 && set->count > 0)
        r = buffer_append(ret_bytes, set->digests, set->count * HASH_SIZE);
    return r;
}

static int approved_set_decode(const void *bytes, size_t size, ApprovedSet *ret_set)
{
    Reader reader = READER(bytes, size);
    ApprovedSet set = {0};
    const uint8_t *data;
    uint32_t length, count;

    if (reader_bytes(&reader, sizeof(set_magic) - 1, &data) < 0 ||
        memcmp(data, set_magic, sizeof(set_magic) - 1) != 0)
        return -EBADMSG;
    if (reader_u32(&reader, &length) < 0 || length > KEEPER_TENANT_MAX ||
        reader_bytes(&reader, length, &data) < 0)
        return -EBADMSG;
    /* A NUL inside would make two different names one. */
    if (length > 0 && memchr(data, 0, length))
        return -EBADMSG;
    memcpy(set.tenant, data, length);
    if (reader_u64(&reader, &set.serial) < 0 || reader_u64(&reader, &set.expiry) < 0 ||
        reader_u32(&reader, &count) < 0 || count > KEEPER_DIGESTS_MAX ||
        reader_bytes(&reader, (size_t)count * HASH_SIZE, &set.digests) < 0 || reader_left(&reader) > 0 ||
        !is_ascending(set.digests, count))
        return -EBADMSG;
    set.count = count;
    *ret_set = set;
    return 0;
}

int approved_set_verify(const uint8_t signing_key[static SIGN_PUBLIC_SIZE], const void *bytes, size_t size,
                        const uint8_t signature[static SIGN_SIGNATURE_SIZE], const char *tenant, Usec now,
                        ApprovedSet *ret_set, Error *error)
{
    ApprovedSet set;

    if (size > SET_MAX || sign_verify(signing_key, bytes, size, signature) < 0)
        return error_set(error, ERROR_UNTRUSTED, "the approved set is not signed by the keeper");
    if (approved_set_decode(bytes, size, &set) < 0)
        return error_set(error, ERROR_PROTOCOL, "the approved set is malformed");
    if (!string_equal(set.tenant, tenant))
        return error_set(error, ERROR_UNTRUSTED, "the approved set is of another tenant");
    if (set.expiry <= now)
        return error_set(error, ERROR_STALE, "the approved set has expired");
    *ret_set = set;
    return 0;
}

bool approved_set_has(const ApprovedSet *set, const uint8_t digest[static HASH_SIZE])
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(set->digests + middle * HASH_SIZE, digest, HASH_SIZE);

        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}
