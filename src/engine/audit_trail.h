/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The audit trail (SV6): one record for each change, denial and task transition, written in the transaction
 * of what it records, so that neither exists without the other. Records of a shard form a hash chain
 * (domain/audit/chain.h). Any thread, in write jobs.
 *
 * The store has one writer, so all records are written to one shard. Whoever reads takes every shard that is
 * there: records of different shards are in no order but that of time. */

#include "store/store.h"

typedef struct AuditRecord {
    const char *actor;           /* user name, "provisioner:<id>", "system" */
    const char *effective_actor; /* in whose name, when not the actor's; NULL = the actor's */
    const char *authentication;  /* "password", "token:<id>", "certificate:<serial>", "local"; NULL = none */
    const char *tenant;          /* of the object; NULL = the system */
    const char *source;          /* address; NULL = local */
    const char *request_id;      /* NULL = none */
    const char *action;          /* "cluster_create", "task_succeeded" */
    const char *object;          /* "cluster:<id>" */
    const char *outcome;         /* NULL = "done"; else "denied", "failed", "replayed" */
    const char *digest_before, *digest_after; /* hex SHA-256 of the object's representation; NULL = none */
    const char *details;                      /* JSON text; NULL = {} */
} AuditRecord;

enum { AUDIT_HASH_SIZE = 32 };

int audit_trail_append(StoreTransaction *transaction, const AuditRecord *record, Error *error);
/* In this order; the head is read and set once. */
int audit_trail_append_many(StoreTransaction *transaction, const AuditRecord *records, size_t count,
                            Error *error);

/* The shards there are, in order, in the transaction's arena; looks through all records. */
int audit_trail_shards(StoreTransaction *transaction, int64_t **ret_shards, size_t *ret_count, Error *error);

/* Walks the whole chain of a shard; ret_bad_sequence is 0 when it holds, or the first record that does not
 * fit. */
int audit_trail_verify(StoreTransaction *transaction, int64_t shard, int64_t *ret_last_sequence,
                       int64_t *ret_bad_sequence, Error *error);

typedef struct AuditVerification {
    int64_t records;                 /* that hold, of all shards */
    int64_t bad_shard, bad_sequence; /* bad_sequence = 0: every chain holds */
} AuditVerification;

/* Walks every shard, and names the first one that is broken. */
int audit_trail_verify_all(StoreTransaction *transaction, AuditVerification *ret_verification, Error *error);
