/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text on its way to a terminal. What comes from a server, a file or an argument may hold escape sequences,
 * direction marks or broken UTF-8: nothing is printed before it went through text_safe(). Widths are those of
 * a terminal's columns. Any thread, after text_set_unicode() at start. */

#include "base/buffer.h"
#include "base/macros.h"

/* False for terminals that are not UTF-8: then everything beyond ASCII is escaped too. True at start. */
void text_set_unicode(bool is_unicode);
bool text_is_unicode(void);

/* Appends; what a terminal would act on or hide is made visible: control characters and stray bytes as \xNN,
 * direction marks and other invisible characters as \u{N}. The characters of `keep` ("\n\t", or NULL) pass.
 */
void text_append_safe(Buffer *buffer, const char *text, size_t length, const char *keep);
/* On one line; owned. NULL gives "". */
char *text_safe(const char *text);
/* For output of programs: lines and tabs stay, colour sequences and carriage returns go, the rest is escaped.
 */
void text_append_log(Buffer *buffer, const char *text, size_t length);
/* For JSON and YAML text: invisible characters beyond ASCII become \uNNNN, which both read back. */
void text_append_structured(Buffer *buffer, const char *text, size_t length);

/* Columns of safe text. */
size_t text_width(const char *text);
/* Safe text cut to at most `width` columns, the last an ellipsis when something was cut; owned. */
char *text_cut(const char *text, size_t width);
