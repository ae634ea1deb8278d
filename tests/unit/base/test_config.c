/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/stat.h>

#include "base/config.h"
#include "helper.h"

typedef struct Settings {
    char *name, *directory, *unset;
    int64_t port, timeout;
    bool is_verbose, is_safe;
    uint64_t memory;
    StringList peers;
} Settings;

static const ConfigKey keys[] = {
    {.section = "server",
     .key = "name",
     .type = CONFIG_STRING,
     .offset = offsetof(Settings, name),
     .default_value = "here",
     .description = "What it is called."},
    {.section = "server",
     .key = "directory",
     .type = CONFIG_PATH,
     .offset = offsetof(Settings, directory),
     .default_value = "/var/lib/x",
     .description = "Where things are.\nAbsolute."},
    {.section = "server",
     .key = "unset",
     .type = CONFIG_STRING,
     .offset = offsetof(Settings, unset),
     .description = "Has no default."},
    {.section = "server",
     .key = "port",
     .type = CONFIG_INTEGER,
     .offset = offsetof(Settings, port),
     .default_value = "8443",
     .minimum = 1,
     .maximum = 65535,
     .description = "The port."},
    {.section = "server",
     .key = "timeout",
     .type = CONFIG_MILLISECONDS,
     .offset = offsetof(Settings, timeout),
     .default_value = "15s",
     .minimum = 1000,
     .maximum = 60000,
     .description = "How long."},
    {.section = "server",
     .key = "tls",
     .type = CONFIG_BOOLEAN,
     .refused = "TLS is always on",
     .description = "Never."},
    {.section = "log",
     .key = "verbose",
     .type = CONFIG_BOOLEAN,
     .offset = offsetof(Settings, is_verbose),
     .description = "More."},
    {.section = "log",
     .key = "safe",
     .type = CONFIG_BOOLEAN,
     .offset = offsetof(Settings, is_safe),
     .default_value = "yes",
     .description = "Safe."},
    {.section = "limits",
     .key = "memory",
     .type = CONFIG_BYTES,
     .offset = offsetof(Settings, memory),
     .default_value = "16M",
     .minimum = 1024,
     .maximum = 1073741824,
     .description = "Memory."},
    {.section = "limits",
     .key = "peers",
     .type = CONFIG_LIST,
     .offset = offsetof(Settings, peers),
     .default_value = "a b",
     .description = "Peers."},
    {.section = NULL},
};

typedef struct Fixture {
    char *folder, *path;
} Fixture;

static void fixture_done(Fixture *fixture)
{
    free(fixture->path);
    remove_temporary_folder(&fixture->folder);
}

static Fixture fixture_new(void)
{
    Fixture fixture = {.folder = temporary_folder()};
    fixture.path = path_join(fixture.folder, "x.conf");
    return fixture;
}
#define _cleanup_fixture_ _cleanup_(fixture_done)

static void put(const Fixture *fixture, const char *name, const char *text, mode_t mode)
{
    _cleanup_free_ char *path = path_join(fixture->folder, name);
    assert_int_equal(file_write_atomic(path, text, strlen(text), mode), 0);
}

static void test_defaults(void **state)
{
    _cleanup_fixture_ Fixture fixture = fixture_new();
    Settings settings;
    memset(&settings, 0xff, sizeof(settings));
    Error error = ERROR_INIT;
    assert_int_equal(config_load(fixture.path, true, keys, &settings, &error), 0);
    assert_string_equal(settings.name, "here");
    assert_string_equal(settings.directory, "/var/lib/x");
    assert_null(settings.unset);
    assert_int_equal(settings.port, 8443);
    assert_int_equal(settings.timeout, 15000);
    assert_false(settings.is_verbose);
    assert_true(settings.is_safe);
    assert_int_equal(settings.memory, 16 * 1024 * 1024);
    assert_int_equal(settings.peers.count, 2);
    config_done(keys, &settings);
    assert_null(settings.name);
    config_done(keys, &settings);
    assert_int_equal(config_load(fixture.path, false, keys, &settings, &error), -EINVAL);
    _cleanup_free_ char *expected = string_format("%s: No such file or directory", fixture.path);
    assert_string_equal(error.text, expected);
    assert_int_equal(error.code, ERROR_CONFIGURATION);
}

