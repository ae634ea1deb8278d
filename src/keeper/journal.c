/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"

enum { SIZE_MAXIMUM = 32 * 1024 * 1024, KEPT = 8 };

struct Journal {
    char *path;
    int descriptor;
    uint64_t size;
};

static int open_file(Journal *journal)
{
    struct stat status;

    close_pointer(&journal->descriptor);
    journal->descriptor = open(journal->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (journal->descriptor < 0 || fstat(journal->descriptor, &status) < 0)
        return -errno;
    journal->size = (uint64_t)status.st_size;
    return 0;
}

int journal_open(const char *path, Journal **ret_journal, Error *error)
{
    _cleanup_(journal_free_pointer) Journal *journal = NEW(Journal);
    int r;

    journal->descriptor = -1;
    journal->path = string_duplicate(path);
    r = open_file(journal);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot open %s", path);
    *ret_journal = TAKE_PTR(journal);
    return 0;
}

Journal *journal_free(Journal *journal)
{
    if (!journal)
        return NULL;
    close_pointer(&journal->descriptor);
    free(journal->path);
    free(journal);
    return NULL;
}

static int rotate(Journal *journal)
{
    for (int i = KEPT; i >= 1; i--) {
        _cleanup_free_ char *from =
            i > 1 ? string_format("%s.%d", journal->path, i - 1) : string_duplicate(journal->path);
        _cleanup_free_ char *to = string_format("%s.%d", journal->path, i);

        if (rename(from, to) < 0 && errno != ENOENT)
            return -errno;
    }
    return open_file(journal);
}

int journal_write(Journal *journal, Usec now, const char *text)
{
    _cleanup_buffer_ Buffer line = BUFFER_INIT;
    char time[TIMESTAMP_SIZE];
    int r = journal->size >= SIZE_MAXIMUM ? rotate(journal) : 0;

    if (r < 0)
        return r;
    timestamp_format(now, time);
    r = buffer_append_format(&line, "%s %s\n", time, text);
    if (r >= 0)
        r = write_full(journal->descriptor, line.data, line.size);
    if (r >= 0)
        journal->size += line.size;
    return r < 0 ? r : 0;
}
