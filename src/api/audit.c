/* SPDX-License-Identifier: Apache-2.0 */
/* The audit trail, for those who may read it. */

#include "api/api_internal.h"
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

static int verify_audit(ApiCall *call, Error *error)
{
    AuditVerification verification;
    int r = audit_trail_verify_all(call->transaction, &verification, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_boolean(&writer, "valid", verification.bad_sequence == 0);
    writer_integer(&writer, "records", verification.records);
    if (verification.bad_sequence > 0) {
        writer_integer(&writer, "first_bad_shard", verification.bad_shard);
        writer_integer(&writer, "first_bad_sequence", verification.bad_sequence);
    }
    writer_end_object(&writer);
    return writer.status;
}

const ApiRoute routes_audit[] = {
    ROUTE(GET, "/audit", AUDIT_LIST, NO_TENANT, READ, NO_BODY, list_audit, NULL, 200,
          "The audit trail, newest first", .query = query_audit),
    ROUTE(GET, "/audit/verification", AUDIT_LIST, NO_TENANT, READ, NO_BODY, verify_audit, NULL, 200,
          "Walks the hash chains and names the first record that does not fit"),
    {0},
};
