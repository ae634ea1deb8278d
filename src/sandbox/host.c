/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/netfilter.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/secret.h"
#include "base/string.h"
#include "sandbox/host_init.h"
#include "sandbox/host_key.h"
#include "sandbox/netlink.h"
#include "sandbox/network.h"
#include "sandbox/rootfs.h"

/* How a host is made. Three processes, one after the other:
 *
 *   worker   (child of the daemon) joins the host's control groups, so that all below are born in them;
 *   holder   clone3 with user, network, UTS, IPC and cgroup namespace; lives until the worker has their
 * descriptors; first    clone3 with PID and mount namespace: still root of the machine, it builds the root
 * file system, then enters the holder's namespaces, the user namespace last, and gives up the rest. It
 * becomes the host's process 1.
 *
 * So network and the like belong to the host's user namespace (its root may configure them), while mounts and
 * process table stay the machine's: nobody inside can ever mount. */

enum { NAMESPACE_USER, NAMESPACE_NET, NAMESPACE_UTS, NAMESPACE_IPC, NAMESPACE_CGROUP, _NAMESPACE_MAX };

static const struct {
    const char *name;
    int flag;
} namespaces[_NAMESPACE_MAX] = {
    [NAMESPACE_USER] = {"user", CLONE_NEWUSER},       [NAMESPACE_NET] = {"net", CLONE_NEWNET},
    [NAMESPACE_UTS] = {"uts", CLONE_NEWUTS},          [NAMESPACE_IPC] = {"ipc", CLONE_NEWIPC},
    [NAMESPACE_CGROUP] = {"cgroup", CLONE_NEWCGROUP},
};

static pid_t clone_process(uint64_t flags)
{
    struct clone_args arguments = {.flags = flags, .exit_signal = SIGCHLD};
    return (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
}

int process_start_time(pid_t pid, uint64_t *ret_start_time)
{
    char path[64];
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    (void)string_print(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_read(path, 4096, &text, &size) < 0)
        return -ESRCH;
    char *field = strrchr(text, ')'); /* the name before it may hold anything */
    for (unsigned i = 2; field && i < 22; i++)
        if ((field = strchr(field, ' ')))
            field++;
    if (!field)
        return -ESRCH;
    field[strcspn(field, " ")] = '\0';
    return string_to_u64(field, UINT64_MAX, ret_start_time);
}

static int write_proc(pid_t pid, const char *file, const char *text)
{
    char path[128];
    int r = pid > 0 ? string_print(path, sizeof(path), "/proc/%d/%s", (int)pid, file)
                    : string_copy(path, sizeof(path), file);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : write_full(fd, text, strlen(text));
}

/* In the holder, as root of the new user namespace: settings that only it can make. No further namespace of
 * any kind can be made below this one; everybody may ping. */
static int holder_settings(void)
{
    static const char *const kinds[] = {"user", "mnt", "pid", "net", "uts", "ipc", "cgroup", "time"};
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(kinds); i++) {
        char path[64];
        (void)string_print(path, sizeof(path), "/proc/sys/user/max_%s_namespaces", kinds[i]);
        r = write_proc(0, path, "0");
        if (r == -ENOENT)
            r = 0;
    }
    return r < 0 ? r : write_proc(0, "/proc/sys/net/ipv4/ping_group_range", "0 65535");
}

_noreturn_ static void holder_run(int go, int done)
{
    char byte;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (read_full(go, &byte, 1) != 1)
        _exit(1);
    int r = 0;
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        r = -errno;
    if (r >= 0)
        r = holder_settings();
    (void)write_full(done, &r, sizeof(r));
    /* Changing ids has cleared the death signal; the worker's end of the pipe closes in any case. */
    (void)read_full(go, &byte, 1);
    _exit(0);
}

static int holder_map_ids(pid_t holder, uint32_t first)
{
    char map[64];
    (void)string_print(map, sizeof(map), "0 %u %u\n", first, (unsigned)HOST_IDS);
    int r = write_proc(holder, "uid_map", map);
    return r < 0 ? r : write_proc(holder, "gid_map", map);
}

static int open_namespaces(pid_t holder, int descriptors[static _NAMESPACE_MAX])
{
    for (size_t i = 0; i < _NAMESPACE_MAX; i++) {
        char path[64];
        (void)string_print(path, sizeof(path), "/proc/%d/ns/%s", (int)holder, namespaces[i].name);
        descriptors[i] = open(path, O_RDONLY | O_CLOEXEC);
        if (descriptors[i] < 0)
            return -errno;
    }
    return 0;
}

