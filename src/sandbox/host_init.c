/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/host_init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "sandbox/process.h"

#define PID_FILE "/run/sshd.pid"
#define LOG_FILE "/var/log/sshd.log"

enum { READY_PAUSE_NS = 1000000, RESTART_SECONDS = 1, END_SECONDS = 2 };

static void open_standard_files(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = open(LOG_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(log >= 0 ? log : null, STDOUT_FILENO);
    (void)dup2(log >= 0 ? log : null, STDERR_FILENO);
}

static pid_t start_sshd(void)
{
    static char program[] = "/usr/sbin/sshd", no_daemon[] = "-D", to_stderr[] = "-e", from[] = "-f",
                file[] = "/etc/ssh/sshd_config";
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                lang[] = "LANG=C.UTF-8";
    char *const arguments[] = {program, no_daemon, to_stderr, from, file, NULL};
    char *const environment[] = {path, lang, NULL};
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setsid();
    open_standard_files();
    (void)close_range(3, ~0U, 0);
    (void)execve(program, arguments, environment);
    _exit(127);
}

/* Ends everything: politely, then for good. The kernel takes down what is left when we leave. */
_noreturn_ static void end_host(void)
{
    (void)kill(-1, SIGTERM);
    Usec deadline = clock_monotonic(&system_clock) + END_SECONDS * USEC_PER_SEC;
    while (clock_monotonic(&system_clock) < deadline) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            break;
        if (pid == 0) {
            const struct timespec pause = {.tv_nsec = 5 * READY_PAUSE_NS};
            (void)nanosleep(&pause, NULL);
        }
    }
    _exit(0);
}

static bool reap(pid_t sshd)
{
    bool sshd_ended = false;
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        sshd_ended = sshd_ended || pid == sshd;
    return sshd_ended;
}

/* sshd writes its pid file when it listens. */
static void report_ready(int ready)
{
    while (access(PID_FILE, F_OK) < 0) {
        const struct timespec pause = {.tv_nsec = READY_PAUSE_NS};
        (void)nanosleep(&pause, NULL);
        if (waitpid(-1, NULL, WNOHANG) > 0)
            _exit(1); /* sshd refused to start; the maker sees the pipe close */
    }
    (void)write_full(ready, "R", 1);
    (void)close(ready);
}

_noreturn_ void host_init_run(int ready)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    for (int s = 1; s < NSIG; s++)
        (void)signal(s, SIG_DFL);
    (void)setsid();
    process_set_title("sandbox-init");
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    const struct rlimit no_core = {0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)clearenv();
    (void)umask(022);
    open_standard_files();

    pid_t sshd = start_sshd();
    if (sshd < 0)
        _exit(1);
    report_ready(ready);
    for (;;) {
        /* Only these; without the time-out a failed fork of sshd would never be tried again. */
        sigset_t wanted;
        (void)sigemptyset(&wanted);
        (void)sigaddset(&wanted, SIGCHLD);
        (void)sigaddset(&wanted, SIGTERM);
        const struct timespec patience = {.tv_sec = sshd < 0 ? RESTART_SECONDS : 3600};
        int signal_number = sigtimedwait(&wanted, NULL, &patience);
        if (signal_number == SIGTERM)
            end_host();
        if (reap(sshd)) {
            sshd = -1;
            continue; /* after RESTART_SECONDS of quiet */
        }
        if (sshd < 0)
            sshd = start_sshd();
    }
}
