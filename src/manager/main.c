/* SPDX-License-Identifier: Apache-2.0 */
/* bastide-manager: plans, schedules, stores, and answers the API. */

#include <stdio.h>
#include <stdlib.h>

#include "api/openapi.h"
#include "base/json.h"
#include "base/log.h"
#include "base/options.h"
#include "base/secret.h"
#include "custody/config_secret.h"
#include "custody/keeper_client.h"
#include "manager/admin_socket.h"
#include "manager/database_password.h"
#include "manager/doctor.h"
#include "manager/manager_config.h"
#include "manager/password_prompt.h"
#include "manager/server.h"
#include "manager/setup.h"

static const Option global_options[] = {
    {"config", 'c', "FILE", "configuration file (default " BASTIDE_PREFIX "/etc/manager.conf)", false},
    {0},
};

#define DEFAULT_CONFIG BASTIDE_PREFIX "/etc/manager.conf"
static const Usec KEEPER_TIMEOUT = 10 * USEC_PER_SEC;

static int report(const Error *error)
{
    (void)fprintf(stderr, "bastide-manager: %s%s%s\n", *error->field ? error->field : "",
                  *error->field ? ": " : "", error->text);
    return error_describe(error->code)->exit_status;
}

static const char *restore_reason; /* of the command line */

typedef int (*Action)(const ManagerConfig *config, Error *error);

