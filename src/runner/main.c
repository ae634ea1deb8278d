/* SPDX-License-Identifier: Apache-2.0 */

/* bastide-runner: the one program of Bastide on a node. Static, without libraries of its own, so that it runs
 * on whatever the node is. Its directories are given by the node's administrator (options of the forced
 * command), never by a request. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/string.h"
#include "runner/helpers.h"
#include "runner/serve.h"

static const char usage[] =
    "bastide-runner - runs the steps of Bastide on this node\n\n"
    "usage: bastide-runner serve [--state DIRECTORY] [--secrets DIRECTORY]\n"
    "       bastide-runner parameter PATH [DEFAULT]   (also bastide-param)\n"
    "       bastide-runner secret NAME                (also bastide-secret)\n"
    "       bastide-runner list PREFIX                (also bastide-list)\n"
    "       bastide-runner --version | --help\n\n"
    "serve speaks the runner's protocol on standard input and output: it is the forced command of the\n"
    "provisioners' SSH certificates. --state (default /var/lib/bastide) keeps the journal of steps, "
    "--secrets\n"
    "(default /run/bastide) must be on tmpfs. The others are for the scripts of a step.\n";

static int run_serve(int argc, char **argv)
{
    const char *state_directory = "/var/lib/bastide", *secrets = "/run/bastide";
    for (int i = 0; i < argc; i += 2) {
        bool is_state = string_equal(argv[i], "--state"), is_secrets = string_equal(argv[i], "--secrets");
        if ((!is_state && !is_secrets) || i + 1 == argc || argv[i + 1][0] != '/') {
            (void)fputs(usage, stderr);
            return 64;
        }
        *(is_state ? &state_directory : &secrets) = argv[i + 1];
    }
    (void)umask(022);
    /* Requests carry secrets through this process. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    RunnerState state;
    const char *reason;
    int r = runner_state_open(state_directory, secrets, &state, &reason);
    if (r < 0) {
        (void)fprintf(stderr, "bastide-runner: %s: %s\n", reason, strerror(-r));
        return 78;
    }
    int status = serve(&state, STDIN_FILENO, STDOUT_FILENO);
    runner_state_done(&state);
    return status;
}

static int run_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return fputs(usage, stdout) < 0;
}

static int run_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return puts("bastide-runner " BASTIDE_VERSION) < 0;
}

static const struct {
    const char *verb, *link; /* the name of a link that means the verb */
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"serve", NULL, run_serve},
    {"parameter", "bastide-param", helper_parameter},
    {"secret", "bastide-secret", helper_secret},
    {"list", "bastide-list", helper_list},
    {"--help", NULL, run_help},
    {"--version", NULL, run_version},
};

int main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = argc == 0 ? "" : slash ? slash + 1 : argv[0];
    for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
        if (string_equal(name, verbs[i].link))
            return verbs[i].run(argc - 1, argv + 1);
        if (argc >= 2 && string_equal(argv[1], verbs[i].verb))
            return verbs[i].run(argc - 2, argv + 2);
    }
    (void)fputs(usage, stderr);
    return 64;
}
