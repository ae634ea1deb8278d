/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Escrow of the master key (SV26): split among N people of whom M together can bring it back, the drill that
 * shows that they could, and the restoring itself, which needs no running keeper. Main thread of a verb. */

#include "custody/keeper_client.h"
#include "keeper/keeper-config.h"

/* Writes the files share-1 to share-N, mode 0400, into the directory; none of them may be there. */
int escrow_split(KeeperClient *client, uint32_t threshold, uint32_t count, const char *directory,
                 Error *error);

typedef struct EscrowShares {
    uint8_t bytes[KEEPER_SHARES_MAX][KEEPER_SHARE_SIZE];
    size_t count;
} EscrowShares;
void escrow_shares_done(EscrowShares *shares);

/* With the keeper stopped: checks the shares against the directory and writes the master key anew; passphrase
 * NULL = unwrapped. As the keeper's user. */
int escrow_restore(const KeeperConfig *config, const EscrowShares *shares, const Secret *passphrase,
                   Error *error);
