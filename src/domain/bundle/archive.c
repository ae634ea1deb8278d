/* SPDX-License-Identifier: Apache-2.0 */

/* The policy for archives, over libarchive. libarchive only takes the stream apart; it never touches the file
 * system here. */

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/map.h"
#include "domain/bundle/internal.h"

typedef struct Walk {
    struct archive *reader;
    StringMap *seen; /* folded path -> "file" or "directory" */
    size_t entry_count, unpacked;
    Error *error;
} Walk;

static char is_file[] = "file", is_directory[] = "directory";

static void archive_done(struct archive **reader)
{
    if (*reader)
        (void)archive_read_free(*reader);
}

/* "./a/b" and "a/b/" become "a/b"; "." and "./" become "". */
static char *clean_path(const char *path)
{
    if (string_starts_with(path, "./"))
        path += 2;
    else if (string_equal(path, "."))
        path++;
    size_t length = strlen(path);
    if (length > 0 && path[length - 1] == '/')
        length--;
    return string_duplicate_n(path, length);
}

/* Plain names only: no control or other odd characters, no leading '-' that a program would take for an
 * option. */
static bool path_is_plain(const char *path)
{
    unsigned depth = 1;
    for (const char *p = path; *p; p++) {
        if (!isalnum((unsigned char)*p) && !strchr("._+@-/", *p))
            return false;
        if (*p == '-' && (p == path || p[-1] == '/'))
            return false;
        depth += *p == '/';
    }
    return depth <= BUNDLE_DEPTH_LIMIT && path_is_safe_relative(path);
}

static void fold(char *path)
{
    for (; *path; path++)
        *path = (char)tolower((unsigned char)*path);
}

static int refuse(Walk *walk, const char *path, const char *why)
{
    char shown[121];
    (void)string_copy(shown, sizeof(shown), path);
    for (char *letter = shown; *letter; letter++)
        if (!isprint((unsigned char)*letter))
            *letter = '?';
    return error_set(walk->error, ERROR_BAD_DOCUMENT, "the archive is refused: '%s' %s", shown, why);
}

