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

/* The chain in use, without the key that a given pair has behind it; owned. Negative errno. */
int identity_read_chain(const ManagerConfig *config, IdentityKind kind, char **ret_chain);
/* Whether the listener has a pair that was given rather than made here. */
bool identity_is_given(const ManagerConfig *config, IdentityKind kind);
IdentityKind identity_kind_from_string(const char *name); /* "external", "internal"; -EINVAL */
const char *identity_kind_to_string(IdentityKind kind);

/* Whether a pair is good for the listener; every rule has its own reason. ca: PEM that the chain must lead
 * to; NULL for an external one whose authority the clients know by themselves. The internal one must always
 * come from the internal authority (trust). */
int identity_check_given(const ManagerConfig *config, IdentityKind kind, const char *chain, const Secret *key,
                         const char *ca, const char *trust, Error *error);
/* One file in one write: the pair is never half of each. The next load takes it. */
int identity_install_given(const ManagerConfig *config, IdentityKind kind, const char *chain,
                           const Secret *key, Error *error);
/* Back to our own; absent is fine. */
int identity_remove_given(const ManagerConfig *config, IdentityKind kind, Error *error);
/* The pairs that the configuration names (PK1, PK3): checked, and installed when they are new. */
int identity_configure(const ManagerConfig *config, const char *trust, Error *error);

/* Whether there are certificates to start with while the keeper is sealed. */
bool identity_is_there(const ManagerConfig *config);
/* Makes or renews what is missing or about to expire. ret_changed: bits by kind; may be NULL. */
int identity_ensure(const ManagerConfig *config, KeeperClient *keeper, unsigned *ret_changed, Error *error);
