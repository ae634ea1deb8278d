/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <dirent.h>

#include "base/file.h"

json_t *read_json(const char *path)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    if (file_read(path, 1024 * 1024, &text, &size) < 0)
        fail_msg("cannot read %s", path);
    Error error = ERROR_INIT;
    json_t *value = NULL;
    if (json_parse(text, size, 1024 * 1024, &value, &error) < 0)
        fail_msg("%s: %s", path, error.text);
    return value;
}

void put_folder(MemoryCatalog *catalog, const char *directory)
{
    for (CatalogKind kind = 0; kind < _CATALOG_KIND_MAX; kind++) {
        _cleanup_free_ char *folder = path_join(directory, catalog_kind_to_string(kind));
        _cleanup_string_list_ StringList names = {0};
        DIR *stream = opendir(folder);
        if (!stream)
            fail_msg("cannot open %s", folder);
        for (const struct dirent *item = readdir(stream); item; item = readdir(stream))
            if (string_ends_with(item->d_name, ".json"))
                string_list_append(&names, item->d_name);
        closedir(stream);
        string_list_sort(&names);
        for (size_t i = 0; i < names.count; i++) {
            _cleanup_free_ char *path = path_join(folder, names.items[i]);
            _cleanup_json_ json_t *document = read_json(path);
            put_document(catalog, kind, document);
        }
    }
}
