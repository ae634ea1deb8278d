/* SPDX-License-Identifier: Apache-2.0 */
/* What reaches the terminal: escapes, widths, cuts, tables, pictures. */

#include "cli/picture.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/view.h"
#include "cli_testing.h"

static void assert_safe(const char *text, const char *expected)
{
    _cleanup_free_ char *safe = text_safe(text);
    assert_string_equal(safe, expected);
}

/* A hostile name must not move the cursor, change the title or turn text around. */
static void escapes_what_a_terminal_acts_on(void **state)
{
    (void)state;
    assert_safe("plain", "plain");
    assert_safe("Zürich 東京", "Zürich 東京");
    assert_safe("\033[2J\033]0;owned\007", "\\x1b[2J\\x1b]0;owned\\x07");
    assert_safe("a\nb\tc\rd", "a\\x0ab\\x09c\\x0dd");
    assert_safe("\x7f", "\\x7f");
    assert_safe("\xc2\x9b"
                "31m",
                "\\u{9b}31m"); /* CSI as one C1 character */
    assert_safe("user\xe2\x80\xaetxt.exe", "user\\u{202e}txt.exe");
    assert_safe("a\xe2\x80\x8b"
                "b",
                "a\\u{200b}b");
    assert_safe("\xff\xfe", "\\xff\\xfe");
    assert_safe("\xe2\x80", "\\xe2\\x80");
    assert_safe(NULL, "");
}

static void escapes_all_beyond_ascii_on_other_terminals(void **state)
{
    (void)state;
    text_set_unicode(false); /* 0x9b inside of a character would be CSI there */
    assert_safe("Zürich", "Z\\u{fc}rich");
    text_set_unicode(true);
}

static void assert_log(const char *text, const char *expected)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    text_append_log(&buffer, text, strlen(text));
    assert_string_equal(buffer_string(&buffer), expected);
}

static void logs_keep_lines_and_lose_colours(void **state)
{
    (void)state;
    assert_log("one\n\ttwo\n", "one\n\ttwo\n");
    assert_log("\033[1;31mred\033[0m\n", "red\n");
    assert_log("a\r\nb\r\n", "a\nb\n");
    assert_log(" 10%\r 20%\r\n", " 10%\n 20%\n");
    assert_log("\033[2Jx", "\\x1b[2Jx");
    assert_log("\033[", "\\x1b[");
    assert_log("\033]52;c;AAAA\007", "\\x1b]52;c;AAAA\\x07");
}

static void structured_output_stays_what_it_was(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":\"x\xe2\x80\xaey \xc2\x9b ü \xf3\xa0\x80\x81\"}";
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    _cleanup_json_ json_t *before = NULL, *after = NULL;
    Error error = ERROR_INIT;
    text_append_structured(&buffer, text, strlen(text));
    assert_string_equal(buffer_string(&buffer), "{\"a\":\"x\\u202ey \\u009b ü \\udb40\\udc01\"}");
    assert_int_equal(json_parse(text, strlen(text), 1000, &before, &error), 0);
    assert_int_equal(json_parse(buffer_string(&buffer), buffer.size, 1000, &after, &error), 0);
    assert_true(json_equal(before, after));
}

static void widths_are_columns(void **state)
{
    (void)state;
    assert_int_equal(text_width(""), 0);
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("Zürich"), 6);
    assert_int_equal(text_width("東京"), 4);
    assert_int_equal(text_width("e\xcc\x81"), 1); /* a combining accent */
}

static void assert_cut(const char *text, size_t width, const char *expected)
{
    _cleanup_free_ char *cut = text_cut(text, width);
    assert_string_equal(cut, expected);
    assert_true(text_width(cut) <= width);
}

static void cuts_end_with_an_ellipsis(void **state)
{
    (void)state;
    assert_cut("abcdef", 6, "abcdef");
    assert_cut("abcdef", 5, "abcd…");
    assert_cut("abcdef", 1, "…");
    assert_cut("abcdef", 0, "");
    assert_cut("東京都", 5, "東京…");
    assert_cut("東京都", 4, "東…");
}

static const Column columns[] = {
    {"NAME", 0}, {"NODES", COLUMN_RIGHT}, {"ABSENT", COLUMN_OPTIONAL}, {"WHAT", COLUMN_FLEXIBLE}};

static Table *make_table(void)
{
    Table *table = table_new(columns, ELEMENTSOF(columns));
    static const char *const cells[] = {"東京",      "3",        "", "first of them",
                                        "b\033[31m", "12345678", "", "a text that is rather long"};
    for (size_t i = 0; i < ELEMENTSOF(cells); i++)
        table_cell(table, cells[i], i % 4 == 0 ? STYLE_STRONG : STYLE_PLAIN);
    return table;
}

static void tables_align_by_columns(void **state)
{
    (void)state;
    _cleanup_table_ Table *table = make_table();
    _cleanup_free_ char *text = table_format(table, 0, false);
    assert_string_equal(text, "NAME          NODES  WHAT\n"
                              "東京              3  first of them\n"
                              "b\\x1b[31m  12345678  a text that is rather long\n");
    assert_int_equal(table_rows(table), 2);
}

