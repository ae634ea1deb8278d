/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/audit_trail.h"

#include "base/string.h"
#include "domain/audit/chain.h"
#include "store/statements.h"

/* One writer, so one chain. The head is read and set in the same serialisable transaction, so two records can
 * never follow the same one, whoever else writes. */
enum { AUDIT_SHARD = 0, VERIFY_PAGE = 1000 };

static int head_get(StoreTransaction *transaction, int64_t shard, int64_t *ret_sequence,
                    uint8_t ret_hash[static AUDIT_HASH_SIZE], Error *error)
{
    static const uint8_t zero[AUDIT_HASH_SIZE];
    AuditHeadGetRow head;
    int r = statement_audit_head_get(transaction, &(AuditHeadGetParameters){.shard = shard}, &head, error);
    if (r < 0)
        return r;
    if (r == 0) {
        r = statement_audit_head_insert(
            transaction,
            &(AuditHeadInsertParameters){
                .shard = shard, .sequence = 0, .hash = {zero, sizeof(zero)}, .signature = {zero, 0}},
            error);
        if (r < 0)
            return r;
        *ret_sequence = 0;
        memcpy(ret_hash, zero, sizeof(zero));
        return 0;
    }
    if (head.hash.size != AUDIT_HASH_SIZE)
        return error_set(error, ERROR_INTERNAL, "The head of the audit trail is damaged.");
    *ret_sequence = head.sequence;
    memcpy(ret_hash, head.hash.data, AUDIT_HASH_SIZE);
    return 0;
}

/* Fills a row and moves *hash on to it. */
static void chain_record(StoreTransaction *transaction, const AuditRecord *record, int64_t shard,
                         int64_t sequence, uint8_t hash[static AUDIT_HASH_SIZE],
                         AuditRecordInsertParameters *row)
{
    const AuditEntry entry = {
        .shard = shard,
        .sequence = sequence,
        .time = (int64_t)store_now(transaction),
        .actor = record->actor,
        .tenant = record->tenant ?: "",
        .source = record->source ?: "",
        .request_id = record->request_id ?: "",
        .action = record->action,
        .object = record->object,
        .outcome = record->outcome ?: "done",
        .details = record->details ?: "{}",
        .format = AUDIT_FORMAT_CURRENT,
        .effective_actor = record->effective_actor ?: "",
        .authentication = record->authentication ?: "",
        .digest_before = record->digest_before ?: "",
        .digest_after = record->digest_after ?: "",
    };
    uint8_t *next = arena_allocate(store_arena(transaction), AUDIT_HASH_SIZE);
    audit_chain_hash(hash, &entry, next);
    memcpy(hash, next, AUDIT_HASH_SIZE);
    *row = (AuditRecordInsertParameters){
        .shard = entry.shard,
        .sequence = entry.sequence,
        .time = entry.time,
        .actor = entry.actor,
        .object_tenant = entry.tenant,
        .source = entry.source,
        .request_id = entry.request_id,
        .action = entry.action,
        .object = entry.object,
        .outcome = entry.outcome,
        .details = entry.details,
        .format = entry.format,
        .effective_actor = entry.effective_actor,
        .authentication = entry.authentication,
        .digest_before = entry.digest_before,
        .digest_after = entry.digest_after,
        .hash = {next, AUDIT_HASH_SIZE},
    };
}

int audit_trail_append_many(StoreTransaction *transaction, const AuditRecord *records, size_t count,
                            Error *error)
{
    if (count == 0)
        return 0;
    const int64_t shard = AUDIT_SHARD;
    int64_t sequence = 0;
    uint8_t hash[AUDIT_HASH_SIZE];
    int r = head_get(transaction, shard, &sequence, hash, error);
    if (r < 0)
        return r;
    AuditRecordInsertParameters *rows = arena_allocate_array(store_arena(transaction), count, sizeof(*rows));
    for (size_t i = 0; i < count; i++)
        chain_record(transaction, &records[i], shard, sequence + 1 + (int64_t)i, hash, &rows[i]);
    /* The head first: on PostgreSQL a competing record then fails as a serialisation failure, which is tried
     * again, and not as a record that exists already. It cannot move within this transaction; if it did, the
     * records would not be the first of their number. */
    r = statement_audit_head_set(transaction,
                                 &(AuditHeadSetParameters){.shard = shard,
                                                           .sequence = sequence + (int64_t)count,
                                                           .previous_sequence = sequence,
                                                           .hash = {hash, sizeof(hash)}},
                                 error);
    for (size_t i = 0; i < count && r >= 0; i++)
        r = statement_audit_record_insert(transaction, &rows[i], error);
    return MIN(r, 0);
}

