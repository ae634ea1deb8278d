/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"

enum { PROCESSES_MAX = 32768, ENVIRONMENT_LIMIT = 256 * 1024 };

typedef struct Process {
    pid_t pid, parent;
    bool is_descendant;
} Process;

/* The fields behind the last ')', since a program may have any name. */
static int read_process(const char *pid_text, Process *ret_process)
{
    char path[64];
    int r = string_print(path, sizeof(path), "/proc/%s/stat", pid_text);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = NULL;
    r = file_read(path, 4096, &text, NULL);
    if (r < 0)
        return r;
    const char *after = strrchr(text, ')');
    char state;
    int parent;
    int64_t pid;
    if (!after || sscanf(after + 1, " %c %d", &state, &parent) != 2 || state == 'Z' ||
        string_to_i64(pid_text, 1, INT32_MAX, &pid) < 0)
        return -ENOENT;
    *ret_process = (Process){.pid = (pid_t)pid, .parent = parent};
    return 0;
}

static size_t list_processes(Process **ret_processes)
{
    Process *processes = NULL;
    size_t count = 0, capacity = 0;
    DIR *directory = opendir("/proc");
    for (struct dirent *entry; directory && count < PROCESSES_MAX && (entry = readdir(directory));) {
        Process process;
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || read_process(entry->d_name, &process) < 0)
            continue;
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 256;
            processes = memory_resize_array(processes, capacity, sizeof(*processes));
        }
        processes[count++] = process;
    }
    if (directory)
        (void)closedir(directory);
    *ret_processes = processes;
    return count;
}

static bool mark_children(Process *processes, size_t count, pid_t parent)
{
    bool is_changed = false;
    for (size_t i = 0; i < count; i++)
        if (processes[i].parent == parent && !processes[i].is_descendant)
            processes[i].is_descendant = is_changed = true;
    return is_changed;
}

unsigned processes_signal_descendants(pid_t ancestor, int signal)
{
    _cleanup_free_ Process *processes = NULL;
    size_t count = list_processes(&processes);
    bool is_changed = mark_children(processes, count, ancestor);
    while (is_changed) {
        is_changed = false;
        for (size_t i = 0; i < count; i++)
            if (processes[i].is_descendant && mark_children(processes, count, processes[i].pid))
                is_changed = true;
    }
    unsigned signalled = 0;
    for (size_t i = 0; i < count; i++)
        if (processes[i].is_descendant && kill(processes[i].pid, signal) == 0)
            signalled++;
    return signalled;
}

static bool carries_step(pid_t pid, const char *step)
{
    char path[64];
    if (string_print(path, sizeof(path), "/proc/%d/environ", pid) < 0)
        return false;
    _cleanup_free_ char *text = NULL, *wanted = string_format("BASTIDE_TASK=%s", step);
    size_t size;
    if (file_read(path, ENVIRONMENT_LIMIT, &text, &size) < 0)
        return false;
    for (size_t at = 0; at < size; at += strlen(text + at) + 1)
        if (string_equal(text + at, wanted))
            return true;
    return false;
}

unsigned processes_kill_leftovers(const char *step)
{
    unsigned killed = 0;
    /* Again as long as something is found: a process may fork while we look. */
    for (unsigned round = 0; round < 10; round++) {
        _cleanup_free_ Process *processes = NULL;
        size_t count = list_processes(&processes);
        unsigned found = 0;
        for (size_t i = 0; i < count; i++) {
            pid_t pid = processes[i].pid;
            if (pid > 1 && pid != getpid() && carries_step(pid, step) && kill(pid, SIGKILL) == 0)
                found++;
        }
        killed += found;
        if (found == 0)
            break;
        (void)usleep(10 * 1000);
    }
    return killed;
}

void process_detach(int kept)
{
    (void)setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3; i++)
        if (dup2(null, i) < 0)
            _exit(1);
    if (kept > 3)
        (void)close_range(3, (unsigned)kept - 1, 0);
    (void)close_range(kept < 3 ? 3 : (unsigned)kept + 1, ~0U, 0);
    if (chdir("/") < 0)
        _exit(1);
}

/* --- commands --- */

typedef struct Running {
    pid_t pid;
    int input, output, error;
    size_t sent, error_size;
    Buffer collected;
} Running;

