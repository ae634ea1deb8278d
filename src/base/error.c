/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/string.h"

static const ErrorDescription descriptions[_ERROR_MAX] = {
#define ERROR_ROW(symbol, name, conductor_name, http_status, exit_status, retry, meaning)                    \
    [ERROR_##symbol] = {#symbol, name, conductor_name, http_status, exit_status, retry, meaning},
#include "base/error-table.h"
#undef ERROR_ROW
};

/* Codes that are not listed belong to EINVAL. */
static const int errnos[_ERROR_MAX] = {
    [ERROR_INTERNAL] = EIO,
    [ERROR_BAD_REFERENCE] = ENOENT,
    [ERROR_CYCLE] = ELOOP,
    [ERROR_IMPOSSIBLE] = EDOM,
    [ERROR_GAVE_UP] = ETIME,
    [ERROR_UNAUTHENTICATED] = EACCES,
    [ERROR_FORBIDDEN] = EPERM,
    [ERROR_NOT_FOUND] = ENOENT,
    [ERROR_METHOD_NOT_ALLOWED] = EOPNOTSUPP,
    [ERROR_CONFLICT] = EEXIST,
    [ERROR_STALE] = ESTALE,
    [ERROR_PRECONDITION] = ESTALE,
    [ERROR_TOO_LARGE] = E2BIG,
    [ERROR_UNSUPPORTED_MEDIA] = EMEDIUMTYPE,
    [ERROR_QUOTA] = EDQUOT,
    [ERROR_RATE_LIMITED] = EAGAIN,
    [ERROR_BUSY] = EBUSY,
    [ERROR_UNAVAILABLE] = EHOSTDOWN,
    [ERROR_SEALED] = ENOKEY,
    [ERROR_TIMED_OUT] = ETIMEDOUT,
    [ERROR_IO] = EIO,
    [ERROR_PROTOCOL] = EPROTO,
    [ERROR_CRYPTO] = EBADMSG,
    [ERROR_CANCELLED] = ECANCELED,
    [ERROR_UNTRUSTED] = EKEYREJECTED,
    [ERROR_NOT_APPROVED] = EPERM,
    [ERROR_STEP_FAILED] = EREMOTEIO,
};

const ErrorDescription *error_describe(ErrorCode code)
{
    int number = (int)code;
    return &descriptions[number >= 0 && number < _ERROR_MAX ? number : ERROR_INTERNAL];
}

ErrorCode error_code_from_name(const char *name)
{
    for (int code = 0; code < _ERROR_MAX; code++)
        if (string_equal(descriptions[code].name, name))
            return (ErrorCode)code;
    return _ERROR_INVALID;
}

static int error_errno(ErrorCode code)
{
    int number = (int)code;
    ASSERT(number > ERROR_NONE && number < _ERROR_MAX);
    return errnos[number] ? -errnos[number] : -EINVAL;
}

/* Texts go into JSON: what the caller quotes from outside may be anything. */
static void make_valid(char *text)
{
    size_t length = strlen(text);
    for (size_t position = 0; position < length;) {
        size_t size = utf8_sequence(text + position, length - position);
        if (size == 0)
            text[position] = '?';
        position += size ? size : 1;
    }
}

_printf_(3, 0) static void print_at(char *destination, size_t size, const char *format, va_list arguments)
{
    if (vsnprintf(destination, size, format, arguments) < 0)
        destination[0] = 0;
    make_valid(destination);
}

int error_set_v(Error *error, ErrorCode code, const char *format, va_list arguments)
{
    if (!error)
        return error_errno(code);
    if (error->code == ERROR_NONE) {
        error->code = code;
        print_at(error->text, sizeof(error->text), format, arguments);
    }
    return error_errno(error->code);
}

int error_set(Error *error, ErrorCode code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int r = error_set_v(error, code, format, arguments);
    va_end(arguments);
    return r;
}

int error_set_field(Error *error, ErrorCode code, const char *field, const char *format, ...)
{
    bool is_first = error && error->code == ERROR_NONE;
    va_list arguments;
    va_start(arguments, format);
    int r = error_set_v(error, code, format, arguments);
    va_end(arguments);
    if (is_first && field) {
        (void)string_copy(error->field, sizeof(error->field), field);
        make_valid(error->field);
    }
    return r;
}

int error_set_errno(Error *error, ErrorCode code, int cause, const char *format, ...)
{
    if (!error || error->code != ERROR_NONE)
        return error_errno(error ? error->code : code);
    const char *reason = strerrordesc_np(cause);
    char context[sizeof(error->text)];
    va_list arguments;
    va_start(arguments, format);
    print_at(context, sizeof(context), format, arguments);
    va_end(arguments);
    char *full = code == ERROR_INTERNAL ? error->details : error->text;
    (void)string_print(full, sizeof(error->text), "%s: %s", context, reason ? reason : "unknown error");
    if (code == ERROR_INTERNAL)
        (void)string_copy(error->text, sizeof(error->text), error_describe(code)->meaning);
    error->code = code;
    error->cause = cause;
    return error_errno(code);
}

void error_add_details(Error *error, const char *format, ...)
{
    if (!error)
        return;
    size_t length = strlen(error->details);
    if (length > 0 && length + 3 < sizeof(error->details)) {
        memcpy(error->details + length, "; ", 3);
        length += 2;
    }
    va_list arguments;
    va_start(arguments, format);
    print_at(error->details + length, sizeof(error->details) - length, format, arguments);
    va_end(arguments);
}

void error_prefix(Error *error, const char *format, ...)
{
    if (!error_is_set(error))
        return;
    char prefix[sizeof(error->text)], text[sizeof(error->text)];
    va_list arguments;
    va_start(arguments, format);
    print_at(prefix, sizeof(prefix), format, arguments);
    va_end(arguments);
    (void)string_print(text, sizeof(text), "%s: %s", prefix, error->text);
    memcpy(error->text, text, sizeof(text));
}

void error_clear(Error *error)
{
    if (error)
        *error = ERROR_INIT;
}
