/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/string.h"

enum { RECORD_LIMIT = 8192 };

static const struct {
    const char *name;
    int priority; /* of syslog(3) */
} levels[_LOG_LEVEL_MAX] = {
    [LOG_LEVEL_ERROR] = {"error", 3},   [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_NOTICE] = {"notice", 5}, [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

/* Written by log_init before other threads start, except for the level. */
static struct {
    char program[64];
    LogFormat format;
    bool is_journal;
    _Atomic int maximum;
} log_state = {.program = "bastide", .maximum = LOG_LEVEL_INFO};

static _Thread_local char request[64];

/* JOURNAL_STREAM is inherited by whatever we or our parent start; it counts only when standard error still is
 * that stream. */
static bool is_journal_stream(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    struct stat status;
    if (!text || fstat(STDERR_FILENO, &status) < 0)
        return false;
    char expected[64];
    return string_print(expected, sizeof(expected), "%ju:%ju", (uintmax_t)status.st_dev,
                        (uintmax_t)status.st_ino) >= 0 &&
           string_equal(text, expected);
}

void log_init(const char *program, LogLevel maximum, LogFormat format)
{
    (void)string_copy(log_state.program, sizeof(log_state.program), program);
    log_state.format = format;
    log_state.is_journal = is_journal_stream();
    log_set_level(maximum);
}

LogLevel log_level_from_string(const char *text)
{
    for (int level = 0; level < _LOG_LEVEL_MAX; level++)
        if (string_equal(levels[level].name, text))
            return (LogLevel)level;
    return _LOG_LEVEL_INVALID;
}

void log_set_level(LogLevel maximum)
{
    ASSERT((int)maximum >= 0 && maximum < _LOG_LEVEL_MAX);
    atomic_store_explicit(&log_state.maximum, (int)maximum, memory_order_relaxed);
}

bool log_is_enabled(LogLevel level)
{
    return (int)level <= atomic_load_explicit(&log_state.maximum, memory_order_relaxed);
}

void log_set_request(const char *request_id)
{
    (void)string_copy(request, sizeof(request), request_id ? request_id : "");
}

/* Control characters, also those in UTF-8, and bytes that are no UTF-8 become \xNN; a backslash is doubled,
 * so that nobody can write something that looks escaped. */
static void append_escaped(Buffer *buffer, const char *text)
{
    size_t length = strlen(text);
    for (size_t position = 0; position < length;) {
        size_t size = utf8_sequence(text + position, length - position);
        unsigned char c = (unsigned char)text[position];
        if (c == '\n')
            (void)buffer_append_string(buffer, "\\n");
        else if (c == '\\')
            (void)buffer_append_string(buffer, "\\\\");
        else if (size == 0 || string_has_control(text + position, size, NULL))
            for (size_t i = 0; i < MAX(size, (size_t)1); i++)
                (void)buffer_append_format(buffer, "\\x%02x", (unsigned char)text[position + i]);
        else
            (void)buffer_append(buffer, text + position, size);
        position += MAX(size, (size_t)1);
    }
}

static void append_member(Buffer *buffer, const char *name, const char *value)
{
    (void)buffer_append_format(buffer, ",\"%s\":", name);
    (void)buffer_append_json_string(buffer, value, strlen(value));
}

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

static void append_json(Buffer *buffer, LogLevel level, const char *time, const char *file, int line,
                        const char *message)
{
    (void)buffer_append_format(buffer, "{\"time\":\"%s\",\"level\":\"%s\"", time, levels[level].name);
    append_member(buffer, "program", log_state.program);
    (void)buffer_append_format(buffer, ",\"pid\":%d", (int)getpid());
    if (request[0])
        append_member(buffer, "request", request);
    append_member(buffer, "message", message);
    append_member(buffer, "file", base_name(file));
    (void)buffer_append_format(buffer, ",\"line\":%d}\n", line);
}

static void append_text(Buffer *buffer, LogLevel level, const char *time, const char *file, int line,
                        const char *message)
{
    if (log_state.is_journal)
        (void)buffer_append_format(buffer, "<%d>", levels[level].priority);
    else
        (void)buffer_append_format(buffer, "%s %-7s %s[%d]: ", time, levels[level].name, log_state.program,
                                   (int)getpid());
    append_escaped(buffer, message);
    if (request[0]) {
        (void)buffer_append_string(buffer, " request=");
        append_escaped(buffer, request);
    }
    if (level == LOG_LEVEL_DEBUG)
        (void)buffer_append_format(buffer, " (%s:%d)", base_name(file), line);
    (void)buffer_append_byte(buffer, '\n');
}

/* One write(2) a record: lines of threads and processes on the same descriptor do not mix. */
static void write_record(LogLevel level, const char *file, int line, const char *message)
{
    char time[TIMESTAMP_SIZE];
    timestamp_format(clock_realtime(&system_clock), time);
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT_LIMIT(RECORD_LIMIT * 8);
    (log_state.format == LOG_FORMAT_JSON ? append_json : append_text)(&buffer, level, time, file, line,
                                                                      message);
    ssize_t written;
    do
        written = write(STDERR_FILENO, buffer_string(&buffer), buffer.size);
    while (written < 0 && errno == EINTR);
}

void log_write(LogLevel level, const char *file, int line, const char *format, ...)
{
    if (!log_is_enabled(level))
        return;
    int saved_errno = errno;
    char message[RECORD_LIMIT];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (length < 0)
        (void)string_copy(message, sizeof(message), "(a message that cannot be formatted)");
    else if ((size_t)length >= sizeof(message))
        memcpy(message + sizeof(message) - 6, "[...]", 6);
    write_record(level, file, line, message);
    errno = saved_errno;
}

void log_error_record(LogLevel level, const char *context, const Error *error)
{
    char place[64] = "";
    if (error->line > 0)
        (void)string_print(place, sizeof(place), " at line %u, column %u", error->line, error->column);
    log_write(level, __FILE__, __LINE__, "%s: %s%s%s%s%s%s%s", context, error->field,
              error->field[0] ? ": " : "", error->text, place, error->details[0] ? " (" : "", error->details,
              error->details[0] ? ")" : "");
}
