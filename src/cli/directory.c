/* SPDX-License-Identifier: Apache-2.0 */
/* The directory that vouches for people: how it does, and what it says about somebody. */

#include "base/string.h"
#include "cli/cli.h"
#include "cli/text.h"

static const ViewField status_view[] = {
    {"ENABLED", "is_enabled", FIELD_FLAG, IN_DETAILS},
    {"ACCOUNTS", "accounts", FIELD_NUMBER, IN_DETAILS},
    {"WITHDRAWN", "withdrawn", FIELD_NUMBER, IN_DETAILS},
    {"LOOKED AT ALL", "synchronised_at", FIELD_TIME, IN_DETAILS | MAY_LACK},
    {"OLDEST LOOK", "oldest_check_at", FIELD_TIME, IN_DETAILS | MAY_LACK},
    {0},
};
static const ViewField test_view[] = {
    {"ACCOUNT", "username", FIELD_STRONG, IN_DETAILS},
    {"ENTRY", "dn", FIELD_TEXT, IN_DETAILS},
    {"STATE", "state", FIELD_TEXT, IN_DETAILS},
    {"GROUPS HERE", "groups", FIELD_LIST, IN_DETAILS},
    {"GROUPS THERE", "directory_groups", FIELD_LIST, IN_DETAILS},
    {0},
};

static int directory_status(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_get(cli, "/directory", &answer, error);
    if (r < 0 || cli_show_raw(cli, answer))
        return r;
    static const Column columns[] = {{"SERVER", 0}, {"ANSWERED", 0}, {"PROBLEM", COLUMN_FLEXIBLE}};
    _cleanup_table_ Table *table = table_new(columns, ELEMENTSOF(columns));
    size_t i;
    json_t *server;
    view_details(answer, status_view);
    json_array_foreach (json_object_get(answer, "servers"), i, server) {
        const char *answered = json_text_at(server, "answered_at"),
                   *problem = json_text_at(server, "problem");
        table_cell(table, json_text_at(server, "url"), STYLE_STRONG);
        table_cell(table, string_is_empty(answered) ? "not yet" : answered, STYLE_PLAIN);
        table_cell(table, problem, string_is_empty(problem) ? STYLE_PLAIN : STYLE_BAD);
    }
    table_print(table);
    return 0;
}

static int directory_test(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *body = json_pack("{s:s}", "username", cli_argument(cli, 0)), *answer = NULL;
    int r = cli_request(cli, "POST", "/directory/test", body, &answer, error);
    if (r >= 0 && !cli_show_raw(cli, answer))
        view_details(answer, test_view);
    return r;
}

const CliVerb verbs_directory[] = {
    {"directory status", "", 0, 0, SESSION, directory_status, NULL,
     "how the servers of the directory answer, and how old its word about accounts is", NULL},
    {"directory test", "USER", 1, 1, SESSION, directory_test, NULL,
     "what the directory says about somebody: entry, state, groups",
     "Nobody is signed in by it, and no password is asked for."},
    {0},
};
