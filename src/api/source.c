/* SPDX-License-Identifier: Apache-2.0 */
#include "api/source.h"

#include "base/string.h"

void source_of_address(const char *address, char ret_source[static SOURCE_SIZE])
{
    unsigned colons = 0;
    size_t length = 0;
    bool is_v6 = strchr(address, ':') && !strchr(address, '.');
    for (; length < SOURCE_SIZE - 1 && address[length]; length++)
        if (is_v6 && address[length] == ':' && (++colons == 4 || address[length + 1] == ':'))
            break;
    memcpy(ret_source, address, length);
    ret_source[length] = '\0';
}
