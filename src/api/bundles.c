/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles: upload, approval, revocation. The archive's bytes are files named by their digest; the database
 * holds the rest. A revocation acts at once: the approved set is signed anew before the answer. */

#include <errno.h>

#include "api/issuing.h"
#include "api/quotas.h"
#include "api/resources.h"
#include "base/file.h"
#include "base/string.h"
#include "domain/bundle/bundle.h"

static void write_bundle(Writer *writer, const BundleListRow *row, const char *manifest)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "digest", row->digest);
    writer_string(writer, "name", row->name);
    writer_string(writer, "version", row->version);
    writer_string(writer, "status", row->status);
    writer_integer(writer, "size", row->size);
    writer_string(writer, "uploaded_by", row->uploaded_by);
    writer_time(writer, "uploaded_at", row->uploaded_at);
    writer_string(writer, "decided_by", *row->decided_by ? row->decided_by : NULL);
    writer_time(writer, "decided_at", row->decided_at);
    if (manifest)
        writer_raw(writer, "manifest", manifest);
    writer_end_object(writer);
}

static int list_bundles(ApiCall *call, Error *error)
{
    Page page;
    BundleListRow *rows;
    BundleCountRow total;
    size_t count;
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_bundle_list(
            call->transaction,
            &(BundleListParameters){.tenant = call->tenant, .maximum = page.size, .offset = page.offset},
            &rows, &count, error);
    if (r >= 0)
        r = statement_bundle_count(call->transaction, &(BundleCountParameters){.tenant = call->tenant},
                                   &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_bundle(&writer, &rows[i], NULL);
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

static int answer_bundle(ApiCall *call, const char *digest, Error *error)
{
    BundleGetRow row;
    int r = statement_bundle_get(
        call->transaction, &(BundleGetParameters){.tenant = call->tenant, .digest = digest}, &row, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no bundle with the digest '%s'.", digest);
    Writer writer = writer_new(&call->answer);
    write_bundle(&writer,
                 &(BundleListRow){.digest = row.digest,
                                  .name = row.name,
                                  .version = row.version,
                                  .status = row.status,
                                  .size = row.size,
                                  .uploaded_by = row.uploaded_by,
                                  .uploaded_at = row.uploaded_at,
                                  .decided_by = row.decided_by,
                                  .decided_at = row.decided_at},
                 row.manifest);
    return writer.status;
}

static int get_bundle(ApiCall *call, Error *error)
{
    return answer_bundle(call, call->parameters[0], error);
}

typedef struct Upload {
    const Bundle *bundle;
    char digest[2 * BUNDLE_DIGEST_SIZE + 1];
    bool is_new;
} Upload;

static int insert_bundle(ApiCall *call, void *context, Error *error)
{
    Upload *upload = context;
    BundleGetRow existing;
    int r = statement_bundle_get(call->transaction,
                                 &(BundleGetParameters){.tenant = call->tenant, .digest = upload->digest},
                                 &existing, error);
    if (r < 0)
        return r;
    upload->is_new = r == 0;
    call->audit_object = arena_format(call->arena, "bundle:%s", upload->digest);
    if (upload->is_new) {
        const int64_t more[_QUOTA_MAX] = {[QUOTA_BUNDLE_BYTES] = (int64_t)call->request->body_size};
        _cleanup_free_ char *manifest = json_to_text(upload->bundle->manifest);
        r = quota_take(call, more, error);
        if (r < 0)
            return r;
        r = statement_bundle_insert(
            call->transaction,
            &(BundleInsertParameters){.tenant = call->tenant,
                                      .digest = upload->digest,
                                      .name = upload->bundle->name,
                                      .version = upload->bundle->version,
                                      .size = (int64_t)call->request->body_size,
                                      .manifest = manifest,
                                      .uploaded_by = call->principal.username,
                                      .uploaded_at = (int64_t)store_now(call->transaction)},
            error);
        if (r >= 0)
            r = resource_add(call, "bundle", upload->digest, error);
    }
    buffer_clear(&call->answer);
    return r < 0 ? r : answer_bundle(call, upload->digest, error);
}

static int post_bundle(ApiCall *call, Error *error)
{
    _cleanup_bundle_ Bundle *bundle = NULL;
    int r = bundle_inspect(call->request->body, call->request->body_size, &bundle, error);
    if (r < 0)
        return r;
    Upload upload = {.bundle = bundle};
    hex_encode(bundle->digest, sizeof(bundle->digest), upload.digest);
    _cleanup_free_ char *path = path_join(call->api->settings.bundle_directory, upload.digest);
    r = file_write_atomic(path, call->request->body, call->request->body_size, 0600);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "Storing the bundle");
    r = api_call_run(call, STORE_WRITE, insert_bundle, &upload, error);
    if (r >= 0)
        call->status = upload.is_new ? 201 : 200;
    return r;
}

static int decide_job(ApiCall *call, void *context, Error *error)
{
    const char *status = context, *digest = call->parameters[0];
    int r = statement_bundle_decide(
        call->transaction,
        &(BundleDecideParameters){.tenant = call->tenant,
                                  .digest = digest,
                                  .status = status,
                                  .decided_by = call->principal.username,
                                  .decided_at = (int64_t)store_now(call->transaction)},
        error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no bundle with the digest '%s'.", digest);
    call->audit_object = arena_format(call->arena, "bundle:%s", digest);
    buffer_clear(&call->answer);
    return answer_bundle(call, digest, error);
}

static int decide(ApiCall *call, const char *status, Error *error)
{
    char *copy = arena_string(call->arena, status);
    int r = api_call_run(call, STORE_WRITE, decide_job, copy, error);
    return r < 0 ? r : refresh_approved_set(call->api, call->tenant, error);
}

static int post_approve(ApiCall *call, Error *error)
{
    return decide(call, "approved", error);
}

static int post_revoke(ApiCall *call, Error *error)
{
    return decide(call, "revoked", error);
}

const ApiRoute routes_bundles[] = {
    ROUTE(GET, "/bundles", BUNDLE_LIST, NEEDS_TENANT, READ, NO_BODY, list_bundles, NULL, 200, "Bundles",
          .query = query_page),
    ROUTE(POST, "/bundles", BUNDLE_UPLOAD, NEEDS_TENANT, POOL, RAW_BODY, post_bundle, "bundle_upload", 201,
          "Uploads an archive; it must be approved before anything of it runs",
          .body_limit = BUNDLE_ARCHIVE_LIMIT),
    ROUTE(GET, "/bundles/{digest}", BUNDLE_GET, NEEDS_TENANT, READ, NO_BODY, get_bundle, NULL, 200,
          "A bundle with its manifest", .object = &object_bundle),
    ROUTE(POST, "/bundles/{digest}/approve", BUNDLE_APPROVE, NEEDS_TENANT, POOL, NO_BODY, post_approve,
          "bundle_approve", 200, "Approves a bundle", .object = &object_bundle),
    ROUTE(POST, "/bundles/{digest}/revoke", BUNDLE_APPROVE, NEEDS_TENANT, POOL, NO_BODY, post_revoke,
          "bundle_revoke", 200, "Revokes a bundle at once", .object = &object_bundle),
    {0},
};
