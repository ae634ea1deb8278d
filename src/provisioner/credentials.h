/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SSH certificates per cluster, asked of the manager and renewed before they end (decision 5). Any thread. */

#include "provisioner/manager.h"
#include "provisioner/ssh_credential.h"

typedef struct Credentials Credentials;

Credentials *credentials_new(Manager *manager, uint64_t epoch);
Credentials *credentials_free(Credentials *credentials);
DEFINE_CLEANUP(Credentials, credentials_free);
/* A reference of the caller's own. May ask the manager. */
int credentials_get(Credentials *credentials, const char *cluster, SshCredential **ret_credential,
                    Error *error);
/* The public key of the authority that signs them, as a line; owned. */
int credentials_get_authority(Credentials *credentials, const char *cluster, char **ret_authority,
                              Error *error);
