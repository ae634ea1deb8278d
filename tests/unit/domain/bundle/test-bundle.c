/* SPDX-License-Identifier: Apache-2.0 */

/* Bundles: what is accepted, and that hostile archives (S41) are refused before a byte is written. */

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "domain/bundle/bundle.h"
#include "support.h"

typedef struct Item {
    const char *path, *content;
    const char *link; /* symbolic */
    const char *hard_link;
    unsigned type; /* 0 = AE_IFREG */
    unsigned mode; /* 0 = 0644 */
    size_t size;   /* 0 = of the content; else zeros */
} Item;

static la_ssize_t append(struct archive *writer, void *context, const void *data, size_t size)
{
    Buffer *buffer = context;
    return buffer_append(buffer, data, size) < 0 ? -1 : (la_ssize_t)size;
}

static void write_item(struct archive *writer, const Item *item)
{
    struct archive_entry *entry = archive_entry_new();
    size_t size = item->size ? item->size : item->content ? strlen(item->content) : 0;
    archive_entry_set_pathname(entry, item->path);
    archive_entry_set_filetype(entry, item->type ? item->type : AE_IFREG);
    archive_entry_set_perm(entry, item->mode ? item->mode : 0644);
    if (item->link)
        archive_entry_set_symlink(entry, item->link);
    if (item->hard_link)
        archive_entry_set_hardlink(entry, item->hard_link);
    archive_entry_set_size(entry, (la_int64_t)size);
    /* A name that is not ASCII is a warning in the C locale. */
    assert_true(archive_write_header(writer, entry) >= ARCHIVE_WARN);
    static const char zeros[65536];
    if (item->size)
        for (size_t left = size; left > 0; left -= MIN(left, sizeof(zeros)))
            assert_true(archive_write_data(writer, zeros, MIN(left, sizeof(zeros))) > 0);
    else if (size > 0)
        assert_int_equal(archive_write_data(writer, item->content, size), size);
    archive_entry_free(entry);
}

static Buffer pack(const Item *items, size_t count, const char *filter)
{
    Buffer buffer = BUFFER_INIT_LIMIT(128 * 1024 * 1024);
    struct archive *writer = archive_write_new();
    assert_int_equal(archive_write_set_format_pax_restricted(writer), ARCHIVE_OK);
    if (!string_equal(filter, "none"))
        assert_int_equal(archive_write_add_filter_by_name(writer, filter), ARCHIVE_OK);
    /* No padding behind the compressed stream. */
    assert_int_equal(archive_write_set_bytes_in_last_block(writer, 1), ARCHIVE_OK);
    assert_int_equal(archive_write_open(writer, &buffer, NULL, append, NULL), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++)
        write_item(writer, &items[i]);
    assert_int_equal(archive_write_close(writer), ARCHIVE_OK);
    assert_int_equal(archive_write_free(writer), ARCHIVE_OK);
    return buffer;
}

static const char manifest[] =
    "{\"name\":\"demo\",\"version\":\"1.0\",\"description\":\"x\",\"scripts\":{\"web/"
    "install.sh\":{\"description\":\"d\","
    "\"idempotent\":true,\"parameters\":{\"db.port\":{\"type\":\"integer\",\"required\":true},\"title\":{"
    "\"type\":\"string\"}},"
    "\"secrets\":[\"database.password\"],\"timeout\":\"5m\"}},\"files\":{\"web/app.py\":{}}}";

#define GOOD                                                                                                 \
    {.path = "manifest.json", .content = manifest}, {.path = "web/install.sh", .content = "#!/bin/sh\n"},    \
    {                                                                                                        \
        .path = "web/app.py", .content = "print()\n"                                                         \
    }

