/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What it takes to make one host, as plain data, and the worker that makes it. All strings are borrowed. */

#include <sys/types.h>

#include "base/error.h"
#include "sandbox/addresses.h"
#include "sandbox/cgroup.h"
#include "sandbox/confine.h"

enum { HOST_IDS = 65536, HOST_KEY_SIZE = 128, OPERATOR_UID = 1000 };

typedef enum ImageKind {
    IMAGE_TREE,     /* a whole root file system */
    IMAGE_HOST_USR, /* skeleton; /usr is the machine's, read-only */
} ImageKind;

typedef struct HostSpec {
    const char *id, *hostname;
    const char *image_root;
    ImageKind image_kind;
    const char *stage; /* empty directory of the machine; each first process mounts its own tmpfs there */
    const char *layer; /* directory for changes on disk, or NULL = in memory */
    const char *runner;
    const char *router; /* pinned network namespace */
    const char *bridge;
    uint64_t storage_bytes;
    CgroupLimits limits;
    uint32_t first_uid;
    AddressPlan plan;
    uint32_t cluster_number, ipv4;
    unsigned mtu;
    const char *ssh_user_ca;                           /* one line */
    const char *principals_root, *principals_operator; /* one per line */
    const Cgroups *cgroups;
    const Filter *filter;
} HostSpec;

typedef struct HostMade {
    pid_t pid;
    uint64_t start_time; /* of that process, field 22 of /proc/PID/stat */
    char host_key[HOST_KEY_SIZE];
} HostMade;

/* In a worker process of its own (it changes namespaces and control groups): makes the host and returns when
 * its sshd listens. After a failure remains may be left for host_destroy. */
int host_make(const HostSpec *spec, unsigned timeout_ms, HostMade *ret_made, Error *error);

typedef struct HostRemains {
    const char *id;
    const char *router, *bridge;
    const char *directory; /* state of the host */
    AddressPlan plan;
    uint32_t cluster_number, ipv4;
    pid_t pid;          /* verified by the caller, or 0 */
    int pid_descriptor; /* or -1 */
    const Cgroups *cgroups;
} HostRemains;
/* In a worker process: ends all processes, removes links, rules, groups and files. Repeatable. */
int host_destroy(const HostRemains *remains, Error *error);

/* -ESRCH when there is no such process. */
int process_start_time(pid_t pid, uint64_t *ret_start_time);

/* The host's entries in the router's anti-spoofing sets. */
struct SetElement;
enum { HOST_ELEMENTS = 5 };
size_t host_set_elements(const AddressPlan *plan, uint32_t cluster_number, uint32_t ipv4,
                         struct SetElement *ret_elements);
