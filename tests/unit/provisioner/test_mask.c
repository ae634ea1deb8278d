/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/string.h"
#include "provisioner/mask.h"

static Mask *mask_of(const char *value)
{
    Mask *mask = mask_new();
    Secret *secret = secret_new(value, strlen(value));
    mask_add(mask, secret);
    secret_free(secret);
    return mask;
}

/* Feeds the text in pieces of the given size. */
static char *masked(const Mask *mask, const char *text, size_t piece)
{
    MaskStream stream = MASK_STREAM(mask);
    Buffer out = BUFFER_INIT;
    size_t size = strlen(text);
    for (size_t at = 0; at < size; at += piece)
        assert_int_equal(mask_stream_feed(&stream, text + at, MIN(piece, size - at), false, &out), 0);
    assert_int_equal(mask_stream_feed(&stream, "", 0, true, &out), 0);
    mask_stream_done(&stream);
    return buffer_take_string(&out);
}

static void check(const char *secret, const char *text, const char *expected)
{
    _cleanup_mask_ Mask *mask = mask_of(secret);
    for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
        _cleanup_free_ char *actual = masked(mask, text, piece);
        assert_string_equal(actual, expected);
    }
}

/* SV20: wherever the chunks are cut. */
static void test_value_across_chunks(void **state)
{
    (void)state;
    check("hunter2", "pass hunter2 and hunter2hunter2.", "pass *** and ******.");
    check("hunter2", "hunthunter2", "hunt***");
    check("aaaab", "aaaaaab aaaa", "aa*** aaaa");
    check("hunter2", "hunter", "hunter");
    check("abcabd", "abcabcabd", "abc***");
}

static void test_encoded_forms(void **state)
{
    (void)state;
    check("top secret", "746f7020736563726574 746F7020736563726574", "*** ***");
    /* base64 of the value alone: the last character depends on what follows and stays. */
    check("top secret!!", "dG9wIHNlY3JldCEh", "***");
}

static void test_base64_inside_of_longer_text(void **state)
{
    (void)state;
    static const char secret[] = "s3cret+value";
    _cleanup_mask_ Mask *mask = mask_of(secret);
    for (size_t before = 0; before < 7; before++)
        for (size_t after = 0; after < 7; after++) {
            char plain[64] = "", text[128];
            (void)string_print(plain, sizeof(plain), "%.*s%s%.*s", (int)before, "xxxxxxxx", secret,
                               (int)after, "yyyyyyyy");
            base64_encode(plain, strlen(plain), text);
            _cleanup_free_ char *actual = masked(mask, text, 5);
            assert_non_null(strstr(actual, "***"));
        }
}

static void test_lines_of_a_long_value(void **state)
{
    (void)state;
    check("-----BEGIN KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqG\n-----END KEY-----\n",
          "x MIGHAgEAMBMGByqGSM49AgEGCCqG y", "x *** y");
}

static void test_short_values_are_left(void **state)
{
    (void)state;
    check("abc", "abc", "abc");
}

static void test_large_text_without_secret(void **state)
{
    (void)state;
    _cleanup_mask_ Mask *mask = mask_of("needle-in-a-haystack");
    char *text = memory_new(200001);
    memset(text, 'n', 200000);
    _cleanup_free_ char *actual = masked(mask, text, 4096);
    assert_string_equal(actual, text);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_across_chunks),          cmocka_unit_test(test_encoded_forms),
        cmocka_unit_test(test_base64_inside_of_longer_text), cmocka_unit_test(test_lines_of_a_long_value),
        cmocka_unit_test(test_short_values_are_left),        cmocka_unit_test(test_large_text_without_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
