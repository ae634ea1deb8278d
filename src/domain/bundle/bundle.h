/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Script bundles: a tar archive (plain, gzip or zstd) with manifest.json at its top. A bundle comes from a
 * user and ends up as programs on nodes, so the whole archive is checked before a byte is written: only
 * regular files and directories, safe relative names, nothing twice (not even in another case), nothing
 * beside what the manifest lists, bounded counts and sizes. Its identity is the SHA-256 of the archive's
 * bytes. Any thread; a Bundle is immutable and owns what it points to. */

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/string.h"

enum {
    BUNDLE_ARCHIVE_LIMIT = 64 * 1024 * 1024, /* bytes as uploaded */
    BUNDLE_UNPACKED_LIMIT = 64 * 1024 * 1024,
    BUNDLE_ENTRY_LIMIT = 4096,
    BUNDLE_MANIFEST_LIMIT = 1024 * 1024,
    BUNDLE_DEPTH_LIMIT = 16,
    BUNDLE_DIGEST_SIZE = 32,
};

typedef struct BundleFile {
    const char *path;
    size_t size;
    uint8_t digest[BUNDLE_DIGEST_SIZE];
    bool is_script; /* made executable */
} BundleFile;

typedef enum BundleParameterType {
    BUNDLE_PARAMETER_STRING,
    BUNDLE_PARAMETER_INTEGER,
    BUNDLE_PARAMETER_BOOLEAN,
} BundleParameterType;

typedef struct BundleParameter {
    const char *path; /* "db.port" */
    BundleParameterType type;
    bool is_required;
} BundleParameter;

typedef struct BundleScript {
    const char *path, *description;
    bool is_idempotent;
    int64_t timeout_ms; /* 0 = not said */
    BundleParameter *parameters;
    size_t parameter_count;
    const char **secrets;
    size_t secret_count;
} BundleScript;

typedef struct Bundle {
    Arena *arena;
    json_t *manifest;
    const char *name, *version, *description;
    BundleScript *scripts; /* by path */
    size_t script_count;
    BundleFile *files; /* by path; without the manifest */
    size_t file_count;
    size_t unpacked_size;
    uint8_t digest[BUNDLE_DIGEST_SIZE]; /* of the archive */
} Bundle;

/* Reads and checks everything, writes nothing. ERROR_BAD_DOCUMENT, ERROR_BAD_FIELD, ERROR_TOO_LARGE. */
int bundle_inspect(const void *archive, size_t size, Bundle **ret_bundle, Error *error);
/* Inspects and, when nothing is wrong and the digest is the expected one (NULL = any), writes the files below
 * the directory, which must be empty and nobody else's. Links are never followed, nothing is overwritten.
 * Scripts get mode 0755, other files 0644. After an error the directory may hold a part. */
int bundle_extract(const void *archive, size_t size, const uint8_t *expected_digest, int directory,
                   Bundle **ret_bundle, Error *error);
Bundle *bundle_free(Bundle *bundle);
DEFINE_CLEANUP(Bundle, bundle_free);
#define _cleanup_bundle_ _cleanup_(bundle_free_pointer)

const BundleScript *bundle_find_script(const Bundle *bundle, const char *path);
const BundleFile *bundle_find_file(const Bundle *bundle, const char *path);
/* "db.port" in {"db":{"port":..}}; a member called "db.port" counts first. Borrowed, or NULL. */
const json_t *bundle_find_parameter(const json_t *parameters, const char *path);
/* Whether the parameters of a task fit what the script declares: required ones are there and of their type.
 */
int bundle_check_parameters(const BundleScript *script, const json_t *parameters, Error *error);
