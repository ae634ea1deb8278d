/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/memory.h"
#include "base/secret.h"
#include "base/string.h"
#include "net/event_stream.h"

/* libcurl with everything off that a client of our own servers does not need: other protocols, redirects,
 * proxies, netrc, cookies, the system's CAs when an own CA is given. One handle a client, so that connections
 * are kept. */

enum { HEADERS_MAX = 16, ANSWER_LIMIT_DEFAULT = 16 * 1024 * 1024, CONNECT_TIMEOUT_MS = 15000 };
enum { STREAM_SILENCE_SECONDS = 70 }; /* the server's heartbeat comes every 20 to 25 s */

typedef struct ClientHeader {
    char *name, *value; /* the value is wiped */
} ClientHeader;

struct HttpClient {
    CURL *curl;
    char *base_url, *ca_file, *certificate_file, *key_file, *connect_to;
    size_t answer_limit;
    ClientHeader headers[HEADERS_MAX];
    char message[CURL_ERROR_SIZE];
};

/* What the callbacks of one transfer work on. */
typedef struct Transfer {
    HttpClient *client;
    HttpAnswer *answer;
    int failure;               /* negative errno of a callback */
    EventStreamParser *stream; /* when reading events */
    HttpEventCallback callback;
    void *userdata;
    int stopped; /* the event callback's result */
} Transfer;

static const struct {
    CURLcode code;
    ErrorCode error;
    const char *text;
} curl_errors[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERROR_UNAVAILABLE, "the host name cannot be resolved"},
    {CURLE_COULDNT_CONNECT, ERROR_UNAVAILABLE, "cannot connect"},
    {CURLE_OPERATION_TIMEDOUT, ERROR_TIMED_OUT, "no answer in time"},
    {CURLE_PEER_FAILED_VERIFICATION, ERROR_UNTRUSTED, "the server's certificate is not trusted"},
    {CURLE_SSL_CACERT_BADFILE, ERROR_CONFIGURATION, "the CA file cannot be used"},
    {CURLE_SSL_CERTPROBLEM, ERROR_CONFIGURATION, "the own certificate or key cannot be used"},
    {CURLE_SSL_CONNECT_ERROR, ERROR_UNTRUSTED, "no TLS connection"},
    {CURLE_UNSUPPORTED_PROTOCOL, ERROR_INSECURE, "only https is used"},
    {CURLE_URL_MALFORMAT, ERROR_BAD_REQUEST, "the URL is malformed"},
};

static void initialise_library(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool is_clean(const char *text)
{
    return !string_has_control(text, strlen(text), NULL);
}

/* "any host, any port: connect to this address, same port" in libcurl's words. */
static char *connect_rule(const char *address)
{
    if (!address)
        return NULL;
    bool needs_brackets = strchr(address, ':') && address[0] != '[';
    return string_format("::%s%s%s:", needs_brackets ? "[" : "", address, needs_brackets ? "]" : "");
}

int http_client_new(const HttpClientSettings *settings, HttpClient **ret_client, Error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, initialise_library);
    if (!string_starts_with(settings->base_url, "https://") || !is_clean(settings->base_url))
        return error_set(error, ERROR_INSECURE, "the server's URL must begin with https://");
    if (!settings->certificate_file != !settings->key_file)
        return error_set(error, ERROR_CONFIGURATION,
                         "an own certificate needs its key, and the other way round");

    HttpClient *client = NEW(HttpClient);
    *client = (HttpClient){
        .curl = curl_easy_init(),
        .base_url = string_duplicate(settings->base_url),
        .ca_file = string_duplicate(settings->ca_file),
        .certificate_file = string_duplicate(settings->certificate_file),
        .key_file = string_duplicate(settings->key_file),
        .connect_to = connect_rule(settings->connect_to),
        .answer_limit = settings->answer_limit ? settings->answer_limit : ANSWER_LIMIT_DEFAULT,
    };
    size_t length = strlen(client->base_url);
    while (length > 0 && client->base_url[length - 1] == '/')
        client->base_url[--length] = '\0';
    if (!client->curl) {
        http_client_free(client);
        return error_set(error, ERROR_INTERNAL, "libcurl cannot be initialised");
    }
    *ret_client = client;
    return 0;
}

