/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How answers are shown: tables of fields say which members of a JSON object are columns of a list and lines
 * of a detail view. With -o json or -o yaml the answer itself is printed. Main thread. */

#include "base/clock.h"
#include "base/json.h"
#include "cli/table.h"

typedef enum OutputFormat {
    OUTPUT_TABLE,
    OUTPUT_JSON,
    OUTPUT_YAML,
    _OUTPUT_MAX,
    _OUTPUT_INVALID = -22,
} OutputFormat;
OutputFormat output_format_from_string(const char *text);

typedef enum FieldKind {
    FIELD_TEXT,
    FIELD_STRONG, /* the name that people look for */
    FIELD_STATE,  /* coloured by meaning */
    FIELD_NUMBER,
    FIELD_TIME,  /* relative in lists, both in details */
    FIELD_LIST,  /* array of strings */
    FIELD_MAP,   /* object of strings: "name value, ..." */
    FIELD_NAMES, /* object: its names */
    FIELD_BYTES,
    FIELD_SHORT, /* digest: its beginning in lists */
    FIELD_FLAG,  /* yes or no */
} FieldKind;

enum {
    IN_LIST = 1 << 0,
    IN_DETAILS = 1 << 1,
    IN_BOTH = IN_LIST | IN_DETAILS,
    MAY_LACK = 1 << 2,   /* the column or line goes when there is nothing in it */
    MAY_SHRINK = 1 << 3, /* the column may be cut */
    HAS_LINES = 1 << 4,  /* a list whose items have a line each in details, as maps always do */
};

typedef struct ViewField {
    const char *title;  /* NULL ends the table */
    const char *member; /* "progress.status" */
    FieldKind kind;
    unsigned flags;
} ViewField;

/* A member by its dotted path, or NULL. Borrowed. */
json_t *json_at(const json_t *object, const char *path);
/* Its text, "" when it is no string. */
const char *json_text_at(const json_t *object, const char *path);
int64_t json_number_at(const json_t *object, const char *path);

Style state_style(const char *state);
/* "now", "42 s ago", "3 min ago", "in 6 d"; owned, "" for text that is no time. */
char *time_relative(const char *timestamp, Usec now);
/* "0:42", "12:05", "1:02:03" */
void duration_format(Usec duration, char destination[static 24]);
/* "0.31 s", "12.3 s", then as above; owned. */
char *duration_precise(Usec duration);
char *bytes_format(int64_t bytes);

void view_print_json(const json_t *value, OutputFormat format);
/* Items as a table; `nothing` is said when there is none. */
void view_list(const json_t *items, const ViewField *fields, const char *nothing);
void view_details(const json_t *object, const ViewField *fields);
/* A heading between parts of a detail view. */
void view_heading(const char *title);
/* Safe text of one field; owned. */
char *field_text(const json_t *object, const ViewField *field, bool is_list, Usec now);
