/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "cli/text.h"

enum { ANSWER_MAX = 4096 };

static struct {
    bool is_live, has_colour[3];
} terminal;

static const char *const styles[_STYLE_MAX] = {
    [STYLE_PLAIN] = "",         [STYLE_STRONG] = "\033[1m", [STYLE_FAINT] = "\033[2m",
    [STYLE_GOOD] = "\033[32m",  [STYLE_BUSY] = "\033[36m",  [STYLE_WARNING] = "\033[33m",
    [STYLE_BAD] = "\033[1;31m",
};

void terminal_start(void)
{
    const char *kind = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    bool is_capable = !string_is_empty(kind) && !string_equal(kind, "dumb");
    bool is_output_terminal = isatty(STDOUT_FILENO);
    terminal.is_live = is_capable && is_output_terminal;
    for (int descriptor = STDOUT_FILENO; descriptor <= STDERR_FILENO; descriptor++)
        terminal.has_colour[descriptor] = is_capable && string_is_empty(no_colour) && isatty(descriptor);
    (void)setlocale(LC_CTYPE, "");
    /* What is not shown here is for programs, which read UTF-8. */
    bool is_terminal = is_output_terminal || isatty(STDERR_FILENO);
    text_set_unicode(!is_terminal || string_equal(nl_langinfo(CODESET), "UTF-8"));
}

bool terminal_is_live(void)
{
    return terminal.is_live;
}

bool terminal_has_colour(FILE *stream)
{
    int descriptor = fileno(stream);
    return descriptor >= 0 && descriptor < (int)ELEMENTSOF(terminal.has_colour) &&
           terminal.has_colour[descriptor];
}

unsigned terminal_width(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO))
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

unsigned terminal_height(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO))
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

const char *style_text(Style style, bool with_colour)
{
    return with_colour ? styles[style] : "";
}

const char *style_begin(FILE *stream, Style style)
{
    return style_text(style, terminal_has_colour(stream));
}

const char *style_end(FILE *stream)
{
    return terminal_has_colour(stream) ? "\033[0m" : "";
}

/* Questions --------------------------------------------------------------------------------- */

/* A terminal whose echo is off must not stay so when the person gives up. */
static struct {
    int descriptor;
    struct termios before;
} quiet = {.descriptor = -1};

static void restore_and_die(int number)
{
    if (quiet.descriptor >= 0)
        (void)tcsetattr(quiet.descriptor, TCSAFLUSH, &quiet.before);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void echo_off(int descriptor, struct sigaction before[static ELEMENTSOF(ending_signals)])
{
    struct sigaction action = {.sa_handler = restore_and_die};
    if (tcgetattr(descriptor, &quiet.before) == 0) {
        quiet.descriptor = descriptor;
        struct termios silent = quiet.before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        for (size_t i = 0; i < ELEMENTSOF(ending_signals); i++)
            (void)sigaction(ending_signals[i], &action, &before[i]);
        (void)tcsetattr(descriptor, TCSAFLUSH, &silent);
    }
}

static void echo_on(const struct sigaction before[static ELEMENTSOF(ending_signals)])
{
    if (quiet.descriptor < 0)
        return;
    (void)tcsetattr(quiet.descriptor, TCSAFLUSH, &quiet.before);
    (void)write_full(quiet.descriptor, "\n", 1);
    quiet.descriptor = -1;
    for (size_t i = 0; i < ELEMENTSOF(ending_signals); i++)
        (void)sigaction(ending_signals[i], &before[i], NULL);
}

/* Up to the end of the line, without it; the buffer's size or a negative errno. */
static ssize_t read_line(int descriptor, char line[static ANSWER_MAX])
{
    size_t size = 0;
    while (size < ANSWER_MAX) {
        ssize_t r = read(descriptor, line + size, 1);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0 && size == 0)
            return -ENODATA;
        if (r == 0 || line[size] == '\n')
            break;
        size++;
    }
    if (size == ANSWER_MAX)
        return -E2BIG;
    if (size > 0 && line[size - 1] == '\r')
        size--;
    line[size] = '\0';
    return (ssize_t)size;
}

static int open_terminal(Error *error)
{
    int descriptor = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0)
        return error_set(error, ERROR_BAD_REQUEST,
                         "there is no terminal to ask on; give what is needed as options (see --help)");
    return descriptor;
}

static int ask(const char *question, bool is_secret, char line[static ANSWER_MAX], Error *error)
{
    struct sigaction before[ELEMENTSOF(ending_signals)] = {0};
    int opened = open_terminal(error);
    if (opened < 0)
        return opened;
    _cleanup_close_ int descriptor = opened;
    if (is_secret)
        echo_off(descriptor, before);
    _cleanup_free_ char *safe = text_safe(question);
    (void)write_full(descriptor, safe, strlen(safe));
    ssize_t size = read_line(descriptor, line);
    if (is_secret)
        echo_on(before);
    if (size < 0)
        return error_set(error, ERROR_CANCELLED, "nothing was entered");
    return (int)size;
}

int terminal_ask_secret(const char *question, Secret **ret_secret, Error *error)
{
    char line[ANSWER_MAX];
    int size = ask(question, true, line, error);
    if (size < 0)
        return size;
    *ret_secret = secret_new(line, (size_t)size);
    memory_wipe(line, sizeof(line));
    return *ret_secret ? 0 : error_set(error, ERROR_INTERNAL, "there is no locked memory for a secret");
}

int terminal_ask(const char *question, char **ret_answer, Error *error)
{
    char line[ANSWER_MAX];
    int size = ask(question, false, line, error);
    if (size < 0)
        return size;
    *ret_answer = string_duplicate(line);
    return 0;
}

int terminal_confirm(const char *question, const char *way_out, Error *error)
{
    char line[ANSWER_MAX];
    if (!isatty(STDIN_FILENO))
        return error_set(error, ERROR_CANCELLED, "not confirmed: there is no terminal to ask on; %s",
                         way_out);
    int size = ask(question, false, line, error);
    if (size < 0)
        return size;
    return string_equal(line, "yes") ? 0
                                     : error_set(error, ERROR_CANCELLED, "not confirmed: nothing was done");
}

int stdin_secret(Secret **ret_secret, Error *error)
{
    char line[ANSWER_MAX];
    ssize_t size = read_line(STDIN_FILENO, line);
    if (size <= 0)
        return error_set(error, ERROR_BAD_REQUEST,
                         size == -E2BIG ? "the line on standard input is too long"
                                        : "standard input has no line with the secret");
    *ret_secret = secret_new(line, (size_t)size);
    memory_wipe(line, sizeof(line));
    return *ret_secret ? 0 : error_set(error, ERROR_INTERNAL, "there is no locked memory for a secret");
}
