/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/string.h"

enum { DIRECTORY_DEPTH_LIMIT = 256, READ_CHUNK = 16 * 1024 };

static int read_descriptor(int descriptor, size_t limit, bool is_secret, char **ret_data, size_t *ret_size)
{
    if (limit >= SIZE_MAX / 2)
        return -EINVAL;
    struct stat status;
    if (fstat(descriptor, &status) < 0)
        return -errno;
    /* Files below /proc say size 0 and pipes say nothing, so the size is only a hint. */
    size_t chunk = READ_CHUNK;
    if (S_ISREG(status.st_mode) && status.st_size > 0) {
        if ((uint64_t)status.st_size > limit)
            return -E2BIG;
        chunk = (size_t)status.st_size + 1;
    }
    _cleanup_buffer_ Buffer buffer = {.limit = limit + READ_CHUNK + 1, .is_secret = is_secret};
    for (;;) {
        int r = buffer_reserve(&buffer, MIN(chunk, limit + 1 - buffer.size));
        if (r < 0)
            return r;
        size_t room = MIN(buffer.capacity - 1 - buffer.size, limit + 1 - buffer.size);
        ssize_t count = read(descriptor, buffer.data + buffer.size, room);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        if (count == 0)
            break;
        buffer.size += (size_t)count;
        if (buffer.size > limit)
            return -E2BIG;
        chunk = READ_CHUNK;
    }
    buffer.data[buffer.size] = 0;
    size_t size = buffer.size;
    *ret_data = buffer_take_string(&buffer);
    if (ret_size)
        *ret_size = size;
    return 0;
}

int file_read_descriptor(int descriptor, size_t limit, char **ret_data, size_t *ret_size)
{
    return read_descriptor(descriptor, limit, false, ret_data, ret_size);
}

int file_read_at(int directory, const char *path, size_t limit, char **ret_data, size_t *ret_size)
{
    _cleanup_close_ int descriptor = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0)
        return -errno;
    return read_descriptor(descriptor, limit, false, ret_data, ret_size);
}

int file_read(const char *path, size_t limit, char **ret_data, size_t *ret_size)
{
    return file_read_at(AT_FDCWD, path, limit, ret_data, ret_size);
}

int file_read_private(const char *path, uid_t owner, size_t limit, char **ret_data, size_t *ret_size)
{
    /* Non-blocking, so that a pipe put in its place cannot hold us. */
    _cleanup_close_ int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (descriptor < 0)
        return -errno;
    struct stat status;
    if (fstat(descriptor, &status) < 0)
        return -errno;
    bool is_private = S_ISREG(status.st_mode) && (status.st_uid == owner || status.st_uid == 0) &&
                      (status.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) == 0;
    if (!is_private)
        return -EPERM;
    return read_descriptor(descriptor, limit, true, ret_data, ret_size);
}

int file_sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *parent = !slash          ? string_duplicate(".")
                                  : slash == path ? string_duplicate("/")
                                                  : string_duplicate_n(path, (size_t)(slash - path));
    _cleanup_close_ int descriptor = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0 || fsync(descriptor) < 0)
        return -errno;
    return 0;
}

static int fill_temporary(int descriptor, const void *data, size_t size, mode_t mode)
{
    if (fchmod(descriptor, mode) < 0)
        return -errno;
    int r = write_full(descriptor, data, size);
    if (r < 0)
        return r;
    return fsync(descriptor) < 0 ? -errno : 0;
}

static int write_beside(const char *path, const void *data, size_t size, mode_t mode, bool must_be_new)
{
    const char *slash = strrchr(path, '/');
    int directory_length = slash ? (int)(slash + 1 - path) : 0;
    const char *name = path + directory_length;
    if (!*name)
        return -EISDIR;
    _cleanup_free_ char *temporary = string_format("%.*s.%s.XXXXXX", directory_length, path, name);
    _cleanup_close_ int descriptor = mkostemp(temporary, O_CLOEXEC);
    if (descriptor < 0)
        return -errno;
    int r = fill_temporary(descriptor, data, size, mode);
    if (r >= 0 && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, must_be_new ? RENAME_NOREPLACE : 0) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlink(temporary);
        return r;
    }
    return file_sync_parent(path);
}

