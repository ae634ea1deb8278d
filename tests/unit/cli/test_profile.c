/* SPDX-License-Identifier: Apache-2.0 */
/* The file of profiles: modes, damage, what leaves it; and first contact. */

#include "cli/profile.h"
#include "cli/trust.h"
#include "cli_testing.h"

static Profile make_profile(const char *name)
{
    return (Profile){.name = string_duplicate(name),
                     .url = string_duplicate("https://localhost:8443"),
                     .user = string_duplicate("ana"),
                     .tenant = string_duplicate("shop"),
                     .token = secret_new("btk-one-two", 11)};
}

static void keeps_profiles_closed_to_others(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *inner = path_join(folder, "config/bastide"),
                        *file = path_join(inner, "profiles.json");
    _cleanup_profiles_ Profiles *profiles = NULL, *again = NULL;
    _cleanup_profile_ Profile profile = make_profile("work"), read = {0};
    Error error = ERROR_INIT;
    assert_int_equal(profiles_open(inner, &profiles, &error), 0);
    assert_string_equal(profiles_current(profiles), "default");
    profiles_put(profiles, &profile);
    profiles_set_current(profiles, "work");
    assert_int_equal(profiles_save(profiles, &error), 0);
    assert_int_equal(mode_of(file), 0600);
    assert_int_equal(mode_of(inner), 0700);

    assert_int_equal(profiles_open(inner, &again, &error), 0);
    assert_string_equal(profiles_current(again), "work");
    profiles_get(again, "work", &read);
    assert_string_equal(read.url, "https://localhost:8443");
    assert_string_equal(read.tenant, "shop");
    assert_null(read.ca_file);
    assert_true(secret_equal(read.token, profile.token));
}

static void closes_a_folder_that_was_open(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_profiles_ Profiles *profiles = NULL;
    Error error = ERROR_INIT;
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(profiles_open(folder, &profiles, &error), 0);
    assert_int_equal(profiles_save(profiles, &error), 0);
    assert_int_equal(mode_of(folder), 0700);
}

static void refuses_a_file_that_others_can_read(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *path = put_file(folder, "profiles.json", "{\"profiles\":{}}");
    Profiles *profiles = NULL;
    Error error = ERROR_INIT;
    assert_true(profiles_open(folder, &profiles, &error) < 0); /* 0644 */
    assert_int_equal(error.code, ERROR_INSECURE);
    assert_non_null(strstr(error.text, "chmod 600"));
    assert_null(profiles);
    error_clear(&error);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(profiles_open(folder, &profiles, &error), 0);
    profiles_free(profiles);
}

/* Damage is told with the file's name; the token in it is not. */
static void names_damage_and_no_secret(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{\"profiles\":{\"a\":{\"token\":\"btk-secret\"",
        "[]",
        "{\"profiles\":[]}",
        "{\"profiles\":{\"a\":[]}}",
        "{\"profiles\":{\"a\":{\"token\":17}}}",
        "{\"profiles\":{\"a\":{\"token\":\"btk-secret\",\"password\":\"x\"}}}",
        "{\"profiles\":{\"../a\":{}}}",
        "{\"profiles\":{},\"more\":1}",
        "{\"profiles\":{\"a\":{\"tenant\":\"not a name\"}}}",
    };
    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        _cleanup_folder_ char *folder = temporary_folder();
        _cleanup_free_ char *path = put_file(folder, "profiles.json", texts[i]);
        Profiles *profiles = NULL;
        Error error = ERROR_INIT;
        assert_int_equal(chmod(path, 0600), 0);
        assert_true(profiles_open(folder, &profiles, &error) < 0);
        assert_int_equal(error.code, ERROR_CONFIGURATION);
        assert_non_null(strstr(error.text, path));
        assert_null(strstr(error.text, "btk-secret"));
        assert_null(profiles);
    }
}

static void removes_profiles(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_profiles_ Profiles *profiles = NULL;
    _cleanup_profile_ Profile one = make_profile("one"), two = make_profile("two");
    _cleanup_string_list_ StringList names = {0};
    Error error = ERROR_INIT;
    assert_int_equal(profiles_open(folder, &profiles, &error), 0);
    profiles_put(profiles, &two);
    profiles_put(profiles, &one);
    profiles_set_current(profiles, "two");
    profiles_names(profiles, &names);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.items[0], "one");
    assert_true(profiles_remove(profiles, "two"));
    assert_false(profiles_remove(profiles, "two"));
    assert_false(profiles_has(profiles, "two"));
    assert_true(profiles_has(profiles, "one"));
    assert_string_equal(profiles_current(profiles), "default");
}

