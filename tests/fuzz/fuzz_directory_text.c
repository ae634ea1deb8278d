/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a directory or a stranger sends: a value that goes into a filter keeps no byte with a
 * meaning, a name in its one spelling stays what it is, an attribute of an account's state is understood or
 * counts against it. */
#include "base/memory.h"
#include "base/string.h"
#include "directory/account_state.h"
#include "directory/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_filter(const char *value)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT_LIMIT(DIRECTORY_FILTER_MAX);
    (void)directory_filter_is_valid(value);
    if (directory_filter_append(&buffer, "(u={username})", value, NULL) < 0)
        return;
    const char *text = buffer_string(&buffer);
    ASSERT(string_starts_with(text, "(u=") && string_ends_with(text, ")"));
    ASSERT(strlen(text + 3) - strlen(strpbrk(text + 3, "()*")) ==
           buffer.size - 4); /* the last bracket alone */
    ASSERT(directory_filter_is_valid(text) || strchr(value, '{'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > DIRECTORY_FILTER_MAX)
        return 0;
    _cleanup_free_ char *text = string_duplicate_n((const char *)data, size);
    check_filter(text);
    _cleanup_free_ char *name = directory_name_normalise(text);
    _cleanup_free_ char *again = name ? directory_name_normalise(name) : NULL;
    ASSERT(!name || !again || string_equal(name, again));
    for (const char *const *attribute = account_state_attributes; *attribute; attribute++)
        ASSERT(account_state_of(*attribute, text, USEC_PER_SEC) < _ACCOUNT_STATE_MAX);
    return 0;
}
