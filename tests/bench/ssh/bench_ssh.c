/* SPDX-License-Identifier: Apache-2.0 */

/* Measures the provisioner's SSH transport beside a bare libssh loop (P1 to P3 of the quality page); driven
 * by bench_ssh.py.
 *
 * usage: bench_ssh ours|bare NODES STEPS PORT HOST-KEY PRIVATE-KEY-FILE CERTIFICATE-FILE [hold]
 * Node i is 127.(i / 62500).(i / 250 % 250).(i % 250 + 1). Prints one line of JSON: seconds to the first step
 * of all nodes (cold), seconds for the other steps (warm), CPU seconds of this process, its peak memory.
 * "ours" runs each step as the worker does: journaled, with its script sent by digest. "bare" executes "true"
 * on a channel of its own per step, over one session per node. */

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/hash.h"
#include "provisioner/node.h"

typedef struct Bench {
    unsigned nodes, steps;
    uint16_t port;
    const char *host_key;
    const char *key_file, *certificate_file;
    bool is_holding;
    SshCredential *credential;
    SshPool *pool;
    pthread_barrier_t cold, warm;
    _Atomic unsigned failures;
} Bench;

typedef struct Worker {
    Bench *bench;
    unsigned index;
    pthread_t thread;
} Worker;

static void address_of(unsigned index, char address[static 32])
{
    (void)string_print(address, 32, "127.%u.%u.%u", index / 62500, index / 250 % 250, index % 250 + 1);
}

static double seconds_since(Usec start)
{
    return (double)(clock_monotonic(&system_clock) - start) / 1e6;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* The peak of this program; that of getrusage() has the one that started it in it. */
static double peak_mib(void)
{
    _cleanup_free_ char *status = NULL;
    if (file_read("/proc/self/status", 16384, &status, NULL) < 0)
        abort();
    const char *line = strstr(status, "VmHWM:");
    return line ? strtod(line + strlen("VmHWM:"), NULL) / 1024 : 0;
}

static void report(const Bench *bench, const char *mode, double cold, double cold_cpu, double warm,
                   double warm_cpu)
{
    (void)printf("{\"mode\":\"%s\",\"nodes\":%u,\"steps\":%u,\"cold\":%.4f,\"cold_cpu\":%.4f,\"warm\":%.4f,"
                 "\"warm_cpu\":%.4f,"
                 "\"rss_mib\":%.1f,\"failures\":%u}\n",
                 mode, bench->nodes, bench->steps, cold, cold_cpu, warm, warm_cpu, peak_mib(),
                 bench->failures);
}

/* --- ours --- */

static int get_credential(void *userdata, SshCredential **ret_credential, Error *error)
{
    (void)error;
    *ret_credential = ssh_credential_ref(((Bench *)userdata)->credential);
    return 0;
}

static void no_output(RunnerStream stream, const void *data, size_t size, void *userdata)
{
    (void)stream;
    (void)data;
    (void)size;
    (void)userdata;
}

static void run_one(Bench *bench, const NodeDoor *door, unsigned index, unsigned number,
                    const NodeStepFile *file)
{
    char step_id[64];
    (void)string_print(step_id, sizeof(step_id), "bench%d-%u.%u", getpid(), index, number);
    NodeStep step = {.step = step_id,
                     .script = "run.sh",
                     .attempt = 1,
                     .timeout = 60 * USEC_PER_SEC,
                     .output_limit = 1 << 20,
                     .files = file,
                     .file_count = 1,
                     .parameters_json = "{}",
                     .parameters_flat = "",
                     .output = no_output,
                     .patience = 30 * USEC_PER_SEC};
    NodeStepResult result = {0};
    Error error = ERROR_INIT;
    if (node_run_step(door, &step, &result, &error) < 0 || result.exit_status != 0) {
        if (bench->failures++ == 0)
            (void)fprintf(stderr, "bench: %s\n", error.text);
    }
    node_step_result_done(&result);
}

static void *worker_main(void *argument)
{
    Worker *worker = argument;
    Bench *bench = worker->bench;
    char address[32], source[64];
    address_of(worker->index, address);
    (void)string_print(source, sizeof(source), "/tmp/bench-ssh-%d-%u", getpid(), worker->index);
    _cleanup_free_ char *script = string_format("#!/bin/sh\n# node %u\ntrue\n", worker->index);
    if (file_write_atomic(source, script, strlen(script), 0600) < 0)
        abort();
    uint8_t digest[32];
    hash_sha256(script, strlen(script), digest);
    NodeStepFile file = {.digest = digest, .path = "run.sh", .source = source};
    NodeDoor door = {.pool = bench->pool,
                     .node = {.address = address,
                              .port = bench->port,
                              .user = "root",
                              .host_keys = &bench->host_key,
                              .host_key_count = 1},
                     .get_credential = get_credential,
                     .userdata = bench};
    (void)pthread_barrier_wait(&bench->cold);
    run_one(bench, &door, worker->index, 0, &file);
    (void)pthread_barrier_wait(&bench->warm);
    (void)pthread_barrier_wait(&bench->warm);
    for (unsigned i = 1; i < bench->steps; i++)
        run_one(bench, &door, worker->index, i, &file);
    (void)unlink(source);
    return NULL;
}

static int load_credential(Bench *bench)
{
    Error error = ERROR_INIT;
    _cleanup_free_ char *certificate = NULL;
    if (file_read(bench->certificate_file, 16384, &certificate, NULL) < 0)
        return -1;
    ssh_key key = NULL;
    if (ssh_pki_import_privkey_file(bench->key_file, NULL, NULL, NULL, &key) != SSH_OK)
        return -1;
    return ssh_credential_from_key(key, certificate, UINT64_MAX, &bench->credential, &error);
}

static int run_ours(Bench *bench)
{
    Error error = ERROR_INIT;
    SshPoolSettings settings = {.sessions_max = bench->nodes + 16, .connect_timeout = 120 * USEC_PER_SEC};
    if (load_credential(bench) < 0 || ssh_pool_new(&settings, &bench->pool, &error) < 0)
        return 1;
    (void)pthread_barrier_init(&bench->cold, NULL, bench->nodes + 1);
    (void)pthread_barrier_init(&bench->warm, NULL, bench->nodes + 1);
    Worker *workers = NEW_ARRAY(Worker, bench->nodes);
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, 256 * 1024);
    for (unsigned i = 0; i < bench->nodes; i++) {
        workers[i] = (Worker){.bench = bench, .index = i};
        if (pthread_create(&workers[i].thread, &attributes, worker_main, &workers[i]) != 0)
            abort();
    }
    (void)usleep(100 * 1000);
    double cpu = cpu_seconds();
    Usec start = clock_monotonic(&system_clock);
    (void)pthread_barrier_wait(&bench->cold);
    (void)pthread_barrier_wait(&bench->warm);
    double cold = seconds_since(start), cold_cpu = cpu_seconds() - cpu;
    if (bench->is_holding)
        (void)fprintf(stderr, "live sessions: %u\n", ssh_pool_count(bench->pool));
    cpu = cpu_seconds();
    start = clock_monotonic(&system_clock);
    (void)pthread_barrier_wait(&bench->warm);
    for (unsigned i = 0; i < bench->nodes; i++)
        (void)pthread_join(workers[i].thread, NULL);
    report(bench, "ours", cold, cold_cpu, seconds_since(start), cpu_seconds() - cpu);
    ssh_pool_free(bench->pool);
    ssh_credential_unref(bench->credential);
    free(workers);
    return bench->failures > 0;
}

