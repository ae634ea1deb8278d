/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The language between keeper and its callers: one table of requests with who may ask, the fields in and the
 * fields out; one table of fields. Frames are those of base/message.h, at most KEEPER_FRAME_LIMIT bytes. The
 * answer to a request has its type with KEEPER_ANSWER set, or is ERROR. Also the byte forms that the keeper
 * signs, so that every verifier builds the same. Any thread; no state. docs/internals/protocols.md section 2
 * describes it for people. */

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/message.h"
#include "crypto/hash.h"
#include "crypto/sign.h"

enum {
    KEEPER_FRAME_LIMIT = 256 * 1024,
    KEEPER_ANSWER = 0x8000,
    KEEPER_ERROR = 0xffff, /* type of an error answer */
    KEEPER_TENANT_MAX = 255,
    KEEPER_CONTEXT_MAX = 1024,
    KEEPER_VALUE_MAX = 128 * 1024, /* plaintext of a sealed value */
    KEEPER_DIGESTS_MAX = 4096,
    KEEPER_SHARD_MAX = 64,
};

/* Who asks, from the peer's credentials; bits, because a request may be for both. */
typedef enum KeeperPeer {
    KEEPER_PEER_NONE = 0,
    KEEPER_PEER_ROOT = 1 << 0,
    KEEPER_PEER_MANAGER = 1 << 1,
} KeeperPeer;

/* Whose values those of configuration files are: no tenant can have the name. Their keys are not destroyed by
 * a rotation, because nobody could seal a file of root anew. */
#define KEEPER_TENANT_CONFIGURATION "(configuration)"

/* Field tags, one meaning in all messages; messages list theirs in ascending order. */
typedef enum KeeperField {
    KEEPER_FIELD_CODE = 1,
    KEEPER_FIELD_TEXT,
    KEEPER_FIELD_STATE,
    KEEPER_FIELD_VERSION,
    KEEPER_FIELD_GENERATION,
    KEEPER_FIELD_ORGANISATION,
    KEEPER_FIELD_CA_CERTIFICATE,
    KEEPER_FIELD_CA_KEY,
    KEEPER_FIELD_PASSPHRASE,
    KEEPER_FIELD_CHAIN,
    KEEPER_FIELD_SSH_USER_CA,
    KEEPER_FIELD_SSH_HOST_CA,
    KEEPER_FIELD_SIGNING_KEY,
    KEEPER_FIELD_CLASS,
    KEEPER_FIELD_TENANT,
    KEEPER_FIELD_CONTEXT,
    KEEPER_FIELD_PLAINTEXT,
    KEEPER_FIELD_SEALED,
    KEEPER_FIELD_PROVISIONER,
    KEEPER_FIELD_ENVELOPE,
    KEEPER_FIELD_LENGTH,
    KEEPER_FIELD_ALPHABET,
    KEEPER_FIELD_PROFILE,
    KEEPER_FIELD_PUBLIC_KEY,
    KEEPER_FIELD_ENVELOPE_KEY,
    KEEPER_FIELD_COMMON_NAME,
    KEEPER_FIELD_DNS_NAME,
    KEEPER_FIELD_IP_ADDRESS,
    KEEPER_FIELD_URI,
    KEEPER_FIELD_LIFE_SECONDS,
    KEEPER_FIELD_SERIAL,
    KEEPER_FIELD_KEY_ID,
    KEEPER_FIELD_PRINCIPAL,
    KEEPER_FIELD_FORCE_COMMAND,
    KEEPER_FIELD_SOURCE_ADDRESS,
    KEEPER_FIELD_PTY,
    KEEPER_FIELD_CERTIFICATE,
    KEEPER_FIELD_SHARD,
    KEEPER_FIELD_SEQUENCE,
    KEEPER_FIELD_HASH,
    KEEPER_FIELD_TIME,
    KEEPER_FIELD_SET_SERIAL,
    KEEPER_FIELD_EXPIRY,
    KEEPER_FIELD_DIGEST,
    KEEPER_FIELD_SET,
    KEEPER_FIELD_SIGNATURE,
    KEEPER_FIELD_RETIRED,
    KEEPER_FIELD_ROTATING,
    KEEPER_FIELD_WRAPPED,
    KEEPER_FIELD_COUNT,
    KEEPER_FIELD_THRESHOLD,
    KEEPER_FIELD_SHARE,
    KEEPER_FIELD_EPOCH,
} KeeperField;

typedef enum KeeperRequest {
#define KEEPER_REQUEST(symbol, number, name, who) KEEPER_##symbol = number,
#include "custody/keeper-requests.h"
#undef KEEPER_REQUEST
} KeeperRequest;

