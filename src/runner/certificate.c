/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "runner/processes.h"
#include "runner/protocol.h"

enum { OPENSSL_TIMEOUT_MS = 30 * 1000, PEM_LIMIT = 16 * 1024, PASSWD_LIMIT = 4 * 1024 * 1024 };

static int refuse(char text[static 1200], int error, const char *why)
{
    (void)string_copy(text, 1200, why);
    return error;
}

static bool path_is_acceptable(const char *path)
{
    static const char *const refused[] = {"/proc/", "/sys/", "/dev/"};
    if (path[0] != '/' || !path_is_safe_relative(path + 1))
        return false;
    for (size_t i = 0; i < ELEMENTSOF(refused); i++)
        if (string_starts_with(path, refused[i]))
            return false;
    return true;
}

/* Letters, digits and what names need: nothing that means something to the subject syntax. */
static bool common_name_is_valid(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_*:@ ";
    size_t length = strlen(name);
    return length > 0 && length <= 64 && strspn(name, allowed) == length;
}

/* Reads the user file itself: the name services cannot be linked statically. */
static int find_owner(const char *owner, uid_t *ret_user, gid_t *ret_group)
{
    _cleanup_free_ char *text = NULL;
    int r = file_read("/etc/passwd", PASSWD_LIMIT, &text, NULL);
    if (r < 0)
        return r;
    size_t length = strlen(owner);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        unsigned user, group;
        if (strncmp(line, owner, length) != 0 || line[length] != ':')
            continue;
        const char *password_end = strpbrk(line + length + 1, ":\n");
        if (!password_end || sscanf(password_end, ":%u:%u", &user, &group) != 2)
            return -EBADMSG;
        *ret_user = user;
        *ret_group = group;
        return 0;
    }
    return -ENOENT;
}

static int check_place(const CertificatePlace *place, uid_t *ret_user, gid_t *ret_group,
                       char text[static 1200])
{
    if (!path_is_acceptable(place->key_path))
        return refuse(text, -EINVAL, "the path of the key must be absolute and without \"..\"");
    if (place->certificate_path && !path_is_acceptable(place->certificate_path))
        return refuse(text, -EINVAL, "the path of the certificate must be absolute and without \"..\"");
    if (place->ca_path && !path_is_acceptable(place->ca_path))
        return refuse(text, -EINVAL, "the path of the CA must be absolute and without \"..\"");
    *ret_user = geteuid();
    *ret_group = getegid();
    if (place->owner && find_owner(place->owner, ret_user, ret_group) < 0)
        return refuse(text, -ENOENT, "the owner of the key is not a user of this node");
    return 0;
}

static int openssl(const char *const *arguments, const char *input, char **ret_output, char text[static 1200])
{
    char error[1024];
    Command command = {.arguments = arguments,
                       .input = input,
                       .input_size = input ? strlen(input) : 0,
                       .output_limit = PEM_LIMIT,
                       .timeout_ms = OPENSSL_TIMEOUT_MS};
    int r = command_run(&command, ret_output, error);
    if (r == 127)
        return refuse(text, -ENOENT, "there is no /usr/bin/openssl on this node");
    if (r > 0)
        (void)string_print(text, 1200, "openssl %s failed: %s", arguments[1], error);
    else if (r < 0)
        (void)string_print(text, 1200, "openssl %s: %s", arguments[1], strerror(-r));
    return r > 0 ? -EINVAL : r;
}

static int make_parent(const char *path)
{
    _cleanup_free_ char *parent = string_duplicate(path);
    char *slash = strrchr(parent, '/');
    if (slash == parent)
        return 0;
    *slash = 0;
    return directory_make(parent, 0755);
}

