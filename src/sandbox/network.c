/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netfilter.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "sandbox/netlink.h"
#include "sandbox/process.h"

#define ROUTER_UPLINK "uplink"
#define SAME_CLUSTER  "same_cluster"

enum { RULES_LIMIT = 16 * 1024 * 1024, IPV6_SITE_PREFIX = 48 };

char *network_router_path(const Settings *settings)
{
    _cleanup_free_ char *name = string_format("%s-router", settings->name);
    return path_join(settings->runtime, name);
}

int network_enter(const char *path)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct statfs fs;
    if (fd < 0 || fstatfs(fd, &fs) < 0)
        return -errno;
    /* An empty file is what a boot leaves of a pinned namespace. */
    if ((unsigned long)fs.f_type != NSFS_MAGIC)
        return -ENOENT;
    return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

/* Runs the function inside the router's namespace; the process is back where it was afterwards. */
static int in_router(const char *path, int (*run)(void *context), void *context)
{
    _cleanup_close_ int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0)
        return -errno;
    int r = network_enter(path);
    if (r < 0)
        return r;
    r = run(context);
    /* Everything else of this process belongs to the machine's network: better to end than to go on here. */
    ASSERT(setns(home, CLONE_NEWNET) == 0);
    return r;
}

static int write_setting(const char *path, const char *value)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : write_full(fd, value, strlen(value));
}

static int router_settings(void)
{
    static const char *const settings[][2] = {
        {"/proc/sys/net/ipv4/ip_forward", "1"},
        {"/proc/sys/net/ipv6/conf/all/forwarding", "1"},
        {"/proc/sys/net/ipv4/conf/all/send_redirects", "0"},
        {"/proc/sys/net/ipv4/conf/default/send_redirects", "0"},
        {"/proc/sys/net/ipv4/conf/all/accept_redirects", "0"},
        {"/proc/sys/net/ipv6/conf/all/accept_ra", "0"},
        {"/proc/sys/net/ipv6/conf/default/accept_ra", "0"},
    };
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(settings); i++)
        r = write_setting(settings[i][0], settings[i][1]);
    return r;
}

static int open_router_socket(void *context)
{
    return netlink_open_route(context);
}

/* In a child: a new namespace, pinned at the path. */
_noreturn_ static void pin_router(const char *path)
{
    if (unshare(CLONE_NEWNET) < 0 || mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0)
        _exit(errno & 0x7f);
    int fd = -1, r = router_settings();
    if (r >= 0)
        r = netlink_open_route(&fd);
    if (r >= 0)
        r = link_set_up(fd, 1, true);
    _exit(r < 0 ? -r & 0x7f : 0);
}

static int make_router(const char *path, Error *error)
{
    _cleanup_close_ int file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot make %s", path);
    pid_t child = fork();
    if (child == 0)
        pin_router(path);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot start a process");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        (void)umount2(path, MNT_DETACH);
        return error_set_errno(error, ERROR_UNAVAILABLE, WIFEXITED(status) ? WEXITSTATUS(status) : EIO,
                               "cannot make the router's network namespace");
    }
    return 1;
}

typedef struct OverlapCheck {
    const AddressPlan *plan;
    int own_index;
    Error *error;
} OverlapCheck;

static int check_route(int family, const uint8_t *destination, unsigned prefix, int index, void *context)
{
    OverlapCheck *check = context;
    char text[ADDRESS_TEXT_SIZE];
    uint32_t network = 0;
    if (family != AF_INET || prefix == 0 || index == check->own_index)
        return 0;
    memcpy(&network, destination, sizeof(network));
    network = ntohl(network);
    if (!networks_overlap(network, prefix, check->plan->pool, check->plan->pool_prefix))
        return 0;
    ipv4_format(network, text);
    return error_set(check->error, ERROR_CONFIGURATION,
                     "[network] pool overlaps the machine's route to %s/%u; choose another", text, prefix);
}

static int check_overlap(Network *network, Error *error)
{
    int own = link_index(network->machine_socket, network->uplink);
    OverlapCheck check = {.plan = &network->plan, .own_index = own > 0 ? own : -1, .error = error};
    int r = route_foreach(network->machine_socket, check_route, &check);
    return r < 0 && !error_is_set(error)
               ? error_set_errno(error, ERROR_INTERNAL, -r, "cannot read the machine's routes")
               : r;
}

