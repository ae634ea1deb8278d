/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/content.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium/crypto_hash_sha256.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "runner/protocol.h"

enum { COPY_CHUNK = 64 * 1024 };

bool content_has(const RunnerState *state, const uint8_t digest[static 32])
{
    _cleanup_free_ char *path = runner_content_path(state, digest);
    return access(path, R_OK) == 0;
}

/* Reads the source to its end; writes it to the destination too unless that is -1. */
static int hash_file(int source, int destination, uint8_t ret_digest[static 32])
{
    crypto_hash_sha256_state hash;
    crypto_hash_sha256_init(&hash);
    _cleanup_free_ uint8_t *chunk = memory_new(COPY_CHUNK);
    for (;;) {
        ssize_t count = read_full(source, chunk, COPY_CHUNK);
        if (count < 0)
            return (int)count;
        crypto_hash_sha256_update(&hash, chunk, (unsigned long long)count);
        int r = destination < 0 ? 0 : write_full(destination, chunk, (size_t)count);
        if (r < 0)
            return r;
        if (count < COPY_CHUNK)
            break;
    }
    crypto_hash_sha256_final(&hash, ret_digest);
    return 0;
}

static int finish_content(const char *partial, const char *path, const uint8_t digest[static 32])
{
    _cleanup_close_ int file = open(partial, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return -errno;
    uint8_t actual[32];
    int r = hash_file(file, -1, actual);
    if (r < 0)
        return r;
    if (memcmp(actual, digest, sizeof(actual)) != 0)
        return -EBADMSG;
    if (fchmod(file, 0444) < 0 || fsync(file) < 0 || rename(partial, path) < 0)
        return -errno;
    r = file_sync_parent(path);
    return r < 0 ? r : 1;
}

int content_put(const RunnerState *state, const uint8_t digest[static 32], uint32_t size, uint32_t offset,
                const void *data, size_t data_size)
{
    if (size > RUNNER_CONTENT_MAX || offset > size || data_size > size - offset)
        return -E2BIG;
    if (content_has(state, digest))
        return offset + data_size == size;
    _cleanup_free_ char *path = runner_content_path(state, digest);
    /* Of this connection alone: two provisioners may send the same file at the same time. */
    _cleanup_free_ char *partial = string_format("%s.%s", path, state->connection);
    int flags = offset == 0 ? O_CREAT | O_TRUNC : 0;
    _cleanup_close_ int file = open(partial, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (file < 0)
        return errno == ENOENT ? -ESPIPE : -errno;
    off_t end = lseek(file, 0, SEEK_END);
    if (end != (off_t)offset)
        return end < 0 ? -errno : -ESPIPE;
    int r = write_full(file, data, data_size);
    if (r >= 0 && offset + data_size < size)
        return 0;
    if (r >= 0)
        r = finish_content(partial, path, digest);
    if (r < 0)
        (void)unlink(partial);
    return r;
}

int content_copy(const RunnerState *state, const uint8_t digest[static 32], const char *destination)
{
    _cleanup_free_ char *path = runner_content_path(state, digest);
    _cleanup_close_ int source = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (source < 0)
        return -errno;
    _cleanup_close_ int copy = open(destination, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0700);
    if (copy < 0)
        return -errno;
    uint8_t actual[32];
    int r = hash_file(source, copy, actual);
    if (r < 0)
        return r;
    if (memcmp(actual, digest, sizeof(actual)) != 0) {
        /* The store was changed under us: let the content be sent again. */
        (void)unlink(path);
        return -EBADMSG;
    }
    return fchmod(copy, 0555) < 0 ? -errno : 0;
}
