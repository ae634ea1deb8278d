/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The network of all hosts: one router namespace, pinned by a bind mount so that it outlives the daemon; in
 * it one bridge per cluster; one veth pair to the machine. The machine reaches hosts; hosts reach nobody
 * outside their cluster (they may answer). Frames are accepted from a host's link only with the MAC and the
 * addresses that belong to it. Nothing of the machine's own network is changed but one link, its addresses
 * and two routes. One thread. */

#include "base/error.h"
#include "sandbox/addresses.h"
#include "sandbox/settings.h"

#define NETWORK_TABLE         "bastide"
#define NETWORK_SENDERS_V4    "senders_v4"
#define NETWORK_SENDERS_V6    "senders_v6"
#define NETWORK_NEIGHBOURS_V6 "neighbours_v6" /* which IPv6 addresses a link may announce */

typedef struct Network {
    AddressPlan plan;
    char *router; /* path of the pinned namespace, owned */
    char uplink[LINK_NAME_SIZE];
    unsigned mtu;
    int router_socket, machine_socket; /* rtnetlink */
} Network;

typedef struct NetworkHost {
    uint32_t cluster_number, ipv4;
} NetworkHost;
typedef struct NetworkCluster {
    uint32_t number;
    const uint32_t *blocks;
    size_t block_count;
} NetworkCluster;

/* Makes what is missing and leaves what is there: links of unknown hosts and clusters are removed, the rules
 * replaced as one transaction with the entries of the hosts given. Refuses a pool that overlaps a route of
 * the machine. */
int network_open(const Settings *settings, const uint8_t ipv6_prefix[static 6],
                 const NetworkCluster *clusters, size_t cluster_count, const NetworkHost *hosts,
                 size_t host_count, Network *ret_network, Error *error);
void network_done(Network *network);
/* Makes the bridge when needed, and adds the gateways of all blocks. */
int network_add_cluster(Network *network, const NetworkCluster *cluster, Error *error);
int network_remove_cluster(Network *network, uint32_t number, Error *error);
/* Takes a host's link down or up. */
int network_cut(Network *network, uint32_t ipv4, bool is_cut, Error *error);
/* Removes router, uplink and all bridges; needs no Network. */
int network_purge(const Settings *settings, Error *error);

/* Moves the calling process into the namespace at the path; -ENOENT when there is none. */
int network_enter(const char *path);
char *network_router_path(const Settings *settings); /* owned */
