/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* For the tests of base: what cmocka needs in its order, and a temporary folder. One thread; strings are
 * owned by the caller. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"

static inline char *temporary_folder(void)
{
    char *path = string_duplicate("/tmp/bastide-base-XXXXXX");
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

/* Runs the function in a child; the signal that ended it, or 0. Standard error of the child is dropped. */
static inline int signal_of(void (*function)(void))
{
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        function();
        _exit(0);
    }
    int status = 0;
    ASSERT(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}
