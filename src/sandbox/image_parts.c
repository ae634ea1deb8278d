/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/image_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "sandbox/process.h"

enum { FILE_LIMIT = 4 * 1024 * 1024, RECIPE_VERSION = 1 };

/* Manuals, documentation (licences stay), locales: never read in a host, a third of the files. */
static const char *const dpkg_options[] = {
    "--dpkgopt=path-exclude=/usr/share/man/*",           "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",        "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright", "--dpkgopt=path-exclude=/usr/share/lintian/*",
};

/* Before the packages: no database cluster and no started service; who needs one makes it in the host. */
static const char essential_hook[] =
    "--essential-hook=mkdir -p \"$1/etc/postgresql-common\" && printf 'create_main_cluster = false\\n' "
    "> \"$1/etc/postgresql-common/createcluster.conf\" && printf '#!/bin/sh\\nexit 101\\n' > "
    "\"$1/usr/sbin/policy-rc.d\" "
    "&& chmod 755 \"$1/usr/sbin/policy-rc.d\"";

static const char *const skeleton_items[] = {
    "alternatives",
    "bash.bashrc",
    "bindresvport.blacklist",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "default",
    "ethertypes",
    "gai.conf",
    "haproxy",
    "host.conf",
    "inputrc",
    "issue",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "login.defs",
    "magic",
    "magic.mime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pam.conf",
    "pam.d",
    "perl",
    "postgresql-common",
    "profile",
    "profile.d",
    "protocols",
    "python3",
    "python3.11",
    "rpc",
    "security",
    "services",
    "shells",
    "skel",
    "sysctl.conf",
    "terminfo",
    "timezone",
    "localtime",
};

static bool mentions_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p += length)
        if ((p == text || strchr(" \t\n", p[-1])) && (p[length] == '\0' || strchr(" \t\n", p[length])))
            return true;
    return false;
}

static void add_source(const Settings *settings, const char *path, StringList *sources)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    if (file_read(path, FILE_LIMIT, &text, &size) >= 0 && mentions_word(text, settings->suite))
        string_list_append(sources, path);
}

/* The machine's own apt sources that name the suite. */
static void find_sources(const Settings *settings, StringList *sources)
{
    static const char directory_path[] = "/etc/apt/sources.list.d";
    for (size_t i = 0; i < settings->apt_sources.count; i++)
        string_list_append(sources, settings->apt_sources.items[i]);
    if (sources->count > 0)
        return;
    add_source(settings, "/etc/apt/sources.list", sources);
    DIR *directory = opendir(directory_path);
    const struct dirent *entry;
    while (directory && (entry = readdir(directory)))
        if (string_ends_with(entry->d_name, ".list") || string_ends_with(entry->d_name, ".sources")) {
            _cleanup_free_ char *path = path_join(directory_path, entry->d_name);
            add_source(settings, path, sources);
        }
    if (directory)
        (void)closedir(directory);
    string_list_sort(sources);
}

static char *joined_packages(const Settings *settings)
{
    StringList sorted = {0};
    Buffer text = BUFFER_INIT;
    for (size_t i = 0; i < settings->packages.count; i++)
        string_list_append(&sorted, settings->packages.items[i]);
    string_list_sort(&sorted);
    for (size_t i = 0; i < sorted.count; i++)
        buffer_append_format(&text, "%s%s", i > 0 ? "," : "", sorted.items[i]);
    string_list_done(&sorted);
    return buffer_take_string(&text);
}

