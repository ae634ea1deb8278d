/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "runner/protocol.h"

enum { JOURNAL_LIMIT = 8 * 1024, KEEP_SECONDS = 14 * 24 * 3600, CLEAN_MAX = 4096 };

static int make_private_directory(const char *path)
{
    int r = directory_make(path, 0700);
    if (r < 0)
        return r;
    struct stat status;
    if (lstat(path, &status) < 0)
        return -errno;
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return -EPERM;
    return 0;
}

static bool is_in_memory(const char *path)
{
    struct statfs status;
    if (statfs(path, &status) < 0)
        return false;
    return (uint64_t)status.f_type == TMPFS_MAGIC || (uint64_t)status.f_type == RAMFS_MAGIC;
}

/* The helpers that scripts call, as links in a directory that is first in their PATH. */
static int make_links(const RunnerState *state)
{
    static const char *const names[] = {"bastide-param", "bastide-secret", "bastide-list", "bastide-runner"};
    char program[4096];
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (size < 0)
        return -errno;
    program[size] = 0;
    _cleanup_free_ char *directory = path_join(state->directory, "bin");
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        _cleanup_free_ char *link = path_join(directory, names[i]);
        char present[4096];
        ssize_t length = readlink(link, present, sizeof(present));
        if (length == size && memcmp(present, program, (size_t)size) == 0)
            continue;
        (void)unlink(link);
        if (symlink(program, link) < 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

static void make_connection_id(char destination[static 33])
{
    uint8_t bytes[16];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        abort();
    hex_encode(bytes, sizeof(bytes), destination);
}

static int read_boot_id(char *destination, size_t size)
{
    _cleanup_free_ char *text = NULL;
    int r = file_read("/proc/sys/kernel/random/boot_id", 128, &text, NULL);
    if (r < 0)
        return r;
    text[strcspn(text, "\n")] = 0;
    return string_copy(destination, size, text);
}

static int make_directories(RunnerState *state, const char **ret_reason)
{
    static const char *const folders[] = {"store", "steps", "firewall", "bin", "epochs"};
    *ret_reason = "the state directory cannot be made, or others can write to it";
    int r = make_private_directory(state->directory);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(folders); i++) {
        _cleanup_free_ char *path = path_join(state->directory, folders[i]);
        r = make_private_directory(path);
    }
    if (r < 0)
        return r;
    *ret_reason = "the directory for secrets cannot be made, or others can write to it";
    r = make_private_directory(state->secrets);
    if (r < 0)
        return r;
    if (chmod(state->secrets, 0700) < 0)
        return -errno;
    *ret_reason = "the directory for secrets is not on tmpfs";
    return is_in_memory(state->secrets) ? 0 : -EPERM;
}

int runner_state_open(const char *directory, const char *secrets, RunnerState *ret_state,
                      const char **ret_reason)
{
    RunnerState state = {.directory = string_duplicate(directory), .secrets = string_duplicate(secrets)};
    make_connection_id(state.connection);
    int r = make_directories(&state, ret_reason);
    if (r >= 0) {
        *ret_reason = "the boot id cannot be read";
        r = read_boot_id(state.boot_id, sizeof(state.boot_id));
    }
    if (r >= 0) {
        *ret_reason = "the links of the helpers cannot be made";
        r = make_links(&state);
    }
    if (r < 0) {
        runner_state_done(&state);
        return r;
    }
    *ret_state = state;
    return 0;
}

void runner_state_done(RunnerState *state)
{
    free(state->directory);
    free(state->secrets);
    state->directory = state->secrets = NULL;
}

char *runner_step_path(const RunnerState *state, const char *step, const char *file)
{
    return file ? string_format("%s/steps/%s/%s", state->directory, step, file)
                : string_format("%s/steps/%s", state->directory, step);
}

char *runner_secrets_path(const RunnerState *state, const char *step)
{
    return path_join(state->secrets, step);
}

char *runner_content_path(const RunnerState *state, const uint8_t digest[static 32])
{
    char name[65];
    hex_encode(digest, 32, name);
    return string_format("%s/store/%s", state->directory, name);
}

/* Two kinds of lock: a supervisor (and who is about to start one) holds it exclusively and opened for
 * writing, so that its last close is an event (IN_CLOSE_WRITE) for followers. Who only looks takes it shared
 * and opened for reading, which makes no such event and does not disturb others who look. */
static int open_lock(const RunnerState *state, const char *step, int flags)
{
    _cleanup_free_ char *path = runner_step_path(state, step, "lock");
    int lock = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    return lock < 0 ? -errno : lock;
}

int runner_step_is_running(const RunnerState *state, const char *step)
{
    _cleanup_close_ int lock = open_lock(state, step, O_RDONLY);
    if (lock < 0)
        return lock;
    if (flock(lock, LOCK_SH | LOCK_NB) < 0)
        return errno == EAGAIN ? 1 : -errno;
    return 0;
}

int runner_step_lock(const RunnerState *state, const char *step)
{
    _cleanup_free_ char *directory = runner_step_path(state, step, NULL);
    if (access(directory, F_OK) < 0)
        return -errno;
    _cleanup_close_ int lock = open_lock(state, step, O_WRONLY | O_CREAT);
    if (lock < 0)
        return lock;
    for (unsigned attempt = 0; flock(lock, LOCK_EX | LOCK_NB) < 0; attempt++) {
        if (errno != EAGAIN)
            return -errno;
        /* Somebody who only looks is gone in a moment. */
        if (attempt == 200 || runner_step_is_running(state, step) != 0)
            return -EAGAIN;
        (void)usleep(500);
    }
    return TAKE_FD(lock);
}

/* --- journal --- */

/* Written in place, not by rename: the first sync then carries the directory's entry along on journaling file
 * systems, and the ones of the directories that follow find nothing left to do. A crash in the middle leaves
 * a file without its last line. */
static int write_journal(const RunnerState *state, const char *step, const char *name, const char *text)
{
    _cleanup_free_ char *path = runner_step_path(state, step, name);
    _cleanup_close_ int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return -errno;
    int r = write_full(file, text, strlen(text));
    if (r >= 0 && fsync(file) < 0)
        r = -errno;
    if (r >= 0)
        r = file_sync_parent(path);
    _cleanup_free_ char *directory = runner_step_path(state, step, NULL);
    return r < 0 ? r : file_sync_parent(directory);
}

int runner_done_write(const RunnerState *state, const char *step, const StepDone *done)
{
    _cleanup_buffer_ Buffer text = BUFFER_INIT_LIMIT(JOURNAL_LIMIT);
    int r = buffer_append_format(&text, "exit %d\nsignal %d\ntimed_out %d\ncancelled %d\nmessage %s\nend\n",
                                 done->exit_status, done->signal, done->is_timed_out, done->is_cancelled,
                                 done->message);
    return r < 0 ? r : write_journal(state, step, "done", buffer_string(&text));
}

int runner_done_read(const RunnerState *state, const char *step, StepDone *ret_done)
{
    _cleanup_free_ char *path = runner_step_path(state, step, "done"), *text = NULL;
    int r = file_read(path, JOURNAL_LIMIT, &text, NULL);
    if (r < 0)
        return r;
    if (!string_ends_with(text, "\nend\n"))
        return -ENOENT; /* the node went down while it was written: how the step ended is not known */
    StepDone done = {0};
    int timed_out, cancelled, position = 0;
    int count = sscanf(text, "exit %d\nsignal %d\ntimed_out %d\ncancelled %d\nmessage%n", &done.exit_status,
                       &done.signal, &timed_out, &cancelled, &position);
    if (count != 4 || position == 0)
        return -EBADMSG;
    done.is_timed_out = timed_out != 0;
    done.is_cancelled = cancelled != 0;
    const char *message = text + position + (text[position] == ' ');
    (void)string_copy(done.message, sizeof(done.message), message);
    done.message[strcspn(done.message, "\n")] = 0;
    *ret_done = done;
    return 0;
}

int runner_begun_write(const RunnerState *state, const char *step, pid_t session)
{
    char text[256];
    int r = string_print(text, sizeof(text), "boot %s\nsession %d\ntime %" PRId64 "\n", state->boot_id,
                         session, (int64_t)time(NULL));
    return r < 0 ? r : write_journal(state, step, "begun", text);
}

int runner_begun_read(const RunnerState *state, const char *step, StepBegun *ret_begun)
{
    _cleanup_free_ char *path = runner_step_path(state, step, "begun"), *text = NULL;
    int r = file_read(path, JOURNAL_LIMIT, &text, NULL);
    if (r < 0)
        return r;
    StepBegun begun = {0};
    if (sscanf(text, "boot %63s\nsession %d", begun.boot_id, &begun.session) != 2)
        return -EBADMSG;
    *ret_begun = begun;
    return 0;
}

/* --- secrets, cleaning --- */

static void overwrite_file(int directory, const char *name)
{
    static const uint8_t zeroes[4096];
    _cleanup_close_ int file = openat(directory, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    if (file < 0 || fstat(file, &status) < 0 || !S_ISREG(status.st_mode))
        return;
    for (off_t left = status.st_size; left > 0; left -= (off_t)sizeof(zeroes))
        if (write_full(file, zeroes, (size_t)MIN(left, (off_t)sizeof(zeroes))) < 0)
            return;
}

int runner_secrets_wipe(const RunnerState *state, const char *step)
{
    _cleanup_free_ char *path = runner_secrets_path(state, step);
    DIR *directory = opendir(path);
    if (!directory)
        return errno == ENOENT ? 0 : -errno;
    for (struct dirent *entry; (entry = readdir(directory));)
        if (entry->d_name[0] != '.')
            overwrite_file(dirfd(directory), entry->d_name);
    (void)closedir(directory);
    return directory_remove(path);
}

typedef void (*VisitEntry)(const RunnerState *state, const char *name);

static void visit_entries(const RunnerState *state, const char *path, VisitEntry visit)
{
    DIR *directory = opendir(path);
    if (!directory)
        return;
    unsigned count = 0;
    for (struct dirent *entry; count < CLEAN_MAX && (entry = readdir(directory)); count++)
        if (runner_step_id_is_valid(entry->d_name))
            visit(state, entry->d_name);
    (void)closedir(directory);
}

static void clean_secrets(const RunnerState *state, const char *step)
{
    if (runner_step_is_running(state, step) != 1)
        (void)runner_secrets_wipe(state, step);
}

static void clean_step(const RunnerState *state, const char *step)
{
    _cleanup_free_ char *done = runner_step_path(state, step, "done");
    struct stat status;
    if (stat(done, &status) >= 0 && time(NULL) - status.st_mtime > KEEP_SECONDS)
        (void)runner_step_forget(state, step);
}

void runner_state_clean(const RunnerState *state)
{
    visit_entries(state, state->secrets, clean_secrets);
    _cleanup_free_ char *steps = path_join(state->directory, "steps");
    visit_entries(state, steps, clean_step);
}

int runner_step_forget(const RunnerState *state, const char *step)
{
    _cleanup_close_ int lock = runner_step_lock(state, step);
    if (lock == -EAGAIN)
        return -EBUSY;
    if (lock < 0)
        return lock == -ENOENT ? 0 : lock;
    int r = runner_secrets_wipe(state, step);
    _cleanup_free_ char *path = runner_step_path(state, step, NULL);
    int removed = directory_remove(path);
    return r < 0 ? r : removed;
}

int runner_epoch_check(const RunnerState *state, const char *holder, uint64_t epoch)
{
    if (!runner_step_id_is_valid(holder))
        return -EINVAL;
    _cleanup_free_ char *path = string_format("%s/epochs/%s", state->directory, holder), *lock_path = NULL;
    lock_path = string_format("%s/epochs/.lock", state->directory);
    _cleanup_close_ int lock = open(lock_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return -errno;
    _cleanup_free_ char *text = NULL;
    uint64_t highest = 0;
    int r = file_read(path, 32, &text, NULL);
    if (r >= 0) {
        text[strcspn(text, "\n")] = 0;
        r = string_to_u64(text, UINT64_MAX, &highest);
    }
    if (r < 0 && r != -ENOENT)
        return r;
    if (epoch < highest)
        return -ESTALE;
    if (epoch == highest)
        return 0;
    char number[32];
    r = string_print(number, sizeof(number), "%" PRIu64 "\n", epoch);
    return r < 0 ? r : file_write_atomic(path, number, strlen(number), 0600);
}
