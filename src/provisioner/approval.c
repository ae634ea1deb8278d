/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/approval.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/string.h"
#include "custody/keeper_protocol.h"

/* A revocation takes effect here after this time at the latest, however long the set itself lives. */
#define SET_AGE_MAXIMUM (30 * USEC_PER_SEC)
#define SET_TIMEOUT     (30 * USEC_PER_SEC)
#define BUNDLE_TIMEOUT  (300 * USEC_PER_SEC)
enum { SET_LIMIT = 4 * 1024 * 1024 };

typedef struct TenantSet {
    uint8_t *bytes; /* owned; the set points into it */
    ApprovedSet set;
    Usec fetched; /* monotonic */
} TenantSet;

typedef struct StoredBundle {
    Bundle *bundle;
    char *directory;
} StoredBundle;

struct Approval {
    Manager *manager;
    char *directory;
    uint8_t signing_key[SIGN_PUBLIC_SIZE];
    pthread_mutex_t mutex; /* held while the manager is asked */
    StringMap *sets;       /* by tenant */
    StringMap *bundles;    /* by digest */
};

static void tenant_set_free(void *value)
{
    TenantSet *set = value;
    free(set->bytes);
    free(set);
}

static void stored_bundle_free(void *value)
{
    StoredBundle *stored = value;
    bundle_free(stored->bundle);
    free(stored->directory);
    free(stored);
}

Approval *approval_new(Manager *manager, const char *directory,
                       const uint8_t signing_key[static SIGN_PUBLIC_SIZE])
{
    Approval *approval = NEW(Approval);
    approval->manager = manager;
    approval->directory = string_duplicate(directory);
    memcpy(approval->signing_key, signing_key, SIGN_PUBLIC_SIZE);
    approval->sets = string_map_new(tenant_set_free);
    approval->bundles = string_map_new(stored_bundle_free);
    (void)pthread_mutex_init(&approval->mutex, NULL);
    return approval;
}

Approval *approval_free(Approval *approval)
{
    string_map_free(approval->sets);
    string_map_free(approval->bundles);
    (void)pthread_mutex_destroy(&approval->mutex);
    free(approval->directory);
    free(approval);
    return NULL;
}

/* --- sets --- */

static int check_serial(const Approval *approval, const ApprovedSet *set, Error *error)
{
    _cleanup_free_ char *path = string_format("%s/serial-%s", approval->directory, set->tenant), *text = NULL;
    uint64_t highest = 0;
    int r = file_read(path, 64, &text, NULL);
    if (r >= 0) {
        text[strcspn(text, "\n")] = 0;
        r = string_to_u64(text, UINT64_MAX, &highest);
    }
    if (r < 0 && r != -ENOENT)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot read the serial of the approved set");
    if (set->serial < highest)
        return error_set(error, ERROR_STALE,
                         "the approved set has serial %" PRIu64 ", but %" PRIu64 " was seen before",
                         set->serial, highest);
    if (set->serial == highest && r >= 0)
        return 0;
    char number[32];
    (void)string_print(number, sizeof(number), "%" PRIu64 "\n", set->serial);
    r = file_write_atomic(path, number, strlen(number), 0600);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "cannot keep the serial of the approved set")
                 : 0;
}

static int decode_member(const json_t *answer, const char *name, size_t limit, uint8_t **ret_bytes,
                         size_t *ret_size, Error *error)
{
    const json_t *member = json_object_get(answer, name);
    if (!json_is_string(member) ||
        base64_decode(json_string_value(member), json_string_length(member), limit, ret_bytes, ret_size) < 0)
        return error_set(error, ERROR_PROTOCOL, "the manager's answer has no \"%s\"", name);
    return 0;
}

