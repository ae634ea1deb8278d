/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "base/string.h"
#include "cli/text.h"

enum { GAP = 2, FLEXIBLE_LEAST = 8 };

typedef struct Cell {
    char *text; /* safe, owned */
    size_t width;
    Style style;
} Cell;

struct Table {
    const Column *columns;
    size_t column_count;
    Cell *cells;
    size_t count, capacity;
};

Table *table_new(const Column *columns, size_t count)
{
    Table *table = NEW(Table);
    table->columns = columns;
    table->column_count = count;
    return table;
}

Table *table_free(Table *table)
{
    if (!table)
        return NULL;
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
    return NULL;
}

void table_cell(Table *table, const char *text, Style style)
{
    if (table->count == table->capacity) {
        table->capacity = MAX(table->capacity * 2, table->column_count * 8);
        table->cells = memory_resize_array(table->cells, table->capacity, sizeof(Cell));
    }
    char *safe = text_safe(text);
    table->cells[table->count++] = (Cell){.text = safe, .width = text_width(safe), .style = style};
}

size_t table_rows(const Table *table)
{
    return table->column_count ? table->count / table->column_count : 0;
}

/* Widths of the columns; 0 = left out. */
static size_t *natural_widths(const Table *table)
{
    size_t *widths = NEW_ARRAY(size_t, table->column_count + 1);
    for (size_t i = 0; i < table->count; i++)
        widths[i % table->column_count] = MAX(widths[i % table->column_count], table->cells[i].width);
    for (size_t c = 0; c < table->column_count; c++)
        if (widths[c] > 0 || !(table->columns[c].flags & COLUMN_OPTIONAL))
            widths[c] = MAX(widths[c], strlen(table->columns[c].title));
    return widths;
}

static size_t total_width(const Table *table, const size_t *widths)
{
    size_t total = 0;
    for (size_t c = 0; c < table->column_count; c++)
        total += widths[c] ? widths[c] + GAP : 0;
    return total > GAP ? total - GAP : total;
}

/* Takes columns from the widest flexible one until the table fits or none can give. */
static void fit(const Table *table, size_t *widths, size_t width)
{
    while (total_width(table, widths) > width) {
        size_t widest = SIZE_MAX;
        for (size_t c = 0; c < table->column_count; c++)
            if ((table->columns[c].flags & COLUMN_FLEXIBLE) && widths[c] > FLEXIBLE_LEAST &&
                (widest == SIZE_MAX || widths[c] > widths[widest]))
                widest = c;
        if (widest == SIZE_MAX)
            return;
        widths[widest]--;
    }
}

static void append_blanks(Buffer *buffer, size_t count)
{
    (void)buffer_append_format(buffer, "%*s", (int)count, "");
}

static void append_cell(Buffer *buffer, const char *text, size_t width, const Column *column,
                        const char *begin, bool is_last)
{
    _cleanup_free_ char *shown = text_cut(text, width);
    size_t blanks = width - MIN(text_width(shown), width);
    if (column->flags & COLUMN_RIGHT)
        append_blanks(buffer, blanks);
    (void)buffer_append_format(buffer, "%s%s%s", *shown ? begin : "", shown,
                               *shown && *begin ? "\033[0m" : "");
    if (!is_last)
        append_blanks(buffer, GAP + (column->flags & COLUMN_RIGHT ? 0 : blanks));
}

/* Blanks at the end of a line help nobody. */
static void end_line(Buffer *buffer)
{
    size_t size = buffer->size;
    while (size > 0 && buffer->data[size - 1] == ' ')
        size--;
    buffer_truncate(buffer, size);
    (void)buffer_append_byte(buffer, '\n');
}

char *table_format(const Table *table, unsigned width, bool with_colour)
{
    Buffer buffer = BUFFER_INIT_LIMIT(256 * 1024 * 1024);
    _cleanup_free_ size_t *widths = natural_widths(table);
    size_t last = 0;
    if (width > 0)
        fit(table, widths, width);
    for (size_t c = 0; c < table->column_count; c++)
        last = widths[c] ? c : last;
    for (size_t c = 0; c < table->column_count; c++)
        if (widths[c])
            append_cell(&buffer, table->columns[c].title, widths[c], &table->columns[c],
                        style_text(STYLE_FAINT, with_colour), c == last);
    end_line(&buffer);
    for (size_t i = 0; i < table->count; i++) {
        size_t c = i % table->column_count;
        if (widths[c])
            append_cell(&buffer, table->cells[i].text, widths[c], &table->columns[c],
                        style_text(table->cells[i].style, with_colour), c == last);
        if (c + 1 == table->column_count)
            end_line(&buffer);
    }
    return buffer_take_string(&buffer);
}

void table_print(const Table *table)
{
    _cleanup_free_ char *text = table_format(table, terminal_width(), terminal_has_colour(stdout));
    (void)fputs(text, stdout);
}