static void test_file_and_drop_ins(void **state)
{
    _cleanup_fixture_ Fixture fixture = fixture_new();
    put(&fixture, "x.conf",
        "# comment\n\n  [server]  \nname = two words # no comment\n\tport=1\r\nunset =\n[ log "
        "]\nverbose=ON\nsafe = no\n"
        "[limits]\nmemory=2K\npeers = c,d ,, e\n[server]\ntimeout = 2s",
        0644);
    _cleanup_free_ char *drop_ins = string_format("%s.d", fixture.path);
    assert_int_equal(directory_make(drop_ins, 0755), 0);
    put(&fixture, "x.conf.d/20-late.conf", "[server]\nport = 3\n", 0644);
    put(&fixture, "x.conf.d/10-early.conf", "[server]\nport = 2\ndirectory = /early\n", 0644);
    put(&fixture, "x.conf.d/30-other.txt", "not a drop-in", 0644);
    put(&fixture, "x.conf.d/.hidden.conf", "neither", 0644);
    Settings settings;
    Error error = ERROR_INIT;
    if (config_load(fixture.path, false, keys, &settings, &error) < 0)
        fail_msg("%s", error.text);
    assert_string_equal(settings.name, "two words # no comment");
    assert_string_equal(settings.unset, "");
    assert_string_equal(settings.directory, "/early");
    assert_int_equal(settings.port, 3);
    assert_int_equal(settings.timeout, 2000);
    assert_true(settings.is_verbose);
    assert_false(settings.is_safe);
    assert_int_equal(settings.memory, 2048);
    assert_int_equal(settings.peers.count, 3);
    assert_string_equal(settings.peers.items[2], "e");
    config_done(keys, &settings);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
        ErrorCode code;
        const char *sentence;
    } cases[] = {
        {"[server]\nprot = 1\n", 2, ERROR_CONFIGURATION, "unknown key 'prot'; did you mean 'port'?"},
        {"[server]\nabcdefgh = 1\n", 2, ERROR_CONFIGURATION, "unknown key 'abcdefgh'"},
        {"[server]\nverbose = 1\n", 2, ERROR_CONFIGURATION, "unknown key 'verbose'"},
        {"\n[sever]\n", 2, ERROR_CONFIGURATION, "unknown section 'sever'; did you mean 'server'?"},
        {"[server\n", 1, ERROR_CONFIGURATION, "a section line must end with ']'"},
        {"[\n", 1, ERROR_CONFIGURATION, "a section line must end with ']'"},
        {"port = 1\n", 1, ERROR_CONFIGURATION, "a key stands before the first '[section]'"},
        {"[server]\nport\n", 2, ERROR_CONFIGURATION, "expected '[section]' or 'key = value'"},
        {"[server]\nport = 1\n\nport = 2\n", 4, ERROR_CONFIGURATION, "'port' is set already in line 2"},
        {"[server]\nport =\n", 2, ERROR_CONFIGURATION,
         "'port' has no value; remove the line to get the default"},
        {"[server]\nport = x\n", 2, ERROR_CONFIGURATION, "'port' must be a whole number"},
        {"[server]\nport = 0\n", 2, ERROR_CONFIGURATION, "'port' must be from 1 to 65535"},
        {"[server]\nport = 99999999999999999999\n", 2, ERROR_CONFIGURATION, "'port' must be from 1 to 65535"},
        {"[server]\ntimeout = 5\n", 2, ERROR_CONFIGURATION, "'timeout' must be from 1000ms to 60000ms"},
        {"[server]\ntimeout = soon\n", 2, ERROR_CONFIGURATION,
         "'timeout' must be a time such as 500ms, 15s, 5m, 2h or 7d"},
        {"[server]\ndirectory = var\n", 2, ERROR_CONFIGURATION, "'directory' must be an absolute path"},
        {"[log]\nverbose = maybe\n", 2, ERROR_CONFIGURATION, "'verbose' must be yes or no"},
        {"[limits]\nmemory = 1\n", 2, ERROR_CONFIGURATION, "'memory' must be from 1024 to 1073741824 bytes"},
        {"[limits]\nmemory = lots\n", 2, ERROR_CONFIGURATION,
         "'memory' must be a size such as 512, 64K, 16M or 2G"},
        {"[server]\ntls = off\n", 2, ERROR_INSECURE, "'tls' cannot be set: TLS is always on"},
        {"[server]\ntls = on\n", 2, ERROR_INSECURE, "'tls' cannot be set: TLS is always on"},
        {"[server]\nname = \x01\n", 2, ERROR_CONFIGURATION,
         "the line has control characters or is not UTF-8"},
        {"[server]\nname = \xff\n", 2, ERROR_CONFIGURATION,
         "the line has control characters or is not UTF-8"},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_fixture_ Fixture fixture = fixture_new();
        put(&fixture, "x.conf", cases[i].text, 0644);
        Settings settings;
        Error error = ERROR_INIT;
        assert_true(config_load(fixture.path, false, keys, &settings, &error) < 0);
        assert_int_equal(error.code, cases[i].code);
        assert_int_equal(error.line, cases[i].line);
        _cleanup_free_ char *expected =
            string_format("%s:%u: %s", fixture.path, cases[i].line, cases[i].sentence);
        assert_string_equal(error.text, expected);
        assert_null(settings.name); /* nothing to free is left */
    }
}

