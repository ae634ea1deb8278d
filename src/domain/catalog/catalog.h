/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The catalog: documents of the Coopr format to typed entries, the rules that a document must keep, and the
 * interface through which rules and planner look entries up. Documents of the older system are accepted
 * unchanged: members that are not known there are warnings; the members of our own (network, certificates,
 * secrets, script actions) are strict. References to what does not exist are warnings here and errors when a
 * plan needs them. Entries are reference counted and immutable. One thread at a time per entry and catalog.
 */

#include "base/string.h"
#include "domain/catalog/issue.h"
#include "domain/catalog/provider-type.h"
#include "model/catalog.h"

/* "providers", "hardwaretypes", "imagetypes", "services", "clustertemplates": as in the paths of the API. */
const char *catalog_kind_to_string(CatalogKind kind);
CatalogKind catalog_kind_from_string(const char *text);
const char *service_action_to_string(ServiceAction action);
ServiceAction service_action_from_string(const char *text);
/* Whether there is code here that runs actions of this type ("script"). */
bool action_type_has_executor(const char *type);

enum { CATALOG_DOCUMENT_LIMIT = 1024 * 1024 };

/* Makes an entry; the document is borrowed (a reference is kept, it must not change any more). Every fault
 * goes to issues; with an error among them the return is -EINVAL and there is no entry. version 0 = not
 * stored yet. */
int catalog_entry_parse(CatalogKind kind, json_t *document, int64_t version, CatalogEntry **ret_entry,
                        IssueList *issues);
CatalogEntry *catalog_entry_ref(const CatalogEntry *entry);
CatalogEntry *catalog_entry_unref(CatalogEntry *entry);
DEFINE_CLEANUP(CatalogEntry, catalog_entry_unref);
#define _cleanup_catalog_entry_ _cleanup_(catalog_entry_unref_pointer)

/* Where entries are looked up. Implemented below in memory, and by the manager over the store. */
typedef struct Catalog Catalog;
struct Catalog {
    /* A reference of the caller's own, or NULL in *ret_entry when there is none by that name. */
    int (*get)(Catalog *catalog, CatalogKind kind, const char *name, CatalogEntry **ret_entry, Error *error);
    /* All names of a kind, bytewise sorted. */
    int (*list)(Catalog *catalog, CatalogKind kind, StringList *ret_names, Error *error);
};
static inline int catalog_get(Catalog *catalog, CatalogKind kind, const char *name, CatalogEntry **ret_entry,
                              Error *error)
{
    return catalog->get(catalog, kind, name, ret_entry, error);
}

typedef struct MemoryCatalog MemoryCatalog;
MemoryCatalog *memory_catalog_new(void);
MemoryCatalog *memory_catalog_free(MemoryCatalog *catalog);
DEFINE_CLEANUP(MemoryCatalog, memory_catalog_free);
#define _cleanup_memory_catalog_ _cleanup_(memory_catalog_free_pointer)
Catalog *memory_catalog_interface(MemoryCatalog *catalog);
/* Takes a reference of its own; replaces one of the same kind and name. */
void memory_catalog_put(MemoryCatalog *catalog, const CatalogEntry *entry);

/* Everything that a write checks: the document by itself, then against the rest of the catalog (references,
 * cycles among services). Returns 0 with *ret_entry set (ret_entry may be NULL), -EINVAL with errors in
 * issues, or another negative errno with *error set when the catalog could not be read. name (may be NULL):
 * what the path of the request says; it must be the document's. */
int catalog_validate(Catalog *catalog, CatalogKind kind, const char *name, json_t *document,
                     CatalogEntry **ret_entry, IssueList *issues, Error *error);

/* A copy of a provider's document in which each sensitive field is {"sealed": true}. Owned. */
json_t *provider_document_redact(const json_t *document);
