/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* For the tests of the command line: what cmocka needs in its order, temporary folders and files. One thread;
 * strings are owned by the caller. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/string.h"

static inline char *temporary_folder(void)
{
    char *path = string_duplicate("/tmp/bastide-cli-XXXXXX");
    ASSERT(mkdtemp(path));
    return path;
}

static inline void remove_temporary_folder(char **path)
{
    if (*path)
        ASSERT(directory_remove(*path) >= 0);
    free(*path);
}
#define _cleanup_folder_ _cleanup_(remove_temporary_folder)

/* Writes folder/name, making the folders between; the path. */
static inline char *put_file(const char *folder, const char *name, const char *text)
{
    char *path = path_join(folder, name);
    _cleanup_free_ char *parent = string_duplicate_n(path, (size_t)(strrchr(path, '/') - path));
    ASSERT(directory_make(parent, 0755) >= 0);
    ASSERT(file_write_atomic(path, text, strlen(text), 0644) >= 0);
    return path;
}

static inline mode_t mode_of(const char *path)
{
    struct stat state;
    ASSERT(stat(path, &state) == 0);
    return state.st_mode & 07777;
}
