/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Lines of an export of the audit trail (JSON, one object a line), also what is shipped off. Any thread. */

#include "api/writer.h"
#include "store/statements.h"

void audit_line_hex(Writer *writer, const char *name, StoreBlob bytes);
void audit_line_record(Buffer *page, const AuditRecordsAfterRow *row);
void audit_line_signature(Buffer *page, int64_t shard, const AuditSignaturesAfterRow *row);
