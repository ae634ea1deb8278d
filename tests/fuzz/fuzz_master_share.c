/* SPDX-License-Identifier: Apache-2.0 */
/* Any line as a share of the master key: what is taken is taken apart and put together to the same bytes. */
#include <string.h>

#include "base/memory.h"
#include "crypto/start.h"
#include "keeper/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[KEEPER_SHARE_SIZE], again[KEEPER_SHARE_SIZE];
    KeeperShare share;

    if (input_parse_share((const char *)data, size, bytes) < 0)
        return 0;
    ASSERT(keeper_share_decode(bytes, sizeof(bytes), &share) == 0);
    keeper_share_encode(&share, again);
    ASSERT(memcmp(bytes, again, sizeof(bytes)) == 0);
    return 0;
}