/* Remembers the path and its parents; nothing may be there twice, and a file is nobody's parent. */
static int remember(Walk *walk, const char *path, bool is_folder)
{
    _cleanup_free_ char *folded = string_duplicate(path);
    fold(folded);
    for (char *slash = strchr(folded, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const char *parent = string_map_get(walk->seen, folded);
        if (parent == is_file)
            return refuse(walk, path, "lies below a file");
        if (!parent)
            string_map_set(walk->seen, folded, is_directory);
        *slash = '/';
    }
    const char *before = string_map_get(walk->seen, folded);
    if (before && !(is_folder && before == is_directory))
        return refuse(walk, path, "is there twice (large and small letters count as the same)");
    string_map_set(walk->seen, folded, is_folder ? is_directory : is_file);
    return 0;
}

static int check_entry(Walk *walk, struct archive_entry *entry, const char *path)
{
    mode_t type = archive_entry_filetype(entry);
    if (archive_entry_symlink(entry) || type == S_IFLNK)
        return refuse(walk, path, "is a symbolic link");
    if (archive_entry_hardlink(entry))
        return refuse(walk, path, "is a hard link");
    if (type != S_IFREG && type != S_IFDIR)
        return refuse(walk, path, "is neither a regular file nor a directory");
    if (archive_entry_perm(entry) & (S_ISUID | S_ISGID))
        return refuse(walk, path, "is set-user-id or set-group-id");
    if (archive_entry_sparse_count(entry) > 0)
        return refuse(walk, path, "is a sparse file");
    if (!*path && type == S_IFDIR)
        return 0;
    if (!path_is_plain(path))
        return refuse(
            walk, path,
            "is no plain relative path (letters, digits and . _ + @ -, no '..', not absolute, not too deep)");
    if (type == S_IFREG && (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0))
        return refuse(walk, path, "has no size");
    if (type == S_IFREG && (uint64_t)archive_entry_size(entry) > BUNDLE_UNPACKED_LIMIT - walk->unpacked)
        return error_set(walk->error, ERROR_TOO_LARGE,
                         "the archive is refused: it unpacks to more than %d bytes", BUNDLE_UNPACKED_LIMIT);
    return remember(walk, path, type == S_IFDIR);
}

static int read_file_data(Walk *walk, struct archive_entry *entry, const char *path, uint8_t **ret_data,
                          size_t *ret_size)
{
    size_t size = (size_t)archive_entry_size(entry), position = 0;
    _cleanup_free_ uint8_t *data = memory_try_new_array(size + 1, 1, BUNDLE_UNPACKED_LIMIT + 1);
    if (!data)
        return error_set(walk->error, ERROR_TOO_LARGE, "there is no memory for '%s'", path);
    while (position < size) {
        la_ssize_t count = archive_read_data(walk->reader, data + position, size - position);
        if (count <= 0)
            return refuse(walk, path, "is cut off or damaged");
        position += (size_t)count;
    }
    walk->unpacked += size;
    *ret_data = TAKE_PTR(data);
    *ret_size = size;
    return 0;
}

static int walk_entry(Walk *walk, struct archive_entry *entry, ArchiveVisit visit, void *context)
{
    const char *name = archive_entry_pathname(entry);
    if (++walk->entry_count > BUNDLE_ENTRY_LIMIT)
        return error_set(walk->error, ERROR_TOO_LARGE, "the archive is refused: it has more than %d entries",
                         BUNDLE_ENTRY_LIMIT);
    if (!name)
        return refuse(walk, "", "has no name that can be read");
    _cleanup_free_ char *path = clean_path(name);
    int r = check_entry(walk, entry, path);
    if (r < 0 || archive_entry_filetype(entry) == S_IFDIR)
        return r;
    _cleanup_free_ uint8_t *data = NULL;
    size_t size = 0;
    r = read_file_data(walk, entry, path, &data, &size);
    return r < 0 ? r : visit(context, path, data, size, walk->error);
}

static int open_reader(Walk *walk, const void *archive, size_t size)
{
    /* Filters that libarchive would run as a program answer ARCHIVE_WARN and are not taken. */
    if (archive_read_support_filter_gzip(walk->reader) != ARCHIVE_OK ||
        archive_read_support_filter_zstd(walk->reader) != ARCHIVE_OK ||
        archive_read_support_format_tar(walk->reader) != ARCHIVE_OK)
        return error_set(walk->error, ERROR_INTERNAL, "libarchive lacks gzip, zstd or tar");
    if (archive_read_open_memory(walk->reader, archive, size) != ARCHIVE_OK)
        return error_set(walk->error, ERROR_BAD_DOCUMENT, "this is no tar archive (plain, gzip or zstd)");
    return 0;
}

int archive_walk(const void *archive, size_t size, ArchiveVisit visit, void *context, Error *error)
{
    if (size > BUNDLE_ARCHIVE_LIMIT)
        return error_set(error, ERROR_TOO_LARGE, "the archive has more than %d bytes", BUNDLE_ARCHIVE_LIMIT);
    _cleanup_(archive_done) struct archive *reader = archive_read_new();
    _cleanup_string_map_ StringMap *seen = string_map_new(NULL);
    Walk walk = {.reader = reader, .seen = seen, .error = error};
    int r = open_reader(&walk, archive, size);
    while (r == 0) {
        struct archive_entry *entry;
        int status = archive_read_next_header(reader, &entry);
        if (status == ARCHIVE_EOF)
            break;
        if (status != ARCHIVE_OK)
            return error_set(error, ERROR_BAD_DOCUMENT,
                             "this is no tar archive (plain, gzip or zstd), or it is damaged");
        r = walk_entry(&walk, entry, visit, context);
        /* Headers and padding count too, else endless empty entries would. */
        if (r == 0 && archive_filter_bytes(reader, 0) > 2 * (la_int64_t)BUNDLE_UNPACKED_LIMIT)
            return error_set(error, ERROR_TOO_LARGE, "the archive is refused: its stream is too long");
    }
    return r;
}
