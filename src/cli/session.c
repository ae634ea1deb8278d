/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "base/string.h"
#include "cli/cli.h"

enum { PAGE_SIZE = 500, ITEMS_MAX = 100000, ANSWER_LIMIT = 64 * 1024 * 1024 };
static const Usec REQUEST_TIMEOUT = 120 * USEC_PER_SEC;
static const char API_BASE[] = "/api/v3.1";

int cli_open_profiles(Cli *cli, Error *error)
{
    return cli->profiles ? 0 : profiles_open(NULL, &cli->profiles, error);
}

int cli_connect(const Profile *profile, HttpClient **ret_client, Error *error)
{
    HttpClient *client = NULL;
    if (!profile->url)
        return error_set(error, ERROR_UNAUTHENTICATED, "the profile '%s' has no manager", profile->name);
    int r = http_client_new(&(HttpClientSettings){.base_url = profile->url,
                                                  .ca_file = profile->ca_file,
                                                  .answer_limit = ANSWER_LIMIT},
                            &client, error);
    if (r < 0)
        return r;
    if (profile->token) {
        char *value = string_format("Bearer %s", (const char *)secret_bytes(profile->token));
        http_client_set_header(client, "Authorization", value);
        memory_wipe(value, strlen(value));
        free(value);
    }
    http_client_set_header(client, "Tenant", profile->tenant);
    *ret_client = client;
    return 0;
}

/* Paths ------------------------------------------------------------------------------------- */

static void append_encoded(Buffer *buffer, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text; text++)
        if (strchr(plain, *text))
            (void)buffer_append_byte(buffer, (uint8_t)*text);
        else
            (void)buffer_append_format(buffer, "%%%02X", (unsigned)(uint8_t)*text);
}

char *cli_path(const char *format, ...)
{
    Buffer buffer = BUFFER_INIT;
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++)
        if (string_starts_with(format, "%s")) {
            append_encoded(&buffer, va_arg(arguments, const char *));
            format++;
        } else {
            (void)buffer_append_byte(&buffer, (uint8_t)*format);
        }
    va_end(arguments);
    return buffer_take_string(&buffer);
}

void cli_path_query(char **path, const char *name, const char *value)
{
    if (string_is_empty(value))
        return;
    Buffer buffer = BUFFER_INIT;
    (void)buffer_append_format(&buffer, "%s%c%s=", *path, strchr(*path, '?') ? '&' : '?', name);
    append_encoded(&buffer, value);
    free(*path);
    *path = buffer_take_string(&buffer);
}

/* Answers ----------------------------------------------------------------------------------- */

/* For answers without a body that we understand, e.g. of a proxy in between. */
static ErrorCode code_of_status(int status)
{
    static const struct {
        int status;
        ErrorCode code;
    } rows[] = {{401, ERROR_UNAUTHENTICATED},    {403, ERROR_FORBIDDEN},   {404, ERROR_NOT_FOUND},
                {405, ERROR_METHOD_NOT_ALLOWED}, {409, ERROR_CONFLICT},    {413, ERROR_TOO_LARGE},
                {429, ERROR_RATE_LIMITED},       {503, ERROR_UNAVAILABLE}, {504, ERROR_TIMED_OUT}};
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (rows[i].status == status)
            return rows[i].code;
    return status >= 400 && status < 500 ? ERROR_BAD_REQUEST : ERROR_PROTOCOL;
}

int cli_answer_error(const HttpAnswer *answer, Error *error)
{
    static const char prefix[] = "urn:bastide:error:";
    _cleanup_json_ json_t *problem = NULL;
    Error ignored = ERROR_INIT;
    (void)json_parse(buffer_string(&answer->body), answer->body.size, 256 * 1024, &problem, &ignored);
    const char *type = json_text_at(problem, "type"), *message = json_text_at(problem, "message");
    ErrorCode code =
        string_starts_with(type, prefix) ? error_code_from_name(type + strlen(prefix)) : _ERROR_INVALID;
    if (code <= ERROR_NONE)
        code = code_of_status(answer->status);
    if (!*message)
        message = error_describe(code)->meaning;
    int r = error_set_field(error, code, json_text_at(problem, "field"), "%s%s", message,
                            *type ? "" : " (the answer is not one of a Bastide manager)");
    error->line = (unsigned)MAX(json_number_at(problem, "line"), (int64_t)0);
    error->column = (unsigned)MAX(json_number_at(problem, "column"), (int64_t)0);
    if (answer->status >= 500 && *answer->request_id)
        error_add_details(error, "%s", answer->request_id);
    return r;
}