/* The key appears under its name only when it is whole and its owner is set. */
static int make_pending_key(const char *pending, uid_t user, gid_t group, char text[static 1200])
{
    static const char *const arguments[] = {
        "/usr/bin/openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", NULL};
    char *pem = NULL;
    int r = make_parent(pending);
    if (r < 0)
        return refuse(text, r, "the directory of the key cannot be made");
    r = openssl(arguments, NULL, &pem, text);
    if (r < 0)
        return r;
    _cleanup_free_ char *temporary = string_format("%s.new", pending);
    (void)unlink(temporary);
    _cleanup_close_ int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    r = file < 0 ? -errno : write_full(file, pem, strlen(pem));
    explicit_bzero(pem, strlen(pem));
    free(pem);
    if (r >= 0 && (fchown(file, user, group) < 0 || fsync(file) < 0 || rename(temporary, pending) < 0))
        r = -errno;
    if (r >= 0)
        r = file_sync_parent(pending);
    return r < 0 ? refuse(text, r, "the key cannot be written") : 0;
}

int certificate_make_csr(const CertificatePlace *place, const char *common_name, char **ret_pem,
                         char ret_text[static 1200])
{
    ret_text[0] = 0;
    uid_t user;
    gid_t group;
    int r = check_place(place, &user, &group, ret_text);
    if (r < 0)
        return r;
    if (!common_name_is_valid(common_name))
        return refuse(ret_text, -EINVAL, "the common name has characters that it may not have");
    _cleanup_free_ char *pending = string_format("%s.pending", place->key_path);
    if (access(pending, F_OK) < 0)
        r = make_pending_key(pending, user, group, ret_text);
    if (r < 0)
        return r;
    _cleanup_free_ char *subject = string_format("/CN=%s", common_name);
    const char *arguments[] = {"/usr/bin/openssl",
                               "req",
                               "-new",
                               "-sha256",
                               "-config",
                               "/dev/null",
                               "-key",
                               pending,
                               "-subj",
                               subject,
                               NULL};
    return openssl(arguments, NULL, ret_pem, ret_text);
}

static int public_of_key(const char *path, char **ret_pem, char text[static 1200])
{
    const char *arguments[] = {"/usr/bin/openssl", "pkey", "-in", path, "-pubout", NULL};
    return openssl(arguments, NULL, ret_pem, text);
}

static bool chain_is_of_key(const char *chain, const char *key_path, char text[static 1200])
{
    static const char *const arguments[] = {"/usr/bin/openssl", "x509", "-noout", "-pubkey", NULL};
    _cleanup_free_ char *of_chain = NULL, *of_key = NULL;
    return openssl(arguments, chain, &of_chain, text) >= 0 && public_of_key(key_path, &of_key, text) >= 0 &&
           string_equal(of_chain, of_key);
}

static int write_public(const char *path, const char *pem)
{
    int r = make_parent(path);
    return r < 0 ? r : file_write_atomic(path, pem, strlen(pem), 0644);
}

int certificate_install(const CertificatePlace *place, const char *chain, const char *ca,
                        char ret_text[static 1200])
{
    ret_text[0] = 0;
    uid_t user;
    gid_t group;
    int r = check_place(place, &user, &group, ret_text);
    if (r < 0)
        return r;
    _cleanup_free_ char *pending = string_format("%s.pending", place->key_path);
    bool is_pending = access(pending, F_OK) == 0;
    /* Without a pending key this is a repetition: the key in place must be the one. */
    if (!chain_is_of_key(chain, is_pending ? pending : place->key_path, ret_text))
        return refuse(ret_text, -EBADMSG, "the certificate is not for the key that this node made");
    if (ca && place->ca_path && write_public(place->ca_path, ca) < 0)
        return refuse(ret_text, -EIO, "the CA cannot be written");
    /* Key first: the service is told to reload only after both. */
    if (is_pending && rename(pending, place->key_path) < 0)
        return refuse(ret_text, -errno, "the key cannot be moved to its place");
    r = write_public(place->certificate_path, chain);
    if (r < 0)
        return refuse(ret_text, r, "the certificate cannot be written");
    r = file_sync_parent(place->key_path);
    return r < 0 ? refuse(ret_text, r, "the directory of the key cannot be synced") : 0;
}
