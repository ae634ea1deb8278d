/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/options.h"
#include "base/string.h"
#include "sandbox/image.h"
#include "sandbox/process.h"
#include "sandbox/server.h"
#include "sandbox/settings.h"

#define DEFAULT_CONFIGURATION BASTIDE_PREFIX "/etc/sandbox.conf"

enum { ANSWER_LIMIT = 65536 };

static int fail(const Error *error)
{
    (void)fprintf(stderr, "bastide-sandboxd: %s\n", error->text);
    if (*error->details)
        (void)fprintf(stderr, "  %s\n", error->details);
    return error_describe(error->code)->exit_status;
}

static int load(const ParsedOptions *options, Settings *ret_settings, Error *error)
{
    const char *given = options_get(options, "config");
    const char *level = options_get(options, "log-level");
    log_init("bastide-sandboxd", level ? log_level_from_string(level) : LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    return settings_load(given ? given : DEFAULT_CONFIGURATION, !given, ret_settings, error);
}

static int verb_serve(const ParsedOptions *options, void *context)
{
    Error error = ERROR_INIT;
    _cleanup_settings_ Settings settings = {0};
    int r = load(options, &settings, &error);
    if (r >= 0)
        r = server_run(&settings, &error);
    return r < 0 ? fail(&error) : 0;
}

static int verb_purge(const ParsedOptions *options, void *context)
{
    Error error = ERROR_INIT;
    _cleanup_settings_ Settings settings = {0};
    int r = load(options, &settings, &error);
    if (r >= 0)
        r = server_purge(&settings, &error);
    return r < 0 ? fail(&error) : 0;
}

static int verb_image_build(const ParsedOptions *options, void *context)
{
    Error error = ERROR_INIT;
    _cleanup_settings_ Settings settings = {0};
    const char *name = options_argument(options, 0);
    bool built = false;
    int r = load(options, &settings, &error);
    if (r >= 0)
        r = image_build(&settings, name ? name : settings.default_image,
                        options_get(options, "force") != NULL, &built, &error);
    if (r < 0)
        return fail(&error);
    (void)printf("%s: %s\n", name ? name : settings.default_image, built ? "built" : "present, same recipe");
    return 0;
}

static int verb_example(const ParsedOptions *options, void *context)
{
    _cleanup_free_ char *text = config_example(settings_keys);
    (void)fputs(text, stdout);
    return 0;
}

static int ask(const char *path, const char *request, char *answer, size_t capacity, size_t *ret_size,
               Error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (string_copy(address.sun_path, sizeof(address.sun_path), path) < 0 || fd < 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return error_set_errno(error, ERROR_UNAVAILABLE, errno,
                               "cannot reach %s (does bastide-sandboxd run?)", path);
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot send the request");
    ssize_t n = recv(fd, answer, capacity, 0);
    if (n <= 0)
        return error_set_errno(error, ERROR_IO, n < 0 ? errno : ECONNRESET, "no answer");
    *ret_size = (size_t)n;
    return 0;
}

static int verb_request(const ParsedOptions *options, void *context)
{
    static char answer[ANSWER_LIMIT + 1];
    Error error = ERROR_INIT;
    _cleanup_settings_ Settings settings = {0};
    _cleanup_json_ json_t *value = NULL;
    size_t size = 0;
    int r = load(options, &settings, &error);
    if (r >= 0)
        r = ask(settings.socket, options_argument(options, 0), answer, ANSWER_LIMIT, &size, &error);
    if (r >= 0)
        r = json_parse(answer, size, ANSWER_LIMIT, &value, &error);
    if (r < 0)
        return fail(&error);
    if (json_dumpf(value, stdout, JSON_INDENT(2)) < 0 || putchar('\n') == EOF)
        return 74;
    const char *code = json_string_value(json_object_get(json_object_get(value, "error"), "code"));
    return code ? error_describe(error_code_from_name(code))->exit_status : 0;
}

static const Option global_options[] = {
    {.name = "config",
     .letter = 'c',
     .argument = "FILE",
     .help = "configuration file (default " DEFAULT_CONFIGURATION ")"},
    {.name = "log-level", .argument = "LEVEL", .help = "error, warning, notice, info or debug"},
    {0},
};
static const Option no_options[] = {{0}};
static const Option build_options[] = {
    {.name = "force", .help = "build even if an image of the same recipe is there"},
    {0},
};

static const Verb verbs[] = {
    {.name = "serve", .options = no_options, .help = "run the daemon", .run = verb_serve},
    {.name = "image build",
     .arguments = "[NAME]",
     .maximum = 1,
     .options = build_options,
     .help = "build an image; host-usr needs no package mirror",
     .run = verb_image_build},
    {.name = "request",
     .arguments = "JSON",
     .minimum = 1,
     .maximum = 1,
     .options = no_options,
     .help = "send one request and print the answer",
     .run = verb_request},
    {.name = "purge",
     .options = no_options,
     .help = "remove every host, link, mount, control group and record; images stay",
     .run = verb_purge},
    {.name = "config-example",
     .options = no_options,
     .help = "print all settings with their defaults",
     .run = verb_example},
    {0},
};

int main(int argc, char **argv)
{
    static const Program program = {
        .name = "bastide-sandboxd",
        .summary = "makes local hosts: real sshd, network and file system of their own",
        .global_options = global_options,
        .verbs = verbs,
    };
    if (sodium_init() < 0)
        return 70;
    process_remember_arguments(argc, argv);
    return program_run(&program, argc, argv, NULL);
}
