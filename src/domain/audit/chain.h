/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The hash chain of audit records: hash(n) = SHA-256(hash(n-1) | canonical form of record n), hash(0) = 32
 * zero bytes. The canonical form is each field as u32 length (big endian) and bytes, numbers as decimal text,
 * in the order of the structure; records of format 1 lack the fields that came later. Pure; any thread. The
 * manager writes with it, and the command line checks exports with it. */

#include "base/macros.h"
#include "crypto/hash.h"

enum { AUDIT_FORMAT_FIRST = 1, AUDIT_FORMAT_CURRENT = 2 };

typedef struct AuditEntry {
    int64_t shard, sequence, time; /* time in µs since 1970 */
    const char *actor, *tenant, *source, *request_id, *action, *object, *outcome, *details;
    int64_t format; /* from here on: not hashed in format 1 */
    const char *effective_actor, *authentication, *digest_before, *digest_after;
} AuditEntry;

/* No string may be NULL. */
void audit_chain_hash(const uint8_t previous[static HASH_SIZE], const AuditEntry *entry,
                      uint8_t ret_hash[static HASH_SIZE]);
