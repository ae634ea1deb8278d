/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <stdalign.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/string.h"

/* The kernel's macros for walking messages (NLMSG_NEXT, RTA_DATA and so on) go through char * without const.
 */
#ifdef __clang__
#    pragma clang diagnostic ignored "-Wcast-qual"
#    pragma clang diagnostic ignored "-Wcast-align"
#endif

enum { REQUEST_MAX = 8192, ANSWER_MAX = 65536, ANSWER_TIMEOUT_MS = 20000 };

typedef struct Request {
    alignas(8) uint8_t data[REQUEST_MAX];
    size_t size;
    size_t start; /* of the current message */
} Request;

static int netlink_open(int protocol, int *ret_socket)
{
    _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -errno;
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    int size = 1 << 20;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    *ret_socket = TAKE_FD(fd);
    return 0;
}

int netlink_open_route(int *ret_socket)
{
    return netlink_open(NETLINK_ROUTE, ret_socket);
}

int netlink_open_netfilter(int *ret_socket)
{
    return netlink_open(NETLINK_NETFILTER, ret_socket);
}

static void *request_extend(Request *request, size_t size)
{
    size_t padded = NLMSG_ALIGN(size);
    ASSERT(padded <= sizeof(request->data) - request->size);
    void *place = request->data + request->size;
    memset(place, 0, padded);
    request->size += padded;
    return place;
}

static struct nlmsghdr *request_header(Request *request)
{
    return (struct nlmsghdr *)(void *)(request->data + request->start);
}

static void request_begin(Request *request, uint16_t type, uint16_t flags, uint32_t sequence,
                          const void *header, size_t header_size)
{
    request->start = request->size;
    struct nlmsghdr *h = request_extend(request, sizeof(*h));
    *h = (struct nlmsghdr){
        .nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags), .nlmsg_seq = sequence};
    memcpy(request_extend(request, header_size), header, header_size);
}

static void request_end(Request *request)
{
    request_header(request)->nlmsg_len = (uint32_t)(request->size - request->start);
}

static void put(Request *request, uint16_t type, const void *data, size_t size)
{
    struct rtattr *a = request_extend(request, sizeof(*a) + size);
    a->rta_type = type;
    a->rta_len = (uint16_t)(sizeof(*a) + size);
    if (size > 0)
        memcpy(a + 1, data, size);
}

static void put_text(Request *request, uint16_t type, const char *text)
{
    put(request, type, text, strlen(text) + 1);
}

static void put_u32(Request *request, uint16_t type, uint32_t value)
{
    put(request, type, &value, sizeof(value));
}

static size_t nest_begin(Request *request, uint16_t type)
{
    size_t start = request->size;
    put(request, (uint16_t)(type | NLA_F_NESTED), NULL, 0);
    return start;
}

static void nest_end(Request *request, size_t start)
{
    struct rtattr *a = (struct rtattr *)(void *)(request->data + start);
    a->rta_len = (uint16_t)(request->size - start);
}

static ssize_t receive(int socket, void *data, size_t size)
{
    struct pollfd waiting = {.fd = socket, .events = POLLIN};
    for (;;) {
        int r = poll(&waiting, 1, ANSWER_TIMEOUT_MS);
        if (r == 0)
            return -ETIMEDOUT;
        if (r > 0) {
            ssize_t n = recv(socket, data, size, MSG_TRUNC);
            if (n >= 0)
                return (size_t)n > size ? -EMSGSIZE : n;
        }
        if (errno != EINTR)
            return -errno;
    }
}

static int send_request(int socket, const Request *request)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    for (;;) {
        ssize_t n =
            sendto(socket, request->data, request->size, 0, (const struct sockaddr *)&kernel, sizeof(kernel));
        if (n >= 0)
            return (size_t)n == request->size ? 0 : -EIO;
        if (errno != EINTR)
            return -errno;
    }
}

/* The next whole message of an answer, or NULL. */
static const struct nlmsghdr *next_message(const uint8_t *data, size_t size, size_t *position)
{
    if (*position > size || size - *position < sizeof(struct nlmsghdr))
        return NULL;
    const struct nlmsghdr *m = (const void *)(data + *position);
    if (m->nlmsg_len < sizeof(*m) || m->nlmsg_len > size - *position)
        return NULL;
    *position += NLMSG_ALIGN(m->nlmsg_len);
    return m;
}

typedef int (*AnswerVisitor)(const struct nlmsghdr *message, void *context);

