/* SPDX-License-Identifier: Apache-2.0 */
/* Keys: their state, rotation, the end of a tenant's. */

#include <inttypes.h>

#include "base/string.h"
#include "cli/cli.h"
#include "cli/text.h"

static const ViewField tenant_view[] = {
    {"TENANT", "tenant", FIELD_STRONG, IN_LIST},
    {"VALUES", "values", FIELD_NUMBER, IN_LIST},
    {"OLDEST KEY", "oldest_generation", FIELD_NUMBER, IN_LIST},
    {0},
};
static const ViewField keys_view[] = {
    {"KEEPER", "state", FIELD_STATE, IN_DETAILS},
    {"MASTER KEY", "master_key", FIELD_TEXT, IN_DETAILS},
    {"IS REPLACED NOW", "master_key_rotating", FIELD_TEXT, IN_DETAILS},
    {"GENERATION", "generation", FIELD_NUMBER, IN_DETAILS},
    {"DESTROYED UP TO", "retired", FIELD_NUMBER, IN_DETAILS},
    {"ROTATION", "rotation.state", FIELD_STATE, IN_DETAILS},
    {"STILL TO SEAL ANEW", "rotation.pending", FIELD_NUMBER, IN_DETAILS},
    {"UNREADABLE", "rotation.unreadable", FIELD_NUMBER, IN_DETAILS},
    {0},
};

static int keys_status(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_get(cli, "/keys", &answer, error);
    if (r < 0 || cli_show_raw(cli, answer))
        return MIN(r, 0);
    view_details(answer, keys_view);
    (void)printf("\n");
    view_list(json_object_get(answer, "tenants"), tenant_view, "No value is sealed yet.");
    return 0;
}

static int keys_rotate(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_request(cli, "POST", "/keys/rotate", NULL, &answer, error);
    if (r >= 0)
        cli_done(cli, answer,
                 "New data keys, generation %" PRId64 ". Values are sealed anew in the background; "
                 "'bastide keys status' shows how far it is.",
                 json_number_at(answer, "generation"));
    return MIN(r, 0);
}

static int keys_shred(Cli *cli, Error *error)
{
    const char *tenant = cli_argument(cli, 0);
    _cleanup_json_ json_t *answer = NULL,
                          *body = json_pack("{s:s, s:s}", "tenant", tenant, "confirmation", tenant);
    _cleanup_free_ char *safe = text_safe(tenant),
                        *question = string_format(
                            "Destroy the keys of the tenant '%s'? Every secret of it is gone for "
                            "good, in all backups too. Type yes: ",
                            safe);
    int r = cli_confirm(cli, question, error);
    if (r >= 0)
        r = cli_request(cli, "POST", "/keys/shred", body, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "Destroyed %" PRId64 " keys of '%s'; %" PRId64 " values were removed.",
                 json_number_at(answer, "keys_destroyed"), safe, json_number_at(answer, "values_removed"));
    return MIN(r, 0);
}

static const Option yes_options[] = {
    {.name = "yes", .letter = 'y', .help = "do not ask"},
    {.name = NULL},
};

const CliVerb verbs_keys[] = {
    {"keys status", "", 0, 0, SESSION, keys_status, NULL, "generations of the keys and what lies under them",
     "The master key itself is looked after on its machine, with bastide-keeper(8)."},
    {"keys rotate", "", 0, 0, SESSION, keys_rotate, NULL, "begin new data keys",
     "All sealed values are sealed anew while the manager works; when none is left under the old keys, these "
     "are "
     "destroyed. It goes on by itself after any interruption."},
    {"keys shred", "TENANT", 1, 1, SESSION, keys_shred, yes_options, "destroy all keys of a tenant",
     "Its secrets and provider credentials cannot be read any more, also from old copies of the database."},
    {0},
};
