/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Counts connections per client address. An IPv6 client has a whole /64 to choose from, so there the /64 is
 * what counts. Hashed with a random key. Loop thread. */

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/macros.h"

typedef struct AddressTable AddressTable;

typedef struct AddressKey {
    uint8_t bytes[16];
} AddressKey;

AddressTable *address_table_new(void);
AddressTable *address_table_free(AddressTable *table);
/* The key and the numeric text of a socket address; v4-mapped ones become IPv4. Other families give zeros and
 * "local". */
void address_describe(const struct sockaddr_storage *address, AddressKey *ret_key,
                      char text[static INET6_ADDRSTRLEN]);
/* False when the address has `maximum` connections already. */
bool address_table_add(AddressTable *table, const AddressKey *key, unsigned maximum);
void address_table_remove(AddressTable *table, const AddressKey *key);
