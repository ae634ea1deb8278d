/* SPDX-License-Identifier: Apache-2.0 */
#include "api/issuing.h"

#include <errno.h>

#include "base/buffer.h"
#include "base/string.h"
#include "crypto/ssh.h"
#include "crypto/x509.h"

enum { APPROVED_SET_LIFE_SECONDS = 3600 };

int record_certificate(StoreTransaction *transaction, const char *serial, const char *tenant,
                       const char *profile, const char *subject, const char *holder, const char *chain,
                       Error *error)
{
    _cleanup_certificate_ Certificate *certificate = NULL;
    int r = certificate_from_pem(chain, strlen(chain), &certificate, error);
    if (r < 0)
        return r;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    certificate_info(certificate, &info);
    r = statement_certificate_insert(
        transaction,
        &(CertificateInsertParameters){.serial = serial,
                                       .owner_tenant = tenant ?: "",
                                       .profile = profile,
                                       .subject = subject ?: "",
                                       .holder = holder,
                                       .issued_at = (int64_t)store_now(transaction),
                                       .expires_at = (int64_t)info.not_after},
        error);
    return MIN(r, 0);
}

typedef struct Recording {
    const IssueRequest *request;
    const char *serial, *chain;
} Recording;

static int record_job(StoreTransaction *transaction, void *context, Error *error)
{
    const Recording *recording = context;
    const IssueRequest *request = recording->request;
    return record_certificate(transaction, recording->serial, request->tenant, request->profile,
                              request->common_name, request->holder, recording->chain, error);
}

int issue_certificate(Api *api, const IssueRequest *request, char **ret_chain,
                      char ret_serial[static SERIAL_HEX_SIZE], Error *error)
{
    _cleanup_free_ uint8_t *spki = NULL;
    size_t spki_size;
    int r = csr_parse(request->csr, strlen(request->csr), &spki, &spki_size, error);
    if (r < 0)
        return r;
    KeeperClient *keeper = keeper_take(api, error);
    if (!keeper)
        return -ECONNREFUSED;
    _cleanup_free_ char *chain = NULL;
    r = keeper_client_issue_certificate(
        keeper,
        &(KeeperCertificateRequest){.profile = request->profile,
                                    .spki = spki,
                                    .spki_size = spki_size,
                                    .common_name = request->common_name,
                                    .dns_names = request->dns_names,
                                    .uris = request->uris,
                                    .ip_addresses = request->ip_addresses,
                                    .ip_address_count = request->ip_address_count,
                                    .life_seconds = request->life_seconds},
        &chain, ret_serial, error);
    keeper_give(api, keeper);
    if (r < 0)
        return r;
    Recording recording = {request, ret_serial, chain};
    r = store_run(api->settings.store, STORE_WRITE, record_job, &recording, error);
    if (r < 0)
        return r;
    *ret_chain = TAKE_PTR(chain);
    return 0;
}

int issue_ssh_certificate(Api *api, const SshIssueRequest *request, char **ret_line, Error *error)
{
    _cleanup_buffer_ Buffer blob = BUFFER_INIT_LIMIT(SSH_KEY_BLOB_MAX);
    int r = ssh_key_parse_line(request->public_key, strlen(request->public_key), &blob, error);
    if (r < 0)
        return r;
    _cleanup_string_list_ StringList principals = {0};
    string_list_append(&principals, request->principal);
    KeeperClient *keeper = keeper_take(api, error);
    if (!keeper)
        return -ECONNREFUSED;
    r = keeper_client_issue_ssh_user(keeper,
                                     &(KeeperSshRequest){.key = blob.data,
                                                         .key_size = blob.size,
                                                         .key_id = request->key_id,
                                                         .principals = &principals,
                                                         .life_seconds = request->life_seconds,
                                                         .force_command = request->force_command,
                                                         .is_pty_allowed = request->is_pty_allowed},
                                     ret_line, error);
    keeper_give(api, keeper);
    return r;
}

/* Approved sets
 * -----------------------------------------------------------------------------------------------------------
 */

typedef struct ApprovedSetJob {
    const char *tenant;
    uint8_t (*digests)[HASH_SIZE]; /* owned */
    size_t count;
    int64_t serial, expires_at;
    Buffer body;
    uint8_t signature[SIGN_SIGNATURE_SIZE];
} ApprovedSetJob;

static int read_approved(StoreTransaction *transaction, void *context, Error *error)
{
    ApprovedSetJob *job = context;
    BundlesApprovedRow *rows;
    size_t count;
    int r = statement_bundles_approved(transaction, &(BundlesApprovedParameters){.tenant = job->tenant},
                                       &rows, &count, error);
    if (r < 0)
        return r;
    free(job->digests);
    job->digests = memory_new_array(count + 1, HASH_SIZE);
    job->count = count;
    for (size_t i = 0; i < count; i++) {
        size_t size;
        if (hex_decode(rows[i].digest, job->digests[i], HASH_SIZE, &size) < 0 || size != HASH_SIZE)
            return error_set(error, ERROR_INTERNAL, "A stored bundle has a damaged digest.");
    }
    ApprovedSetGetRow old;
    r = statement_approved_set_get(transaction, &(ApprovedSetGetParameters){.tenant = job->tenant}, &old,
                                   error);
    if (r < 0)
        return r;
    int64_t now = (int64_t)store_now(transaction);
    /* Grows with time as well, so that a database set back cannot bring an old set to life. */
    job->serial = MAX(r == 1 ? old.serial + 1 : 1, now);
    job->expires_at = now + APPROVED_SET_LIFE_SECONDS * (int64_t)USEC_PER_SEC;
    return 0;
}

static int write_approved(StoreTransaction *transaction, void *context, Error *error)
{
    ApprovedSetJob *job = context;
    ApprovedSetGetRow old;
    int r = statement_approved_set_get(transaction, &(ApprovedSetGetParameters){.tenant = job->tenant}, &old,
                                       error);
    if (r < 0)
        return r;
    if (r == 1 && old.serial >= job->serial)
        return 0; /* somebody was quicker */
    r = statement_approved_set_put(
        transaction,
        &(ApprovedSetPutParameters){.tenant = job->tenant,
                                    .serial = job->serial,
                                    .expires_at = job->expires_at,
                                    .body = {job->body.data, job->body.size},
                                    .signature = {job->signature, sizeof(job->signature)}},
        error);
    return MIN(r, 0);
}

static int sign_approved(Api *api, ApprovedSetJob *job, Error *error)
{
    int r = store_run(api->settings.store, STORE_READ, read_approved, job, error);
    if (r < 0)
        return r;
    KeeperClient *keeper = keeper_take(api, error);
    if (!keeper)
        return -ECONNREFUSED;
    r = keeper_client_sign_approved_set(keeper, job->tenant, (uint64_t)job->serial, (Usec)job->expires_at,
                                        (const uint8_t(*)[HASH_SIZE])job->digests, job->count, &job->body,
                                        job->signature, error);
    keeper_give(api, keeper);
    return r < 0 ? r : store_run(api->settings.store, STORE_WRITE, write_approved, job, error);
}

int refresh_approved_set(Api *api, const char *tenant, Error *error)
{
    ApprovedSetJob job = {.tenant = tenant};
    int r = sign_approved(api, &job, error);
    free(job.digests);
    buffer_done(&job.body);
    return r;
}
