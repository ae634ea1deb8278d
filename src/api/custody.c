/* SPDX-License-Identifier: Apache-2.0 */
/* What a provisioner gets through the manager from the keeper, or as a file: bundles, approved sets,
 * certificates. */

#include <errno.h>
#include <inttypes.h>

#include "api/cluster_view.h"
#include "api/internal.h"
#include "api/issuing.h"
#include "base/file.h"
#include "base/string.h"
#include "crypto/x509.h"

enum {
    SSH_LIFE_SECONDS = 600,
    SNAPSHOT_LIMIT = 16 * 1024 * 1024,
    BUNDLE_LIMIT = 64 * 1024 * 1024,
    NAMES_MAX = 100,
};
/* A set is signed anew when less than this is left of its hour. */
static const int64_t APPROVED_SET_MARGIN = 20 * 60 * (int64_t)USEC_PER_SEC;

/* Bundles
 * -----------------------------------------------------------------------------------------------------------------
 */

static int check_bundle(StoreTransaction *transaction, void *context, Error *error)
{
    const char *digest = context;
    BundleIsKnownRow row;
    int r = statement_bundle_is_known(transaction, &(BundleIsKnownParameters){.digest = digest}, &row, error);
    if (r < 0)
        return r;
    return row.total > 0 ? 0 : error_set(error, ERROR_NOT_APPROVED, "No approved bundle has this digest.");
}

int internal_get_bundle(ApiCall *call, Error *error)
{
    char digest[HASH_HEX_SIZE];
    uint8_t bytes[HASH_SIZE];
    size_t size;
    if (hex_decode(call->parameters[0], bytes, sizeof(bytes), &size) < 0 || size != HASH_SIZE)
        return error_set(error, ERROR_BAD_REQUEST, "A bundle is named by its SHA-256 in hexadecimal.");
    hex_encode(bytes, sizeof(bytes), digest);
    int r = store_run(call->api->settings.store, STORE_READ, check_bundle, digest, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = path_join(call->api->settings.bundle_directory, digest);
    _cleanup_free_ char *data = NULL;
    r = file_read(path, BUNDLE_LIMIT, &data, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "Reading the bundle");
    call->answer.limit = BUNDLE_LIMIT + 1;
    call->content_type = "application/octet-stream";
    return buffer_append(&call->answer, data, size);
}

typedef struct ApprovedSetRead {
    ApiCall *call;
    bool is_fresh;
} ApprovedSetRead;

static int read_approved_set(StoreTransaction *transaction, void *context, Error *error)
{
    ApprovedSetRead *read = context;
    ApiCall *call = read->call;
    ApprovedSetGetRow row;
    int r = statement_approved_set_get(
        transaction, &(ApprovedSetGetParameters){.tenant = call->parameters[0]}, &row, error);
    if (r < 0)
        return r;
    read->is_fresh = r == 1 && row.expires_at > (int64_t)store_now(transaction) + APPROVED_SET_MARGIN;
    if (!read->is_fresh)
        return 0;
    char *set = arena_allocate(call->arena, 4 * (row.body.size / 3 + 2));
    char *signature = arena_allocate(call->arena, 4 * (row.signature.size / 3 + 2));
    base64_encode(row.body.data, row.body.size, set);
    base64_encode(row.signature.data, row.signature.size, signature);
    buffer_clear(&call->answer);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "set", set);
    writer_string(&writer, "signature", signature);
    writer_end_object(&writer);
    return 0;
}

int internal_get_approved_set(ApiCall *call, Error *error)
{
    ApprovedSetRead read = {.call = call};
    int r = store_run(call->api->settings.store, STORE_READ, read_approved_set, &read, error);
    if (r < 0 || read.is_fresh)
        return r;
    r = refresh_approved_set(call->api, call->parameters[0], error);
    if (r < 0 && error->code == ERROR_BAD_REFERENCE) {
        error_clear(error);
        return error_set(error, ERROR_NOT_FOUND, "There is no tenant '%s'.", call->parameters[0]);
    }
    if (r >= 0)
        r = store_run(call->api->settings.store, STORE_READ, read_approved_set, &read, error);
    if (r >= 0 && !read.is_fresh)
        r = error_set(error, ERROR_INTERNAL, "The approved set was not stored.");
    return r;
}

/* SSH
 * ---------------------------------------------------------------------------------------------------------------------
 */

typedef struct SshBody {
    int64_t epoch;
    const char *cluster, *public_key;
} SshBody;

