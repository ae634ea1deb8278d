/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/keeper-config.h"

#include <errno.h>
#include <pwd.h>

#include "base/string.h"

const ConfigKey keeper_config_keys[] = {
    {"keeper", "directory", CONFIG_PATH, offsetof(KeeperConfig, directory), BASTIDE_PREFIX "/var/keeper", 0,
     0, "where the keys are; belongs to the keeper's user, mode 0700"},
    {"keeper", "socket", CONFIG_PATH, offsetof(KeeperConfig, socket), BASTIDE_PREFIX "/run/keeper.sock", 0, 0,
     "the Unix socket that the keeper listens on"},
    {"keeper", "user", CONFIG_STRING, offsetof(KeeperConfig, user), "bastide-keeper", 0, 0,
     "the user (name or number) that the keeper becomes after its start"},
    {"keeper", "manager_user", CONFIG_STRING, offsetof(KeeperConfig, manager_user), "bastide", 0, 0,
     "the user (name or number) of the manager; nobody else but root may ask"},
    {"keeper", "passphrase_credential", CONFIG_STRING, offsetof(KeeperConfig, passphrase_credential), NULL, 0,
     0,
     "name of the credential of the service manager (LoadCredentialEncrypted=) that holds the passphrase of "
     "a "
     "wrapped master key; absent = unsealed by command"},
    {"keeper", "lock_memory", CONFIG_STRING, offsetof(KeeperConfig, lock_memory), "required", 0, 0,
     "\"required\": no start unless all memory is locked, so that no key reaches the swap; \"attempt\": a "
     "warning"},
    {"log", "level", CONFIG_STRING, offsetof(KeeperConfig, log_level), "info", 0, 0,
     "error, warning, notice, info or debug"},
    {"log", "format", CONFIG_STRING, offsetof(KeeperConfig, log_format), "text", 0, 0, "text or json"},
    {0},
};

static int find_user(const char *text, const char *key, uid_t *ret_uid, gid_t *ret_gid, Error *error)
{
    const struct passwd *entry;
    uint64_t number;

    if (string_to_u64(text, UINT32_MAX - 1, &number) >= 0) {
        entry = getpwuid((uid_t)number);
        *ret_uid = (uid_t)number;
        *ret_gid = entry ? entry->pw_gid : (gid_t)number;
        return 0;
    }
    entry = getpwnam(text);
    if (!entry)
        return error_set_field(error, ERROR_CONFIGURATION, key, "there is no user \"%s\"", text);
    *ret_uid = entry->pw_uid;
    *ret_gid = entry->pw_gid;
    return 0;
}

static int check_users(const KeeperConfig *config, Error *error)
{
    if (config->uid == 0)
        return error_set_field(error, ERROR_INSECURE, "keeper.user",
                               "the keeper does not run as root; name a user of its own");
    if (config->manager_uid == 0)
        return error_set_field(error, ERROR_INSECURE, "keeper.manager_user",
                               "the manager does not run as root");
    if (config->uid == config->manager_uid)
        return error_set_field(error, ERROR_INSECURE, "keeper.manager_user",
                               "keeper and manager need different users, or the manager could read the keys");
    return 0;
}

/* A file name below $CREDENTIALS_DIRECTORY. */
static int check_credential(const char *name, Error *error)
{
    if (!name || (name_is_valid(name) && *name != '.'))
        return 0;
    return error_set_field(error, ERROR_CONFIGURATION, "keeper.passphrase_credential",
                           "a credential's name has letters, digits, '_', '.' and '-'");
}

static int check_words(KeeperConfig *config, Error *error)
{
    LogLevel level = log_level_from_string(config->log_level);

    if (level < 0)
        return error_set_field(error, ERROR_CONFIGURATION, "log.level", "there is no level \"%s\"",
                               config->log_level);
    if (!string_equal(config->log_format, "text") && !string_equal(config->log_format, "json"))
        return error_set_field(error, ERROR_CONFIGURATION, "log.format", "the format is text or json");
    if (!string_equal(config->lock_memory, "required") && !string_equal(config->lock_memory, "attempt"))
        return error_set_field(error, ERROR_CONFIGURATION, "keeper.lock_memory", "it is required or attempt");
    config->is_lock_required = string_equal(config->lock_memory, "required");
    log_init("bastide-keeper", level,
             string_equal(config->log_format, "json") ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
    return 0;
}

int keeper_config_load(const char *path, bool may_be_absent, KeeperConfig *config, Error *error)
{
    int r = config_load(path, may_be_absent, keeper_config_keys, config, error);

    if (r >= 0)
        r = check_words(config, error);
    if (r >= 0)
        r = check_credential(config->passphrase_credential, error);
    if (r >= 0)
        r = find_user(config->user, "keeper.user", &config->uid, &config->gid, error);
    if (r >= 0)
        r = find_user(config->manager_user, "keeper.manager_user", &config->manager_uid, &config->manager_gid,
                      error);
    return r < 0 ? r : check_users(config, error);
}

void keeper_config_done(KeeperConfig *config)
{
    config_done(keeper_config_keys, config);
}