/* Fresh namespaces, held by descriptors only. */
static int make_namespaces(uint32_t first_uid, int descriptors[static _NAMESPACE_MAX], Error *error)
{
    int go[2], done[2];
    if (pipe2(go, O_CLOEXEC) < 0 || pipe2(done, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "no pipe");
    uint64_t flags = 0;
    for (size_t i = 0; i < _NAMESPACE_MAX; i++)
        flags |= (uint64_t)namespaces[i].flag;
    pid_t holder = clone_process(flags);
    if (holder == 0) {
        (void)close(go[1]);
        holder_run(go[0], done[1]);
    }
    if (holder < 0)
        return error_set_errno(error, ERROR_UNAVAILABLE, errno, "cannot make namespaces");
    (void)close(done[1]);
    int r = holder_map_ids(holder, first_uid), answer = -EPIPE;
    if (r >= 0)
        r = write_full(go[1], "", 1);
    if (r >= 0 && read_full(done[0], &answer, sizeof(answer)) == (ssize_t)sizeof(answer))
        r = answer;
    if (r >= 0)
        r = open_namespaces(holder, descriptors);
    (void)kill(holder, SIGKILL);
    (void)waitpid(holder, NULL, 0);
    (void)close(go[0]);
    (void)close(go[1]);
    (void)close(done[0]);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "cannot prepare namespaces") : 0;
}

static void add_element(SetElement *element, const char *set, const char *link, const uint8_t *mac,
                        const void *address, size_t address_length)
{
    /* A concatenation: each part padded to four bytes. */
    enum { NAME = 16, MAC = 8 };
    *element = (SetElement){.family = NFPROTO_BRIDGE,
                            .table = NETWORK_TABLE,
                            .set = set,
                            .key_size = NAME + MAC + address_length};
    memcpy(element->key, link, strlen(link));
    memcpy(element->key + NAME, mac, MAC_SIZE);
    memcpy(element->key + NAME + MAC, address, address_length);
}

size_t host_set_elements(const AddressPlan *plan, uint32_t cluster_number, uint32_t ipv4,
                         SetElement *ret_elements)
{
    char link[LINK_NAME_SIZE];
    uint8_t mac[MAC_SIZE], ipv6[16], local[16];
    uint32_t network_order = htonl(ipv4);
    link_name_of(ipv4, link);
    mac_of(ipv4, mac);
    plan_ipv6(plan, cluster_number, ipv4, ipv6);
    link_local_of(mac, local);
    add_element(&ret_elements[0], NETWORK_SENDERS_V4, link, mac, &network_order, sizeof(network_order));
    add_element(&ret_elements[1], NETWORK_SENDERS_V6, link, mac, ipv6, sizeof(ipv6));
    add_element(&ret_elements[2], NETWORK_SENDERS_V6, link, mac, local, sizeof(local));
    add_element(&ret_elements[3], NETWORK_NEIGHBOURS_V6, link, mac, ipv6, sizeof(ipv6));
    add_element(&ret_elements[4], NETWORK_NEIGHBOURS_V6, link, mac, local, sizeof(local));
    return HOST_ELEMENTS;
}

static int change_elements(const AddressPlan *plan, uint32_t cluster_number, uint32_t ipv4, bool is_added)
{
    SetElement elements[HOST_ELEMENTS];
    size_t count = host_set_elements(plan, cluster_number, ipv4, elements);
    _cleanup_close_ int fd = -1;
    int r = netlink_open_netfilter(&fd);
    return r < 0 ? r : set_elements_change(fd, elements, count, is_added);
}

/* In the router: the link's far end, the permanent neighbours, the anti-spoofing entries. The rules come
 * first, so that no frame ever passes unchecked (the default is to drop). */
static int connect_host(const HostSpec *spec, int network_namespace)
{
    char link[LINK_NAME_SIZE];
    uint8_t mac[MAC_SIZE], ipv6[16];
    uint32_t ipv4 = htonl(spec->ipv4);
    link_name_of(spec->ipv4, link);
    mac_of(spec->ipv4, mac);
    plan_ipv6(&spec->plan, spec->cluster_number, spec->ipv4, ipv6);
    _cleanup_close_ int fd = -1;
    int r = netlink_open_route(&fd);
    if (r >= 0)
        r = change_elements(&spec->plan, spec->cluster_number, spec->ipv4, true);
    int bridge = r < 0 ? r : link_index(fd, spec->bridge);
    if (bridge < 0)
        return bridge;
    const VethSpec veth = {.name = link,
                           .master = bridge,
                           .peer_name = "eth0",
                           .peer_mac = mac,
                           .peer_namespace = network_namespace,
                           .mtu = spec->mtu};
    r = link_create_veth(fd, &veth);
    int index = r < 0 ? r : link_index(fd, link);
    if (index < 0)
        return index;
    r = link_set_no_automatic_ipv6(fd, index);
    if (r >= 0)
        r = link_set_up(fd, index, true);
    if (r >= 0)
        r = neighbour_set(fd, bridge, AF_INET, &ipv4, mac);
    return r < 0 ? r : neighbour_set(fd, bridge, AF_INET6, ipv6, mac);
}