static const JsonField ssh_fields[] = {
    {"epoch", JSON_FIELD_INTEGER, offsetof(SshBody, epoch), JSON_FIELD_REQUIRED, 1, INT64_MAX,
     "of the session"},
    {"cluster", JSON_FIELD_STRING, offsetof(SshBody, cluster), JSON_FIELD_REQUIRED, 1, ID_LENGTH,
     "id of the cluster"},
    {"public_key", JSON_FIELD_STRING, offsetof(SshBody, public_key), JSON_FIELD_REQUIRED, 1, 4096,
     "OpenSSH line"},
    {0},
};

typedef struct ClusterCheck {
    ApiCall *call;
    const SshBody *body;
    const char *principal; /* whom the nodes let in */
} ClusterCheck;

/* Hosts that are made for a cluster let in the provisioner of that cluster. Machines that exist cannot know
 * the id of a cluster to come: they let in that of the pool they are in. */
static int find_principal(StoreTransaction *transaction, ClusterCheck *check, Error *error)
{
    ClusterProviderRow row;
    const char *cluster = check->body->cluster;
    int r = statement_cluster_provider(transaction, &(ClusterProviderParameters){.id = cluster}, &row, error);
    if (r <= 0)
        return r;
    _cleanup_json_ json_t *snapshot = NULL;
    r = json_parse(row.snapshot, strlen(row.snapshot), SNAPSHOT_LIMIT, &snapshot, error);
    if (r < 0)
        return r;
    const json_t *provider = json_object_get(snapshot, "provider");
    check->principal = arena_format(check->call->arena, "provisioner:%s", cluster);
    if (string_equal(json_string_value(json_object_get(provider, "providertype")), "hosts"))
        check->principal =
            arena_format(check->call->arena, "provisioner:pool:%s:%s", row.tenant, row.provider);
    return 0;
}

static int check_cluster(StoreTransaction *transaction, void *context, Error *error)
{
    ClusterCheck *check = context;
    const char *id = internal_provisioner(check->call);
    ProvisionerHasClusterRow row;
    int r = statement_provisioner_has_cluster(
        transaction,
        &(ProvisionerHasClusterParameters){
            .cluster_id = check->body->cluster, .provisioner_id = id, .epoch = check->body->epoch},
        &row, error);
    if (r < 0)
        return r;
    if (row.total == 0)
        return error_set(error, ERROR_FORBIDDEN, "The provisioner has no task of this cluster.");
    r = find_principal(transaction, check, error);
    if (r < 0)
        return r;
    return audit_trail_append(
        transaction,
        &(AuditRecord){.actor = check->call->principal.username,
                       .authentication = check->call->authentication,
                       .source = check->call->request->remote_address,
                       .request_id = check->call->request->request_id,
                       .action = "ssh_certificate_issue",
                       .object = arena_format(store_arena(transaction), "cluster:%s", check->body->cluster)},
        error);
}

