/* SPDX-License-Identifier: Apache-2.0 */

/* The server over TLS on loopback: framing table (S30), slow clients (S31), client certificates (CH5, S12,
 * S25), reload, drain, streams, limits. One thread, a clock moved by hand. */

#include <errno.h>
#include <malloc.h>
#include <openssl/err.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/string.h"
#include "net_testing.h"

enum { TEST_BODY_LIMIT = 64 * 1024, HUGE_SIZE = 8 * 1024 * 1024 };

static TestFiles files;

/* What the handler saw and holds. */
typedef struct Seen {
    unsigned handled, done;
    int last_status;
    char peer_uri[128], peer_serial[64], address[64];
    HttpExchange *held;
    pthread_t threads[8];
    unsigned thread_count;
    HttpStream *stream;
    unsigned streams_closed;
    unsigned drained;
} Seen;

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
        in_thread(post_from_thread, exchange);
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

static const HttpServerHandler handler = {.body_limit = body_limit, .handle = handle, .done = on_done};

typedef struct Fixture {
    TestServer server;
    Seen seen;
} Fixture;

static void start(Fixture *fixture)
{
    fixture->seen = (Seen){0};
    test_server_start(&fixture->server, &files, NULL, false, &handler, &fixture->seen, NULL);
}

static void stop(Fixture *fixture)
{
    test_server_stop(&fixture->server);
    assert_int_equal(fixture->seen.done, fixture->seen.handled); /* every request is logged once */
}

static void connect_to(Fixture *fixture, TestClient *client)
{
    assert_int_equal(test_client_connect(client, &fixture->server, &files, NULL, NULL), 0);
}

static void expect_body(TestClient *client, const char *body)
{
    TestAnswer *answer = NEW(TestAnswer);

    assert_true(test_client_answer(client, false, answer));
    assert_int_equal(answer->status, 200);
    assert_string_equal(answer->body, body);
    free(answer);
}

static void exchange_text(TestClient *client, const char *request, const char *body)
{
    assert_true(test_client_send_text(client, request));
    test_client_receive(client);
    expect_body(client, body);
}

static void expect_status(TestClient *client, int status)
{
    TestAnswer *answer = NEW(TestAnswer);

    assert_true(test_client_answer(client, false, answer));
    assert_int_equal(answer->status, status);
    free(answer);
}

/* The framing table over TLS. */

static int fault_status_of(const char *name)
{
    for (HttpFault fault = 0; fault < _HTTP_FAULT_MAX; fault++) {
        if (string_equal(http_fault_name(fault), name))
            return http_fault_status(fault);
    }
    fail();
    return 0;
}

/* Returns whether the connection must still be open. */
static bool check_expectation(TestClient *client, const char *expectation)
{
    if (string_equal(expectation, "more"))
        return true;
    if (string_starts_with(expectation, "fault ")) {
        expect_status(client, fault_status_of(expectation + 6));
        return false;
    }
    TestAnswer *answer = NEW(TestAnswer);
    assert_true(test_client_answer(client, false, answer));
    assert_int_equal(answer->status, 200);
    assert_string_equal(answer->body, expectation);
    bool is_open = !strstr(answer->head, "\r\nConnection: close\r\n");
    free(answer);
    return is_open;
}

static void check_live_case(Fixture *fixture, const FramingCase *one)
{
    TestClient client;
    bool is_open = true;

    connect_to(fixture, &client);
    (void)test_client_send(&client, one->bytes.data, one->bytes.size);
    test_client_receive(&client);
    for (size_t i = 0; i < one->expectation_count; i++) {
        assert_true(is_open);
        is_open = check_expectation(&client, one->expectations[i]);
    }
    /* S30: no second answer, and the connection is over. */
    assert_int_equal(client.received.size, 0);
    assert_int_equal(client.is_closed, !is_open);
    test_client_done(&client);
}

static char current_case[128];

static int name_the_failed_case(void **state)
{
    if (*current_case)
        print_error("the case was \"%s\"\n", current_case);
    return 0;
}

static void test_framing_table_over_tls(void **state)
{
    Fixture fixture;
    FramingTable table = framing_table_load();

    start(&fixture);
    for (size_t i = 0; i < table.count; i++) {
        (void)string_copy(current_case, sizeof(current_case), table.cases[i].name);
        check_live_case(&fixture, &table.cases[i]);
    }
    *current_case = '\0';
    assert_int_equal(http_server_connection_count(fixture.server.server), 0);
    framing_table_done(&table);
    stop(&fixture);
}

/* Requests and answers. */

