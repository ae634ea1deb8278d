/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/doctor.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/secret.h"
#include "crypto/x509.h"
#include "custody/keeper_client.h"
#include "manager/database_password.h"
#include "manager/identity.h"
#include "store/inspect.h"

enum {
    FILES_DEPTH = 4,
    STATUS_LIMIT = 64 * 1024,
    EXPIRY_DAYS = 14,
    CA_EXPIRY_DAYS = 90,
    OPEN_FILES_LEAST = 4096
};
static const Usec KEEPER_TIMEOUT = 5 * USEC_PER_SEC;

typedef struct Doctor {
    ManagerConfig *config;
    unsigned findings;
} Doctor;

static void found(Doctor *doctor, const char *where, const char *format, ...) _printf_(3, 4);

static void found(Doctor *doctor, const char *where, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    _cleanup_free_ char *text = string_format_v(format, arguments);
    va_end(arguments);
    (void)printf("%-13s %s\n", where, text);
    doctor->findings++;
}

/* Files
 * ----------------------------------------------------------------------------------------------------------------------
 */

/* forbidden: bits that nobody may have there. */
static void check_mode(Doctor *doctor, const char *path, mode_t forbidden)
{
    struct stat status;
    if (lstat(path, &status) < 0)
        return;
    if (S_ISLNK(status.st_mode))
        found(doctor, "files", "%s is a symbolic link", path);
    else if ((status.st_mode & forbidden) != 0)
        found(doctor, "files", "%s has mode %04o; chmod %04o", path, (unsigned)(status.st_mode & 07777),
              (unsigned)(status.st_mode & 07777 & ~forbidden));
    if (status.st_uid != 0 && status.st_uid != doctor->config->uid)
        found(doctor, "files", "%s belongs to another account than the manager's", path);
}

/* Everything below the manager's directory is its own: nobody else writes, and only certificates may be read.
 */
static void check_below(Doctor *doctor, const char *directory, unsigned depth)
{
    DIR *stream = opendir(directory);
    const struct dirent *entry;
    if (!stream)
        return;
    while ((entry = readdir(stream))) {
        if (string_equal(entry->d_name, ".") || string_equal(entry->d_name, ".."))
            continue;
        _cleanup_free_ char *path = path_join(directory, entry->d_name);
        bool is_public = string_ends_with(entry->d_name, ".crt");
        check_mode(doctor, path, is_public ? 022 : entry->d_type == DT_DIR ? 022 : 066);
        if (entry->d_type == DT_DIR && depth < FILES_DEPTH)
            check_below(doctor, path, depth + 1);
    }
    (void)closedir(stream);
}

static void check_files(Doctor *doctor, const char *config_path)
{
    const ManagerConfig *config = doctor->config;
    const char *const keys[] = {config->rest_key, config->internal_key};
    check_mode(doctor, config_path, 026);
    check_mode(doctor, config->directory, 077);
    check_below(doctor, config->directory, 0);
    check_mode(doctor, config->admin_socket, 077);
    for (size_t i = 0; i < ELEMENTSOF(keys); i++)
        if (keys[i])
            check_mode(doctor, keys[i], 077);
    if (config->database_password && string_starts_with(config->database_password, "file:"))
        check_mode(doctor, config->database_password + strlen("file:"), 077);
}

/* Certificates
 * ---------------------------------------------------------------------------------------------------------------
 */

static void check_life(Doctor *doctor, const char *what, const char *pem, unsigned days)
{
    _cleanup_certificate_ Certificate *certificate = NULL;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    if (certificate_from_pem(pem, strlen(pem), &certificate, NULL) < 0) {
        found(doctor, "certificates", "%s cannot be read", what);
        return;
    }
    certificate_info(certificate, &info);
    Usec now = clock_realtime(&system_clock);
    if (info.not_after <= now)
        found(doctor, "certificates", "%s has expired", what);
    else if (info.not_after - now < days * 86400ull * USEC_PER_SEC)
        found(doctor, "certificates", "%s expires within %u days", what, days);
    if (info.not_before > now)
        found(doctor, "certificates", "%s is not valid yet; is the clock right?", what);
}

static void check_certificates(Doctor *doctor)
{
    for (IdentityKind kind = 0; kind < _IDENTITY_MAX; kind++) {
        _cleanup_free_ char *pem = NULL, *what = NULL;
        what = string_format("the %s listener's certificate", identity_kind_to_string(kind));
        if (identity_read_chain(doctor->config, kind, &pem) < 0) {
            found(doctor, "certificates", "%s is missing; run bastide-manager init", what);
            continue;
        }
        /* Our own is renewed by itself with a third of its life left, which is more than this. */
        check_life(doctor, what, pem, identity_is_given(doctor->config, kind) ? EXPIRY_DAYS : 5);
    }
    _cleanup_free_ char *ca_path = identity_ca_path(doctor->config), *ca = NULL;
    size_t size;
    if (file_read(ca_path, CHAIN_LIMIT, &ca, &size) >= 0)
        check_life(doctor, "the CA certificate", ca, CA_EXPIRY_DAYS);
}

