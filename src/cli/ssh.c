/* SPDX-License-Identifier: Apache-2.0 */
/* nodes ssh: a key for one connection, in a private folder that goes when ssh ends. */

#include "crypto/ssh.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/string.h"
#include "cli/nodes.h"
#include "crypto/x509.h"

enum { ARGUMENTS_MAX = 128, HOST_KEYS_MAX = 8, EXIT_NO_PROGRAM = 127, EXIT_SIGNAL = 128 };

typedef struct SshSession {
    char *directory, *key_file, *certificate_file, *hosts_file;
    json_t *answer;
    const char *hostname, *user;
    char address[46];
    int64_t port;
} SshSession;

static void session_done(SshSession *session)
{
    if (session->directory)
        (void)directory_remove(session->directory);
    free(session->directory);
    free(session->key_file);
    free(session->certificate_file);
    free(session->hosts_file);
    json_decref(session->answer);
}
#define _cleanup_ssh_session_ _cleanup_(session_done)

/* In memory where there is such a folder; ssh's options are separated by blanks, so none may be in the path.
 */
static int make_directory(SshSession *session, Error *error)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    const char *const places[] = {runtime, "/dev/shm", "/tmp"};
    for (size_t i = 0; i < ELEMENTSOF(places); i++) {
        if (!places[i] || places[i][0] != '/' || strpbrk(places[i], " \t\"'%$\\"))
            continue;
        _cleanup_free_ char *path = path_join(places[i], "bastide-ssh-XXXXXX");
        if (!mkdtemp(path)) /* 0700 */
            continue;
        session->directory = TAKE_PTR(path);
        session->key_file = path_join(session->directory, "key");
        session->certificate_file = path_join(session->directory, "key-cert.pub");
        session->hosts_file = path_join(session->directory, "known_hosts");
        return 0;
    }
    return error_set_errno(error, ERROR_IO, errno, "no private folder can be made");
}

/* Writes the private key; the public one as a line, owned. */
static int make_key(const SshSession *session, char **ret_line, Error *error)
{
    _cleanup_secret_ Secret *seed = NULL, *text = NULL;
    _cleanup_buffer_ Buffer blob = BUFFER_INIT;
    uint8_t public_key[SIGN_PUBLIC_SIZE];
    int r = sign_generate(&seed, public_key);
    if (r >= 0)
        r = ssh_private_key_format(seed, "bastide", &text);
    if (r >= 0)
        r = file_write_new(session->key_file, secret_bytes(text), secret_size(text), 0600);
    if (r >= 0)
        r = ssh_key_from_ed25519(public_key, &blob);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot make a key");
    *ret_line = ssh_key_format_line(blob.data, blob.size, "bastide");
    return *ret_line ? 0 : error_set(error, ERROR_INTERNAL, "cannot make a key");
}

/* What comes from the manager becomes arguments and files: each piece must be just what it says it is. */
static int read_answer(SshSession *session, Error *error)
{
    const json_t *answer = session->answer;
    const char *address = json_text_at(answer, "addresses.access_v4");
    IpAddress parsed;
    session->hostname = json_text_at(answer, "hostname");
    session->user = json_text_at(answer, "user");
    session->port = json_number_at(answer, "port");
    if (!*address)
        address = json_text_at(answer, "addresses.access_v6");
    if (!*address)
        return error_set(error, ERROR_CONFLICT, "the node has no address yet");
    bool is_user_good = identifier_is_valid(session->user) && strlen(session->user) <= 32;
    if (ip_address_parse(address, &parsed) < 0 || !hostname_is_valid(session->hostname) || !is_user_good ||
        session->port < 1 || session->port > 65535)
        return error_set(error, ERROR_PROTOCOL, "the manager's answer does not describe a way to the node");
    ip_address_format(&parsed, session->address);
    return 0;
}

static int write_hosts(const SshSession *session, Error *error)
{
    _cleanup_buffer_ Buffer lines = BUFFER_INIT;
    const json_t *keys = json_object_get(session->answer, "host_keys");
    for (size_t i = 0; i < json_array_size(keys) && i < HOST_KEYS_MAX; i++) {
        _cleanup_buffer_ Buffer blob = BUFFER_INIT;
        const char *key = json_string_value(json_array_get(keys, i));
        if (!key || ssh_key_parse_line(key, strlen(key), &blob, error) < 0)
            return error_set(error, ERROR_PROTOCOL, "the manager sent a host key that is none");
        _cleanup_free_ char *line = ssh_key_format_line(blob.data, blob.size, NULL);
        (void)buffer_append_format(&lines, "%s %s\n", session->hostname, line);
    }
    if (lines.size == 0)
        return error_set(error, ERROR_UNTRUSTED,
                         "the manager knows no host key of the node; it cannot be trusted");
    int r = file_write_new(session->hosts_file, lines.data, lines.size, 0600);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write %s", session->hosts_file) : 0;
}

