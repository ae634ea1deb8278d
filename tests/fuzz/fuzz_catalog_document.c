/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON as a document of any kind: the first byte chooses. A document is an entry, or has at least one
 * error that can be shown; the places of the issues lie inside the text. */
#include <string.h>

#include "base/string.h"
#include "domain/catalog/catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    CatalogKind kind = (CatalogKind)(data[0] % _CATALOG_KIND_MAX);
    const char *text = (const char *)data + 1;
    _cleanup_json_ json_t *document = NULL;
    if (json_parse(text, size - 1, 64 * 1024, &document, NULL) < 0)
        return 0;
    _cleanup_memory_catalog_ MemoryCatalog *catalog = memory_catalog_new();
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    _cleanup_issues_ IssueList issues = {0};
    int r = catalog_validate(memory_catalog_interface(catalog), kind, NULL, document, &entry, &issues, NULL);
    ASSERT((r == 0) == (entry != NULL));
    ASSERT((r < 0) == (issues.error_count > 0));
    issue_list_locate(&issues, text, size - 1);
    for (size_t i = 0; i < issues.count; i++)
        ASSERT(issues.items[i].line <= size && issues.items[i].column <= size);
    json_decref(issue_list_to_json(&issues, ISSUE_ERROR));
    json_decref(issue_list_to_json(&issues, ISSUE_WARNING));
    if (kind == CATALOG_PROVIDER && json_is_object(document))
        json_decref(provider_document_redact(document));
    return 0;
}
