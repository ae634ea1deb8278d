/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The form of sealed values: 0x01, class, key generation (u32), nonce, ciphertext, tag. Everybody may read
 * the header; only the keeper opens. Any thread; no state. */

#include <sys/types.h>

#include "base/macros.h"
#include "crypto/aead.h"

typedef enum SealedClass {
    SEALED_SELF = 1, /* opened for the manager itself */
    SEALED_TASK = 2, /* never opened for the manager, only re-sealed to a provisioner */
    SEALED_USER = 3, /* read through the API, audited first; also re-sealed to a provisioner for a task */
    _SEALED_CLASS_MAX,
    _SEALED_CLASS_INVALID = -22,
} SealedClass;

enum {
    SEALED_FORMAT = 1,
    SEALED_HEADER_SIZE = 1 + 1 + 4 + AEAD_NONCE_SIZE,
    SEALED_OVERHEAD = SEALED_HEADER_SIZE + AEAD_TAG_SIZE,
};

typedef struct SealedHeader {
    SealedClass sealed_class;
    uint32_t generation;
    uint8_t nonce[AEAD_NONCE_SIZE];
    const uint8_t *ciphertext; /* with its tag; borrowed */
    size_t ciphertext_size;
} SealedHeader;

/* -EBADMSG for anything that is not a sealed value of this format. */
int sealed_value_parse(const void *data, size_t size, SealedHeader *ret_header);
/* The SEALED_HEADER_SIZE bytes before the ciphertext. */
void sealed_value_header(SealedClass sealed_class, uint32_t generation,
                         const uint8_t nonce[static AEAD_NONCE_SIZE],
                         uint8_t ret_header[static SEALED_HEADER_SIZE]);
/* "self", "task", "user". */
const char *sealed_class_to_string(SealedClass sealed_class);
SealedClass sealed_class_from_string(const char *text);
