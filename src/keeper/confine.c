/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#if defined(__SANITIZE_ADDRESS__)
#    define IS_SANITIZED 1
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define IS_SANITIZED 1
#    endif
#endif
#ifndef IS_SANITIZED
#    define IS_SANITIZED 0
#endif

static int failed(Error *error, int cause, const char *what)
{
    return error_set_errno(error, ERROR_INSECURE, cause, "the keeper could not %s and does not start", what);
}

int confine_process(Error *error)
{
    const struct rlimit none = {0, 0};

    (void)umask(077);
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        return failed(error, errno, "switch core dumps off");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return failed(error, errno, "make its memory unreadable for others");
    return 0;
}

static bool raise_limit(void)
{
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    struct rlimit present;

    if (getrlimit(RLIMIT_MEMLOCK, &present) == 0 && present.rlim_cur == RLIM_INFINITY)
        return true;
    return setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0;
}

int confine_memory(bool is_required, bool *ret_keeps_capability, Error *error)
{
    bool is_unlimited = raise_limit();

    *ret_keeps_capability = false;
    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0) {
        int cause = errno;

        if (is_required)
            return error_set_errno(error, ERROR_INSECURE, cause,
                                   "the keeper could not lock its memory; start it as root, raise the limit "
                                   "(LimitMEMLOCK=infinity), "
                                   "or set lock_memory to attempt on a machine without swap");
        log_warning("memory is not locked; keys could reach the swap");
        return 0;
    }
    *ret_keeps_capability = !is_unlimited && geteuid() == 0;
    return 0;
}

static int drop_root(uid_t uid, gid_t gid, Error *error)
{
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return failed(error, errno, "change to its user");
    if (setresuid((uid_t)-1, 0, (uid_t)-1) == 0)
        return error_set(error, ERROR_INSECURE, "the keeper could still become root and does not start");
    return 0;
}

static int set_capabilities(bool keeps_lock_capability, Error *error)
{
    const cap_value_t kept[] = {CAP_IPC_LOCK};
    cap_t capabilities = cap_init(); /* empty sets */
    int r = 0;

    if (!capabilities)
        return failed(error, ENOMEM, "give its capabilities up");
    if (keeps_lock_capability && (cap_set_flag(capabilities, CAP_PERMITTED, 1, kept, CAP_SET) < 0 ||
                                  cap_set_flag(capabilities, CAP_EFFECTIVE, 1, kept, CAP_SET) < 0))
        r = failed(error, errno, "keep CAP_IPC_LOCK");
    if (r >= 0 && cap_set_proc(capabilities) < 0)
        r = failed(error, errno, "give its capabilities up");
    (void)cap_free(capabilities);
    return r;
}

int confine_user(uid_t uid, gid_t gid, bool keeps_lock_capability, Error *error)
{
    int r = 0;

    if (geteuid() == 0) {
        /* The change of user would clear all; what is not wanted goes right after it. */
        if (keeps_lock_capability && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
            return failed(error, errno, "keep CAP_IPC_LOCK");
        r = drop_root(uid, gid, error);
    } else if (geteuid() != uid || getuid() != uid)
        return error_set(error, ERROR_CONFIGURATION, "start the keeper as root or as its user (number %u)",
                         uid);
    if (r >= 0)
        r = set_capabilities(keeps_lock_capability, error);
    if (r < 0)
        return r;
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return failed(error, errno, "give new privileges up");
    /* The change of user sets it again. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return failed(error, errno, "make its memory unreadable for others");
    return 0;
}

/* What sockets, files of its directory, memory and time need; no exec, no fork, no socket, no connect. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(accept4),
    SCMP_SYS(getsockopt),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(close),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(rmdir),
    SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),
    SCMP_SYS(fchmod),
    SCMP_SYS(lseek),
    SCMP_SYS(ftruncate),
    SCMP_SYS(getdents64),
    SCMP_SYS(fcntl),
    SCMP_SYS(flock),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(mlock),
    SCMP_SYS(mlock2),
    SCMP_SYS(munlock),
    SCMP_SYS(futex),
    SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getuid),
    SCMP_SYS(getegid),
    SCMP_SYS(getgid),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(sysinfo),
    SCMP_SYS(sched_yield),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
#if IS_SANITIZED
    /* The sanitizers' own: reports, shadow memory. */
    SCMP_SYS(mmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(readlink),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(prctl),
    SCMP_SYS(getrlimit),
    SCMP_SYS(prlimit64),
    SCMP_SYS(pipe),
    SCMP_SYS(pipe2),
    SCMP_SYS(clone),
    SCMP_SYS(wait4),
    SCMP_SYS(getppid),
    SCMP_SYS(uname),
    SCMP_SYS(ioctl),
    SCMP_SYS(set_robust_list),
#endif
};

/* Memory may be mapped, but never executable. */
static int allow_memory(scmp_filter_ctx filter)
{
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};

    for (size_t i = 0; !IS_SANITIZED && i < ELEMENTSOF(calls); i++) {
        int r =
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

        if (r < 0)
            return r;
    }
    return 0;
}

/* abort() of an assertion: a signal to itself, nobody else. */
static int allow_abort(scmp_filter_ctx filter)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
}

int confine_system_calls(Error *error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int r = filter ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(allowed); i++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
        /* A call that this machine does not have needs no rule. */
        if (r == -EDOM || r == -EINVAL)
            r = 0;
    }
    if (r >= 0)
        r = allow_memory(filter);
    if (r >= 0)
        r = allow_abort(filter);
    if (r >= 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r < 0 ? failed(error, -r, "limit its system calls") : 0;
}