static void the_environment_chooses_first(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_profiles_ Profiles *profiles = NULL;
    Error error = ERROR_INIT;
    assert_int_equal(profiles_open(folder, &profiles, &error), 0);
    profiles_set_current(profiles, "two");
    assert_int_equal(setenv("BASTIDE_PROFILE", "three", 1), 0);
    assert_string_equal(profiles_current(profiles), "three");
    assert_int_equal(unsetenv("BASTIDE_PROFILE"), 0);
    assert_string_equal(profiles_current(profiles), "two");
}

static void takes_only_certificates_as_ca(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_profiles_ Profiles *profiles = NULL;
    _cleanup_profile_ Profile profile = make_profile("one");
    Error error = ERROR_INIT;
    assert_int_equal(profiles_open(folder, &profiles, &error), 0);
    assert_true(profiles_store_ca(profiles, &profile, "nothing", &error) < 0);
    assert_int_equal(error.code, ERROR_BAD_DOCUMENT);
    assert_null(profile.ca_file);
}

/* First contact (CH2)
 * ---------------------------------------------------------------------------------------- */

static void assert_url(const char *url, const char *host, const char *port)
{
    _cleanup_free_ char *found_host = NULL, *found_port = NULL;
    Error error = ERROR_INIT;
    int r = trust_parse_url(url, &found_host, &found_port, &error);
    if (!host) {
        assert_true(r < 0);
        assert_true(error_is_set(&error));
        return;
    }
    assert_int_equal(r, 0);
    assert_string_equal(found_host, host);
    assert_string_equal(found_port, port);
}

static void reads_urls(void **state)
{
    (void)state;
    assert_url("https://localhost:8443", "localhost", "8443");
    assert_url("https://bastide.example", "bastide.example", "443");
    assert_url("https://127.0.0.1:1/", "127.0.0.1", "1");
    assert_url("https://[::1]:8443", "::1", "8443");
    assert_url("http://localhost:8443", NULL, NULL);
    assert_url("localhost:8443", NULL, NULL);
    assert_url("https://user:secret@localhost", NULL, NULL);
    assert_url("https://localhost:8443/other", NULL, NULL);
    assert_url("https://localhost:0", NULL, NULL);
    assert_url("https://localhost:65536", NULL, NULL);
    assert_url("https://", NULL, NULL);
    assert_url("https://[::1", NULL, NULL);
    assert_url("https://a b", NULL, NULL);
}

static void reads_fingerprints(void **state)
{
    (void)state;
    char text[3 * 32 + 8] = "SHA256:", fingerprint[HASH_HEX_SIZE];
    for (size_t i = 0; i < 32; i++)
        memcpy(text + 7 + 3 * i, i < 31 ? "Ab:" : "Ab", 3);
    assert_int_equal(trust_parse_fingerprint(text, fingerprint), 0);
    assert_int_equal(strlen(fingerprint), 64);
    assert_int_equal(strspn(fingerprint, "ab"), 64);
    _cleanup_free_ char *shown = trust_format_fingerprint(fingerprint);
    assert_int_equal(strlen(shown), 95);
    assert_true(string_starts_with(shown, "AB:AB:"));
    assert_true(trust_parse_fingerprint(fingerprint + 1, fingerprint) < 0);
    assert_true(trust_parse_fingerprint("", fingerprint) < 0);
    assert_true(trust_parse_fingerprint("zz", fingerprint) < 0);
    char longer[80];
    memset(longer, 'a', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    assert_true(trust_parse_fingerprint(longer, fingerprint) < 0);
}

static void refuses_other_answers_than_certificates(void **state)
{
    (void)state;
    static const char *const answers[] = {"", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\nx",
                                          "HTTP/1.1 200 OK\r\n\r\n<html>",
                                          "nonsense\r\n\r\n-----BEGIN CERTIFICATE-----"};
    for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
        char *body = NULL;
        assert_true(trust_read_answer(answers[i], strlen(answers[i]), &body) < 0);
        assert_null(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_profiles_closed_to_others),
        cmocka_unit_test(closes_a_folder_that_was_open),
        cmocka_unit_test(refuses_a_file_that_others_can_read),
        cmocka_unit_test(names_damage_and_no_secret),
        cmocka_unit_test(removes_profiles),
        cmocka_unit_test(the_environment_chooses_first),
        cmocka_unit_test(takes_only_certificates_as_ca),
        cmocka_unit_test(reads_urls),
        cmocka_unit_test(reads_fingerprints),
        cmocka_unit_test(refuses_other_answers_than_certificates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
