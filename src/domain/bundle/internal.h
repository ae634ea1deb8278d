/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Walking an archive and reading its manifest, shared by the files of this folder only. Any thread; nothing
 * is kept between calls. */

#include "domain/bundle/bundle.h"

/* Called for each file in the order of the archive; directories are not passed on. data is valid during the
 * call. */
typedef int (*ArchiveVisit)(void *context, const char *path, const uint8_t *data, size_t size, Error *error);
/* Walks an archive under the policy; entries are checked before they are passed on. */
int archive_walk(const void *archive, size_t size, ArchiveVisit visit, void *context, Error *error);

/* Takes manifest.json apart; bundle->arena must be there. */
int manifest_parse(Bundle *bundle, json_t *manifest, Error *error);
/* Every file of the manifest is in the archive and the other way round; marks the scripts. */
int manifest_match(Bundle *bundle, Error *error);
#define BUNDLE_MANIFEST_NAME "manifest.json"
