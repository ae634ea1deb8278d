/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A few lines of a terminal that are drawn again and again in the same place. Every line is cut to the width,
 * so that the picture never wraps. Main thread. */

#include "base/buffer.h"
#include "cli/terminal.h"

typedef struct Picture {
    Buffer text;
    unsigned width;
    size_t column, lines, lines_before;
    bool with_colour;
} Picture;

/* Begins the next picture over the one before. */
void picture_begin(Picture *picture, unsigned width, bool with_colour);
/* Safe text; what does not fit is left out. */
void picture_text(Picture *picture, Style style, const char *text);
/* Blanks up to a column. */
void picture_column(Picture *picture, size_t column);
void picture_line(Picture *picture);
/* A bar of `width` columns, `done` of `total` filled. */
void picture_bar(Picture *picture, size_t width, int64_t done, int64_t total, Style style);
/* Writes it to standard output. */
void picture_show(Picture *picture);
/* Takes it away; the cursor stands where it was. */
void picture_clear(Picture *picture);
void picture_done(Picture *picture);
