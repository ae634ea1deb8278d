/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration file: loads within its ranges, or fails with a message and leaves nothing
 * behind. */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/config.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Settings {
    char *name, *directory;
    int64_t port, timeout;
    bool is_verbose;
    uint64_t memory;
    StringList peers;
} Settings;

static const ConfigKey keys[] = {
    {.section = "server",
     .key = "name",
     .type = CONFIG_STRING,
     .offset = offsetof(Settings, name),
     .default_value = "here"},
    {.section = "server", .key = "directory", .type = CONFIG_PATH, .offset = offsetof(Settings, directory)},
    {.section = "server",
     .key = "port",
     .type = CONFIG_INTEGER,
     .offset = offsetof(Settings, port),
     .default_value = "8443",
     .minimum = 1,
     .maximum = 65535},
    {.section = "server",
     .key = "timeout",
     .type = CONFIG_MILLISECONDS,
     .offset = offsetof(Settings, timeout),
     .default_value = "15s",
     .minimum = 1,
     .maximum = 3600000},
    {.section = "log", .key = "verbose", .type = CONFIG_BOOLEAN, .offset = offsetof(Settings, is_verbose)},
    {.section = "limits",
     .key = "memory",
     .type = CONFIG_BYTES,
     .offset = offsetof(Settings, memory),
     .default_value = "16M"},
    {.section = "limits", .key = "peers", .type = CONFIG_LIST, .offset = offsetof(Settings, peers)},
    {.section = "server", .key = "tls", .type = CONFIG_BOOLEAN, .refused = "TLS is always on"},
    {.section = NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_close_ int descriptor = memfd_create("config", MFD_CLOEXEC);
    ASSERT(descriptor >= 0);
    ASSERT(fchmod(descriptor, 0600) == 0);
    ASSERT(write_full(descriptor, data, size) >= 0);
    char path[64];
    ASSERT(string_print(path, sizeof(path), "/proc/self/fd/%d", descriptor) >= 0);
    Settings settings;
    Error error = ERROR_INIT;
    int r = config_load(path, false, keys, &settings, &error);
    ASSERT((r < 0) == error_is_set(&error));
    if (r < 0) {
        ASSERT(!settings.name && !settings.directory && settings.peers.count == 0);
        ASSERT(utf8_is_valid(error.text, strlen(error.text)));
        return 0;
    }
    ASSERT(settings.port >= 1 && settings.port <= 65535 && settings.timeout >= 1);
    ASSERT(settings.name && (!settings.directory || settings.directory[0] == '/'));
    config_done(keys, &settings);
    return 0;
}
