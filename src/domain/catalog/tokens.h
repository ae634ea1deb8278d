/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Addresses, networks and keys that come as text: checked and brought into one spelling, so that only what
 * was understood is ever written into a rule set or handed on. Pure; any thread. */

#include <netinet/in.h>

#include "base/macros.h"

typedef struct AddressToken {
    int family;        /* AF_INET or AF_INET6 */
    unsigned prefix;   /* 32 or 128 for a single address */
    uint8_t bytes[16]; /* host bits are cleared for a network */
} AddressToken;

enum { ADDRESS_TOKEN_SIZE = INET6_ADDRSTRLEN + 4 };

/* "10.0.0.1" or "fd00::1"; 0 or -EINVAL. */
int address_parse(const char *text, AddressToken *ret_address);
/* "10.0.0.0/8", "fd00::/8", or a single address. Host bits that are set are refused. */
int cidr_parse(const char *text, AddressToken *ret_network);
/* Canonical; the prefix only when it is shorter than the address. */
void address_format(const AddressToken *address, char destination[static ADDRESS_TOKEN_SIZE]);
int address_compare(const AddressToken *a, const AddressToken *b);

bool token_is_address(const char *text);
bool token_is_cidr(const char *text);
/* "ssh-ed25519 AAAA...", "ecdsa-sha2-nistp256 AAAA...", "ssh-rsa AAAA...", or "SHA256:<43 characters>". */
bool token_is_host_key(const char *text);
/* Absolute, without "." and ".." components, of [A-Za-z0-9._/@+-]. */
bool token_is_absolute_path(const char *text);
/* User name of a Unix system: [a-z_][a-z0-9_-]{0,31}. */
bool token_is_user(const char *text);
/* Name of a secret: letters, digits, '.', '-', '_', first a letter; at most 128. */
bool token_is_secret_name(const char *text);