static bool packages_are_valid(const Settings *settings)
{
    for (size_t i = 0; i < settings->packages.count; i++) {
        const char *name = settings->packages.items[i];
        if (*name == '-' || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789+-.:")] != '\0')
            return false;
    }
    return settings->packages.count > 0;
}

int image_recipe(const Settings *settings, ImageKind kind, char **ret_recipe, Error *error)
{
    if (kind == IMAGE_HOST_USR) {
        struct stat st = {0};
        (void)stat("/etc/ld.so.cache", &st); /* changes whenever libraries do */
        _cleanup_free_ char *accounts = NULL;
        size_t size = 0;
        int r = file_read("/etc/passwd", FILE_LIMIT, &accounts, &size);
        if (r < 0)
            return error_set_errno(error, ERROR_IO, -r, "cannot read /etc/passwd");
        *ret_recipe =
            string_format("host-usr %d\n%lld\n%s", RECIPE_VERSION, (long long)st.st_mtime, accounts);
        return 0;
    }
    if (!packages_are_valid(settings))
        return error_set(error, ERROR_CONFIGURATION, "[image] packages must be names of Debian packages");
    _cleanup_free_ char *packages = joined_packages(settings);
    _cleanup_string_list_ StringList sources = {0};
    find_sources(settings, &sources);
    Buffer text = BUFFER_INIT;
    buffer_append_format(&text, "debian %d\nsuite %s\npackages %s\n", RECIPE_VERSION, settings->suite,
                         packages);
    for (size_t i = 0; i < sources.count; i++) {
        _cleanup_free_ char *content = NULL;
        size_t size = 0;
        if (file_read(sources.items[i], FILE_LIMIT, &content, &size) >= 0)
            buffer_append_format(&text, "source %s\n", content);
    }
    *ret_recipe = buffer_take_string(&text);
    return 0;
}

int image_make_debian(const Settings *settings, const char *root, Error *error)
{
    _cleanup_free_ char *packages = joined_packages(settings);
    _cleanup_free_ char *include = string_format("--include=%s", packages);
    _cleanup_string_list_ StringList sources = {0};
    enum { ARGUMENTS_MAX = 64 };
    const char *arguments[ARGUMENTS_MAX] = {"/usr/bin/mmdebstrap", "--mode=root", "--variant=minbase",
                                            "--format=directory",  include,       essential_hook};
    size_t count = 6;
    for (size_t i = 0; i < ELEMENTSOF(dpkg_options); i++)
        arguments[count++] = dpkg_options[i];
    arguments[count++] = settings->suite;
    arguments[count++] = root;
    find_sources(settings, &sources);
    for (size_t i = 0; i < sources.count && count < ARGUMENTS_MAX - 1; i++)
        arguments[count++] = sources.items[i];
    if (access(arguments[0], X_OK) < 0)
        return error_set(error, ERROR_UNAVAILABLE,
                         "mmdebstrap is not installed; the image %s needs no mirror", "host-usr");
    int r = process_run(arguments, NULL, 0);
    return r < 0 ? error_set_errno(
                       error, ERROR_UNAVAILABLE, -r,
                       "mmdebstrap failed (is the package mirror reachable? the image host-usr needs none)")
                 : 0;
}

static int copy_item(const char *name, const char *etc, Error *error)
{
    _cleanup_free_ char *source = path_join("/etc", name);
    if (access(source, F_OK) < 0)
        return 0;
    const char *const arguments[] = {"/usr/bin/cp", "-a", "--", source, etc, NULL};
    int r = process_run(arguments, NULL, 0);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot copy %s", source) : 0;
}

/* System accounts: name, id and group; no password, no person's name. */
static int write_accounts(const char *root, Error *error)
{
    enum { PASSWD, SHADOW, GROUP, FILES };
    static const char *const names[FILES] = {"etc/passwd", "etc/shadow", "etc/group"};
    Buffer files[FILES] = {0};
    _cleanup_free_ char *passwd = NULL, *group = NULL;
    size_t size = 0;
    int r = file_read("/etc/passwd", FILE_LIMIT, &passwd, &size);
    if (r >= 0)
        r = file_read("/etc/group", FILE_LIMIT, &group, &size);
    char *rest = passwd, *line;
    while (r >= 0 && (line = strsep(&rest, "\n"))) {
        char *fields[7];
        size_t i = 0;
        while (i < 7 && (fields[i] = strsep(&line, ":")))
            i++;
        int64_t uid = 0;
        if (i < 7 || string_to_i64(fields[2], 0, 65534, &uid) < 0 || (uid >= 1000 && uid != 65534))
            continue;
        buffer_append_format(&files[PASSWD], "%s:x:%s:%s::%s:%s\n", fields[0], fields[2], fields[3],
                             fields[5], fields[6]);
        buffer_append_format(&files[SHADOW], "%s:*:19000:0:99999:7:::\n", fields[0]);
    }
    rest = group;
    while (r >= 0 && (line = strsep(&rest, "\n"))) {
        char *name = strsep(&line, ":"), *password = strsep(&line, ":"), *number = strsep(&line, ":");
        int64_t gid = 0;
        if (!password || !number || string_to_i64(number, 0, 65534, &gid) < 0 ||
            (gid >= 1000 && gid != 65534))
            continue;
        buffer_append_format(&files[GROUP], "%s:x:%s:\n", name, number);
    }
    for (size_t i = 0; i < FILES; i++) {
        _cleanup_free_ char *path = path_join(root, names[i]);
        if (r >= 0)
            r = file_write_atomic(path, files[i].data, files[i].size, i == SHADOW ? 0640 : 0644);
        buffer_done(&files[i]);
    }
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write the accounts of the image") : 0;
}

int image_make_skeleton(const char *root, Error *error)
{
    static const struct {
        const char *path;
        mode_t mode;
    } directories[] = {
        {"etc", 0755},
        {"etc/ssl", 0755},
        {"dev", 0755},
        {"proc", 0555},
        {"sys", 0555},
        {"run", 0755},
        {"tmp", 01777},
        {"root", 0700},
        {"home", 0755},
        {"usr", 0755},
        {"var", 0755},
        {"var/lib", 0755},
        {"var/log", 0755},
        {"var/cache", 0755},
        {"var/tmp", 01777},
        {"var/spool", 0755},
        {"var/lib/haproxy", 0755},
        {"opt", 0755},
        {"srv", 0755},
        {"mnt", 0755},
    };
    static const char *const links[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
    for (size_t i = 0; i < ELEMENTSOF(directories); i++) {
        _cleanup_free_ char *path = path_join(root, directories[i].path);
        if ((mkdir(path, 0755) < 0 && errno != EEXIST) || chmod(path, directories[i].mode) < 0)
            return error_set_errno(error, ERROR_IO, errno, "cannot make %s", path);
    }
    for (size_t i = 0; i < ELEMENTSOF(links); i++) {
        char target[64], machine[16];
        (void)string_print(machine, sizeof(machine), "/%s", links[i]);
        ssize_t n = readlink(machine, target, sizeof(target) - 1);
        if (n < 0 && errno == ENOENT)
            continue;
        if (n < 0)
            return error_set(error, ERROR_UNAVAILABLE, "the image host-usr needs a machine with merged /usr");
        target[n] = '\0';
        _cleanup_free_ char *path = path_join(root, links[i]);
        if (symlink(target, path) < 0)
            return error_set_errno(error, ERROR_IO, errno, "cannot link %s", path);
    }
    _cleanup_free_ char *etc = path_join(root, "etc"), *ssl = path_join(root, "etc/ssl"),
                        *mtab = path_join(root, "etc/mtab");
    _cleanup_free_ char *run = path_join(root, "var/run"), *lock = path_join(root, "var/lock");
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(skeleton_items); i++)
        r = copy_item(skeleton_items[i], etc, error);
    static const char *const public_ssl[] = {"ssl/openssl.cnf", "ssl/certs"};
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(public_ssl); i++)
        r = copy_item(public_ssl[i], ssl, error);
    if (r >= 0 && (symlink("/proc/self/mounts", mtab) < 0 || symlink("/run", run) < 0 ||
                   symlink("/run/lock", lock) < 0))
        r = error_set_errno(error, ERROR_IO, errno, "cannot link in the image");
    return r < 0 ? r : write_accounts(root, error);
}

