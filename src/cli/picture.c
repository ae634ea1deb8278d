/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/picture.h"

#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "cli/text.h"

void picture_begin(Picture *picture, unsigned width, bool with_colour)
{
    buffer_clear(&picture->text);
    picture->width = width;
    picture->with_colour = with_colour;
    picture->column = 0;
    picture->lines = 0;
    if (picture->lines_before > 0)
        (void)buffer_append_format(&picture->text, "\r\033[%zuA", picture->lines_before);
}

void picture_text(Picture *picture, Style style, const char *text)
{
    size_t room = picture->width > picture->column + 1 ? picture->width - picture->column - 1 : 0;
    _cleanup_free_ char *cut = text_cut(text, room);
    const char *begin = style_text(style, picture->with_colour);
    if (*cut)
        (void)buffer_append_format(&picture->text, "%s%s%s", begin, cut, *begin ? "\033[0m" : "");
    picture->column += text_width(cut);
}

void picture_column(Picture *picture, size_t column)
{
    if (column <= picture->column || column >= picture->width)
        return;
    (void)buffer_append_format(&picture->text, "%*s", (int)(column - picture->column), "");
    picture->column = column;
}

void picture_line(Picture *picture)
{
    (void)buffer_append_string(&picture->text, "\033[K\n");
    picture->column = 0;
    picture->lines++;
}

void picture_bar(Picture *picture, size_t width, int64_t done, int64_t total, Style style)
{
    _cleanup_buffer_ Buffer full = BUFFER_INIT, rest = BUFFER_INIT;
    bool is_unicode = text_is_unicode();
    int64_t filled = total > 0 ? MIN(done * (int64_t)width / total, (int64_t)width) : 0;
    for (int64_t i = 0; i < (int64_t)width; i++)
        (void)buffer_append_string(i < filled ? &full : &rest,
                                   i < filled ? (is_unicode ? "━" : "#") : (is_unicode ? "─" : "-"));
    picture_text(picture, style, buffer_string(&full));
    picture_text(picture, STYLE_FAINT, buffer_string(&rest));
}

void picture_show(Picture *picture)
{
    (void)buffer_append_string(&picture->text, "\033[J");
    picture->lines_before = picture->lines;
    (void)fflush(stdout);
    (void)write_full(STDOUT_FILENO, picture->text.data, picture->text.size);
}

void picture_clear(Picture *picture)
{
    picture_begin(picture, picture->width, picture->with_colour);
    picture_show(picture);
}

void picture_done(Picture *picture)
{
    buffer_done(&picture->text);
    *picture = (Picture){0};
}