int internal_ssh_certificate(ApiCall *call, Error *error)
{
    SshBody body = {0};
    int r = body_dispatch(call, ssh_fields, &body, error);
    if (r < 0)
        return r;
    ClusterCheck check = {call, &body, NULL};
    r = store_run(call->api->settings.store, STORE_WRITE, check_cluster, &check, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *line = NULL;
    r = issue_ssh_certificate(call->api,
                              &(SshIssueRequest){.public_key = body.public_key,
                                                 .key_id = call->principal.username,
                                                 .principal = check.principal,
                                                 .life_seconds = SSH_LIFE_SECONDS,
                                                 .force_command = "bastide-runner serve"},
                              &line, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "certificate", line);
    writer_time(&writer, "expires_at",
                (int64_t)(clock_realtime(call->api->settings.clock) + SSH_LIFE_SECONDS * USEC_PER_SEC));
    writer_end_object(&writer);
    return 0;
}

/* Certificates of applications
 * ---------------------------------------------------------------------------------------------- */

typedef struct CsrBody {
    int64_t epoch, attempt;
    const char *csr;
} CsrBody;

static const JsonField csr_fields[] = {
    {"epoch", JSON_FIELD_INTEGER, offsetof(CsrBody, epoch), JSON_FIELD_REQUIRED, 1, INT64_MAX,
     "of the session"},
    {"attempt", JSON_FIELD_INTEGER, offsetof(CsrBody, attempt), JSON_FIELD_REQUIRED, 1, INT32_MAX,
     "of the task"},
    {"csr", JSON_FIELD_STRING, offsetof(CsrBody, csr), JSON_FIELD_REQUIRED, 1, 16384, "PEM"},
    {0},
};

static const JsonField renew_fields[] = {
    {"csr", JSON_FIELD_STRING, offsetof(CsrBody, csr), JSON_FIELD_REQUIRED, 1, 16384, "PEM"},
    {0},
};

typedef struct CertificateTask {
    ApiCall *call;
    const CsrBody *body;
    const char *tenant, *node_id, *common_name;
    StringList dns_names;
    IpAddress *addresses;
    size_t address_count;
} CertificateTask;

/* The names are those of the plan, evaluated for this node; the request gives only the key. */
static int read_certificate_task(StoreTransaction *transaction, void *context, Error *error)
{
    CertificateTask *task = context;
    ApiCall *call = task->call;
    char execution_id[ID_SIZE];
    int64_t number;
    if (!engine_task_parse(call->parameters[0], execution_id, &number))
        return error_set(error, ERROR_BAD_REQUEST, "This is not the id of a task.");
    TaskIsLeasedByRow row;
    int r =
        statement_task_is_leased_by(transaction,
                                    &(TaskIsLeasedByParameters){.execution_id = execution_id,
                                                                .number = number,
                                                                .attempt = task->body->attempt,
                                                                .provisioner_id = internal_provisioner(call),
                                                                .epoch = task->body->epoch},
                                    &row, error);
    if (r < 0)
        return r;
    if (r == 0 || !string_equal(row.action, "certificate"))
        return error_set(error, ERROR_STALE,
                         "The task is not leased to this provisioner, or is not a certificate task.");
    task->tenant = arena_string(call->arena, row.tenant);
    task->node_id = arena_string(call->arena, row.node_id);
    return certificate_names(transaction, call->arena, row.tenant, row.cluster_id, row.node_id, row.service,
                             row.details, &task->common_name, &task->dns_names, &task->addresses,
                             &task->address_count, error);
}

static int write_chain(ApiCall *call, const char *chain, const char *serial)
{
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "chain", chain);
    writer_string(&writer, "certificate", chain);
    writer_string(&writer, "serial", serial);
    writer_end_object(&writer);
    return writer.status;
}

int internal_task_certificate(ApiCall *call, Error *error)
{
    CsrBody body = {0};
    int r = body_dispatch(call, csr_fields, &body, error);
    if (r < 0)
        return r;
    CertificateTask task = {.call = call, .body = &body};
    r = store_run(call->api->settings.store, STORE_READ, read_certificate_task, &task, error);
    _cleanup_free_ char *chain = NULL;
    char serial[SERIAL_HEX_SIZE];
    if (r >= 0)
        r = issue_certificate(call->api,
                              &(IssueRequest){.profile = "cluster-server",
                                              .csr = body.csr,
                                              .common_name = task.common_name,
                                              .dns_names = &task.dns_names,
                                              .ip_addresses = task.addresses,
                                              .ip_address_count = task.address_count,

                                              .tenant = task.tenant,
                                              .holder = task.node_id},
                              &chain, serial, error);
    string_list_done(&task.dns_names);
    return r < 0 ? r : write_chain(call, chain, serial);
}

static int note_renewal(StoreTransaction *transaction, void *context, Error *error)
{
    const ApiCall *call = context;
    return audit_trail_append(transaction,
                              &(AuditRecord){.actor = call->principal.username,
                                             .authentication = call->authentication,
                                             .source = call->request->remote_address,
                                             .request_id = call->request->request_id,
                                             .action = "provisioner_certificate_renew",
                                             .object = call->principal.username},
                              error);
}

int internal_renew_certificate(ApiCall *call, Error *error)
{
    CsrBody body = {0};
    int r = body_dispatch(call, renew_fields, &body, error);
    if (r >= 0)
        r = store_run(call->api->settings.store, STORE_WRITE, note_renewal, call, error);
    if (r < 0)
        return r;
    _cleanup_string_list_ StringList uris = {0};
    const char *id = internal_provisioner(call);
    string_list_append(&uris, arena_format(call->arena, "bastide:provisioner:%s", id));
    _cleanup_free_ char *chain = NULL;
    char serial[SERIAL_HEX_SIZE];
    r = issue_certificate(call->api,
                          &(IssueRequest){.profile = "provisioner",
                                          .csr = body.csr,
                                          .common_name = id,
                                          .uris = &uris,
                                          .life_seconds = 0, /* what the profile has */
                                          .holder = id},
                          &chain, serial, error);
    return r < 0 ? r : write_chain(call, chain, serial);
}