static int write_certificate(const SshSession *session, Error *error)
{
    const char *certificate = json_text_at(session->answer, "certificate");
    if (!string_starts_with(certificate, "ssh-ed25519-cert-v01@openssh.com ") ||
        string_has_control(certificate, strlen(certificate), NULL) || strlen(certificate) > 16384)
        return error_set(error, ERROR_PROTOCOL, "the manager sent no certificate");
    _cleanup_free_ char *line = string_format("%s\n", certificate);
    int r = file_write_new(session->certificate_file, line, strlen(line), 0600);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write %s", session->certificate_file) : 0;
}

/* Running ----------------------------------------------------------------------------------- */

static const char *const ssh_settings[] = {
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=none",
    "UpdateHostKeys=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "GSSAPIAuthentication=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "CheckHostIP=no",
    "ControlMaster=no",
    "ControlPath=none",
    "ConnectTimeout=15",
    "ServerAliveInterval=30",
    "LogLevel=ERROR",
};

static void make_arguments(const SshSession *session, const ParsedOptions *options, StringList *list)
{
    const char *const files[][2] = {{"UserKnownHostsFile", session->hosts_file},
                                    {"IdentityFile", session->key_file},
                                    {"CertificateFile", session->certificate_file},
                                    {"HostKeyAlias", session->hostname}};
    string_list_append(list, "ssh");
    string_list_append(list, "-F");
    string_list_append(list, "none");
    for (size_t i = 0; i < ELEMENTSOF(ssh_settings); i++) {
        string_list_append(list, "-o");
        string_list_append(list, ssh_settings[i]);
    }
    for (size_t i = 0; i < ELEMENTSOF(files); i++) {
        _cleanup_free_ char *setting = string_format("%s=%s", files[i][0], files[i][1]);
        string_list_append(list, "-o");
        string_list_append(list, setting);
    }
    _cleanup_free_ char *port = string_format("%lld", (long long)session->port);
    string_list_append(list, "-p");
    string_list_append(list, port);
    string_list_append(list, "-l");
    string_list_append(list, session->user);
    string_list_append(list, "--");
    string_list_append(list, session->address);
    for (int i = 1; i < options_argument_count(options); i++)
        string_list_append(list, options_argument(options, i));
}

static pid_t child;

static void pass_on(int number)
{
    if (child > 0)
        (void)kill(child, number);
}

_noreturn_ static void be_ssh(const StringList *arguments)
{
    static const int signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < ELEMENTSOF(signals); i++)
        (void)signal(signals[i], SIG_DFL);
    (void)execvp("ssh", arguments->items);
    static const char text[] = "bastide: nodes ssh: there is no program 'ssh' (Debian: openssh-client)\n";
    (void)write_full(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(EXIT_NO_PROGRAM);
}

/* ssh's exit status. Ctrl-C is for ssh; what ends us ends ssh first, so that the key goes in every case. */
static int run_ssh(StringList *arguments, Error *error)
{
    int status = 0;
    struct sigaction action = {.sa_handler = pass_on};
    arguments->items = memory_resize_array(arguments->items, arguments->count + 1, sizeof(char *));
    arguments->items[arguments->count] = NULL;
    (void)fflush(NULL);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGQUIT, SIG_IGN);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    child = fork();
    if (child < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot start ssh");
    if (child == 0)
        be_ssh(arguments);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    child = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL + WTERMSIG(status);
}

int node_ssh(Cli *cli, Error *error)
{
    _cleanup_ssh_session_ SshSession session = {0};
    _cleanup_json_ json_t *node = NULL;
    _cleanup_free_ char *public_line = NULL;
    _cleanup_string_list_ StringList arguments = {0};
    if (options_argument_count(cli->options) > ARGUMENTS_MAX)
        return error_set(error, ERROR_TOO_LARGE, "the command has too many words");
    int r = node_find(cli, cli_argument(cli, 0), &node, error);
    if (r >= 0)
        r = make_directory(&session, error);
    if (r >= 0)
        r = make_key(&session, &public_line, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = cli_path("/nodes/%s/ssh-certificate", json_text_at(node, "id"));
    _cleanup_json_ json_t *body = json_pack("{s:s}", "public_key", public_line);
    r = cli_request(cli, "POST", path, body, &session.answer, error);
    if (r >= 0)
        r = read_answer(&session, error);
    if (r >= 0)
        r = write_hosts(&session, error);
    if (r >= 0)
        r = write_certificate(&session, error);
    if (r < 0)
        return r;
    make_arguments(&session, cli->options, &arguments);
    return run_ssh(&arguments, error);
}
