/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Command lines: a table of verbs and options over getopt_long gives the parser, --help and the man page. A
 * verb has one or two words; global options may stand before and after it. -h, --help and --version are
 * always there: for the program, for a group of verbs ("bastide clusters --help") and for a verb. Values of
 * options are never quoted in messages, as they may be private. Main thread. */

#include <stdio.h>

#include "base/error.h"
#include "base/macros.h"

typedef struct Option {
    const char *name;     /* "output"; NULL ends the table */
    char letter;          /* 'o' or 0 */
    const char *argument; /* "FORMAT", or NULL for a flag */
    const char *help;
    bool is_repeatable;
} Option;

typedef struct ParsedOptions ParsedOptions;

typedef struct Verb {
    const char *name;      /* "clusters create"; NULL ends the table */
    const char *arguments; /* "NAME [FILE]" for help */
    int minimum, maximum;  /* count of arguments; maximum -1 = any */
    const Option *options;
    const char *help;                                        /* one line */
    const char *description;                                 /* paragraphs for the man page, or NULL */
    int (*run)(const ParsedOptions *options, void *context); /* returns an exit status */
} Verb;

/* NULL when absent; "" for a flag that is present; repeated options by index. */
const char *options_get(const ParsedOptions *options, const char *name);
const char *options_get_nth(const ParsedOptions *options, const char *name, unsigned index);
int options_argument_count(const ParsedOptions *options);
const char *options_argument(const ParsedOptions *options, int index);
const Verb *options_verb(const ParsedOptions *options);

typedef struct Program {
    const char *name;    /* "bastide" */
    const char *summary; /* one line */
    const Option *global_options;
    const Verb *verbs; /* a program without verbs has one with name "" */
    const char
        *epilogue; /* for the man page: exit statuses, files, see also; a line in capitals begins a section */
} Program;

/* Parses, answers --help and --version itself, runs the verb; returns the exit status (64 = wrong usage, with
 * a message that names the nearest verb or option). */
int program_run(const Program *program, int argc, char **argv, void *context);
void program_print_help(const Program *program, const Verb *verb, FILE *stream);
/* roff for man(1), section 1 or 8. */
void program_print_manual(const Program *program, int section, FILE *stream);