/* In the host's network namespace. */
static int configure_interfaces(const HostSpec *spec)
{
    uint8_t mac[MAC_SIZE], gateway_mac[MAC_SIZE], ipv6[16], gateway6[16], local[16];
    uint32_t ipv4 = htonl(spec->ipv4);
    uint32_t gateway = htonl(plan_gateway_address(&spec->plan, plan_block_of(&spec->plan, spec->ipv4)));
    mac_of(spec->ipv4, mac);
    mac_of(plan_gateway_address(&spec->plan, spec->cluster_number), gateway_mac);
    plan_ipv6(&spec->plan, spec->cluster_number, spec->ipv4, ipv6);
    plan_ipv6(&spec->plan, spec->cluster_number, 0, gateway6);
    link_local_of(mac, local);
    _cleanup_close_ int fd = -1;
    int r = netlink_open_route(&fd);
    if (r >= 0)
        r = link_set_up(fd, 1, true);
    int index = r < 0 ? r : link_index(fd, "eth0");
    if (index < 0)
        return index;
    r = link_set_no_automatic_ipv6(fd, index);
    if (r >= 0)
        r = address_add(fd, index, AF_INET, &ipv4, spec->plan.block_prefix);
    if (r >= 0)
        r = link_set_up(fd, index, true);
    if (r >= 0)
        r = address_add(fd, index, AF_INET6, local, 64);
    if (r >= 0)
        r = address_add(fd, index, AF_INET6, ipv6, 64);
    if (r >= 0)
        r = neighbour_set(fd, index, AF_INET, &gateway, gateway_mac);
    if (r >= 0)
        r = neighbour_set(fd, index, AF_INET6, gateway6, gateway_mac);
    if (r >= 0)
        r = route_add(fd, index, AF_INET, NULL, 0, &gateway);
    return r < 0 ? r : route_add(fd, index, AF_INET6, NULL, 0, gateway6);
}

static int enter_user_namespace(const HostSpec *spec, int descriptor)
{
    if (setns(descriptor, CLONE_NEWUSER) < 0 || setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 ||
        setresuid(0, 0, 0) < 0)
        return -errno;
    return confine_self(spec->filter);
}

static int first_process_prepare(const HostSpec *spec, const int descriptors[static _NAMESPACE_MAX],
                                 const Buffer *key, int report, Error *error)
{
    for (size_t i = NAMESPACE_NET; i < _NAMESPACE_MAX; i++)
        if (setns(descriptors[i], namespaces[i].flag) < 0)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot enter the %s namespace",
                                   namespaces[i].name);
    if (sethostname(spec->hostname, strlen(spec->hostname)) < 0 || setdomainname("", 0) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot set the host name");
    int r = configure_interfaces(spec);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot configure the host's network");
    r = rootfs_enter(spec, descriptors[NAMESPACE_USER], (const char *)key->data, key->size, error);
    if (r < 0)
        return r;
    r = enter_user_namespace(spec, descriptors[NAMESPACE_USER]);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot become the host's root");
    /* Nothing of the machine stays open but the pipe. */
    if (dup2(report, 3) < 0 || close_range(4, ~0U, 0) < 0 || close_range(0, 2, 0) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot close descriptors");
    return 0;
}

/* The kernel shall choose anything else before the first process when the host is out of memory: that starts
 * with this value, all below inherit it, and the worker takes it back from the first process alone. (To go
 * below zero would need a capability that not every machine gives.) */
#define FIRST_CHOICE "300"

_noreturn_ static void first_process(const HostSpec *spec, const int descriptors[static _NAMESPACE_MAX],
                                     Buffer *key, int report)
{
    Error error = ERROR_INIT;
    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    (void)write_proc(0, "/proc/self/oom_score_adj", FIRST_CHOICE);
    int r = first_process_prepare(spec, descriptors, key, report, &error);
    buffer_wipe(key);
    if (r < 0) {
        (void)write_full(report, "E", 1);
        (void)write_full(report, &error, sizeof(error));
        _exit(1);
    }
    host_init_run(3);
}

/* The first process says 'R' (ready), 'E' and an Error, or dies. */
static int wait_ready(int report, unsigned timeout_ms, Error *error)
{
    struct pollfd waiting = {.fd = report, .events = POLLIN};
    int r;
    do
        r = poll(&waiting, 1, (int)timeout_ms);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return error_set(error, ERROR_TIMED_OUT, "the host's sshd did not listen within %u ms", timeout_ms);
    char what = 0;
    Error remote = ERROR_INIT;
    if (read_full(report, &what, 1) == 1 && what == 'R')
        return 0;
    if (what == 'E' && read_full(report, &remote, sizeof(remote)) == (ssize_t)sizeof(remote)) {
        if (error)
            *error = remote;
        return -EIO;
    }
    return error_set(error, ERROR_INTERNAL,
                     "the host ended before its sshd listened (is openssh-server in the image?)");
}

static int start_first(const HostSpec *spec, const int descriptors[static _NAMESPACE_MAX], Buffer *key,
                       unsigned timeout_ms, HostMade *made, Error *error)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "no pipe");
    pid_t first = clone_process(CLONE_NEWPID | CLONE_NEWNS);
    if (first == 0)
        first_process(spec, descriptors, key, report[1]);
    int r = first < 0
                ? error_set_errno(error, ERROR_UNAVAILABLE, errno, "cannot start the host's first process")
                : 0;
    (void)close(report[1]);
    buffer_wipe(key);
    if (r >= 0) {
        made->pid = first;
        r = process_start_time(first, &made->start_time);
        r = r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "the host's first process is gone")
                  : wait_ready(report[0], timeout_ms, error);
        if (r >= 0)
            (void)write_proc(first, "oom_score_adj", "0");
        else
            (void)kill(first, SIGKILL);
    }
    (void)close(report[0]);
    return r;
}

