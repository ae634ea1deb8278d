/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/catalog/tokens.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/file.h"
#include "base/string.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool consists_of(const char *text, const char *characters)
{
    return *text && text[strspn(text, characters)] == '\0';
}

int address_parse(const char *text, AddressToken *ret_address)
{
    AddressToken address = {0};
    if (inet_pton(AF_INET, text, address.bytes) == 1) {
        address.family = AF_INET;
        address.prefix = 32;
    } else if (inet_pton(AF_INET6, text, address.bytes) == 1) {
        address.family = AF_INET6;
        address.prefix = 128;
    } else
        return -EINVAL;
    *ret_address = address;
    return 0;
}

int cidr_parse(const char *text, AddressToken *ret_network)
{
    char address_text[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    if (length >= sizeof(address_text))
        return -EINVAL;
    memcpy(address_text, text, length);
    address_text[length] = '\0';
    AddressToken network;
    int r = address_parse(address_text, &network);
    if (r < 0)
        return r;
    if (slash) {
        int64_t prefix;
        if (!consists_of(slash + 1, DIGITS) || string_to_i64(slash + 1, 0, network.prefix, &prefix) < 0)
            return -EINVAL;
        network.prefix = (unsigned)prefix;
    }
    size_t size = network.family == AF_INET ? 4 : 16;
    for (size_t bit = network.prefix; bit < size * 8; bit++)
        if (network.bytes[bit / 8] & (0x80 >> (bit % 8)))
            return -EINVAL;
    *ret_network = network;
    return 0;
}

void address_format(const AddressToken *address, char destination[static ADDRESS_TOKEN_SIZE])
{
    char text[INET6_ADDRSTRLEN] = "";
    (void)inet_ntop(address->family, address->bytes, text, sizeof(text));
    if (address->prefix == (address->family == AF_INET ? 32u : 128u))
        (void)string_copy(destination, ADDRESS_TOKEN_SIZE, text);
    else
        (void)string_print(destination, ADDRESS_TOKEN_SIZE, "%s/%u", text, address->prefix);
}

int address_compare(const AddressToken *a, const AddressToken *b)
{
    if (a->family != b->family)
        return a->family == AF_INET ? -1 : 1;
    int r = memcmp(a->bytes, b->bytes, sizeof(a->bytes));
    if (r != 0)
        return r;
    return a->prefix < b->prefix ? -1 : a->prefix > b->prefix;
}

bool token_is_address(const char *text)
{
    AddressToken ignored;
    return address_parse(text, &ignored) == 0;
}

bool token_is_cidr(const char *text)
{
    AddressToken ignored;
    return cidr_parse(text, &ignored) == 0;
}

bool token_is_host_key(const char *text)
{
    static const char *const kinds[] = {"ssh-ed25519 ", "ecdsa-sha2-nistp256 ", "ecdsa-sha2-nistp384 ",
                                        "ecdsa-sha2-nistp521 ", "ssh-rsa "};
    if (string_starts_with(text, "SHA256:"))
        return strlen(text) == 7 + 43 && consists_of(text + 7, LOWER UPPER DIGITS "+/");
    for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
        if (string_starts_with(text, kinds[i])) {
            const char *blob = text + strlen(kinds[i]);
            size_t length = strcspn(blob, " ");
            return length >= 32 && length <= 4096 && strspn(blob, LOWER UPPER DIGITS "+/=") >= length &&
                   !string_has_control(text, strlen(text), NULL);
        }
    return false;
}

bool token_is_absolute_path(const char *text)
{
    return text[0] == '/' && path_is_safe_relative(text + 1) &&
           consists_of(text, LOWER UPPER DIGITS "._/@+-");
}

bool token_is_user(const char *text)
{
    return strlen(text) <= 32 && strchr(LOWER "_", text[0]) && consists_of(text, LOWER DIGITS "_-");
}

bool token_is_secret_name(const char *text)
{
    return strlen(text) <= 128 && consists_of(text, LOWER UPPER DIGITS "._-") && strchr(LOWER UPPER, text[0]);
}
