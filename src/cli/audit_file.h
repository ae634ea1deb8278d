/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Checks an export of the audit trail without the manager: every record against the chain, every signature
 * against the keeper's public key. Line by line, so with little memory; the first line that is wrong ends it,
 * and the error names the line and the record. The file is not trusted. One thread.
 *
 * What no export can show is that records after its last signature were left out: the report says up to where
 * it is signed. */

#include "base/error.h"
#include "crypto/hash.h"
#include "crypto/sign.h"

typedef struct AuditFile AuditFile;

enum { AUDIT_FILE_LINE_MAX = 256 * 1024, AUDIT_FILE_SHARDS_MAX = 64 };

AuditFile *audit_file_new(const uint8_t key[static SIGN_PUBLIC_SIZE]);
AuditFile *audit_file_free(AuditFile *file);
DEFINE_CLEANUP(AuditFile, audit_file_free);

/* One line without its end. */
int audit_file_line(AuditFile *file, const char *line, size_t size, Error *error);

typedef struct AuditFileReport {
    uint64_t records, signatures;
    uint64_t unsigned_records; /* after the last signature of their shard */
    int64_t last_signed_time;  /* µs since 1970; 0 = nothing is signed */
} AuditFileReport;
/* There is no more. */
int audit_file_end(AuditFile *file, AuditFileReport *ret_report, Error *error);
