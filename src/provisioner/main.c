/* SPDX-License-Identifier: Apache-2.0 */

/* bastide-provisioner: takes tasks of a manager and does them. It opens no port, executes no program, and
 * runs on nodes nothing but scripts of approved bundles. */

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/string.h"
#include "crypto/start.h"
#include "provisioner/confine.h"
#include "provisioner/worker.h"

enum { TOKEN_LIMIT = 4096, EXIT_CONFIGURATION = 78 };

typedef struct Settings {
    char *directory, *name, *user, *sandbox_socket, *log_level;
    int64_t capacity, sessions, drain_timeout_ms;
} Settings;

static const ConfigKey keys[] = {
    {.section = "provisioner",
     .key = "directory",
     .type = CONFIG_PATH,
     .offset = offsetof(Settings, directory),
     .default_value = BASTIDE_PREFIX "/var/provisioner",
     .description = "Identity, bundles; only the provisioner's user may enter it"},
    {.section = "provisioner",
     .key = "name",
     .type = CONFIG_STRING,
     .offset = offsetof(Settings, name),
     .default_value = "provisioner",
     .description = "Name under which people see it"},
    {.section = "provisioner",
     .key = "user",
     .type = CONFIG_STRING,
     .offset = offsetof(Settings, user),
     .default_value = "bastide-provisioner",
     .description = "User to become when started as root"},
    {.section = "provisioner",
     .key = "capacity",
     .type = CONFIG_INTEGER,
     .offset = offsetof(Settings, capacity),
     .default_value = "128",
     .minimum = 1,
     .maximum = 2000,
     .description = "Tasks at the same time"},
    {.section = "provisioner",
     .key = "drain_timeout",
     .type = CONFIG_MILLISECONDS,
     .offset = offsetof(Settings, drain_timeout_ms),
     .default_value = "30s",
     .minimum = 0,
     .maximum = 3600 * 1000,
     .description = "How long running tasks may take after SIGTERM"},
    {.section = "ssh",
     .key = "sessions",
     .type = CONFIG_INTEGER,
     .offset = offsetof(Settings, sessions),
     .default_value = "1024",
     .minimum = 1,
     .maximum = 10000,
     .description = "SSH connections at the same time"},
    {.section = "sandbox",
     .key = "socket",
     .type = CONFIG_PATH,
     .offset = offsetof(Settings, sandbox_socket),
     .default_value = BASTIDE_PREFIX "/run/sandbox.sock",
     .description = "Socket of bastide-sandboxd"},
    {.section = "log",
     .key = "level",
     .type = CONFIG_STRING,
     .offset = offsetof(Settings, log_level),
     .default_value = "info",
     .description = "error, warning, notice, info or debug"},
    {0},
};

static int fail(const char *what, const Error *error)
{
    log_error_record(LOG_LEVEL_ERROR, what, error);
    return error_describe(error->code)->exit_status;
}

static int load_settings(const ParsedOptions *options, Settings *settings, Error *error)
{
    const char *path = options_get(options, "config");
    int r = config_load(path ? path : BASTIDE_PREFIX "/etc/provisioner.conf", path == NULL, keys, settings,
                        error);
    if (r < 0)
        return r;
    LogLevel level = log_level_from_string(settings->log_level);
    if (level == _LOG_LEVEL_INVALID)
        return error_set(error, ERROR_CONFIGURATION, "[log] level: \"%s\" is none", settings->log_level);
    log_set_level(level);
    return 0;
}

static void block_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int run(const Settings *settings, Error *error)
{
    block_signals();
    if (crypto_start() < 0)
        return error_set(error, ERROR_CRYPTO, "the cryptographic libraries cannot be set up");
    int r = confine_self(settings->user, error);
    if (r < 0)
        return r;
    _cleanup_identity_ Identity identity = {0};
    r = identity_load(settings->directory, &identity, error);
    if (r < 0)
        return r;
    WorkerSettings worker = {
        .identity = &identity,
        .name = settings->name,
        .sandbox_socket = settings->sandbox_socket,
        .capacity = (unsigned)settings->capacity,
        .sessions_max = (unsigned)settings->sessions,
        .drain_timeout = (Usec)settings->drain_timeout_ms * USEC_PER_MSEC,
    };
    return worker_run(&worker, error);
}

