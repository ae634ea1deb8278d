/* SPDX-License-Identifier: Apache-2.0 */

/* The bare HTTP server with one fixed answer, for tests/bench/http/run.py: what the server itself costs, with
 * nothing of the API above it. bench_http_server CERTIFICATE KEY PORT; ends with SIGTERM. */

#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#include "base/string.h"
#include "net/http_server.h"

static const char fixed_answer[] =
    "{\"id\":\"k3v9x2m7q1w8e5r6t4y0\",\"name\":\"cluster-1\",\"state\":\"running\"}";

static void handle(HttpExchange *exchange, void *userdata)
{
    http_exchange_reply(exchange, 200, "application/json", fixed_answer, sizeof(fixed_answer) - 1);
}

static const HttpServerHandler handler = {.handle = handle};

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *information, void *userdata)
{
    return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int run(sd_event *event, const TlsServerSettings *settings, uint16_t port, Error *error)
{
    static const HttpServerLimits limits = {.connections = 50000, .connections_per_address = 50000};
    _cleanup_(tls_generation_unref_pointer) TlsGeneration *generation = NULL;
    _cleanup_(http_server_free_pointer) HttpServer *server = NULL;

    int r = tls_generation_new(settings, &generation, error);
    if (r >= 0)
        r = http_server_new(event, &system_clock, &handler, NULL, &limits, &server, error);
    if (r >= 0)
        r = http_server_listen(server, "127.0.0.1", port, generation, &port, error);
    if (r < 0)
        return r;
    printf("%u\n", port);
    (void)fflush(stdout);
    return sd_event_loop(event);
}

int main(int argc, char **argv)
{
    sd_event *event = NULL;
    sigset_t mask;
    uint64_t port;
    Error error = ERROR_INIT;

    if (argc != 4 || string_to_u64(argv[3], UINT16_MAX, &port) < 0)
        return 64;
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
    if (sd_event_new(&event) < 0 || sd_event_add_signal(event, NULL, SIGTERM, on_signal, NULL) < 0)
        return 70;
    TlsServerSettings settings = {.certificate_file = argv[1], .key_file = argv[2]};
    int r = run(event, &settings, (uint16_t)port, &error);
    if (r < 0)
        (void)fprintf(stderr, "%s %s\n", error.text, error.details);
    sd_event_unref(event);
    return r < 0 ? 1 : 0;
}