/* One side of the uplink: addresses, the other side as permanent neighbour. */
static int configure_uplink(int socket, const char *name, const AddressPlan *plan, uint32_t own,
                            uint32_t other)
{
    uint8_t own6[16], other6[16], other_mac[MAC_SIZE];
    uint32_t own4 = htonl(own), other4 = htonl(other);
    plan_ipv6(plan, 0, own, own6);
    plan_ipv6(plan, 0, other, other6);
    mac_of(other, other_mac);
    int index = link_index(socket, name);
    if (index < 0)
        return index;
    int r = link_set_no_automatic_ipv6(socket, index);
    if (r >= 0)
        r = link_set_up(socket, index, true);
    if (r >= 0)
        r = address_add(socket, index, AF_INET, &own4, 30);
    if (r >= 0)
        r = address_add(socket, index, AF_INET6, own6, 64);
    if (r >= 0)
        r = neighbour_set(socket, index, AF_INET, &other4, other_mac);
    return r < 0 ? r : neighbour_set(socket, index, AF_INET6, other6, other_mac);
}

static int make_uplink(Network *network, Error *error)
{
    const AddressPlan *plan = &network->plan;
    uint32_t machine = plan_uplink_machine(plan), router = plan_uplink_router(plan);
    uint8_t machine_mac[MAC_SIZE], router_mac[MAC_SIZE], router6[16], site[16] = {0};
    mac_of(machine, machine_mac);
    mac_of(router, router_mac);
    _cleanup_close_ int namespace = open(network->router, O_RDONLY | O_CLOEXEC);
    int r = namespace < 0 ? -errno : 0;
    if (r >= 0 && link_index(network->machine_socket, network->uplink) < 0) {
        const VethSpec veth = {.name = network->uplink,
                               .mac = machine_mac,
                               .peer_name = ROUTER_UPLINK,
                               .peer_mac = router_mac,
                               .peer_namespace = namespace,
                               .mtu = network->mtu};
        r = link_create_veth(network->machine_socket, &veth);
    }
    if (r >= 0)
        r = configure_uplink(network->machine_socket, network->uplink, plan, machine, router);
    if (r >= 0)
        r = configure_uplink(network->router_socket, ROUTER_UPLINK, plan, router, machine);
    uint32_t pool = htonl(plan->pool), gateway = htonl(router);
    plan_ipv6(plan, 0, router, router6);
    memcpy(site, plan->ipv6_prefix, sizeof(plan->ipv6_prefix));
    int index = r < 0 ? r : link_index(network->machine_socket, network->uplink);
    r = index < 0 ? index
                  : route_add(network->machine_socket, index, AF_INET, &pool, plan->pool_prefix, &gateway);
    if (r >= 0)
        r = route_add(network->machine_socket, index, AF_INET6, site, IPV6_SITE_PREFIX, router6);
    return r < 0 ? error_set_errno(error, ERROR_UNAVAILABLE, -r, "cannot link the machine to the router") : 0;
}

