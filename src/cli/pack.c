/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"

enum { MANIFEST_LIMIT = 1024 * 1024, DEPTH_MAX = 32, LEFT_OUT_MAX = 100 };
static const char MANIFEST[] = "manifest.json";

typedef struct Packer {
    const char *directory;
    int descriptor; /* of the directory */
    struct archive *archive;
    Buffer *output;
    StringList names;
    size_t total;
    Error *error;
} Packer;

static ssize_t write_output(struct archive *archive, void *context, const void *data, size_t size)
{
    Packer *packer = context;
    if (buffer_append(packer->output, data, size) < 0) {
        archive_set_error(archive, EFBIG, "the archive is too large");
        return -1;
    }
    return (ssize_t)size;
}

/* Opens below the folder; no component may be a link. */
static int open_beneath(const Packer *packer, const char *name, Error *error)
{
    _cleanup_close_ int directory = fcntl(packer->descriptor, F_DUPFD_CLOEXEC, 3);
    _cleanup_string_list_ StringList parts = {0};
    string_list_split(&parts, name, '/');
    for (size_t i = 0; i < parts.count && directory >= 0; i++) {
        bool is_last = i + 1 == parts.count;
        int next = openat(directory, parts.items[i],
                          O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (is_last ? 0 : O_DIRECTORY));
        int cause = errno;
        (void)close(directory);
        directory = next;
        errno = cause;
    }
    if (directory >= 0)
        return TAKE_FD(directory);
    if (errno == ELOOP || errno == ENOTDIR)
        return error_set(error, ERROR_INSECURE,
                         "%s/%s is, or lies behind, a symbolic link; bundles have none", packer->directory,
                         name);
    return error_set_errno(error, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, errno, "cannot open %s/%s",
                           packer->directory, name);
}

static int read_member(const Packer *packer, const char *name, size_t limit, char **ret_data,
                       size_t *ret_size, Error *error)
{
    struct stat state;
    int opened = open_beneath(packer, name, error);
    if (opened < 0)
        return opened;
    _cleanup_close_ int descriptor = opened;
    if (fstat(descriptor, &state) < 0 || !S_ISREG(state.st_mode))
        return error_set(error, ERROR_INSECURE, "%s/%s is not a regular file", packer->directory, name);
    int r = file_read_descriptor(descriptor, limit, ret_data, ret_size);
    if (r == -E2BIG)
        return error_set(error, ERROR_TOO_LARGE, "%s/%s makes the bundle larger than %d MiB",
                         packer->directory, name, (int)(PACK_LIMIT / 1024 / 1024));
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot read %s/%s", packer->directory, name) : 0;
}

static int take_names(Packer *packer, const json_t *manifest, const char *member)
{
    const char *name;
    json_t *value;
    json_t *object = json_object_get(manifest, member);
    if (object && !json_is_object(object))
        return error_set_field(packer->error, ERROR_BAD_DOCUMENT, member, "%s/%s: must be an object",
                               packer->directory, MANIFEST);
    json_object_foreach (object, name, value) {
        if (!path_is_safe_relative(name))
            return error_set_field(packer->error, ERROR_BAD_DOCUMENT, member,
                                   "%s/%s: names must be paths below the folder", packer->directory,
                                   MANIFEST);
        if (!string_list_contains(&packer->names, name))
            string_list_append(&packer->names, name);
    }
    return 0;
}

static int read_manifest(Packer *packer)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_json_ json_t *manifest = NULL;
    size_t size;
    Error cause = ERROR_INIT;
    int r = read_member(packer, MANIFEST, MANIFEST_LIMIT, &text, &size, packer->error);
    if (r < 0)
        return r;
    if (json_parse(text, size, MANIFEST_LIMIT, &manifest, &cause) < 0)
        return error_set(packer->error, ERROR_BAD_DOCUMENT, "%s/%s:%u:%u: %s", packer->directory, MANIFEST,
                         cause.line, cause.column, cause.text);
    string_list_append(&packer->names, MANIFEST);
    r = take_names(packer, manifest, "scripts");
    if (r >= 0)
        r = take_names(packer, manifest, "files");
    if (r >= 0 && packer->names.count > PACK_FILES_MAX)
        r = error_set(packer->error, ERROR_TOO_LARGE, "a bundle may have %d files", (int)PACK_FILES_MAX);
    string_list_sort(&packer->names);
    return r;
}