/* OpenSSL below libcurl writes without MSG_NOSIGNAL: a server that hangs up must not end the program. The
 * signal is held back in this thread only, and taken off when it came. */
typedef struct SignalHold {
    sigset_t before;
    bool was_pending;
} SignalHold;

static SignalHold hold_signal(void)
{
    SignalHold hold;
    sigset_t pipe_only, pending;

    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    (void)sigpending(&pending);
    hold.was_pending = sigismember(&pending, SIGPIPE) == 1;
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, &hold.before);
    return hold;
}

static void release_signal(const SignalHold *hold)
{
    static const struct timespec no_time = {0};
    sigset_t pipe_only, pending;

    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    (void)sigpending(&pending);
    if (!hold->was_pending && sigismember(&pending, SIGPIPE) == 1)
        (void)sigtimedwait(&pipe_only, NULL, &no_time);
    (void)pthread_sigmask(SIG_SETMASK, &hold->before, NULL);
}

static void clear_header(ClientHeader *header)
{
    if (header->value)
        memory_wipe(header->value, strlen(header->value));
    free(header->value);
    free(header->name);
    *header = (ClientHeader){0};
}

HttpClient *http_client_free(HttpClient *client)
{
    if (!client)
        return NULL;
    for (size_t i = 0; i < HEADERS_MAX; i++)
        clear_header(&client->headers[i]);
    SignalHold hold = hold_signal();
    if (client->curl) /* says goodbye to the server */
        curl_easy_cleanup(client->curl);
    release_signal(&hold);
    free(client->base_url);
    free(client->ca_file);
    free(client->certificate_file);
    free(client->key_file);
    free(client->connect_to);
    free(client);
    return NULL;
}

void http_client_set_header(HttpClient *client, const char *name, const char *value)
{
    ClientHeader *place = NULL;

    ASSERT(is_clean(name) && !strpbrk(name, ": ") && (!value || is_clean(value)));
    for (size_t i = 0; i < HEADERS_MAX; i++) {
        ClientHeader *header = &client->headers[i];
        if (header->name && strcasecmp(header->name, name) == 0) {
            place = header;
            break;
        }
        if (!header->name && !place)
            place = header;
    }
    if (place)
        clear_header(place);
    if (!value)
        return;
    ASSERT(place); /* the callers' headers are few and fixed */
    place->name = string_duplicate(name);
    place->value = string_duplicate(value);
}

/* libcurl's list copies the strings, so the copies are wiped too. */
static void free_list(struct curl_slist *list)
{
    for (struct curl_slist *item = list; item; item = item->next)
        memory_wipe(item->data, strlen(item->data));
    curl_slist_free_all(list);
}

