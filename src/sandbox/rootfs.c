/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "sandbox/ssh_files.h"

/* All paths are relative to the staging tmpfs, our working directory:
 *   lower/  the image, ids shifted     upper/ work/  the changes     root/  what the host sees
 *   seed/ usr/  second overlay for the machine's /usr */

static int step(int result, Error *error, const char *what)
{
    return result < 0 ? error_set_errno(error, ERROR_INTERNAL, errno, "%s", what) : 0;
}

static int mount_at(const char *type, const char *path, unsigned long flags, const char *options,
                    Error *error)
{
    if (mount(type, path, type, flags, options) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot mount %s at %s", type, path);
    return 0;
}

/* Attaches a copy of the mount tree at `source` read-only, its ids shifted into the host's range. */
static int attach_shifted(const char *source, const char *target, int user_namespace, uint64_t flags,
                          Error *error)
{
    _cleanup_close_ int tree =
        (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT);
    if (tree < 0)
        return error_set_errno(error, ERROR_UNAVAILABLE, errno, "cannot open %s", source);
    struct mount_attr attributes = {
        .attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | flags,
        .propagation = MS_PRIVATE,
        .userns_fd = (unsigned)user_namespace,
    };
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
        return error_set_errno(
            error, ERROR_UNAVAILABLE, errno,
            "the file system of %s cannot shift ids (needs ext4, xfs, btrfs or tmpfs on Linux 6.3 or later)",
            source);
    if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot attach %s", source);
    return 0;
}

/* A file or directory that belongs to `uid` of the host. */
static int make_directory(const HostSpec *spec, const char *path, mode_t mode, unsigned uid, Error *error)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot make %s", path);
    if (chown(path, spec->first_uid + uid, spec->first_uid + uid) < 0 || chmod(path, mode) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot own %s", path);
    return 0;
}

static int make_file(const HostSpec *spec, const char *path, const void *data, size_t size, mode_t mode,
                     Error *error)
{
    /* Images may have a link here (resolv.conf); a link of theirs must not lead us out of the root. */
    (void)unlink(path);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : write_full(fd, data, size);
    if (r >= 0 && (fchown(fd, spec->first_uid, spec->first_uid) < 0 || fchmod(fd, mode) < 0))
        r = -errno;
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "cannot write %s", path) : 0;
}

static int make_text(const HostSpec *spec, const char *path, const char *text, mode_t mode, Error *error)
{
    return make_file(spec, path, text, strlen(text), mode, error);
}

static int make_directories(const HostSpec *spec, const char *const *paths, size_t count, Error *error)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = make_directory(spec, paths[i], 0755, 0, error);
    return r;
}

static int mount_root(const HostSpec *spec, int user_namespace, Error *error)
{
    static const char *const directories[] = {"lower", "root"};
    int r = make_directories(spec, directories, ELEMENTSOF(directories), error);
    if (r >= 0)
        r = attach_shifted(spec->image_root, "lower", user_namespace, 0, error);
    const char *base = spec->layer ? spec->layer : ".";
    _cleanup_free_ char *upper = path_join(base, "upper");
    _cleanup_free_ char *work = path_join(base, "work");
    if (r >= 0)
        r = make_directory(spec, upper, 0755, 0, error);
    if (r >= 0)
        r = make_directory(spec, work, 0700, 0, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *options =
        string_format("lowerdir=lower,upperdir=%s,workdir=%s%s", upper, work, spec->layer ? ",volatile" : "");
    return mount_at("overlay", "root", MS_NODEV, options, error);
}

static int link_runner_names(const HostSpec *spec, const char *bin, Error *error)
{
    static const char *const names[] = {"bastide-runner", "bastide-param", "bastide-secret", "bastide-list"};
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(names); i++) {
        _cleanup_free_ char *path = path_join(bin, names[i]);
        if ((symlink("/usr/lib/bastide/bastide-runner", path) < 0 && errno != EEXIST) ||
            lchown(path, spec->first_uid, spec->first_uid) < 0)
            r = error_set_errno(error, ERROR_INTERNAL, errno, "cannot link %s", names[i]);
    }
    return r;
}

/* The machine's /usr, read-only, with a layer above that hides /usr/local and has a place for the runner. */
static int mount_host_usr(const HostSpec *spec, int user_namespace, Error *error)
{
    static const char *const directories[] = {
        "seed", "seed/local", "seed/local/bin", "seed/local/sbin", "seed/lib", "seed/lib/bastide",
        "usr",  "root/usr",
    };
    int r = make_directories(spec, directories, ELEMENTSOF(directories), error);
    if (r >= 0)
        r = step(setxattr("seed/local", "trusted.overlay.opaque", "y", 1, 0), error,
                 "cannot hide /usr/local");
    if (r >= 0)
        r = link_runner_names(spec, "seed/local/bin", error);
    if (r >= 0)
        r = make_text(spec, "seed/lib/bastide/bastide-runner", "", 0755, error);
    if (r >= 0)
        r = attach_shifted("/usr", "usr", user_namespace, 0, error);
    return r < 0 ? r : mount_at("overlay", "root/usr", MS_NODEV | MS_RDONLY, "lowerdir=seed:usr", error);
}

