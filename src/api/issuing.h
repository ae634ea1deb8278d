/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Certificates and signed sets that the keeper makes for others, recorded in the database. On pool threads;
 * each call asks the keeper and then runs a job. */

#include "api/api_internal.h"

typedef struct IssueRequest {
    const char *profile;
    const char *csr; /* PEM; only its key is used */
    const char *common_name;
    const StringList *dns_names, *uris;
    const IpAddress *ip_addresses;
    size_t ip_address_count;
    uint32_t life_seconds;
    const char *tenant; /* NULL = the system's own */
    const char *holder; /* who has the key */
} IssueRequest;

/* Owned chain. */
int issue_certificate(Api *api, const IssueRequest *request, char **ret_chain,
                      char ret_serial[static SERIAL_HEX_SIZE], Error *error);
/* Records a certificate that the keeper has issued; in a job. */
int record_certificate(StoreTransaction *transaction, const char *serial, const char *tenant,
                       const char *profile, const char *subject, const char *holder, const char *chain,
                       Error *error);

typedef struct SshIssueRequest {
    const char *public_key; /* line */
    const char *key_id;
    const char *principal;
    uint32_t life_seconds;
    const char *force_command; /* NULL = none */
    bool is_pty_allowed;
} SshIssueRequest;
int issue_ssh_certificate(Api *api, const SshIssueRequest *request, char **ret_line, Error *error);

/* Signs the set of approved bundles of a tenant anew (a bundle was approved or revoked, or the old set is
 * about to expire). */
int refresh_approved_set(Api *api, const char *tenant, Error *error);
