/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a sealed value: what parses is written again as the same header. And as an approved set whose
 * signature is right, which is what a verifier parses. */
#include <string.h>

#include "base/memory.h"
#include "custody/keeper_protocol.h"
#include "custody/sealed_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_sealed(const uint8_t *data, size_t size)
{
    uint8_t again[SEALED_HEADER_SIZE];
    SealedHeader header;

    if (sealed_value_parse(data, size, &header) < 0)
        return;
    sealed_value_header(header.sealed_class, header.generation, header.nonce, again);
    ASSERT(memcmp(again, data, sizeof(again)) == 0);
    ASSERT(header.ciphertext == data + SEALED_HEADER_SIZE &&
           header.ciphertext_size == size - SEALED_HEADER_SIZE);
    ASSERT(header.ciphertext_size >= AEAD_TAG_SIZE);
    ASSERT(sealed_class_from_string(sealed_class_to_string(header.sealed_class)) == header.sealed_class);
}

static void check_set(const uint8_t *data, size_t size)
{
    static Secret *seed;
    static uint8_t public_key[SIGN_PUBLIC_SIZE];
    _cleanup_buffer_ Buffer again = BUFFER_INIT;
    uint8_t signature[SIGN_SIGNATURE_SIZE];
    ApprovedSet set;

    if (!seed)
        ASSERT(sign_generate(&seed, public_key) == 0);
    ASSERT(sign_message(seed, data, size, signature) == 0);
    if (approved_set_verify(public_key, data, size, signature, "acme", 0, &set, NULL) < 0)
        return;
    ASSERT(approved_set_encode(&set, &again) >= 0);
    ASSERT(again.size == size && memcmp(again.data, data, size) == 0);
    for (size_t i = 0; i < set.count; i++)
        ASSERT(approved_set_has(&set, set.digests + i * HASH_SIZE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_sealed(data, size);
    check_set(data, size);
    return 0;
}
