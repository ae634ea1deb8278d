/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Images: trees that hosts use read-only, below `images`: NAME is a link to .trees/NAME-DIGEST, which holds
 * image.json and root/. A build makes a new tree beside and turns the link, so running hosts keep theirs;
 * trees that neither the link nor a host uses any more are removed. Building needs root and, for Debian
 * images, the machine's package mirror. */

#include <jansson.h>

#include "base/error.h"
#include "sandbox/host.h"
#include "sandbox/settings.h"

#define IMAGE_HOST_USR_NAME "host-usr"

typedef struct Image {
    char *root; /* owned, resolved */
    ImageKind kind;
    char digest[65];
} Image;
void image_done(Image *image);
#define _cleanup_image_ _cleanup_(image_done)

int image_find(const Settings *settings, const char *name, Image *ret_image, Error *error);
/* Array of {name, kind, digest, built_at}; new reference. */
json_t *image_list(const Settings *settings);
/* The name `host-usr` makes the fallback image; every other name a Debian one. An image of the same recipe is
 * kept unless is_forced; then *ret_built is false. */
int image_build(const Settings *settings, const char *name, bool is_forced, bool *ret_built, Error *error);