int audit_trail_append(StoreTransaction *transaction, const AuditRecord *record, Error *error)
{
    return audit_trail_append_many(transaction, record, 1, error);
}

static bool row_fits(const AuditRecordsAfterRow *row, int64_t expected_sequence,
                     uint8_t hash[static AUDIT_HASH_SIZE])
{
    const AuditEntry entry = {
        .shard = row->shard,
        .sequence = row->sequence,
        .time = row->time,
        .actor = row->actor,
        .tenant = row->object_tenant,
        .source = row->source,
        .request_id = row->request_id,
        .action = row->action,
        .object = row->object,
        .outcome = row->outcome,
        .details = row->details,
        .format = row->format,
        .effective_actor = row->effective_actor,
        .authentication = row->authentication,
        .digest_before = row->digest_before,
        .digest_after = row->digest_after,
    };
    uint8_t next[AUDIT_HASH_SIZE];
    audit_chain_hash(hash, &entry, next);
    if (row->sequence != expected_sequence || row->hash.size != AUDIT_HASH_SIZE ||
        memcmp(row->hash.data, next, AUDIT_HASH_SIZE) != 0)
        return false;
    memcpy(hash, next, AUDIT_HASH_SIZE);
    return true;
}

int audit_trail_shards(StoreTransaction *transaction, int64_t **ret_shards, size_t *ret_count, Error *error)
{
    AuditShardsRow *rows;
    size_t count;
    int r = statement_audit_shards(transaction, &rows, &count, error);
    if (r < 0)
        return r;
    int64_t *shards = arena_allocate_array(store_arena(transaction), count, sizeof(*shards));
    for (size_t i = 0; i < count; i++)
        shards[i] = rows[i].shard;
    *ret_shards = shards;
    *ret_count = count;
    return 0;
}

int audit_trail_verify(StoreTransaction *transaction, int64_t shard, int64_t *ret_last_sequence,
                       int64_t *ret_bad_sequence, Error *error)
{
    uint8_t hash[AUDIT_HASH_SIZE] = {0};
    int64_t last = 0;
    for (;;) {
        AuditRecordsAfterRow *rows;
        size_t count;
        int r = statement_audit_records_after(
            transaction,
            &(AuditRecordsAfterParameters){.shard = shard, .after = last, .maximum = VERIFY_PAGE}, &rows,
            &count, error);
        if (r < 0)
            return r;
        for (size_t i = 0; i < count; i++) {
            if (!row_fits(&rows[i], last + 1, hash)) {
                *ret_last_sequence = last;
                *ret_bad_sequence = last + 1;
                return 0;
            }
            last++;
        }
        if (count < VERIFY_PAGE)
            break;
    }
    AuditHeadGetRow head;
    int r = statement_audit_head_get(transaction, &(AuditHeadGetParameters){.shard = shard}, &head, error);
    if (r < 0)
        return r;
    bool is_cut = r == 0 ? last > 0
                         : head.sequence != last || head.hash.size != AUDIT_HASH_SIZE ||
                               memcmp(head.hash.data, hash, AUDIT_HASH_SIZE) != 0;
    *ret_last_sequence = last;
    *ret_bad_sequence = is_cut ? last + 1 : 0;
    return 0;
}

int audit_trail_verify_all(StoreTransaction *transaction, AuditVerification *ret_verification, Error *error)
{
    AuditVerification verification = {0};
    int64_t *shards;
    size_t count;
    int r = audit_trail_shards(transaction, &shards, &count, error);
    for (size_t i = 0; i < count && r >= 0; i++) {
        int64_t last, bad;
        r = audit_trail_verify(transaction, shards[i], &last, &bad, error);
        if (r < 0)
            break;
        verification.records += last;
        if (bad > 0 && verification.bad_sequence == 0) {
            verification.bad_shard = shards[i];
            verification.bad_sequence = bad;
        }
    }
    if (r < 0)
        return r;
    *ret_verification = verification;
    return 0;
}
