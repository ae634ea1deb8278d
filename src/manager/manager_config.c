/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/manager_config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/file.h"

#define KEY(section_, key_, type_, member_, default_, minimum_, maximum_, text_)                             \
    {                                                                                                        \
        .section = section_, .key = key_, .type = CONFIG_##type_,                                            \
        .offset = offsetof(ManagerConfig, member_), .default_value = default_, .minimum = minimum_,          \
        .maximum = maximum_, .description = text_                                                            \
    }
#define REFUSED(section_, key_, reason_)                                                                     \
    {                                                                                                        \
        .section = section_, .key = key_, .type = CONFIG_STRING, .refused = reason_, .description = reason_  \
    }

const ConfigKey manager_config_keys[] = {
    KEY("manager", "directory", PATH, directory, BASTIDE_PREFIX "/var/manager", 0, 0, "state of the manager"),
    KEY("manager", "user", STRING, user, "bastide", 0, 0, "the account it runs as; never root"),
    KEY("manager", "organisation", STRING, organisation, "Bastide", 0, 0, "name in the certificates"),
    KEY("manager", "log_level", STRING, log_level, "info", 0, 0, "error, warning, notice, info or debug"),
    KEY("manager", "log_format", STRING, log_format, "text", 0, 0, "text or json"),
    KEY("manager", "drain", MILLISECONDS, drain_ms, "10s", 0, 600000, "how long a stop waits for requests"),
    KEY("database", "location", STRING, database, NULL, 0, 0,
        "sqlite:PATH or postgresql:CONNECTION; the connection must say sslmode=verify-full unless it is a "
        "Unix socket; the embedded "
        "database in the directory when absent"),
    KEY("database", "readers", INTEGER, readers, "2", 1, 64, "threads that read"),
    KEY("keeper", "socket", PATH, keeper_socket, BASTIDE_PREFIX "/run/keeper.sock", 0, 0,
        "socket of the keeper"),
    KEY("external", "address", STRING, external_address, "127.0.0.1", 0, 0, "numeric address of the API"),
    KEY("external", "port", INTEGER, external_port, "8443", 0, 65535, "port of the API"),
    KEY("internal", "address", STRING, internal_address, "127.0.0.1", 0, 0,
        "numeric address for provisioners"),
    KEY("internal", "port", INTEGER, internal_port, "53333", 0, 65535, "port for provisioners"),
    KEY("internal", "lease", MILLISECONDS, lease_ms, "30s", 1000, 3600000,
        "how long a silent provisioner keeps its tasks"),
    KEY("internal", "heartbeat", MILLISECONDS, heartbeat_ms, "5s", 100, 600000,
        "how often a provisioner is heard"),
    KEY("audit", "file", PATH, audit_file, NULL, 0, 0,
        "gets every audit record, one JSON object a line; whoever rotates it renames it; none when absent"),
    KEY("audit", "when_unreachable", STRING, audit_when_unreachable, "continue", 0, 0,
        "continue or refuse: what happens to changes when the file cannot be written for long"),
    KEY("audit", "unreachable_after", MILLISECONDS, audit_unreachable_after_ms, "15m", 1000, 86400000,
        "how long that is"),
    KEY("certificates", "management_addresses", LIST, management_addresses, "", 0, 0,
        "further names and addresses of the manager, in its certificates"),
    KEY("admin", "socket", PATH, admin_socket, BASTIDE_PREFIX "/run/admin.sock", 0, 0,
        "socket for administration on this machine"),
    REFUSED("external", "ssl_enabled", "TLS cannot be turned off: clients send passwords and tokens"),
    REFUSED("external", "tls", "TLS cannot be turned off: clients send passwords and tokens"),
    REFUSED("manager", "security_enabled", "authentication and authorisation cannot be turned off"),
    REFUSED("database", "password",
            "a password does not belong here in the clear: put it into a file of mode 0600 and name it in "
            "the connection as passfile=PATH"),
    {0},
};

static int resolve_user(ManagerConfig *config, Error *error)
{
    errno = 0;
    const struct passwd *entry = getpwnam(config->user);
    if (!entry)
        return error_set_field(error, ERROR_CONFIGURATION, "manager.user",
                               "There is no account '%s' on this machine.", config->user);
    if (entry->pw_uid == 0)
        return error_set_field(error, ERROR_INSECURE, "manager.user", "The manager does not run as root.");
    config->uid = entry->pw_uid;
    config->gid = entry->pw_gid;
    return 0;
}

int manager_config_load(const char *path, ManagerConfig *config, Error *error)
{
    int r = config_load(path, false, manager_config_keys, config, error);
    if (r < 0)
        return r;
    if (!config->database)
        config->database = string_format("sqlite:%s/bastide.db", config->directory);
    if (!string_equal(config->audit_when_unreachable, "continue") &&
        !string_equal(config->audit_when_unreachable, "refuse"))
        return error_set_field(error, ERROR_CONFIGURATION, "audit.when_unreachable",
                               "It is continue or refuse.");
    return resolve_user(config, error);
}

void manager_config_done(ManagerConfig *config)
{
    config_done(manager_config_keys, config);
}

int manager_become_user(const ManagerConfig *config, Error *error)
{
    if (geteuid() == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(config->gid, config->gid, config->gid) < 0 ||
            setresuid(config->uid, config->uid, config->uid) < 0)
            return error_set_errno(error, ERROR_CONFIGURATION, errno, "Becoming the user '%s'", config->user);
    } else if (geteuid() != config->uid) {
        return error_set(error, ERROR_CONFIGURATION, "Start this as root or as the user '%s'.", config->user);
    }
    (void)setenv("HOME", config->directory, 1); /* libpq looks for certificates below it */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "Confining the process");
    return 0;
}

char *manager_path(const ManagerConfig *config, const char *name)
{
    return path_join(config->directory, name);
}
