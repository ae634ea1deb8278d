/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as something that was sealed to a passphrase. The work that they may ask for is cut down first:
 * it is bounded by the program, but still too much for a fuzzer. */
#include <string.h>

#include "base/memory.h"
#include "crypto/sealing.h"
#include "crypto/start.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t little[8] = {0, 0, 0, 1, 0, 0, 0, 8};
    static Secret *passphrase;
    _cleanup_secret_ Secret *plain = NULL;
    _cleanup_free_ uint8_t *copy = NEW_ARRAY(uint8_t, size + 1);

    if (size > 0)
        memcpy(copy, data, size);
    if (!passphrase) {
        ASSERT(crypto_start() == 0);
        passphrase = secret_new("correct horse battery", 21);
    }
    if (size >= 12 && (copy[4] | copy[5] | copy[6] | copy[8] | copy[9]) == 0)
        memcpy(copy + 4, little, sizeof(little));
    if (sealing_open(passphrase, copy, size, &plain, NULL) >= 0)
        ASSERT(secret_size(plain) == size - SEALING_OVERHEAD);
    return 0;
}