/* --- bare --- */

typedef enum BareState {
    BARE_CONNECT,
    BARE_AUTHENTICATE,
    BARE_OPEN,
    BARE_EXECUTE,
    BARE_READ,
    BARE_DONE
} BareState;

typedef struct Bare {
    ssh_session session;
    ssh_channel channel;
    BareState state;
    unsigned left; /* steps of this round */
} Bare;

/* One move: true when it went on. */
static bool bare_step(Bench *bench, Bare *bare, ssh_key key)
{
    char chunk[1024];
    int r = SSH_OK, count;
    switch (bare->state) {
    case BARE_CONNECT:
        r = ssh_connect(bare->session);
        break;
    case BARE_AUTHENTICATE:
        r = ssh_userauth_publickey(bare->session, NULL, key);
        r = r == SSH_AUTH_AGAIN ? SSH_AGAIN : r == SSH_AUTH_SUCCESS ? SSH_OK : SSH_ERROR;
        break;
    case BARE_OPEN:
        if (bare->left == 0)
            return false;
        if (!bare->channel)
            bare->channel = ssh_channel_new(bare->session);
        r = ssh_channel_open_session(bare->channel);
        break;
    case BARE_EXECUTE:
        r = ssh_channel_request_exec(bare->channel, "true");
        break;
    case BARE_READ:
        count = ssh_channel_read_nonblocking(bare->channel, chunk, sizeof(chunk), 0);
        if (count == SSH_ERROR)
            r = SSH_ERROR;
        else if (count != SSH_EOF && !ssh_channel_is_closed(bare->channel))
            return count > 0;
        else {
            ssh_channel_free(bare->channel);
            bare->channel = NULL;
            bare->left--;
            bare->state = BARE_OPEN;
            return true;
        }
        break;
    case BARE_DONE:
        return false;
    }
    if (r == SSH_AGAIN)
        return false;
    if (r != SSH_OK) {
        if (bench->failures++ == 0)
            (void)fprintf(stderr, "bench: %s\n", ssh_get_error(bare->session));
        bare->left = 0;
        bare->state = BARE_DONE;
        return false;
    }
    bare->state++;
    return true;
}

