/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A provider makes machines and takes them away. Each is a const struct in the table of registry.c. Calls are
 * made on the task's thread, may wait until the task's deadline, and must be idempotent: the client token of
 * a machine is its node's id, so that a repeated create finds the machine that is there. */

#include "provisioner/execute.h"

typedef struct Provider {
    const char *type; /* "sandbox" */
    const char *summary;
    /* *ret_result: provider_id, addresses {access_v4, …}, host_keys, ssh_user, ssh_port. */
    int (*create)(ExecuteContext *context, json_t **ret_result, Error *error);
    /* Waits until the machine is reachable; NULL = create already did. */
    int (*confirm)(ExecuteContext *context, json_t **ret_result, Error *error);
    /* A machine that is not there is a success. */
    int (*remove)(ExecuteContext *context, Error *error);
} Provider;

extern const Provider provider_sandbox, provider_hosts;
extern const Provider *const providers[]; /* ended by NULL */
const Provider *provider_find(const char *type);
