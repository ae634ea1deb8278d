/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the domain share. JSON is written with single quotes for double ones. */

/* cmocka wants these before its header. */
/* clang-format off */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
/* clang-format on */

#include "base/string.h"
#include "domain/catalog/catalog.h"

static inline json_t *quoted_json(const char *text)
{
    char *copy = string_duplicate(text);
    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    Error error = ERROR_INIT;
    json_t *value = NULL;
    if (json_parse(copy, strlen(copy), 16 * 1024 * 1024, &value, &error) < 0)
        fail_msg("test JSON: %s (line %u column %u): %s", error.text, error.line, error.column, copy);
    free(copy);
    return value;
}

static inline void print_issues(const IssueList *issues)
{
    for (size_t i = 0; i < issues->count; i++)
        print_message("  %s %s: %s\n", issues->items[i].severity == ISSUE_ERROR ? "error" : "warning",
                      issues->items[i].rule, issues->items[i].message);
}

/* Adds a document to the catalog; fails the test when it has an error. */
static inline void put_document(MemoryCatalog *catalog, CatalogKind kind, json_t *document)
{
    _cleanup_issues_ IssueList issues = {0};
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    if (catalog_entry_parse(kind, document, 1, &entry, &issues) < 0) {
        print_issues(&issues);
        fail_msg("the document has errors");
    }
    memory_catalog_put(catalog, entry);
}

static inline void put(MemoryCatalog *catalog, CatalogKind kind, const char *text)
{
    _cleanup_json_ json_t *document = quoted_json(text);
    put_document(catalog, kind, document);
}

/* All documents below DIRECTORY/<kind>/. */
void put_folder(MemoryCatalog *catalog, const char *directory);
/* Reads one file as JSON; fails the test when it cannot. */
json_t *read_json(const char *path);
