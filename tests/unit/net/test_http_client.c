/* SPDX-License-Identifier: Apache-2.0 */

/* The client against the server in another thread: what it trusts (CH2), what it sends, what it refuses to
 * take. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/string.h"
#include "net/http_client.h"
#include "net_testing.h"

static TestFiles files;

typedef struct LiveServer {
    pthread_t thread;
    sd_event *event;
    HttpServer *server;
    TlsGeneration *generation;
    uint16_t port;
    char url[64];
    int stop, stopped; /* a pipe: closing one end ends the loop */
} LiveServer;

static void on_closed(HttpStream *stream, void *userdata) {}

static void start_stream(HttpExchange *exchange)
{
    const char *last = http_exchange_header(exchange, "Last-Event-ID");
    uint64_t id = 0;
    char data[32];

    if (last)
        assert_true(string_to_u64(last, UINT64_MAX - 10, &id) >= 0);
    HttpStream *stream = http_exchange_start_stream(exchange, on_closed, NULL);
    for (unsigned i = 1; i <= 3; i++) {
        (void)string_print(data, sizeof(data), "event %u", i);
        assert_int_equal(http_stream_send(stream, id + i, "tick", data), 0);
    }
    http_stream_close(stream);
}

static void echo(HttpExchange *exchange)
{
    const HttpRequest *request = http_exchange_request(exchange);
    const char *type = http_exchange_header(exchange, "Content-Type");
    const char *token = http_exchange_header(exchange, "Authentication-Token");
    char *text = arena_format(http_exchange_arena(exchange), "%s %s?%s type=%s token=%s peer=%s body=%s",
                              http_method_to_string(request->method), request->path, request->query,
                              type ? type : "none", token ? token : "none",
                              request->peer_uri ? request->peer_uri : "none", request->body);

    http_exchange_reply(exchange, 200, "text/plain", text, strlen(text));
}

static void handle(HttpExchange *exchange, void *userdata)
{
    const HttpRequest *request = http_exchange_request(exchange);

    if (string_equal(request->path, "/stream")) {
        start_stream(exchange);
    } else if (string_equal(request->path, "/redirect")) {
        http_exchange_set_header(exchange, "Location", "/elsewhere");
        http_exchange_reply(exchange, 302, NULL, NULL, 0);
    } else if (string_equal(request->path, "/large")) {
        char *data = memory_new(3 * 1024 * 1024);
        http_exchange_reply(exchange, 200, "application/octet-stream", data, 3 * 1024 * 1024);
        free(data);
    } else if (string_equal(request->path, "/never")) {
        http_exchange_set_deadline(exchange, 600 * USEC_PER_SEC);
        *(HttpExchange **)userdata = exchange;
    } else if (string_equal(request->path, "/missing")) {
        http_exchange_reply(exchange, 404, "application/json", "{}", 2);
    } else {
        echo(exchange);
    }
}

static HttpExchange *held;
static const HttpServerHandler handler = {.handle = handle};

static int on_stop(sd_event_source *source, int descriptor, uint32_t events, void *userdata)
{
    return sd_event_exit(sd_event_source_get_event(source), 0);
}

static void *run_server(void *userdata)
{
    LiveServer *live = userdata;

    (void)sd_event_loop(live->event);
    if (held)
        http_exchange_reply(TAKE_PTR(held), 200, NULL, NULL, 0);
    http_server_free(live->server);
    live->event = sd_event_unref(live->event);
    return NULL;
}

static void start(LiveServer *live, const char *certificate, const char *key, bool is_client_needed)
{
    Error error = ERROR_INIT;
    TlsServerSettings settings = {.certificate_file = certificate,
                                  .key_file = key,
                                  .client_ca_file = is_client_needed ? files.ca : NULL,
                                  .is_client_certificate_required = is_client_needed};

    *live = (LiveServer){0};
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    live->stopped = pipes[0];
    live->stop = pipes[1];
    assert_true(sd_event_new(&live->event) >= 0);
    assert_true(sd_event_add_io(live->event, NULL, pipes[0], EPOLLIN | EPOLLHUP, on_stop, NULL) >= 0);
    assert_int_equal(tls_generation_new(&settings, &live->generation, &error), 0);
    assert_int_equal(
        http_server_new(live->event, &system_clock, &handler, &held, NULL, &live->server, &error), 0);
    assert_int_equal(http_server_listen(live->server, "127.0.0.1", 0, live->generation, &live->port, &error),
                     0);
    (void)string_print(live->url, sizeof(live->url), "https://localhost:%u/", live->port);
    assert_int_equal(pthread_create(&live->thread, NULL, run_server, live), 0);
}

