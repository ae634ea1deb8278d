/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an archive: refused with a reason, or a bundle whose files all have safe names. */
#include "base/file.h"
#include "domain/bundle/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_bundle_ Bundle *bundle = NULL;
    Error error = ERROR_INIT;
    int r = bundle_inspect(data, size, &bundle, &error);
    ASSERT((r < 0) == error_is_set(&error));
    ASSERT((r == 0) == (bundle != NULL));
    if (r < 0)
        return 0;
    ASSERT(bundle->file_count <= BUNDLE_ENTRY_LIMIT && bundle->unpacked_size <= BUNDLE_UNPACKED_LIMIT);
    for (size_t i = 0; i < bundle->file_count; i++)
        ASSERT(path_is_safe_relative(bundle->files[i].path));
    for (size_t i = 0; i < bundle->script_count; i++)
        ASSERT(bundle_find_file(bundle, bundle->scripts[i].path)->is_script);
    return 0;
}