int cli_request_raw(HttpClient *client, const char *method, const char *path, const char *type,
                    const void *body, size_t size, Usec timeout, HttpAnswer *ret_answer, Error *error)
{
    _cleanup_free_ char *full = string_format("%s%s", API_BASE, path);
    bool is_change = !string_equal(method, "GET");
    char key[ID_SIZE];
    id_generate(&system_random, key);
    http_client_set_header(client, "Idempotency-Key", is_change ? key : NULL);
    int r = http_client_request(client, method, full, type, body, size, timeout ? timeout : REQUEST_TIMEOUT,
                                ret_answer, error);
    /* The connection broke before the whole answer was here: with its key a change may be sent again. */
    if (r < 0 && is_change && (error->code == ERROR_IO || error->code == ERROR_PROTOCOL)) {
        *error = ERROR_INIT;
        r = http_client_request(client, method, full, type, body, size, timeout ? timeout : REQUEST_TIMEOUT,
                                ret_answer, error);
    }
    http_client_set_header(client, "Idempotency-Key", NULL);
    if (r >= 0 && ret_answer->status >= 300) {
        r = cli_answer_error(ret_answer, error);
        http_answer_done(ret_answer);
    }
    return r;
}

int cli_request(Cli *cli, const char *method, const char *path, const json_t *body, json_t **ret_answer,
                Error *error)
{
    HttpAnswer answer = {0};
    char *text = body ? json_to_text(body) : NULL;
    int r = cli_request_raw(cli->client, method, path, text ? "application/json" : NULL, text,
                            text ? strlen(text) : 0, 0, &answer, error);
    if (text)
        memory_wipe(text, strlen(text)); /* some bodies hold passwords */
    free(text);
    if (r >= 0 && ret_answer) {
        *ret_answer = NULL;
        Error cause = ERROR_INIT;
        if (answer.body.size > 0 &&
            json_parse(buffer_string(&answer.body), answer.body.size, ANSWER_LIMIT, ret_answer, &cause) < 0)
            r = error_set(error, ERROR_PROTOCOL, "the manager's answer cannot be read: %s", cause.text);
    }
    if (answer.body.data)
        memory_wipe(answer.body.data, answer.body.size);
    http_answer_done(&answer);
    return r;
}

/* Lists ------------------------------------------------------------------------------------- */

static int get_page(Cli *cli, const char *path, size_t size, size_t offset, json_t **ret_page, Error *error)
{
    char number[24];
    _cleanup_free_ char *page_path = string_duplicate(path);
    (void)string_print(number, sizeof(number), "%zu", size);
    cli_path_query(&page_path, "_size", number);
    (void)string_print(number, sizeof(number), "%zu", offset);
    cli_path_query(&page_path, "_offset", offset > 0 ? number : NULL);
    int r = cli_get(cli, page_path, ret_page, error);
    if (r >= 0 && !json_is_array(json_object_get(*ret_page, "items")))
        r = error_set(error, ERROR_PROTOCOL, "the manager's answer is not a list");
    return r;
}

static int read_limit(const Cli *cli, size_t *ret_limit, Error *error)
{
    const char *text = cli_option(cli, "limit");
    uint64_t limit = ITEMS_MAX;
    if (text && (string_to_u64(text, ITEMS_MAX, &limit) < 0 || limit == 0))
        return error_set(error, ERROR_BAD_REQUEST, "--limit is a number from 1 to %d", (int)ITEMS_MAX);
    *ret_limit = (size_t)limit;
    return 0;
}

int cli_get_list(Cli *cli, const char *path, json_t **ret_answer, Error *error)
{
    _cleanup_json_ json_t *all = json_pack("{s:[]}", "items");
    json_t *items = json_object_get(all, "items");
    size_t limit;
    int r = read_limit(cli, &limit, error);
    while (r >= 0 && json_array_size(items) < limit) {
        _cleanup_json_ json_t *page = NULL;
        size_t size = MIN(limit - json_array_size(items), (size_t)PAGE_SIZE);
        r = get_page(cli, path, size, json_array_size(items), &page, error);
        if (r < 0)
            return r;
        size_t count = json_array_size(json_object_get(page, "items"));
        (void)json_array_extend(items, json_object_get(page, "items"));
        (void)json_object_set(all, "metadata", json_object_get(page, "metadata"));
        if (count < size)
            break;
    }
    if (r < 0)
        return r;
    json_t *pagination = json_at(all, "metadata.pagination");
    if (json_is_object(pagination)) { /* of the whole, not of its last page */
        (void)json_object_set_new(pagination, "size", json_integer((json_int_t)json_array_size(items)));
        (void)json_object_set_new(pagination, "offset", json_integer(0));
    }
    *ret_answer = TAKE_PTR(all);
    return 0;
}
