/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"

enum { LISTING_LIMIT = 1 << 20 };

static int write_value(const char *path, const char *text)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return write_full(fd, text, strlen(text));
}

static int write_in(const char *directory, const char *id, const char *file, const char *format, ...)
    _printf_(4, 5);
static int write_in(const char *directory, const char *id, const char *file, const char *format, ...)
{
    char path[CGROUP_PATH_SIZE + 128], value[64];
    va_list arguments;
    va_start(arguments, format);
    _cleanup_free_ char *text = string_format_v(format, arguments);
    va_end(arguments);
    int r = string_copy(value, sizeof(value), text);
    if (r >= 0)
        r = string_print(path, sizeof(path), "%s/%s/%s", directory, id, file);
    return r < 0 ? r : write_value(path, value);
}

/* True when the comma or space separated list has the word. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += length) {
        bool starts = p == list || strchr(", \n", p[-1]);
        if (starts && (p[length] == '\0' || strchr(", \n", p[length])))
            return true;
    }
    return false;
}

typedef struct Mount {
    char *root, *point, *type, *options; /* into the line */
} Mount;

/* "36 35 98:0 /root /point options - type source superoptions" */
static int parse_mount(char *line, Mount *ret_mount)
{
    char *fields[5];
    char *rest = line;
    for (size_t i = 0; i < ELEMENTSOF(fields); i++)
        if (!(fields[i] = strsep(&rest, " ")))
            return -EINVAL;
    char *dash = rest ? strstr(rest, " - ") : NULL;
    if (!dash)
        return -EINVAL;
    rest = dash + 3;
    char *type = strsep(&rest, " ");
    char *source = strsep(&rest, " ");
    if (!type || !source || !rest)
        return -EINVAL;
    *ret_mount = (Mount){.root = fields[3], .point = fields[4], .type = type, .options = rest};
    return 0;
}

/* The path of our own group in the hierarchy with the controller ("" = the unified one). */
static void own_group(const char *own, const char *controller, char *ret_path, size_t size)
{
    _cleanup_free_ char *copy = string_duplicate(own);
    char *rest = copy, *line;
    (void)string_copy(ret_path, size, "");
    while ((line = strsep(&rest, "\n"))) {
        strsep(&line, ":");
        char *controllers = line ? strsep(&line, ":") : NULL;
        if (!controllers || !line)
            continue;
        bool matches = *controller ? has_word(controllers, controller) : !*controllers;
        if (matches && !string_equal(line, "/"))
            (void)string_copy(ret_path, size, line);
    }
}

static int add_hierarchy(Cgroups *groups, const char *point, const char *own, bool is_unified, bool memory,
                         bool pids)
{
    for (size_t i = 0; i < groups->count; i++)
        if (groups->hierarchies[i].has_memory == memory && groups->hierarchies[i].has_pids == pids)
            return 0; /* the same hierarchy mounted twice */
    if (groups->count == CGROUP_HIERARCHIES)
        return -E2BIG;
    /* A restarted daemon finds itself in the leaf it moved to. */
    size_t length = strlen(own);
    static const char leaf[] = "/bastide-sandboxd";
    if (is_unified && string_ends_with(own, leaf))
        length -= sizeof(leaf) - 1;
    int r = string_print(groups->hierarchies[groups->count].path, CGROUP_PATH_SIZE, "%s%.*s", point,
                         (int)length, own);
    if (r < 0)
        return r;
    groups->hierarchies[groups->count].is_unified = is_unified;
    groups->hierarchies[groups->count].is_root = length == 0;
    groups->hierarchies[groups->count].has_memory = memory;
    groups->hierarchies[groups->count].has_pids = pids;
    groups->count++;
    return 0;
}