static bool add_to_list(struct curl_slist **list, const char *name, const char *value)
{
    char *line = string_format("%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(*list, line);

    memory_wipe(line, strlen(line));
    free(line);
    if (longer)
        *list = longer;
    return longer != NULL;
}

static struct curl_slist *make_list(HttpClient *client, const char *content_type, uint64_t last_event_id)
{
    struct curl_slist *list = NULL;
    char number[24];
    bool is_good = true;

    for (size_t i = 0; i < HEADERS_MAX && is_good; i++) {
        if (client->headers[i].name)
            is_good = add_to_list(&list, client->headers[i].name, client->headers[i].value);
    }
    if (is_good && content_type)
        is_good = add_to_list(&list, "Content-Type", content_type);
    if (is_good && last_event_id > 0) {
        (void)string_print(number, sizeof(number), "%" PRIu64, last_event_id);
        is_good = add_to_list(&list, "Last-Event-ID", number);
    }
    if (is_good && !content_type) /* libcurl would add one of its own for a body */
        is_good = (list = curl_slist_append(list, "Content-Type:")) != NULL;
    if (is_good) {
        struct curl_slist *longer = curl_slist_append(list, "Expect:");
        list = longer ? longer : list;
    }
    return list;
}

static size_t on_header(char *data, size_t size, size_t count, void *userdata)
{
    Transfer *transfer = userdata;
    size_t length = size * count;
    static const char id_name[] = "x-request-id:", type_name[] = "content-type:";
    char *destination = NULL;
    size_t skip = 0, room = 0;

    if (length > sizeof(id_name) && strncasecmp(data, id_name, sizeof(id_name) - 1) == 0) {
        destination = transfer->answer->request_id;
        room = sizeof(transfer->answer->request_id);
        skip = sizeof(id_name) - 1;
    } else if (length > sizeof(type_name) && strncasecmp(data, type_name, sizeof(type_name) - 1) == 0) {
        destination = transfer->answer->content_type;
        room = sizeof(transfer->answer->content_type);
        skip = sizeof(type_name) - 1;
    }
    if (!destination)
        return length;
    size_t end = length;
    while (skip < end && (data[skip] == ' ' || data[skip] == '\t'))
        skip++;
    while (end > skip && (data[end - 1] == '\r' || data[end - 1] == '\n' || data[end - 1] == ' '))
        end--;
    (void)string_print(destination, room, "%.*s", (int)(end - skip), data + skip);
    return length;
}

static int on_event(uint64_t id, const char *event, const char *data, void *userdata)
{
    Transfer *transfer = userdata;

    transfer->stopped = transfer->callback(id, event, data, transfer->userdata);
    return transfer->stopped ? -ECANCELED : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
    Transfer *transfer = userdata;
    long status = 0;

    (void)curl_easy_getinfo(transfer->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->stream && status == 200)
        transfer->failure = event_stream_feed(transfer->stream, data, size * count, on_event, transfer);
    else
        transfer->failure = buffer_append(&transfer->answer->body, data, size * count);
    return transfer->failure < 0 ? 0 : size * count;
}

/* Everything about trust; the same for every request. */
static CURLcode set_trust(HttpClient *client)
{
    CURL *curl = client->curl;
    CURLcode code = CURLE_OK;

#define SET(option, value)                                                                                   \
    do {                                                                                                     \
        if (code == CURLE_OK)                                                                                \
            code = curl_easy_setopt(curl, (option), (value));                                                \
    } while (0)
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    SET(CURLOPT_ERRORBUFFER, client->message);
    SET(CURLOPT_USERAGENT, "bastide/" BASTIDE_VERSION);
    if (client->ca_file) {
        SET(CURLOPT_CAINFO, client->ca_file);
        SET(CURLOPT_CAPATH, NULL); /* else the system's CAs would be trusted besides */
    }
    if (client->certificate_file) {
        SET(CURLOPT_SSLCERT, client->certificate_file);
        SET(CURLOPT_SSLKEY, client->key_file);
    }
#undef SET
    return code;
}

static CURLcode set_request(HttpClient *client, const char *method, const char *url, const void *body,
                            size_t size)
{
    CURL *curl = client->curl;
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, url);

    if (code == CURLE_OK && string_equal(method, "HEAD")) {
        code = curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (code == CURLE_OK && (body || string_equal(method, "POST") || string_equal(method, "PUT"))) {
        code = curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
        if (code == CURLE_OK)
            code = curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body ? body : "");
    }
    return code == CURLE_OK ? curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method) : code;
}

static int transfer_error(HttpClient *client, const Transfer *transfer, CURLcode code, Error *error)
{
    if (transfer->failure == -E2BIG)
        return error_set(error, ERROR_TOO_LARGE, "the answer of %s is larger than %zu bytes",
                         client->base_url, client->answer_limit);
    if (transfer->failure < 0)
        return error_set(error, ERROR_PROTOCOL, "the answer of %s cannot be read", client->base_url);

    const char *text = curl_easy_strerror(code);
    ErrorCode error_code = ERROR_IO;
    for (size_t i = 0; i < ELEMENTSOF(curl_errors); i++) {
        if (curl_errors[i].code == code) {
            text = curl_errors[i].text;
            error_code = curl_errors[i].error;
        }
    }
    int r = error_set(error, error_code, "%s: %s%s%s%s", client->base_url, text, *client->message ? " (" : "",
                      client->message, *client->message ? ")" : "");
    error_add_details(error, "libcurl error %d", (int)code);
    return r;
}

