/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Documents in files, JSON or YAML: read, told apart by kind, collected for an import, and where a member
 * stands in them. Main thread. */

#include "base/json.h"

enum { DOCUMENT_FILE_LIMIT = 8 * 1024 * 1024, DOCUMENT_FILES_MAX = 5000 };

/* "-" is standard input. ret_text (may be NULL): owned. Errors name file and line. */
int document_read(const char *path, json_t **ret_value, char **ret_text, Error *error);
/* Line and column of a member ("network.ports[0].port"), or of its nearest ancestor that is there; false when
 * not even that is known. YAML and JSON. */
bool document_locate(const char *text, size_t size, const char *field, unsigned *ret_line,
                     unsigned *ret_column);

/* "services" for "services", "service"; NULL for no kind. */
const char *document_kind_from_string(const char *text);
/* From what only documents of that kind have; NULL when it could be several. */
const char *document_guess_kind(const json_t *document);
extern const char *const document_kinds[]; /* NULL-terminated */

/* Adds what the path holds to the collection {kind: [documents]}: a file with one document (its kind from
 * `kind`, its folder's name or its content) or with a whole export, or a folder of such files and of folders
 * named as kinds. `origins` gets the file of each document, {"kind/name": path}. */
int document_collect(const char *path, const char *kind, json_t *collection, json_t *origins, Error *error);
