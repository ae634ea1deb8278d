/* SPDX-License-Identifier: Apache-2.0 */
/* Answers and errors before the eyes of a person. */

#include <inttypes.h>
#include <stdlib.h>

#include "base/string.h"
#include "cli/cli.h"
#include "cli/text.h"

bool cli_show_raw(const Cli *cli, const json_t *value)
{
    if (cli->format == OUTPUT_TABLE)
        return false;
    if (value)
        view_print_json(value, cli->format);
    return true;
}

int cli_show_list(Cli *cli, const char *path, const ViewField *fields, const char *nothing, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_get_list(cli, path, &answer, error);
    if (r < 0)
        return r;
    if (!cli_show_raw(cli, answer)) {
        const json_t *items = json_object_get(answer, "items");
        view_list(items, fields, nothing);
        int64_t total = json_number_at(answer, "metadata.pagination.total");
        if (total > (int64_t)json_array_size(items) && json_array_size(items) > 0)
            (void)printf("%s%zu of %" PRId64 "%s\n", style_begin(stdout, STYLE_FAINT), json_array_size(items),
                         total, style_end(stdout));
    }
    return 0;
}

int cli_show_object(Cli *cli, const char *path, const ViewField *fields, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_get(cli, path, &answer, error);
    if (r >= 0 && !cli_show_raw(cli, answer))
        view_details(answer, fields);
    return MIN(r, 0);
}

_printf_(1, 0) static char *safe_format(const char *format, va_list arguments)
{
    _cleanup_free_ char *text = string_format_v(format, arguments);
    return text_safe(text);
}

void cli_done(const Cli *cli, const json_t *answer, const char *format, ...)
{
    if (cli_show_raw(cli, answer))
        return;
    va_list arguments;
    va_start(arguments, format);
    _cleanup_free_ char *text = safe_format(format, arguments);
    va_end(arguments);
    (void)printf("%s\n", text);
}

void cli_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    _cleanup_free_ char *text = safe_format(format, arguments);
    va_end(arguments);
    (void)fflush(stdout);
    (void)fprintf(stderr, "%sbastide: warning:%s %s\n", style_begin(stderr, STYLE_WARNING), style_end(stderr),
                  text);
}

int cli_confirm(const Cli *cli, const char *question, Error *error)
{
    return cli_option(cli, "yes") ? 0 : terminal_confirm(question, "give --yes", error);
}

/* What helps after an error, by its code. */
static const char *hint_of(ErrorCode code)
{
    static const struct {
        ErrorCode code;
        const char *hint;
    } rows[] = {
        {ERROR_UNAUTHENTICATED, "Sign in: bastide login --url https://MANAGER:8443 --user NAME"},
        {ERROR_FORBIDDEN, "The account's role lacks this right; 'bastide whoami' shows role and tenants."},
        {ERROR_NOT_APPROVED,
         "'bastide bundles list' shows the states; 'bastide bundles approve NAME' approves."},
        {ERROR_SEALED, "On the manager's machine: bastide-keeper unseal"},
        {ERROR_UNAVAILABLE,
         "Is the manager running and reachable there? 'bastide profile show' shows the URL, "
         "'bastide status' the parts."},
        {ERROR_TIMED_OUT, "Try again; 'bastide status' shows whether all parts answer."},
        {ERROR_RATE_LIMITED, "Wait a moment and try again."},
        {ERROR_BUSY, "Wait a moment and try again."},
        {ERROR_UNTRUSTED,
         "The CA of the profile does not vouch for this server under this name. Check the URL "
         "('bastide profile show'); if the manager got a new CA, sign in anew with --ca FILE."},
        {ERROR_IMPOSSIBLE, "'bastide clusters plan' tries other values without doing anything."},
        {ERROR_BAD_REFERENCE, "'bastide catalog list KIND' shows the names that exist."},
        {ERROR_QUOTA, "Delete clusters that are not needed, or ask an administrator for more."},
        {ERROR_INTERNAL, "The manager's log has the details under the request's id."},
    };
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (rows[i].code == code)
            return rows[i].hint;
    return NULL;
}

/* "bastide clusters list", when there is such a verb beside the one that found nothing. */
static char *list_hint(const Cli *cli)
{
    size_t length = strcspn(cli->verb, " ");
    _cleanup_free_ char *name = string_format("%.*s list", (int)length, cli->verb);
    for (const Verb *verb = cli_program()->verbs; verb->name; verb++)
        if (string_equal(verb->name, name) && !string_equal(cli->verb, name))
            return string_format("'bastide %s' shows what there is.", name);
    return NULL;
}

int cli_report_error(const Cli *cli, const Error *error)
{
    const ErrorDescription *description = error_describe(error->code);
    _cleanup_free_ char *text = text_safe(*error->text ? error->text : description->meaning);
    _cleanup_free_ char *field = text_safe(error->field);
    _cleanup_free_ char *list = error->code == ERROR_NOT_FOUND ? list_hint(cli) : NULL;
    const char *hint = list ? list : hint_of(error->code);
    (void)fflush(stdout);
    (void)fprintf(stderr, "%sbastide: %s:%s %s", style_begin(stderr, STYLE_BAD), cli->verb, style_end(stderr),
                  text);
    bool is_named = *field && strstr(text, field); /* the text says it already */
    if (*field && !is_named && error->line > 0)
        (void)fprintf(stderr, " (field %s, line %u, column %u)", field, error->line, error->column);
    else if (*field && !is_named)
        (void)fprintf(stderr, " (field %s)", field);
    else if (error->line > 0)
        (void)fprintf(stderr, " (line %u, column %u)", error->line, error->column);
    (void)fputc('\n', stderr);
    if (description->http_status >= 500 && *error->details && error->code == ERROR_INTERNAL) {
        _cleanup_free_ char *details = text_safe(error->details);
        (void)fprintf(stderr, "  request: %s\n", details);
    }
    if (hint)
        (void)fprintf(stderr, "  %s\n", hint);
    return description->exit_status ? description->exit_status : EXIT_FAILURE;
}
