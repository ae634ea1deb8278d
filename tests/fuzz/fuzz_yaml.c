/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a YAML document: what parses means the same after writing and reading again, what does not
 * leaves an error with a place in the document. */
#include <string.h>

#include "base/string.h"
#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_json_ json_t *value = NULL, *again = NULL;
    Error error = ERROR_INIT;
    int r = yaml_parse((const char *)data, size, 64 * 1024, &value, &error);
    ASSERT((r < 0) == error_is_set(&error));
    if (r < 0) {
        ASSERT(error.text[0] && utf8_is_valid(error.text, strlen(error.text)));
        return 0;
    }
    _cleanup_free_ char *text = yaml_from_json(value);
    ASSERT(yaml_parse(text, strlen(text), strlen(text), &again, NULL) >= 0);
    ASSERT(json_equal(value, again));
    return 0;
}