static int with_config(const ParsedOptions *options, Action action, bool becomes_user)
{
    Error error = ERROR_INIT;
    ManagerConfig config = {0};
    int r = manager_config_load(options_get(options, "config") ?: DEFAULT_CONFIG, &config, &error);
    if (r >= 0) {
        LogLevel level = log_level_from_string(config.log_level);
        log_init("bastide-manager", level < 0 ? LOG_LEVEL_INFO : level,
                 string_equal(config.log_format, "json") ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
    }
    if (r >= 0 && becomes_user)
        r = manager_become_user(&config, &error);
    if (r >= 0 && becomes_user)
        r = database_password_apply(&config, &error);
    if (r >= 0)
        r = action(&config, &error);
    manager_config_done(&config);
    return r < 0 ? report(&error) : EXIT_SUCCESS;
}

static int verb_init(const ParsedOptions *options, void *context)
{
    (void)context;
    return with_config(options, setup_initialise, true);
}

static int verb_run(const ParsedOptions *options, void *context)
{
    (void)context;
    return with_config(options, server_run, true);
}

static int print_token(const ManagerConfig *config, Error *error)
{
    _cleanup_free_ char *answer = NULL;
    _cleanup_json_ json_t *document = NULL;
    int r =
        admin_socket_ask(config->admin_socket,
                         "{\"op\":\"token\",\"username\":\"admin\",\"life_seconds\":900}", &answer, error);
    if (r >= 0)
        r = json_parse(answer, strlen(answer), 4096, &document, error);
    if (r < 0)
        return r;
    const char *value = json_string_value(json_object_get(document, "value"));
    const char *text = json_string_value(json_object_get(document, "error"));
    if (!value)
        return error_set(error, ERROR_UNAVAILABLE, "%s", text ?: "The manager gave no token.");
    (void)puts(value);
    memory_wipe(answer, strlen(answer));
    return 0;
}

/* Root says that the database was restored on purpose. The keeper begins a new epoch, which only root may ask
 * for, and the manager records it. */
static int accept_restore(const ManagerConfig *config, Error *error)
{
    _cleanup_keeper_client_ KeeperClient *keeper = keeper_client_new(config->keeper_socket, KEEPER_TIMEOUT);
    _cleanup_free_ char *answer = NULL;
    _cleanup_json_ json_t *document = NULL, *request = json_pack("{s:s, s:s}", "op", "accept-restore",
                                                                 "reason", restore_reason);
    _cleanup_free_ char *line = json_to_text(request);
    uint64_t epoch;
    int r = admin_socket_ask(config->admin_socket, "{\"op\":\"ping\"}", &answer, error);
    if (r >= 0)
        r = keeper_client_begin_audit_epoch(keeper, &epoch, error);
    if (r < 0)
        return r;
    free(answer);
    answer = NULL;
    r = admin_socket_ask(config->admin_socket, line, &answer, error);
    if (r >= 0)
        r = json_parse(answer, strlen(answer), 4096, &document, error);
    if (r < 0)
        return r;
    const char *text = json_string_value(json_object_get(document, "error"));
    if (text)
        return error_set(error, ERROR_UNAVAILABLE, "%s", text);
    (void)printf("The database is accepted as it is; the audit trail is signed anew in epoch %llu.\n",
                 (unsigned long long)epoch);
    return 0;
}

static int verb_accept_restore(const ParsedOptions *options, void *context)
{
    (void)context;
    Error error = ERROR_INIT;
    restore_reason = options_get(options, "reason");
    if (string_is_empty(restore_reason)) {
        (void)error_set(&error, ERROR_BAD_REQUEST, "--reason TEXT is needed; it stands in the audit trail");
        return report(&error);
    }
    return with_config(options, accept_restore, false);
}

static int verb_token(const ParsedOptions *options, void *context)
{
    (void)context;
    return with_config(options, print_token, false);
}

/* One line of standard input, or what is typed without echo; what to write into the file goes to standard
 * output. */
static int seal_setting(const ManagerConfig *config, const char *setting, Error *error)
{
    _cleanup_keeper_client_ KeeperClient *keeper = keeper_client_new(config->keeper_socket, KEEPER_TIMEOUT);
    _cleanup_secret_ Secret *plain = NULL;
    _cleanup_buffer_ Buffer value = BUFFER_INIT;
    int r = password_prompt("Password: ", &plain, error);
    if (r >= 0)
        r = config_secret_seal(keeper, setting, plain, &value, error);
    if (r >= 0)
        (void)puts(buffer_string(&value));
    return r;
}

static int verb_seal(const ParsedOptions *options, void *context)
{
    (void)context;
    Error error = ERROR_INIT;
    ManagerConfig config = {0};
    const char *setting = options_argument(options, 0) ?: "database.password";
    int r = string_equal(setting, "database.password")
                ? 0
                : error_set(&error, ERROR_BAD_REQUEST,
                            "The settings that hold a password are: database.password");
    if (r >= 0)
        r = manager_config_load_for_sealing(options_get(options, "config") ?: DEFAULT_CONFIG, &config,
                                            &error);
    if (r >= 0)
        r = manager_become_user(&config, &error);
    if (r >= 0)
        r = seal_setting(&config, setting, &error);
    manager_config_done(&config);
    return r < 0 ? report(&error) : EXIT_SUCCESS;
}

static int verb_doctor(const ParsedOptions *options, void *context)
{
    (void)context;
    Error error = ERROR_INIT;
    ManagerConfig config = {0};
    unsigned findings = 0;
    const char *path = options_get(options, "config") ?: DEFAULT_CONFIG;
    int r = manager_config_load(path, &config, &error);
    if (r >= 0)
        r = doctor_examine(&config, path, &findings, &error);
    manager_config_done(&config);
    return r < 0 ? report(&error) : findings > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int verb_config(const ParsedOptions *options, void *context)
{
    (void)options;
    (void)context;
    _cleanup_free_ char *text = config_example(manager_config_keys);
    (void)fputs(text, stdout);
    return EXIT_SUCCESS;
}

static int verb_openapi(const ParsedOptions *options, void *context)
{
    (void)options;
    (void)context;
    _cleanup_json_ json_t *document = openapi_document();
    bool is_written = json_dumpf(document, stdout, JSON_INDENT(1)) == 0 && puts("") >= 0;
    return is_written && fflush(stdout) == 0 ? EXIT_SUCCESS : error_describe(ERROR_IO)->exit_status;
}

static const Option restore_options[] = {
    {"reason", 0, "TEXT", "why; it stands in the audit trail", false},
    {0},
};

static const Verb verbs[] = {
    {"init", "", 0, 0, NULL, "prepare certificates, database and the first administrator; safe to repeat",
     "The keeper must run. Prints the one-time password of the first administrator on the terminal, once.",
     verb_init},
    {"run", "", 0, 0, NULL, "answer the API until stopped",
     "SIGTERM finishes what runs; SIGHUP reads the certificates again.", verb_run},
    {"token", "", 0, 0, NULL, "make an administrator's token of 15 minutes over the local socket (root only)",
     NULL, verb_token},
    {"config seal", "[SETTING]", 0, 1, NULL, "seal a password for the configuration file (root only)",
     "Reads it from the terminal without echo, or one line of standard input, and prints what to write as "
     "database.password. Only this installation's keeper opens it, and only for that setting.",
     verb_seal},
    {"doctor", "", 0, 0, NULL, "look for weaknesses of this installation (root only)",
     "Modes of files, certificates that expire, rights of the database's role, connections without TLS, "
     "clocks, limits, "
     "the keeper. Exit status 1 when there is one.",
     verb_doctor},
    {"accept-restore", "", 0, 0, restore_options,
     "take a restored database as it is, and have its audit trail signed anew (root only)",
     "After an older database was put back the manager changes nothing, for the keeper remembers a later "
     "head of the "
     "audit trail. This begins a new epoch of signed heads; it is recorded by keeper and manager, with the "
     "reason.",
     verb_accept_restore},
    {"example-config", "", 0, 0, NULL, "print every setting with its default", NULL, verb_config},
    {"openapi", "", 0, 0, NULL, "print the description of the API (OpenAPI 3.1)", NULL, verb_openapi},
    {0},
};

int main(int argc, char **argv)
{
    static const Program program = {
        .name = "bastide-manager",
        .summary = "plans, schedules and stores; answers the API",
        .global_options = global_options,
        .verbs = verbs,
        .epilogue = "Files: " BASTIDE_PREFIX
                    "/etc/manager.conf\nSee also: bastide(1), bastide-keeper(8), bastide-provisioner(8)",
    };
    log_init("bastide-manager", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    return program_run(&program, argc, argv, NULL);
}
