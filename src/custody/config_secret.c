/* SPDX-License-Identifier: Apache-2.0 */
#include "custody/config_secret.h"

#include <errno.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/memory.h"

static const char sealed_prefix[] = "sealed:", file_prefix[] = "file:", credential_prefix[] = "credential:";
static const Usec CALL_TIMEOUT = 10 * USEC_PER_SEC;

static const char *after(const char *value, const char *prefix)
{
    return string_starts_with(value, prefix) ? value + strlen(prefix) : NULL;
}

int config_secret_check(const char *value, const char *setting, Error *error)
{
    const char *path = after(value, file_prefix), *name = after(value, credential_prefix),
               *sealed = after(value, sealed_prefix);

    if (path && *path != '/')
        return error_set_field(error, ERROR_CONFIGURATION, setting, "file: needs an absolute path");
    if (name && (!name_is_valid(name) || *name == '.'))
        return error_set_field(error, ERROR_CONFIGURATION, setting,
                               "credential: needs the name of a credential");
    if (sealed && *sealed == '\0')
        return error_set_field(error, ERROR_CONFIGURATION, setting, "nothing follows sealed:");
    if (path || name || sealed)
        return 0;
    return error_set_field(
        error, ERROR_INSECURE, setting,
        "a password does not stand here in the clear; 'bastide-manager config seal %s' prints "
        "what to write instead (or use file:PATH, credential:NAME)",
        setting);
}

/* "configuration/<setting>"; owned. */
static char *make_context(const char *setting)
{
    return string_format("configuration/%s", setting);
}

int config_secret_seal(KeeperClient *keeper, const char *setting, const Secret *plain, Buffer *ret_value,
                       Error *error)
{
    _cleanup_free_ char *context = make_context(setting), *text = NULL;
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT;
    int r = keeper_client_seal_value(keeper, SEALED_SELF, KEEPER_TENANT_CONFIGURATION, context, plain,
                                     &sealed, error);

    if (r < 0)
        return r;
    text = NEW_ARRAY(char, 4 * (sealed.size / 3 + 2));
    base64_encode(sealed.data, sealed.size, text);
    r = buffer_append_format(ret_value, "%s%s", sealed_prefix, text);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "the value does not fit") : 0;
}

static int read_file(const char *path, const char *setting, Secret **ret_secret, Error *error)
{
    char *content = NULL;
    size_t size = 0, length;
    int r = file_read_private(path, geteuid(), CONFIG_SECRET_MAX, &content, &size);

    if (r == -EPERM)
        return error_set_field(error, ERROR_INSECURE, setting,
                               "%s must be a plain file of mode 0600 of this account or of root", path);
    if (r < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, -r, "cannot read %s", path);
    length = strcspn(content, "\r\n");
    *ret_secret = length > 0 && memchr(content, 0, size) == NULL ? secret_new(content, length) : NULL;
    memory_wipe(content, size);
    free(content);
    return *ret_secret ? 0
                       : error_set_field(error, ERROR_CONFIGURATION, setting, "%s holds no password", path);
}

static int read_credential(const char *name, const char *setting, Secret **ret_secret, Error *error)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    _cleanup_free_ char *path = NULL;

    if (!directory || *directory != '/')
        return error_set_field(
            error, ERROR_CONFIGURATION, setting,
            "the service manager handed over no credentials (LoadCredentialEncrypted=%s:FILE)", name);
    path = path_join(directory, name);
    return read_file(path, setting, ret_secret, error);
}

static int open_sealed(const char *text, const char *setting, const char *socket, Secret **ret_secret,
                       Error *error)
{
    _cleanup_keeper_client_ KeeperClient *keeper = NULL;
    _cleanup_free_ char *context = make_context(setting);
    _cleanup_free_ uint8_t *sealed = NULL;
    size_t size;

    if (base64_decode(text, strlen(text), CONFIG_SECRET_MAX + SEALED_OVERHEAD, &sealed, &size) < 0)
        return error_set_field(error, ERROR_CONFIGURATION, setting, "this is not base64 of a sealed value");
    keeper = keeper_client_new(socket, CALL_TIMEOUT);
    return keeper_client_open_value(keeper, KEEPER_TENANT_CONFIGURATION, context, sealed, size, ret_secret,
                                    error);
}

int config_secret_read(const char *value, const char *setting, const char *keeper_socket, Secret **ret_secret,
                       Error *error)
{
    int r = config_secret_check(value, setting, error);

    if (r < 0)
        return r;
    if (after(value, file_prefix))
        r = read_file(after(value, file_prefix), setting, ret_secret, error);
    else if (after(value, credential_prefix))
        r = read_credential(after(value, credential_prefix), setting, ret_secret, error);
    else
        r = open_sealed(after(value, sealed_prefix), setting, keeper_socket, ret_secret, error);
    if (r < 0 && error && !*error->field)
        error_prefix(error, "%s", setting);
    return r;
}