static int perform(HttpClient *client, Transfer *transfer, struct curl_slist *headers, Error *error)
{
    CURL *curl = client->curl;
    struct curl_slist *connect_to = client->connect_to ? curl_slist_append(NULL, client->connect_to) : NULL;
    long status = 0;

    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECT_TO, connect_to);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    *client->message = '\0';
    transfer->answer->body.limit = client->answer_limit;
    SignalHold hold = hold_signal();
    CURLcode code = curl_easy_perform(curl);
    release_signal(&hold);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    transfer->answer->status = (int)status;
    int r = code == CURLE_OK || transfer->stopped ? 0 : transfer_error(client, transfer, code, error);
    curl_easy_reset(curl); /* no header or body of this request outlives it; connections do */
    free_list(headers);
    curl_slist_free_all(connect_to);
    return r;
}

static int prepare(HttpClient *client, const char *method, const char *path, const void *body, size_t size,
                   Error *error)
{
    if (path[0] != '/' || !is_clean(path) || strchr(path, ' '))
        return error_set(error, ERROR_BAD_REQUEST, "a request path begins with / and has no blanks");
    char *url = string_format("%s%s", client->base_url, path);
    CURLcode code = set_trust(client);
    if (code == CURLE_OK)
        code = set_request(client, method, url, body, size);
    /* Paths are sent as given: the server, not libcurl, judges dot segments. */
    if (code == CURLE_OK)
        code = curl_easy_setopt(client->curl, CURLOPT_PATH_AS_IS, 1L);
    free(url);
    if (code == CURLE_OK)
        return 0;
    curl_easy_reset(client->curl);
    return error_set(error, ERROR_INTERNAL, "the HTTP client cannot be set up: %s", curl_easy_strerror(code));
}

int http_client_request(HttpClient *client, const char *method, const char *path, const char *content_type,
                        const void *body, size_t size, Usec timeout, HttpAnswer *ret_answer, Error *error)
{
    Transfer transfer = {.client = client, .answer = ret_answer};

    *ret_answer = (HttpAnswer){0};
    int r = prepare(client, method, path, body, size, error);
    if (r < 0)
        return r;
    (void)curl_easy_setopt(client->curl, CURLOPT_TIMEOUT_MS, (long)MAX(timeout / USEC_PER_MSEC, (Usec)1));
    r = perform(client, &transfer, make_list(client, content_type, 0), error);
    if (r < 0)
        http_answer_done(ret_answer);
    return r;
}

void http_answer_done(HttpAnswer *answer)
{
    buffer_done(&answer->body);
    *answer = (HttpAnswer){0};
}

int http_client_stream(HttpClient *client, const char *path, uint64_t last_event_id,
                       HttpEventCallback callback, void *userdata, Error *error)
{
    EventStreamParser parser = EVENT_STREAM_PARSER_INIT;
    HttpAnswer answer = {0};
    Transfer transfer = {
        .client = client, .answer = &answer, .stream = &parser, .callback = callback, .userdata = userdata};

    parser.id = last_event_id;
    int r = prepare(client, "GET", path, NULL, 0, error);
    if (r < 0)
        return r;
    (void)curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_TIME, (long)STREAM_SILENCE_SECONDS);
    r = perform(client, &transfer, make_list(client, NULL, last_event_id), error);
    if (r >= 0 && transfer.stopped)
        r = transfer.stopped;
    else if (r >= 0 && answer.status != 200)
        r = error_set(error,
                      answer.status == 401   ? ERROR_UNAUTHENTICATED
                      : answer.status == 403 ? ERROR_FORBIDDEN
                      : answer.status == 404 ? ERROR_NOT_FOUND
                                             : ERROR_PROTOCOL,
                      "the event stream was answered with status %d", answer.status);
    event_stream_done(&parser);
    http_answer_done(&answer);
    return r;
}
