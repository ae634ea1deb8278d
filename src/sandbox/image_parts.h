/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How the trees of images are filled. Main thread of the build command, as root. */

#include "base/error.h"
#include "sandbox/host.h"
#include "sandbox/settings.h"

/* All that decides what the image holds, as text; owned. */
int image_recipe(const Settings *settings, ImageKind kind, char **ret_recipe, Error *error);
int image_make_debian(const Settings *settings, const char *root, Error *error);
/* /etc of the machine in a small selection without keys, accounts of the system without passwords. */
int image_make_skeleton(const char *root, Error *error);
/* What both need: the account of people, no host keys, no machine id. */
int image_finish(const char *root, Error *error);
