/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "helper.h"

static void test_write_and_read(void **state)
{
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *path = path_join(folder, "data"), *content = NULL;
    size_t size = 0;
    assert_int_equal(file_write_atomic(path, "a\0b", 3, 0640), 0);
    assert_int_equal(file_read(path, 3, &content, &size), 0);
    assert_int_equal(size, 3);
    assert_memory_equal(content, "a\0b", 4);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    char *more = NULL;
    assert_int_equal(file_read(path, 2, &more, &size), -E2BIG);
    assert_null(more);
    assert_int_equal(file_write_atomic(path, "second", 6, 0600), 0);
    _cleanup_free_ char *second = NULL;
    assert_int_equal(file_read(path, 100, &second, NULL), 0);
    assert_string_equal(second, "second");
    assert_int_equal(file_write_atomic(path, NULL, 0, 0600), 0);
    _cleanup_free_ char *empty = NULL;
    assert_int_equal(file_read(path, 0, &empty, &size), 0);
    assert_int_equal(size, 0);
    assert_string_equal(empty, "");
}

static unsigned count_entries(const char *folder)
{
    unsigned count = 0;
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(descriptor >= 0);
    DIR *stream = fdopendir(descriptor);
    for (const struct dirent *entry; (entry = readdir(stream));)
        count += !string_equal(entry->d_name, ".") && !string_equal(entry->d_name, "..");
    (void)closedir(stream);
    return count;
}

static void test_write_new(void **state)
{
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *path = path_join(folder, "key"), *content = NULL;
    assert_int_equal(file_write_new(path, "one", 3, 0600), 0);
    assert_int_equal(file_write_new(path, "two", 3, 0600), -EEXIST);
    assert_int_equal(file_read(path, 100, &content, NULL), 0);
    assert_string_equal(content, "one");
    assert_int_equal(count_entries(folder), 1); /* no temporary file is left */
    /* A link that leads nowhere counts as there. */
    _cleanup_free_ char *dangling = path_join(folder, "link");
    assert_int_equal(symlink("nowhere", dangling), 0);
    assert_int_equal(file_write_new(dangling, "x", 1, 0600), -EEXIST);
}

static void test_write_failures(void **state)
{
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *below_file = NULL, *absent = path_join(folder, "absent/x"),
                        *slash = path_join(folder, "x/");
    assert_int_equal(file_write_atomic(absent, "x", 1, 0600), -ENOENT);
    assert_int_equal(file_write_atomic(slash, "x", 1, 0600), -EISDIR);
    assert_int_equal(file_write_atomic(folder, "x", 1, 0600), -EISDIR); /* it would replace a directory */
    _cleanup_free_ char *file = path_join(folder, "file");
    assert_int_equal(file_write_atomic(file, "x", 1, 0600), 0);
    below_file = path_join(file, "y");
    assert_int_equal(file_write_atomic(below_file, "x", 1, 0600), -ENOTDIR);
    assert_int_equal(count_entries(folder), 1);
}

static void test_read_failures(void **state)
{
    _cleanup_folder_ char *folder = temporary_folder();
    char *content = NULL;
    assert_int_equal(file_read("/nonexistent/x", 10, &content, NULL), -ENOENT);
    assert_int_equal(file_read(folder, 10, &content, NULL), -EISDIR);
    assert_int_equal(file_read("/dev/zero", 100000, &content, NULL), -E2BIG);
    assert_null(content);
    size_t size = 0;
    assert_int_equal(file_read("/proc/self/status", 100000, &content, &size), 0); /* says it has size 0 */
    assert_true(size > 100);
    free(content);
}

static void test_read_private(void **state)
{
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *path = path_join(folder, "key"), *fifo = path_join(folder, "fifo"), *content = NULL;
    uid_t other = geteuid() + 12345;
    assert_int_equal(file_write_new(path, "secret", 6, 0600), 0);
    assert_int_equal(file_read_private(path, geteuid(), 100, &content, NULL), 0);
    assert_string_equal(content, "secret");
    static const mode_t open_modes[] = {0640, 0620, 0604, 0602, 0660, 0644};
    for (size_t i = 0; i < ELEMENTSOF(open_modes); i++) {
        char *none = NULL;
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_int_equal(file_read_private(path, geteuid(), 100, &none, NULL), -EPERM);
        assert_null(none);
    }
    assert_int_equal(chmod(path, 0600), 0);
    char *none = NULL;
    if (geteuid() == 0) { /* owned by another than the wanted and root */
        assert_int_equal(chown(path, 4242, 4242), 0);
        assert_int_equal(file_read_private(path, other, 100, &none, NULL), -EPERM);
    } else
        assert_int_equal(file_read_private(path, other, 100, &none, NULL), -EPERM);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(file_read_private(fifo, geteuid(), 100, &none, NULL), -EPERM); /* does not hang */
    assert_int_equal(file_read_private(folder, geteuid(), 100, &none, NULL), -EPERM);
    assert_null(none);
}

