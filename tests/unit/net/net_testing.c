/* SPDX-License-Identifier: Apache-2.0 */
#include "net_testing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/string.h"

/* The framing table. */

static void append_repeated(Buffer *buffer, unsigned count, char character)
{
    for (unsigned i = 0; i < count; i++) {
        if (character == '@')
            assert_true(buffer_append_format(buffer, "X-%u: a\r\n", i) >= 0);
        else if (character == '&')
            assert_true(buffer_append_format(buffer, "&a%u=b", i) >= 0);
        else
            assert_true(buffer_append_byte(buffer, (uint8_t)character) >= 0);
    }
}

static void append_escaped(Buffer *buffer, const char *text)
{
    static const char letters[] = "rnt0\\", bytes[] = "\r\n\t\0\\";

    while (*text) {
        if (*text != '\\') {
            assert_true(buffer_append_byte(buffer, (uint8_t)*text++) >= 0);
            continue;
        }
        const char *letter = memchr(letters, text[1], sizeof(letters) - 1);
        if (letter) {
            assert_true(buffer_append_byte(buffer, (uint8_t)bytes[letter - letters]) >= 0);
            text += 2;
        } else if (text[1] == 'x') {
            char digits[3] = {text[2], text[3]};
            assert_true(buffer_append_byte(buffer, (uint8_t)strtoul(digits, NULL, 16)) >= 0);
            text += 4;
        } else {
            char *colon;
            assert_int_equal(text[1], '{');
            unsigned count = (unsigned)strtoul(text + 2, &colon, 10);
            assert_true(colon[0] == ':' && colon[2] == '}');
            append_repeated(buffer, count, colon[1]);
            text = colon + 3;
        }
    }
}

static void take_table_line(FramingTable *table, const char *line)
{
    FramingCase *last = table->count > 0 ? &table->cases[table->count - 1] : NULL;

    if (string_starts_with(line, "case ")) {
        table->cases = memory_resize_array(table->cases, table->count + 1, sizeof(FramingCase));
        table->cases[table->count++] = (FramingCase){.name = string_duplicate(line + 5)};
    } else if (string_starts_with(line, "expect ")) {
        assert_non_null(last);
        last->expectations =
            memory_resize_array(last->expectations, last->expectation_count + 1, sizeof(char *));
        Buffer expectation = BUFFER_INIT;
        append_escaped(&expectation, line + 7);
        last->expectations[last->expectation_count++] = buffer_take_string(&expectation);
    } else if (string_starts_with(line, "| ")) {
        assert_non_null(last);
        append_escaped(&last->bytes, line + 2);
    } else {
        assert_true(*line == '\0' || *line == '#');
    }
}

FramingTable framing_table_load(void)
{
    FramingTable table = {0};
    char *text;
    size_t size;
    StringList lines = {0};

    assert_int_equal(file_read(FRAMING_TABLE, 1024 * 1024, &text, &size), 0);
    string_list_split(&lines, text, '\n');
    for (size_t i = 0; i < lines.count; i++)
        take_table_line(&table, lines.items[i]);
    string_list_done(&lines);
    free(text);
    return table;
}

void framing_table_done(FramingTable *table)
{
    for (size_t i = 0; i < table->count; i++) {
        FramingCase *one = &table->cases[i];
        for (size_t j = 0; j < one->expectation_count; j++)
            free(one->expectations[j]);
        free(one->expectations);
        free(one->name);
        buffer_done(&one->bytes);
    }
    free(table->cases);
}

/* Certificates. */

