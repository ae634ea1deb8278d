/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Logging: one record a line to standard error (text, or JSON lines), or the journal's priority prefix when
 * run under systemd. Every error is logged exactly once, by the outermost layer that knows the request; lower
 * layers return it. User-controlled text is escaped, so that a record is always one line. Any thread. No
 * function takes a Secret. */

#include "base/error.h"
#include "base/macros.h"

typedef enum LogLevel {
    LOG_LEVEL_ERROR,   /* someone must act */
    LOG_LEVEL_WARNING, /* something was ignored or degraded */
    LOG_LEVEL_NOTICE,  /* a change of state */
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    _LOG_LEVEL_MAX,
    _LOG_LEVEL_INVALID = -22,
} LogLevel;

typedef enum LogFormat { LOG_FORMAT_TEXT, LOG_FORMAT_JSON } LogFormat;

void log_init(const char *program, LogLevel maximum, LogFormat format);
LogLevel log_level_from_string(const char *text); /* "error" .. "debug" or _LOG_LEVEL_INVALID */
void log_set_level(LogLevel maximum);
bool log_is_enabled(LogLevel level);
/* The request id that records of this thread carry; NULL = none. Copied. */
void log_set_request(const char *request_id);
void log_write(LogLevel level, const char *file, int line, const char *format, ...) _printf_(4, 5);

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __FILE__, __LINE__, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __FILE__, __LINE__, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_LEVEL_NOTICE, __FILE__, __LINE__, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define log_debug(...)                                                                                       \
    do {                                                                                                     \
        if (log_is_enabled(LOG_LEVEL_DEBUG))                                                                 \
            log_write(LOG_LEVEL_DEBUG, __FILE__, __LINE__, __VA_ARGS__);                                     \
    } while (0)
/* "context: text (details)". */
void log_error_record(LogLevel level, const char *context, const Error *error);
