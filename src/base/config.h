/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Configuration files: "[section]" lines and "key = value" lines, '#' comments; then *.conf of the drop-in
 * directory <path>.d in name order. A table names every key with its parser, default and documentation; an
 * unknown key or section, a bad value or a world-writable file is an error with file and line. Absence is
 * never "off": defaults are the secure values. Main thread, before others start. */

#include "base/error.h"
#include "base/macros.h"

typedef enum ConfigType {
    CONFIG_STRING,       /* char *, owned by the destination; freed by config_done */
    CONFIG_PATH,         /* char *, must be absolute */
    CONFIG_INTEGER,      /* int64_t within [minimum, maximum] */
    CONFIG_BOOLEAN,      /* bool */
    CONFIG_MILLISECONDS, /* int64_t, "15s" and so on */
    CONFIG_BYTES,        /* uint64_t, "16M" and so on */
    CONFIG_LIST,         /* StringList, separated by spaces or commas */
} ConfigType;

typedef struct ConfigKey {
    const char *section, *key; /* section NULL ends the table */
    ConfigType type;
    size_t offset;
    const char *default_value; /* text as in the file; NULL = unset */
    int64_t minimum, maximum;
    const char *description;
    const char
        *refused; /* when set: the key is known and always refused, with this reason (e.g. turning TLS off) */
} ConfigKey;

/* Sets defaults, then reads the file (absent is fine when may_be_absent) and its drop-ins. */
int config_load(const char *path, bool may_be_absent, const ConfigKey *keys, void *destination, Error *error);
void config_done(const ConfigKey *keys, void *destination);
/* The table as a commented example file, for docs; owned. */
char *config_example(const ConfigKey *keys);
