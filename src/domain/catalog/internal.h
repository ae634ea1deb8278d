/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The parsers of the single kinds of documents, shared by the files of this folder only. One thread at a time
 * per entry; what they make belongs to the entry's arena. */

#include "domain/catalog/catalog.h"
#include "domain/catalog/members.h"

void service_parse(Members *members, const json_t *document, CatalogEntry *entry);
void template_parse(Members *members, const json_t *document, CatalogEntry *entry);
void links_parse(Members *members, const json_t *value, const char *path, void *destination);
/* Malformed macros in a text; a secret is refused unless secrets are allowed there. */
void macro_check(Members *members, const char *text, const char *path, bool may_be_secret);

/* References and cycles, with the catalog at hand. */
int entry_check_references(Catalog *catalog, const CatalogEntry *entry, Members *members, Error *error);

/* Members that each document has. */
#define COMMON_MEMBERS(type)                                                                                 \
    {"name", MEMBER_NAME, MEMBER_REQUIRED, offsetof(type, name), 0, 0, NULL},                                \
        {"label", MEMBER_STRING, 0, offsetof(type, label), 0, 0, NULL},                                      \
        {"description", MEMBER_STRING, 0, offsetof(type, description), 0, 0, NULL},                          \
        {"icon", MEMBER_STRING, 0, offsetof(type, icon), 0, 0, NULL},                                        \
    {                                                                                                        \
        "version", MEMBER_IGNORED, 0, 0, 0, 0, NULL                                                          \
    }