static void test_directory_make(void **state)
{
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *deep = path_join(folder, "a//b/c/"), *file = path_join(folder, "a/b/file");
    assert_int_equal(directory_make(deep, 0700), 0);
    assert_int_equal(directory_make(deep, 0700), 0);
    struct stat status;
    assert_int_equal(stat(deep, &status), 0);
    assert_true(S_ISDIR(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(file_write_new(file, "x", 1, 0600), 0);
    _cleanup_free_ char *below = path_join(file, "d");
    assert_int_equal(directory_make(file, 0700), -ENOTDIR);
    assert_int_equal(directory_make(below, 0700), -ENOTDIR);
    assert_int_equal(directory_make("/", 0700), 0);
    assert_int_equal(directory_make("", 0700), -ENOENT);
}

static void test_directory_remove(void **state)
{
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *tree = path_join(folder, "tree"), *deep = path_join(tree, "a/b/c"),
                        *kept = path_join(folder, "kept"), *kept_file = path_join(kept, "file"),
                        *link = path_join(tree, "a/link"), *file = path_join(tree, "a/b/file");
    assert_int_equal(directory_make(deep, 0700), 0);
    assert_int_equal(directory_make(kept, 0700), 0);
    assert_int_equal(file_write_new(kept_file, "x", 1, 0600), 0);
    assert_int_equal(file_write_new(file, "x", 1, 0400), 0);
    assert_int_equal(symlink(kept, link), 0);
    assert_int_equal(directory_remove(tree), 0);
    assert_int_equal(access(tree, F_OK), -1);
    assert_int_equal(access(kept_file, F_OK), 0); /* behind the link */
    assert_int_equal(directory_remove(tree), 0);  /* absent is fine */
    assert_int_equal(symlink(kept, tree), 0);
    assert_int_equal(directory_remove(tree), 0); /* a link itself */
    assert_int_equal(access(kept_file, F_OK), 0);
}

static void test_full_transfer(void **state)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    enum { SIZE = 300000 };
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _cleanup_free_ uint8_t *data = memory_new(SIZE);
        for (size_t i = 0; i < SIZE; i++)
            data[i] = (uint8_t)(i * 7);
        int r = write_full(ends[1], data, SIZE); /* more than the pipe holds */
        _exit(r < 0);
    }
    (void)close(ends[1]);
    _cleanup_free_ uint8_t *data = memory_new(SIZE + 10);
    assert_int_equal(read_full(ends[0], data, SIZE + 10), SIZE);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(data[i], (uint8_t)(i * 7));
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(set_nonblocking(ends[0], true), 0);
    assert_true(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
    assert_int_equal(set_nonblocking(ends[0], false), 0);
    assert_false(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
    (void)close(ends[0]);
    assert_int_equal(set_nonblocking(ends[0], true), -EBADF);
    assert_int_equal(read_full(ends[0], data, 1), -EBADF);
    assert_int_equal(write_full(ends[0], data, 1), -EBADF);
}

static void test_path_join(void **state)
{
    static const char *const cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a//", "//b", "a/b"},
                                           {"/", "b", "/b"},  {"", "b", "b"},     {"a", "", "a/"}};
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_free_ char *path = path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
    }
}

static void test_safe_path(void **state)
{
    static const char *const good[] = {"a", "a/b.c", ".hidden", "...", "a/..b", "\xc3\xa9"};
    static const char *const bad[] = {NULL,   "",     "/a",    "a/",   "a//b",   ".",    "..",
                                      "a/..", "../a", "a/./b", "a\nb", "a/\x7f", "\xff", "a/../../b"};
    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        assert_true(path_is_safe_relative(good[i]));
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_false(path_is_safe_relative(bad[i]));
    char text[1026];
    memset(text, 'a', sizeof(text));
    text[256] = 0;
    assert_false(path_is_safe_relative(text));
    text[255] = 0;
    assert_true(path_is_safe_relative(text));
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 2 ? '/' : 'a';
    text[1023] = 0;
    assert_true(path_is_safe_relative(text));
    text[1023] = '/';
    text[1025] = 0;
    assert_false(path_is_safe_relative(text));
}

int main(void)
{
    (void)umask(022);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_read),   cmocka_unit_test(test_write_new),
        cmocka_unit_test(test_write_failures),   cmocka_unit_test(test_read_failures),
        cmocka_unit_test(test_read_private),     cmocka_unit_test(test_directory_make),
        cmocka_unit_test(test_directory_remove), cmocka_unit_test(test_full_transfer),
        cmocka_unit_test(test_path_join),        cmocka_unit_test(test_safe_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