static void test_drop_in_errors_name_their_file(void **state)
{
    _cleanup_fixture_ Fixture fixture = fixture_new();
    _cleanup_free_ char *drop_ins = string_format("%s.d", fixture.path);
    assert_int_equal(directory_make(drop_ins, 0755), 0);
    put(&fixture, "x.conf.d/a.conf", "[server]\n\nport = x\n", 0644);
    Settings settings;
    Error error = ERROR_INIT;
    assert_int_equal(config_load(fixture.path, true, keys, &settings, &error), -EINVAL);
    assert_non_null(strstr(error.text, "x.conf.d/a.conf:3: 'port' must be"));
}

static void test_untrusted_files(void **state)
{
    _cleanup_fixture_ Fixture fixture = fixture_new();
    Settings settings;
    Error error = ERROR_INIT;
    put(&fixture, "x.conf", "[server]\n", 0646);
    assert_int_equal(config_load(fixture.path, false, keys, &settings, &error), -EINVAL);
    assert_int_equal(error.code, ERROR_INSECURE);
    assert_non_null(strstr(error.text, "x.conf: everybody may write here; run 'chmod o-w "));
    error_clear(&error);
    put(&fixture, "x.conf", "[server]\n", 0664);
    assert_int_equal(config_load(fixture.path, false, keys, &settings, &error), 0);
    config_done(keys, &settings);
    _cleanup_free_ char *drop_ins = string_format("%s.d", fixture.path);
    assert_int_equal(mkdir(drop_ins, 0700), 0);
    assert_int_equal(chmod(drop_ins, 0777), 0);
    assert_int_equal(config_load(fixture.path, false, keys, &settings, &error), -EINVAL);
    assert_int_equal(error.code, ERROR_INSECURE);
}

static void test_sizes(void **state)
{
    _cleanup_fixture_ Fixture fixture = fixture_new();
    Settings settings;
    Error error = ERROR_INIT;
    _cleanup_free_ char *many = memory_new(300001);
    memset(many, '#', 300000);
    put(&fixture, "x.conf", many, 0644);
    assert_int_equal(config_load(fixture.path, false, keys, &settings, &error), -EINVAL);
    many[5000] = 0;
    memcpy(many, "[server]\nname = ", 16);
    put(&fixture, "x.conf", many, 0644);
    error_clear(&error);
    assert_int_equal(config_load(fixture.path, false, keys, &settings, &error), -EINVAL);
    assert_non_null(strstr(error.text, ":2: the value of 'name' has more than 4096 bytes"));
}

/* The example is a file that loads as the defaults, also with every line switched on. */
static void test_example(void **state)
{
    _cleanup_free_ char *example = config_example(keys);
    assert_true(string_starts_with(example,
                                   "[server]\n# What it is called.\n#name = here\n# Where things are.\n"
                                   "# Absolute.\n#directory = /var/lib/x\n"));
    assert_null(strstr(example, "tls"));
    _cleanup_fixture_ Fixture fixture = fixture_new();
    for (char *line = example; line; line = strchr(line + 1, '\n'))
        if (string_starts_with(line, "\n#") && strchr("abcdefghijklmnopqrstuvwxyz", line[2]) &&
            !string_starts_with(line + 2, "verbose"))
            line[1] = ' ';
    put(&fixture, "x.conf", example, 0644);
    Settings settings;
    Error error = ERROR_INIT;
    if (config_load(fixture.path, false, keys, &settings, &error) < 0)
        fail_msg("%s", error.text);
    assert_string_equal(settings.name, "here");
    assert_int_equal(settings.peers.count, 2);
    config_done(keys, &settings);
}

int main(void)
{
    (void)umask(022);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),        cmocka_unit_test(test_file_and_drop_ins),
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_drop_in_errors_name_their_file),
        cmocka_unit_test(test_untrusted_files), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
