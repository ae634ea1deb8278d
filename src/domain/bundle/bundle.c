/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/bundle/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include "base/file.h"
#include "domain/bundle/internal.h"

static int digest_of(const void *data, size_t size, uint8_t digest[static BUNDLE_DIGEST_SIZE], Error *error)
{
    return EVP_Digest(data, size, digest, NULL, EVP_sha256(), NULL) == 1
               ? 0
               : error_set(error, ERROR_CRYPTO, "SHA-256 failed");
}

Bundle *bundle_free(Bundle *bundle)
{
    if (!bundle)
        return NULL;
    json_decref(bundle->manifest);
    arena_free(bundle->arena);
    free(bundle->files);
    free(bundle);
    return NULL;
}

static int compare_files(const void *a, const void *b)
{
    const BundleFile *x = a, *y = b;
    return strcmp(x->path, y->path);
}

static int compare_path_to_script(const void *path, const void *script)
{
    return strcmp(path, ((const BundleScript *)script)->path);
}

static int compare_path_to_file(const void *path, const void *file)
{
    return strcmp(path, ((const BundleFile *)file)->path);
}

const BundleScript *bundle_find_script(const Bundle *bundle, const char *path)
{
    return bundle->script_count == 0 ? NULL
                                     : bsearch(path, bundle->scripts, bundle->script_count,
                                               sizeof(BundleScript), compare_path_to_script);
}

const BundleFile *bundle_find_file(const Bundle *bundle, const char *path)
{
    return bundle->file_count == 0
               ? NULL
               : bsearch(path, bundle->files, bundle->file_count, sizeof(BundleFile), compare_path_to_file);
}

typedef struct Inspection {
    Bundle *bundle;
    size_t capacity;
} Inspection;

static int inspect_file(void *context, const char *path, const uint8_t *data, size_t size, Error *error)
{
    Inspection *inspection = context;
    Bundle *bundle = inspection->bundle;
    bundle->unpacked_size += size;
    if (string_equal(path, BUNDLE_MANIFEST_NAME)) {
        _cleanup_json_ json_t *manifest = NULL;
        int r = json_parse((const char *)data, size, BUNDLE_MANIFEST_LIMIT, &manifest, error);
        if (r == 0)
            r = manifest_parse(bundle, manifest, error);
        if (r < 0)
            error_prefix(error, BUNDLE_MANIFEST_NAME);
        return r;
    }
    if (bundle->file_count == inspection->capacity) {
        inspection->capacity = inspection->capacity ? inspection->capacity * 2 : 16;
        bundle->files = memory_resize_array(bundle->files, inspection->capacity, sizeof(BundleFile));
    }
    BundleFile *file = &bundle->files[bundle->file_count++];
    *file = (BundleFile){.path = arena_string(bundle->arena, path), .size = size};
    return digest_of(data, size, file->digest, error);
}

int bundle_inspect(const void *archive, size_t size, Bundle **ret_bundle, Error *error)
{
    _cleanup_bundle_ Bundle *bundle = NEW(Bundle);
    bundle->arena = arena_new();
    Inspection inspection = {.bundle = bundle};
    int r = archive_walk(archive, size, inspect_file, &inspection, error);
    if (r < 0)
        return r;
    if (!bundle->manifest)
        return error_set(error, ERROR_BAD_DOCUMENT, "the archive has no " BUNDLE_MANIFEST_NAME " at its top");
    if (bundle->file_count > 1)
        qsort(bundle->files, bundle->file_count, sizeof(BundleFile), compare_files);
    r = manifest_match(bundle, error);
    if (r < 0)
        return r;
    r = digest_of(archive, size, bundle->digest, error);
    if (r < 0)
        return r;
    *ret_bundle = TAKE_PTR(bundle);
    return 0;
}

/* Opens (making it if need be) the directory of a file. */
static int open_parent(int directory, const char *path, const char **ret_name, Error *error)
{
    _cleanup_close_ int current = fcntl(directory, F_DUPFD_CLOEXEC, 3);
    const char *start = path;
    for (const char *slash = strchr(path, '/'); slash && current >= 0; slash = strchr(start, '/')) {
        _cleanup_free_ char *name = string_duplicate_n(start, (size_t)(slash - start));
        if (mkdirat(current, name, 0755) < 0 && errno != EEXIST)
            return error_set_errno(error, ERROR_IO, errno, "cannot make the directory of '%s'", path);
        int next = openat(current, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int cause = errno;
        close_pointer(&current);
        current = next;
        errno = cause;
        start = slash + 1;
    }
    if (current < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot open the directory of '%s'", path);
    *ret_name = start;
    return TAKE_FD(current);
}

typedef struct Extraction {
    const Bundle *bundle;
    int directory;
} Extraction;

static int extract_file(void *context, const char *path, const uint8_t *data, size_t size, Error *error)
{
    const Extraction *extraction = context;
    const BundleFile *file = bundle_find_file(extraction->bundle, path);
    const char *name;
    _cleanup_close_ int parent = open_parent(extraction->directory, path, &name, error);
    if (parent < 0)
        return parent;
    mode_t mode = file && file->is_script ? 0755 : 0644;
    _cleanup_close_ int descriptor =
        openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (descriptor < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot make '%s'", path);
    int r = write_full(descriptor, data, size);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot write '%s'", path);
    /* Whatever the umask is. */
    if (fchmod(descriptor, mode) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot set the mode of '%s'", path);
    return 0;
}

int bundle_extract(const void *archive, size_t size, const uint8_t *expected_digest, int directory,
                   Bundle **ret_bundle, Error *error)
{
    _cleanup_bundle_ Bundle *bundle = NULL;
    int r = bundle_inspect(archive, size, &bundle, error);
    if (r < 0)
        return r;
    if (expected_digest && memcmp(expected_digest, bundle->digest, BUNDLE_DIGEST_SIZE) != 0)
        return error_set(error, ERROR_UNTRUSTED, "the archive does not have the expected digest");
    Extraction extraction = {bundle, directory};
    r = archive_walk(archive, size, extract_file, &extraction, error);
    if (r < 0)
        return r;
    if (ret_bundle)
        *ret_bundle = TAKE_PTR(bundle);
    return 0;
}
