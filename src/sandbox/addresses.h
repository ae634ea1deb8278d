/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Addresses of hosts, without any I/O. The IPv4 pool is cut into equal blocks; block 0 belongs to the uplink
 * between machine and router; a cluster owns one block or more and is numbered by its first. The first
 * address of a block is the gateway. All else follows from a host's IPv4 address: its MAC (so that a re-used
 * address never meets a stale neighbour entry), its IPv6 address, the name of its link. IPv4 in host byte
 * order. Any thread. */

#include "base/macros.h"

enum { MAC_SIZE = 6, LINK_NAME_SIZE = 16, ADDRESS_TEXT_SIZE = 46 };

typedef struct AddressPlan {
    uint32_t pool;
    unsigned pool_prefix, block_prefix;
    uint8_t ipv6_prefix[6]; /* unique local /48 */
} AddressPlan;

/* "10.214.0.0/16"; /8 to /24, no host bits, private or shared address space only. */
int addresses_parse_pool(const char *text, uint32_t *ret_address, unsigned *ret_prefix);

uint32_t plan_block_count(const AddressPlan *plan);
uint32_t plan_hosts_per_block(const AddressPlan *plan);
/* index < plan_hosts_per_block */
uint32_t plan_host_address(const AddressPlan *plan, uint32_t block, uint32_t index);
uint32_t plan_gateway_address(const AddressPlan *plan, uint32_t block);
bool plan_contains(const AddressPlan *plan, uint32_t address);
uint32_t plan_block_of(const AddressPlan *plan, uint32_t address);
/* The host's index in its block, or UINT32_MAX for network, gateway and broadcast. */
uint32_t plan_index_of(const AddressPlan *plan, uint32_t address);
/* Both ends of the uplink, in block 0. */
uint32_t plan_uplink_machine(const AddressPlan *plan);
uint32_t plan_uplink_router(const AddressPlan *plan);

/* /64 of cluster `number`, host part = the IPv4 address (0 = ::1 the gateway). */
void plan_ipv6(const AddressPlan *plan, uint32_t number, uint32_t ipv4, uint8_t ret[static 16]);
void mac_of(uint32_t ipv4, uint8_t ret[static MAC_SIZE]);
void link_local_of(const uint8_t mac[static MAC_SIZE], uint8_t ret[static 16]);
void link_name_of(uint32_t ipv4, char ret[static LINK_NAME_SIZE]);
void bridge_name_of(uint32_t number, char ret[static LINK_NAME_SIZE]);
bool networks_overlap(uint32_t a, unsigned a_prefix, uint32_t b, unsigned b_prefix);

void ipv4_format(uint32_t address, char ret[static ADDRESS_TEXT_SIZE]);
void ipv6_format(const uint8_t address[static 16], char ret[static ADDRESS_TEXT_SIZE]);
int ipv4_parse(const char *text, uint32_t *ret_address);
