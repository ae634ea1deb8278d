/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The provisioners' side of the API (docs/internals/protocols.md section 4). The caller is the provisioner
 * named in its verified client certificate, which must be the current one of a provisioner that was not
 * removed; each request that concerns tasks carries the epoch of its session. Threads as for the rest of the
 * API. */

#include "api/api_internal.h"

typedef struct InternalRoute {
    HttpMethod method;
    const char *path; /* below /internal/v1 */
    RouteMode mode;
    bool is_poll;
    bool needs_epoch;
    ApiHandler handler;
    const char *summary;
} InternalRoute;

/* Id of the calling provisioner; set before a handler runs. */
static inline const char *internal_provisioner(const ApiCall *call)
{
    return call->principal.token_id;
}
/* In a job: the certificate is current, the provisioner not removed, the epoch (negative = not asked) the
 * session's. */
int internal_admit(ApiCall *call, int64_t epoch, Error *error);
/* custody.c: what needs the keeper or a file; on pool threads. */
int internal_get_bundle(ApiCall *call, Error *error);
int internal_get_approved_set(ApiCall *call, Error *error);
int internal_ssh_certificate(ApiCall *call, Error *error);
int internal_task_certificate(ApiCall *call, Error *error);
int internal_renew_certificate(ApiCall *call, Error *error);
void internal_begin(Api *api, HttpExchange *exchange);

/* task_builder.c: the JSON of leased tasks; on a pool thread. ret_secrets: the names of the secrets in it, or
 * NULL; they are recorded before the answer leaves. */
int task_build(ApiCall *call, const EngineLease *lease, const char *provisioner_id, Writer *writer,
               const char **ret_secrets, Error *error);