static void append_rules(Buffer *rules, const AddressPlan *plan)
{
    char machine4[ADDRESS_TEXT_SIZE], machine6[ADDRESS_TEXT_SIZE];
    uint8_t ipv6[16];
    ipv4_format(plan_uplink_machine(plan), machine4);
    plan_ipv6(plan, 0, plan_uplink_machine(plan), ipv6);
    ipv6_format(ipv6, machine6);
    buffer_append_format(
        rules,
        "table bridge " NETWORK_TABLE " {}\ndelete table bridge " NETWORK_TABLE "\n"
        "table bridge " NETWORK_TABLE " {\n"
        " set " NETWORK_SENDERS_V4 " { type ifname . ether_addr . ipv4_addr; }\n"
        " set " NETWORK_SENDERS_V6 " { type ifname . ether_addr . ipv6_addr; }\n"
        " set " NETWORK_NEIGHBOURS_V6 " { typeof meta iifname . ether saddr . @th,64,128; }\n"
        /* ARP names its sender in the rule below; neighbour discovery names it in the message. */
        " chain prerouting { type filter hook prerouting priority -300; policy drop;\n"
        "  ether type ip iifname . ether saddr . ip saddr @" NETWORK_SENDERS_V4 " accept\n"
        "  icmpv6 type { nd-router-advert, nd-redirect } drop\n"
        "  icmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 != @" NETWORK_NEIGHBOURS_V6
        " drop\n"
        "  ether type ip6 iifname . ether saddr . ip6 saddr @" NETWORK_SENDERS_V6 " accept\n"
        "  ether type arp arp htype 1 arp ptype ip iifname . arp saddr ether . arp saddr ip "
        "@" NETWORK_SENDERS_V4 " iifname . ether saddr . arp saddr ip @" NETWORK_SENDERS_V4 " accept\n"
        " }\n}\n"
        "table inet " NETWORK_TABLE " {}\ndelete table inet " NETWORK_TABLE "\n"
        "table inet " NETWORK_TABLE " {\n"
        " set " SAME_CLUSTER " { type ifname . ifname; }\n"
        " chain forward { type filter hook forward priority 0; policy drop;\n"
        "  ct state established,related accept\n"
        "  iifname \"" ROUTER_UPLINK "\" ip saddr %s accept\n"
        "  iifname \"" ROUTER_UPLINK "\" ip6 saddr %s accept\n"
        "  iifname . oifname @" SAME_CLUSTER " accept\n"
        " }\n"
        " chain input { type filter hook input priority 0; policy drop;\n"
        "  iifname \"lo\" accept\n"
        "  ct state established,related accept\n"
        "  icmp type echo-request limit rate 1000/second accept\n"
        "  icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert } limit rate "
        "1000/second accept\n"
        " }\n}\n",
        machine4, machine6);
}

