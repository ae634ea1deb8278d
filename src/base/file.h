/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Files and descriptors. All opened O_CLOEXEC; negative errno. Any thread. */

#include <sys/types.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/macros.h"

static inline void close_pointer(int *descriptor)
{
    if (*descriptor >= 0)
        (void)close(*descriptor);
}
#define _cleanup_close_ _cleanup_(close_pointer)

/* Whole file, at most limit bytes (-E2BIG); owned, NUL after the end. */
int file_read(const char *path, size_t limit, char **ret_data, size_t *ret_size);
int file_read_at(int directory, const char *path, size_t limit, char **ret_data, size_t *ret_size);
/* From an open descriptor, up to its end. */
int file_read_descriptor(int descriptor, size_t limit, char **ret_data, size_t *ret_size);
/* As file_read, but refuses (-EPERM) a file that is not a regular file owned by `owner` (or root) or that
 * group or others can read or write. For keys. */
int file_read_private(const char *path, uid_t owner, size_t limit, char **ret_data, size_t *ret_size);
/* Writes a temporary file beside, fsyncs it, renames, fsyncs the directory. */
int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode);
/* Fails with -EEXIST when there is one already. Synced as above. */
int file_write_new(const char *path, const void *data, size_t size, mode_t mode);
int file_sync_parent(const char *path);
/* mkdir -p; existing directories are left as they are. */
int directory_make(const char *path, mode_t mode);
/* rm -rf, never following links; absent is fine. -ELOOP below 256 levels. */
int directory_remove(const char *path);
/* Loops over EINTR and short transfers. read_full returns the count read before the end. */
ssize_t read_full(int descriptor, void *data, size_t size);
int write_full(int descriptor, const void *data, size_t size);
int set_nonblocking(int descriptor, bool is_nonblocking);
/* Joins with one slash; owned. */
char *path_join(const char *directory, const char *name);
/* A relative path without empty, "." or ".." components, NUL or control characters; at most 255 a component,
 * 1,024 in all. */
bool path_is_safe_relative(const char *path);