static int place_runner(const HostSpec *spec, int user_namespace, Error *error)
{
    static const char *const directories[] = {"root/usr/local", "root/usr/local/bin", "root/usr/lib",
                                              "root/usr/lib/bastide"};
    int r = 0;
    if (spec->image_kind == IMAGE_TREE) {
        r = make_directories(spec, directories, ELEMENTSOF(directories), error);
        if (r >= 0)
            r = link_runner_names(spec, "root/usr/local/bin", error);
        if (r >= 0)
            r = make_text(spec, "root/usr/lib/bastide/bastide-runner", "", 0755, error);
    }
    return r < 0 ? r
                 : attach_shifted(spec->runner, "root/usr/lib/bastide/bastide-runner", user_namespace,
                                  MOUNT_ATTR_NOSUID, error);
}

static int bind_device(const char *name, Error *error)
{
    _cleanup_free_ char *source = path_join("/dev", name);
    _cleanup_free_ char *target = path_join("root/dev", name);
    _cleanup_close_ int fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || mount(source, target, NULL, MS_BIND, NULL) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot give the host %s", source);
    return 0;
}

static int fill_dev(const HostSpec *spec, Error *error)
{
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
    static const char *const links[][2] = {
        {"/proc/self/fd", "root/dev/fd"},       {"/proc/self/fd/0", "root/dev/stdin"},
        {"/proc/self/fd/1", "root/dev/stdout"}, {"/proc/self/fd/2", "root/dev/stderr"},
        {"pts/ptmx", "root/dev/ptmx"},
    };
    char options[96];
    int r = mount_at("tmpfs", "root/dev", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k,nr_inodes=64", error);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(nodes); i++)
        r = bind_device(nodes[i], error);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(links); i++)
        r = step(symlink(links[i][0], links[i][1]), error, "cannot link in /dev");
    if (r >= 0)
        r = make_directory(spec, "root/dev/pts", 0755, 0, error);
    if (r >= 0)
        r = make_directory(spec, "root/dev/shm", 0755, 0, error);
    enum { TTY_GROUP = 5 };
    (void)string_print(options, sizeof(options), "newinstance,mode=0620,ptmxmode=0666,max=512,gid=%u",
                       spec->first_uid + TTY_GROUP);
    if (r >= 0)
        r = mount_at("devpts", "root/dev/pts", MS_NOSUID | MS_NOEXEC, options, error);
    (void)string_print(options, sizeof(options), "mode=1777,uid=%u,gid=%u,size=%llu", spec->first_uid,
                       spec->first_uid, (unsigned long long)spec->storage_bytes / 2);
    if (r >= 0)
        r = mount_at("tmpfs", "root/dev/shm", MS_NOSUID | MS_NODEV, options, error);
    return r < 0 ? r
                 : step(mount(NULL, "root/dev", NULL,
                              MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL),
                        error, "cannot seal /dev");
}

/* Parts of /proc and /sys that tell about the machine or act on it. They belong to the machine's root, who is
 * nobody inside, so writing fails anyway; hiding them stops reading and is a second lock. Absent ones are
 * skipped. */