static void check_good(void **state)
{
    static const char *const filters[] = {"none", "gzip", "zstd"};
    const Item items[] = {{.path = "./", .type = AE_IFDIR, .mode = 0755},
                          {.path = "./web/", .type = AE_IFDIR, .mode = 0755},
                          GOOD};
    for (size_t i = 0; i < ELEMENTSOF(filters); i++) {
        _cleanup_buffer_ Buffer archive = pack(items, ELEMENTSOF(items), filters[i]);
        _cleanup_bundle_ Bundle *bundle = NULL;
        Error error = ERROR_INIT;
        if (bundle_inspect(archive.data, archive.size, &bundle, &error) < 0)
            fail_msg("%s: %s", filters[i], error.text);
        assert_string_equal(bundle->name, "demo");
        assert_int_equal(bundle->file_count, 2);
        const BundleScript *script = bundle_find_script(bundle, "web/install.sh");
        assert_non_null(script);
        assert_true(script->is_idempotent);
        assert_int_equal(script->timeout_ms, 300000);
        assert_string_equal(script->secrets[0], "database.password");
        assert_true(bundle_find_file(bundle, "web/install.sh")->is_script);
        assert_false(bundle_find_file(bundle, "web/app.py")->is_script);
    }
}

static void check_parameters(void **state)
{
    const Item items[] = {GOOD};
    _cleanup_buffer_ Buffer archive = pack(items, ELEMENTSOF(items), "none");
    _cleanup_bundle_ Bundle *bundle = NULL;
    assert_int_equal(bundle_inspect(archive.data, archive.size, &bundle, NULL), 0);
    const struct {
        const char *parameters;
        bool is_good;
    } cases[] = {{"{'db':{'port':5432}}", true},
                 {"{'db.port':'5432'}", true},
                 {"{'db':{}}", false},
                 {"{'db':{'port':'x'}}", false},
                 {"{'db':{'port':1},'title':[]}", false},
                 {"{'db':{'port':1},'title':'t'}", true}};
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_json_ json_t *parameters = quoted_json(cases[i].parameters);
        assert_int_equal(bundle_check_parameters(&bundle->scripts[0], parameters, NULL) == 0,
                         cases[i].is_good);
    }
}

typedef struct HostileCase {
    const char *why;
    Item items[5];
    size_t count;
} HostileCase;

static const HostileCase hostile[] = {
    {"absolute", {GOOD, {.path = "/etc/cron.d/x", .content = "x"}}, 4},
    {"parent", {GOOD, {.path = "../x", .content = "x"}}, 4},
    {"parent inside", {GOOD, {.path = "web/../../x", .content = "x"}}, 4},
    {"dot inside", {GOOD, {.path = "web/./x", .content = "x"}}, 4},
    {"doubled dot slash", {GOOD, {.path = "././x", .content = "x"}}, 4},
    {"empty part", {GOOD, {.path = "web//x", .content = "x"}}, 4},
    {"symbolic link", {GOOD, {.path = "web/link", .link = "/etc/passwd", .type = AE_IFLNK}}, 4},
    {"link then file through it", {{.path = "web", .link = "/tmp", .type = AE_IFLNK}, GOOD}, 4},
    {"hard link", {GOOD, {.path = "web/hard", .hard_link = "web/app.py"}}, 4},
    {"device", {GOOD, {.path = "web/null", .type = AE_IFCHR}}, 4},
    {"pipe", {GOOD, {.path = "web/pipe", .type = AE_IFIFO}}, 4},
    {"twice", {GOOD, {.path = "web/app.py", .content = "evil"}}, 4},
    {"twice over a dot", {GOOD, {.path = "./web/app.py", .content = "evil"}}, 4},
    {"second manifest", {GOOD, {.path = "manifest.json", .content = manifest}}, 4},
    {"other case", {GOOD, {.path = "web/APP.py", .content = "evil"}}, 4},
    {"other case of a folder", {GOOD, {.path = "WEB", .content = "evil"}}, 4},
    {"file as folder", {GOOD, {.path = "web/app.py/x", .content = "evil"}}, 4},
    {"folder as file", {GOOD, {.path = "web", .content = "evil"}}, 4},
    {"set user id", {GOOD, {.path = "web/su", .content = "x", .mode = 04755}}, 4},
    {"leading dash", {GOOD, {.path = "web/-rf", .content = "x"}}, 4},
    {"line end in a name", {GOOD, {.path = "web/a\nb", .content = "x"}}, 4},
    {"letters outside ASCII", {GOOD, {.path = "web/caf\xc3\xa9", .content = "x"}}, 4},
    {"not in the manifest", {GOOD, {.path = "web/extra", .content = "x"}}, 4},
    {"in the manifest only", {{.path = "manifest.json", .content = manifest}}, 1},
    {"no manifest", {{.path = "web/app.py", .content = "x"}}, 1},
    {"manifest deeper", {{.path = "web/manifest.json", .content = manifest}}, 1},
    {"bad manifest", {{.path = "manifest.json", .content = "{\"name\":\"a\"}"}}, 1},
    {"manifest with more",
     {{.path = "manifest.json", .content = "{\"name\":\"a\",\"version\":\"1\",\"scripts\":{},\"hooks\":{}}"}},
     1},
    {"manifest that escapes",
     {{.path = "manifest.json", .content = "{\"name\":\"a\",\"version\":\"1\",\"scripts\":{\"../x\":{}}}"}},
     1},
    {"a name of 2,000 bytes", {GOOD, {.path = "web/", .content = "x"}}, 4}, /* filled in below */
    {"too deep", {GOOD, {.path = "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a", .content = "x"}}, 4},
    {"bomb", {GOOD, {.path = "web/zeros", .size = BUNDLE_UNPACKED_LIMIT + 1}}, 4},
};

