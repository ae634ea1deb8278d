/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/manager_config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/file.h"
#include "custody/config_secret.h"

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
    KEY("database", "password", STRING, database_password, NULL, 0, 0,
        "of the PostgreSQL role, never in the clear: sealed:… (as `bastide-manager config seal "
        "database.password` "
        "prints it), file:PATH (mode 0600, the manager's or root's) or credential:NAME (of the service "
        "manager)"),
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
    KEY("certificates", "rest_certificate", PATH, rest_certificate, NULL, 0, 0,
        "certificate of the API with its chain (PEM), of another authority; taken over by `init`"),
    KEY("certificates", "rest_key", PATH, rest_key, NULL, 0, 0, "its key (PEM, mode 0600)"),
    KEY("certificates", "external_ca_certificate", PATH, external_ca_certificate, NULL, 0, 0,
        "the authority that rest_certificate must lead to"),
    KEY("certificates", "internal_certificate", PATH, internal_certificate, NULL, 0, 0,
        "certificate for provisioners with its chain, signed below the internal CA, with every address and "
        "the URI "
        "bastide:service:internal; taken over by `init`"),
    KEY("certificates", "internal_key", PATH, internal_key, NULL, 0, 0, "its key (PEM, mode 0600)"),
    KEY("certificates", "ca_certificate", PATH, ca_certificate, NULL, 0, 0,
        "the internal CA that is meant; its key is the keeper's alone"),
    REFUSED("certificates", "ca_key",
            "the key of the CA is the keeper's alone: bastide-keeper init --ca-certificate FILE --ca-key "
            "FILE, or later "
            "bastide-keeper import-ca"),
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
    KEY("kerberos", "keytab", PATH, kerberos.keytab, NULL, 0, 0,
        "file with the keys of the principal; none: no Kerberos"),
    KEY("kerberos", "principal", STRING, kerberos.principal, NULL, 0, 0,
        "that tickets must be for, as HTTP/manager.example.org@EXAMPLE.ORG"),
    KEY("kerberos", "realm", STRING, kerberos.realm, NULL, 0, 0,
        "people of it are the accounts of the same name in the directory"),
    KEY("kerberos", "local_accounts", LIST, kerberos.local_accounts, "", 0, 0,
        "local accounts that people of the realm with the same name may use, too"),
    KEY("proxy", "names", LIST, proxy_names, "", 0, 0,
        "URIs in the certificates of proxies that sign people in before us; none: nobody is believed"),
    KEY("proxy", "address", STRING, proxy_address, "127.0.0.1", 0, 0, "numeric address for proxies"),
    KEY("proxy", "port", INTEGER, proxy_port, "8444", 0, 65535, "port for proxies"),
    KEY("proxy", "client_ca_file", PATH, proxy_client_ca, NULL, 0, 0,
        "certificates that may have issued those of the proxies; needed with names"),
    KEY("proxy", "user_header", STRING, proxy_user_header, "X-Forwarded-User", 0, 0,
        "in which a proxy names the person; from anybody else a request with it is refused"),
    KEY("proxy", "local_accounts", LIST, proxy_local_accounts, "", 0, 0,
        "local accounts that proxies may speak for, beside the accounts of the directory"),
    REFUSED("ldap", "bind_password",
            "a password does not belong here in the clear: name a file of mode 0600 in bind_password_file"),
    REFUSED("ldap", "verify",
            "the servers' certificates are always verified: people's passwords are sent to them"),
    REFUSED("ldap", "referrals", "referrals are not followed: a password would be sent to whom they name"),
    REFUSED("external", "ssl_enabled", "TLS cannot be turned off: clients send passwords and tokens"),
    REFUSED("external", "tls", "TLS cannot be turned off: clients send passwords and tokens"),
    REFUSED("manager", "security_enabled", "authentication and authorisation cannot be turned off"),
    {0},
};

/* "password=" as a keyword of libpq, also with spaces around the sign, or inside of a URI. */
static bool connection_has_password(const char *connection)
{
    const char *found = connection;

    if (string_starts_with(connection, "//")) {
        const char *at = strchr(connection, '@'), *colon = strchr(connection + 2, ':');
        if (at && colon && colon < at)
            return true;
    }
    while ((found = strcasestr(found, "password"))) {
        const char *end = found + strlen("password");
        bool is_word = found == connection || strchr(" \t\n?&'", found[-1]);
        end += strspn(end, " \t\n");
        if (is_word && *end == '=')
            return true;
        found += strlen("password");
    }
    return false;
}

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

/* What is in the clear is refused here, before anything is done with it; no message repeats it. */
static int check_passwords(const ManagerConfig *config, Error *error)
{
    if (string_starts_with(config->database, "postgresql:") &&
        connection_has_password(config->database + strlen("postgresql:")))
        return error_set_field(
            error, ERROR_INSECURE, "database.location",
            "A password does not stand in the connection: leave it out and set "
            "database.password to what 'bastide-manager config seal database.password' prints.");
    if (!config->database_password)
        return 0;
    if (!string_starts_with(config->database, "postgresql:"))
        return error_set_field(error, ERROR_CONFIGURATION, "database.password",
                               "The embedded database has no password.");
    return config_secret_check(config->database_password, "database.password", error);
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

static int check_proxies(const ManagerConfig *config, Error *error)
{
    if (config->proxy_names.count > 0 && !config->proxy_client_ca)
        return error_set_field(error, ERROR_INSECURE, "proxy.client_ca_file",
                               "Proxies are believed by their certificates: name who issues them.");
    for (size_t i = 0; i < config->proxy_names.count; i++) {
        const char *name = config->proxy_names.items[i];
        if (strpbrk(name, "\"\\") || string_has_control(name, strlen(name), NULL) || !strchr(name, ':'))
            return error_set_field(error, ERROR_CONFIGURATION, "proxy.names", "'%s' is no URI.", name);
    }
    return 0;
}

int manager_config_load_for_sealing(const char *path, ManagerConfig *config, Error *error)
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
    r = check_proxies(config, error);
    return r < 0 ? r : resolve_user(config, error);
}

int manager_config_load(const char *path, ManagerConfig *config, Error *error)
{
    int r = manager_config_load_for_sealing(path, config, error);
    return r < 0 ? r : check_passwords(config, error);
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
