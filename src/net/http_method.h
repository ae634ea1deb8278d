/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The request methods that the server knows; any other is answered with 501. Any thread; no state. */

#include <stddef.h>

typedef enum HttpMethod {
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
    _HTTP_METHOD_MAX,
    _HTTP_METHOD_INVALID = -22,
} HttpMethod;

/* "GET" and so on; NULL for an invalid value. */
const char *http_method_to_string(HttpMethod method);
/* Case matters (RFC 9110, 9.1). _HTTP_METHOD_INVALID when unknown. */
HttpMethod http_method_from_string(const char *text, size_t length);