int host_make(const HostSpec *spec, unsigned timeout_ms, HostMade *ret_made, Error *error)
{
    int descriptors[_NAMESPACE_MAX] = {-1, -1, -1, -1, -1};
    _cleanup_(buffer_wipe) Buffer key = BUFFER_INIT;
    _cleanup_free_ char *public_key = NULL;
    *ret_made = (HostMade){0};
    int r = cgroups_create(spec->cgroups, spec->id, &spec->limits, error);
    if (r < 0)
        return r;
    r = cgroups_join(spec->cgroups, spec->id);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot join the host's control groups");
    if (host_key_generate(&key, &public_key) < 0 ||
        string_copy(ret_made->host_key, sizeof(ret_made->host_key), public_key) < 0)
        return error_set(error, ERROR_INTERNAL, "cannot make a host key");
    r = make_namespaces(spec->first_uid, descriptors, error);
    if (r < 0)
        return r;
    r = network_enter(spec->router);
    if (r >= 0)
        r = connect_host(spec, descriptors[NAMESPACE_NET]);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot connect the host to its bridge");
    return start_first(spec, descriptors, &key, timeout_ms, ret_made, error);
}

static int disconnect_host(const HostRemains *remains)
{
    char link[LINK_NAME_SIZE];
    uint8_t ipv6[16];
    uint32_t ipv4 = htonl(remains->ipv4);
    int r = network_enter(remains->router);
    if (r == -ENOENT)
        return 0; /* there is no router any more, so no link either */
    _cleanup_close_ int fd = -1;
    if (r >= 0)
        r = netlink_open_route(&fd);
    if (r < 0)
        return r;
    link_name_of(remains->ipv4, link);
    r = link_delete(fd, link);
    int bridge = link_index(fd, remains->bridge);
    if (r >= 0 && bridge > 0) {
        plan_ipv6(&remains->plan, remains->cluster_number, remains->ipv4, ipv6);
        (void)neighbour_delete(fd, bridge, AF_INET, &ipv4);
        (void)neighbour_delete(fd, bridge, AF_INET6, ipv6);
    }
    int removed = change_elements(&remains->plan, remains->cluster_number, remains->ipv4, false);
    return r < 0 ? r : removed == -ENOENT ? 0 : removed;
}

int host_destroy(const HostRemains *remains, Error *error)
{
    enum { WAIT_MS = 10000 };
    if (remains->pid_descriptor >= 0) {
        (void)syscall(SYS_pidfd_send_signal, remains->pid_descriptor, SIGKILL, NULL, 0);
        struct pollfd waiting = {.fd = remains->pid_descriptor, .events = POLLIN};
        (void)poll(&waiting, 1, WAIT_MS);
    }
    int r = cgroups_kill(remains->cgroups, remains->id);
    if (r >= 0)
        r = cgroups_remove(remains->cgroups, remains->id, WAIT_MS);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot end the processes of host %s", remains->id);
    r = disconnect_host(remains);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot disconnect host %s", remains->id);
    r = directory_remove(remains->directory);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot remove %s", remains->directory) : 0;
}
