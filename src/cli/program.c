/* SPDX-License-Identifier: Apache-2.0 */
/* The program: all tables of verbs together, and what happens around each of them. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/string.h"
#include "cli/cli.h"

enum { VERBS_MAX = 160 };

const Option cli_global_options[] = {
    {.name = "output", .letter = 'o', .argument = "FORMAT", .help = "table (for people), json or yaml"},
    {.name = "profile",
     .argument = "NAME",
     .help = "profile to use; else $BASTIDE_PROFILE, else the chosen one"},
    {.name = "tenant",
     .letter = 't',
     .argument = "NAME",
     .help = "tenant to act in; else that of the profile"},
    {.name = NULL},
};

static const CliVerb *const tables[] = {
    verbs_session,      verbs_clusters, verbs_changes, verbs_nodes,       verbs_catalog,   verbs_bundles,
    verbs_provisioners, verbs_accounts, verbs_access,  verbs_credentials, verbs_directory, verbs_secrets,
    verbs_certificates, verbs_keys,     verbs_audit,   verbs_system,      verbs_completion};

static const char epilogue[] =
    "FILES\n"
    "~/.config/bastide/profiles.json (or below $XDG_CONFIG_HOME): where one is signed in; mode 0600. It "
    "holds\n"
    "tokens, never passwords. Beside it lie copies of the CA certificates that vouch for the managers.\n"
    "\n"
    "ENVIRONMENT\n"
    "BASTIDE_PROFILE names the profile to use. NO_COLOR turns colours off. No secret is ever taken from the\n"
    "environment or from the command line.\n"
    "\n"
    "EXIT STATUS\n";

static const CliVerb *find(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(tables); i++)
        for (const CliVerb *verb = tables[i]; verb->name; verb++)
            if (string_equal(verb->name, name))
                return verb;
    return NULL;
}

int cli_open_session(Cli *cli, Error *error)
{
    int r = cli_open_profiles(cli, error);
    if (r < 0)
        return r;
    const char *chosen = cli_option(cli, "profile"), *tenant = cli_option(cli, "tenant");
    const char *name = chosen ? chosen : profiles_current(cli->profiles);
    if (!profiles_has(cli->profiles, name))
        return chosen
                   ? error_set(error, ERROR_UNAUTHENTICATED, "there is no profile '%s'", name)
                   : error_set(error, ERROR_UNAUTHENTICATED, "not signed in anywhere (profile '%s')", name);
    profiles_get(cli->profiles, name, &cli->profile);
    if (!cli->profile.token)
        return error_set(error, ERROR_UNAUTHENTICATED, "the profile '%s' is signed out", name);
    if (tenant && !identifier_is_valid(tenant))
        return error_set(error, ERROR_BAD_REQUEST, "'%s' cannot be the name of a tenant", tenant);
    if (tenant) {
        free(cli->profile.tenant);
        cli->profile.tenant = string_duplicate(tenant);
    }
    return cli_connect(&cli->profile, &cli->client, error);
}

static int read_format(Cli *cli, Error *error)
{
    const char *text = cli_option(cli, "output");
    cli->format = text ? output_format_from_string(text) : OUTPUT_TABLE;
    return cli->format < 0
               ? error_set(error, ERROR_BAD_REQUEST, "the output formats are table, json and yaml")
               : 0;
}

/* What was printed must have arrived; a reader that went away ("| head") is no error. */
static int finish_output(int status)
{
    errno = 0;
    bool is_broken = ferror(stdout) || fflush(stdout) != 0;
    if (!is_broken || errno == EPIPE)
        return status;
    (void)fprintf(stderr, "bastide: cannot write the output\n");
    return status ? status : error_describe(ERROR_IO)->exit_status;
}

static int run(const ParsedOptions *options, void *context)
{
    Cli *cli = context;
    Error error = ERROR_INIT;
    const CliVerb *verb = find(options_verb(options)->name);
    ASSERT(verb); /* the program's verbs are made of these tables */
    cli->options = options;
    cli->verb = verb->name;
    int r = read_format(cli, &error);
    if (r >= 0 && verb->need == SESSION)
        r = cli_open_session(cli, &error);
    if (r >= 0)
        r = verb->action(cli, &error);
    if (r < 0 && !error_is_set(&error))
        (void)error_set_errno(&error, ERROR_IO, -r, "it failed");
    int status = r < 0 ? cli_report_error(cli, &error) : r;
    http_client_free(cli->client);
    profile_done(&cli->profile);
    profiles_free(cli->profiles);
    return finish_output(status);
}

/* The table of exit statuses as prose for the manual. */
static const char *make_epilogue(void)
{
    static Buffer text = BUFFER_INIT;
    if (text.size > 0)
        return buffer_string(&text);
    (void)buffer_append_string(&text, epilogue);
    (void)buffer_append_string(&text, "  0    done; for --watch: the work has succeeded\n"
                                      "  1    the work that was watched, or a check, has failed\n");
    for (int status = 2; status < 256; status++) {
        size_t count = 0;
        for (ErrorCode code = ERROR_NONE + 1; code < _ERROR_MAX; code++) {
            const ErrorDescription *row = error_describe(code);
            if (row->exit_status == status)
                (void)buffer_append_format(&text, "  %-4.0d %s: %s\n", count++ ? 0 : status, row->name,
                                           row->meaning);
        }
    }
    (void)buffer_append_string(&text,
                               "  255  (nodes ssh) the connection failed; else the command's own status\n"
                               "\nSEE ALSO\nbastide-manager(8), bastide-keeper(8), ssh(1)\n");
    return buffer_string(&text);
}

const Program *cli_program(void)
{
    static Verb verbs[VERBS_MAX + 1];
    static Program program = {
        .name = "bastide",
        .summary = "the command line of Bastide: from a template to a running, secured cluster",
        .global_options = cli_global_options,
        .verbs = verbs,
    };
    size_t count = 0;
    if (program.epilogue)
        return &program;
    for (size_t i = 0; i < ELEMENTSOF(tables); i++)
        for (const CliVerb *verb = tables[i]; verb->name; verb++) {
            ASSERT(count < VERBS_MAX);
            verbs[count++] = (Verb){.name = verb->name,
                                    .arguments = verb->arguments,
                                    .minimum = verb->minimum,
                                    .maximum = verb->maximum,
                                    .options = verb->options,
                                    .help = verb->help,
                                    .description = verb->description,
                                    .run = run};
        }
    program.epilogue = make_epilogue();
    return &program;
}

int cli_main(int argc, char **argv)
{
    /* Broken pipes are seen when writing; a memory image would hold tokens. */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    terminal_start();
    if (argc == 2 && string_equal(argv[1], "--manual")) {
        program_print_manual(cli_program(), 1, stdout);
        return finish_output(EXIT_SUCCESS);
    }
    Cli cli = {0};
    return program_run(cli_program(), argc, argv, &cli);
}
