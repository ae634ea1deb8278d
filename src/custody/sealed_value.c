/* SPDX-License-Identifier: Apache-2.0 */
#include "custody/sealed_value.h"

#include <errno.h>

#include "base/buffer.h"
#include "base/string.h"

static const char *const class_names[_SEALED_CLASS_MAX] = {
    [SEALED_SELF] = "self",
    [SEALED_TASK] = "task",
    [SEALED_USER] = "user",
};

int sealed_value_parse(const void *data, size_t size, SealedHeader *ret_header)
{
    Reader reader = READER(data, size);
    SealedHeader header = {0};
    uint8_t format, sealed_class;
    const uint8_t *nonce;

    if (size < SEALED_OVERHEAD || reader_u8(&reader, &format) < 0 || format != SEALED_FORMAT ||
        reader_u8(&reader, &sealed_class) < 0 || sealed_class < SEALED_SELF ||
        sealed_class >= _SEALED_CLASS_MAX || reader_u32(&reader, &header.generation) < 0 ||
        header.generation == 0 || reader_bytes(&reader, AEAD_NONCE_SIZE, &nonce) < 0)
        return -EBADMSG;
    header.sealed_class = (SealedClass)sealed_class;
    memcpy(header.nonce, nonce, AEAD_NONCE_SIZE);
    header.ciphertext_size = reader_left(&reader);
    if (reader_bytes(&reader, header.ciphertext_size, &header.ciphertext) < 0)
        return -EBADMSG;
    *ret_header = header;
    return 0;
}

void sealed_value_header(SealedClass sealed_class, uint32_t generation,
                         const uint8_t nonce[static AEAD_NONCE_SIZE],
                         uint8_t ret_header[static SEALED_HEADER_SIZE])
{
    ret_header[0] = SEALED_FORMAT;
    ret_header[1] = (uint8_t)sealed_class;
    for (unsigned i = 0; i < 4; i++)
        ret_header[2 + i] = (uint8_t)(generation >> (24 - 8 * i));
    memcpy(ret_header + 6, nonce, AEAD_NONCE_SIZE);
}

const char *sealed_class_to_string(SealedClass sealed_class)
{
    return sealed_class > 0 && sealed_class < _SEALED_CLASS_MAX ? class_names[sealed_class] : NULL;
}

SealedClass sealed_class_from_string(const char *text)
{
    for (int i = SEALED_SELF; i < _SEALED_CLASS_MAX; i++)
        if (string_equal(class_names[i], text))
            return (SealedClass)i;
    return _SEALED_CLASS_INVALID;
}
