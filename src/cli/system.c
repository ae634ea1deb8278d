/* SPDX-License-Identifier: Apache-2.0 */
/* The manager and its parts: version, status, provisioners. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/string.h"
#include "cli/cli.h"
#include "cli/text.h"

static const ViewField provisioner_view[] = {
    {"NAME", "name", FIELD_STRONG, IN_BOTH},
    {"STATE", "state", FIELD_STATE, IN_BOTH},
    {"VERSION", "version", FIELD_TEXT, IN_BOTH | MAY_LACK},
    {"CAPACITY", "capacity", FIELD_NUMBER, IN_BOTH},
    {"PROVIDERS", "capabilities.providers", FIELD_LIST, IN_BOTH | MAY_LACK | MAY_SHRINK},
    {"AUTOMATORS", "capabilities.automators", FIELD_LIST, IN_BOTH | MAY_LACK | MAY_SHRINK},
    {"HEARD", "last_heartbeat_at", FIELD_TIME, IN_BOTH | MAY_LACK},
    {"ENROLLED", "enrolled_at", FIELD_TIME, IN_BOTH},
    {"BY", "enrolled_by", FIELD_TEXT, IN_DETAILS},
    {"ID", "id", FIELD_TEXT, IN_BOTH},
    {0},
};

/* Also without a session: then only our own version is known. */
static int version(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_open_profiles(cli, error);
    if (r < 0)
        return r;
    const char *chosen = cli_option(cli, "profile");
    const char *name = chosen ? chosen : profiles_current(cli->profiles);
    Error manager_error = ERROR_INIT;
    r = -ENOENT;
    if (profiles_has(cli->profiles, name)) {
        profiles_get(cli->profiles, name, &cli->profile);
        r = cli_connect(&cli->profile, &cli->client, &manager_error);
        if (r >= 0)
            r = cli_get(cli, "/version", &answer, &manager_error);
    }
    _cleanup_json_ json_t *result = json_pack("{s:s, s:O?}", "client", BASTIDE_VERSION, "manager", answer);
    if (cli_show_raw(cli, result))
        return 0;
    _cleanup_free_ char *manager = text_safe(json_text_at(answer, "version"));
    (void)printf("bastide  %s\n", BASTIDE_VERSION);
    if (r >= 0)
        (void)printf("manager  %s at %s\n", manager, cli->profile.url);
    else if (error_is_set(&manager_error))
        cli_warn("the manager does not tell its version: %s", manager_error.text);
    return 0;
}

static int status(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_get(cli, "/status", &answer, error);
    if (r < 0)
        return r;
    const char *overall = json_text_at(answer, "status"), *name;
    int exit_status = string_equal(overall, "OK") ? EXIT_SUCCESS : EXIT_FAILURE;
    if (cli_show_raw(cli, answer))
        return exit_status;
    static const Column columns[] = {{"PART", 0}, {"STATUS", 0}, {"", COLUMN_FLEXIBLE}};
    _cleanup_table_ Table *table = table_new(columns, ELEMENTSOF(columns));
    json_t *service;
    json_object_foreach (json_object_get(answer, "services"), name, service) {
        const char *state = json_text_at(service, "status");
        table_cell(table, name, STYLE_STRONG);
        table_cell(table, state, state_style(state));
        table_cell(table, json_text_at(service, "extra_info"), STYLE_PLAIN);
    }
    _cleanup_free_ char *safe = text_safe(overall);
    (void)printf("%s: %s%s%s, %" PRId64 " tasks running\n\n", cli->profile.url,
                 style_begin(stdout, state_style(overall)), safe, style_end(stdout),
                 json_number_at(answer, "leased_operations"));
    table_print(table);
    return exit_status;
}

/* Provisioners ------------------------------------------------------------------------------ */

static int provisioners_list(Cli *cli, Error *error)
{
    return cli_show_list(cli, "/provisioners", provisioner_view,
                         "No provisioners; 'bastide provisioners enrol NAME' makes a token for one.", error);
}

