/* SPDX-License-Identifier: Apache-2.0 */

/* The connection's state machine over a plain socket pair, with handlers that answer at once, later, never,
 * with a stream, or with more than the socket takes. The input is a script: a byte below 0xf0 sends that many
 * of the following bytes; 0xf0 and above are the actions below. Whatever is sent, the connection ends, every
 * exchange is logged once and nothing is left. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/string.h"
#include "net/http_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HOLD_MAX = 4, LARGE = 400 * 1024 };

typedef struct Machine {
    sd_event *event;
    HttpServer *server;
    HttpExchange *held[HOLD_MAX];
    HttpStream *stream;
    uint64_t handled, done;
} Machine;

static Usec now = 1000 * USEC_PER_SEC;

static Usec fuzz_time(const Clock *clock)
{
    return now;
}

static const Clock fuzz_clock = {.monotonic = fuzz_time, .realtime = fuzz_time};

static void on_closed(HttpStream *stream, void *userdata)
{
    Machine *machine = userdata;

    ASSERT(machine->stream == stream);
    machine->stream = NULL;
}

static void hold(Machine *machine, HttpExchange *exchange)
{
    for (size_t i = 0; i < HOLD_MAX; i++) {
        if (!machine->held[i]) {
            machine->held[i] = exchange;
            return;
        }
    }
    http_exchange_post(exchange, 200, "text/plain", "posted", 6);
}

static void handle(HttpExchange *exchange, void *userdata)
{
    static char large[LARGE];
    Machine *machine = userdata;
    const HttpRequest *request = http_exchange_request(exchange);

    machine->handled++;
    ASSERT(request->path[0] == '/' && strlen(request->body) <= request->body_size);
    (void)http_exchange_query(exchange, "a", 0);
    switch (request->path[1]) {
    case 'h':
        hold(machine, exchange);
        break;
    case 'p':
        http_exchange_post(exchange, 202, NULL, request->body, request->body_size);
        break;
    case 's':
        if (!machine->stream)
            machine->stream = http_exchange_start_stream(exchange, on_closed, machine);
        else
            http_exchange_reply(exchange, 409, NULL, NULL, 0);
        break;
    case 'l':
        http_exchange_reply(exchange, 200, "application/octet-stream", large, sizeof(large));
        break;
    default:
        http_exchange_set_header(exchange, "X-Path", request->path);
        http_exchange_reply(exchange, 200, "text/plain", request->body, request->body_size);
    }
}

static ssize_t body_limit(HttpMethod method, const char *path, void *userdata)
{
    return path[1] == 'n' ? 0 : 4096;
}

static void on_done(const HttpRequest *request, int status, size_t sent, Usec duration, void *userdata)
{
    ((Machine *)userdata)->done++;
}

static const HttpServerHandler handler = {.body_limit = body_limit, .handle = handle, .done = on_done};

static Machine *get_machine(void)
{
    static Machine *machine;
    static const HttpServerLimits limits = {.stream_queue = 4096};

    if (machine)
        return machine;
    machine = NEW(Machine);
    ASSERT(sd_event_new(&machine->event) >= 0);
    ASSERT(http_server_new(machine->event, &fuzz_clock, &handler, machine, &limits, &machine->server, NULL) >=
           0);
    return machine;
}

static void answer_held(Machine *machine)
{
    for (size_t i = 0; i < HOLD_MAX; i++) {
        if (machine->held[i])
            http_exchange_reply(TAKE_PTR(machine->held[i]), 200, "text/plain", "held", 4);
    }
}

static void drop_received(int descriptor)
{
    char buffer[65536];

    while (recv(descriptor, buffer, sizeof(buffer), 0) > 0)
        continue;
}

static void act(Machine *machine, uint8_t action, int descriptor)
{
    switch (action) {
    case 0xf0:
        now += 600 * USEC_PER_MSEC;
        break;
    case 0xf1:
        now += 31 * USEC_PER_SEC;
        break;
    case 0xf2:
        answer_held(machine);
        break;
    case 0xf3:
        drop_received(descriptor);
        break;
    case 0xf4:
        (void)shutdown(descriptor, SHUT_WR);
        break;
    case 0xf5:
        if (machine->stream)
            (void)http_stream_send(machine->stream, 1, "e", "data\nmore");
        break;
    case 0xf6:
        if (machine->stream)
            http_stream_close(TAKE_PTR(machine->stream));
        break;
    default:
        (void)shutdown(descriptor, SHUT_RDWR);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Machine *machine = get_machine();
    const struct sockaddr_storage address = {.ss_family = AF_UNIX};
    int pair[2];

    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    ASSERT(http_server_adopt(machine->server, pair[0], NULL, 0, &address));
    for (size_t i = 0; i < size;) {
        uint8_t byte = data[i++];
        if (byte >= 0xf0) {
            act(machine, byte, pair[1]);
        } else {
            size_t count = MIN((size_t)byte + 1, size - i);
            (void)send(pair[1], data + i, count, MSG_NOSIGNAL);
            i += count;
        }
        http_server_turn(machine->server);
    }
    (void)close(pair[1]);
    http_server_turn(machine->server);
    answer_held(machine);
    now += 100 * USEC_PER_SEC;
    http_server_turn(machine->server);
    now += 100 * USEC_PER_SEC;
    http_server_turn(machine->server);
    ASSERT(http_server_connection_count(machine->server) == 0);
    ASSERT(!machine->stream && machine->handled == machine->done && machine->server->body_memory == 0);
    return 0;
}
