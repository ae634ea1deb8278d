/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: errors, pages, lists. */

#include <inttypes.h>

#include "api/list.h"
#include "base/string.h"

/* One body that is both the source system's and problem details (RFC 9457). */
void reply_error(Buffer *buffer, const Error *error, const char *request_id)
{
    const ErrorDescription *description = error_describe(error->code);
    bool is_internal = error->code == ERROR_INTERNAL;
    const char *text = is_internal || string_is_empty(error->text) ? description->meaning : error->text;
    char type[96];
    (void)string_print(type, sizeof(type), "urn:bastide:error:%s", description->name);
    Writer writer = writer_new(buffer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "message", text);
    writer_string(&writer, "error_code", description->conductor_name);
    writer_string(&writer, "type", type);
    writer_string(&writer, "title", description->meaning);
    writer_integer(&writer, "status", description->http_status);
    writer_string(&writer, "detail", text);
    writer_string(&writer, "instance", request_id);
    if (*error->field)
        writer_string(&writer, "field", error->field);
    if (error->line > 0) {
        writer_integer(&writer, "line", error->line);
        writer_integer(&writer, "column", error->column);
    }
    writer_raw(&writer, "server_traceback", "null");
    writer_end_object(&writer);
}

static const char *query(ApiCall *call, const char *name)
{
    return call->is_view ? NULL : http_exchange_query(call->exchange, name, 0);
}

const char *query_or_empty(ApiCall *call, const char *name)
{
    return query(call, name) ?: "";
}

int query_number(ApiCall *call, const char *name, int64_t maximum, int64_t *value, Error *error)
{
    const char *text = query(call, name);
    if (!text)
        return 0;
    if (string_to_i64(text, 0, maximum, value) < 0)
        return error_set_field(error, ERROR_BAD_REQUEST, name, "'%s' must be a number from 0 to %" PRId64 ".",
                               name, maximum);
    return 0;
}

int page_read(ApiCall *call, Page *ret_page, Error *error)
{
    *ret_page = (Page){.size = API_PAGE_DEFAULT};
    int r = query_number(call, "_size", API_PAGE_MAX, &ret_page->size, error);
    if (r >= 0)
        r = query_number(call, "_offset", INT32_MAX, &ret_page->offset, error);
    if (r >= 0 && call->is_shaped) /* all of it: list_shape() finds the page */
        *ret_page = (Page){.size = LIST_SHAPED_MAX};
    return r;
}

Writer list_begin(ApiCall *call)
{
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_begin_array(&writer, "items");
    return writer;
}

void list_end(ApiCall *call, Writer *writer, const Page *page, int64_t total)
{
    (void)call;
    writer_end_array(writer);
    writer_begin_object(writer, "metadata");
    writer_begin_object(writer, "pagination");
    writer_integer(writer, "total", total);
    writer_integer(writer, "size", page->size);
    writer_integer(writer, "offset", page->offset);
    writer_end_object(writer);
    writer_raw(writer, "filtered", "null");
    writer_end_object(writer);
    writer_end_object(writer);
}

int body_dispatch(ApiCall *call, const JsonField *fields, void *destination, Error *error)
{
    if (!call->body)
        return error_set(error, ERROR_BAD_REQUEST, "The request needs a JSON object as its body.");
    return json_dispatch(call->body, fields, destination, "", JSON_UNKNOWN_ERROR, NULL, error);
}

void answer_empty(ApiCall *call)
{
    call->status = 204;
    call->content_type = NULL;
    buffer_clear(&call->answer);
}