int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode)
{
    return write_beside(path, data, size, mode, false);
}

int file_write_new(const char *path, const void *data, size_t size, mode_t mode)
{
    return write_beside(path, data, size, mode, true);
}

static int make_one(const char *path, mode_t mode)
{
    if (mkdir(path, mode) >= 0)
        return 0;
    int failure = errno;
    struct stat status;
    /* Any failure is fine when the directory is there: a read-only file system says EROFS first. */
    if (stat(path, &status) < 0)
        return -failure;
    return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}

int directory_make(const char *path, mode_t mode)
{
    if (!*path)
        return -ENOENT;
    _cleanup_free_ char *copy = string_duplicate(path);
    for (char *p = copy + strspn(copy, "/"); *p;) {
        p += strcspn(p, "/");
        char *next = p + strspn(p, "/"), saved = *p;
        *p = 0;
        int r = make_one(copy, mode);
        if (r < 0)
            return r;
        *p = saved;
        p = next;
    }
    return 0;
}

static int remove_content(int directory, unsigned depth);

static int remove_entry(int directory, const char *name, unsigned depth)
{
    if (unlinkat(directory, name, 0) >= 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    int failure = errno;
    int child = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child < 0)
        return errno == ENOENT ? 0 : errno == ENOTDIR ? -failure : -errno;
    int r = remove_content(child, depth);
    if (r < 0)
        return r;
    return unlinkat(directory, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static void close_directory(DIR **stream)
{
    if (*stream)
        (void)closedir(*stream);
}

/* Takes the descriptor over. */
static int remove_content(int directory, unsigned depth)
{
    _cleanup_(close_directory) DIR *stream = fdopendir(directory);
    if (!stream) {
        int failure = errno;
        (void)close(directory);
        return -failure;
    }
    if (depth >= DIRECTORY_DEPTH_LIMIT)
        return -ELOOP;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry)
            return -errno;
        if (string_equal(entry->d_name, ".") || string_equal(entry->d_name, ".."))
            continue;
        int r = remove_entry(dirfd(stream), entry->d_name, depth + 1);
        if (r < 0)
            return r;
    }
}

int directory_remove(const char *path)
{
    return remove_entry(AT_FDCWD, path, 0);
}

ssize_t read_full(int descriptor, void *data, size_t size)
{
    uint8_t *bytes = data;
    size_t done = 0;
    while (done < size) {
        ssize_t count = read(descriptor, bytes + done, size - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        if (count == 0)
            break;
        done += (size_t)count;
    }
    return (ssize_t)done;
}

int write_full(int descriptor, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    while (size > 0) {
        ssize_t count = write(descriptor, bytes, size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        bytes += count;
        size -= (size_t)count;
    }
    return 0;
}

int set_nonblocking(int descriptor, bool is_nonblocking)
{
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0)
        return -errno;
    int wanted = is_nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return wanted != flags && fcntl(descriptor, F_SETFL, wanted) < 0 ? -errno : 0;
}

char *path_join(const char *directory, const char *name)
{
    if (string_is_empty(directory))
        return string_duplicate(name);
    size_t length = strlen(directory);
    while (length > 0 && directory[length - 1] == '/')
        length--;
    while (*name == '/')
        name++;
    char *path = memory_new(length + strlen(name) + 2);
    memcpy(path, directory, length);
    path[length] = '/';
    memcpy(path + length + 1, name, strlen(name));
    return path;
}

bool path_is_safe_relative(const char *path)
{
    if (!path)
        return false;
    size_t length = strnlen(path, 1025);
    if (length == 0 || length > 1024 || !utf8_is_valid(path, length) ||
        string_has_control(path, length, NULL))
        return false;
    for (const char *component = path;;) {
        size_t size = (size_t)(strchrnul(component, '/') - component);
        bool is_dots =
            (size == 1 && component[0] == '.') || (size == 2 && component[0] == '.' && component[1] == '.');
        if (size == 0 || size > 255 || is_dots)
            return false;
        if (!component[size])
            return true;
        component += size + 1;
    }
}
