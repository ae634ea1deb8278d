/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "runner/processes.h"
#include "runner/protocol.h"

enum { TIMEOUT_GRACE_MS = 5000, KILL_ROUNDS_MAX = 200, CANCEL_GRACE_MAX_MS = 600 * 1000 };

typedef struct OutputStream {
    int pipe, file;
    uint64_t written, dropped;
} OutputStream;

typedef struct Supervisor {
    const RunnerState *state;
    const StepRequest *request;
    int signals, watch;
    OutputStream outputs[2]; /* stdout, stderr */
    pid_t script;
    bool has_ended, is_killing;
    int wait_status;
    int64_t deadline, kill_at; /* monotonic ms; kill_at 0 = not set */
    StepDone done;
} Supervisor;

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- detaching --- */

static void detach(const StepRequest *request, int lock)
{
    explicit_bzero(request->wipe_in_child, request->wipe_size);
    process_detach(lock);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)prctl(PR_SET_NAME, "bastide-step");
}

static int block_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    /* Ending the supervisor politely is done by a cancel file; a stray SIGTERM or SIGHUP must not lose a
     * result. */
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_SETMASK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* --- the script --- */

typedef struct ScriptStart {
    const char *path, *work;
    char **environment;
    int output, error, report;
    pid_t supervisor;
} ScriptStart;

_noreturn_ static void run_script(const ScriptStart *start)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    int r = 0;
    /* The supervisor may have been killed before the death signal was set. */
    if (getppid() != start->supervisor || chdir(start->work) < 0 || dup2(start->output, 1) < 0 ||
        dup2(start->error, 2) < 0)
        r = errno;
    if (r == 0) {
        char *arguments[] = {string_duplicate(start->path), NULL};
        (void)execve(start->path, arguments, start->environment);
        r = errno;
    }
    (void)write_full(start->report, &r, sizeof(r));
    _exit(127);
}

static void make_environment(const Supervisor *supervisor, StringList *environment)
{
    const RunnerState *state = supervisor->state;
    const char *step = supervisor->request->step;
    _cleanup_free_ char *results = runner_step_path(state, step, "results"),
                        *parameters = runner_step_path(state, step, "parameters"),
                        *json = runner_step_path(state, step, "parameters.json"),
                        *secrets = runner_secrets_path(state, step);
    const struct {
        const char *name, *value;
    } variables[] = {
        {"HOME", geteuid() == 0 ? "/root" : "/"},
        {"LANG", "C.UTF-8"},
        {"BASTIDE_TASK", step},
        {"BASTIDE_PARAMETERS", parameters},
        {"BASTIDE_PARAMETERS_JSON", json},
        {"BASTIDE_SECRETS", secrets},
        {"BASTIDE_RESULTS", results},
    };
    _cleanup_free_ char *path = string_format(
        "PATH=%s/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", state->directory);
    string_list_append(environment, path);
    for (size_t i = 0; i < ELEMENTSOF(variables); i++) {
        _cleanup_free_ char *entry = string_format("%s=%s", variables[i].name, variables[i].value);
        string_list_append(environment, entry);
    }
}

static char **environment_vector(const StringList *environment)
{
    char **vector = NEW_ARRAY(char *, environment->count + 1);
    for (size_t i = 0; i < environment->count; i++)
        vector[i] = environment->items[i];
    return vector;
}