static void stop(LiveServer *live)
{
    (void)close(live->stop);
    assert_int_equal(pthread_join(live->thread, NULL), 0);
    (void)close(live->stopped);
    tls_generation_unref(live->generation);
}

static HttpClient *make_client(const LiveServer *live, const HttpClientSettings *more)
{
    HttpClientSettings settings = more ? *more : (HttpClientSettings){0};
    HttpClient *client = NULL;
    Error error = ERROR_INIT;

    settings.base_url = settings.base_url ? settings.base_url : live->url;
    settings.ca_file = settings.ca_file ? settings.ca_file : files.ca;
    assert_int_equal(http_client_new(&settings, &client, &error), 0);
    return client;
}

static void expect(HttpClient *client, const char *method, const char *path, const char *type,
                   const char *body, const char *expected)
{
    HttpAnswer answer;
    Error error = ERROR_INIT;

    int r = http_client_request(client, method, path, type, body, body ? strlen(body) : 0, 5 * USEC_PER_SEC,
                                &answer, &error);
    if (r < 0)
        print_error("%s %s\n", error.text, error.details);
    assert_int_equal(r, 0);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.content_type, "text/plain");
    assert_int_equal(strlen(answer.request_id), ID_LENGTH);
    assert_string_equal(buffer_string(&answer.body), expected);
    http_answer_done(&answer);
}

static void expect_error(HttpClient *client, const char *path, Usec timeout, ErrorCode code)
{
    HttpAnswer answer;
    Error error = ERROR_INIT;

    assert_true(http_client_request(client, "GET", path, NULL, NULL, 0, timeout, &answer, &error) < 0);
    if (error.code != code)
        print_error("%s %s\n", error.text, error.details);
    assert_int_equal(error.code, code);
    assert_int_equal(answer.body.size, 0);
}

static void test_requests(void **state)
{
    LiveServer live;
    HttpAnswer answer;
    Error error = ERROR_INIT;

    start(&live, files.server, files.server_key, false);
    HttpClient *client = make_client(&live, NULL);
    expect(client, "GET", "/a%20b?c=d", NULL, NULL, "GET /a b?c=d type=none token=none peer=none body=");
    http_client_set_header(client, "Authentication-Token", "first");
    http_client_set_header(client, "authentication-token", "second");
    expect(client, "POST", "/x", "application/json", "{}",
           "POST /x? type=application/json token=second peer=none body={}");
    expect(client, "PUT", "/x", NULL, NULL, "PUT /x? type=none token=second peer=none body=");
    expect(client, "PATCH", "/x", "a/b", "p", "PATCH /x? type=a/b token=second peer=none body=p");
    http_client_set_header(client, "Authentication-Token", NULL);
    expect(client, "DELETE", "/x", NULL, NULL, "DELETE /x? type=none token=none peer=none body=");

    /* Any status is an answer; redirects are not followed. */
    assert_int_equal(
        http_client_request(client, "GET", "/missing", NULL, NULL, 0, 5 * USEC_PER_SEC, &answer, &error), 0);
    assert_int_equal(answer.status, 404);
    http_answer_done(&answer);
    assert_int_equal(
        http_client_request(client, "GET", "/redirect", NULL, NULL, 0, 5 * USEC_PER_SEC, &answer, &error), 0);
    assert_int_equal(answer.status, 302);
    http_answer_done(&answer);
    assert_int_equal(
        http_client_request(client, "HEAD", "/x", NULL, NULL, 0, 5 * USEC_PER_SEC, &answer, &error), 0);
    assert_int_equal(answer.body.size, 0);
    http_answer_done(&answer);
    /* All of it over one connection. */
    assert_int_equal(http_server_counters(live.server).accepted, 1);
    http_client_free(client);
    stop(&live);
}

static void test_limits(void **state)
{
    LiveServer live;
    HttpClientSettings small = {.answer_limit = 1024 * 1024};

    start(&live, files.server, files.server_key, false);
    HttpClient *client = make_client(&live, &small);
    expect_error(client, "/large", 5 * USEC_PER_SEC, ERROR_TOO_LARGE);
    expect_error(client, "/never", 200 * USEC_PER_MSEC, ERROR_TIMED_OUT);
    expect_error(client, "no-slash", USEC_PER_SEC, ERROR_BAD_REQUEST);
    expect_error(client, "/a b", USEC_PER_SEC, ERROR_BAD_REQUEST);
    expect_error(client, "/a\r\nX: y", USEC_PER_SEC, ERROR_BAD_REQUEST);
    expect(client, "GET", "/still", NULL, NULL, "GET /still? type=none token=none peer=none body=");
    http_client_free(client);
    stop(&live);
}