/* Reads until the acknowledgement of `sequence`, an error, or the end of a dump. */
static int wait_answer(int socket, uint32_t sequence, AnswerVisitor visit, void *context)
{
    alignas(8) static uint8_t data[ANSWER_MAX]; /* one thread, see the header */
    for (;;) {
        ssize_t n = receive(socket, data, sizeof(data));
        if (n < 0)
            return (int)n;
        const struct nlmsghdr *m;
        for (size_t position = 0; (m = next_message(data, (size_t)n, &position));) {
            if (m->nlmsg_seq != sequence)
                continue;
            if (m->nlmsg_type == NLMSG_ERROR) {
                const struct nlmsgerr *e = NLMSG_DATA(m);
                return e->error;
            }
            if (m->nlmsg_type == NLMSG_DONE)
                return 0;
            int r = visit ? visit(m, context) : 0;
            if (r < 0)
                return r;
            if (!(m->nlmsg_flags & NLM_F_MULTI))
                return 0;
        }
    }
}

static uint32_t next_sequence(void)
{
    static uint32_t sequence;
    return ++sequence;
}

static int call(int socket, Request *request)
{
    request_end(request);
    int r = send_request(socket, request);
    return r < 0 ? r : wait_answer(socket, request_header(request)->nlmsg_seq, NULL, NULL);
}

static int read_link_index(const struct nlmsghdr *message, void *context)
{
    const struct ifinfomsg *info = NLMSG_DATA(message);
    *(int *)context = info->ifi_index;
    return 0;
}

int link_index(int socket, const char *name)
{
    Request request = {0};
    const struct ifinfomsg info = {0};
    uint32_t sequence = next_sequence();
    request_begin(&request, RTM_GETLINK, 0, sequence, &info, sizeof(info));
    put_text(&request, IFLA_IFNAME, name);
    request_end(&request);
    int index = 0;
    int r = send_request(socket, &request);
    if (r >= 0)
        r = wait_answer(socket, sequence, read_link_index, &index);
    return r < 0 ? r : index > 0 ? index : -ENODEV;
}

static void begin_link(Request *request, uint16_t type, uint16_t flags, int index)
{
    const struct ifinfomsg info = {.ifi_index = index};
    request_begin(request, type, (uint16_t)(NLM_F_ACK | flags), next_sequence(), &info, sizeof(info));
}