static int fetch_set(Approval *approval, const char *tenant, Error *error)
{
    _cleanup_free_ char *path = string_format("/internal/v1/approved-sets/%s", tenant);
    _cleanup_json_ json_t *answer = NULL;
    int r = manager_request(approval->manager, "GET", path, NULL, SET_TIMEOUT, &answer, error);
    if (r < 0)
        return r;
    _cleanup_free_ uint8_t *bytes = NULL, *signature = NULL;
    size_t size, signature_size;
    r = decode_member(answer, "set", SET_LIMIT, &bytes, &size, error);
    if (r >= 0)
        r = decode_member(answer, "signature", SIGN_SIGNATURE_SIZE, &signature, &signature_size, error);
    if (r < 0)
        return r;
    if (signature_size != SIGN_SIGNATURE_SIZE)
        return error_set(error, ERROR_PROTOCOL, "the signature of the approved set is malformed");
    ApprovedSet set;
    r = approved_set_verify(approval->signing_key, bytes, size, signature, tenant,
                            clock_realtime(&system_clock), &set, error);
    if (r >= 0)
        r = check_serial(approval, &set, error);
    if (r < 0)
        return r;
    TenantSet *entry = NEW(TenantSet);
    *entry = (TenantSet){.bytes = TAKE_PTR(bytes), .set = set, .fetched = clock_monotonic(&system_clock)};
    string_map_set(approval->sets, tenant, entry);
    return 0;
}

static bool is_usable(const TenantSet *entry)
{
    return entry && entry->set.expiry > clock_realtime(&system_clock) &&
           clock_monotonic(&system_clock) < entry->fetched + SET_AGE_MAXIMUM;
}

static int check_approved(Approval *approval, const char *tenant, const uint8_t *digest, Error *error)
{
    const TenantSet *entry = string_map_get(approval->sets, tenant);
    /* One that lacks the digest may be older than the approval. */
    if (!is_usable(entry) || !approved_set_has(&entry->set, digest)) {
        int r = fetch_set(approval, tenant, error);
        if (r < 0)
            return r;
        entry = string_map_get(approval->sets, tenant);
    }
    if (approved_set_has(&entry->set, digest))
        return 0;
    char hex[2 * BUNDLE_DIGEST_SIZE + 1];
    hex_encode(digest, BUNDLE_DIGEST_SIZE, hex);
    return error_set(error, ERROR_NOT_APPROVED, "the bundle %s is not in the approved set of \"%s\"", hex,
                     tenant);
}

/* --- bundles --- */

static int unpack(const Approval *approval, const char *hex, const Buffer *archive, const uint8_t *digest,
                  StoredBundle **ret_stored, Error *error)
{
    _cleanup_free_ char *directory = string_format("%s/%s", approval->directory, hex);
    int r = directory_remove(directory);
    if (r >= 0 && mkdir(directory, 0700) < 0)
        r = -errno;
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot make the directory of a bundle");
    _cleanup_close_ int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot open the directory of a bundle");
    Bundle *bundle = NULL;
    r = bundle_extract(archive->data, archive->size, digest, descriptor, &bundle, error);
    if (r < 0) {
        (void)directory_remove(directory);
        return r;
    }
    StoredBundle *stored = NEW(StoredBundle);
    *stored = (StoredBundle){.bundle = bundle, .directory = TAKE_PTR(directory)};
    *ret_stored = stored;
    return 0;
}

static int find_bundle(Approval *approval, const uint8_t *digest, StoredBundle **ret_stored, Error *error)
{
    char hex[2 * BUNDLE_DIGEST_SIZE + 1];
    hex_encode(digest, BUNDLE_DIGEST_SIZE, hex);
    *ret_stored = string_map_get(approval->bundles, hex);
    if (*ret_stored)
        return 0;
    _cleanup_free_ char *path = string_format("/internal/v1/bundles/%s", hex);
    _cleanup_buffer_ Buffer archive = BUFFER_INIT;
    int r = manager_download(approval->manager, path, BUNDLE_ARCHIVE_LIMIT, BUNDLE_TIMEOUT, &archive, error);
    if (r >= 0)
        r = unpack(approval, hex, &archive, digest, ret_stored, error);
    if (r >= 0)
        string_map_set(approval->bundles, hex, *ret_stored);
    return r;
}

int approval_get_bundle(Approval *approval, const char *tenant,
                        const uint8_t digest[static BUNDLE_DIGEST_SIZE], ApprovedBundle *ret_bundle,
                        Error *error)
{
    (void)pthread_mutex_lock(&approval->mutex);
    StoredBundle *stored = NULL;
    int r = check_approved(approval, tenant, digest, error);
    if (r >= 0)
        r = find_bundle(approval, digest, &stored, error);
    if (r >= 0)
        *ret_bundle = (ApprovedBundle){.bundle = stored->bundle, .directory = stored->directory};
    (void)pthread_mutex_unlock(&approval->mutex);
    return r;
}
