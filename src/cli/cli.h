/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What every verb of the command line shares: its table, the connection to the manager, asking and showing.
 * A verb is one row: name, options, help, and the function that does it. That function returns an exit
 * status, or a negative errno with the Error filled, which is then printed with a hint and turned into the
 * exit status of base/error-table.h. Main thread. */

#include "base/options.h"
#include "cli/profile.h"
#include "cli/view.h"
#include "net/http_client.h"

typedef struct Cli {
    const ParsedOptions *options;
    const char *verb; /* "clusters create" */
    OutputFormat format;
    Profiles *profiles;     /* once opened */
    Profile profile;        /* of the session */
    HttpClient *client;     /* of the session */
    bool has_second_factor; /* signing in took a code */
} Cli;

typedef int (*CliAction)(Cli *cli, Error *error);
typedef enum CliNeed { ALONE, SESSION } CliNeed;

typedef struct CliVerb {
    const char *name, *arguments;
    int minimum, maximum; /* arguments */
    CliNeed need;
    CliAction action;
    const Option *options;
    const char *help, *description;
} CliVerb;

/* Tables, each ended by a row without name, in the order of the help. */
extern const CliVerb verbs_session[], verbs_catalog[], verbs_clusters[], verbs_changes[], verbs_nodes[],
    verbs_bundles[], verbs_provisioners[], verbs_accounts[], verbs_access[], verbs_credentials[],
    verbs_directory[], verbs_certificates[], verbs_keys[], verbs_secrets[], verbs_audit[], verbs_system[],
    verbs_completion[];
extern const Option cli_global_options[];
/* The whole program; built once. */
const Program *cli_program(void);
int cli_main(int argc, char **argv);

static inline const char *cli_argument(const Cli *cli, int index)
{
    return options_argument(cli->options, index);
}
static inline const char *cli_option(const Cli *cli, const char *name)
{
    return options_get(cli->options, name);
}

/* --- asking the manager --- */

int cli_open_profiles(Cli *cli, Error *error);
/* Done for verbs that need a SESSION; others may want one in some cases. */
int cli_open_session(Cli *cli, Error *error);
/* A client for the profile, which gets its token and tenant. */
int cli_connect(const Profile *profile, HttpClient **ret_client, Error *error);

/* "/clusters/%s": each %s is filled with its argument, percent-encoded. Owned. */
char *cli_path(const char *format, ...) _printf_(1, 2);
/* Adds "?name=value" or "&name=value", encoded, unless the value is NULL or ""; the path is replaced. */
void cli_path_query(char **path, const char *name, const char *value);

/* One request below /api/v3.1. An answer of 400 and above becomes the Error that the manager tells. body and
 * ret_answer (owned; NULL value for empty answers) may be NULL. */
int cli_request(Cli *cli, const char *method, const char *path, const json_t *body, json_t **ret_answer,
                Error *error);
/* The same with a raw body and answer. */
int cli_request_raw(HttpClient *client, const char *method, const char *path, const char *type,
                    const void *body, size_t size, Usec timeout, HttpAnswer *ret_answer, Error *error);
/* The error of an answer of 400 and above. */
int cli_answer_error(const HttpAnswer *answer, Error *error);
static inline int cli_get(Cli *cli, const char *path, json_t **ret_answer, Error *error)
{
    return cli_request(cli, "GET", path, NULL, ret_answer, error);
}
/* All items of a list, page by page, or the first --limit ones: {"items": [...], "metadata": ...}. */
int cli_get_list(Cli *cli, const char *path, json_t **ret_answer, Error *error);

/* Typed twice, or one line of standard input with --password-stdin. */
int cli_new_password(Cli *cli, const char *user, Secret **ret_password, Error *error);
/* current may be NULL: only for one's own. */
int cli_change_password(Cli *cli, const char *path, const Secret *current, const Secret *password,
                        Error *error);

/* --- showing --- */

/* The answer as it is with -o json or yaml (true), or false: then show it nicely. */
bool cli_show_raw(const Cli *cli, const json_t *value);
/* GETs and shows a list. */
int cli_show_list(Cli *cli, const char *path, const ViewField *fields, const char *nothing, Error *error);
/* GETs and shows one object. */
int cli_show_object(Cli *cli, const char *path, const ViewField *fields, Error *error);
/* A sentence about what was done, only for people: not with -o json or yaml, where `answer` is printed. */
void cli_done(const Cli *cli, const json_t *answer, const char *format, ...) _printf_(3, 4);
/* To standard error. */
void cli_warn(const char *format, ...) _printf_(1, 2);
/* Prints the error with what to do next; the exit status. */
int cli_report_error(const Cli *cli, const Error *error);
/* --yes, or asks. */
int cli_confirm(const Cli *cli, const char *question, Error *error);
