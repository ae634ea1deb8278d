/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the administrator fills in for each type of provider, as one table. The two types that run here are
 * `sandbox` and `hosts`; the cloud types of older catalogs are known so that their documents load and plan,
 * and are refused when a task is to run. Read-only data; any thread. */

#include "domain/catalog/members.h"

typedef enum ProviderFieldType {
    PROVIDER_FIELD_TEXT,
    PROVIDER_FIELD_NETWORK, /* a CIDR */
    PROVIDER_FIELD_POOL,    /* array of hosts */
} ProviderFieldType;

enum {
    PROVIDER_FIELD_SENSITIVE = 1 << 0, /* sealed when written, never returned */
    PROVIDER_FIELD_OVERRIDE = 1 << 1,  /* a cluster request may say it differently */
    PROVIDER_FIELD_USER = 1 << 2,      /* comes with the cluster request */
};

typedef struct ProviderField {
    const char *name; /* NULL ends the list */
    const char *label;
    ProviderFieldType type;
    unsigned flags;
    const char *preset; /* used when absent, or NULL */
} ProviderField;

typedef struct ProviderType {
    const char *name, *label;
    bool has_executor;
    const ProviderField *fields;
    const char *const *required[3]; /* alternatives: all fields of one of these; each NULL-terminated */
} ProviderType;

const ProviderType *provider_type_find(const char *name); /* NULL when unknown */
size_t provider_type_count(void);
const ProviderType *provider_type_at(size_t index);
const ProviderField *provider_type_field(const ProviderType *type, const char *name);
/* False for unknown types and fields as well as for fields that are not sensitive. */
bool provider_field_is_sensitive(const char *type, const char *field);
/* Unknown members of our own types are errors, those of cloud types warnings. */
void provider_fields_check(Members *members, const char *type, const json_t *fields, const char *path);