static int provisioners_show(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/provisioners/%s", cli_argument(cli, 0));
    return cli_show_object(cli, path, provisioner_view, error);
}

static int provisioners_enrol(Cli *cli, Error *error)
{
    const char *life = cli_option(cli, "life");
    int64_t milliseconds;
    _cleanup_json_ json_t *answer = NULL, *body = json_pack("{s:s}", "name", cli_argument(cli, 0));
    if (life && (string_to_milliseconds(life, &milliseconds) < 0 || milliseconds < 60000))
        return error_set_field(error, ERROR_BAD_REQUEST, "--life",
                               "must be a time of a minute or more, e.g. 2h");
    if (life)
        (void)json_object_set_new(body, "life_seconds", json_integer(milliseconds / 1000));
    int r = cli_request(cli, "POST", "/provisioners/enrolment-tokens", body, &answer, error);
    if (r < 0 || cli_show_raw(cli, answer))
        return MIN(r, 0);
    _cleanup_free_ char *value = text_safe(json_text_at(answer, "value"));
    _cleanup_free_ char *when =
        time_relative(json_text_at(answer, "expires_at"), clock_realtime(&system_clock));
    _cleanup_free_ char *name = text_safe(cli_argument(cli, 0));
    (void)printf("%s\n", value);
    (void)fprintf(stderr,
                  "A one-time token for the provisioner '%s'; it is shown only now and expires %s. There:\n"
                  "  bastide-provisioner enrol --url %s --token-file FILE --ca CA.CRT\n",
                  name, when, cli->profile.url);
    return 0;
}

static int provisioners_drain(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_free_ char *path = cli_path("/provisioners/%s/drain", cli_argument(cli, 0));
    int r = cli_request(cli, "POST", path, NULL, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "'%s' gets no new tasks; what it has goes on.", json_text_at(answer, "name"));
    return MIN(r, 0);
}

static int provisioners_remove(Cli *cli, Error *error)
{
    const char *name = cli_argument(cli, 0);
    _cleanup_free_ char *question = string_format(
        "Remove the provisioner '%s'? Its certificate is refused from then on. Type yes: ", name);
    _cleanup_free_ char *path = cli_path("/provisioners/%s", name);
    int r = cli_confirm(cli, question, error);
    if (r >= 0)
        r = cli_request(cli, "DELETE", path, NULL, NULL, error);
    if (r >= 0)
        cli_done(cli, NULL, "Removed '%s'; its tasks are offered to others.", name);
    return MIN(r, 0);
}

static const Option limit_options[] = {
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};
static const Option enrol_options[] = {
    {.name = "life", .argument = "TIME", .help = "until the token expires, e.g. 2h (1h)"},
    {.name = NULL},
};
static const Option yes_options[] = {
    {.name = "yes", .letter = 'y', .help = "do not ask"},
    {.name = NULL},
};
const CliVerb verbs_provisioners[] = {
    {"provisioners list", "", 0, 0, SESSION, provisioners_list, limit_options,
     "provisioners and their states", NULL},
    {"provisioners show", "NAME|ID", 1, 1, SESSION, provisioners_show, NULL, "one provisioner", NULL},
    {"provisioners enrol", "NAME", 1, 1, SESSION, provisioners_enrol, enrol_options,
     "make the one-time token of a new provisioner", "The token alone goes to standard output."},
    {"provisioners drain", "NAME|ID", 1, 1, SESSION, provisioners_drain, NULL,
     "give a provisioner no more tasks", NULL},
    {"provisioners remove", "NAME|ID", 1, 1, SESSION, provisioners_remove, yes_options,
     "remove a provisioner; its tasks are offered again", NULL},
    {0},
};

const CliVerb verbs_system[] = {
    {"status", "", 0, 0, SESSION, status, NULL, "state of the manager and its parts",
     "Exit status 1 when a part is not well."},
    {"version", "", 0, 0, ALONE, version, NULL, "versions of this program and of the manager", NULL},
    {0},
};
