/* SPDX-License-Identifier: Apache-2.0 */
#include "api/audit_lines.h"

#include "base/string.h"
#include "crypto/sign.h"

void audit_line_hex(Writer *writer, const char *name, StoreBlob bytes)
{
    char hex[2 * SIGN_SIGNATURE_SIZE + 1] = "";
    if (bytes.size <= SIGN_SIGNATURE_SIZE)
        hex_encode(bytes.data, bytes.size, hex);
    writer_string(writer, name, hex);
}

/* The exact text of `details` is hashed, so it is a string here. */
void audit_line_record(Buffer *page, const AuditRecordsAfterRow *row)
{
    Writer writer = writer_new(page);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "type", "record");
    writer_integer(&writer, "format", row->format);
    writer_integer(&writer, "shard", row->shard);
    writer_integer(&writer, "sequence", row->sequence);
    writer_integer(&writer, "time", row->time);
    writer_string(&writer, "actor", row->actor);
    writer_string(&writer, "effective_actor", row->effective_actor);
    writer_string(&writer, "authentication", row->authentication);
    writer_string(&writer, "tenant", row->object_tenant);
    writer_string(&writer, "source", row->source);
    writer_string(&writer, "request_id", row->request_id);
    writer_string(&writer, "action", row->action);
    writer_string(&writer, "object", row->object);
    writer_string(&writer, "outcome", row->outcome);
    writer_string(&writer, "digest_before", row->digest_before);
    writer_string(&writer, "digest_after", row->digest_after);
    writer_string(&writer, "details", row->details);
    audit_line_hex(&writer, "hash", row->hash);
    writer_end_object(&writer);
    (void)buffer_append_byte(page, '\n');
}

void audit_line_signature(Buffer *page, int64_t shard, const AuditSignaturesAfterRow *row)
{
    Writer writer = writer_new(page);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "type", "signature");
    writer_integer(&writer, "shard", shard);
    writer_integer(&writer, "epoch", row->epoch);
    writer_integer(&writer, "sequence", row->sequence);
    writer_integer(&writer, "time", row->time);
    audit_line_hex(&writer, "hash", row->hash);
    audit_line_hex(&writer, "signature", row->signature);
    writer_end_object(&writer);
    (void)buffer_append_byte(page, '\n');
}