static void tables_fit_narrow_terminals(void **state)
{
    (void)state;
    _cleanup_table_ Table *table = make_table();
    _cleanup_free_ char *text = table_format(table, 33, false);
    assert_string_equal(text, "NAME          NODES  WHAT\n"
                              "東京              3  first of th…\n"
                              "b\\x1b[31m  12345678  a text that…\n");
    _cleanup_free_ char *tiny = table_format(table, 5, false); /* what cannot shrink stays whole */
    assert_non_null(strstr(tiny, "12345678"));
}

static void tables_colour_only_when_asked(void **state)
{
    (void)state;
    _cleanup_table_ Table *table = make_table();
    _cleanup_free_ char *plain = table_format(table, 0, false), *coloured = table_format(table, 0, true);
    assert_null(strchr(plain, '\033'));
    assert_non_null(strstr(coloured, "\033[1m東京\033[0m"));
}

static void pictures_never_wrap(void **state)
{
    (void)state;
    Picture picture = {0};
    picture_begin(&picture, 20, false);
    picture_text(&picture, STYLE_BUSY, "a name");
    picture_column(&picture, 10);
    picture_text(&picture, STYLE_PLAIN, "more than there is room for");
    assert_true(picture.column < 20);
    picture_line(&picture);
    picture_bar(&picture, 10, 5, 10, STYLE_GOOD);
    picture_line(&picture);
    assert_string_equal(buffer_string(&picture.text), "a name    more tha…\033[K\n━━━━━─────\033[K\n");
    assert_int_equal(picture.lines, 2);
    picture_done(&picture);
}

static void assert_relative(const char *time, const char *expected)
{
    Usec now;
    assert_int_equal(timestamp_parse("2026-11-22T10:00:00.000Z", &now), 0);
    _cleanup_free_ char *text = time_relative(time, now);
    assert_string_equal(text, expected);
}

static void times_are_relative(void **state)
{
    (void)state;
    assert_relative("2026-11-22T10:00:00.000Z", "now");
    assert_relative("2026-11-22T09:59:18.000Z", "42 s ago");
    assert_relative("2026-11-22T09:57:00.000Z", "3 min ago");
    assert_relative("2026-11-22T05:00:00.000Z", "5 h ago");
    assert_relative("2026-11-12T10:00:00.000Z", "10 d ago");
    assert_relative("2026-12-22T09:59:59.000Z", "in 30 d");
    assert_relative("not a time", "");
    assert_relative("", "");
    assert_relative(NULL, "");
}

static void sizes_and_durations(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes;
        const char *text;
    } rows[] = {{0, "0 B"}, {1023, "1023 B"}, {1536, "1.5 KiB"}, {123456789, "117 MiB"}, {-5, "0 B"}};
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_free_ char *text = bytes_format(rows[i].bytes);
        assert_string_equal(text, rows[i].text);
    }
    char text[24];
    duration_format(42 * USEC_PER_SEC, text);
    assert_string_equal(text, "0:42");
    duration_format(3723 * USEC_PER_SEC, text);
    assert_string_equal(text, "1:02:03");
    duration_format(USEC_INFINITY, text);
    assert_string_equal(text, "9999:00:00");
}

static void fields_of_answers(void **state)
{
    (void)state;
    _cleanup_json_ json_t *object =
        json_loads("{\"a\":{\"b\":\"x\"},\"list\":[\"p\",\"q\",3],\"map\":{\"k\":\"v\",\"n\":1},\"yes\":true,"
                   "\"digest\":\"0123456789abcdef\",\"evil\":\"\\u001b[2J\",\"none\":null}",
                   0, NULL);
    static const struct {
        ViewField field;
        const char *text;
    } rows[] = {
        {{"", "a.b", FIELD_TEXT, IN_LIST}, "x"},
        {{"", "a.c", FIELD_TEXT, IN_LIST}, ""},
        {{"", "a.b.c", FIELD_TEXT, IN_LIST}, ""},
        {{"", "list", FIELD_LIST, IN_LIST}, "p, q, 3"},
        {{"", "map", FIELD_MAP, IN_LIST}, "k: v, n: 1"},
        {{"", "map", FIELD_NAMES, IN_LIST}, "k, n"},
        {{"", "yes", FIELD_FLAG, IN_LIST}, "yes"},
        {{"", "digest", FIELD_SHORT, IN_LIST}, "0123456789ab"},
        {{"", "evil", FIELD_TEXT, IN_LIST}, "\\x1b[2J"},
        {{"", "none", FIELD_TEXT, IN_LIST}, ""},
    };
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_free_ char *text = field_text(object, &rows[i].field, true, 0);
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_what_a_terminal_acts_on),
        cmocka_unit_test(escapes_all_beyond_ascii_on_other_terminals),
        cmocka_unit_test(logs_keep_lines_and_lose_colours),
        cmocka_unit_test(structured_output_stays_what_it_was),
        cmocka_unit_test(widths_are_columns),
        cmocka_unit_test(cuts_end_with_an_ellipsis),
        cmocka_unit_test(tables_align_by_columns),
        cmocka_unit_test(tables_fit_narrow_terminals),
        cmocka_unit_test(tables_colour_only_when_asked),
        cmocka_unit_test(pictures_never_wrap),
        cmocka_unit_test(times_are_relative),
        cmocka_unit_test(sizes_and_durations),
        cmocka_unit_test(fields_of_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
