/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Takes secret values out of what scripts print (SV20): the value itself, its base64 (at each of the three
 * alignments, both alphabets), its hexadecimal form, and each longer line of a value of several lines. Works
 * over a stream: a value that is cut by the chunks it comes in is found all the same. Values below four bytes
 * are not masked: they would be found everywhere. A Mask may be used from several threads once it is filled;
 * a MaskStream belongs to one. */

#include "base/buffer.h"
#include "base/secret.h"

enum { MASK_MINIMUM = 4 };

typedef struct Mask Mask;
Mask *mask_new(void);
Mask *mask_free(Mask *mask);
DEFINE_CLEANUP(Mask, mask_free);
#define _cleanup_mask_ _cleanup_(mask_free_pointer)
void mask_add(Mask *mask, const Secret *secret);

typedef struct MaskStream {
    const Mask *mask;
    Buffer held; /* the beginning of what may become a value */
} MaskStream;
#define MASK_STREAM(mask_) ((MaskStream){.mask = (mask_), .held = BUFFER_INIT_SECRET(0)})
void mask_stream_done(MaskStream *stream);
/* Appends the masked text to *ret_masked; is_end lets go of what was held. */
int mask_stream_feed(MaskStream *stream, const void *data, size_t size, bool is_end, Buffer *ret_masked);
/* A whole text; owned. */
char *mask_text(const Mask *mask, const char *text);
