/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The manager as a provisioner sees it: the internal listener over mutual TLS (CH5), JSON in and out.
 * Blocking; any thread. Connections are kept and handed from call to call. */

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"

typedef struct Manager Manager;
typedef struct ManagerSettings {
    const char *url, *ca_file, *certificate_file, *key_file; /* copied */
} ManagerSettings;

Manager *manager_new(const ManagerSettings *settings);
Manager *manager_free(Manager *manager);
DEFINE_CLEANUP(Manager, manager_free);
/* Connections made from now on read the certificate anew. */
void manager_reload(Manager *manager);

/* body and ret_answer may be NULL. An answer of 400 and above is an Error with the manager's own code and
 * text; no answer at all is ERROR_IO. */
int manager_request(Manager *manager, const char *method, const char *path, const json_t *body, Usec timeout,
                    json_t **ret_answer, Error *error);
/* Bytes, e.g. of a bundle. */
int manager_download(Manager *manager, const char *path, size_t limit, Usec timeout, Buffer *ret_bytes,
                     Error *error);