static void bare_round(Bench *bench, Bare *bares, ssh_key key, unsigned steps)
{
    struct pollfd *polls = NEW_ARRAY(struct pollfd, bench->nodes);
    for (unsigned i = 0; i < bench->nodes; i++)
        bares[i].left = steps;
    for (unsigned open = bench->nodes; open > 0;) {
        open = 0;
        for (unsigned i = 0; i < bench->nodes; i++) {
            while (bare_step(bench, &bares[i], key))
                ;
            short flags =
                (short)((ssh_get_poll_flags(bares[i].session) & SSH_WRITE_PENDING) ? POLLIN | POLLOUT
                                                                                   : POLLIN);
            polls[i] = (struct pollfd){bares[i].left > 0 ? ssh_get_fd(bares[i].session) : -1, flags, 0};
            open += bares[i].left > 0;
        }
        if (open > 0)
            (void)poll(polls, bench->nodes, 20);
    }
    free(polls);
}

static int run_bare(Bench *bench)
{
    static const char curves[] = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256";
    static const char ciphers[] =
        "aes256-gcm@openssh.com,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com";
    ssh_key key = NULL, certificate = NULL;
    if (ssh_pki_import_privkey_file(bench->key_file, NULL, NULL, NULL, &key) != SSH_OK ||
        ssh_pki_import_cert_file(bench->certificate_file, &certificate) != SSH_OK ||
        ssh_pki_copy_cert_to_privkey(certificate, key) != SSH_OK)
        return 1;
    Bare *bares = NEW_ARRAY(Bare, bench->nodes);
    double cpu = cpu_seconds();
    Usec start = clock_monotonic(&system_clock);
    for (unsigned i = 0; i < bench->nodes; i++) {
        char address[32];
        address_of(i, address);
        bares[i].session = ssh_new();
        bool process = false;
        unsigned port = bench->port;
        (void)ssh_options_set(bares[i].session, SSH_OPTIONS_PROCESS_CONFIG, &process);
        (void)ssh_options_set(bares[i].session, SSH_OPTIONS_HOST, address);
        (void)ssh_options_set(bares[i].session, SSH_OPTIONS_PORT, &port);
        (void)ssh_options_set(bares[i].session, SSH_OPTIONS_USER, "root");
        (void)ssh_options_set(bares[i].session, SSH_OPTIONS_NODELAY, &(int){1});
        (void)ssh_options_set(bares[i].session, SSH_OPTIONS_KEY_EXCHANGE, curves);
        (void)ssh_options_set(bares[i].session, SSH_OPTIONS_CIPHERS_C_S, ciphers);
        (void)ssh_options_set(bares[i].session, SSH_OPTIONS_CIPHERS_S_C, ciphers);
        (void)ssh_options_set(bares[i].session, SSH_OPTIONS_HOSTKEYS, "ssh-ed25519");
        ssh_set_blocking(bares[i].session, 0);
    }
    bare_round(bench, bares, key, 1);
    double cold = seconds_since(start), cold_cpu = cpu_seconds() - cpu;
    cpu = cpu_seconds();
    start = clock_monotonic(&system_clock);
    bare_round(bench, bares, key, bench->steps - 1);
    report(bench, "bare", cold, cold_cpu, seconds_since(start), cpu_seconds() - cpu);
    for (unsigned i = 0; i < bench->nodes; i++) {
        ssh_disconnect(bares[i].session);
        ssh_free(bares[i].session);
    }
    free(bares);
    ssh_key_free(certificate);
    ssh_key_free(key);
    return bench->failures > 0;
}

int main(int argc, char **argv)
{
    uint64_t nodes, steps, port;
    if (argc < 8 || string_to_u64(argv[2], 10000, &nodes) < 0 || string_to_u64(argv[3], 10000, &steps) < 0 ||
        nodes == 0 || steps == 0 || string_to_u64(argv[4], 65535, &port) < 0) {
        (void)fputs("usage: bench_ssh ours|bare NODES STEPS PORT HOST-KEY KEY-FILE CERTIFICATE-FILE [hold]\n",
                    stderr);
        return 64;
    }
    Bench bench = {.nodes = (unsigned)nodes,
                   .steps = (unsigned)steps,
                   .port = (uint16_t)port,
                   .host_key = argv[5],
                   .key_file = argv[6],
                   .certificate_file = argv[7],
                   .is_holding = argc > 8};
    (void)ssh_init();
    return string_equal(argv[1], "ours") ? run_ours(&bench) : run_bare(&bench);
}
