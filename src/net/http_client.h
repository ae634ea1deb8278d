/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The HTTPS client of our own programs, over libcurl: verified TLS only (there is no switch), optional client
 * certificate, bounded answers, blocking with a deadline. One client belongs to one thread and keeps its
 * connections. */

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"

typedef struct HttpClient HttpClient;

typedef struct HttpClientSettings {
    const char *base_url;                    /* "https://127.0.0.1:8443" */
    const char *ca_file;                     /* PEM; NULL = the system's */
    const char *certificate_file, *key_file; /* own certificate, or NULL */
    const char *connect_to;                  /* address to connect to in place of the URL's host, or NULL */
    size_t answer_limit;                     /* 0 = 16 MiB */
} HttpClientSettings;

typedef struct HttpAnswer {
    int status;
    char content_type[128];
    char request_id[64];
    Buffer body; /* owned; http_answer_done */
} HttpAnswer;

int http_client_new(const HttpClientSettings *settings, HttpClient **ret_client, Error *error);
HttpClient *http_client_free(HttpClient *client);
DEFINE_CLEANUP(HttpClient, http_client_free);
/* Sent with every request (at most 16; no control characters), e.g. "Tenant", "Authentication-Token"; the
 * value is wiped when replaced or freed. NULL removes. */
void http_client_set_header(HttpClient *client, const char *name, const char *value);
/* Any status is a success of this call; negative only when there was no whole answer. body may be NULL. */
int http_client_request(HttpClient *client, const char *method, const char *path, const char *content_type,
                        const void *body, size_t size, Usec timeout, HttpAnswer *ret_answer, Error *error);
void http_answer_done(HttpAnswer *answer);
/* Reads a server-sent event stream until the callback returns non-zero (returned), the server closes (0) or
 * an error. */
typedef int (*HttpEventCallback)(uint64_t id, const char *event, const char *data, void *userdata);
int http_client_stream(HttpClient *client, const char *path, uint64_t last_event_id,
                       HttpEventCallback callback, void *userdata, Error *error);