static int verb_run(const ParsedOptions *options, void *context)
{
    (void)context;
    Settings settings = {0};
    Error error = ERROR_INIT;
    int r = load_settings(options, &settings, &error);
    if (r >= 0)
        r = run(&settings, &error);
    int status = r < 0 ? fail("run", &error) : r;
    config_done(keys, &settings);
    return status;
}

/* The token comes from a file or standard input, never from the command line. */
static int read_token(const char *path, char **ret_token, Error *error)
{
    int r = file_read(string_equal(path, "-") ? "/dev/stdin" : path, TOKEN_LIMIT, ret_token, NULL);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read the token from %s", path);
    (*ret_token)[strcspn(*ret_token, "\r\n")] = 0;
    return 0;
}

static int enrol(const ParsedOptions *options, const Settings *settings, Error *error)
{
    const char *url = options_get(options, "url"), *token_file = options_get(options, "token-file"),
               *ca = options_get(options, "ca");
    if (!url || !token_file || !ca)
        return error_set(error, ERROR_BAD_REQUEST, "enrol needs --url, --token-file and --ca");
    _cleanup_free_ char *token = NULL;
    int r = read_token(token_file, &token, error);
    if (r < 0)
        return r;
    if (crypto_start() < 0)
        return error_set(error, ERROR_CRYPTO, "the cryptographic libraries cannot be set up");
    r = confine_self(settings->user, error);
    if (r < 0)
        return r;
    EnrolmentRequest request = {.url = url, .token = token, .ca_file = ca, .name = settings->name};
    r = identity_enrol(settings->directory, &request, error);
    memory_wipe(token, strlen(token));
    return r;
}

static int verb_enrol(const ParsedOptions *options, void *context)
{
    (void)context;
    Settings settings = {0};
    Error error = ERROR_INIT;
    int r = load_settings(options, &settings, &error);
    if (r >= 0)
        r = enrol(options, &settings, &error);
    int status = r < 0 ? fail("enrol", &error) : 0;
    if (r >= 0)
        log_notice("enrolled; the identity is in %s", settings.directory);
    config_done(keys, &settings);
    return status;
}

static int verb_example(const ParsedOptions *options, void *context)
{
    (void)options;
    (void)context;
    _cleanup_free_ char *text = config_example(keys);
    return fputs(text, stdout) < 0;
}

static const Option global_options[] = {
    {.name = "config",
     .letter = 'c',
     .argument = "FILE",
     .help = "Configuration (default " BASTIDE_PREFIX "/etc/provisioner.conf)"},
    {0},
};
static const Option enrol_options[] = {
    {.name = "url", .argument = "URL", .help = "The manager's API, https://…"},
    {.name = "token-file", .argument = "FILE", .help = "File with the enrolment token, - for standard input"},
    {.name = "ca", .argument = "FILE", .help = "PEM of the CA that signed the manager's certificate"},
    {0},
};
static const Verb verbs[] = {
    {.name = "run", .help = "Take tasks and do them", .run = verb_run},
    {.name = "enrol",
     .options = enrol_options,
     .help = "Make this provisioner known to a manager",
     .run = verb_enrol},
    {.name = "example-config", .help = "Print the configuration with its defaults", .run = verb_example},
    {0},
};
static const Program program = {
    .name = "bastide-provisioner",
    .summary = "takes tasks of a Bastide manager and does them on nodes",
    .global_options = global_options,
    .verbs = verbs,
    .epilogue = "Exit status 75: another process of this provisioner took over. 78: configuration.",
};

int main(int argc, char **argv)
{
    log_init("bastide-provisioner", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    return program_run(&program, argc, argv, NULL);
}
