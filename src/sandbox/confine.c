/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

/* sshd: SETUID, SETGID, SYS_CHROOT, CHOWN, KILL; nft, ip: NET_ADMIN; ping as root: NET_RAW; daemons and
 * packages' scripts: the rest. Left out on purpose: SYS_ADMIN, SYS_PTRACE, MKNOD, SYS_MODULE, SYS_RESOURCE,
 * SETFCAP, SETPCAP, AUDIT_* (auditing belongs to the machine). */
static const unsigned kept_capabilities[] = {
    CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,           CAP_FSETID,    CAP_KILL,    CAP_SETGID,
    CAP_SETUID, CAP_SYS_CHROOT,   CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW,
};

#define DENY(name) SCMP_SYS(name)
static const int denied[] = {
    /* mounts and namespaces */
    DENY(mount),
    DENY(umount2),
    DENY(umount),
    DENY(pivot_root),
    DENY(move_mount),
    DENY(open_tree),
    DENY(fsopen),
    DENY(fsconfig),
    DENY(fsmount),
    DENY(fspick),
    DENY(mount_setattr),
    DENY(setns),
    DENY(swapon),
    DENY(swapoff),
    DENY(quotactl),
    DENY(quotactl_fd),
    DENY(acct),
    /* the kernel itself */
    DENY(kexec_load),
    DENY(kexec_file_load),
    DENY(init_module),
    DENY(finit_module),
    DENY(delete_module),
    DENY(reboot),
    DENY(bpf),
    DENY(perf_event_open),
    DENY(userfaultfd),
    DENY(io_uring_setup),
    DENY(io_uring_enter),
    DENY(io_uring_register),
    DENY(lookup_dcookie),
    DENY(syslog),
    DENY(iopl),
    DENY(ioperm),
    DENY(_sysctl),
    DENY(sysfs),
    DENY(nfsservctl),
    DENY(uselib),
    DENY(vhangup),
    DENY(modify_ldt),
    DENY(vm86),
    DENY(vm86old),
    /* keys, handles, others' files */
    DENY(keyctl),
    DENY(add_key),
    DENY(request_key),
    DENY(open_by_handle_at),
    DENY(name_to_handle_at),
    DENY(fanotify_init),
    DENY(pidfd_getfd),
    DENY(process_vm_readv),
    DENY(process_vm_writev),
    DENY(kcmp),
    /* the clock */
    DENY(settimeofday),
    DENY(clock_settime),
    DENY(clock_settime64),
    DENY(adjtimex),
    DENY(clock_adjtime),
    DENY(clock_adjtime64),
    DENY(stime),
};

/* Flags of clone and unshare that make a namespace. CLONE_NEWTIME exists for unshare only (in clone those
 * bits are the exit signal). */
static const unsigned long namespace_flags[] = {
    CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWCGROUP,
};

/* Everything but Unix, IPv4, IPv6, netlink and packet sockets; above all vsock, which no namespace separates
 * from the hypervisor. */
static const int allowed_families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};

static bool family_is_allowed(int family)
{
    for (size_t i = 0; i < ELEMENTSOF(allowed_families); i++)
        if (allowed_families[i] == family)
            return true;
    return false;
}

static int deny_sockets(scmp_filter_ctx context)
{
    int r = seccomp_rule_add(context, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                             SCMP_A0_32(SCMP_CMP_GE, AF_MAX));
    for (int family = 0; r >= 0 && family < AF_MAX; family++)
        if (!family_is_allowed(family))
            r = seccomp_rule_add(context, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                 SCMP_A0_32(SCMP_CMP_EQ, (unsigned)family));
    return r;
}

static int deny_namespaces(scmp_filter_ctx context)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(namespace_flags); i++) {
        r = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, namespace_flags[i], namespace_flags[i]));
        if (r >= 0)
            r = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, namespace_flags[i], namespace_flags[i]));
    }
    if (r >= 0)
        r = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWTIME, CLONE_NEWTIME));
    /* Its flags lie in memory, where a filter cannot look; C libraries fall back to clone. */
    return r < 0 ? r : seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int deny_devices(scmp_filter_ctx context)
{
    static const unsigned types[] = {S_IFCHR, S_IFBLK};
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(types); i++) {
        r = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mknod), 1,
                             SCMP_A1_32(SCMP_CMP_MASKED_EQ, S_IFMT, types[i]));
        if (r >= 0)
            r = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mknodat), 1,
                                 SCMP_A2_32(SCMP_CMP_MASKED_EQ, S_IFMT, types[i]));
    }
    return r < 0 ? r
                 : seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                                    SCMP_A1_32(SCMP_CMP_EQ, TIOCSTI));
}

static int export(scmp_filter_ctx context, Filter *ret_filter)
{
    _cleanup_close_ int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = seccomp_export_bpf(context, fd);
    if (r < 0)
        return r;
    struct stat st;
    if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    size_t size = (size_t)st.st_size, count = size / sizeof(struct sock_filter);
    if (count == 0 || count > BPF_MAXINSNS)
        return -E2BIG;
    _cleanup_free_ struct sock_filter *instructions = NEW_ARRAY(struct sock_filter, count);
    if (read_full(fd, instructions, size) != (ssize_t)size)
        return -EIO;
    *ret_filter = (Filter){.instructions = TAKE_PTR(instructions), .count = (unsigned short)count};
    return 0;
}

int filter_build(Filter *ret_filter, Error *error)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
    if (!context)
        return error_set(error, ERROR_INTERNAL, "no memory for the system call filter");
    int r = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
    /* A balanced tree instead of a list: a third of the instructions run for each call. */
    if (r >= 0)
        r = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(denied); i++) {
        r = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
        if (r == -EDOM)
            r = 0; /* not on this architecture */
    }
    if (r >= 0)
        r = deny_namespaces(context);
    if (r >= 0)
        r = deny_devices(context);
    if (r >= 0)
        r = deny_sockets(context);
    if (r >= 0)
        r = export(context, ret_filter);
    seccomp_release(context);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "cannot build the system call filter") : 0;
}

void filter_done(Filter *filter)
{
    free(filter->instructions);
    *filter = (Filter){0};
}

static bool capability_is_kept(unsigned capability)
{
    for (size_t i = 0; i < ELEMENTSOF(kept_capabilities); i++)
        if (kept_capabilities[i] == capability)
            return true;
    return false;
}

int confine_self(const Filter *filter)
{
    for (unsigned c = 0; c < 64; c++)
        if (!capability_is_kept(c) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EINVAL)
            return -errno;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    const struct sock_fprog program = {.len = filter->count, .filter = filter->instructions};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return -errno;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    for (size_t i = 0; i < ELEMENTSOF(kept_capabilities); i++) {
        unsigned c = kept_capabilities[i];
        data[c / 32].permitted |= 1U << (c % 32);
        data[c / 32].effective |= 1U << (c % 32);
    }
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}
