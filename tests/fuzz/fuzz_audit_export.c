/* SPDX-License-Identifier: Apache-2.0 */
/* An export of the audit trail: whatever is in it, the reader says at most that it does not hold. */
#include <string.h>

#include "cli/audit_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[SIGN_PUBLIC_SIZE];
    AuditFile *file = audit_file_new(key);
    AuditFileReport report = {0};
    Error error = ERROR_INIT;
    int r = 0;
    while (r >= 0 && size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t length = end ? (size_t)(end - data) : size;
        r = audit_file_line(file, (const char *)data, length, &error);
        data += end ? length + 1 : length;
        size -= end ? length + 1 : length;
    }
    if (r >= 0)
        r = audit_file_end(file, &report, &error);
    ASSERT((r < 0) == error_is_set(&error));
    ASSERT(r < 0 || report.unsigned_records <= report.records);
    audit_file_free(file);
    return 0;
}
