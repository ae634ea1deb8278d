/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Aligned tables. Cells are made safe when they are put in; widths count terminal columns. On a terminal that
 * is too narrow the flexible columns are cut, widest first; elsewhere nothing is ever cut. One thread. */

#include "cli/terminal.h"

enum {
    COLUMN_RIGHT = 1 << 0,    /* numbers */
    COLUMN_FLEXIBLE = 1 << 1, /* may be cut */
    COLUMN_OPTIONAL = 1 << 2, /* left out when every cell is empty */
};

typedef struct Column {
    const char *title; /* a literal */
    unsigned flags;
} Column;

typedef struct Table Table;
/* Columns are borrowed. */
Table *table_new(const Column *columns, size_t count);
Table *table_free(Table *table);
DEFINE_CLEANUP(Table, table_free);
#define _cleanup_table_ _cleanup_(table_free_pointer)

/* The next cell, row by row; NULL and "" show as nothing. */
void table_cell(Table *table, const char *text, Style style);
size_t table_rows(const Table *table);
/* width 0 = as wide as needed. Owned. */
char *table_format(const Table *table, unsigned width, bool with_colour);
/* To standard output, fitting it. */
void table_print(const Table *table);
