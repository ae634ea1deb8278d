/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/string.h"

_noreturn_ static void child(const char *const *arguments, int input)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                lang[] = "LANG=C.UTF-8", frontend[] = "DEBIAN_FRONTEND=noninteractive",
                home[] = "HOME=/nonexistent";
    char *const environment[] = {path, lang, frontend, home, NULL};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(input, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        _exit(127);
    /* execve takes its arguments without const for historical reasons and does not change them. */
    union {
        const char *const *given;
        char *const *wanted;
    } view = {.given = arguments};
    (void)execve(arguments[0], view.wanted, environment);
    _exit(127);
}

int process_run(const char *const *arguments, const void *input, size_t input_size)
{
    _cleanup_close_ int file = memfd_create("input", MFD_CLOEXEC);
    if (file < 0)
        return -errno;
    int r = input_size > 0 ? write_full(file, input, input_size) : 0;
    if (r < 0)
        return r;
    if (lseek(file, 0, SEEK_SET) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        child(arguments, file);
    if (pid < 0)
        return -errno;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static struct {
    char *start;
    size_t size;
} arguments_area;

void process_remember_arguments(int argc, char **argv)
{
    if (argc < 1)
        return;
    arguments_area.start = argv[0];
    arguments_area.size = (size_t)(argv[argc - 1] - argv[0]) + strlen(argv[argc - 1]) + 1;
}

void process_set_title(const char *title)
{
    (void)prctl(PR_SET_NAME, title, 0, 0, 0);
    if (arguments_area.size == 0)
        return;
    memset(arguments_area.start, 0, arguments_area.size);
    (void)string_copy(arguments_area.start, arguments_area.size, title);
}
