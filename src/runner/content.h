/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The runner's content store: files named by the SHA-256 of their bytes, read-only. Content is checked when
 * it comes in and again each time it is copied out for a step. One thread. */

#include "runner/state.h"

bool content_has(const RunnerState *state, const uint8_t digest[static 32]);
/* Takes a piece; pieces come in order and the last one is checked. 1 = complete, 0 = more to come; -EBADMSG
 * when the bytes are not those of the digest, -ESPIPE for a piece out of order, -E2BIG. */
int content_put(const RunnerState *state, const uint8_t digest[static 32], uint32_t size, uint32_t offset,
                const void *data, size_t data_size);
/* A fresh copy with mode 0555, checked while it is made. */
int content_copy(const RunnerState *state, const uint8_t digest[static 32], const char *destination);