static void append_known(Buffer *rules, const AddressPlan *plan, const NetworkCluster *clusters,
                         size_t cluster_count, const NetworkHost *hosts, size_t host_count)
{
    for (size_t i = 0; i < cluster_count; i++) {
        char bridge[LINK_NAME_SIZE];
        bridge_name_of(clusters[i].number, bridge);
        buffer_append_format(rules,
                             "add element inet " NETWORK_TABLE " " SAME_CLUSTER " { \"%s\" . \"%s\" }\n",
                             bridge, bridge);
    }
    for (size_t i = 0; i < host_count; i++) {
        char link[LINK_NAME_SIZE], v4[ADDRESS_TEXT_SIZE], v6[ADDRESS_TEXT_SIZE], local[ADDRESS_TEXT_SIZE],
            mac_text[18];
        uint8_t mac[MAC_SIZE], ipv6[16], link_local[16];
        link_name_of(hosts[i].ipv4, link);
        mac_of(hosts[i].ipv4, mac);
        plan_ipv6(plan, hosts[i].cluster_number, hosts[i].ipv4, ipv6);
        link_local_of(mac, link_local);
        ipv4_format(hosts[i].ipv4, v4);
        ipv6_format(ipv6, v6);
        ipv6_format(link_local, local);
        (void)string_print(mac_text, sizeof(mac_text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
                           mac[2], mac[3], mac[4], mac[5]);
        buffer_append_format(
            rules, "add element bridge " NETWORK_TABLE " " NETWORK_SENDERS_V4 " { \"%s\" . %s . %s }\n", link,
            mac_text, v4);
        buffer_append_format(rules,
                             "add element bridge " NETWORK_TABLE " " NETWORK_SENDERS_V6
                             " { \"%s\" . %s . %s, \"%s\" . %s . %s }\n",
                             link, mac_text, v6, link, mac_text, local);
        char raw[33], raw_local[33];
        hex_encode(ipv6, sizeof(ipv6), raw);
        hex_encode(link_local, sizeof(link_local), raw_local);
        buffer_append_format(rules,
                             "add element bridge " NETWORK_TABLE " " NETWORK_NEIGHBOURS_V6
                             " { \"%s\" . %s . 0x%s, \"%s\" . %s . 0x%s }\n",
                             link, mac_text, raw, link, mac_text, raw_local);
    }
}

static int run_nft(void *context)
{
    const Buffer *rules = context;
    static const char *const arguments[] = {"/usr/sbin/nft", "-f", "-", NULL};
    return process_run(arguments, rules->data, rules->size);
}

typedef struct LinkCheck {
    const NetworkCluster *clusters;
    size_t cluster_count;
    const NetworkHost *hosts;
    size_t host_count;
    StringList stale;
} LinkCheck;

static bool link_is_known(const LinkCheck *check, const char *name)
{
    char known[LINK_NAME_SIZE];
    for (size_t i = 0; *name == 'c' && i < check->cluster_count; i++) {
        bridge_name_of(check->clusters[i].number, known);
        if (string_equal(known, name))
            return true;
    }
    for (size_t i = 0; *name == 'h' && i < check->host_count; i++) {
        link_name_of(check->hosts[i].ipv4, known);
        if (string_equal(known, name))
            return true;
    }
    return *name != 'c' && *name != 'h';
}

static int check_link(const char *name, int index, void *context)
{
    LinkCheck *check = context;
    if (!link_is_known(check, name))
        string_list_append(&check->stale, name);
    return 0;
}

static int remove_stale_links(Network *network, LinkCheck *check)
{
    int r = link_foreach(network->router_socket, check_link, check);
    for (size_t i = 0; r >= 0 && i < check->stale.count; i++) {
        log_notice("removing left-over link %s", check->stale.items[i]);
        r = link_delete(network->router_socket, check->stale.items[i]);
    }
    string_list_done(&check->stale);
    return r;
}

static int open_router(Network *network, Error *error)
{
    int r = in_router(network->router, open_router_socket, &network->router_socket);
    if (r == -ENOENT) {
        r = make_router(network->router, error);
        if (r < 0)
            return r;
        r = in_router(network->router, open_router_socket, &network->router_socket);
    }
    return r < 0
               ? error_set_errno(error, ERROR_UNAVAILABLE, -r, "cannot enter the router's network namespace")
               : 0;
}

int network_open(const Settings *settings, const uint8_t ipv6_prefix[static 6],
                 const NetworkCluster *clusters, size_t cluster_count, const NetworkHost *hosts,
                 size_t host_count, Network *ret_network, Error *error)
{
    Network network = {.plan = {.pool = settings->pool_address,
                                .pool_prefix = settings->pool_prefix,
                                .block_prefix = (unsigned)settings->block_prefix},
                       .router = network_router_path(settings),
                       .mtu = (unsigned)settings->uplink_mtu,
                       .router_socket = -1,
                       .machine_socket = -1};
    memcpy(network.plan.ipv6_prefix, ipv6_prefix, sizeof(network.plan.ipv6_prefix));
    (void)string_print(network.uplink, sizeof(network.uplink), "%s-uplink", settings->name);
    int r = netlink_open_route(&network.machine_socket);
    if (r < 0)
        error_set_errno(error, ERROR_INTERNAL, -r, "no netlink socket");
    if (r >= 0)
        r = check_overlap(&network, error);
    if (r >= 0)
        r = open_router(&network, error);
    _cleanup_buffer_ Buffer rules = BUFFER_INIT_LIMIT(RULES_LIMIT);
    if (r >= 0) {
        append_rules(&rules, &network.plan);
        append_known(&rules, &network.plan, clusters, cluster_count, hosts, host_count);
        r = in_router(network.router, run_nft, &rules);
        if (r < 0)
            error_set_errno(error, ERROR_UNAVAILABLE, -r,
                            "cannot load the router's rules (is nftables installed?)");
    }
    if (r >= 0)
        r = make_uplink(&network, error);
    LinkCheck check = {
        .clusters = clusters, .cluster_count = cluster_count, .hosts = hosts, .host_count = host_count};
    if (r >= 0 && (r = remove_stale_links(&network, &check)) < 0)
        error_set_errno(error, ERROR_INTERNAL, -r, "cannot remove left-over links");
    if (r < 0) {
        network_done(&network);
        return r;
    }
    *ret_network = network;
    return 0;
}

void network_done(Network *network)
{
    free(network->router);
    if (network->router_socket >= 0)
        (void)close(network->router_socket);
    if (network->machine_socket >= 0)
        (void)close(network->machine_socket);
    *network = (Network){.router_socket = -1, .machine_socket = -1};
}

typedef struct ElementChange {
    SetElement element;
    bool is_added;
} ElementChange;

static int change_element(void *context)
{
    const ElementChange *change = context;
    _cleanup_close_ int fd = -1;
    int r = netlink_open_netfilter(&fd);
    return r < 0 ? r : set_elements_change(fd, &change->element, 1, change->is_added);
}

static int allow_within(Network *network, const char *bridge, bool is_added)
{
    ElementChange change = {.element = {.family = NFPROTO_INET,
                                        .table = NETWORK_TABLE,
                                        .set = SAME_CLUSTER,
                                        .key_size = 2 * IFNAMSIZ},
                            .is_added = is_added};
    memcpy(change.element.key, bridge, strlen(bridge));
    memcpy(change.element.key + IFNAMSIZ, bridge, strlen(bridge));
    return in_router(network->router, change_element, &change);
}

int network_add_cluster(Network *network, const NetworkCluster *cluster, Error *error)
{
    char bridge[LINK_NAME_SIZE];
    uint8_t mac[MAC_SIZE], gateway6[16], local[16];
    bridge_name_of(cluster->number, bridge);
    mac_of(plan_gateway_address(&network->plan, cluster->number), mac);
    plan_ipv6(&network->plan, cluster->number, 0, gateway6);
    link_local_of(mac, local);
    int index = link_index(network->router_socket, bridge);
    int r = 0;
    if (index < 0) {
        r = link_create_bridge(network->router_socket, bridge, mac, network->mtu);
        index = r < 0 ? r : link_index(network->router_socket, bridge);
        r = MIN(index, 0);
        if (r >= 0)
            r = link_set_no_automatic_ipv6(network->router_socket, index);
        if (r >= 0)
            r = link_set_up(network->router_socket, index, true);
        if (r >= 0)
            r = address_add(network->router_socket, index, AF_INET6, local, 64);
        if (r >= 0)
            r = address_add(network->router_socket, index, AF_INET6, gateway6, 64);
    }
    for (size_t i = 0; r >= 0 && i < cluster->block_count; i++) {
        uint32_t gateway = htonl(plan_gateway_address(&network->plan, cluster->blocks[i]));
        r = address_add(network->router_socket, index, AF_INET, &gateway, network->plan.block_prefix);
    }
    if (r >= 0)
        r = allow_within(network, bridge, true);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "cannot make the bridge of the cluster") : 0;
}

