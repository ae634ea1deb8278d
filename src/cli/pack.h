/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Makes the archive of a bundle from its folder: manifest.json and exactly the files that it names, in the
 * order of their names, without owners, times or anything else of this machine, so that the same content has
 * the same digest everywhere. Links are refused. Main thread. */

#include "base/buffer.h"
#include "base/error.h"
#include "base/string.h"

enum { PACK_LIMIT = 64 * 1024 * 1024, PACK_FILES_MAX = 4096 };

/* ret_archive: gzip'd tar. ret_left_out: files of the folder that the manifest does not name. */
int pack_bundle(const char *directory, Buffer *ret_archive, StringList *ret_left_out, Error *error);
