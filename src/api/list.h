/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What every list can do beyond its page: equality filters by column, _sort, _search, _include. A route with
 * `.columns` gets it: when the query asks for any of it, the handler makes the whole list (page_read() says
 * so), and list_shape() filters, sorts, cuts and projects the answer. So it is the same for every list and on
 * both databases, and never shows what the handler did not. */

#include "api/api_internal.h"

enum { LIST_SHAPED_MAX = 10 * 1000 };

/* Reads the query of a route with columns; a name that is no column and no parameter is ERROR_BAD_REQUEST. */
int list_prepare(ApiCall *call, Error *error);
/* After the handler, when list_prepare() found something to do. */
int list_shape(ApiCall *call, Error *error);