static int find_hierarchies(const char *mounts, const char *own, Cgroups *groups)
{
    _cleanup_free_ char *copy = string_duplicate(mounts);
    char *rest = copy, *line;
    bool memory_seen = false, pids_seen = false;
    while ((line = strsep(&rest, "\n"))) {
        Mount m;
        char group[CGROUP_PATH_SIZE / 2];
        if (parse_mount(line, &m) < 0)
            continue;
        bool is_unified = string_equal(m.type, "cgroup2");
        bool memory = false, pids = false;
        if (is_unified) {
            char path[CGROUP_PATH_SIZE];
            own_group(own, "", group, sizeof(group));
            _cleanup_free_ char *controllers = NULL;
            size_t size = 0;
            if (string_print(path, sizeof(path), "%s/cgroup.controllers", m.point) < 0 ||
                file_read(path, LISTING_LIMIT, &controllers, &size) < 0)
                continue;
            memory = has_word(controllers, "memory");
            pids = has_word(controllers, "pids");
        } else if (string_equal(m.type, "cgroup")) {
            memory = has_word(m.options, "memory");
            pids = has_word(m.options, "pids");
            own_group(own, memory ? "memory" : "pids", group, sizeof(group));
        }
        if (!memory && !pids)
            continue;
        int r = add_hierarchy(groups, m.point, group, is_unified, memory, pids);
        if (r < 0)
            return r;
        memory_seen = memory_seen || memory;
        pids_seen = pids_seen || pids;
    }
    return memory_seen && pids_seen ? 0 : -ENOENT;
}

/* v2 allows controllers in children only when the parent has no processes of its own (but the root group). */
static int enable_unified(const char *base, bool is_root)
{
    char path[CGROUP_PATH_SIZE + 64];
    int r = 0;
    if (!is_root) {
        r = string_print(path, sizeof(path), "%s/bastide-sandboxd", base);
        if (r >= 0 && mkdir(path, 0755) < 0 && errno != EEXIST)
            return -errno;
        if (r >= 0)
            r = write_in(base, "bastide-sandboxd", "cgroup.procs", "%d", (int)getpid());
    }
    return r < 0 ? r : write_in(base, ".", "cgroup.subtree_control", "+memory +pids");
}

int cgroups_open(const char *mounts, const char *own, const char *name, Cgroups *ret_groups, Error *error)
{
    _cleanup_free_ char *mounts_text = NULL, *own_text = NULL;
    size_t size = 0;
    int r = file_read(mounts, LISTING_LIMIT, &mounts_text, &size);
    if (r >= 0)
        r = file_read(own, LISTING_LIMIT, &own_text, &size);
    Cgroups groups = {0};
    if (r >= 0)
        r = find_hierarchies(mounts_text, own_text, &groups);
    if (r < 0)
        return error_set_errno(error, ERROR_UNAVAILABLE, -r,
                               "control groups with the memory and pids controllers are needed; mount "
                               "cgroup2 or both of cgroup v1");
    for (size_t i = 0; i < groups.count; i++) {
        char path[CGROUP_PATH_SIZE];
        const char *base = groups.hierarchies[i].path;
        if (groups.hierarchies[i].is_unified)
            r = enable_unified(base, groups.hierarchies[i].is_root);
        if (r >= 0)
            r = string_print(path, sizeof(path), "%s/%s", base, name);
        if (r >= 0 && mkdir(path, 0755) < 0 && errno != EEXIST)
            r = -errno;
        if (r >= 0 && groups.hierarchies[i].is_unified)
            r = write_in(base, name, "cgroup.subtree_control", "+memory +pids");
        if (r < 0)
            return error_set_errno(error, ERROR_UNAVAILABLE, -r, "cannot make control group %s/%s", base,
                                   name);
        (void)string_copy(groups.hierarchies[i].path, CGROUP_PATH_SIZE, path);
    }
    *ret_groups = groups;
    return 0;
}

static int set_limits(const Cgroups *groups, size_t i, const char *id, const CgroupLimits *limits)
{
    const char *base = groups->hierarchies[i].path;
    int r = 0;
    if (groups->hierarchies[i].has_memory && groups->hierarchies[i].is_unified) {
        r = write_in(base, id, "memory.max", "%llu", (unsigned long long)limits->memory_bytes);
        (void)write_in(base, id, "memory.swap.max", "0"); /* absent without swap accounting */
    } else if (groups->hierarchies[i].has_memory) {
        r = write_in(base, id, "memory.limit_in_bytes", "%llu", (unsigned long long)limits->memory_bytes);
        (void)write_in(base, id, "memory.swappiness", "0");
    }
    if (r >= 0 && groups->hierarchies[i].has_pids)
        r = write_in(base, id, "pids.max", "%llu", (unsigned long long)limits->tasks);
    return r;
}