static void test_keep_alive_and_headers(void **state)
{
    Fixture fixture;
    TestClient client;
    TestAnswer *answer = NEW(TestAnswer);
    char value[256], first_id[64];

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_client_receive(&client);
    assert_true(test_client_answer(&client, false, answer));
    test_answer_header(answer, "X-Request-Id", first_id, sizeof(first_id));
    assert_int_equal(strlen(first_id), ID_LENGTH);
    static const char *const expected[][2] = {{"Strict-Transport-Security", "max-age=31536000"},
                                              {"X-Content-Type-Options", "nosniff"},
                                              {"Cache-Control", "no-store"},
                                              {"Referrer-Policy", "no-referrer"},
                                              {"Server", ""},
                                              {"Connection", ""},
                                              {"Content-Type", "text/plain"},
                                              {"Date", "Tue, 14 Nov 2023 22:30:00 GMT"}};
    for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
        test_answer_header(answer, expected[i][0], value, sizeof(value));
        assert_string_equal(value, expected[i][1]);
    }
    assert_string_equal(fixture.seen.address, "127.0.0.1");

    /* The same connection, another id; headers that were set. */
    assert_true(test_client_send_text(&client, "GET /headers HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_client_receive(&client);
    assert_true(test_client_answer(&client, false, answer));
    assert_int_equal(answer->status, 204);
    test_answer_header(answer, "X-Request-Id", value, sizeof(value));
    assert_string_not_equal(value, first_id);
    static const char *const changed[][2] = {
        {"Cache-Control", "max-age=60"}, {"X-Good", "yes"}, {"X-Evil", ""},      {"Set-Cookie", ""},
        {"Content-Length", ""},          {"Bad Name", ""},  {"Content-Type", ""}};
    for (size_t i = 0; i < ELEMENTSOF(changed); i++) {
        test_answer_header(answer, changed[i][0], value, sizeof(value));
        assert_string_equal(value, changed[i][1]);
    }
    exchange_text(&client, "GET /z HTTP/1.1\r\nHost: a\r\n\r\n", "GET /z");
    test_client_done(&client);
    free(answer);
    stop(&fixture);
}

static void test_head_has_no_body(void **state)
{
    Fixture fixture;
    TestClient client;
    TestAnswer *answer = NEW(TestAnswer);
    char value[32];

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(&client, "HEAD /abc HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_client_receive(&client);
    assert_true(test_client_answer(&client, true, answer));
    test_answer_header(answer, "Content-Length", value, sizeof(value));
    assert_string_equal(value, "9"); /* "HEAD /abc" */
    assert_int_equal(client.received.size, 0);
    exchange_text(&client, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b");
    test_client_done(&client);
    free(answer);
    stop(&fixture);
}

static void test_pipelined_waits_for_the_answer(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"
                                               "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"));
    test_client_receive(&client);
    assert_int_equal(fixture.seen.handled, 1);
    assert_int_equal(client.received.size, 0);
    assert_true(test_client_send_text(&client, "cGET /3 HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_client_receive(&client);
    assert_int_equal(fixture.seen.handled, 1); /* one in flight */
    http_exchange_reply(TAKE_PTR(fixture.seen.held), 200, "text/plain", "first", 5);
    test_client_receive(&client);
    expect_body(&client, "first");
    expect_body(&client, "POST /2 abc");
    expect_body(&client, "GET /3");
    test_client_done(&client);
    stop(&fixture);
}

static void test_many_pipelined(void **state)
{
    Fixture fixture;
    TestClient client;
    Buffer requests = BUFFER_INIT;
    char body[32];

    start(&fixture);
    connect_to(&fixture, &client);
    for (unsigned i = 0; i < 1000; i++)
        assert_true(buffer_append_format(&requests, "GET /%u HTTP/1.1\r\nHost: a\r\n\r\n", i) >= 0);
    assert_true(test_client_send(&client, requests.data, requests.size));
    test_client_receive(&client);
    for (unsigned i = 0; i < 1000; i++) {
        (void)string_print(body, sizeof(body), "GET /%u", i);
        expect_body(&client, body);
    }
    buffer_done(&requests);
    test_client_done(&client);
    stop(&fixture);
}

static void test_answers_from_other_threads(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /post HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_client_receive(&client);
    expect_status(&client, 202);
    exchange_text(&client, "GET /resume HTTP/1.1\r\nHost: a\r\n\r\n", "resumed");
    test_client_done(&client);
    stop(&fixture);
}

/* Eight threads answer while the loop runs (for the thread sanitizer, too). */
static void test_concurrent_posts(void **state)
{
    Fixture fixture;
    TestClient clients[8];

    start(&fixture);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        connect_to(&fixture, &clients[i]);
    for (unsigned round = 0; round < 20; round++) {
        fixture.seen.thread_count = 0;
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
            assert_true(test_client_send_text(&clients[i], "GET /together HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_int_equal(fixture.seen.thread_count, ELEMENTSOF(clients));
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
            assert_int_equal(pthread_join(fixture.seen.threads[i], NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
            test_client_receive(&clients[i]);
            expect_status(&clients[i], 202);
        }
    }
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        test_client_done(&clients[i]);
    stop(&fixture);
}

static void test_expect_continue(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(
        &client, "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"));
    test_client_receive(&client);
    assert_string_equal(buffer_string(&client.received), "HTTP/1.1 100 Continue\r\n\r\n");
    buffer_clear(&client.received);
    exchange_text(&client, "abc", "PUT /x abc");
    /* Too large: refused before it is sent. */
    assert_true(test_client_send_text(
        &client, "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n"));
    test_client_receive(&client);
    expect_status(&client, 413);
    assert_true(client.is_closed && client.was_clean);
    test_client_done(&client);
    stop(&fixture);
}

static void test_body_limits(void **state)
{
    Fixture fixture;
    TestClient client;
    char *body = memory_new(TEST_BODY_LIMIT + 200);
    char *expected = memory_new(TEST_BODY_LIMIT + 64);

    start(&fixture);
    connect_to(&fixture, &client);
    int length =
        snprintf(body, 200, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", TEST_BODY_LIMIT);
    memset(body + length, 'b', TEST_BODY_LIMIT);
    assert_true(test_client_send(&client, body, (size_t)length + TEST_BODY_LIMIT));
    test_client_receive(&client);
    (void)string_copy(expected, 64, "POST /x ");
    memset(expected + 8, 'b', TEST_BODY_LIMIT);
    expect_body(&client, expected);
    /* A route that takes no body. */
    assert_true(
        test_client_send_text(&client, "POST /nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"));
    test_client_receive(&client);
    expect_status(&client, 413);
    assert_true(client.is_closed);
    test_client_done(&client);
    free(body);
    free(expected);
    stop(&fixture);
}

static void test_body_memory_is_bounded(void **state)
{
    Fixture fixture = {0};
    HttpServerLimits limits = {.body_memory = 1000};
    TestClient first, second;

    test_server_start(&fixture.server, &files, NULL, false, &handler, &fixture.seen, &limits);
    connect_to(&fixture, &first);
    connect_to(&fixture, &second);
    char request[1024] = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 901\r\n\r\n";
    size_t head = strlen(request);
    memset(request + head, 'x', 900);
    assert_true(test_client_send(&first, request, head + 900));
    assert_true(test_client_send(&second, request, head + 900));
    test_client_receive(&second);
    expect_status(&second, 503);
    assert_true(test_client_send_text(&first, "x"));
    test_client_receive(&first);
    expect_status(&first, 200);
    test_client_done(&second);
    connect_to(&fixture, &second); /* the memory came back */
    assert_true(test_client_send(&second, request, head + 900) && test_client_send_text(&second, "x"));
    test_client_receive(&second);
    expect_status(&second, 200);
    test_client_done(&first);
    test_client_done(&second);
    stop(&fixture);
}

static void test_query_and_header_access(void **state)
{
    Fixture fixture;
    TestClient client;
    const char *name, *value;

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(
        &client, "GET /later?a=1&b=%41+%42&a=2&c HTTP/1.1\r\nHost: a\r\nTenant:  t1 \r\n\r\n"));
    HttpExchange *exchange = TAKE_PTR(fixture.seen.held);
    assert_non_null(exchange);
    assert_string_equal(http_exchange_query(exchange, "a", 0), "1");
    assert_string_equal(http_exchange_query(exchange, "a", 1), "2");
    assert_null(http_exchange_query(exchange, "a", 2));
    assert_string_equal(http_exchange_query(exchange, "b", 0), "A B");
    assert_string_equal(http_exchange_query(exchange, "c", 0), "");
    assert_true(http_exchange_query_at(exchange, 3, &name, &value));
    assert_string_equal(name, "c");
    assert_false(http_exchange_query_at(exchange, 4, &name, &value));
    assert_string_equal(http_exchange_header(exchange, "TENANT"), "t1");
    assert_null(http_exchange_header(exchange, "Authorization"));
    http_exchange_reply(exchange, 200, NULL, NULL, 0);
    test_client_done(&client);
    stop(&fixture);
}

/* Deadlines (S31). */

static void test_slow_head_is_cut_off(void **state)
{
    Fixture fixture;
    TestClient client;
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ssssssssssssssssssssssss\r\n\r\n";
    unsigned seconds = 0;

    start(&fixture);
    connect_to(&fixture, &client);
    /* A byte a second would keep an inactivity timer happy for ever. */
    for (; seconds < sizeof(head) - 1 && !client.is_closed; seconds++) {
        (void)test_client_send(&client, head + seconds, 1);
        test_server_advance(&fixture.server, USEC_PER_SEC);
        test_client_receive(&client);
    }
    assert_in_range(seconds, 9, 11);
    expect_status(&client, 408);
    assert_int_equal(fixture.seen.handled, 0);
    assert_int_equal(http_server_counters(fixture.server.server).timeouts, 1);
    test_client_done(&client);
    stop(&fixture);
}

static void test_slow_body_is_cut_off(void **state)
{
    Fixture fixture;
    TestClient client;
    unsigned seconds = 0;

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"));
    for (; seconds < 60 && !client.is_closed; seconds++) {
        (void)test_client_send_text(&client, "x");
        test_server_advance(&fixture.server, USEC_PER_SEC);
        test_client_receive(&client);
    }
    assert_in_range(seconds, 9, 13);
    expect_status(&client, 408);
    test_client_done(&client);

    /* 2 KiB a second is above the minimum rate, and may take longer than the grace. */
    char block[2048];
    memset(block, 'y', sizeof(block));
    connect_to(&fixture, &client);
    assert_true(
        test_client_send_text(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40960\r\n\r\n"));
    for (unsigned i = 0; i < 20; i++) {
        assert_true(test_client_send(&client, block, sizeof(block)));
        test_server_advance(&fixture.server, USEC_PER_SEC);
    }
    test_client_receive(&client);
    expect_status(&client, 200);

    /* What came fast does not buy a stall. */
    assert_true(
        test_client_send_text(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"));
    for (unsigned i = 0; i < 28; i++)
        assert_true(test_client_send(&client, block, sizeof(block)));
    test_server_advance(&fixture.server, 29 * USEC_PER_SEC);
    test_client_receive(&client);
    assert_false(client.is_closed);
    test_server_advance(&fixture.server, 3 * USEC_PER_SEC);
    test_client_receive(&client);
    expect_status(&client, 408);
    test_client_done(&client);
    stop(&fixture);
}

/* Chunk framing is not progress: one-byte chunks with long extensions stay below the minimum rate. */
static void test_slow_chunks_are_cut_off(void **state)
{
    Fixture fixture;
    TestClient client;
    unsigned seconds = 0;

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(
        test_client_send_text(&client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for (; seconds < 60 && !client.is_closed; seconds++) {
        (void)test_client_send_text(&client, "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nx\r\n");
        test_server_advance(&fixture.server, USEC_PER_SEC);
        test_client_receive(&client);
    }
    assert_in_range(seconds, 9, 13);
    expect_status(&client, 408);
    test_client_done(&client);
    stop(&fixture);
}

static void test_silent_handshake_is_cut_off(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    test_client_connect_plain(&client, &fixture.server, fixture.server.port);
    assert_int_equal(http_server_connection_count(fixture.server.server), 1);
    test_server_advance(&fixture.server, 9 * USEC_PER_SEC);
    assert_int_equal(http_server_connection_count(fixture.server.server), 1);
    test_server_advance(&fixture.server, 2 * USEC_PER_SEC);
    assert_int_equal(http_server_connection_count(fixture.server.server), 0);
    test_client_done(&client);
    stop(&fixture);
}

static void test_plain_http_on_the_tls_port(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    test_client_connect_plain(&client, &fixture.server, fixture.server.port);
    (void)test_client_send_text(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    test_client_receive(&client);
    assert_true(client.is_closed);
    assert_null(memmem(client.received.data ? client.received.data : (const uint8_t *)"",
                       client.received.size, "HTTP", 4));
    assert_int_equal(fixture.seen.handled, 0);
    assert_int_equal(http_server_counters(fixture.server.server).handshakes_failed, 1);
    test_client_done(&client);
    stop(&fixture);
}

static void test_idle_is_closed(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    connect_to(&fixture, &client);
    exchange_text(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    test_server_advance(&fixture.server, 74 * USEC_PER_SEC);
    exchange_text(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    test_server_advance(&fixture.server, 74 * USEC_PER_SEC);
    test_client_receive(&client);
    assert_false(client.is_closed);
    test_server_advance(&fixture.server, 2 * USEC_PER_SEC);
    test_client_receive(&client);
    assert_true(client.is_closed && client.was_clean);
    assert_int_equal(client.received.size, 0);
    test_client_done(&client);
    stop(&fixture);
}

static void test_late_handler(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_server_advance(&fixture.server, 29 * USEC_PER_SEC);
    test_client_receive(&client);
    assert_int_equal(client.received.size, 0);
    test_server_advance(&fixture.server, 2 * USEC_PER_SEC);
    test_client_receive(&client);
    expect_status(&client, 503);
    assert_true(http_exchange_is_abandoned(fixture.seen.held));
    http_exchange_reply(TAKE_PTR(fixture.seen.held), 200, NULL, "late", 4); /* goes nowhere */
    test_client_receive(&client);
    assert_int_equal(client.received.size, 0);
    test_client_done(&client);

    /* A long poll says so. */
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_server_advance(&fixture.server, 100 * USEC_PER_SEC);
    assert_false(http_exchange_is_abandoned(fixture.seen.held));
    http_exchange_reply(TAKE_PTR(fixture.seen.held), 200, NULL, "polled", 6);
    test_client_receive(&client);
    expect_body(&client, "polled");
    assert_true(test_client_send_text(&client, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_server_advance(&fixture.server, 122 * USEC_PER_SEC);
    assert_true(http_exchange_is_abandoned(fixture.seen.held));
    http_exchange_post(TAKE_PTR(fixture.seen.held), 200, NULL, NULL, 0);
    test_client_done(&client);
    stop(&fixture);
}

static void test_client_gone_while_handled(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_false(http_exchange_is_abandoned(fixture.seen.held));
    test_client_done(&client);
    assert_true(http_exchange_is_abandoned(fixture.seen.held));
    assert_int_equal(fixture.seen.last_status, 499);
    assert_string_equal(http_exchange_request(fixture.seen.held)->path, "/later"); /* still readable */
    in_thread(post_from_thread, TAKE_PTR(fixture.seen.held));
    test_server_run(&fixture.server);
    stop(&fixture);
}

/* Answered after the server is gone: freed, nothing else. */
static void test_answer_after_the_server(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
    HttpExchange *exchange = TAKE_PTR(fixture.seen.held);
    http_server_free(TAKE_PTR(fixture.server.server));
    assert_true(http_exchange_is_abandoned(exchange));
    in_thread(post_from_thread, exchange);
    test_client_done(&client);
    stop(&fixture);
}

static void test_slow_reader_is_cut_off(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    connect_to(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /huge HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_server_advance(&fixture.server, 29 * USEC_PER_SEC);
    assert_int_equal(http_server_connection_count(fixture.server.server), 1);
    test_server_advance(&fixture.server, 3 * USEC_PER_SEC);
    assert_int_equal(http_server_connection_count(fixture.server.server), 0);
    test_client_done(&client);

    /* One that reads gets everything. */
    connect_to(&fixture, &client);
    client.received.limit = 2 * (size_t)HUGE_SIZE;
    assert_true(test_client_send_text(&client, "GET /huge HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_client_receive(&client);
    assert_true(client.received.size > HUGE_SIZE);
    assert_int_equal(client.received.data[client.received.size - 1], 'h');
    assert_false(client.is_closed);
    test_client_done(&client);
    stop(&fixture);
}

/* Limits. */

static void test_connection_limits(void **state)
{
    Fixture fixture = {0};
    HttpServerLimits limits = {.connections = 100, .connections_per_address = 3};
    TestClient clients[3], refused;

    test_server_start(&fixture.server, &files, NULL, false, &handler, &fixture.seen, &limits);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        connect_to(&fixture, &clients[i]);
    assert_int_equal(test_client_connect(&refused, &fixture.server, &files, NULL, NULL), -ECONNABORTED);
    test_client_done(&refused);
    assert_int_equal(http_server_counters(fixture.server.server).refused, 1);
    exchange_text(&clients[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    test_client_done(&clients[0]);
    connect_to(&fixture, &clients[0]); /* a place is free again */
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        test_client_done(&clients[i]);
    stop(&fixture);
}

static void test_address_keys(void **state)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    AddressKey first, second;
    char text[INET6_ADDRSTRLEN];

    /* Two addresses of one /64 count as one client, neighbours of it do not. */
    v6.sin6_addr = (struct in6_addr){{{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 1}}};
    memcpy(&storage, &v6, sizeof(v6));
    address_describe(&storage, &first, text);
    assert_string_equal(text, "2001:db8:0:1:100::");
    v6.sin6_addr.s6_addr[15] = 7;
    memcpy(&storage, &v6, sizeof(v6));
    address_describe(&storage, &second, text);
    assert_memory_equal(&first, &second, sizeof(first));
    v6.sin6_addr.s6_addr[7] = 2;
    memcpy(&storage, &v6, sizeof(v6));
    address_describe(&storage, &second, text);
    assert_memory_not_equal(&first, &second, sizeof(first));
    v6.sin6_addr = (struct in6_addr){{{[10] = 0xff, [11] = 0xff, [12] = 192, [15] = 1}}};
    memcpy(&storage, &v6, sizeof(v6));
    address_describe(&storage, &second, text);
    assert_string_equal(text, "192.0.0.1");
}

/* Certificates. */

static void test_client_certificate_required(void **state)
{
    Fixture fixture = {0};
    const struct {
        const char *certificate, *key;
        bool is_accepted;
    } cases[] = {
        {files.client, files.client_key, true},
        {NULL, NULL, false},
        {files.foreign, files.foreign_key, false},
        {files.wrong_use, files.wrong_use_key, false},
    };

    test_server_start(&fixture.server, &files, files.ca, true, &handler, &fixture.seen, NULL);
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        TestClient client;
        /* In TLS 1.3 the client learns of the refusal after its own handshake is done. */
        int r = test_client_connect(&client, &fixture.server, &files, cases[i].certificate, cases[i].key);
        if (r == 0) {
            (void)test_client_send_text(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            test_client_receive(&client);
        }
        assert_int_equal(client.received.size > 0, cases[i].is_accepted);
        assert_int_equal(client.is_closed, !cases[i].is_accepted);
        test_client_done(&client);
    }
    assert_int_equal(fixture.seen.handled, 1);
    assert_string_equal(fixture.seen.peer_uri, "bastide:provisioner:one");
    assert_string_equal(fixture.seen.peer_serial, "abc123");
    stop(&fixture);
}

static void test_client_certificate_optional(void **state)
{
    Fixture fixture = {0};
    TestClient client;

    test_server_start(&fixture.server, &files, files.ca, false, &handler, &fixture.seen, NULL);
    connect_to(&fixture, &client);
    exchange_text(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    assert_string_equal(fixture.seen.peer_uri, "none");
    assert_string_equal(fixture.seen.peer_serial, "none");
    test_client_done(&client);

    /* Optional does not mean that a bad one passes. */
    int r = test_client_connect(&client, &fixture.server, &files, files.foreign, files.foreign_key);
    if (r == 0) {
        (void)test_client_send_text(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        test_client_receive(&client);
    }
    assert_true(client.is_closed);
    assert_int_equal(client.received.size, 0);
    test_client_done(&client);
    stop(&fixture);
}

static long server_serial(const TestClient *client)
{
    X509 *certificate = SSL_get0_peer_certificate(client->session);

    return ASN1_INTEGER_get(X509_get_serialNumber(certificate));
}

static void test_reload_keeps_connections(void **state)
{
    Fixture fixture;
    TestClient old_client, new_client;
    TlsGeneration *next;
    Error error = ERROR_INIT;
    TlsServerSettings settings = {.certificate_file = files.server2, .key_file = files.server2_key};

    start(&fixture);
    connect_to(&fixture, &old_client);
    assert_int_equal(tls_generation_new(&settings, &next, &error), 0);
    http_server_set_generation(fixture.server.server, 0, next);
    tls_generation_unref(next);
    connect_to(&fixture, &new_client);
    assert_int_equal(server_serial(&old_client), 2);
    assert_int_equal(server_serial(&new_client), 3);
    exchange_text(&old_client, "GET /old HTTP/1.1\r\nHost: a\r\n\r\n", "GET /old");
    exchange_text(&new_client, "GET /new HTTP/1.1\r\nHost: a\r\n\r\n", "GET /new");
    test_client_done(&old_client);
    test_client_done(&new_client);
    stop(&fixture);
}

static void test_bad_tls_settings(void **state)
{
    const TlsServerSettings cases[] = {
        {.certificate_file = files.server, .key_file = files.client_key}, /* not its key */
        {.certificate_file = files.server, .key_file = files.open_key},   /* readable by others */
        {.certificate_file = files.server, .key_file = "/nonexistent"},
        {.certificate_file = "/nonexistent", .key_file = files.server_key},
        {.certificate_file = files.server_key, .key_file = files.server_key}, /* no certificate in it */
        {.certificate_file = files.server,
         .key_file = files.server_key,
         .is_client_certificate_required = true},
        {.certificate_file = files.server, .key_file = files.server_key, .client_ca_file = "/nonexistent"},
        {.certificate_file = files.server, .key_file = files.server_key, .client_ca_file = files.server_key},
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Error error = ERROR_INIT;
        TlsGeneration *generation = NULL;
        assert_true(tls_generation_new(&cases[i], &generation, &error) < 0);
        assert_null(generation);
        assert_true(error_is_set(&error) && *error.text);
        assert_int_equal(ERR_peek_error(), 0);
    }
}

/* One try with the given limits on version, cipher and protocol. */
static bool can_connect(Fixture *fixture, int version, const char *ciphers, const char *protocol)
{
    TestClient client = {.test = &fixture->server};
    bool is_connected = false;

    test_client_connect_plain(&client, &fixture->server, fixture->server.port);
    client.context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(client.context, version);
    SSL_CTX_set_max_proto_version(client.context, version);
    /* Security level 0, so that it is the server that refuses. */
    assert_int_equal(SSL_CTX_set_cipher_list(client.context, ciphers), 1);
    if (protocol)
        assert_int_equal(
            SSL_CTX_set_alpn_protos(client.context, (const uint8_t *)protocol, (unsigned)strlen(protocol)),
            0);
    client.session = SSL_new(client.context);
    SSL_set_fd(client.session, client.descriptor);
    SSL_set_connect_state(client.session);
    for (unsigned i = 0; i < 100 && !is_connected; i++) {
        int r = SSL_do_handshake(client.session);
        is_connected = r == 1;
        if (r != 1 && SSL_get_error(client.session, r) != SSL_ERROR_WANT_READ)
            break;
        test_server_run(&fixture->server);
    }
    if (is_connected) {
        assert_true(test_client_send_text(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        test_client_receive(&client);
        is_connected = client.received.size > 0;
        /* Nothing to resume with. */
        assert_false(SSL_SESSION_is_resumable(SSL_get_session(client.session)));
    }
    ERR_clear_error();
    test_client_done(&client);
    return is_connected;
}

/* CH1, S24: TLS 1.2 and 1.3 with forward secrecy and AEAD, nothing else. */
static void test_tls_policy(void **state)
{
    Fixture fixture;
    static const char good[] = "ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=0";
    static const char all[] = "ALL:@SECLEVEL=0";

    start(&fixture);
    assert_true(can_connect(&fixture, TLS1_3_VERSION, all, NULL));
    assert_true(can_connect(&fixture, TLS1_2_VERSION, good, NULL));
    assert_false(can_connect(&fixture, TLS1_1_VERSION, all, NULL));
    assert_false(can_connect(&fixture, TLS1_VERSION, all, NULL));
    assert_false(can_connect(&fixture, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0", NULL));
    assert_false(can_connect(&fixture, TLS1_2_VERSION, "AES128-GCM-SHA256:@SECLEVEL=0", NULL));
    assert_true(can_connect(&fixture, TLS1_3_VERSION, all, "\x02h2\x08http/1.1"));
    assert_false(can_connect(&fixture, TLS1_3_VERSION, all, "\x02h2"));
    assert_false(can_connect(&fixture, TLS1_3_VERSION, all,
                             "\x03"
                             "ftp"));
    stop(&fixture);
}

/* Streams. */

static void open_stream(Fixture *fixture, TestClient *client)
{
    connect_to(fixture, client);
    assert_true(test_client_send_text(client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_client_receive(client);
    assert_non_null(fixture->seen.stream);
    const char *body = strstr(buffer_string(&client->received), "\r\n\r\n");
    assert_non_null(body);
    assert_non_null(strstr(buffer_string(&client->received), "\r\nContent-Type: text/event-stream\r\n"));
    assert_string_equal(body + 4, "retry: 2000\n\n");
    buffer_clear(&client->received);
}

static void test_stream(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    open_stream(&fixture, &client);
    assert_int_equal(http_stream_send(fixture.seen.stream, 7, "task", "{\"a\":1}"), 0);
    assert_int_equal(http_stream_send(fixture.seen.stream, 0, NULL, "one\ntwo\r\nthree\rfour"), 0);
    assert_int_equal(http_stream_send(fixture.seen.stream, 0, NULL, NULL), 0);
    assert_int_equal(http_stream_send(fixture.seen.stream, 0, "bad\nname", "x"), -EINVAL);
    assert_true(http_stream_backlog(fixture.seen.stream) > 0);
    test_client_receive(&client);
    assert_int_equal(http_stream_backlog(fixture.seen.stream), 0);
    assert_string_equal(buffer_string(&client.received), "id: 7\nevent: task\ndata: {\"a\":1}\n\n"
                                                         "data: one\ndata: two\ndata: three\ndata: four\n\n"
                                                         "data: \n\n");
    buffer_clear(&client.received);

    /* The heartbeat comes in silence only. */
    test_server_advance(&fixture.server, 15 * USEC_PER_SEC);
    test_client_receive(&client);
    assert_int_equal(client.received.size, 0);
    test_server_advance(&fixture.server, 10 * USEC_PER_SEC);
    test_client_receive(&client);
    assert_string_equal(buffer_string(&client.received), ":\n\n");
    test_server_advance(&fixture.server, 300 * USEC_PER_SEC); /* no deadline of a request */
    test_client_receive(&client);
    assert_false(client.is_closed);

    http_stream_close(TAKE_PTR(fixture.seen.stream));
    test_client_receive(&client);
    assert_true(client.is_closed && client.was_clean);
    assert_int_equal(fixture.seen.streams_closed, 0);
    test_client_done(&client);
    stop(&fixture);
}

static void test_stream_of_a_gone_client(void **state)
{
    Fixture fixture;
    TestClient client;

    start(&fixture);
    open_stream(&fixture, &client);
    test_client_done(&client);
    assert_int_equal(fixture.seen.streams_closed, 1);
    assert_null(fixture.seen.stream);
    stop(&fixture);
}

static void test_slow_subscriber_is_dropped(void **state)
{
    Fixture fixture = {0};
    HttpServerLimits limits = {.stream_queue = 64 * 1024};
    TestClient client;
    char data[4096];
    unsigned accepted = 0, received = 0;
    int r = 0;

    test_server_start(&fixture.server, &files, NULL, false, &handler, &fixture.seen, &limits);
    open_stream(&fixture, &client);
    client.received.limit = 2 * (size_t)HUGE_SIZE;
    memset(data, 'd', sizeof(data) - 1);
    data[sizeof(data) - 1] = '\0';
    while (accepted < 100000 && (r = http_stream_send(fixture.seen.stream, accepted + 1, NULL, data)) == 0) {
        accepted++;
        assert_true(http_stream_backlog(fixture.seen.stream) <= limits.stream_queue);
        if (accepted % 8 == 0)
            test_server_run(&fixture.server);
    }
    assert_int_equal(r, -ENOBUFS);
    assert_int_equal(fixture.seen.streams_closed, 0); /* not from inside the sender */
    assert_int_equal(http_stream_send(fixture.seen.stream, 1, NULL, "x"), -ENOBUFS);
    test_server_run(&fixture.server);
    assert_int_equal(fixture.seen.streams_closed, 1);
    assert_int_equal(http_server_counters(fixture.server.server).streams_dropped, 1);

    /* When it reads at last, it finds whole events and the hint to come back with the last id. */
    test_client_receive(&client);
    assert_true(client.is_closed);
    const char *text = buffer_string(&client.received);
    for (const char *at = text; (at = strstr(at, "id: ")); at += 4)
        received++;
    assert_int_equal(received, accepted);
    assert_true(string_ends_with(text, "\n\nretry: 5000\n\n"));
    test_client_done(&client);
    stop(&fixture);
}

static void test_stalled_subscriber_is_dropped(void **state)
{
    Fixture fixture = {0};
    HttpServerLimits limits = {.stream_queue = 32 * 1024 * 1024};
    TestClient client;
    char *data = memory_new(1024 * 1024);

    test_server_start(&fixture.server, &files, NULL, false, &handler, &fixture.seen, &limits);
    open_stream(&fixture, &client);
    memset(data, 'd', 1024 * 1024 - 1);
    for (unsigned i = 0; i < 12; i++)
        assert_int_equal(http_stream_send(fixture.seen.stream, i + 1, NULL, data), 0);
    test_server_run(&fixture.server);
    assert_true(http_stream_backlog(fixture.seen.stream) > 0);
    test_server_advance(&fixture.server, 29 * USEC_PER_SEC);
    assert_int_equal(fixture.seen.streams_closed, 0);
    test_server_advance(&fixture.server, 10 * USEC_PER_SEC);
    assert_int_equal(fixture.seen.streams_closed, 1);
    test_client_done(&client);
    free(data);
    stop(&fixture);
}

/* Drain. */

static void on_drained(void *userdata)
{
    Seen *seen = userdata;

    seen->drained++;
}

static void test_drain(void **state)
{
    Fixture fixture;
    TestClient idle, busy, streaming, late;
    TestAnswer *answer = NEW(TestAnswer);
    char value[32];

    start(&fixture);
    connect_to(&fixture, &idle);
    exchange_text(&idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    open_stream(&fixture, &streaming);
    connect_to(&fixture, &busy);
    assert_true(test_client_send_text(&busy, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));

    http_server_drain(fixture.server.server, 60 * USEC_PER_SEC, on_drained, &fixture.seen);
    test_client_receive(&idle);
    assert_true(idle.is_closed && idle.was_clean);
    test_client_receive(&streaming);
    assert_true(streaming.is_closed && streaming.was_clean);
    assert_string_equal(buffer_string(&streaming.received), "retry: 2000\n\n");
    assert_int_equal(fixture.seen.streams_closed, 1);
    late =
        (TestClient){.test = &fixture.server, .descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture.server.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(late.descriptor, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, ECONNREFUSED);

    assert_int_equal(fixture.seen.drained, 0);
    http_exchange_reply(TAKE_PTR(fixture.seen.held), 200, NULL, "answered", 8);
    test_client_receive(&busy);
    assert_true(test_client_answer(&busy, false, answer));
    assert_string_equal(answer->body, "answered");
    test_answer_header(answer, "Connection", value, sizeof(value));
    assert_string_equal(value, "close");
    test_client_done(&busy);
    test_client_done(&idle);
    test_client_done(&streaming);
    test_client_done(&late);
    test_server_run(&fixture.server);
    assert_int_equal(fixture.seen.drained, 1);
    free(answer);
    stop(&fixture);
}

static void test_drain_cuts_off_at_its_deadline(void **state)
{
    Fixture fixture;
    TestClient busy;

    start(&fixture);
    connect_to(&fixture, &busy);
    assert_true(test_client_send_text(&busy, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n"));
    http_server_drain(fixture.server.server, 5 * USEC_PER_SEC, on_drained, &fixture.seen);
    test_server_advance(&fixture.server, 4 * USEC_PER_SEC);
    assert_int_equal(fixture.seen.drained, 0);
    test_server_advance(&fixture.server, 2 * USEC_PER_SEC);
    assert_int_equal(fixture.seen.drained, 1);
    http_exchange_reply(TAKE_PTR(fixture.seen.held), 200, NULL, NULL, 0);
    test_client_done(&busy);
    stop(&fixture);
}

static void test_drain_of_an_idle_server(void **state)
{
    Fixture fixture;

    start(&fixture);
    http_server_drain(fixture.server.server, 5 * USEC_PER_SEC, on_drained, &fixture.seen);
    assert_int_equal(fixture.seen.drained, 0); /* from the loop, never from inside */
    test_server_run(&fixture.server);
    assert_int_equal(fixture.seen.drained, 1);
    stop(&fixture);
}

/* The plain listener. */

static void check_redirect(Fixture *fixture, uint16_t port, const char *request, const char *location)
{
    TestClient client;
    TestAnswer *answer = NEW(TestAnswer);
    char value[256];

    test_client_connect_plain(&client, &fixture->server, port);
    assert_true(test_client_send_text(&client, request));
    test_client_receive(&client);
    assert_true(test_client_answer(&client, false, answer));
    assert_int_equal(answer->status, location ? 308 : 400);
    test_answer_header(answer, "Location", value, sizeof(value));
    assert_string_equal(value, location ? location : "");
    test_answer_header(answer, "Strict-Transport-Security", value, sizeof(value));
    assert_string_equal(value, "");
    assert_int_equal(client.received.size, 0); /* one answer a connection */
    assert_true(client.is_closed);
    test_client_done(&client);
    free(answer);
}

/* CH1, CH2: no plain port unless it only redirects. */
static void test_redirect_listener(void **state)
{
    Fixture fixture;
    Error error = ERROR_INIT;
    uint16_t port, odd_port;

    start(&fixture);
    assert_int_equal(http_server_listen_redirect(fixture.server.server, "127.0.0.1", 0, 443, &port, &error),
                     0);
    assert_int_equal(
        http_server_listen_redirect(fixture.server.server, "127.0.0.1", 0, 8443, &odd_port, &error), 0);
    check_redirect(&fixture, port, "GET /a%20b?c=d HTTP/1.1\r\nHost: bastide.example\r\n\r\n",
                   "https://bastide.example/a%20b?c=d");
    check_redirect(&fixture, odd_port, "GET / HTTP/1.1\r\nHost: bastide.example:8080\r\n\r\n",
                   "https://bastide.example:8443/");
    check_redirect(&fixture, odd_port, "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "https://[::1]:8443/");
    check_redirect(&fixture, odd_port, "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", "https://[::1]:8443/");
    check_redirect(
        &fixture, port,
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "https://a/x");
    check_redirect(&fixture, port, "GET / HTTP/1.1\r\nHost: evil.example/@a\r\n\r\n", NULL);
    check_redirect(&fixture, port, "GET / HTTP/1.1\r\n\r\n", NULL);
    assert_int_equal(fixture.seen.handled, 0);
    stop(&fixture);
}

/* Of the sanitizer's allocator, when that is the one in use. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t heap_in_use(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 information = mallinfo2();
    return information.uordblks + information.hblkhd;
}

/* P15. The clients live in this process too; so what the server's halves hold is what their end gives back.
 */
static void test_idle_memory(void **state)
{
    enum { CONNECTIONS = 1000 };
    Fixture fixture = {0};
    HttpServerLimits limits = {.connections_per_address = CONNECTIONS + 1};
    struct rlimit files_limit = {.rlim_cur = 4096, .rlim_max = 4096};
    TestClient *clients = NEW_ARRAY(TestClient, CONNECTIONS);

    (void)setrlimit(RLIMIT_NOFILE, &files_limit);
    test_server_start(&fixture.server, &files, NULL, false, &handler, &fixture.seen, &limits);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        connect_to(&fixture, &clients[i]);
        if (i % 2 == 0)
            exchange_text(&clients[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    }
    assert_int_equal(http_server_connection_count(fixture.server.server), CONNECTIONS);
    size_t before = heap_in_use();
    http_server_free(TAKE_PTR(fixture.server.server));
    size_t each = (before - heap_in_use()) / CONNECTIONS;
    print_message("%d idle TLS connections: %zu bytes of heap each on the server's side\n", CONNECTIONS,
                  each);
    assert_in_range(each, 1024, 20 * 1024); /* below the lower end nothing was measured */
    for (size_t i = 0; i < CONNECTIONS; i++)
        test_client_done(&clients[i]);
    free(clients);
    stop(&fixture);
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
        cmocka_unit_test_teardown(test_framing_table_over_tls, name_the_failed_case),
        cmocka_unit_test(test_keep_alive_and_headers),
        cmocka_unit_test(test_head_has_no_body),
        cmocka_unit_test(test_pipelined_waits_for_the_answer),
        cmocka_unit_test(test_many_pipelined),
        cmocka_unit_test(test_answers_from_other_threads),
        cmocka_unit_test(test_concurrent_posts),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_body_limits),
        cmocka_unit_test(test_body_memory_is_bounded),
        cmocka_unit_test(test_query_and_header_access),
        cmocka_unit_test(test_slow_head_is_cut_off),
        cmocka_unit_test(test_slow_body_is_cut_off),
        cmocka_unit_test(test_slow_chunks_are_cut_off),
        cmocka_unit_test(test_silent_handshake_is_cut_off),
        cmocka_unit_test(test_plain_http_on_the_tls_port),
        cmocka_unit_test(test_idle_is_closed),
        cmocka_unit_test(test_late_handler),
        cmocka_unit_test(test_client_gone_while_handled),
        cmocka_unit_test(test_answer_after_the_server),
        cmocka_unit_test(test_slow_reader_is_cut_off),
        cmocka_unit_test(test_connection_limits),
        cmocka_unit_test(test_address_keys),
        cmocka_unit_test(test_client_certificate_required),
        cmocka_unit_test(test_client_certificate_optional),
        cmocka_unit_test(test_reload_keeps_connections),
        cmocka_unit_test(test_bad_tls_settings),
        cmocka_unit_test(test_tls_policy),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_of_a_gone_client),
        cmocka_unit_test(test_slow_subscriber_is_dropped),
        cmocka_unit_test(test_stalled_subscriber_is_dropped),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_cuts_off_at_its_deadline),
        cmocka_unit_test(test_drain_of_an_idle_server),
        cmocka_unit_test(test_redirect_listener),
        cmocka_unit_test(test_idle_memory),
    };

    return cmocka_run_group_tests(tests, make_files, remove_files);
}
