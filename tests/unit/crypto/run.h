/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* For tests that ask real programs: runs one, gives its output (standard output and error together) and exit
 * status. And a temporary directory. */

/* cmocka.h wants others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"

static inline int run(Buffer *output, const char *const *arguments)
{
    posix_spawn_file_actions_t actions;
    int ends[2], status = 0;
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[1], 1), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[1], 2), 0);
    assert_int_equal(
        posix_spawnp(&pid, arguments[0], &actions, NULL, (char *const *)(uintptr_t)arguments, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    for (;;) {
        char block[4096];
        ssize_t count = read(ends[0], block, sizeof(block));

        if (count <= 0)
            break;
        if (output)
            assert_true(buffer_append(output, block, (size_t)count) >= 0);
    }
    (void)close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
#define RUN(output, ...) run((output), (const char *const[]){__VA_ARGS__, NULL})

/* Fails the test, with the output, when the program does not exit with 0. */
static inline void run_checked(const char *const *arguments)
{
    _cleanup_buffer_ Buffer output = BUFFER_INIT;
    int status = run(&output, arguments);

    if (status != 0)
        fail_msg("%s ended with %d: %s", arguments[0], status, buffer_string(&output));
}
#define RUN_CHECKED(...) run_checked((const char *const[]){__VA_ARGS__, NULL})

static inline char *temporary_directory(void)
{
    char *path = string_duplicate("/tmp/bastide-test-XXXXXX");

    assert_non_null(mkdtemp(path));
    return path;
}

static inline void temporary_directory_done(char **path)
{
    if (*path)
        (void)directory_remove(*path);
    free(*path);
}
#define _cleanup_directory_ _cleanup_(temporary_directory_done)

static inline void write_file(const char *directory, const char *name, const char *text)
{
    _cleanup_free_ char *path = path_join(directory, name);

    (void)unlink(path);
    assert_true(file_write_new(path, text, strlen(text), 0600) >= 0);
}

/* Not inlined: GCC 12 otherwise sees a dangling pointer where there is none. */
__attribute__((noinline, unused)) static char *read_file(const char *directory, const char *name)
{
    _cleanup_free_ char *path = path_join(directory, name);
    char *text = NULL;
    size_t size;

    assert_true(file_read(path, 1024 * 1024, &text, &size) >= 0);
    return text;
}
