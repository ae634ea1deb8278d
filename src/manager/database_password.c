/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/database_password.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/file.h"
#include "custody/config_secret.h"

static const char SETTING[] = "database.password";

/* One line of pgpass(5) for every server: "*:*:*:*:password", ':' and '\' escaped. */
static int write_line(int descriptor, const Secret *password)
{
    Buffer line = BUFFER_INIT_SECRET(2 * CONFIG_SECRET_MAX + 64);
    int r = buffer_append_string(&line, "*:*:*:*:");
    for (size_t i = 0; r >= 0 && i < secret_size(password); i++) {
        uint8_t byte = secret_bytes(password)[i];
        if (byte == ':' || byte == '\\')
            r = buffer_append_byte(&line, '\\');
        if (r >= 0)
            r = buffer_append_byte(&line, byte);
    }
    if (r >= 0)
        r = buffer_append_byte(&line, '\n');
    if (r >= 0)
        r = write_full(descriptor, line.data, line.size);
    buffer_wipe(&line);
    return r;
}

int database_password_apply(ManagerConfig *config, Error *error)
{
    _cleanup_secret_ Secret *password = NULL;
    _cleanup_close_ int descriptor = -1;
    if (!config->database_password)
        return 0;
    int r = config_secret_read(config->database_password, SETTING, config->keeper_socket, &password, error);
    if (r < 0)
        return r;
    descriptor = memfd_create("password", MFD_CLOEXEC);
    if (descriptor < 0 || fchmod(descriptor, 0600) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "No memory for the database's password");
    r = write_line(descriptor, password);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "Keeping the database's password");
    /* libpq opens it anew for each connection, so it stays open for the life of the process. */
    const char *joint = !string_starts_with(config->database, "postgresql://") ? " "
                        : strchr(config->database, '?')                        ? "&"
                                                                               : "?";
    char *location =
        string_format("%s%spassfile=/proc/self/fd/%d", config->database, joint, TAKE_FD(descriptor));
    free(config->database);
    config->database = location;
    return 0;
}
