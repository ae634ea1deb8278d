/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The manager's own certificates: one for each listener, the key made here, signed by the keeper, renewed
 * when a third of its life is left or when an address was added. As the manager's user. */

#include "custody/keeper_client.h"
#include "manager/manager_config.h"

typedef enum IdentityKind { IDENTITY_EXTERNAL, IDENTITY_INTERNAL, _IDENTITY_MAX } IdentityKind;

/* Paths of the PEM files; owned. */
char *identity_key_path(const ManagerConfig *config, IdentityKind kind);
char *identity_chain_path(const ManagerConfig *config, IdentityKind kind);
char *identity_ca_path(const ManagerConfig *config);

/* Whether there are certificates to start with while the keeper is sealed. */
bool identity_is_there(const ManagerConfig *config);
/* Makes or renews what is missing or about to expire. ret_changed: bits by kind; may be NULL. */
int identity_ensure(const ManagerConfig *config, KeeperClient *keeper, unsigned *ret_changed, Error *error);