static int append_line(const char *root, const char *file, const char *line)
{
    _cleanup_free_ char *path = path_join(root, file), *text = NULL;
    size_t size = 0;
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    int r = file_read(path, FILE_LIMIT, &text, &size);
    if (r < 0)
        return r;
    _cleanup_free_ char *longer = string_format("%s%s", text, line);
    r = file_write_atomic(path, longer, strlen(longer), st.st_mode & 07777);
    return r >= 0 && chown(path, st.st_uid, st.st_gid) < 0 ? -errno : r;
}

static int write_in(const char *root, const char *file, const char *text, mode_t mode)
{
    _cleanup_free_ char *path = path_join(root, file);
    return file_write_atomic(path, text, strlen(text), mode);
}

static int add_operator(const char *root)
{
    static const char name[] = "operator";
    enum { USERS_GROUP = 100 };
    char line[160];
    (void)string_print(line, sizeof(line), "%s:x:%d:%d::/home/%s:/bin/bash\n", name, OPERATOR_UID,
                       USERS_GROUP, name);
    int r = append_line(root, "etc/passwd", line);
    /* '*': no password is right, but the account is not locked. */
    (void)string_print(line, sizeof(line), "%s:*:19000:0:99999:7:::\n", name);
    if (r >= 0)
        r = append_line(root, "etc/shadow", line);
    _cleanup_free_ char *home = string_format("%s/home/%s", root, name);
    if (r >= 0)
        r = directory_make(home, 0750);
    if (r >= 0 && chown(home, OPERATOR_UID, USERS_GROUP) < 0)
        r = -errno;
    _cleanup_free_ char *sudoers = path_join(root, "etc/sudoers.d");
    if (r >= 0)
        r = directory_make(sudoers, 0755);
    return r < 0 ? r
                 : write_in(root, "etc/sudoers.d/bastide",
                            "Defaults:operator !syslog, !pam_session, !requiretty\noperator ALL=(ALL:ALL) "
                            "NOPASSWD: ALL\n",
                            0440);
}

static void remove_host_keys(const char *root)
{
    _cleanup_free_ char *ssh = path_join(root, "etc/ssh");
    DIR *directory = opendir(ssh);
    const struct dirent *entry;
    while (directory && (entry = readdir(directory)))
        if (string_starts_with(entry->d_name, "ssh_host_"))
            (void)unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        (void)closedir(directory);
}

int image_finish(const char *root, Error *error)
{
    _cleanup_free_ char *ssh = path_join(root, "etc/ssh"), *resolver = path_join(root, "etc/resolv.conf");
    int r = directory_make(ssh, 0755);
    if (r >= 0)
        r = add_operator(root);
    remove_host_keys(root);
    (void)unlink(resolver); /* the mirror's resolver of build time */
    if (r >= 0)
        r = write_in(root, "etc/resolv.conf", "", 0644);
    if (r >= 0)
        r = write_in(root, "etc/machine-id", "", 0444);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot finish the image") : 0;
}
