/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Objects with an owner, a visibility and grants. In jobs of a call. A route that names such an object in its
 * path says so with `.object`: it is then found and decided about before the handler runs, and again in the
 * write job of a handler that runs on a pool thread. */

#include "api/api_internal.h"
#include "domain/catalog/catalog.h"

/* The kind of resources that a kind of the catalog is, or NULL: "services" is "service". */
const char *resource_kind_of_catalog(const char *catalog_kind);
/* In a write job: the caller may write the document of that name, or make it. */
int resource_require_document(ApiCall *call, const char *kind, const char *name, Error *error);
/* The rights that grants give to an account on the object, into object->rights. */
int resource_grants(StoreTransaction *transaction, const char *username, AccessObject *object, Error *error);
/* Owner and visibility of the object, in the tenant of the request or global; 1 = found, 0 = there is none.
 */
int resource_read(ApiCall *call, AccessObject *object, Error *error);
/* For what the caller makes: seen by the tenant, owned by the caller, who may give rights on it. */
int resource_add(ApiCall *call, const char *kind, const char *id, Error *error);
/* Member `rights` of grants. */
void grant_write_rights(Writer *writer, int64_t rights);
int resource_remove(ApiCall *call, const char *kind, const char *id, Error *error);