_noreturn_ static void run_child(const Command *command, int input, int output, int error)
{
    char *environment[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, (char[]){"LANG=C.UTF-8"}, NULL};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(input, 0) >= 0 && dup2(output, 1) >= 0 && dup2(error, 2) >= 0) {
        /* execve does not change the vector; its prototype is older than const. */
        union {
            const char *const *in;
            char *const *out;
        } arguments = {.in = command->arguments};
        (void)execve(arguments.out[0], arguments.out, environment);
    }
    _exit(127);
}

static int start_command(const Command *command, Running *running)
{
    int input[2] = {-1, -1}, output[2] = {-1, -1}, error[2] = {-1, -1};
    int r = 0;
    if (pipe2(input, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0)
        r = -errno;
    if (r >= 0) {
        running->pid = fork();
        if (running->pid == 0)
            run_child(command, input[0], output[1], error[1]);
        if (running->pid < 0)
            r = -errno;
    }
    close_pointer(&input[0]);
    close_pointer(&output[1]);
    close_pointer(&error[1]);
    if (r < 0) {
        close_pointer(&input[1]);
        close_pointer(&output[0]);
        close_pointer(&error[0]);
        return r;
    }
    running->input = input[1];
    running->output = output[0];
    running->error = error[0];
    (void)set_nonblocking(running->input, true);
    return 0;
}

static void close_now(int *descriptor)
{
    close_pointer(descriptor);
    *descriptor = -1;
}

static int feed(const Command *command, Running *running)
{
    size_t left = command->input_size - running->sent;
    ssize_t count = left == 0 ? 0 : write(running->input, (const char *)command->input + running->sent, left);
    if (count < 0 && errno == EAGAIN)
        return 0;
    if (count > 0)
        running->sent += (size_t)count;
    if (count < 0 || running->sent == command->input_size)
        close_now(&running->input);
    return 0;
}

static int collect(const Command *command, Running *running)
{
    uint8_t chunk[8192];
    ssize_t count = read(running->output, chunk, sizeof(chunk));
    if (count <= 0) {
        close_now(&running->output);
        return 0;
    }
    if (running->collected.size + (size_t)count > command->output_limit)
        return -E2BIG;
    return buffer_append(&running->collected, chunk, (size_t)count);
}

static int collect_error(Running *running, char error[static 1024])
{
    char chunk[1024];
    ssize_t count = read(running->error, chunk, sizeof(chunk));
    if (count <= 0) {
        close_now(&running->error);
        return 0;
    }
    size_t kept = MIN((size_t)count, 1023 - running->error_size);
    memcpy(error + running->error_size, chunk, kept);
    running->error_size += kept;
    error[running->error_size] = 0;
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int talk(const Command *command, Running *running, char error[static 1024])
{
    int64_t deadline = now_ms() + command->timeout_ms;
    while (running->output >= 0 || running->error >= 0) {
        int64_t left = deadline - now_ms();
        if (left <= 0)
            return -ETIMEDOUT;
        struct pollfd polls[] = {
            {running->input, POLLOUT, 0}, {running->output, POLLIN, 0}, {running->error, POLLIN, 0}};
        if (poll(polls, ELEMENTSOF(polls), (int)left) < 0 && errno != EINTR)
            return -errno;
        int r = 0;
        if (running->input >= 0 && polls[0].revents)
            r = feed(command, running);
        if (r >= 0 && running->output >= 0 && polls[1].revents)
            r = collect(command, running);
        if (r >= 0 && running->error >= 0 && polls[2].revents)
            r = collect_error(running, error);
        if (r < 0)
            return r;
    }
    return 0;
}

int command_run(const Command *command, char **ret_output, char ret_error[static 1024])
{
    Running running = {
        .input = -1, .output = -1, .error = -1, .collected = BUFFER_INIT_LIMIT(command->output_limit + 1)};
    ret_error[0] = 0;
    int r = start_command(command, &running);
    if (r < 0)
        return r;
    r = talk(command, &running, ret_error);
    if (r < 0)
        (void)kill(running.pid, SIGKILL);
    int status = 0;
    while (waitpid(running.pid, &status, 0) < 0 && errno == EINTR)
        ;
    close_now(&running.input);
    close_now(&running.output);
    close_now(&running.error);
    if (r >= 0 && ret_output)
        *ret_output = buffer_take_string(&running.collected);
    buffer_done(&running.collected);
    if (r < 0)
        return r;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
