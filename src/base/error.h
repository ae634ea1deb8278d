/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Errors. Low layers (base, crypto, the pure parts of net) return negative errno. From store upward a
 * function returns a negative errno and fills a caller-owned, allocation-free Error exactly when it does so.
 * The codes come from one table (error-table.h): symbol, stable dotted name for clients, the name the
 * Conductor API uses for the same case, HTTP status, exit status of the command line, whether trying again is
 * sensible.
 *
 * `text` is safe for the client who caused the error: it names the field, the rule and the way out, and never
 * holds a secret or anything of another tenant. `details` is for the operator's log only. Any thread. */

#include <stdarg.h>

#include "base/macros.h"

typedef enum ErrorCode {
#define ERROR_ROW(symbol, name, conductor_name, http_status, exit_status, retry, meaning) ERROR_##symbol,
#include "base/error-table.h"
#undef ERROR_ROW
    _ERROR_MAX,
    _ERROR_INVALID = -22,
} ErrorCode;

typedef struct ErrorDescription {
    const char *symbol;         /* "NOT_FOUND" */
    const char *name;           /* "not_found", stable, for clients */
    const char *conductor_name; /* error_code of the Conductor API for this case */
    int http_status;
    int exit_status; /* of the bastide command */
    bool is_retry_sensible;
    const char *meaning;
} ErrorDescription;

typedef struct Error {
    ErrorCode code;
    int cause;         /* errno of the cause, or 0 */
    char text[512];    /* for the client */
    char details[512]; /* for the log */
    char field[160]; /* path of the offending member, e.g. "constraints.services.db.quantities.min", or "" */
    unsigned line, column; /* in the document, from 1; 0 = unknown */
} Error;

#define ERROR_INIT ((Error){.code = ERROR_NONE})

const ErrorDescription *error_describe(ErrorCode code);
ErrorCode error_code_from_name(const char *name);

/* Fills *error (which may be NULL) and returns the negative errno that belongs to the code. The first error
 * wins: an Error that is already set is left as it is. */
int error_set(Error *error, ErrorCode code, const char *format, ...) _printf_(3, 4);
int error_set_v(Error *error, ErrorCode code, const char *format, va_list arguments) _printf_(3, 0);
/* As error_set, and names the member of the document. */
int error_set_field(Error *error, ErrorCode code, const char *field, const char *format, ...) _printf_(4, 5);
/* For failed system and library calls: cause is a positive errno; the text becomes "<format>: <strerror>".
 * The client sees the code's general meaning only when the code is ERROR_INTERNAL. */
int error_set_errno(Error *error, ErrorCode code, int cause, const char *format, ...) _printf_(4, 5);
/* Adds to the operator's details. */
void error_add_details(Error *error, const char *format, ...) _printf_(2, 3);
/* Puts "context: " before the text. */
void error_prefix(Error *error, const char *format, ...) _printf_(2, 3);
void error_clear(Error *error);
static inline bool error_is_set(const Error *error)
{
    return error && error->code != ERROR_NONE;
}
