/* SPDX-License-Identifier: Apache-2.0 */

/* The server over TLS on loopback: client certificates (CH5, S12, S25), TLS policy (CH1, S24), reload,
 * streams, drain, the plain listener, memory (P15). One thread, a clock moved by hand. */

#include <errno.h>
#include <malloc.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/string.h"
#include "server_fixture.h"

/* Certificates. */

static void test_client_certificate_required(void **state)
{
    Fixture fixture = {0};
    const struct {
        const char *certificate, *key;
        bool is_accepted;
    } cases[] = {
        {fixture_files.client, fixture_files.client_key, true},
        {NULL, NULL, false},
        {fixture_files.foreign, fixture_files.foreign_key, false},
        {fixture_files.wrong_use, fixture_files.wrong_use_key, false},
    };

    test_server_start(&fixture.server, &fixture_files, fixture_files.ca, true, &fixture_handler,
                      &fixture.seen, NULL);
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        TestClient client;
        /* In TLS 1.3 the client learns of the refusal after its own handshake is done. */
        int r =
            test_client_connect(&client, &fixture.server, &fixture_files, cases[i].certificate, cases[i].key);
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
    fixture_stop(&fixture);
}

static void test_client_certificate_optional(void **state)
{
    Fixture fixture = {0};
    TestClient client;

    test_server_start(&fixture.server, &fixture_files, fixture_files.ca, false, &fixture_handler,
                      &fixture.seen, NULL);
    fixture_connect(&fixture, &client);
    fixture_exchange(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    assert_string_equal(fixture.seen.peer_uri, "none");
    assert_string_equal(fixture.seen.peer_serial, "none");
    test_client_done(&client);

    /* Optional does not mean that a bad one passes. */
    int r = test_client_connect(&client, &fixture.server, &fixture_files, fixture_files.foreign,
                                fixture_files.foreign_key);
    if (r == 0) {
        (void)test_client_send_text(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        test_client_receive(&client);
    }
    assert_true(client.is_closed);
    assert_int_equal(client.received.size, 0);
    test_client_done(&client);
    fixture_stop(&fixture);
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
    TlsServerSettings settings = {.certificate_file = fixture_files.server2,
                                  .key_file = fixture_files.server2_key};

    fixture_start(&fixture);
    fixture_connect(&fixture, &old_client);
    assert_int_equal(tls_generation_new(&settings, &next, &error), 0);
    http_server_set_generation(fixture.server.server, 0, next);
    tls_generation_unref(next);
    fixture_connect(&fixture, &new_client);
    assert_int_equal(server_serial(&old_client), 2);
    assert_int_equal(server_serial(&new_client), 3);
    fixture_exchange(&old_client, "GET /old HTTP/1.1\r\nHost: a\r\n\r\n", "GET /old");
    fixture_exchange(&new_client, "GET /new HTTP/1.1\r\nHost: a\r\n\r\n", "GET /new");
    test_client_done(&old_client);
    test_client_done(&new_client);
    fixture_stop(&fixture);
}

static void test_bad_tls_settings(void **state)
{
    const TlsServerSettings cases[] = {
        {.certificate_file = fixture_files.server, .key_file = fixture_files.client_key}, /* not its key */
        {.certificate_file = fixture_files.server,
         .key_file = fixture_files.open_key}, /* readable by others */
        {.certificate_file = fixture_files.server, .key_file = "/nonexistent"},
        {.certificate_file = "/nonexistent", .key_file = fixture_files.server_key},
        {.certificate_file = fixture_files.server_key,
         .key_file = fixture_files.server_key}, /* no certificate in it */
        {.certificate_file = fixture_files.server,
         .key_file = fixture_files.server_key,
         .is_client_certificate_required = true},
        {.certificate_file = fixture_files.server,
         .key_file = fixture_files.server_key,
         .client_ca_file = "/nonexistent"},
        {.certificate_file = fixture_files.server,
         .key_file = fixture_files.server_key,
         .client_ca_file = fixture_files.server_key},
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

    fixture_start(&fixture);
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
    fixture_stop(&fixture);
}

/* Streams. */

static void open_stream(Fixture *fixture, TestClient *client)
{
    fixture_connect(fixture, client);
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

    fixture_start(&fixture);
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
    fixture_stop(&fixture);
}

static void test_stream_of_a_gone_client(void **state)
{
    Fixture fixture;
    TestClient client;

    fixture_start(&fixture);
    open_stream(&fixture, &client);
    test_client_done(&client);
    assert_int_equal(fixture.seen.streams_closed, 1);
    assert_null(fixture.seen.stream);
    fixture_stop(&fixture);
}

static void test_slow_subscriber_is_dropped(void **state)
{
    Fixture fixture = {0};
    HttpServerLimits limits = {.stream_queue = 64 * 1024};
    TestClient client;
    char data[4096];
    unsigned accepted = 0, received = 0;
    int r = 0;

    test_server_start(&fixture.server, &fixture_files, NULL, false, &fixture_handler, &fixture.seen, &limits);
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
    fixture_stop(&fixture);
}

static void test_stalled_subscriber_is_dropped(void **state)
{
    Fixture fixture = {0};
    HttpServerLimits limits = {.stream_queue = 32 * 1024 * 1024};
    TestClient client;
    char *data = memory_new(1024 * 1024);

    test_server_start(&fixture.server, &fixture_files, NULL, false, &fixture_handler, &fixture.seen, &limits);
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
    fixture_stop(&fixture);
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

    fixture_start(&fixture);
    fixture_connect(&fixture, &idle);
    fixture_exchange(&idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
    open_stream(&fixture, &streaming);
    fixture_connect(&fixture, &busy);
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
    fixture_stop(&fixture);
}

static void test_drain_cuts_off_at_its_deadline(void **state)
{
    Fixture fixture;
    TestClient busy;

    fixture_start(&fixture);
    fixture_connect(&fixture, &busy);
    assert_true(test_client_send_text(&busy, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n"));
    http_server_drain(fixture.server.server, 5 * USEC_PER_SEC, on_drained, &fixture.seen);
    test_server_advance(&fixture.server, 4 * USEC_PER_SEC);
    assert_int_equal(fixture.seen.drained, 0);
    test_server_advance(&fixture.server, 2 * USEC_PER_SEC);
    assert_int_equal(fixture.seen.drained, 1);
    http_exchange_reply(TAKE_PTR(fixture.seen.held), 200, NULL, NULL, 0);
    test_client_done(&busy);
    fixture_stop(&fixture);
}

static void test_drain_of_an_idle_server(void **state)
{
    Fixture fixture;

    fixture_start(&fixture);
    http_server_drain(fixture.server.server, 5 * USEC_PER_SEC, on_drained, &fixture.seen);
    assert_int_equal(fixture.seen.drained, 0); /* from the loop, never from inside */
    test_server_run(&fixture.server);
    assert_int_equal(fixture.seen.drained, 1);
    fixture_stop(&fixture);
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

    fixture_start(&fixture);
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
    fixture_stop(&fixture);
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
    test_server_start(&fixture.server, &fixture_files, NULL, false, &fixture_handler, &fixture.seen, &limits);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        fixture_connect(&fixture, &clients[i]);
        if (i % 2 == 0)
            fixture_exchange(&clients[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /");
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
    fixture_stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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

    return cmocka_run_group_tests(tests, fixture_make_files, fixture_remove_files);
}
