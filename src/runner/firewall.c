/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/firewall.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "runner/processes.h"
#include "runner/protocol.h"

enum { SAVED_LIMIT = 4 * 1024 * 1024, NFT_TIMEOUT_MS = 30 * 1000, DEPTH_MAX = 16 };

/* Makes the table exist and takes it away again, so that what follows starts from nothing in the same
 * transaction. */
static const char clear_table[] = "table inet bastide\ndelete table inet bastide\n";

/* --- what a ruleset may say --- */

static bool statement_is_allowed(const char *text, size_t length)
{
    static const char *const allowed[] = {"table inet bastide", "add table inet bastide",
                                          "flush table inet bastide", "delete table inet bastide",
                                          "destroy table inet bastide"};
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    if (length == 0)
        return true;
    for (size_t i = 0; i < ELEMENTSOF(allowed); i++)
        if (strlen(allowed[i]) == length && strncmp(text, allowed[i], length) == 0)
            return true;
    return false;
}

/* nft takes includes anywhere, also inside of a table. */
static bool has_include(const char *ruleset)
{
    for (const char *p = ruleset; (p = strstr(p, "include")); p++)
        if (p[strlen("include")] == '"' || isspace((unsigned char)p[strlen("include")]))
            return true;
    return false;
}

bool firewall_is_confined(const char *ruleset)
{
    if (has_include(ruleset))
        return false;
    unsigned depth = 0;
    char statement[64]; /* the words outside of braces, blanks folded */
    size_t length = 0;
    for (const char *p = ruleset;; p++) {
        if (*p == '#')
            p += strcspn(p, "\n");
        if (*p == '"') {
            p = strchr(p + 1, '"');
            if (!p || depth == 0)
                return false;
            continue;
        }
        bool is_end = *p == 0 || *p == '\n' || *p == ';' || *p == '{';
        if (depth == 0 && is_end) {
            if (!statement_is_allowed(statement, length) || (*p == '{' && length == 0))
                return false;
            length = 0;
        } else if (depth == 0 && *p != '}') {
            bool is_blank = isspace((unsigned char)*p);
            if (length >= sizeof(statement) || *p == '\\')
                return false;
            if (!is_blank || (length > 0 && statement[length - 1] != ' '))
                statement[length++] = is_blank ? ' ' : *p;
        }
        if (*p == 0)
            return depth == 0;
        if (*p == '{' && ++depth > DEPTH_MAX)
            return false;
        if (*p == '}' && depth-- == 0)
            return false;
    }
}

/* --- nft --- */

static const char *nft_path(void)
{
    static const char *const paths[] = {"/usr/sbin/nft", "/sbin/nft"};
    for (size_t i = 0; i < ELEMENTSOF(paths); i++)
        if (access(paths[i], X_OK) == 0)
            return paths[i];
    return NULL;
}

static int nft_load(const char *text, size_t size, char ret_error[static 1024])
{
    const char *arguments[] = {nft_path(), "-f", "-", NULL};
    if (!arguments[0]) {
        (void)string_copy(ret_error, 1024, "there is no nft program on this node");
        return -ENOENT;
    }
    Command command = {.arguments = arguments,
                       .input = text,
                       .input_size = size,
                       .output_limit = 64 * 1024,
                       .timeout_ms = NFT_TIMEOUT_MS};
    int r = command_run(&command, NULL, ret_error);
    return r > 0 ? -EINVAL : r;
}

/* The present table as text that restores it; only the clearing when there is none. */
static int nft_save(Buffer *saved)
{
    const char *arguments[] = {nft_path(), "-s", "list", "table", "inet", "bastide", NULL};
    if (!arguments[0])
        return -ENOENT;
    _cleanup_free_ char *text = NULL;
    char error[1024];
    Command command = {.arguments = arguments, .output_limit = SAVED_LIMIT, .timeout_ms = NFT_TIMEOUT_MS};
    int r = command_run(&command, &text, error);
    if (r < 0)
        return r;
    int appended = buffer_append_string(saved, clear_table);
    if (appended >= 0 && r == 0)
        appended = buffer_append_string(saved, text);
    return appended;
}

/* --- pending change: "token connection" in firewall/pending, below a lock --- */

static char *firewall_path(const RunnerState *state, const char *name)
{
    return string_format("%s/firewall/%s", state->directory, name);
}

static int lock_firewall(const RunnerState *state)
{
    _cleanup_free_ char *path = firewall_path(state, "lock");
    _cleanup_close_ int lock = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return -errno;
    return TAKE_FD(lock);
}

static int read_pending(const RunnerState *state, char token[static FIREWALL_TOKEN_SIZE],
                        char connection[static 33])
{
    _cleanup_free_ char *path = firewall_path(state, "pending"), *text = NULL;
    int r = file_read(path, 256, &text, NULL);
    if (r < 0)
        return r;
    return sscanf(text, "%32s %32s", token, connection) == 2 ? 0 : -EBADMSG;
}

