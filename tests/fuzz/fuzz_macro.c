/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a configuration value: what is malformed has a column inside the text, what is not is expanded
 * or refused, and text without macros stays as it is. */
#include <string.h>

#include "domain/macro/macro.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const services[] = {"web", "db"};
    static const MacroNode nodes[] = {
        {.number = 1000,
         .hostname = "one",
         .addresses = {"10.0.0.1"},
         .services = services,
         .service_count = 1},
        {.number = 1001,
         .hostname = "two",
         .addresses = {"10.0.0.2"},
         .services = services,
         .service_count = 2},
    };
    if (size > 4096)
        return 0;
    _cleanup_free_ char *text = string_duplicate_n((const char *)data, size);
    _cleanup_arena_ Arena *arena = arena_new();
    MacroText parsed;
    Error error = ERROR_INIT;
    int r = macro_parse(arena, text, &parsed, &error);
    if (r < 0) {
        ASSERT(error.code == ERROR_BAD_MACRO && error.column >= 1 && error.column <= strlen(text) + 1);
        return 0;
    }
    _cleanup_macro_view_ MacroView *view = macro_view_new("c", "id", NULL, nodes, ELEMENTSOF(nodes), NULL, 0);
    _cleanup_free_ char *expanded = NULL;
    r = macro_expand(view, 1001, text, &expanded, NULL);
    ASSERT((r == 0) == (expanded != NULL));
    if (parsed.count == 1 && parsed.parts[0].literal)
        ASSERT(string_equal(expanded, text));
    return 0;
}
