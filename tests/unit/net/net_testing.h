/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of net share: the framing table, certificates in a directory of their own, a clock that is
 * moved by hand, the server on the test's own thread, and a client that takes turns with it. So there is one
 * thread and no sleeping. */

/* cmocka.h needs the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdatomic.h>

#include "base/buffer.h"
#include "net/http_internal.h"

typedef struct FramingCase {
    char *name;
    Buffer bytes;
    char **expectations; /* "GET /path body", "fault name", "more" */
    size_t expectation_count;
} FramingCase;

typedef struct FramingTable {
    FramingCase *cases;
    size_t count;
} FramingTable;

/* Fails the test when the file cannot be read. */
FramingTable framing_table_load(void);
void framing_table_done(FramingTable *table);

/* A directory with a CA, a foreign CA, and certificates of them. */
typedef struct TestFiles {
    char directory[64];
    char ca[96], foreign_ca[96];
    char server[96], server_key[96];         /* localhost, 127.0.0.1 */
    char server2[96], server2_key[96];       /* the same names, another serial */
    char client[96], client_key[96];         /* URI SAN bastide:provisioner:one, serial 0xabc123 */
    char foreign[96], foreign_key[96];       /* client certificate of the foreign CA */
    char wrong_use[96], wrong_use_key[96];   /* of our CA, but for servers only */
    char open_key[96];                       /* server_key, readable by others */
    char other_name[96], other_name_key[96]; /* for elsewhere.example */
} TestFiles;
void test_files_make(TestFiles *files);
void test_files_remove(TestFiles *files);

typedef struct TestClock {
    Clock clock;
    _Atomic Usec now;
} TestClock;
void test_clock_init(TestClock *clock);

typedef struct TestServer {
    TestClock clock;
    sd_event *event;
    HttpServer *server;
    TlsGeneration *generation;
    uint16_t port;
} TestServer;
/* client_ca NULL: no client certificates. */
void test_server_start(TestServer *test, const TestFiles *files, const char *client_ca, bool is_required,
                       const HttpServerHandler *handler, void *userdata, const HttpServerLimits *limits);
void test_server_stop(TestServer *test);
/* Lets the loop run until it has nothing to do. */
void test_server_run(TestServer *test);
/* Moves the clock, in steps of a quarter second, and lets deadlines pass. */
void test_server_advance(TestServer *test, Usec duration);

typedef struct TestClient {
    TestServer *test;
    int descriptor;
    SSL_CTX *context;
    SSL *session; /* NULL: plain */
    Buffer received;
    bool is_closed; /* the end was seen */
    bool was_clean; /* with close_notify */
} TestClient;
/* certificate NULL: none. Returns 0, or -ECONNABORTED when the handshake failed. */
int test_client_connect(TestClient *client, TestServer *test, const TestFiles *files, const char *certificate,
                        const char *key);
void test_client_connect_plain(TestClient *client, TestServer *test, uint16_t port);
void test_client_done(TestClient *client);
/* Whole, with the server taking turns; false when the connection is gone. */
bool test_client_send(TestClient *client, const void *data, size_t size);
bool test_client_send_text(TestClient *client, const char *text);
/* Reads what there is, with the server taking turns. */
void test_client_receive(TestClient *client);

typedef struct TestAnswer {
    int status;
    char head[4096];
    char body[70000];
    size_t body_size;
} TestAnswer;
/* Takes one answer off what was received; false when there is no whole one. For HEAD say so. */
bool test_client_answer(TestClient *client, bool is_head, TestAnswer *ret_answer);
/* Value of a header field in the head, copied; "" when absent. */
void test_answer_header(const TestAnswer *answer, const char *name, char *ret_value, size_t size);