int network_remove_cluster(Network *network, uint32_t number, Error *error)
{
    char bridge[LINK_NAME_SIZE];
    bridge_name_of(number, bridge);
    int r = link_delete(network->router_socket, bridge);
    int removed = r < 0 ? r : allow_within(network, bridge, false);
    return removed < 0 && removed != -ENOENT
               ? error_set_errno(error, ERROR_INTERNAL, -removed, "cannot remove bridge %s", bridge)
               : 0;
}

int network_cut(Network *network, uint32_t ipv4, bool is_cut, Error *error)
{
    char link[LINK_NAME_SIZE];
    link_name_of(ipv4, link);
    int index = link_index(network->router_socket, link);
    int r = index < 0 ? index : link_set_up(network->router_socket, index, !is_cut);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "cannot %s the network of the host",
                                   is_cut ? "cut" : "restore")
                 : 0;
}

int network_purge(const Settings *settings, Error *error)
{
    _cleanup_free_ char *router = network_router_path(settings);
    char uplink[LINK_NAME_SIZE];
    _cleanup_close_ int fd = -1;
    (void)string_print(uplink, sizeof(uplink), "%s-uplink", settings->name);
    int r = netlink_open_route(&fd);
    if (r >= 0)
        r = link_delete(fd, uplink); /* takes its addresses and routes with it */
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot remove link %s", uplink);
    /* The bridges end with the namespace. */
    while (umount2(router, MNT_DETACH) == 0)
        ;
    if (errno != EINVAL && errno != ENOENT)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot unpin %s", router);
    if (unlink(router) < 0 && errno != ENOENT)
        return error_set_errno(error, ERROR_IO, errno, "cannot remove %s", router);
    return 0;
}
