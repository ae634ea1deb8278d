/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/input.h"

#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"

enum { SHARES_LIMIT = 16 * 1024 };
static const char share_prefix[] = "bastide-share-1:";

/* Owned content with a NUL after its end; wipe it. */
static int read_private(const char *path, size_t limit, char **ret_content, size_t *ret_size)
{
    char *content;
    ssize_t count;

    if (!string_equal(path, "-"))
        return file_read_private(path, geteuid(), limit, ret_content, ret_size);
    content = NEW_ARRAY(char, limit + 2);
    count = read_full(STDIN_FILENO, content, limit + 1);
    if (count < 0 || (size_t)count > limit) {
        memory_wipe(content, limit + 2);
        free(content);
        return count < 0 ? (int)count : -E2BIG;
    }
    *ret_content = content;
    *ret_size = (size_t)count;
    return 0;
}

static int read_failed(const char *path, const char *what, int r, Error *error)
{
    if (r == -EPERM)
        return error_set(error, ERROR_INSECURE, "%s must be a plain file that only its owner can read", path);
    return error_set_errno(error, ERROR_IO, -r, "cannot read %s from %s", what, path);
}

int input_read_passphrase(const char *path, Secret **ret_passphrase, Error *error)
{
    char *content = NULL;
    size_t size = 0, length;
    int r = read_private(path, PASSPHRASE_LIMIT + 2, &content, &size);

    if (r < 0)
        return read_failed(path, "the passphrase", r, error);
    length = size;
    while (length > 0 && (content[length - 1] == '\n' || content[length - 1] == '\r'))
        length--;
    if (length == 0 || length > PASSPHRASE_LIMIT)
        r = error_set(error, ERROR_BAD_REQUEST, "a passphrase has 1 to %d bytes", PASSPHRASE_LIMIT);
    else
        *ret_passphrase = secret_new(content, length);
    memory_wipe(content, size);
    free(content);
    if (r >= 0 && !*ret_passphrase)
        r = error_set(error, ERROR_INTERNAL, "no guarded memory for the passphrase");
    return r;
}

int input_parse_share(const char *line, size_t length, uint8_t ret_bytes[static KEEPER_SHARE_SIZE])
{
    char hex[2 * KEEPER_SHARE_SIZE + 1];
    const size_t prefix = strlen(share_prefix);
    KeeperShare share;
    size_t size = 0;
    int r;

    if (length != prefix + 2 * KEEPER_SHARE_SIZE || memcmp(line, share_prefix, prefix) != 0)
        return -EBADMSG;
    memcpy(hex, line + prefix, sizeof(hex) - 1);
    hex[sizeof(hex) - 1] = '\0';
    r = hex_decode(hex, ret_bytes, KEEPER_SHARE_SIZE, &size);
    memory_wipe(hex, sizeof(hex));
    if (r >= 0)
        r = keeper_share_decode(ret_bytes, size, &share);
    memory_wipe(&share, sizeof(share));
    return r < 0 ? -EBADMSG : 0;
}

static int parse_shares(const char *path, const char *content, uint8_t (*shares)[KEEPER_SHARE_SIZE],
                        size_t *count, Error *error)
{
    unsigned number = 1;

    for (const char *line = content; *line; number++) {
        size_t length = strcspn(line, "\r\n");

        if (length > 0 && *count >= KEEPER_SHARES_MAX)
            return error_set(error, ERROR_TOO_LARGE, "at most %d shares", KEEPER_SHARES_MAX);
        if (length > 0 && input_parse_share(line, length, shares[(*count)++]) < 0)
            return error_set(error, ERROR_BAD_REQUEST, "%s, line %u: this is no share, or was mistyped",
                             string_equal(path, "-") ? "standard input" : path, number);
        line += length;
        line += strspn(line, "\r\n") > 0;
    }
    return 0;
}

int input_read_shares(const char *path, uint8_t (*shares)[KEEPER_SHARE_SIZE], size_t *count, Error *error)
{
    char *content = NULL;
    size_t size = 0;
    int r = read_private(path, SHARES_LIMIT, &content, &size);

    if (r < 0)
        return read_failed(path, "a share", r, error);
    r = parse_shares(path, content, shares, count, error);
    memory_wipe(content, size);
    free(content);
    return r;
}