int cgroups_create(const Cgroups *groups, const char *id, const CgroupLimits *limits, Error *error)
{
    for (size_t i = 0; i < groups->count; i++) {
        char path[CGROUP_PATH_SIZE + 64];
        int r = string_print(path, sizeof(path), "%s/%s", groups->hierarchies[i].path, id);
        if (r >= 0 && mkdir(path, 0755) < 0 && errno != EEXIST)
            r = -errno;
        if (r >= 0)
            r = set_limits(groups, i, id, limits);
        if (r < 0)
            return error_set_errno(error, ERROR_UNAVAILABLE, -r, "cannot limit control group %s", path);
    }
    return 0;
}

int cgroups_join(const Cgroups *groups, const char *id)
{
    for (size_t i = 0; i < groups->count; i++) {
        int r = write_in(groups->hierarchies[i].path, id, "cgroup.procs", "0");
        if (r < 0)
            return r;
    }
    return 0;
}

static int kill_members(const char *base, const char *id)
{
    char path[CGROUP_PATH_SIZE + 64];
    _cleanup_free_ char *list = NULL;
    size_t size = 0;
    int r = string_print(path, sizeof(path), "%s/%s/cgroup.procs", base, id);
    if (r >= 0)
        r = file_read(path, LISTING_LIMIT, &list, &size);
    if (r < 0)
        return r == -ENOENT || r == -ENODEV ? 0 : r;
    int count = 0;
    char *rest = list, *line;
    while ((line = strsep(&rest, "\n"))) {
        int64_t pid = 0;
        if (string_to_i64(line, 1, INT32_MAX, &pid) < 0 || pid == getpid())
            continue;
        (void)kill((pid_t)pid, SIGKILL);
        count++;
    }
    return count;
}

int cgroups_kill(const Cgroups *groups, const char *id)
{
    int count = 0;
    for (size_t i = 0; i < groups->count; i++) {
        int r = kill_members(groups->hierarchies[i].path, id);
        if (r < 0)
            return r;
        count = MAX(count, r);
    }
    return count;
}

int cgroups_remove(const Cgroups *groups, const char *id, unsigned timeout_ms)
{
    Usec deadline = clock_monotonic(&system_clock) + timeout_ms * USEC_PER_MSEC;
    for (size_t i = 0; i < groups->count; i++) {
        char path[CGROUP_PATH_SIZE + 64];
        int r = string_print(path, sizeof(path), "%s/%s", groups->hierarchies[i].path, id);
        if (r < 0)
            return r;
        while (rmdir(path) < 0 && errno != ENOENT) {
            int cause = errno;
            if (cause != EBUSY || clock_monotonic(&system_clock) > deadline)
                return -cause;
            r = kill_members(groups->hierarchies[i].path, id);
            if (r < 0)
                return r;
            const struct timespec pause = {.tv_nsec = 2000000};
            (void)nanosleep(&pause, NULL);
        }
    }
    return 0;
}

static uint64_t read_number(const char *base, const char *id, const char *file)
{
    char path[CGROUP_PATH_SIZE + 128];
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    uint64_t value = 0;
    if (string_print(path, sizeof(path), "%s/%s/%s", base, id, file) < 0 ||
        file_read(path, 64, &text, &size) < 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return string_to_u64(text, UINT64_MAX, &value) < 0 ? 0 : value;
}

void cgroups_usage(const Cgroups *groups, const char *id, uint64_t *ret_memory, uint64_t *ret_tasks)
{
    *ret_memory = *ret_tasks = 0;
    for (size_t i = 0; i < groups->count; i++) {
        const char *base = groups->hierarchies[i].path;
        if (groups->hierarchies[i].has_memory)
            *ret_memory = read_number(
                base, id, groups->hierarchies[i].is_unified ? "memory.current" : "memory.usage_in_bytes");
        if (groups->hierarchies[i].has_pids)
            *ret_tasks = read_number(base, id, "pids.current");
    }
}

int cgroups_foreach(const Cgroups *groups, CgroupVisitor visit, void *context)
{
    for (size_t i = 0; i < groups->count; i++) {
        DIR *directory = opendir(groups->hierarchies[i].path);
        if (!directory)
            return -errno;
        int r = 0;
        const struct dirent *entry;
        while (r >= 0 && (entry = readdir(directory)))
            if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
                r = visit(entry->d_name, context);
        (void)closedir(directory);
        if (r < 0)
            return r;
    }
    return 0;
}

void cgroups_close(Cgroups *groups)
{
    for (size_t i = 0; i < groups->count; i++)
        (void)rmdir(groups->hierarchies[i].path);
    groups->count = 0;
}