/* Waits for the execve: 0 or its negative errno. */
static int start_script(Supervisor *supervisor)
{
    int output[2], error[2], report[2];
    if (pipe2(output, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_string_list_ StringList environment = {0};
    make_environment(supervisor, &environment);
    _cleanup_free_ char **vector = environment_vector(&environment);
    _cleanup_free_ char *work = runner_step_path(supervisor->state, supervisor->request->step, "work");
    _cleanup_free_ char *path = path_join(work, supervisor->request->name);
    ScriptStart start = {.path = path,
                         .work = work,
                         .environment = vector,
                         .output = output[1],
                         .error = error[1],
                         .report = report[1],
                         .supervisor = getpid()};
    pid_t pid = fork();
    if (pid == 0)
        run_script(&start);
    (void)close(output[1]);
    (void)close(error[1]);
    (void)close(report[1]);
    int failure = 0;
    if (pid > 0 && read_full(report[0], &failure, sizeof(failure)) < (ssize_t)sizeof(failure))
        failure = 0;
    (void)close(report[0]);
    if (pid < 0)
        return -EAGAIN;
    supervisor->script = pid;
    supervisor->outputs[0].pipe = output[0];
    supervisor->outputs[1].pipe = error[0];
    (void)set_nonblocking(output[0], true);
    (void)set_nonblocking(error[0], true);
    return -failure;
}

/* --- output --- */

static int open_outputs(Supervisor *supervisor)
{
    static const char *const names[] = {"stdout", "stderr"};
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        _cleanup_free_ char *path = runner_step_path(supervisor->state, supervisor->request->step, names[i]);
        supervisor->outputs[i].file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        supervisor->outputs[i].pipe = -1;
        if (supervisor->outputs[i].file < 0)
            return -errno;
    }
    return 0;
}

/* False when there is nothing more for now. */
static bool move_output(Supervisor *supervisor, OutputStream *output)
{
    uint8_t chunk[32 * 1024];
    ssize_t count = read(output->pipe, chunk, sizeof(chunk));
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (count <= 0) {
        (void)close(output->pipe);
        output->pipe = -1;
        return false;
    }
    uint64_t room = supervisor->request->output_limit - output->written;
    size_t kept = (size_t)MIN((uint64_t)count, room);
    /* A full disk costs output, not the step. */
    if (kept > 0 && write_full(output->file, chunk, kept) < 0)
        kept = 0;
    output->written += kept;
    output->dropped += (uint64_t)count - kept;
    return true;
}

static void finish_output(Supervisor *supervisor, OutputStream *output)
{
    while (output->pipe >= 0 && move_output(supervisor, output))
        ;
    if (output->dropped > 0) {
        char note[128];
        if (string_print(note, sizeof(note), "\n[bastide: %llu more bytes were left out]\n",
                         (unsigned long long)output->dropped) >= 0)
            (void)write_full(output->file, note, strlen(note));
    }
    if (output->written > 0)
        (void)fdatasync(output->file);
}

/* --- ending --- */

/* False when there is no child left. */
static bool reap(Supervisor *supervisor)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == supervisor->script) {
            supervisor->has_ended = true;
            supervisor->wait_status = status;
        }
    return pid == 0;
}

static void begin_killing(Supervisor *supervisor, int64_t grace_ms)
{
    if (supervisor->is_killing)
        return;
    supervisor->is_killing = true;
    supervisor->kill_at = now_ms() + grace_ms;
    (void)processes_signal_descendants(getpid(), SIGTERM);
}

static void kill_everything(Supervisor *supervisor)
{
    for (unsigned round = 0; round < KILL_ROUNDS_MAX; round++) {
        (void)processes_signal_descendants(getpid(), SIGKILL);
        /* Orphans come to us, so no child left means nothing left. */
        if (!reap(supervisor))
            break;
        (void)usleep(5000);
    }
}

static void look_for_cancel(Supervisor *supervisor)
{
    union {
        struct inotify_event event;
        char bytes[4096];
    } events;
    while (supervisor->watch >= 0 && read(supervisor->watch, &events, sizeof(events)) > 0)
        ;
    _cleanup_free_ char *path = runner_step_path(supervisor->state, supervisor->request->step, "cancel"),
                        *text = NULL;
    if (file_read(path, 64, &text, NULL) < 0)
        return;
    text[strcspn(text, "\n")] = 0;
    uint64_t grace = 0;
    (void)string_to_u64(text, CANCEL_GRACE_MAX_MS, &grace);
    supervisor->done.is_cancelled = true;
    begin_killing(supervisor, (int64_t)grace);
}

