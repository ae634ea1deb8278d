/* SPDX-License-Identifier: Apache-2.0 */
#include "server_fixture.h"

#include <pthread.h>

#include "base/string.h"

TestFiles fixture_files;

static void on_stream_closed(HttpStream *stream, void *userdata)
{
    Seen *seen = userdata;

    assert_ptr_equal(seen->stream, stream);
    assert_string_equal(http_stream_request(stream)->path, "/stream");
    seen->stream = NULL;
    seen->streams_closed++;
}

static void reply_echo(HttpExchange *exchange)
{
    const HttpRequest *request = http_exchange_request(exchange);
    char *text = arena_format(
        http_exchange_arena(exchange), "%s %s%s%s%s%s", http_method_to_string(request->method), request->path,
        *request->query ? "?" : "", request->query, request->body_size > 0 ? " " : "", request->body);

    http_exchange_reply(exchange, 200, "text/plain", text, strlen(text));
}

static void *post_from_thread(void *userdata)
{
    http_exchange_post(userdata, 202, "text/plain", "posted", 6);
    return NULL;
}

static void on_resumed(HttpExchange *exchange, void *userdata)
{
    assert_string_equal(userdata, "resumed");
    http_exchange_reply(exchange, 200, "text/plain", "resumed", 7);
}

static void *resume_from_thread(void *userdata)
{
    static char word[] = "resumed";

    http_exchange_resume(userdata, on_resumed, word);
    return NULL;
}

static void in_thread(void *(*run)(void *), HttpExchange *exchange)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, run, exchange), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

void fixture_post_from_thread(HttpExchange *exchange)
{
    in_thread(post_from_thread, exchange);
}

static void reply_huge(HttpExchange *exchange)
{
    char *data = memory_new(HUGE_SIZE);

    memset(data, 'h', HUGE_SIZE);
    http_exchange_reply(exchange, 200, "text/plain", data, HUGE_SIZE);
    free(data);
}

static void reply_headers(HttpExchange *exchange)
{
    http_exchange_set_header(exchange, "Cache-Control", "max-age=60");
    http_exchange_set_header(exchange, "X-Good", "yes");
    http_exchange_set_header(exchange, "X-Evil", "a\r\nSet-Cookie: b");
    http_exchange_set_header(exchange, "Content-Length", "999");
    http_exchange_set_header(exchange, "Bad Name", "x");
    http_exchange_reply(exchange, 204, "text/plain", "dropped", 7);
}

static void handle(HttpExchange *exchange, void *userdata)
{
    Seen *seen = userdata;
    const HttpRequest *request = http_exchange_request(exchange);

    seen->handled++;
    (void)string_copy(seen->peer_uri, sizeof(seen->peer_uri), request->peer_uri ? request->peer_uri : "none");
    (void)string_copy(seen->peer_serial, sizeof(seen->peer_serial),
                      request->peer_serial ? request->peer_serial : "none");
    (void)string_copy(seen->address, sizeof(seen->address), request->remote_address);
    if (string_equal(request->path, "/later")) {
        seen->held = exchange;
    } else if (string_equal(request->path, "/long")) {
        http_exchange_set_deadline(exchange, 120 * USEC_PER_SEC);
        seen->held = exchange;
    } else if (string_equal(request->path, "/stream")) {
        seen->stream = http_exchange_start_stream(exchange, on_stream_closed, seen);
    } else if (string_equal(request->path, "/post")) {
        fixture_post_from_thread(exchange);
    } else if (string_equal(request->path, "/together")) {
        assert_true(seen->thread_count < ELEMENTSOF(seen->threads));
        assert_int_equal(
            pthread_create(&seen->threads[seen->thread_count++], NULL, post_from_thread, exchange), 0);
    } else if (string_equal(request->path, "/resume")) {
        in_thread(resume_from_thread, exchange);
    } else if (string_equal(request->path, "/huge")) {
        reply_huge(exchange);
    } else if (string_equal(request->path, "/headers")) {
        reply_headers(exchange);
    } else {
        reply_echo(exchange);
    }
}

static ssize_t body_limit(HttpMethod method, const char *path, void *userdata)
{
    return string_equal(path, "/nobody") ? 0 : TEST_BODY_LIMIT;
}

static void on_done(const HttpRequest *request, int status, size_t sent, Usec duration, void *userdata)
{
    Seen *seen = userdata;

    assert_non_null(request->path);
    assert_int_equal(strlen(request->request_id), ID_LENGTH);
    seen->done++;
    seen->last_status = status;
}

const HttpServerHandler fixture_handler = {.body_limit = body_limit, .handle = handle, .done = on_done};

void fixture_start(Fixture *fixture)
{
    fixture->seen = (Seen){0};
    test_server_start(&fixture->server, &fixture_files, NULL, false, &fixture_handler, &fixture->seen, NULL);
}

void fixture_stop(Fixture *fixture)
{
    test_server_stop(&fixture->server);
    assert_int_equal(fixture->seen.done, fixture->seen.handled); /* every request is logged once */
}

void fixture_connect(Fixture *fixture, TestClient *client)
{
    assert_int_equal(test_client_connect(client, &fixture->server, &fixture_files, NULL, NULL), 0);
}

void fixture_expect_body(TestClient *client, const char *body)
{
    TestAnswer *answer = NEW(TestAnswer);

    assert_true(test_client_answer(client, false, answer));
    assert_int_equal(answer->status, 200);
    assert_string_equal(answer->body, body);
    free(answer);
}

void fixture_exchange(TestClient *client, const char *request, const char *body)
{
    assert_true(test_client_send_text(client, request));
    test_client_receive(client);
    fixture_expect_body(client, body);
}

void fixture_expect_status(TestClient *client, int status)
{
    TestAnswer *answer = NEW(TestAnswer);

    assert_true(test_client_answer(client, false, answer));
    assert_int_equal(answer->status, status);
    free(answer);
}

int fixture_make_files(void **state)
{
    test_files_make(&fixture_files);
    return 0;
}

int fixture_remove_files(void **state)
{
    test_files_remove(&fixture_files);
    return 0;
}
