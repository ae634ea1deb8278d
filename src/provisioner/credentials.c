/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/credentials.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/memory.h"
#include "base/string.h"

#define RENEW_BEFORE    (120 * USEC_PER_SEC)
#define REQUEST_TIMEOUT (30 * USEC_PER_SEC)

typedef struct Entry {
    SshCredential *credential;
    char *authority;
} Entry;

struct Credentials {
    Manager *manager;
    uint64_t epoch;
    /* Held while the manager is asked, so that many tasks of a cluster ask once. */
    pthread_mutex_t mutex;
    StringMap *entries; /* by cluster */
};

static void entry_free(void *value)
{
    Entry *entry = value;
    ssh_credential_unref(entry->credential);
    free(entry->authority);
    free(entry);
}

Credentials *credentials_new(Manager *manager, uint64_t epoch)
{
    Credentials *credentials = NEW(Credentials);
    credentials->manager = manager;
    credentials->epoch = epoch;
    credentials->entries = string_map_new(entry_free);
    (void)pthread_mutex_init(&credentials->mutex, NULL);
    return credentials;
}

Credentials *credentials_free(Credentials *credentials)
{
    string_map_free(credentials->entries);
    (void)pthread_mutex_destroy(&credentials->mutex);
    free(credentials);
    return NULL;
}

static int fetch(Credentials *credentials, const char *cluster, Entry **ret_entry, Error *error)
{
    _cleanup_ssh_credential_ SshCredential *credential = NULL;
    _cleanup_free_ char *public_line = NULL;
    int r = ssh_credential_new(&credential, &public_line, error);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *answer = NULL,
                          *body = json_pack("{sI ss ss}", "epoch", (json_int_t)credentials->epoch, "cluster",
                                            cluster, "public_key", public_line);
    r = manager_request(credentials->manager, "POST", "/internal/v1/ssh-certificates", body, REQUEST_TIMEOUT,
                        &answer, error);
    if (r < 0)
        return r;
    const char *certificate = json_string_value(json_object_get(answer, "certificate"));
    const char *expires_text = json_string_value(json_object_get(answer, "expires_at"));
    Usec expires;
    if (!certificate || !expires_text || timestamp_parse(expires_text, &expires) < 0)
        return error_set(error, ERROR_PROTOCOL, "the manager's answer has no SSH certificate");
    _cleanup_free_ char *authority = NULL;
    r = ssh_credential_set_certificate(credential, certificate, expires, error);
    if (r >= 0)
        r = ssh_certificate_authority(certificate, &authority, error);
    if (r < 0)
        return r;
    Entry *entry = NEW(Entry);
    *entry = (Entry){.credential = TAKE_PTR(credential), .authority = TAKE_PTR(authority)};
    string_map_set(credentials->entries, cluster, entry);
    *ret_entry = entry;
    return 0;
}

static int find(Credentials *credentials, const char *cluster, Entry **ret_entry, Error *error)
{
    Usec now = clock_realtime(&system_clock);
    Entry *entry = string_map_get(credentials->entries, cluster);
    if (entry && ssh_credential_expires(entry->credential) > now + RENEW_BEFORE) {
        *ret_entry = entry;
        return 0;
    }
    Error failure = ERROR_INIT;
    int r = fetch(credentials, cluster, ret_entry, &failure);
    /* The old one serves as long as it is valid: the manager may be starting again. */
    if (r < 0 && entry && ssh_credential_expires(entry->credential) > now) {
        *ret_entry = entry;
        return 0;
    }
    if (r < 0 && error)
        *error = failure;
    return r;
}

int credentials_get(Credentials *credentials, const char *cluster, SshCredential **ret_credential,
                    Error *error)
{
    (void)pthread_mutex_lock(&credentials->mutex);
    Entry *entry;
    int r = find(credentials, cluster, &entry, error);
    if (r >= 0)
        *ret_credential = ssh_credential_ref(entry->credential);
    (void)pthread_mutex_unlock(&credentials->mutex);
    return r;
}

int credentials_get_authority(Credentials *credentials, const char *cluster, char **ret_authority,
                              Error *error)
{
    (void)pthread_mutex_lock(&credentials->mutex);
    Entry *entry;
    int r = find(credentials, cluster, &entry, error);
    if (r >= 0)
        *ret_authority = string_duplicate(entry->authority);
    (void)pthread_mutex_unlock(&credentials->mutex);
    return r;
}