static int revert(const RunnerState *state)
{
    _cleanup_free_ char *path = firewall_path(state, "previous"), *text = NULL;
    size_t size;
    int r = file_read(path, SAVED_LIMIT + 1024, &text, &size);
    if (r < 0)
        return r;
    char error[1024];
    return nft_load(text, size, error);
}

static int forget_pending(const RunnerState *state)
{
    _cleanup_free_ char *path = firewall_path(state, "pending");
    if (unlink(path) < 0)
        return -errno;
    return file_sync_parent(path);
}

/* The detached timer. */
_noreturn_ static void wait_and_revert(const RunnerState *state, const char *token, uint32_t seconds)
{
    process_detach(-1);
    (void)signal(SIGHUP, SIG_IGN);
    unsigned left = seconds;
    while (left > 0)
        left = sleep(left);
    char pending[FIREWALL_TOKEN_SIZE], connection[33];
    int lock = lock_firewall(state);
    if (lock >= 0 && read_pending(state, pending, connection) >= 0 && string_equal(pending, token)) {
        for (unsigned attempt = 0; attempt < 10 && revert(state) < 0; attempt++)
            (void)sleep(1);
        (void)forget_pending(state);
    }
    _exit(0);
}

static int start_timer(const RunnerState *state, const char *token, uint32_t seconds)
{
    pid_t pid = fork();
    if (pid == 0)
        wait_and_revert(state, token, seconds);
    return pid < 0 ? -errno : 0;
}

static int write_pending(const RunnerState *state, const char *token, const Buffer *saved)
{
    _cleanup_free_ char *previous = firewall_path(state, "previous"),
                        *pending = firewall_path(state, "pending");
    int r = file_write_atomic(previous, saved->data, saved->size, 0600);
    if (r < 0)
        return r;
    char text[128];
    r = string_print(text, sizeof(text), "%s %s\n", token, state->connection);
    return r < 0 ? r : file_write_atomic(pending, text, strlen(text), 0600);
}

/* The table to go back to: a change that still waits for its confirmation is not one. */
static int save_previous(const RunnerState *state, Buffer *saved)
{
    char pending[FIREWALL_TOKEN_SIZE], connection[33];
    if (read_pending(state, pending, connection) < 0)
        return nft_save(saved);
    _cleanup_free_ char *path = firewall_path(state, "previous"), *text = NULL;
    size_t size;
    int r = file_read(path, SAVED_LIMIT + 1024, &text, &size);
    return r < 0 ? r : buffer_append(saved, text, size);
}

int firewall_apply(const RunnerState *state, const char *ruleset, uint32_t confirm_seconds,
                   char ret_token[static FIREWALL_TOKEN_SIZE], char ret_text[static 1200])
{
    ret_text[0] = 0;
    if (confirm_seconds == 0 || confirm_seconds > FIREWALL_CONFIRM_SECONDS_MAX) {
        (void)string_print(ret_text, 1200, "the time to confirm must be 1 to %d seconds",
                           FIREWALL_CONFIRM_SECONDS_MAX);
        return -EINVAL;
    }
    if (!firewall_is_confined(ruleset)) {
        (void)string_copy(ret_text, 1200, "the ruleset names something else than the table \"inet bastide\"");
        return -EINVAL;
    }
    uint8_t random[16];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    hex_encode(random, sizeof(random), ret_token);
    _cleanup_close_ int lock = lock_firewall(state);
    if (lock < 0)
        return lock;
    _cleanup_buffer_ Buffer saved = BUFFER_INIT_LIMIT(SAVED_LIMIT + 1024),
                            text = BUFFER_INIT_LIMIT(RUNNER_RULESET_MAX + 1024);
    int r = save_previous(state, &saved);
    if (r >= 0)
        r = write_pending(state, ret_token, &saved);
    /* The timer runs before the rules change: whatever happens after, they come back. */
    if (r >= 0)
        r = start_timer(state, ret_token, confirm_seconds);
    if (r >= 0 && (buffer_append_string(&text, clear_table) < 0 || buffer_append_string(&text, ruleset) < 0 ||
                   buffer_append_byte(&text, '\n') < 0))
        r = -E2BIG;
    char error[1024] = "";
    if (r >= 0)
        r = nft_load((const char *)text.data, text.size, error);
    if (r < 0) {
        (void)string_print(ret_text, 1200, "nft refused the ruleset: %s", error[0] ? error : strerror(-r));
        (void)forget_pending(state);
    }
    return r;
}

int firewall_confirm(const RunnerState *state, const char *token)
{
    char pending[FIREWALL_TOKEN_SIZE], connection[33];
    _cleanup_close_ int lock = lock_firewall(state);
    if (lock < 0)
        return lock;
    int r = read_pending(state, pending, connection);
    if (r == -ENOENT || (r >= 0 && !string_equal(pending, token)))
        return -ESTALE;
    if (r < 0)
        return r;
    if (string_equal(connection, state->connection))
        return -EPERM;
    return forget_pending(state);
}