typedef struct Issued {
    EVP_PKEY *key;
    X509 *certificate;
} Issued;

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static Issued issue(const Issued *issuer, const char *name, long serial, const char *alternative,
                    const char *usage)
{
    Issued issued = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
    X509 *certificate = issued.certificate;

    assert_non_null(issued.key);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_set_pubkey(certificate, issued.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8, (const uint8_t *)name,
                               -1, -1, 0);
    const Issued *by = issuer ? issuer : &issued;
    X509_set_issuer_name(certificate, X509_get_subject_name(by->certificate));
    add_extension(certificate, by->certificate, NID_subject_key_identifier, "hash");
    add_extension(certificate, by->certificate, NID_authority_key_identifier, "keyid:always");
    add_extension(certificate, by->certificate, NID_basic_constraints,
                  issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    add_extension(certificate, by->certificate, NID_key_usage,
                  issuer ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign");
    if (alternative)
        add_extension(certificate, by->certificate, NID_subject_alt_name, alternative);
    if (usage)
        add_extension(certificate, by->certificate, NID_ext_key_usage, usage);
    assert_true(X509_sign(certificate, by->key, EVP_sha256()) > 0);
    return issued;
}

static void write_pem(const char *path, X509 *certificate, EVP_PKEY *key, mode_t mode)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    if (certificate)
        assert_int_equal(PEM_write_X509(file, certificate), 1);
    if (key)
        assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void issued_done(Issued *issued)
{
    X509_free(issued->certificate);
    EVP_PKEY_free(issued->key);
}

static void place(const TestFiles *files, char path[static 96], const char *name)
{
    assert_int_equal(string_print(path, 96, "%s/%s", files->directory, name), 0);
}

static void write_pair(const TestFiles *files, Issued issued, const char *name, char certificate[static 96],
                       char key[static 96])
{
    char file[48];

    (void)string_print(file, sizeof(file), "%s.pem", name);
    place(files, certificate, file);
    (void)string_print(file, sizeof(file), "%s.key", name);
    place(files, key, file);
    write_pem(certificate, issued.certificate, NULL, 0644);
    write_pem(key, NULL, issued.key, 0600);
    issued_done(&issued);
}

void test_files_make(TestFiles *files)
{
    static const char names[] = "DNS:localhost,IP:127.0.0.1";

    *files = (TestFiles){0};
    (void)string_copy(files->directory, sizeof(files->directory), "/tmp/bastide-net-XXXXXX");
    assert_non_null(mkdtemp(files->directory));
    Issued ca = issue(NULL, "test CA", 1, NULL, NULL), foreign_ca = issue(NULL, "test CA", 1, NULL, NULL);
    place(files, files->ca, "ca.pem");
    place(files, files->foreign_ca, "foreign-ca.pem");
    write_pem(files->ca, ca.certificate, NULL, 0644);
    write_pem(files->foreign_ca, foreign_ca.certificate, NULL, 0644);

    Issued server = issue(&ca, "server", 2, names, "serverAuth");
    place(files, files->open_key, "open.key");
    write_pem(files->open_key, NULL, server.key, 0644);
    write_pair(files, server, "server", files->server, files->server_key);
    write_pair(files, issue(&ca, "server", 3, names, "serverAuth"), "server2", files->server2,
               files->server2_key);
    write_pair(files,
               issue(&ca, "one", 0xabc123, "DNS:x,URI:bastide:provisioner:one,URI:second", "clientAuth"),
               "client", files->client, files->client_key);
    write_pair(files, issue(&foreign_ca, "one", 5, "URI:bastide:provisioner:one", "clientAuth"), "foreign",
               files->foreign, files->foreign_key);
    write_pair(files, issue(&ca, "one", 6, "URI:bastide:provisioner:one", "serverAuth"), "wrong",
               files->wrong_use, files->wrong_use_key);
    write_pair(files, issue(&ca, "elsewhere", 7, "DNS:elsewhere.example", "serverAuth"), "elsewhere",
               files->other_name, files->other_name_key);
    issued_done(&ca);
    issued_done(&foreign_ca);
}

void test_files_remove(TestFiles *files)
{
    const char *const paths[] = {files->ca,          files->foreign_ca, files->server,
                                 files->server_key,  files->server2,    files->server2_key,
                                 files->client,      files->client_key, files->foreign,
                                 files->foreign_key, files->wrong_use,  files->wrong_use_key,
                                 files->open_key,    files->other_name, files->other_name_key};

    for (size_t i = 0; i < ELEMENTSOF(paths); i++)
        (void)unlink(paths[i]);
    assert_int_equal(rmdir(files->directory), 0);
}

/* Clock and server. */

static Usec test_monotonic(const Clock *clock)
{
    return atomic_load(&((const TestClock *)clock)->now);
}

static Usec test_realtime(const Clock *clock)
{
    return atomic_load(&((const TestClock *)clock)->now) + 1700000000 * USEC_PER_SEC;
}

void test_clock_init(TestClock *clock)
{
    clock->clock = (Clock){.monotonic = test_monotonic, .realtime = test_realtime};
    atomic_init(&clock->now, 1000 * USEC_PER_SEC);
}

void test_server_start(TestServer *test, const TestFiles *files, const char *client_ca, bool is_required,
                       const HttpServerHandler *handler, void *userdata, const HttpServerLimits *limits)
{
    Error error = ERROR_INIT;
    TlsServerSettings settings = {.certificate_file = files->server,
                                  .key_file = files->server_key,
                                  .client_ca_file = client_ca,
                                  .is_client_certificate_required = is_required};

    *test = (TestServer){0};
    test_clock_init(&test->clock);
    assert_true(sd_event_new(&test->event) >= 0);
    assert_int_equal(tls_generation_new(&settings, &test->generation, &error), 0);
    assert_int_equal(
        http_server_new(test->event, &test->clock.clock, handler, userdata, limits, &test->server, &error),
        0);
    assert_int_equal(http_server_listen(test->server, "127.0.0.1", 0, test->generation, &test->port, &error),
                     0);
    assert_int_not_equal(test->port, 0);
}

void test_server_stop(TestServer *test)
{
    http_server_free(test->server);
    tls_generation_unref(test->generation);
    sd_event_unref(test->event);
    *test = (TestServer){0};
}

void test_server_run(TestServer *test)
{
    while (sd_event_run(test->event, 0) > 0)
        continue;
}

void test_server_advance(TestServer *test, Usec duration)
{
    while (duration > 0) {
        Usec step = MIN(duration, 250 * USEC_PER_MSEC);
        atomic_fetch_add(&test->clock.now, step);
        duration -= step;
        http_server_turn(test->server);
        test_server_run(test);
    }
}

/* The client. */

/* Gives the server its turn, then waits a moment for the kernel to carry the bytes. */
static void take_turns(TestClient *client, short events)
{
    struct pollfd descriptor = {.fd = client->descriptor, .events = events};

    test_server_run(client->test);
    (void)poll(&descriptor, 1, 5);
    test_server_run(client->test);
}

static int open_socket(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    static const int one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(descriptor >= 0);
    assert_int_equal(connect(descriptor, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fcntl(descriptor, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
    return descriptor;
}

void test_client_connect_plain(TestClient *client, TestServer *test, uint16_t port)
{
    *client = (TestClient){.test = test, .descriptor = open_socket(port)};
    test_server_run(test);
}

int test_client_connect(TestClient *client, TestServer *test, const TestFiles *files, const char *certificate,
                        const char *key)
{
    *client = (TestClient){.test = test, .descriptor = open_socket(test->port)};
    client->context = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_load_verify_file(client->context, files->ca), 1);
    SSL_CTX_set_verify(client->context, SSL_VERIFY_PEER, NULL);
    if (certificate) {
        assert_int_equal(SSL_CTX_use_certificate_file(client->context, certificate, SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(client->context, key, SSL_FILETYPE_PEM), 1);
    }
    client->session = SSL_new(client->context);
    SSL_set_fd(client->session, client->descriptor);
    assert_int_equal(SSL_set1_host(client->session, "localhost"), 1);
    SSL_set_connect_state(client->session);
    for (unsigned i = 0; i < 2000; i++) {
        int r = SSL_do_handshake(client->session);
        if (r == 1) {
            test_server_run(test);
            return 0;
        }
        if (SSL_get_error(client->session, r) != SSL_ERROR_WANT_READ)
            break;
        take_turns(client, POLLIN);
    }
    ERR_clear_error();
    client->is_closed = true;
    return -ECONNABORTED;
}

void test_client_done(TestClient *client)
{
    SSL_free(client->session);
    SSL_CTX_free(client->context);
    (void)close(client->descriptor);
    buffer_done(&client->received);
    if (client->test->server)
        test_server_run(client->test);
}

static ssize_t client_write(TestClient *client, const char *data, size_t size)
{
    if (!client->session) {
        ssize_t count = send(client->descriptor, data, size, MSG_NOSIGNAL);
        return count >= 0 ? count : errno == EAGAIN ? 0 : -EIO;
    }
    int r = SSL_write(client->session, data, (int)MIN(size, (size_t)16384));
    if (r > 0)
        return r;
    int error = SSL_get_error(client->session, r);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? 0 : -EIO;
}

bool test_client_send(TestClient *client, const void *data, size_t size)
{
    size_t sent = 0;

    for (unsigned rounds = 0; sent < size && rounds < 4000; rounds++) {
        ssize_t count = client_write(client, (const char *)data + sent, size - sent);
        if (count < 0)
            return false;
        sent += (size_t)count;
        if (count == 0)
            take_turns(client, POLLOUT);
    }
    test_server_run(client->test);
    return sent == size;
}

bool test_client_send_text(TestClient *client, const char *text)
{
    return test_client_send(client, text, strlen(text));
}

/* Bytes, 0 for none now, -1 at the end. */
static ssize_t client_read(TestClient *client, char *data, size_t size)
{
    if (!client->session) {
        ssize_t count = recv(client->descriptor, data, size, 0);
        return count > 0 ? count : count < 0 && errno == EAGAIN ? 0 : -1;
    }
    int r = SSL_read(client->session, data, (int)size);
    if (r > 0)
        return r;
    int error = SSL_get_error(client->session, r);
    ERR_clear_error();
    client->was_clean = error == SSL_ERROR_ZERO_RETURN;
    return error == SSL_ERROR_WANT_READ ? 0 : -1;
}

void test_client_receive(TestClient *client)
{
    char data[16384];

    for (unsigned quiet = 0; quiet < 3 && !client->is_closed;) {
        ssize_t count = client_read(client, data, sizeof(data));
        if (count > 0) {
            assert_true(buffer_append(&client->received, data, (size_t)count) >= 0);
            quiet = 0;
        } else if (count < 0) {
            client->is_closed = true;
        } else {
            take_turns(client, POLLIN);
            quiet++;
        }
    }
}

void test_answer_header(const TestAnswer *answer, const char *name, char *ret_value, size_t size)
{
    size_t length = strlen(name);

    (void)string_copy(ret_value, size, "");
    for (const char *line = strstr(answer->head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            (void)string_print(ret_value, size, "%.*s", (int)strcspn(line + length + 2, "\r\n"),
                               line + length + 2);
            return;
        }
    }
}

bool test_client_answer(TestClient *client, bool is_head, TestAnswer *ret_answer)
{
    char number[32];

    *ret_answer = (TestAnswer){0};
    const char *text = buffer_string(&client->received);
    const char *end = strstr(text, "\r\n\r\n");
    if (!end)
        return false;
    size_t head_size = (size_t)(end - text) + 4;
    assert_true(head_size < sizeof(ret_answer->head));
    memcpy(ret_answer->head, text, head_size);
    ret_answer->status = (int)strtol(text + 9, NULL, 10);
    test_answer_header(ret_answer, "Content-Length", number, sizeof(number));
    size_t body_size = is_head ? 0 : strtoul(number, NULL, 10);
    assert_true(body_size < sizeof(ret_answer->body));
    if (client->received.size < head_size + body_size)
        return false;
    memcpy(ret_answer->body, text + head_size, body_size);
    ret_answer->body_size = body_size;
    buffer_consume(&client->received, head_size + body_size);
    return true;
}
