/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/confine.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/string.h"

static int become(const char *user, Error *error)
{
    if (geteuid() != 0)
        return 0;
    if (!user)
        return error_set(error, ERROR_INSECURE,
                         "the provisioner does not run as root; name a user in its configuration");
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (!entry || entry->pw_uid == 0)
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is not an unprivileged user of this machine",
                         user);
    if (initgroups(user, entry->pw_gid) < 0 || setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) < 0 ||
        setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot become the user \"%s\"", user);
    return 0;
}

/* What neither we nor our libraries need. Killed, not refused: it would be an intruder. */
static const char *const deadly[] = {
    "execve",
    "execveat",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "fsconfig",
    "unshare",
    "setns",
    "bpf",
    "perf_event_open",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "add_key",
    "keyctl",
    "request_key",
    "userfaultfd",
    "open_by_handle_at",
    "name_to_handle_at",
    "swapon",
    "swapoff",
    "reboot",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "clock_adjtime",
    "iopl",
    "ioperm",
    "personality",
    "acct",
    "quotactl",
    "vhangup",
    "mknod",
    "mknodat",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "sethostname",
    "setdomainname",
    "listen",
    "accept",
    "accept4",
    "pidfd_getfd",
};

static int filter(Error *error)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
    if (!context)
        return error_set(error, ERROR_INTERNAL, "no seccomp filter");
    int r = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(deadly); i++) {
        int number = seccomp_syscall_resolve_name(deadly[i]);
        /* Not every architecture has each of them. */
        if (number != __NR_SCMP_ERROR)
            r = seccomp_rule_add(context, SCMP_ACT_KILL_PROCESS, number, 0);
    }
    if (r == 0)
        r = seccomp_load(context);
    seccomp_release(context);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "cannot load the seccomp filter") : 0;
}

int confine_self(const char *user, Error *error)
{
    int r = become(user, error);
    if (r < 0)
        return r;
    const struct rlimit no_core = {0, 0};
    if (setrlimit(RLIMIT_CORE, &no_core) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot give up rights");
    return filter(error);
}
