/* SPDX-License-Identifier: Apache-2.0 */

/* The server over TLS on loopback: framing table (S30), requests and answers, slow clients (S31), limits. One
 * thread, a clock moved by hand. */

#include <errno.h>
#include <stdlib.h>

#include "base/string.h"
#include "server_fixture.h"

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
        fixture_expect_status(client, fault_status_of(expectation + 6));
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

    fixture_connect(fixture, &client);
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

    fixture_start(&fixture);
    for (size_t i = 0; i < table.count; i++) {
        (void)string_copy(current_case, sizeof(current_case), table.cases[i].name);
        check_live_case(&fixture, &table.cases[i]);
    }
    *current_case = '\0';
    assert_int_equal(http_server_connection_count(fixture.server.server), 0);
    framing_table_done(&table);
    fixture_stop(&fixture);
}

/* Requests and answers. */

static void test_keep_alive_and_headers(void **state)
{
    Fixture fixture;
    TestClient client;
    TestAnswer *answer = NEW(TestAnswer);
    char value[256], first_id[64];

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
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
    fixture_exchange(&client, "GET /z HTTP/1.1\r\nHost: a\r\n\r\n", "GET /z");
    test_client_done(&client);
    free(answer);
    fixture_stop(&fixture);
}

static void test_head_has_no_body(void **state)
{
    Fixture fixture;
    TestClient client;
    TestAnswer *answer = NEW(TestAnswer);
    char value[32];

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    assert_true(test_client_send_text(&client, "HEAD /abc HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_client_receive(&client);
    assert_true(test_client_answer(&client, true, answer));
    test_answer_header(answer, "Content-Length", value, sizeof(value));
    assert_string_equal(value, "9"); /* "HEAD /abc" */
    assert_int_equal(client.received.size, 0);
    fixture_exchange(&client, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b");
    test_client_done(&client);
    free(answer);
    fixture_stop(&fixture);
}

static void test_pipelined_waits_for_the_answer(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
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
    fixture_expect_body(&client, "first");
    fixture_expect_body(&client, "POST /2 abc");
    fixture_expect_body(&client, "GET /3");
    test_client_done(&client);
    fixture_stop(&fixture);
}

static void test_many_pipelined(void **state)
{
    Fixture fixture;
    TestClient client;
    Buffer requests = BUFFER_INIT;
    char body[32];

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    for (unsigned i = 0; i < 1000; i++)
        assert_true(buffer_append_format(&requests, "GET /%u HTTP/1.1\r\nHost: a\r\n\r\n", i) >= 0);
    assert_true(test_client_send(&client, requests.data, requests.size));
    test_client_receive(&client);
    for (unsigned i = 0; i < 1000; i++) {
        (void)string_print(body, sizeof(body), "GET /%u", i);
        fixture_expect_body(&client, body);
    }
    buffer_done(&requests);
    test_client_done(&client);
    fixture_stop(&fixture);
}

static void test_answers_from_other_threads(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /post HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_client_receive(&client);
    fixture_expect_status(&client, 202);
    fixture_exchange(&client, "GET /resume HTTP/1.1\r\nHost: a\r\n\r\n", "resumed");
    test_client_done(&client);
    fixture_stop(&fixture);
}

/* Eight threads answer while the loop runs (for the thread sanitizer, too). */
static void test_concurrent_posts(void **state)
{
    Fixture fixture;
    TestClient clients[8];

    fixture_start(&fixture);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        fixture_connect(&fixture, &clients[i]);
    for (unsigned round = 0; round < 20; round++) {
        fixture.seen.thread_count = 0;
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
            assert_true(test_client_send_text(&clients[i], "GET /together HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_int_equal(fixture.seen.thread_count, ELEMENTSOF(clients));
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
            assert_int_equal(pthread_join(fixture.seen.threads[i], NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
            test_client_receive(&clients[i]);
            fixture_expect_status(&clients[i], 202);
        }
    }
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        test_client_done(&clients[i]);
    fixture_stop(&fixture);
}

static void test_expect_continue(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    assert_true(test_client_send_text(
        &client, "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"));
    test_client_receive(&client);
    assert_string_equal(buffer_string(&client.received), "HTTP/1.1 100 Continue\r\n\r\n");
    buffer_clear(&client.received);
    fixture_exchange(&client, "abc", "PUT /x abc");
    /* Too large: refused before it is sent. */
    assert_true(test_client_send_text(
        &client, "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n"));
    test_client_receive(&client);
    fixture_expect_status(&client, 413);
    assert_true(client.is_closed && client.was_clean);
    test_client_done(&client);
    fixture_stop(&fixture);
}

static void test_body_limits(void **state)
{
    Fixture fixture;
    TestClient client;
    char *body = memory_new(TEST_BODY_LIMIT + 200);
    char *expected = memory_new(TEST_BODY_LIMIT + 64);

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    int length =
        snprintf(body, 200, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", TEST_BODY_LIMIT);
    memset(body + length, 'b', TEST_BODY_LIMIT);
    assert_true(test_client_send(&client, body, (size_t)length + TEST_BODY_LIMIT));
    test_client_receive(&client);
    (void)string_copy(expected, 64, "POST /x ");
    memset(expected + 8, 'b', TEST_BODY_LIMIT);
    fixture_expect_body(&client, expected);
    /* A route that takes no body. */
    assert_true(
        test_client_send_text(&client, "POST /nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"));
    test_client_receive(&client);
    fixture_expect_status(&client, 413);
    assert_true(client.is_closed);
    test_client_done(&client);
    free(body);
    free(expected);
    fixture_stop(&fixture);
}

static void test_body_memory_is_bounded(void **state)
{
    Fixture fixture = {0};
    HttpServerLimits limits = {.body_memory = 1000};
    TestClient first, second;

    test_server_start(&fixture.server, &fixture_files, NULL, false, &fixture_handler, &fixture.seen, &limits);
    fixture_connect(&fixture, &first);
    fixture_connect(&fixture, &second);
    char request[1024] = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 901\r\n\r\n";
    size_t head = strlen(request);
    memset(request + head, 'x', 900);
    assert_true(test_client_send(&first, request, head + 900));
    assert_true(test_client_send(&second, request, head + 900));
    test_client_receive(&second);
    fixture_expect_status(&second, 503);
    assert_true(test_client_send_text(&first, "x"));
    test_client_receive(&first);
    fixture_expect_status(&first, 200);
    test_client_done(&second);
    fixture_connect(&fixture, &second); /* the memory came back */
    assert_true(test_client_send(&second, request, head + 900) && test_client_send_text(&second, "x"));
    test_client_receive(&second);
    fixture_expect_status(&second, 200);
    test_client_done(&first);
    test_client_done(&second);
    fixture_stop(&fixture);
}

static void test_query_and_header_access(void **state)
{
    Fixture fixture;
    TestClient client;
    const char *name, *value;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
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
    fixture_stop(&fixture);
}

/* Deadlines (S31). */

static void test_slow_head_is_cut_off(void **state)
{
    Fixture fixture;
    TestClient client;
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ssssssssssssssssssssssss\r\n\r\n";
    unsigned seconds = 0;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    /* A byte a second would keep an inactivity timer happy for ever. */
    for (; seconds < sizeof(head) - 1 && !client.is_closed; seconds++) {
        (void)test_client_send(&client, head + seconds, 1);
        test_server_advance(&fixture.server, USEC_PER_SEC);
        test_client_receive(&client);
    }
    assert_in_range(seconds, 9, 11);
    fixture_expect_status(&client, 408);
    assert_int_equal(fixture.seen.handled, 0);
    assert_int_equal(http_server_counters(fixture.server.server).timeouts, 1);
    test_client_done(&client);
    fixture_stop(&fixture);
}

static void test_slow_body_is_cut_off(void **state)
{
    Fixture fixture;
    TestClient client;
    unsigned seconds = 0;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    assert_true(test_client_send_text(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"));
    for (; seconds < 60 && !client.is_closed; seconds++) {
        (void)test_client_send_text(&client, "x");
        test_server_advance(&fixture.server, USEC_PER_SEC);
        test_client_receive(&client);
    }
    assert_in_range(seconds, 9, 13);
    fixture_expect_status(&client, 408);
    test_client_done(&client);

    /* 2 KiB a second is above the minimum rate, and may take longer than the grace. */
    char block[2048];
    memset(block, 'y', sizeof(block));
    fixture_connect(&fixture, &client);
    assert_true(
        test_client_send_text(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40960\r\n\r\n"));
    for (unsigned i = 0; i < 20; i++) {
        assert_true(test_client_send(&client, block, sizeof(block)));
        test_server_advance(&fixture.server, USEC_PER_SEC);
    }
    test_client_receive(&client);
    fixture_expect_status(&client, 200);

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
    fixture_expect_status(&client, 408);
    test_client_done(&client);
    fixture_stop(&fixture);
}

/* Chunk framing is not progress: one-byte chunks with long extensions stay below the minimum rate. */
static void test_slow_chunks_are_cut_off(void **state)
{
    Fixture fixture;
    TestClient client;
    unsigned seconds = 0;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    assert_true(
        test_client_send_text(&client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for (; seconds < 60 && !client.is_closed; seconds++) {
        (void)test_client_send_text(&client, "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nx\r\n");
        test_server_advance(&fixture.server, USEC_PER_SEC);
        test_client_receive(&client);
    }
    assert_in_range(seconds, 9, 13);
    fixture_expect_status(&client, 408);
    test_client_done(&client);
    fixture_stop(&fixture);
}

static void test_silent_handshake_is_cut_off(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    test_client_connect_plain(&client, &fixture.server, fixture.server.port);
    assert_int_equal(http_server_connection_count(fixture.server.server), 1);
    test_server_advance(&fixture.server, 9 * USEC_PER_SEC);
    assert_int_equal(http_server_connection_count(fixture.server.server), 1);
    test_server_advance(&fixture.server, 2 * USEC_PER_SEC);
    assert_int_equal(http_server_connection_count(fixture.server.server), 0);
    test_client_done(&client);
    fixture_stop(&fixture);
}

static void test_plain_http_on_the_tls_port(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    test_client_connect_plain(&client, &fixture.server, fixture.server.port);
    (void)test_client_send_text(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    test_client_receive(&client);
    assert_true(client.is_closed);
    assert_null(memmem(client.received.data ? client.received.data : (const uint8_t *)"",
                       client.received.size, "HTTP", 4));
    assert_int_equal(fixture.seen.handled, 0);
    assert_int_equal(http_server_counters(fixture.server.server).handshakes_failed, 1);
    test_client_done(&client);
    fixture_stop(&fixture);
}

static void test_idle_is_closed(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    fixture_exchange(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    test_server_advance(&fixture.server, 74 * USEC_PER_SEC);
    fixture_exchange(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    test_server_advance(&fixture.server, 74 * USEC_PER_SEC);
    test_client_receive(&client);
    assert_false(client.is_closed);
    test_server_advance(&fixture.server, 2 * USEC_PER_SEC);
    test_client_receive(&client);
    assert_true(client.is_closed && client.was_clean);
    assert_int_equal(client.received.size, 0);
    test_client_done(&client);
    fixture_stop(&fixture);
}

static void test_late_handler(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_server_advance(&fixture.server, 29 * USEC_PER_SEC);
    test_client_receive(&client);
    assert_int_equal(client.received.size, 0);
    test_server_advance(&fixture.server, 2 * USEC_PER_SEC);
    test_client_receive(&client);
    fixture_expect_status(&client, 503);
    assert_true(http_exchange_is_abandoned(fixture.seen.held));
    http_exchange_reply(TAKE_PTR(fixture.seen.held), 200, NULL, "late", 4); /* goes nowhere */
    test_client_receive(&client);
    assert_int_equal(client.received.size, 0);
    test_client_done(&client);

    /* A long poll says so. */
    fixture_connect(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_server_advance(&fixture.server, 100 * USEC_PER_SEC);
    assert_false(http_exchange_is_abandoned(fixture.seen.held));
    http_exchange_reply(TAKE_PTR(fixture.seen.held), 200, NULL, "polled", 6);
    test_client_receive(&client);
    fixture_expect_body(&client, "polled");
    assert_true(test_client_send_text(&client, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_server_advance(&fixture.server, 122 * USEC_PER_SEC);
    assert_true(http_exchange_is_abandoned(fixture.seen.held));
    http_exchange_post(TAKE_PTR(fixture.seen.held), 200, NULL, NULL, 0);
    test_client_done(&client);
    fixture_stop(&fixture);
}

static void test_client_gone_while_handled(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_false(http_exchange_is_abandoned(fixture.seen.held));
    test_client_done(&client);
    assert_true(http_exchange_is_abandoned(fixture.seen.held));
    assert_int_equal(fixture.seen.last_status, 499);
    assert_string_equal(http_exchange_request(fixture.seen.held)->path, "/later"); /* still readable */
    fixture_post_from_thread(TAKE_PTR(fixture.seen.held));
    test_server_run(&fixture.server);
    fixture_stop(&fixture);
}

/* Answered after the server is gone: freed, nothing else. */
static void test_answer_after_the_server(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
    HttpExchange *exchange = TAKE_PTR(fixture.seen.held);
    http_server_free(TAKE_PTR(fixture.server.server));
    assert_true(http_exchange_is_abandoned(exchange));
    fixture_post_from_thread(exchange);
    test_client_done(&client);
    fixture_stop(&fixture);
}

static void test_slow_reader_is_cut_off(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    fixture_connect(&fixture, &client);
    assert_true(test_client_send_text(&client, "GET /huge HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_server_advance(&fixture.server, 29 * USEC_PER_SEC);
    assert_int_equal(http_server_connection_count(fixture.server.server), 1);
    test_server_advance(&fixture.server, 3 * USEC_PER_SEC);
    assert_int_equal(http_server_connection_count(fixture.server.server), 0);
    test_client_done(&client);

    /* One that reads gets everything. */
    fixture_connect(&fixture, &client);
    client.received.limit = 2 * (size_t)HUGE_SIZE;
    assert_true(test_client_send_text(&client, "GET /huge HTTP/1.1\r\nHost: a\r\n\r\n"));
    test_client_receive(&client);
    assert_true(client.received.size > HUGE_SIZE);
    assert_int_equal(client.received.data[client.received.size - 1], 'h');
    assert_false(client.is_closed);
    test_client_done(&client);
    fixture_stop(&fixture);
}

/* Limits. */

static void test_connection_limits(void **state)
{
    Fixture fixture = {0};
    HttpServerLimits limits = {.connections = 100, .connections_per_address = 3};
    TestClient clients[3], refused;

    test_server_start(&fixture.server, &fixture_files, NULL, false, &fixture_handler, &fixture.seen, &limits);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        fixture_connect(&fixture, &clients[i]);
    assert_int_equal(test_client_connect(&refused, &fixture.server, &fixture_files, NULL, NULL),
                     -ECONNABORTED);
    test_client_done(&refused);
    assert_int_equal(http_server_counters(fixture.server.server).refused, 1);
    fixture_exchange(&clients[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    test_client_done(&clients[0]);
    fixture_connect(&fixture, &clients[0]); /* a place is free again */
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        test_client_done(&clients[i]);
    fixture_stop(&fixture);
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
    };

    return cmocka_run_group_tests(tests, fixture_make_files, fixture_remove_files);
}
