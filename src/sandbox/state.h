/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The hosts and clusters that the daemon knows, who has which address, block and id range, and the journal on
 * disk: one file a host, written before anything is made and removed after everything is gone. Event loop's
 * thread. */

#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "sandbox/host.h"
#include "sandbox/network.h"
#include "sandbox/settings.h"

typedef enum HostState {
    HOST_CREATING,
    HOST_RUNNING,
    HOST_DEAD, /* its first process ended; stays until deleted */
    HOST_DELETING,
    _HOST_STATE_MAX,
    _HOST_STATE_INVALID = -22,
} HostState;
const char *host_state_name(HostState state);

typedef struct Cluster {
    char *name;
    uint32_t number;
    uint32_t *blocks; /* owned; the first is the number */
    size_t block_count, host_count;
} Cluster;

typedef struct Host {
    char id[ID_SIZE];
    char *token, *tenant, *hostname, *image, *image_root, *ssh_user_ca, *principals_root,
        *principals_operator;
    ImageKind image_kind;
    Cluster *cluster; /* borrowed of State */
    HostState state;
    uint32_t ipv4, slot; /* slot: which id range */
    CgroupLimits limits;
    char request_digest[65]; /* of what the create asked for, without the token */
    pid_t pid;
    uint64_t start_time;
    char host_key[HOST_KEY_SIZE];
    Usec created;
    bool is_cut;

    /* Not in the journal. */
    int pid_descriptor; /* or -1 */
    bool needs_worker, has_worker;
    unsigned attempts; /* of deletion */
    Error failure;     /* why a create is being undone */
    void *pid_source;  /* of the server */
} Host;

typedef struct State {
    const Settings *settings;
    AddressPlan plan;
    char boot[64];
    StringMap *hosts;    /* id -> Host, owned */
    StringMap *tokens;   /* token -> Host, borrowed */
    StringMap *clusters; /* name -> Cluster, owned */
    Cluster **block_owners;
    uint8_t *used;  /* bit per address of the pool */
    uint8_t *slots; /* byte per id range */
} State;

/* Reads the journal; makes the IPv6 prefix of this installation on first use. Hosts whose making was
 * interrupted come back as HOST_DELETING, hosts of an earlier boot or whose process is gone as HOST_DEAD, the
 * others as HOST_RUNNING with an open pid_descriptor. */
int state_open(const Settings *settings, State *ret_state, Error *error);
void state_done(State *state);

/* A new host with address and id range in the cluster, which is made or grown when needed (*ret_grown). */
int state_add_host(State *state, const char *cluster, Host **ret_host, bool *ret_grown, Error *error);
/* Forgets the host and frees what it had; *ret_cluster is the cluster when that is empty now (then to be
 * removed). */
void state_remove_host(State *state, Host *host, Cluster **ret_empty);
void state_remove_cluster(State *state, Cluster *cluster);
int state_save_host(const State *state, const Host *host);
char *state_host_directory(const State *state, const Host *host); /* owned */