/* How many names there are below a directory. */
static size_t count_names(int directory)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char buffer[4096];
    ssize_t size = 0;
    size_t total = 0;
    /* "." and ".." are 48 bytes in all. */
    while ((size = (ssize_t)getdents64(copy, buffer, sizeof(buffer))) > 0)
        total += (size_t)size;
    close(copy);
    return total - 48;
}

typedef struct Folder {
    char path[64];
    int descriptor;
} Folder;

static Folder make_folder(void)
{
    Folder folder = {.path = "/tmp/bastide-bundle-XXXXXX"};
    assert_non_null(mkdtemp(folder.path));
    folder.descriptor = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(folder.descriptor >= 0);
    return folder;
}

static void remove_folder(Folder *folder)
{
    close(folder->descriptor);
    assert_int_equal(directory_remove(folder->path), 0);
}

static void check_hostile(void **state)
{
    _cleanup_free_ char *long_name = memory_new(2001);
    memset(long_name, 'a', 2000);
    for (size_t i = 0; i < ELEMENTSOF(hostile); i++) {
        HostileCase copy = hostile[i];
        if (strstr(copy.why, "2,000"))
            copy.items[3].path = long_name;
        _cleanup_buffer_ Buffer archive = pack(copy.items, copy.count, "gzip");
        Folder folder = make_folder();
        Bundle *bundle = NULL;
        Error error = ERROR_INIT;
        int r = bundle_extract(archive.data, archive.size, NULL, folder.descriptor, &bundle, &error);
        size_t written = count_names(folder.descriptor);
        remove_folder(&folder);
        if (r == 0)
            fail_msg("accepted: %s", copy.why);
        assert_true(error.code == ERROR_BAD_DOCUMENT || error.code == ERROR_BAD_FIELD ||
                    error.code == ERROR_TOO_LARGE);
        assert_int_equal(written, 0);
        assert_true(utf8_is_valid(error.text, strlen(error.text)));
        assert_false(string_has_control(error.text, strlen(error.text), NULL));
    }
}