static int archive_failed(const Packer *packer)
{
    const char *text = archive_error_string(packer->archive);
    return error_set(packer->error, ERROR_IO, "cannot pack %s: %s", packer->directory,
                     text ? text : "no memory");
}

static int add_member(Packer *packer, const char *name)
{
    _cleanup_free_ char *data = NULL;
    size_t size;
    int r = read_member(packer, name, PACK_LIMIT - packer->total, &data, &size, packer->error);
    if (r < 0)
        return r;
    packer->total += size;
    struct archive_entry *entry = archive_entry_new();
    if (!entry)
        return archive_failed(packer);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644); /* what may run is the manifest's business */
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_mtime(entry, 0, 0);
    bool is_good = archive_write_header(packer->archive, entry) == ARCHIVE_OK &&
                   archive_write_data(packer->archive, data, size) == (la_ssize_t)size;
    archive_entry_free(entry);
    return is_good ? 0 : archive_failed(packer);
}

static int write_archive(Packer *packer)
{
    packer->archive = archive_write_new();
    if (!packer->archive)
        return error_set(packer->error, ERROR_INTERNAL, "no memory for an archive");
    struct archive *archive = packer->archive;
    bool is_good = archive_write_set_format_pax_restricted(archive) == ARCHIVE_OK &&
                   archive_write_add_filter_gzip(archive) == ARCHIVE_OK &&
                   archive_write_set_filter_option(archive, "gzip", "timestamp", NULL) == ARCHIVE_OK &&
                   archive_write_set_filter_option(archive, "gzip", "compression-level", "9") == ARCHIVE_OK &&
                   archive_write_set_bytes_in_last_block(archive, 1) == ARCHIVE_OK &&
                   archive_write_open(archive, packer, NULL, write_output, NULL) == ARCHIVE_OK;
    int r = is_good ? 0 : archive_failed(packer);
    for (size_t i = 0; i < packer->names.count && r >= 0; i++)
        r = add_member(packer, packer->names.items[i]);
    if (r >= 0 && archive_write_close(archive) != ARCHIVE_OK)
        r = archive_failed(packer);
    (void)archive_write_free(archive);
    return r;
}

/* What lies in the folder and is not in the manifest; only told. */
static void find_left_out(const Packer *packer, const char *inner, unsigned depth, StringList *left_out)
{
    _cleanup_free_ char *path =
        *inner ? path_join(packer->directory, inner) : string_duplicate(packer->directory);
    DIR *directory = depth < DEPTH_MAX ? opendir(path) : NULL;
    const struct dirent *entry;
    while (directory && (entry = readdir(directory)) && left_out->count < LEFT_OUT_MAX) {
        _cleanup_free_ char *name =
            *inner ? path_join(inner, entry->d_name) : string_duplicate(entry->d_name);
        if (string_equal(entry->d_name, ".") || string_equal(entry->d_name, ".."))
            continue;
        if (entry->d_type == DT_DIR)
            find_left_out(packer, name, depth + 1, left_out);
        else if (!string_list_contains(&packer->names, name))
            string_list_append(left_out, name);
    }
    if (directory)
        (void)closedir(directory);
}

int pack_bundle(const char *directory, Buffer *ret_archive, StringList *ret_left_out, Error *error)
{
    _cleanup_close_ int descriptor = open(directory, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    Packer packer = {.directory = directory, .descriptor = descriptor, .output = ret_archive, .error = error};
    if (descriptor < 0)
        return error_set_errno(error, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, errno, "cannot open %s",
                               directory);
    ret_archive->limit = PACK_LIMIT;
    int r = read_manifest(&packer);
    if (r >= 0)
        r = write_archive(&packer);
    if (r >= 0) {
        find_left_out(&packer, "", 0, ret_left_out);
        string_list_sort(ret_left_out);
    }
    string_list_done(&packer.names);
    return r;
}
