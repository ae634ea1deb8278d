/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The few rtnetlink and nfnetlink requests that the sandbox needs. A netlink socket stays in the network
 * namespace it was opened in. Every call sends one request and waits for the kernel's answer; negative errno.
 * A socket belongs to one process. IPv4 addresses in network byte order here, as bytes. */

#include <sys/types.h>

#include "base/macros.h"
#include "sandbox/addresses.h"

int netlink_open_route(int *ret_socket);
int netlink_open_netfilter(int *ret_socket);

int link_index(int socket, const char *name); /* > 0, or -ENODEV */
int link_create_bridge(int socket, const char *name, const uint8_t mac[static MAC_SIZE], unsigned mtu);

typedef struct VethSpec {
    const char *name;      /* in the namespace of the socket */
    const uint8_t *mac;    /* or NULL */
    int master;            /* index of a bridge, or 0 */
    const char *peer_name; /* in peer_namespace */
    const uint8_t *peer_mac;
    int peer_namespace; /* descriptor */
    unsigned mtu;
} VethSpec;
int link_create_veth(int socket, const VethSpec *spec);
int link_set_up(int socket, int index, bool is_up);
/* No link-local address by the kernel: we add it, so that it is usable at once. */
int link_set_no_automatic_ipv6(int socket, int index);
int link_delete(int socket, const char *name); /* absent is fine */

int address_add(int socket, int index, int family, const void *address, unsigned prefix);
/* prefix 0 = default route */
int route_add(int socket, int index, int family, const void *destination, unsigned prefix,
              const void *gateway);
int neighbour_set(int socket, int index, int family, const void *address, const uint8_t mac[static MAC_SIZE]);
int neighbour_delete(int socket, int index, int family, const void *address); /* absent is fine */

typedef int (*LinkVisitor)(const char *name, int index, void *context);
int link_foreach(int socket, LinkVisitor visit, void *context);
/* Unicast routes; index of the outgoing link or 0. */
typedef int (*RouteVisitor)(int family, const uint8_t *destination, unsigned prefix, int index,
                            void *context);
int route_foreach(int socket, RouteVisitor visit, void *context);

/* Set elements of nftables, as one transaction. */
typedef struct SetElement {
    uint8_t family; /* NFPROTO_* of the table */
    const char *table, *set;
    uint8_t key[64];
    size_t key_size;
} SetElement;
int set_elements_change(int socket, const SetElement *elements, size_t count, bool is_added);