static void wait_for_end(Supervisor *supervisor)
{
    look_for_cancel(supervisor);
    while (!supervisor->has_ended) {
        int64_t now = now_ms();
        if (!supervisor->is_killing && now >= supervisor->deadline) {
            supervisor->done.is_timed_out = true;
            begin_killing(supervisor, TIMEOUT_GRACE_MS);
        }
        if (supervisor->is_killing && now >= supervisor->kill_at) {
            kill_everything(supervisor);
            break;
        }
        int64_t until = supervisor->is_killing ? supervisor->kill_at : supervisor->deadline;
        struct pollfd polls[] = {{supervisor->outputs[0].pipe, POLLIN, 0},
                                 {supervisor->outputs[1].pipe, POLLIN, 0},
                                 {supervisor->signals, POLLIN, 0},
                                 {supervisor->watch, POLLIN, 0}};
        (void)poll(polls, ELEMENTSOF(polls), (int)MIN(until - now, 60 * 1000));
        for (size_t i = 0; i < 2; i++)
            if (supervisor->outputs[i].pipe >= 0 && polls[i].revents)
                (void)move_output(supervisor, &supervisor->outputs[i]);
        if (polls[3].revents || supervisor->watch < 0)
            look_for_cancel(supervisor);
        struct signalfd_siginfo signal_info;
        while (read(supervisor->signals, &signal_info, sizeof(signal_info)) > 0)
            ;
        (void)reap(supervisor);
    }
    /* Ended by time or on request: nothing of it may go on, however it hid. */
    if (supervisor->is_killing)
        kill_everything(supervisor);
}

static void watch_step(Supervisor *supervisor)
{
    _cleanup_free_ char *path = runner_step_path(supervisor->state, supervisor->request->step, NULL);
    supervisor->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (supervisor->watch >= 0)
        (void)inotify_add_watch(supervisor->watch, path, IN_MOVED_TO | IN_ONLYDIR);
}

/* Ends the process: the step is over, or could not begin. */
_noreturn_ static void finish(Supervisor *supervisor)
{
    const RunnerState *state = supervisor->state;
    const char *step = supervisor->request->step;
    for (size_t i = 0; i < 2; i++)
        if (supervisor->outputs[i].file >= 0)
            finish_output(supervisor, &supervisor->outputs[i]);
    (void)runner_secrets_wipe(state, step);
    _cleanup_free_ char *work = runner_step_path(state, step, "work");
    (void)directory_remove(work);
    /* A full disk may be full for a while; without "done" the outcome would be unknown. */
    for (unsigned attempt = 0; attempt < 60 && runner_done_write(state, step, &supervisor->done) < 0;
         attempt++)
        (void)sleep(1);
    _exit(0);
}

static void note_end(Supervisor *supervisor)
{
    StepDone *done = &supervisor->done;
    if (WIFEXITED(supervisor->wait_status))
        done->exit_status = WEXITSTATUS(supervisor->wait_status);
    else if (WIFSIGNALED(supervisor->wait_status)) {
        done->signal = WTERMSIG(supervisor->wait_status);
        done->exit_status = 128 + done->signal;
    }
}

_noreturn_ void supervisor_main(const RunnerState *state, const StepRequest *request, int lock)
{
    detach(request, lock);
    Supervisor supervisor = {.state = state,
                             .request = request,
                             .watch = -1,
                             .outputs = {{.pipe = -1, .file = -1}, {.pipe = -1, .file = -1}}};
    supervisor.signals = block_signals();
    watch_step(&supervisor);
    int r = open_outputs(&supervisor);
    if (r >= 0)
        r = runner_begun_write(state, request->step, getpid());
    if (r >= 0)
        r = start_script(&supervisor);
    if (r < 0) {
        supervisor.done.exit_status = 127;
        (void)string_print(supervisor.done.message, sizeof(supervisor.done.message),
                           "cannot start \"%s\": %s", request->name, strerror(-r));
        finish(&supervisor);
    }
    supervisor.deadline = now_ms() + (int64_t)request->timeout_ms;
    wait_for_end(&supervisor);
    note_end(&supervisor);
    finish(&supervisor);
}
