/* SPDX-License-Identifier: Apache-2.0 */
/* A member's path on the first line, a document after it: a place that is found lies in the document.
 * Besides, the same bytes as the answer of a server at first contact. */
#include <stdlib.h>

#include "base/memory.h"
#include "base/string.h"
#include "cli/document.h"
#include "cli/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 && size < 65536 ? memchr(data, '\n', size) : NULL;
    char *body = NULL;
    if (trust_read_answer((const char *)data, size, &body) == 0)
        ASSERT(body && strlen(body) <= size);
    free(body);
    if (!end)
        return 0;
    _cleanup_free_ char *field = string_duplicate_n((const char *)data, (size_t)(end - data));
    _cleanup_free_ char *text = string_duplicate_n((const char *)end + 1, size - (size_t)(end - data) - 1);
    unsigned line = 0, column = 0, lines = 1;
    /* NEL and the separators of Unicode end a line for YAML, too; only their upper bound counts here. */
    for (const char *c = text; *c; c++)
        lines += *c == '\n' || *c == '\r' || (uint8_t)*c >= 0x80;
    if (document_locate(text, strlen(text), field, &line, &column))
        ASSERT(line >= 1 && line <= lines + 1 && column >= 1);
    return 0;
}