int link_create_bridge(int socket, const char *name, const uint8_t mac[static MAC_SIZE], unsigned mtu)
{
    Request request = {0};
    begin_link(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
    put_text(&request, IFLA_IFNAME, name);
    put(&request, IFLA_ADDRESS, mac, MAC_SIZE);
    put_u32(&request, IFLA_MTU, mtu);
    size_t info = nest_begin(&request, IFLA_LINKINFO);
    put_text(&request, IFLA_INFO_KIND, "bridge");
    size_t data = nest_begin(&request, IFLA_INFO_DATA);
    const uint8_t off = 0;
    put(&request, IFLA_BR_MCAST_SNOOPING, &off, sizeof(off));
    put_u32(&request, IFLA_BR_FORWARD_DELAY, 0);
    put_u32(&request, IFLA_BR_STP_STATE, 0);
    nest_end(&request, data);
    nest_end(&request, info);
    return call(socket, &request);
}

int link_create_veth(int socket, const VethSpec *spec)
{
    Request request = {0};
    begin_link(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
    put_text(&request, IFLA_IFNAME, spec->name);
    if (spec->mac)
        put(&request, IFLA_ADDRESS, spec->mac, MAC_SIZE);
    if (spec->master > 0)
        put_u32(&request, IFLA_MASTER, (uint32_t)spec->master);
    put_u32(&request, IFLA_MTU, spec->mtu);
    size_t info = nest_begin(&request, IFLA_LINKINFO);
    put_text(&request, IFLA_INFO_KIND, "veth");
    size_t data = nest_begin(&request, IFLA_INFO_DATA);
    size_t peer = nest_begin(&request, VETH_INFO_PEER);
    const struct ifinfomsg peer_info = {0};
    memcpy(request_extend(&request, sizeof(peer_info)), &peer_info, sizeof(peer_info));
    put_text(&request, IFLA_IFNAME, spec->peer_name);
    put(&request, IFLA_ADDRESS, spec->peer_mac, MAC_SIZE);
    put_u32(&request, IFLA_MTU, spec->mtu);
    put_u32(&request, IFLA_NET_NS_FD, (uint32_t)spec->peer_namespace);
    nest_end(&request, peer);
    nest_end(&request, data);
    nest_end(&request, info);
    return call(socket, &request);
}

int link_set_up(int socket, int index, bool is_up)
{
    Request request = {0};
    const struct ifinfomsg info = {.ifi_index = index, .ifi_flags = is_up ? IFF_UP : 0, .ifi_change = IFF_UP};
    request_begin(&request, RTM_NEWLINK, NLM_F_ACK, next_sequence(), &info, sizeof(info));
    return call(socket, &request);
}

int link_set_no_automatic_ipv6(int socket, int index)
{
    Request request = {0};
    begin_link(&request, RTM_NEWLINK, 0, index);
    size_t families = nest_begin(&request, IFLA_AF_SPEC);
    size_t ipv6 = nest_begin(&request, AF_INET6);
    const uint8_t mode = IN6_ADDR_GEN_MODE_NONE;
    put(&request, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
    nest_end(&request, ipv6);
    nest_end(&request, families);
    return call(socket, &request);
}

int link_delete(int socket, const char *name)
{
    Request request = {0};
    begin_link(&request, RTM_DELLINK, 0, 0);
    put_text(&request, IFLA_IFNAME, name);
    int r = call(socket, &request);
    return r == -ENODEV ? 0 : r;
}

static size_t address_size(int family)
{
    return family == AF_INET ? 4 : 16;
}

int address_add(int socket, int index, int family, const void *address, unsigned prefix)
{
    Request request = {0};
    const struct ifaddrmsg info = {.ifa_family = (uint8_t)family,
                                   .ifa_prefixlen = (uint8_t)prefix,
                                   .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
                                   .ifa_index = (unsigned)index};
    request_begin(&request, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, next_sequence(), &info,
                  sizeof(info));
    put(&request, IFA_LOCAL, address, address_size(family));
    put(&request, IFA_ADDRESS, address, address_size(family));
    if (family == AF_INET && prefix < 31) {
        uint32_t host = 0;
        memcpy(&host, address, sizeof(host));
        host |= htonl(UINT32_MAX >> prefix);
        put(&request, IFA_BROADCAST, &host, sizeof(host));
    }
    return call(socket, &request);
}

int route_add(int socket, int index, int family, const void *destination, unsigned prefix,
              const void *gateway)
{
    Request request = {0};
    const struct rtmsg info = {.rtm_family = (uint8_t)family,
                               .rtm_dst_len = (uint8_t)prefix,
                               .rtm_table = RT_TABLE_MAIN,
                               .rtm_protocol = RTPROT_STATIC,
                               .rtm_scope = RT_SCOPE_UNIVERSE,
                               .rtm_type = RTN_UNICAST};
    request_begin(&request, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, next_sequence(), &info,
                  sizeof(info));
    if (prefix > 0)
        put(&request, RTA_DST, destination, address_size(family));
    put(&request, RTA_GATEWAY, gateway, address_size(family));
    put_u32(&request, RTA_OIF, (uint32_t)index);
    return call(socket, &request);
}

int neighbour_set(int socket, int index, int family, const void *address, const uint8_t mac[static MAC_SIZE])
{
    Request request = {0};
    const struct ndmsg info = {
        .ndm_family = (uint8_t)family, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
    request_begin(&request, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, next_sequence(), &info,
                  sizeof(info));
    put(&request, NDA_DST, address, address_size(family));
    put(&request, NDA_LLADDR, mac, MAC_SIZE);
    return call(socket, &request);
}

int neighbour_delete(int socket, int index, int family, const void *address)
{
    Request request = {0};
    const struct ndmsg info = {.ndm_family = (uint8_t)family, .ndm_ifindex = index};
    request_begin(&request, RTM_DELNEIGH, NLM_F_ACK, next_sequence(), &info, sizeof(info));
    put(&request, NDA_DST, address, address_size(family));
    int r = call(socket, &request);
    return r == -ENOENT ? 0 : r;
}

static const struct rtattr *find_attribute(const struct rtattr *first, unsigned size, uint16_t type)
{
    for (const struct rtattr *a = first; RTA_OK(a, size); a = RTA_NEXT(a, size))
        if ((a->rta_type & NLA_TYPE_MASK) == type)
            return a;
    return NULL;
}

static int dump(int socket, uint16_t type, const void *header, size_t header_size, AnswerVisitor visit,
                void *context)
{
    Request request = {0};
    uint32_t sequence = next_sequence();
    request_begin(&request, type, NLM_F_DUMP, sequence, header, header_size);
    request_end(&request);
    int r = send_request(socket, &request);
    return r < 0 ? r : wait_answer(socket, sequence, visit, context);
}

typedef struct LinkDump {
    LinkVisitor visit;
    void *context;
} LinkDump;

static int visit_link(const struct nlmsghdr *message, void *context)
{
    const LinkDump *d = context;
    const struct ifinfomsg *info = NLMSG_DATA(message);
    if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < NLMSG_LENGTH(sizeof(*info)))
        return 0;
    const struct rtattr *name = find_attribute(IFLA_RTA(info), (unsigned)IFLA_PAYLOAD(message), IFLA_IFNAME);
    return name ? d->visit(RTA_DATA(name), info->ifi_index, d->context) : 0;
}

int link_foreach(int socket, LinkVisitor visit, void *context)
{
    LinkDump d = {.visit = visit, .context = context};
    const struct ifinfomsg info = {0};
    return dump(socket, RTM_GETLINK, &info, sizeof(info), visit_link, &d);
}

typedef struct RouteDump {
    RouteVisitor visit;
    void *context;
} RouteDump;

static int visit_route(const struct nlmsghdr *message, void *context)
{
    const RouteDump *d = context;
    const struct rtmsg *info = NLMSG_DATA(message);
    if (message->nlmsg_type != RTM_NEWROUTE || message->nlmsg_len < NLMSG_LENGTH(sizeof(*info)) ||
        info->rtm_type != RTN_UNICAST)
        return 0;
    uint8_t destination[16] = {0};
    const struct rtattr *a = find_attribute(RTM_RTA(info), (unsigned)RTM_PAYLOAD(message), RTA_DST);
    if (a)
        memcpy(destination, RTA_DATA(a), MIN(RTA_PAYLOAD(a), sizeof(destination)));
    int index = 0;
    a = find_attribute(RTM_RTA(info), (unsigned)RTM_PAYLOAD(message), RTA_OIF);
    if (a && RTA_PAYLOAD(a) == sizeof(index))
        memcpy(&index, RTA_DATA(a), sizeof(index));
    return d->visit(info->rtm_family, destination, info->rtm_dst_len, index, d->context);
}

int route_foreach(int socket, RouteVisitor visit, void *context)
{
    RouteDump d = {.visit = visit, .context = context};
    const struct rtmsg info = {0};
    return dump(socket, RTM_GETROUTE, &info, sizeof(info), visit_route, &d);
}

static void put_batch_edge(Request *request, uint16_t type, uint32_t sequence)
{
    const struct nfgenmsg header = {
        .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    request_begin(request, type, 0, sequence, &header, sizeof(header));
    request_end(request);
}

int set_elements_change(int socket, const SetElement *elements, size_t count, bool is_added)
{
    Request request = {0};
    uint32_t last = 0;
    put_batch_edge(&request, NFNL_MSG_BATCH_BEGIN, next_sequence());
    for (size_t i = 0; i < count; i++) {
        const SetElement *e = &elements[i];
        const struct nfgenmsg header = {.nfgen_family = e->family, .version = NFNETLINK_V0};
        uint16_t type =
            (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (is_added ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM));
        last = next_sequence();
        request_begin(&request, type,
                      (uint16_t)((is_added ? NLM_F_CREATE : 0) | (i + 1 == count ? NLM_F_ACK : 0)), last,
                      &header, sizeof(header));
        put_text(&request, NFTA_SET_ELEM_LIST_TABLE, e->table);
        put_text(&request, NFTA_SET_ELEM_LIST_SET, e->set);
        size_t list = nest_begin(&request, NFTA_SET_ELEM_LIST_ELEMENTS);
        size_t item = nest_begin(&request, NFTA_LIST_ELEM);
        size_t key = nest_begin(&request, NFTA_SET_ELEM_KEY);
        put(&request, NFTA_DATA_VALUE, e->key, e->key_size);
        nest_end(&request, key);
        nest_end(&request, item);
        nest_end(&request, list);
        request_end(&request);
    }
    put_batch_edge(&request, NFNL_MSG_BATCH_END, next_sequence());
    int r = send_request(socket, &request);
    /* An error of an earlier element aborts the batch and is the first answer; it carries that element's
     * sequence, so answers of any of ours count. */
    alignas(8) uint8_t answer[4096];
    while (r >= 0) {
        ssize_t n = receive(socket, answer, sizeof(answer));
        if (n < 0)
            return (int)n;
        const struct nlmsghdr *m;
        for (size_t position = 0; (m = next_message(answer, (size_t)n, &position));) {
            const struct nlmsgerr *e = NLMSG_DATA(m);
            if (m->nlmsg_type == NLMSG_ERROR && (e->error != 0 || m->nlmsg_seq == last))
                return e->error;
        }
    }
    return r;
}
