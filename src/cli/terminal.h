/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The terminal: what it can show, its size, questions to the person before it. Facts of the process, found
 * once by terminal_start(). Main thread. */

#include <stdio.h>

#include "base/error.h"
#include "base/secret.h"

typedef enum Style {
    STYLE_PLAIN,
    STYLE_STRONG,
    STYLE_FAINT,
    STYLE_GOOD,
    STYLE_BUSY,
    STYLE_WARNING,
    STYLE_BAD,
    _STYLE_MAX,
} Style;

void terminal_start(void);
/* Can draw: standard output is a terminal that moves its cursor. */
bool terminal_is_live(void);
bool terminal_has_colour(FILE *stream);
/* Columns and lines of standard output; 0 when it is none. */
unsigned terminal_width(void);
unsigned terminal_height(void);

/* "" when the stream takes no colour. */
const char *style_begin(FILE *stream, Style style);
const char *style_end(FILE *stream);
/* The same for text that is made first: with_colour tells. */
const char *style_text(Style style, bool with_colour);

/* Asks on the controlling terminal, without echo; which must be there. */
int terminal_ask_secret(const char *question, Secret **ret_secret, Error *error);
/* With echo; owned. */
int terminal_ask(const char *question, char **ret_answer, Error *error);
/* 0 when the person typed exactly "yes"; ERROR_CANCELLED otherwise, and when there is no terminal. */
int terminal_confirm(const char *question, const char *way_out, Error *error);
/* First line of standard input. */
int stdin_secret(Secret **ret_secret, Error *error);
