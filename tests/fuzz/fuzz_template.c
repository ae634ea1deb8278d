/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON as a cluster template, and as a request for a cluster: parsed, checked, and its macros collected.
 */
#include "domain/catalog/catalog.h"
#include "domain/macro/macro.h"
#include "domain/topology/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_json_ json_t *document = NULL;
    if (json_parse((const char *)data, size, 64 * 1024, &document, NULL) < 0)
        return 0;
    _cleanup_issues_ IssueList issues = {0}, request_issues = {0};
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    if (catalog_entry_parse(CATALOG_CLUSTER_TEMPLATE, document, 1, &entry, &issues) == 0) {
        const CatalogTemplate *template = &entry->template;
        ASSERT(entry->name);
        for (size_t i = 0; i < template->constraint_count; i++)
            ASSERT(template->constraints[i].minimum <= template->constraints[i].maximum);
        /* Whatever was accepted has no malformed macro. */
        _cleanup_macro_references_ MacroReferences references = {0};
        if (template->config)
            ASSERT(macro_references(template->config, &references, NULL) == 0);
    } else
        ASSERT(issues.error_count > 0);
    _cleanup_cluster_request_ ClusterRequest *request = NULL;
    if (cluster_request_parse(document, &request, &request_issues) == 0)
        ASSERT(request->name && request->template && request->nodes >= 0);
    return 0;
}
