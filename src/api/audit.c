/* SPDX-License-Identifier: Apache-2.0 */
/* The audit trail, for those who may read it. */

#include <errno.h>

#include "api/audit_heads.h"
#include "api/audit_lines.h"
#include "base/string.h"

static int read_time(ApiCall *call, const char *name, int64_t absent, int64_t *ret_time, Error *error)
{
    const char *text = query_or_empty(call, name);
    Usec time;
    *ret_time = absent;
    if (!*text)
        return 0;
    if (timestamp_parse(text, &time) < 0)
        return error_set_field(error, ERROR_BAD_REQUEST, name,
                               "'%s' must be a time such as 2026-01-31T12:00:00Z.", name);
    *ret_time = (int64_t)time;
    return 0;
}

static int read_filter(ApiCall *call, AuditListParameters *filter, Error *error)
{
    *filter = (AuditListParameters){.actor = query_or_empty(call, "actor"),
                                    .object_tenant = query_or_empty(call, "tenant"),
                                    .action = query_or_empty(call, "action"),
                                    .object = query_or_empty(call, "object"),
                                    .outcome = query_or_empty(call, "outcome"),
                                    .request_id = query_or_empty(call, "request_id")};
    int r = read_time(call, "since", 0, &filter->since, error);
    return r < 0 ? r : read_time(call, "until", INT64_MAX, &filter->until, error);
}

static const char *null_when_empty(const char *text)
{
    return *text ? text : NULL;
}

static void write_record(Writer *writer, const AuditListRow *row)
{
    writer_begin_object(writer, NULL);
    writer_integer(writer, "shard", row->shard);
    writer_integer(writer, "sequence", row->sequence);
    writer_time(writer, "timestamp", row->time);
    writer_string(writer, "actor", row->actor);
    writer_string(writer, "effective_actor", *row->effective_actor ? row->effective_actor : row->actor);
    writer_string(writer, "authentication", null_when_empty(row->authentication));
    writer_string(writer, "tenant", null_when_empty(row->object_tenant));
    writer_string(writer, "source", row->source);
    writer_string(writer, "request_id", row->request_id);
    writer_string(writer, "action", row->action);
    writer_string(writer, "object", row->object);
    writer_string(writer, "outcome", row->outcome);
    writer_string(writer, "digest_before", null_when_empty(row->digest_before));
    writer_string(writer, "digest_after", null_when_empty(row->digest_after));
    writer_raw(writer, "details", row->details);
    writer_end_object(writer);
}

