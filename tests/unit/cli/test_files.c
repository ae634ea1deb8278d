/* SPDX-License-Identifier: Apache-2.0 */
/* Files on their way to the manager: bundles are packed the same everywhere, documents are told apart and
 * located. */

#include "cli/document.h"
#include "cli/pack.h"
#include "cli_testing.h"
#include "crypto/hash.h"
#include "domain/bundle/bundle.h"

static const char manifest[] =
    "{\"name\":\"demo\",\"version\":\"1.0.0\",\"scripts\":{\"web/install.sh\":{},\"a.sh\":{}},"
    "\"files\":{\"web/app.py\":{}}}";

static void make_bundle(const char *folder, bool is_reversed)
{
    static const char *const names[] = {"manifest.json", "web/install.sh", "a.sh", "web/app.py"};
    const char *const texts[] = {manifest, "#!/bin/sh\necho web\n", "#!/bin/sh\n", "print(1)\n"};
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        size_t index = is_reversed ? ELEMENTSOF(names) - 1 - i : i;
        free(put_file(folder, names[index], texts[index]));
    }
}

static void digest_of(const char *folder, char digest[static HASH_HEX_SIZE], StringList *left_out)
{
    _cleanup_buffer_ Buffer archive = BUFFER_INIT;
    Error error = ERROR_INIT;
    assert_int_equal(pack_bundle(folder, &archive, left_out, &error), 0);
    hash_sha256_hex(archive.data, archive.size, digest);
}

/* Other times, modes, order of making and files beside: the same archive. */
static void packs_reproducibly(void **state)
{
    (void)state;
    _cleanup_folder_ char *first = temporary_folder(), *second = temporary_folder();
    _cleanup_string_list_ StringList none = {0}, left_out = {0};
    char first_digest[HASH_HEX_SIZE], second_digest[HASH_HEX_SIZE];
    make_bundle(first, false);
    make_bundle(second, true);
    _cleanup_free_ char *extra = put_file(second, "web/app.py~", "old"), *script = path_join(second, "a.sh");
    (void)extra;
    const struct timespec old[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(chmod(script, 0700), 0);
    assert_int_equal(utimensat(AT_FDCWD, script, old, 0), 0);
    digest_of(first, first_digest, &none);
    digest_of(second, second_digest, &left_out);
    assert_string_equal(first_digest, second_digest);
    assert_int_equal(none.count, 0);
    assert_int_equal(left_out.count, 1);
    assert_string_equal(left_out.items[0], "web/app.py~");
}

/* What the manager's own check makes of it. */
static void packs_what_the_manager_takes(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_buffer_ Buffer archive = BUFFER_INIT;
    _cleanup_string_list_ StringList left_out = {0};
    _cleanup_bundle_ Bundle *bundle = NULL;
    Error error = ERROR_INIT;
    make_bundle(folder, false);
    assert_int_equal(pack_bundle(folder, &archive, &left_out, &error), 0);
    assert_int_equal(bundle_inspect(archive.data, archive.size, &bundle, &error), 0);
    assert_string_equal(bundle->name, "demo");
    assert_int_equal(bundle->file_count, 3);
}

static void assert_pack_fails(const char *folder, ErrorCode code, const char *text)
{
    _cleanup_buffer_ Buffer archive = BUFFER_INIT;
    _cleanup_string_list_ StringList left_out = {0};
    Error error = ERROR_INIT;
    assert_true(pack_bundle(folder, &archive, &left_out, &error) < 0);
    assert_int_equal(error.code, code);
    assert_non_null(strstr(error.text, text));
}

static void refuses_bad_bundles(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    assert_pack_fails("/nonexistent", ERROR_NOT_FOUND, "/nonexistent");
    assert_pack_fails(folder, ERROR_NOT_FOUND, "manifest.json");
    free(put_file(folder, "manifest.json", "{\"scripts\":\n{,}}"));
    assert_pack_fails(folder, ERROR_BAD_DOCUMENT, "manifest.json:2:");
    free(put_file(folder, "manifest.json", "{\"scripts\":{\"../outside\":{}}}"));
    assert_pack_fails(folder, ERROR_BAD_DOCUMENT, "below the folder");
    free(put_file(folder, "manifest.json", "{\"scripts\":[]}"));
    assert_pack_fails(folder, ERROR_BAD_DOCUMENT, "object");
    free(put_file(folder, "manifest.json", "{\"scripts\":{\"a.sh\":{}}}"));
    assert_pack_fails(folder, ERROR_NOT_FOUND, "a.sh");
}

static void follows_no_links(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder(), *outside = temporary_folder();
    free(put_file(folder, "manifest.json", "{\"scripts\":{\"a.sh\":{},\"in/b.sh\":{}}}"));
    free(put_file(outside, "b.sh", "secret"));
    _cleanup_free_ char *file = path_join(folder, "a.sh"), *inner = path_join(folder, "in");
    assert_int_equal(symlink("/etc/passwd", file), 0);
    assert_pack_fails(folder, ERROR_INSECURE, "symbolic link");
    assert_int_equal(unlink(file), 0);
    free(put_file(folder, "a.sh", "x"));
    assert_int_equal(symlink(outside, inner), 0);
    assert_pack_fails(folder, ERROR_INSECURE, "symbolic link");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkfifo(file, 0600), 0);
    assert_pack_fails(folder, ERROR_INSECURE, "regular file");
}