/* Keeper, database
 * -----------------------------------------------------------------------------------------------------------
 */

static void check_keeper(Doctor *doctor)
{
    _cleanup_keeper_client_ KeeperClient *keeper =
        keeper_client_new(doctor->config->keeper_socket, KEEPER_TIMEOUT);
    KeeperStatus status;
    struct stat socket;
    Error error = ERROR_INIT;
    if (stat(doctor->config->keeper_socket, &socket) == 0 && (socket.st_mode & 007) != 0)
        found(doctor, "keeper", "%s is open to everybody", doctor->config->keeper_socket);
    if (keeper_client_status(keeper, &status, &error) < 0) {
        found(doctor, "keeper", "it does not answer: %s", error.text);
        return;
    }
    if (status.state != KEEPER_STATE_OPEN)
        found(doctor, "keeper", "it is %s; bastide-keeper unseal", keeper_state_to_string(status.state));
    if (status.is_rotating)
        found(doctor, "keeper",
              "a rotation of the master key was begun and not finished; bastide-keeper rotate-master");
}

static void database_finding(void *context, const char *text)
{
    found(context, "database", "%s", text);
}

static void check_database(Doctor *doctor)
{
    Error error = ERROR_INIT;
    if (!string_starts_with(doctor->config->database, "postgresql:"))
        return; /* a file, looked at above */
    if (database_password_apply(doctor->config, &error) < 0 ||
        store_inspect(doctor->config->database, &system_clock, database_finding, doctor, &error) < 0)
        found(doctor, "database", "%s", error.text);
}

/* The running program
 * --------------------------------------------------------------------------------------------------------
 */

/* The soft limit of a line like "Max open files   1024   4096   files"; -1 = unlimited or not there. */
static int64_t limit_of(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    int64_t value = -1;
    if (!line)
        return -1;
    line += strlen(name);
    line += strspn(line, " ");
    _cleanup_free_ char *word = string_duplicate_n(line, strcspn(line, " \n"));
    (void)string_to_i64(word, 0, INT64_MAX, &value);
    return value;
}

static void check_process(Doctor *doctor, const char *number)
{
    _cleanup_free_ char *limits_path = string_format("/proc/%s/limits", number), *limits = NULL,
                        *status_path = string_format("/proc/%s/status", number), *status = NULL;
    size_t size;
    if (file_read(limits_path, STATUS_LIMIT, &limits, &size) < 0 ||
        file_read(status_path, STATUS_LIMIT, &status, &size) < 0)
        return;
    int64_t files = limit_of(limits, "Max open files");
    if (files >= 0 && files < OPEN_FILES_LEAST)
        found(doctor, "limits", "the manager may open %lld files; set LimitNOFILE=%d or more",
              (long long)files, OPEN_FILES_LEAST);
    if (!strstr(status, "\nNoNewPrivs:\t1"))
        found(doctor, "limits", "the manager runs without no_new_privs");
}

/* The manager of this configuration: by name and account. */
static void check_processes(Doctor *doctor)
{
    DIR *stream = opendir("/proc");
    const struct dirent *entry;
    if (!stream)
        return;
    while ((entry = readdir(stream))) {
        if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
            continue;
        _cleanup_free_ char *path = string_format("/proc/%s/status", entry->d_name), *text = NULL,
                            *uid =
                                string_format("\nUid:\t%u\t%u\t", doctor->config->uid, doctor->config->uid);
        size_t size;
        if (file_read(path, STATUS_LIMIT, &text, &size) >= 0 &&
            string_starts_with(text, "Name:\tbastide-manager\n") && strstr(text, uid))
            check_process(doctor, entry->d_name);
    }
    (void)closedir(stream);
}

int doctor_examine(ManagerConfig *config, const char *config_path, unsigned *ret_findings, Error *error)
{
    Doctor doctor = {.config = config};
    check_files(&doctor, config_path);
    check_certificates(&doctor);
    check_processes(&doctor);
    check_keeper(&doctor);
    /* The database is asked as the manager would ask, with its password. */
    int r = manager_become_user(config, error);
    if (r < 0)
        return r;
    check_database(&doctor);
    if (doctor.findings == 0)
        (void)puts("Nothing was found.");
    *ret_findings = doctor.findings;
    return 0;
}
