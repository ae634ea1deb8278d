/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/manager.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/string.h"
#include "net/http_client.h"

enum { CLIENTS_KEPT = 16, ANSWER_LIMIT = 72 * 1024 * 1024, JSON_LIMIT = 64 * 1024 * 1024 };

struct Manager {
    char *url, *ca_file, *certificate_file, *key_file;
    pthread_mutex_t mutex;
    HttpClient *clients[CLIENTS_KEPT]; /* not in use, below the mutex */
    size_t client_count;
    unsigned generation;
};

typedef struct Borrowed {
    HttpClient *client;
    unsigned generation;
} Borrowed;

Manager *manager_new(const ManagerSettings *settings)
{
    Manager *manager = NEW(Manager);
    manager->url = string_duplicate(settings->url);
    manager->ca_file = string_duplicate(settings->ca_file);
    manager->certificate_file = string_duplicate(settings->certificate_file);
    manager->key_file = string_duplicate(settings->key_file);
    (void)pthread_mutex_init(&manager->mutex, NULL);
    return manager;
}

static void drop_clients(Manager *manager)
{
    while (manager->client_count > 0)
        http_client_free(manager->clients[--manager->client_count]);
}

Manager *manager_free(Manager *manager)
{
    drop_clients(manager);
    (void)pthread_mutex_destroy(&manager->mutex);
    free(manager->url);
    free(manager->ca_file);
    free(manager->certificate_file);
    free(manager->key_file);
    free(manager);
    return NULL;
}

void manager_reload(Manager *manager)
{
    (void)pthread_mutex_lock(&manager->mutex);
    manager->generation++;
    drop_clients(manager);
    (void)pthread_mutex_unlock(&manager->mutex);
}

static int borrow(Manager *manager, Borrowed *ret_borrowed, Error *error)
{
    (void)pthread_mutex_lock(&manager->mutex);
    *ret_borrowed = (Borrowed){.generation = manager->generation};
    if (manager->client_count > 0)
        ret_borrowed->client = manager->clients[--manager->client_count];
    (void)pthread_mutex_unlock(&manager->mutex);
    if (ret_borrowed->client)
        return 0;
    HttpClientSettings settings = {.base_url = manager->url,
                                   .ca_file = manager->ca_file,
                                   .certificate_file = manager->certificate_file,
                                   .key_file = manager->key_file,
                                   .answer_limit = ANSWER_LIMIT};
    return http_client_new(&settings, &ret_borrowed->client, error);
}

static void give_back(Manager *manager, Borrowed *borrowed, bool is_good)
{
    (void)pthread_mutex_lock(&manager->mutex);
    if (is_good && borrowed->generation == manager->generation && manager->client_count < CLIENTS_KEPT)
        manager->clients[manager->client_count++] = TAKE_PTR(borrowed->client);
    (void)pthread_mutex_unlock(&manager->mutex);
    if (borrowed->client)
        http_client_free(borrowed->client);
}

/* The code out of "urn:bastide:error:<name>". */
static int refuse(const HttpAnswer *answer, Error *error)
{
    static const char prefix[] = "urn:bastide:error:";
    _cleanup_json_ json_t *body = NULL;
    Error ignored = ERROR_INIT;
    (void)json_parse((const char *)answer->body.data, answer->body.size, 64 * 1024, &body, &ignored);
    const char *type = json_string_value(json_object_get(body, "type"));
    const char *message = json_string_value(json_object_get(body, "message"));
    ErrorCode code = type && string_starts_with(type, prefix) ? error_code_from_name(type + strlen(prefix))
                                                              : _ERROR_INVALID;
    if (code <= ERROR_NONE)
        code = answer->status == 404   ? ERROR_NOT_FOUND
               : answer->status == 409 ? ERROR_STALE
               : answer->status == 401 ? ERROR_UNAUTHENTICATED
               : answer->status == 403 ? ERROR_FORBIDDEN
               : answer->status >= 500 ? ERROR_UNAVAILABLE
                                       : ERROR_BAD_REQUEST;
    return error_set(error, code, "the manager answered %d: %s", answer->status,
                     message ? message : "no reason given");
}

static int exchange(Manager *manager, const char *method, const char *path, const char *text, Usec timeout,
                    HttpAnswer *ret_answer, Error *error)
{
    Borrowed borrowed;
    int r = borrow(manager, &borrowed, error);
    if (r < 0)
        return r;
    r = http_client_request(borrowed.client, method, path, text ? "application/json" : NULL, text,
                            text ? strlen(text) : 0, timeout, ret_answer, error);
    give_back(manager, &borrowed, r >= 0);
    if (r >= 0 && ret_answer->status >= 400) {
        r = refuse(ret_answer, error);
        http_answer_done(ret_answer);
    }
    return r;
}

int manager_request(Manager *manager, const char *method, const char *path, const json_t *body, Usec timeout,
                    json_t **ret_answer, Error *error)
{
    _cleanup_free_ char *text = body ? json_to_text(body) : NULL;
    HttpAnswer answer = {0};
    int r = exchange(manager, method, path, text, timeout, &answer, error);
    if (r < 0)
        return r;
    if (ret_answer)
        r = json_parse((const char *)answer.body.data, answer.body.size, JSON_LIMIT, ret_answer, error);
    http_answer_done(&answer);
    return r;
}

int manager_download(Manager *manager, const char *path, size_t limit, Usec timeout, Buffer *ret_bytes,
                     Error *error)
{
    HttpAnswer answer = {0};
    int r = exchange(manager, "GET", path, NULL, timeout, &answer, error);
    if (r < 0)
        return r;
    if (answer.body.size > limit) {
        http_answer_done(&answer);
        return error_set(error, ERROR_TOO_LARGE, "the manager sent more than %zu bytes", limit);
    }
    *ret_bytes = answer.body;
    answer.body = BUFFER_INIT;
    http_answer_done(&answer);
    return 0;
}