/* Documents
 * -------------------------------------------------------------------------------------------------- */

static void collects_folders_and_exports(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_json_ json_t *collection = json_object(), *origins = json_object();
    Error error = ERROR_INIT;
    free(put_file(folder, "services/web.yaml", "name: web\n"));
    free(put_file(folder, "services/db.json", "{\"name\":\"db\"}"));
    free(put_file(folder, "services/README.md", "no document"));
    free(put_file(folder, "clustertemplates/stack.yml", "name: stack\n"));
    free(put_file(folder, "bundles/x/manifest.json", "{}"));
    assert_int_equal(document_collect(folder, NULL, collection, origins, &error), 0);
    assert_int_equal(json_object_size(origins), 3);
    assert_int_equal(json_array_size(json_object_get(collection, "services")), 2);
    assert_int_equal(json_array_size(json_object_get(collection, "clustertemplates")), 1);

    _cleanup_folder_ char *other = temporary_folder();
    _cleanup_free_ char *path = put_file(other, "export.yaml", "providers: []\nservices:\n- name: cache\n");
    assert_int_equal(document_collect(path, NULL, collection, origins, &error), 0);
    assert_int_equal(json_array_size(json_object_get(collection, "services")), 3);
    /* The same document from two places is a mistake. */
    assert_true(document_collect(path, NULL, collection, origins, &error) < 0);
    assert_int_equal(error.code, ERROR_CONFLICT);
}

static void guesses_kinds(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{\"providertype\":\"sandbox\"}", "providers"},
        {"{\"defaults\":{}}", "clustertemplates"},
        {"{\"providermap\":{\"p\":{\"flavor\":\"small\"}}}", "hardwaretypes"},
        {"{\"providermap\":{\"p\":{\"image\":\"debian12\"}}}", "imagetypes"},
        {"{\"provisioner\":{\"actions\":{}}}", "services"},
        {"{\"name\":\"x\"}", NULL},
    };
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_json_ json_t *document = json_loads(rows[i][0], 0, NULL);
        const char *kind = document_guess_kind(document);
        assert_true(string_equal(kind, rows[i][1]));
    }
    assert_string_equal(document_kind_from_string("template"), "clustertemplates");
    assert_string_equal(document_kind_from_string("service"), "services");
    assert_string_equal(document_kind_from_string("imagetypes"), "imagetypes");
    assert_null(document_kind_from_string("bundle"));
}

static void assert_located(const char *text, const char *field, unsigned line, unsigned column)
{
    unsigned found_line = 0, found_column = 0;
    assert_int_equal(document_locate(text, strlen(text), field, &found_line, &found_column), line > 0);
    assert_int_equal(found_line, line);
    assert_int_equal(found_column, column);
}

static void locates_members(void **state)
{
    (void)state;
    static const char yaml[] = "name: web\n"
                               "network:\n"
                               "  ports:\n"
                               "  - port: 80\n"
                               "  - port: 443\n"
                               "    from: [anywhere]\n"
                               "defaults:\n"
                               "  config: {a.b: {c: 1}}\n";
    assert_located(yaml, "name", 1, 1);
    assert_located(yaml, "network.ports", 3, 3);
    assert_located(yaml, "network.ports[1].from", 6, 5);
    assert_located(yaml, "network.ports[1].from[0]", 6, 12);
    assert_located(yaml, "network.ports[1].missing", 5, 5); /* its nearest ancestor */
    assert_located(yaml, "defaults.config.a.b.c", 8, 18);
    assert_located(yaml, "absent", 0, 0);
    assert_located(yaml, "", 0, 0);
    static const char json[] = "{\n\t\"name\": \"web\",\n\t\"network\": {\"ports\": [{\"port\": 80}]}\n}\n";
    assert_located(json, "network.ports[0].port", 3, 25);
    assert_located("a: [", "a", 1, 1);
    assert_located("- x", "a.b", 0, 0);
}

static void names_file_and_line_of_bad_documents(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *path = put_file(folder, "web.yaml", "name: web\nbad: [\n");
    _cleanup_free_ char *expected = string_format("%s:3:", path);
    json_t *value = NULL;
    Error error = ERROR_INIT;
    assert_true(document_read(path, &value, NULL, &error) < 0);
    assert_true(string_starts_with(error.text, expected));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packs_reproducibly),
        cmocka_unit_test(packs_what_the_manager_takes),
        cmocka_unit_test(refuses_bad_bundles),
        cmocka_unit_test(follows_no_links),
        cmocka_unit_test(collects_folders_and_exports),
        cmocka_unit_test(guesses_kinds),
        cmocka_unit_test(locates_members),
        cmocka_unit_test(names_file_and_line_of_bad_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