/* CH2: a wrong CA, a wrong name, no TLS: no answer. */
static void test_trust(void **state)
{
    LiveServer live, elsewhere;
    char url[64];

    start(&live, files.server, files.server_key, false);
    start(&elsewhere, files.other_name, files.other_name_key, false);
    HttpClientSettings wrong_ca = {.ca_file = files.foreign_ca}, wrong_name = {.base_url = elsewhere.url};
    HttpClient *client = make_client(&live, &wrong_ca);
    expect_error(client, "/", 5 * USEC_PER_SEC, ERROR_UNTRUSTED);
    http_client_free(client);
    client = make_client(&live, &wrong_name);
    expect_error(client, "/", 5 * USEC_PER_SEC, ERROR_UNTRUSTED);
    http_client_free(client);

    /* connect_to changes where, never whom. */
    (void)string_print(url, sizeof(url), "https://elsewhere.example:%u", elsewhere.port);
    HttpClientSettings moved = {.base_url = url, .connect_to = "127.0.0.1"};
    client = make_client(&live, &moved);
    expect(client, "GET", "/", NULL, NULL, "GET /? type=none token=none peer=none body=");
    http_client_free(client);

    Error error = ERROR_INIT;
    HttpClientSettings plain = {.base_url = "http://localhost/"};
    assert_true(http_client_new(&plain, &client, &error) < 0);
    assert_int_equal(error.code, ERROR_INSECURE);
    error = ERROR_INIT;
    HttpClientSettings half = {.base_url = live.url, .certificate_file = files.client};
    assert_true(http_client_new(&half, &client, &error) < 0);
    stop(&live);
    stop(&elsewhere);
}

static void test_client_certificate(void **state)
{
    LiveServer live;
    HttpClientSettings with = {.certificate_file = files.client, .key_file = files.client_key};
    HttpAnswer answer;
    Error error = ERROR_INIT;

    start(&live, files.server, files.server_key, true);
    HttpClient *client = make_client(&live, &with);
    expect(client, "GET", "/", NULL, NULL, "GET /? type=none token=none peer=bastide:provisioner:one body=");
    http_client_free(client);
    client = make_client(&live, NULL);
    assert_true(http_client_request(client, "GET", "/", NULL, NULL, 0, 5 * USEC_PER_SEC, &answer, &error) <
                0);
    http_client_free(client);
    stop(&live);
}

/* The environment of whoever starts us must not send our requests elsewhere. */
static void test_no_proxy_from_the_environment(void **state)
{
    LiveServer live;

    start(&live, files.server, files.server_key, false);
    assert_int_equal(setenv("https_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:1", 1), 0);
    HttpClient *client = make_client(&live, NULL);
    expect(client, "GET", "/", NULL, NULL, "GET /? type=none token=none peer=none body=");
    http_client_free(client);
    (void)unsetenv("https_proxy");
    (void)unsetenv("ALL_PROXY");
    stop(&live);
}

static int count_event(uint64_t id, const char *event, const char *data, void *userdata)
{
    uint64_t *last = userdata;

    assert_string_equal(event, "tick");
    assert_true(string_starts_with(data, "event "));
    *last = id;
    return id == 102 ? 5 : 0;
}

static void test_stream(void **state)
{
    LiveServer live;
    Error error = ERROR_INIT;
    uint64_t last = 0;

    start(&live, files.server, files.server_key, false);
    HttpClient *client = make_client(&live, NULL);
    assert_int_equal(http_client_stream(client, "/stream", 0, count_event, &last, &error), 0);
    assert_int_equal(last, 3);
    assert_int_equal(http_client_stream(client, "/stream", 100, count_event, &last, &error), 5);
    assert_int_equal(last, 102);
    assert_true(http_client_stream(client, "/missing", 0, count_event, &last, &error) < 0);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    http_client_free(client);
    stop(&live);
}

static int make_files(void **state)
{
    test_files_make(&files);
    return 0;
}

static int remove_files(void **state)
{
    test_files_remove(&files);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_no_proxy_from_the_environment),
        cmocka_unit_test(test_stream),
    };

    return cmocka_run_group_tests(tests, make_files, remove_files);
}