/* Tables for message_decode: what the keeper takes, what a client takes. */
extern const MessageType keeper_request_types[];
extern const MessageType keeper_answer_types[];
/* KeeperPeer bits that may ask; KEEPER_PEER_NONE for an unknown type. */
unsigned keeper_request_who(uint16_t type);
const char *keeper_peer_to_string(KeeperPeer peer);

/* Size of the whole frame from its first four bytes; -EBADMSG or -E2BIG for one that no message can have. */
ssize_t keeper_frame_size(const uint8_t length[static 4]);

typedef enum KeeperState {
    KEEPER_STATE_UNINITIALISED,
    KEEPER_STATE_SEALED,
    KEEPER_STATE_OPEN,
    _KEEPER_STATE_MAX,
    _KEEPER_STATE_INVALID = -22,
} KeeperState;
const char *keeper_state_to_string(KeeperState state);
KeeperState keeper_state_from_string(const char *text);

typedef enum SecretAlphabet {
    SECRET_ALPHANUMERIC,
    SECRET_HEX,
    SECRET_BASE64URL,
    _SECRET_ALPHABET_MAX,
    _SECRET_ALPHABET_INVALID = -22,
} SecretAlphabet;
enum { SECRET_LENGTH_MINIMUM = 12, SECRET_LENGTH_MAXIMUM = 512 };
const char *secret_alphabet_to_string(SecretAlphabet alphabet);
SecretAlphabet secret_alphabet_from_string(const char *text);
/* The characters, e.g. "0123456789abcdef". */
const char *secret_alphabet_characters(SecretAlphabet alphabet);

/* --- escrow --- */

/* One share of the master key: "BSS1", set (4 bytes, the same for all shares of one splitting), threshold,
 * point, the share itself, the first 4 bytes of the SHA-256 of all that. As text: "bastide-share-1:" and
 * hexadecimal. */
enum {
    KEEPER_SHARES_MAX = 16,
    KEEPER_SHARE_SECRET_SIZE = 32,
    KEEPER_SHARE_SIZE = 4 + 4 + 1 + 1 + KEEPER_SHARE_SECRET_SIZE + 4,
};
typedef struct KeeperShare {
    uint8_t set[4], threshold, point, secret[KEEPER_SHARE_SECRET_SIZE];
} KeeperShare;
void keeper_share_encode(const KeeperShare *share, uint8_t ret_bytes[static KEEPER_SHARE_SIZE]);
/* -EBADMSG for what is none or was mistyped. */
int keeper_share_decode(const uint8_t *bytes, size_t size, KeeperShare *ret_share);
/* Gives the key; says which share is wrong, doubled, of another set, or how many are missing. */
int keeper_shares_combine(const KeeperShare *shares, size_t count,
                          uint8_t ret_master[static KEEPER_SHARE_SECRET_SIZE], Error *error);

/* --- signed forms --- */

/* What SIGN_AUDIT_HEAD signs: "bastide-audit-head-1", u32 length + shard, u64 epoch, u64 sequence, u64 time
 * (µs), hash. The epoch is the keeper's: it grows when root accepts a restored database, and only then may
 * sequences begin anew. */
int audit_head_encode(const char *shard, uint64_t epoch, uint64_t sequence, Usec time,
                      const uint8_t hash[static HASH_SIZE], Buffer *ret_bytes);
/* 0 or -EKEYREJECTED. */
int audit_head_verify(const uint8_t signing_key[static SIGN_PUBLIC_SIZE], const char *shard, uint64_t epoch,
                      uint64_t sequence, Usec time, const uint8_t hash[static HASH_SIZE],
                      const uint8_t signature[static SIGN_SIGNATURE_SIZE]);

/* What SIGN_APPROVED_SET signs: "bastide-approved-set-1", u32 length + tenant, u64 serial, u64 expiry (µs),
 * u32 count, the digests in strictly ascending order. */
typedef struct ApprovedSet {
    char tenant[KEEPER_TENANT_MAX + 1];
    uint64_t serial;
    Usec expiry;
    const uint8_t *digests; /* count * HASH_SIZE bytes; borrowed from the encoded form */
    size_t count;
} ApprovedSet;
int approved_set_encode(const ApprovedSet *set, Buffer *ret_bytes);
/* Checks the signature first, then the form, tenant and that it has not expired at `now`. ret_set points into
 * bytes. */
int approved_set_verify(const uint8_t signing_key[static SIGN_PUBLIC_SIZE], const void *bytes, size_t size,
                        const uint8_t signature[static SIGN_SIGNATURE_SIZE], const char *tenant, Usec now,
                        ApprovedSet *ret_set, Error *error);
bool approved_set_has(const ApprovedSet *set, const uint8_t digest[static HASH_SIZE]);