static int hide_kernel_files(Error *error)
{
    static const char *const files[] = {
        "root/proc/kcore",       "root/proc/keys",    "root/proc/key-users", "root/proc/timer_list",
        "root/proc/sched_debug", "root/proc/iomem",   "root/proc/ioports",   "root/proc/vmallocinfo",
        "root/proc/slabinfo",    "root/proc/cmdline", "root/proc/modules",
    };
    static const char *const directories[] = {
        "root/proc/acpi",  "root/proc/asound", "root/proc/bus",     "root/proc/fs",    "root/proc/irq",
        "root/proc/scsi",  "root/proc/driver", "root/sys/firmware", "root/sys/kernel", "root/sys/fs",
        "root/sys/module", "root/sys/power",   "root/sys/block",    "root/sys/bus",    "root/sys/dev",
    };
    for (size_t i = 0; i < ELEMENTSOF(files); i++)
        if (mount("/dev/null", files[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot hide %s", files[i]);
    for (size_t i = 0; i < ELEMENTSOF(directories); i++)
        if (mount("tmpfs", directories[i], "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                  "mode=0555,size=4k,nr_inodes=2") < 0 &&
            errno != ENOENT)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot hide %s", directories[i]);
    return 0;
}

static int fill_kernel_trees(Error *error)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    int r = mount_at("proc", "root/proc", flags, NULL, error);
    if (r >= 0)
        r = mount_at("sysfs", "root/sys", flags, NULL, error);
    return r < 0 ? r : hide_kernel_files(error);
}

static int fill_run(const HostSpec *spec, Error *error)
{
    char options[96];
    (void)string_print(options, sizeof(options), "mode=0755,uid=%u,gid=%u,size=%llu", spec->first_uid,
                       spec->first_uid, (unsigned long long)spec->storage_bytes / 4);
    int r = mount_at("tmpfs", "root/run", MS_NOSUID | MS_NODEV, options, error);
    if (r >= 0)
        r = make_directory(spec, "root/run/sshd", 0755, 0, error);
    if (r >= 0)
        r = make_directory(spec, "root/run/lock", 01777, 0, error);
    if (r >= 0)
        r = make_directory(spec, "root/run/bastide", 0711, 0, error);
    return r < 0 ? r : make_directory(spec, "root/var/lib/bastide", 0711, 0, error);
}

static int write_names(const HostSpec *spec, Error *error)
{
    char v4[ADDRESS_TEXT_SIZE], v6[ADDRESS_TEXT_SIZE], machine_id[33];
    uint8_t ipv6[16], random[16];
    ipv4_format(spec->ipv4, v4);
    plan_ipv6(&spec->plan, spec->cluster_number, spec->ipv4, ipv6);
    ipv6_format(ipv6, v6);
    random_bytes(&system_random, random, sizeof(random));
    hex_encode(random, sizeof(random), machine_id);
    _cleanup_free_ char *hosts =
        string_format("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n%s %s\n%s %s\n", v4,
                      spec->hostname, v6, spec->hostname);
    _cleanup_free_ char *hostname = string_format("%s\n", spec->hostname);
    _cleanup_free_ char *identity = string_format("%s\n", machine_id);
    int r = make_text(spec, "root/etc/hosts", hosts, 0644, error);
    if (r >= 0)
        r = make_text(spec, "root/etc/hostname", hostname, 0644, error);
    if (r >= 0)
        r = make_text(spec, "root/etc/machine-id", identity, 0444, error);
    return r < 0 ? r : make_text(spec, "root/etc/resolv.conf", "", 0644, error);
}

static int write_ssh(const HostSpec *spec, const char *key, size_t key_size, Error *error)
{
    static const char *const directories[] = {"root/etc/ssh", "root/etc/ssh/principals"};
    _cleanup_free_ char *authority = string_format("%s\n", spec->ssh_user_ca);
    int r = make_directories(spec, directories, ELEMENTSOF(directories), error);
    if (r >= 0)
        r = make_file(spec, "root/etc/ssh/ssh_host_ed25519_key", key, key_size, 0600, error);
    if (r >= 0)
        r = make_text(spec, "root/etc/ssh/sshd_config", sshd_configuration, 0644, error);
    if (r >= 0)
        r = make_text(spec, "root/etc/ssh/bastide_user_ca.pub", authority, 0644, error);
    if (r >= 0)
        r = make_text(spec, "root/etc/ssh/principals/root", spec->principals_root, 0644, error);
    return r < 0
               ? r
               : make_text(spec, "root/etc/ssh/principals/operator", spec->principals_operator, 0644, error);
}

/* The old root goes below the new one and is detached at once, so nothing of the machine stays reachable. */
static int change_root(Error *error)
{
    if (chdir("root") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
        chdir("/") < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot change to the host's root");
    return 0;
}

int rootfs_enter(const HostSpec *spec, int user_namespace, const char *host_key_pem, size_t host_key_size,
                 Error *error)
{
    char options[64];
    (void)umask(0);
    int r = step(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), error, "cannot make mounts private");
    (void)string_print(options, sizeof(options), "mode=0755,size=%llu",
                       (unsigned long long)spec->storage_bytes);
    if (r >= 0)
        r = mount_at("tmpfs", spec->stage, MS_NODEV, options, error);
    if (r >= 0)
        r = step(chdir(spec->stage), error, "cannot enter the staging directory");
    if (r >= 0)
        r = mount_root(spec, user_namespace, error);
    if (r >= 0 && spec->image_kind == IMAGE_HOST_USR)
        r = mount_host_usr(spec, user_namespace, error);
    if (r >= 0)
        r = place_runner(spec, user_namespace, error);
    if (r >= 0)
        r = fill_run(spec, error);
    if (r >= 0)
        r = write_names(spec, error);
    if (r >= 0)
        r = write_ssh(spec, host_key_pem, host_key_size, error);
    if (r >= 0)
        r = fill_dev(spec, error);
    if (r >= 0)
        r = fill_kernel_trees(error);
    if (r >= 0)
        r = change_root(error);
    (void)umask(022);
    return r;
}
