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
    KEY("ldap", "servers", LIST, ldap.servers, "", 0, 0,
        "servers of the directory in order of preference, each ldaps://HOST[:PORT], or ldap://HOST[:PORT] "
        "for "
        "StartTLS; none: "
        "local accounts only"),
    KEY("ldap", "ca_file", PATH, ldap.ca_file, NULL, 0, 0,
        "certificates that may have issued those of the servers; the system's are not used"),
    KEY("ldap", "bind_dn", STRING, ldap.bind_dn, NULL, 0, 0, "account of our own that searches"),
    KEY("ldap", "bind_password_file", PATH, ldap.bind_password_file, NULL, 0, 0,
        "file with its password, which only the manager's account may read"),
    KEY("ldap", "base_dn", STRING, ldap.base_dn, NULL, 0, 0, "people are searched below it"),
    KEY("ldap", "active_directory", BOOLEAN, ldap.is_active_directory, "no", 0, 0,
        "its names for a user, and nested groups by its own rule"),
    KEY("ldap", "user_filter", STRING, ldap.user_filter, NULL, 0, 0,
        "finds who signs in as {username}; (&(objectClass=person)(uid={username})) when absent, with "
        "active_directory "
        "(&(objectCategory=person)(objectClass=user)(sAMAccountName={username}))"),
    KEY("ldap", "username_attribute", STRING, ldap.username_attribute, NULL, 0, 0,
        "becomes the account's name; uid when absent, with active_directory sAMAccountName"),
    KEY("ldap", "group_base_dn", STRING, ldap.group_base_dn, NULL, 0, 0,
        "groups are searched below it; as base_dn when absent"),
    KEY("ldap", "group_attribute", STRING, ldap.group_attribute, "memberOf", 0, 0,
        "attribute of a person that names groups"),
    KEY("ldap", "group_filter", STRING, ldap.group_filter,
        "(|(member={dn})(uniqueMember={dn})(memberUid={username}))", 0, 0, "finds the groups of a person"),
    KEY("ldap", "nested_filter", STRING, ldap.nested_filter, "(|(member={dn})(uniqueMember={dn}))", 0, 0,
        "finds the groups that a group is in"),
    KEY("ldap", "nested_levels", INTEGER, ldap.nested_levels, "5", 0, 20,
        "how far groups in groups are followed"),
    KEY("ldap", "require_group", BOOLEAN, ldap.requires_group, "yes", 0, 0,
        "who is in no group with an ldap_group_dn may not sign in"),
    KEY("ldap", "server_timeout", MILLISECONDS, ldap.server_timeout_ms, "3s", 100, 60000,
        "how long one server may take for all that is asked of it"),
    KEY("ldap", "timeout", MILLISECONDS, ldap.timeout_ms, "8s", 100, 120000,
        "how long a sign-in may take, all servers together"),
    KEY("ldap", "sync_interval", MILLISECONDS, ldap.sync_interval_ms, "5m", 1000, 86400000,
        "how often accounts of the directory are looked at again"),
    KEY("ldap", "unverified_limit", MILLISECONDS, ldap.unverified_limit_ms, "24h", 1000, 2592000000,
        "how long sessions and tokens of an account last while the directory cannot be asked"),
    REFUSED("ldap", "bind_password",
            "a password does not belong here in the clear: name a file of mode 0600 in bind_password_file"),
    REFUSED("ldap", "verify",
            "the servers' certificates are always verified: people's passwords are sent to them"),
    REFUSED("ldap", "referrals", "referrals are not followed: a password would be sent to whom they name"),
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

static void set_default(char **text, const char *value)
{
    if (!*text)
        *text = string_duplicate(value);
}

static void set_directory_defaults(DirectorySettings *ldap)
{
    bool is_active = ldap->is_active_directory;
    set_default(&ldap->username_attribute, is_active ? "sAMAccountName" : "uid");
    set_default(&ldap->user_filter,
                is_active ? "(&(objectCategory=person)(objectClass=user)(sAMAccountName={username}))"
                          : "(&(objectClass=person)(uid={username}))");
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
    set_directory_defaults(&config->ldap);
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