static void check_limits(void **state)
{
    /* One entry too many. */
    size_t count = BUNDLE_ENTRY_LIMIT + 1;
    _cleanup_free_ Item *items = NEW_ARRAY(Item, count);
    _cleanup_arena_ Arena *arena = arena_new();
    for (size_t i = 0; i < count; i++)
        items[i] = (Item){.path = arena_format(arena, "f%zu", i)};
    _cleanup_buffer_ Buffer many = pack(items, count, "gzip");
    Bundle *bundle = NULL;
    Error error = ERROR_INIT;
    assert_true(bundle_inspect(many.data, many.size, &bundle, &error) < 0);
    assert_int_equal(error.code, ERROR_TOO_LARGE);

    /* Cut off, damaged, no archive at all, empty. */
    const Item good[] = {GOOD};
    _cleanup_buffer_ Buffer archive = pack(good, ELEMENTSOF(good), "gzip");
    for (size_t size = 0; size < archive.size; size++) {
        _cleanup_bundle_ Bundle *cut = NULL;
        /* Only the empty blocks at the end may be missing. */
        if (bundle_inspect(archive.data, size, &cut, NULL) == 0)
            assert_int_equal(cut->file_count, 2);
        else
            assert_null(cut);
    }
    assert_true(bundle_inspect(archive.data, archive.size / 2, &bundle, NULL) < 0);
    static const char nonsense[] = "#!/bin/sh\nrm -rf /\n";
    assert_true(bundle_inspect(nonsense, sizeof(nonsense), &bundle, NULL) < 0);
}

static void check_extract(void **state)
{
    const Item items[] = {GOOD};
    _cleanup_buffer_ Buffer archive = pack(items, ELEMENTSOF(items), "zstd");
    _cleanup_bundle_ Bundle *bundle = NULL;
    Folder folder = make_folder();
    mode_t before = umask(0077);
    Error refused = ERROR_INIT;
    if (bundle_extract(archive.data, archive.size, NULL, folder.descriptor, &bundle, &refused) < 0)
        fail_msg("%s", refused.text);
    umask(before);
    struct stat status;
    assert_int_equal(fstatat(folder.descriptor, "web/install.sh", &status, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(status.st_mode & 07777, 0755);
    assert_int_equal(fstatat(folder.descriptor, "web/app.py", &status, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(status.st_mode & 07777, 0644);
    assert_int_equal(status.st_size, 8);
    /* Nothing is overwritten. */
    assert_true(bundle_extract(archive.data, archive.size, NULL, folder.descriptor, NULL, NULL) < 0);
    remove_folder(&folder);

    /* Nor written when the digest is another one. */
    uint8_t other[BUNDLE_DIGEST_SIZE];
    memcpy(other, bundle->digest, sizeof(other));
    other[0] ^= 1;
    Folder second = make_folder();
    Error error = ERROR_INIT;
    assert_true(bundle_extract(archive.data, archive.size, other, second.descriptor, NULL, &error) < 0);
    assert_int_equal(error.code, ERROR_UNTRUSTED);
    assert_int_equal(count_names(second.descriptor), 0);
    /* A link that somebody put there is not followed. */
    assert_int_equal(symlinkat("/tmp", second.descriptor, "web"), 0);
    assert_true(bundle_extract(archive.data, archive.size, NULL, second.descriptor, NULL, NULL) < 0);
    assert_int_not_equal(access("/tmp/install.sh", F_OK), 0);
    remove_folder(&second);
}

/* The bundle that ships with the product, packed as quickstart packs it. */
static void check_shipped(void **state)
{
    const char *path = getenv("BASTIDE_SHIPPED_BUNDLE");
    assert_non_null(path);
    _cleanup_free_ char *data = NULL;
    size_t size = 0;
    assert_int_equal(file_read(path, BUNDLE_ARCHIVE_LIMIT, &data, &size), 0);
    _cleanup_bundle_ Bundle *bundle = NULL;
    Error error = ERROR_INIT;
    if (bundle_inspect(data, size, &bundle, &error) < 0)
        fail_msg("%s", error.text);
    assert_string_equal(bundle->name, "web-stack");
    assert_true(bundle->script_count >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_good),   cmocka_unit_test(check_parameters), cmocka_unit_test(check_hostile),
        cmocka_unit_test(check_limits), cmocka_unit_test(check_extract),    cmocka_unit_test(check_shipped),
    };
    return cmocka_run_group_tests_name("bundle (S41)", tests, NULL, NULL);
}
