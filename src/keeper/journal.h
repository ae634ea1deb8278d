/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The keeper's own log: one line a request, appended, never a secret. It is the keeper's account of how it
 * was used, apart from the manager's audit. The file is renamed at 32 MiB and eight older ones are kept. One
 * thread. */

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"

typedef struct Journal Journal;
int journal_open(const char *path, Journal **ret_journal, Error *error);
Journal *journal_free(Journal *journal);
DEFINE_CLEANUP(Journal, journal_free);
/* "<time> <text>\n"; the text is one line already. A failure is returned: what cannot be accounted for is not
 * done. */
int journal_write(Journal *journal, Usec now, const char *text);
