/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The keeper: custody of the master key, the tenants' data keys, the certificate authorities, the SSH
 * authorities and the signing key. It takes framed requests (custody/keeper_protocol.h), checks who asks
 * against the table, does one thing and accounts for it in its log. It parses nothing that a user wrote,
 * opens no connection and starts no process.
 *
 * Theory of operation: the directory is a Vault. Set-up writes all keys and, last, `state`; without `state`
 * the keeper is uninitialised and set-up begins anew. A raw master key opens at start; a wrapped one leaves
 * the keeper sealed until UNSEAL. SEAL drops everything secret from memory. Whatever must not go backwards
 * (audit heads, serials of approved sets) is written and synced before the signature leaves. One thread. */

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/secret.h"
#include "custody/keeper_protocol.h"

typedef struct Keeper Keeper;

/* The directory must exist (vault.h says how). Opens what can be opened without a passphrase. */
int keeper_new(const char *directory, const Clock *clock, Keeper **ret_keeper, Error *error);
Keeper *keeper_free(Keeper *keeper);
DEFINE_CLEANUP(Keeper, keeper_free);
#define _cleanup_keeper_ _cleanup_(keeper_free_pointer)

KeeperState keeper_state(const Keeper *keeper);
/* Also for the offline verb. ca_certificate/ca_key NULL = an authority of our own; passphrase NULL = raw
 * master key. */
int keeper_initialise(Keeper *keeper, const char *organisation, const char *ca_certificate,
                      const Secret *ca_key, const Secret *passphrase, Error *error);
/* Opens a sealed keeper whose master key is wrapped. */
int keeper_unseal(Keeper *keeper, const Secret *passphrase, Error *error);
/* What to trust; PEM, borrowed; NULL unless open. */
const char *keeper_trust(const Keeper *keeper);

typedef struct KeeperCaller {
    KeeperPeer peer;
    uint32_t uid;
    int32_t pid;
} KeeperCaller;

/* One whole frame in, one whole frame appended to reply (an ERROR for what is refused). Negative only when
 * the peer broke the protocol or there is no answer to give; the connection is then closed. */
int keeper_handle(Keeper *keeper, const KeeperCaller *caller, const uint8_t *frame, size_t size,
                  Buffer *reply);
/* An ERROR frame. */
int keeper_append_error(Buffer *reply, uint32_t request_id, ErrorCode code, const char *text);
