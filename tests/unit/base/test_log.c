/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/log.h"
#include "helper.h"

/* Standard error goes to a file in memory while the function runs; what it wrote, owned. */
static char *capture(void (*function)(void))
{
    _cleanup_close_ int file = memfd_create("log", MFD_CLOEXEC),
                        saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    assert_true(file >= 0 && saved >= 0);
    assert_int_equal(fcntl(file, F_SETFL, O_APPEND), 0);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    function();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    assert_int_equal(lseek(file, 0, SEEK_SET), 0);
    char *text = NULL;
    assert_int_equal(file_read_descriptor(file, 10 * 1024 * 1024, &text, NULL), 0);
    return text;
}

static void write_levels(void)
{
    log_init("prog", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    errno = EBADMSG;
    log_error("first %d", 1);
    assert_int_equal(errno, EBADMSG);
    log_debug("not shown");
    log_set_level(LOG_LEVEL_DEBUG);
    log_set_request("req-7");
    log_debug("shown");
    log_set_request(NULL);
    log_set_level(LOG_LEVEL_ERROR);
    log_warning("not shown");
}

static void test_text(void **state)
{
    _cleanup_free_ char *text = capture(write_levels);
    _cleanup_string_list_ StringList lines = {0};
    string_list_split(&lines, text, '\n');
    assert_int_equal(lines.count, 3);
    _cleanup_free_ char *first = string_format("Z error   prog[%d]: first 1", (int)getpid());
    assert_true(string_ends_with(lines.items[0], first));
    assert_non_null(strstr(lines.items[1], "Z debug   prog["));
    assert_non_null(strstr(lines.items[1], "]: shown request=req-7 (test_log.c:"));
}

static void write_hostile(void)
{
    log_init("prog", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_set_request("a\nb");
    log_info("name=%s", "x\n2026 error forged\r\x1b[2J\xff\\n\xc2\x9b\xc3\xa9");
    log_set_request(NULL);
}

static void test_escaping_keeps_one_line(void **state)
{
    _cleanup_free_ char *text = capture(write_hostile);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_non_null(
        strstr(text, "name=x\\n2026 error forged\\x0d\\x1b[2J\\xff\\\\n\\xc2\\x9b\xc3\xa9 request=a\\nb\n"));
}

static void write_json(void)
{
    log_init("prog\"x", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    log_set_request("r1");
    log_notice("a \"quoted\"\nline \xff");
    log_set_request(NULL);
    log_notice("second");
}

static void test_json_lines(void **state)
{
    _cleanup_free_ char *text = capture(write_json);
    size_t first_size = strcspn(text, "\n");
    assert_true(text[first_size] == '\n');
    _cleanup_json_ json_t *first = NULL, *second = NULL;
    assert_int_equal(json_parse(text, first_size, 10000, &first, NULL), 0);
    assert_int_equal(json_parse(text + first_size + 1, strlen(text + first_size + 1), 10000, &second, NULL),
                     0);
    assert_string_equal(json_string_value(json_object_get(first, "level")), "notice");
    assert_string_equal(json_string_value(json_object_get(first, "program")), "prog\"x");
    assert_string_equal(json_string_value(json_object_get(first, "request")), "r1");
    assert_string_equal(json_string_value(json_object_get(first, "message")),
                        "a \"quoted\"\nline \xef\xbf\xbd");
    assert_string_equal(json_string_value(json_object_get(first, "file")), "test_log.c");
    assert_int_equal(json_integer_value(json_object_get(first, "pid")), getpid());
    assert_true(json_integer_value(json_object_get(first, "line")) > 0);
    assert_null(json_object_get(second, "request"));
}

static void write_journal(void)
{
    struct stat status;
    char text[64];
    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    assert_int_equal(
        string_print(text, sizeof(text), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino), 0);
    assert_int_equal(setenv("JOURNAL_STREAM", text, 1), 0);
    log_init("prog", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_warning("to the journal");
    /* Inherited, but standard error is another file by now. */
    assert_int_equal(setenv("JOURNAL_STREAM", "1:1", 1), 0);
    log_init("prog", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_warning("elsewhere");
    assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
}

static void test_journal_prefix(void **state)
{
    _cleanup_free_ char *text = capture(write_journal);
    assert_true(string_starts_with(text, "<4>to the journal\n20"));
    assert_non_null(strstr(text, ": elsewhere\n"));
}

static void write_long(void)
{
    log_init("prog", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    _cleanup_free_ char *many = memory_new(100001);
    memset(many, '\x01', 100000);
    log_info("%s", many);
}

static void test_long_message_is_cut(void **state)
{
    _cleanup_free_ char *text = capture(write_long);
    assert_true(strlen(text) < 40000);
    assert_true(string_ends_with(text, "[...]\n"));
}

static void write_error(void)
{
    log_init("prog", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    Error error = ERROR_INIT;
    assert_true(error_set_field(&error, ERROR_BAD_FIELD, "a.b", "is wrong") < 0);
    error_add_details(&error, "row 7");
    error.line = 3;
    error.column = 4;
    log_error_record(LOG_LEVEL_WARNING, "reading x", &error);
}

static void test_error_record(void **state)
{
    _cleanup_free_ char *text = capture(write_error);
    assert_non_null(strstr(text, "]: reading x: a.b: is wrong at line 3, column 4 (row 7)\n"));
}

enum { THREADS = 4, RECORDS = 200 };

static void *write_many(void *context)
{
    const char *name = context;
    log_set_request(name);
    for (unsigned i = 0; i < RECORDS; i++)
        log_info("from %s %0200u", name, i);
    return NULL;
}

static void write_from_threads(void)
{
    log_init("prog", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    static char names[THREADS][2] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void test_records_of_threads_do_not_mix(void **state)
{
    _cleanup_free_ char *text = capture(write_from_threads);
    _cleanup_string_list_ StringList lines = {0};
    string_list_split(&lines, text, '\n');
    assert_int_equal(lines.count, THREADS * RECORDS + 1);
    for (size_t i = 0; i + 1 < lines.count; i++) {
        const char *line = lines.items[i], *from = strstr(line, "]: from ");
        assert_non_null(from);
        assert_int_equal(strlen(from), strlen("]: from a ") + 200 + strlen(" request=a"));
        assert_int_equal(line[strlen(line) - 1], from[8]); /* its own request id */
    }
}

static void test_level_names(void **state)
{
    assert_int_equal(log_level_from_string("error"), LOG_LEVEL_ERROR);
    assert_int_equal(log_level_from_string("debug"), LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_from_string("loud"), _LOG_LEVEL_INVALID);
    assert_int_equal(log_level_from_string(NULL), _LOG_LEVEL_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_escaping_keeps_one_line),
        cmocka_unit_test(test_json_lines),
        cmocka_unit_test(test_journal_prefix),
        cmocka_unit_test(test_long_message_is_cut),
        cmocka_unit_test(test_error_record),
        cmocka_unit_test(test_records_of_threads_do_not_mix),
        cmocka_unit_test(test_level_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
