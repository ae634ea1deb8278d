/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/audit/chain.h"

#include <inttypes.h>
#include <sodium.h>

#include "base/string.h"

typedef crypto_hash_sha256_state State; /* on the stack: this runs for every record */

static void add_field(State *state, const char *text)
{
    size_t size = strlen(text);
    uint8_t length[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    (void)crypto_hash_sha256_update(state, length, sizeof(length));
    (void)crypto_hash_sha256_update(state, (const uint8_t *)text, size);
}

static void add_number(State *state, int64_t value)
{
    char text[24];
    (void)string_print(text, sizeof(text), "%" PRId64, value);
    add_field(state, text);
}

void audit_chain_hash(const uint8_t previous[static HASH_SIZE], const AuditEntry *entry,
                      uint8_t ret_hash[static HASH_SIZE])
{
    State state;
    (void)crypto_hash_sha256_init(&state);
    (void)crypto_hash_sha256_update(&state, previous, HASH_SIZE);
    add_number(&state, entry->shard);
    add_number(&state, entry->sequence);
    add_number(&state, entry->time);
    const char *const fields[] = {entry->actor,  entry->tenant, entry->source,  entry->request_id,
                                  entry->action, entry->object, entry->outcome, entry->details};
    for (size_t i = 0; i < ELEMENTSOF(fields); i++)
        add_field(&state, fields[i]);
    if (entry->format > AUDIT_FORMAT_FIRST) {
        add_number(&state, entry->format);
        add_field(&state, entry->effective_actor);
        add_field(&state, entry->authentication);
        add_field(&state, entry->digest_before);
        add_field(&state, entry->digest_after);
    }
    (void)crypto_hash_sha256_final(&state, ret_hash);
}