static int list_audit(ApiCall *call, Error *error)
{
    Page page;
    AuditListParameters filter;
    AuditListRow *rows;
    AuditCountRow total = {0};
    size_t count;
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = read_filter(call, &filter, error);
    if (r < 0)
        return r;
    filter.maximum = page.size;
    filter.offset = page.offset;
    r = statement_audit_list(call->transaction, &filter, &rows, &count, error);
    if (r >= 0)
        r = statement_audit_count(call->transaction, &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_record(&writer, &rows[i]);
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

typedef struct Verification {
    AuditVerification chains;
    int64_t signed_records; /* up to the last good signature, of all shards */
    bool has_key;
    uint8_t key[SIGN_PUBLIC_SIZE];
} Verification;

/* The first record that may be wrong, by chain or signature, of the first such shard. */
static int verify_signatures(ApiCall *call, Verification *verification, Error *error)
{
    int64_t *shards;
    size_t count;
    AuditVerification *chains = &verification->chains;
    int r = audit_trail_shards(call->transaction, &shards, &count, error);
    for (size_t i = 0; i < count && r >= 0; i++) {
        int64_t signed_records, bad;
        r = audit_heads_verify(call->transaction, verification->key, shards[i], &signed_records, &bad, error);
        if (r < 0)
            break;
        verification->signed_records += signed_records;
        bool is_earlier = bad > 0 && (chains->bad_sequence == 0 ||
                                      (chains->bad_shard == shards[i] && bad < chains->bad_sequence));
        if (is_earlier && chains->bad_sequence == 0) {
            chains->bad_shard = shards[i];
            chains->bad_sequence = bad;
        }
    }
    return r;
}

static int verify_in_job(ApiCall *call, void *context, Error *error)
{
    Verification *verification = context;
    verification->signed_records = 0;
    int r = audit_trail_verify_all(call->transaction, &verification->chains, error);
    return r < 0 || !verification->has_key ? r : verify_signatures(call, verification, error);
}

static int verify_audit(ApiCall *call, Error *error)
{
    Verification verification = {0};
    Error state = ERROR_INIT;
    verification.has_key = audit_heads_key(call->api, verification.key);
    int r = api_call_run(call, STORE_READ, verify_in_job, &verification, error);
    if (r < 0)
        return r;
    bool fits = audit_heads_check(call->api, &state) >= 0;
    const AuditVerification *chains = &verification.chains;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_boolean(&writer, "valid", chains->bad_sequence == 0 && fits);
    writer_integer(&writer, "records", chains->records);
    writer_integer(&writer, "signed_records", verification.signed_records);
    if (chains->bad_sequence > 0) {
        writer_integer(&writer, "first_bad_shard", chains->bad_shard);
        writer_integer(&writer, "first_bad_sequence", chains->bad_sequence);
    }
    if (!fits)
        writer_string(&writer, "problem", state.text);
    writer_end_object(&writer);
    return writer.status;
}

/* Export
 * ------------------------------------------------------------------------------------------------------------
 */

enum { EXPORT_PAGE = 1000 };

static int heads_in_job(ApiCall *call, void *context, Error *error)
{
    AuditHeadsListRow *rows;
    size_t count;
    int r = statement_audit_heads_list(call->transaction, &rows, &count, error);
    if (r < 0)
        return r;
    buffer_clear(&call->answer);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    audit_line_hex(&writer, "signing_key", (StoreBlob){context, SIGN_PUBLIC_SIZE});
    writer_begin_array(&writer, "items");
    for (size_t i = 0; i < count; i++) {
        writer_begin_object(&writer, NULL);
        writer_integer(&writer, "shard", rows[i].shard);
        writer_integer(&writer, "sequence", rows[i].sequence);
        audit_line_hex(&writer, "hash", rows[i].hash);
        writer_end_object(&writer);
    }
    writer_end_array(&writer);
    writer_end_object(&writer);
    return writer.status;
}

static int get_heads(ApiCall *call, Error *error)
{
    uint8_t key[SIGN_PUBLIC_SIZE];
    if (!audit_heads_key(call->api, key))
        return error_set(error, ERROR_UNAVAILABLE, "The keeper has not told its public key yet.");
    return api_call_run(call, STORE_READ, heads_in_job, key, error);
}

typedef struct ExportPage {
    int64_t shard, after;
} ExportPage;

/* Signatures stand behind the record they are of. */
static int export_in_job(ApiCall *call, void *context, Error *error)
{
    const ExportPage *page = context;
    AuditRecordsAfterRow *rows;
    AuditSignaturesAfterRow *signatures;
    AuditHeadGetRow head;
    size_t count, signature_count, s = 0;
    int r = statement_audit_records_after(
        call->transaction,
        &(AuditRecordsAfterParameters){.shard = page->shard, .after = page->after, .maximum = EXPORT_PAGE},
        &rows, &count, error);
    if (r >= 0)
        r = statement_audit_signatures_after(
            call->transaction,
            &(AuditSignaturesAfterParameters){
                .shard = page->shard, .after = page->after, .after_epoch = INT64_MAX, .maximum = EXPORT_PAGE},
            &signatures, &signature_count, error);
    if (r >= 0)
        r = statement_audit_head_get(call->transaction, &(AuditHeadGetParameters){.shard = page->shard},
                                     &head, error);
    if (r <= 0)
        return r < 0 ? r : error_set_field(error, ERROR_NOT_FOUND, "shard", "There is no such shard.");
    buffer_clear(&call->answer);
    for (size_t i = 0; i < count; i++) {
        audit_line_record(&call->answer, &rows[i]);
        for (; s < signature_count && signatures[s].sequence <= rows[i].sequence; s++)
            audit_line_signature(&call->answer, page->shard, &signatures[s]);
    }
    if (count == EXPORT_PAGE)
        return call->answer.has_overflowed ? -ENOBUFS : 0;
    for (; s < signature_count; s++) /* of records that are gone */
        audit_line_signature(&call->answer, page->shard, &signatures[s]);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "type", "head");
    writer_integer(&writer, "shard", page->shard);
    writer_integer(&writer, "sequence", head.sequence);
    audit_line_hex(&writer, "hash", head.hash);
    writer_end_object(&writer);
    (void)buffer_append_byte(&call->answer, '\n');
    return call->answer.has_overflowed ? -ENOBUFS : 0;
}

static int export_audit(ApiCall *call, Error *error)
{
    ExportPage page = {0};
    int r = query_number(call, "shard", INT32_MAX, &page.shard, error);
    if (r >= 0)
        r = query_number(call, "after", INT64_MAX, &page.after, error);
    return r < 0 ? r : api_call_run(call, STORE_READ, export_in_job, &page, error);
}

static const RouteQuery query_export[] = {
    {"shard", "of which shard; 0 when absent", 0, INT32_MAX},
    {"after", "only what follows the record with this sequence", 0, INT64_MAX},
    {0},
};

const ApiRoute routes_audit[] = {
    ROUTE(GET, "/audit/heads", AUDIT_LIST, NO_TENANT, POOL, NO_BODY, get_heads, NULL, 200,
          "The heads of the hash chains, and the public key that signs them"),
    ROUTE(
        GET, "/audit/export", AUDIT_LIST, NO_TENANT, POOL, NO_BODY, export_audit, NULL, 200,
        "A thousand records of a shard with their signatures, as JSON Lines; the last page ends with a head",
        .query = query_export, .content_type = "application/x-ndjson"),
    ROUTE(GET, "/audit", AUDIT_LIST, NO_TENANT, READ, NO_BODY, list_audit, NULL, 200,
          "The audit trail, newest first", .query = query_audit),
    ROUTE(GET, "/audit/verification", AUDIT_LIST, NO_TENANT, POOL, NO_BODY, verify_audit, NULL, 200,
          "Walks the hash chains, checks all signatures and names the first record that does not fit"),
    {0},
};
