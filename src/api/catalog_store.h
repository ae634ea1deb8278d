/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The catalog of one tenant as the rules want it: the documents of the store, parsed once. In memory, read in
 * one job; it does not follow later changes. One thread. */

#include "api/api_internal.h"
#include "domain/catalog/catalog.h"

/* In a job: what the caller sees of its tenant's catalog, or with GRANT_USE may plan with, and what is there
 * for all tenants. Documents that no longer parse (written by an older version) are left out and logged. */
int catalog_store_load(StoreTransaction *transaction, const ApiCall *call, unsigned right,
                       MemoryCatalog **ret_catalog, Error *error);

/* A document to be written: checked, its sensitive fields taken out for the keeper. */
typedef struct CatalogWrite {
    CatalogKind kind;
    const char *name;
    json_t *document; /* owned: redacted, as it is stored */
    CatalogEntry *entry;
    struct SealedField {
        char *name, *context;
        Secret *plain;
        Buffer sealed;
    } * fields;
    size_t field_count;
    int64_t version; /* out */
    bool is_changed; /* out */
} CatalogWrite;
void catalog_write_done(CatalogWrite *write);
/* Takes the sensitive fields of a provider out of the document. */
int catalog_write_prepare(ApiCall *call, CatalogKind kind, const char *name, json_t *document,
                          CatalogWrite *ret_write, Error *error);
/* Seals what was taken out; on a pool thread. */
int catalog_write_seal(ApiCall *call, CatalogWrite *write, Error *error);
/* In a write job. */
int catalog_write_store(ApiCall *call, CatalogWrite *write, Error *error);
