/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The description of the API (OpenAPI 3.1), made from the tables that also route, authorise and check
 * requests: what stands in it is what the program does. docs/api/openapi.json is a copy, compared by
 * tools/check-routes. Any thread. */

#include <jansson.h>

/* Owned reference. */
json_t *openapi_document(void);
