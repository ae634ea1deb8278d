/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/addresses.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/string.h"

static uint32_t mask_of(unsigned prefix)
{
    return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

static bool is_private(uint32_t address)
{
    return (address & mask_of(8)) == 0x0a000000U || (address & mask_of(12)) == 0xac100000U ||
           (address & mask_of(16)) == 0xc0a80000U || (address & mask_of(10)) == 0x64400000U;
}

int addresses_parse_pool(const char *text, uint32_t *ret_address, unsigned *ret_prefix)
{
    char copy[ADDRESS_TEXT_SIZE];
    int r = string_copy(copy, sizeof(copy), text ? text : "");
    if (r < 0)
        return -EINVAL;
    char *slash = strchr(copy, '/');
    if (!slash)
        return -EINVAL;
    *slash = '\0';
    uint32_t address = 0;
    uint64_t prefix = 0;
    if (ipv4_parse(copy, &address) < 0 || string_to_u64(slash + 1, 32, &prefix) < 0)
        return -EINVAL;
    if (prefix < 8 || prefix > 24 || (address & ~mask_of((unsigned)prefix)) != 0 || !is_private(address))
        return -EINVAL;
    *ret_address = address;
    *ret_prefix = (unsigned)prefix;
    return 0;
}

uint32_t plan_block_count(const AddressPlan *plan)
{
    return 1U << (plan->block_prefix - plan->pool_prefix);
}

static uint32_t block_size(const AddressPlan *plan)
{
    return 1U << (32 - plan->block_prefix);
}

uint32_t plan_hosts_per_block(const AddressPlan *plan)
{
    return block_size(plan) - 3; /* network, gateway, broadcast */
}

uint32_t plan_host_address(const AddressPlan *plan, uint32_t block, uint32_t index)
{
    return plan->pool + block * block_size(plan) + 2 + index;
}

uint32_t plan_gateway_address(const AddressPlan *plan, uint32_t block)
{
    return plan->pool + block * block_size(plan) + 1;
}

bool plan_contains(const AddressPlan *plan, uint32_t address)
{
    return (address & mask_of(plan->pool_prefix)) == plan->pool;
}

uint32_t plan_block_of(const AddressPlan *plan, uint32_t address)
{
    return (address - plan->pool) >> (32 - plan->block_prefix);
}

uint32_t plan_index_of(const AddressPlan *plan, uint32_t address)
{
    uint32_t offset = (address - plan->pool) & (block_size(plan) - 1);
    return offset < 2 || offset >= block_size(plan) - 1 ? UINT32_MAX : offset - 2;
}

uint32_t plan_uplink_machine(const AddressPlan *plan)
{
    return plan->pool + 1;
}

uint32_t plan_uplink_router(const AddressPlan *plan)
{
    return plan->pool + 2;
}

void plan_ipv6(const AddressPlan *plan, uint32_t number, uint32_t ipv4, uint8_t ret[static 16])
{
    memset(ret, 0, 16);
    memcpy(ret, plan->ipv6_prefix, 6);
    ret[6] = (uint8_t)(number >> 8);
    ret[7] = (uint8_t)number;
    uint32_t low = htonl(ipv4 == 0 ? 1 : ipv4);
    memcpy(ret + 12, &low, 4);
}

void mac_of(uint32_t ipv4, uint8_t ret[static MAC_SIZE])
{
    uint32_t network_order = htonl(ipv4);
    ret[0] = 0x02; /* locally administered, one station */
    ret[1] = 0xb5;
    memcpy(ret + 2, &network_order, 4);
}

void link_local_of(const uint8_t mac[static MAC_SIZE], uint8_t ret[static 16])
{
    const uint8_t made[16] = {
        0xfe, 0x80, [8] = (uint8_t)(mac[0] ^ 0x02), mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
    memcpy(ret, made, 16);
}

void link_name_of(uint32_t ipv4, char ret[static LINK_NAME_SIZE])
{
    (void)string_print(ret, LINK_NAME_SIZE, "h%08x", ipv4);
}

void bridge_name_of(uint32_t number, char ret[static LINK_NAME_SIZE])
{
    (void)string_print(ret, LINK_NAME_SIZE, "c%u", number);
}

bool networks_overlap(uint32_t a, unsigned a_prefix, uint32_t b, unsigned b_prefix)
{
    uint32_t mask = mask_of(MIN(a_prefix, b_prefix));
    return (a & mask) == (b & mask);
}

void ipv4_format(uint32_t address, char ret[static ADDRESS_TEXT_SIZE])
{
    const struct in_addr in = {.s_addr = htonl(address)};
    ASSERT(inet_ntop(AF_INET, &in, ret, ADDRESS_TEXT_SIZE));
}

void ipv6_format(const uint8_t address[static 16], char ret[static ADDRESS_TEXT_SIZE])
{
    ASSERT(inet_ntop(AF_INET6, address, ret, ADDRESS_TEXT_SIZE));
}

int ipv4_parse(const char *text, uint32_t *ret_address)
{
    struct in_addr in;
    if (inet_pton(AF_INET, text, &in) != 1)
        return -EINVAL;
    *ret_address = ntohl(in.s_addr);
    return 0;
}
