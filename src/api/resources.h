/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Objects with an owner, a visibility and grants. In jobs of a call. A route that names such an object in its
 * path says so with `.object`: it is then found and decided about before the handler runs, and again in the
 * write job of a handler that runs on a pool thread. */

#include "api/api_internal.h"
#include "domain/catalog/catalog.h"

/* The kind of resources that a kind of the catalog is, or NULL: "services" is "service". */
const char *resource_kind_of_catalog(const char *catalog_kind);
/* The rights that grants give to an account on the object, into object->rights. */
int resource_grants(StoreTransaction *transaction, const char *username, AccessObject *object, Error *error);
/* For what the caller makes: seen by the tenant, owned by the caller, who may give rights on it. */
int resource_add(ApiCall *call, const char *kind, const char *id, Error *error);
int resource_remove(ApiCall *call, const char *kind, const char *id, Error *error);
