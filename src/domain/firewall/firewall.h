/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The firewall of one node: from what its services declare, who its peers are and who manages it, to the text
 * of one nftables table. Everything that is not allowed is dropped; IPv4 and IPv6 alike; other tables of the
 * node are left alone; the text replaces the table in one transaction. Only tokens that were parsed and
 * printed again (addresses, numbers, names made here) enter the text. The same input gives the same text, and
 * the order of addresses does not matter. Pure; any thread. */

#include "domain/catalog/catalog.h"

typedef struct FirewallPeer {
    const char *service;
    const char *const *addresses; /* IPv4 and IPv6 of all nodes with the service */
    size_t address_count;
} FirewallPeer;

typedef struct FirewallInput {
    CatalogEntry *const *services; /* on this node */
    size_t service_count;
    const FirewallPeer *peers;
    size_t peer_count;
    const char *const *cluster; /* addresses of all nodes of the cluster */
    size_t cluster_count;
    const char *const
        *management; /* addresses or networks that may reach SSH; at least one, or we are locked out */
    size_t management_count;
    uint16_t ssh_port; /* 0 = 22 */
} FirewallInput;

enum { FIREWALL_DIGEST_SIZE = 65 };

/* Digest = SHA-256 of the text in hex. ERROR_BAD_FIELD names an address that is none. */
int firewall_render(const FirewallInput *input, char **ret_ruleset,
                    char ret_digest[static FIREWALL_DIGEST_SIZE], Error *error);
