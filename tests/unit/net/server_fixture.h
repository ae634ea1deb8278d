/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The server with the handler of the server tests: what each path does is in server_fixture.c. */

#include <pthread.h>

#include "net_testing.h"

enum { TEST_BODY_LIMIT = 64 * 1024, HUGE_SIZE = 8 * 1024 * 1024 };

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

typedef struct Fixture {
    TestServer server;
    Seen seen;
} Fixture;

extern TestFiles fixture_files;
extern const HttpServerHandler fixture_handler; /* its userdata is a Seen */

void fixture_start(Fixture *fixture);
/* Checks that every request was logged once. */
void fixture_stop(Fixture *fixture);
void fixture_connect(Fixture *fixture, TestClient *client);
/* The next answer that was received is 200 with this body. */
void fixture_expect_body(TestClient *client, const char *body);
void fixture_expect_status(TestClient *client, int status);
/* Sends a request and expects 200 with this body. */
void fixture_exchange(TestClient *client, const char *request, const char *body);
/* Answers with 202 "posted" from a thread that is over when this returns. */
void fixture_post_from_thread(HttpExchange *exchange);
/* Group set-up and tear-down: the certificates. */
int fixture_make_files(void **state);
int fixture_remove_files(void **state);
