/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/password_prompt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

static int read_line(char line[static LINE_MAX_BYTES + 1], size_t *ret_length)
{
    *ret_length = 0;
    for (;;) {
        char byte;
        ssize_t count = read(STDIN_FILENO, &byte, 1);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        if (count == 0 || byte == '\n')
            break;
        if (*ret_length >= LINE_MAX_BYTES)
            return -E2BIG;
        line[(*ret_length)++] = byte;
    }
    while (*ret_length > 0 && line[*ret_length - 1] == '\r')
        --*ret_length;
    return 0;
}

int password_prompt(const char *question, Secret **ret_password, Error *error)
{
    struct termios before, silent;
    bool is_terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    char line[LINE_MAX_BYTES + 1];
    size_t length;
    if (is_terminal) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        (void)fputs(question, stderr);
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    int r = read_line(line, &length);
    if (is_terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        (void)fputc('\n', stderr);
    }
    if (r >= 0 && length > 0)
        *ret_password = secret_new(line, length);
    memory_wipe(line, sizeof(line));
    if (r < 0)
        return error_set_errno(error, ERROR_BAD_REQUEST, -r, "Reading the password");
    return length == 0     ? error_set(error, ERROR_BAD_REQUEST, "There is no password on standard input.")
           : *ret_password ? 0
                           : error_set(error, ERROR_INTERNAL, "There is no guarded memory for a password.");
}
