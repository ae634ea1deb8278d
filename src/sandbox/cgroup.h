/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Control groups of the hosts, on unified (v2), legacy (v1) and hybrid machines: for each of the memory and
 * pids controllers the hierarchy that has it is looked up once. Every host has one group per hierarchy in
 * use, named after its id. Membership of the pids group is also the authoritative list of a host's processes.
 * Paths below `root` are replaceable for tests. One thread. */

#include <sys/types.h>

#include "base/error.h"
#include "base/macros.h"

enum { CGROUP_PATH_SIZE = 512, CGROUP_HIERARCHIES = 2 };

typedef struct Cgroups {
    struct {
        char path[CGROUP_PATH_SIZE]; /* directory that holds the groups of our hosts */
        bool is_unified, is_root;
        bool has_memory, has_pids;
    } hierarchies[CGROUP_HIERARCHIES];
    size_t count;
} Cgroups;

typedef struct CgroupLimits {
    uint64_t memory_bytes;
    uint64_t tasks;
} CgroupLimits;

/* Finds the controllers (mount table `mounts`, own groups `own`: /proc/self/mountinfo and /proc/self/cgroup)
 * and makes the directory `name` in each hierarchy. */
int cgroups_open(const char *mounts, const char *own, const char *name, Cgroups *ret_groups, Error *error);
/* Creates the host's groups with the limits; existing ones are re-used. */
int cgroups_create(const Cgroups *groups, const char *id, const CgroupLimits *limits, Error *error);
/* Moves the calling process in. */
int cgroups_join(const Cgroups *groups, const char *id);
/* Sends SIGKILL to all members; returns how many there were. */
int cgroups_kill(const Cgroups *groups, const char *id);
/* Kills, waits until empty (at most timeout_ms) and removes; absent is fine. */
int cgroups_remove(const Cgroups *groups, const char *id, unsigned timeout_ms);
/* Current use; 0 where unknown. */
void cgroups_usage(const Cgroups *groups, const char *id, uint64_t *ret_memory, uint64_t *ret_tasks);
typedef int (*CgroupVisitor)(const char *id, void *context);
int cgroups_foreach(const Cgroups *groups, CgroupVisitor visit, void *context);
/* Removes our directories themselves. */
void cgroups_close(Cgroups *groups);
