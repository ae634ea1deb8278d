/* SPDX-License-Identifier: Apache-2.0 */
#include "net/address_table.h"

#include <arpa/inet.h>
#include <sodium.h>

#include "base/memory.h"
#include "base/string.h"

enum { BUCKETS = 4096 };

typedef struct Entry {
    struct Entry *next;
    AddressKey key;
    unsigned count;
} Entry;

struct AddressTable {
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    Entry *buckets[BUCKETS];
};

AddressTable *address_table_new(void)
{
    AddressTable *table = NEW(AddressTable);

    crypto_shorthash_keygen(table->hash_key);
    return table;
}

AddressTable *address_table_free(AddressTable *table)
{
    if (!table)
        return NULL;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (table->buckets[i]) {
            Entry *entry = table->buckets[i];
            table->buckets[i] = entry->next;
            free(entry);
        }
    }
    free(table);
    return NULL;
}

void address_describe(const struct sockaddr_storage *address, AddressKey *ret_key,
                      char text[static INET6_ADDRSTRLEN])
{
    static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    *ret_key = (AddressKey){0};
    (void)string_copy(text, INET6_ADDRSTRLEN, "local");
    if (address->ss_family == AF_INET) {
        memcpy(&v4, address, sizeof(v4));
        memcpy(ret_key->bytes, mapped_prefix, sizeof(mapped_prefix));
        memcpy(ret_key->bytes + 12, &v4.sin_addr, 4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, text, INET6_ADDRSTRLEN);
    } else if (address->ss_family == AF_INET6) {
        memcpy(&v6, address, sizeof(v6));
        if (memcmp(&v6.sin6_addr, mapped_prefix, sizeof(mapped_prefix)) == 0) {
            memcpy(ret_key->bytes, &v6.sin6_addr, 16);
            (void)inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, text, INET6_ADDRSTRLEN);
        } else {
            memcpy(ret_key->bytes, &v6.sin6_addr, 8);
            (void)inet_ntop(AF_INET6, &v6.sin6_addr, text, INET6_ADDRSTRLEN);
        }
    }
}

static Entry **find_slot(AddressTable *table, const AddressKey *key)
{
    uint64_t hash;

    (void)crypto_shorthash((uint8_t *)&hash, key->bytes, sizeof(key->bytes), table->hash_key);
    Entry **slot = &table->buckets[hash % BUCKETS];
    while (*slot && memcmp((*slot)->key.bytes, key->bytes, sizeof(key->bytes)) != 0)
        slot = &(*slot)->next;
    return slot;
}

bool address_table_add(AddressTable *table, const AddressKey *key, unsigned maximum)
{
    Entry **slot = find_slot(table, key);

    if (!*slot) {
        Entry *entry = NEW(Entry);
        entry->key = *key;
        *slot = entry;
    }
    if ((*slot)->count >= maximum)
        return false;
    (*slot)->count++;
    return true;
}

void address_table_remove(AddressTable *table, const AddressKey *key)
{
    Entry **slot = find_slot(table, key);

    ASSERT(*slot);
    if (--(*slot)->count == 0) {
        Entry *entry = *slot;
        *slot = entry->next;
        free(entry);
    }
}
