/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/trust.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/x509.h"

enum { ANSWER_LIMIT = 128 * 1024, TIMEOUT_SECONDS = 15 };

void fetched_ca_done(FetchedCa *ca)
{
    free(ca->pem);
    free(ca->subject);
    *ca = (FetchedCa){0};
}

int trust_parse_url(const char *url, char **ret_host, char **ret_port, Error *error)
{
    static const char prefix[] = "https://";
    if (!string_starts_with(url, prefix))
        return error_set(error, ERROR_INSECURE,
                         "the URL must begin with https://, e.g. https://localhost:8443");
    const char *host = url + strlen(prefix);
    bool is_bracketed = *host == '[';
    size_t length = is_bracketed ? strcspn(host + 1, "]") : strcspn(host, ":/");
    const char *rest = host + length + (is_bracketed ? 2 : 0);
    if (is_bracketed && host[1 + length] != ']')
        return error_set(error, ERROR_BAD_REQUEST, "the URL's address lacks its closing bracket");
    _cleanup_free_ char *name = string_duplicate_n(host + is_bracketed, length);
    const char *port = "443";
    size_t port_length = 3;
    if (*rest == ':') {
        port = rest + 1;
        port_length = strcspn(port, "/");
        rest = port + port_length;
    }
    _cleanup_free_ char *port_text = string_duplicate_n(port, port_length);
    int64_t number;
    IpAddress address;
    bool is_host = is_bracketed || hostname_is_valid(name) || ip_address_parse(name, &address) == 0;
    if (!is_host || string_to_i64(port_text, 1, 65535, &number) < 0 ||
        !(string_is_empty(rest) || string_equal(rest, "/")))
        return error_set(error, ERROR_BAD_REQUEST,
                         "the URL must be https://HOST[:PORT] with a host name in small letters");
    *ret_host = TAKE_PTR(name);
    *ret_port = TAKE_PTR(port_text);
    return 0;
}

int trust_parse_fingerprint(const char *text, char ret_fingerprint[static HASH_HEX_SIZE])
{
    size_t count = 0;
    if (strncasecmp(text, "sha256:", 7) == 0)
        text += 7;
    for (; *text; text++) {
        if (*text == ':')
            continue;
        if (!isxdigit((unsigned char)*text) || count + 1 >= HASH_HEX_SIZE)
            return -EINVAL;
        ret_fingerprint[count++] = (char)tolower((unsigned char)*text);
    }
    ret_fingerprint[count] = '\0';
    return count + 1 == HASH_HEX_SIZE ? 0 : -EINVAL;
}

char *trust_format_fingerprint(const char *fingerprint)
{
    Buffer buffer = BUFFER_INIT;
    for (size_t i = 0; fingerprint[i] && fingerprint[i + 1]; i += 2)
        (void)buffer_append_format(&buffer, "%s%c%c", i ? ":" : "", toupper((unsigned char)fingerprint[i]),
                                   toupper((unsigned char)fingerprint[i + 1]));
    return buffer_take_string(&buffer);
}

int trust_read_answer(const char *answer, size_t size, char **ret_body)
{
    const char *end = memmem(answer, size, "\r\n\r\n", 4);
    if (!end || size < 12 || strncmp(answer, "HTTP/1.", 7) != 0 || strncmp(answer + 8, " 200", 4) != 0)
        return -EBADMSG;
    const char *body = end + 4;
    size_t length = size - (size_t)(body - answer);
    if (memchr(body, '\0', length) || chain_count(body, length) < 1)
        return -EBADMSG;
    *ret_body = string_duplicate_n(body, length);
    return 0;
}

/* The connection ---------------------------------------------------------------------------- */

static int connect_to(const char *host, const char *port, Error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *addresses = NULL;
    struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
    int r = getaddrinfo(host, port, &hints, &addresses);
    if (r != 0)
        return error_set(error, ERROR_UNAVAILABLE, "the host '%s' cannot be found: %s", host,
                         gai_strerror(r));
    int descriptor = -1, cause = ECONNREFUSED;
    for (struct addrinfo *address = addresses; address && descriptor < 0; address = address->ai_next) {
        descriptor = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (descriptor < 0)
            continue;
        (void)setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        (void)setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        if (connect(descriptor, address->ai_addr, address->ai_addrlen) < 0) {
            cause = errno;
            (void)close(descriptor);
            descriptor = -1;
        }
    }
    freeaddrinfo(addresses);
    return descriptor >= 0 ? descriptor
                           : error_set_errno(error, ERROR_UNAVAILABLE, cause, "cannot connect to %s, port %s",
                                             host, port);
}

/* The server's certificate and what it sent after it, as PEM. */
static char *peer_chain(SSL *session)
{
    BIO *bio = BIO_new(BIO_s_mem());
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(session);
    char *data = NULL, *pem = NULL;
    for (int i = 0; bio && i < sk_X509_num(chain) && i < CHAIN_LENGTH_MAX; i++)
        (void)PEM_write_bio_X509(bio, sk_X509_value(chain, i));
    long size = bio ? BIO_get_mem_data(bio, &data) : 0;
    if (size > 0)
        pem = string_duplicate_n(data, (size_t)size);
    BIO_free(bio);
    return pem;
}

static int exchange(SSL *session, const char *host, Buffer *answer)
{
    _cleanup_free_ char *request =
        string_format("GET /api/v3.1/ca HTTP/1.1\r\nHost: %s%s%s\r\n"
                      "Connection: close\r\nAccept: */*\r\n\r\n",
                      strchr(host, ':') ? "[" : "", host, strchr(host, ':') ? "]" : "");
    char chunk[4096];
    int size;
    if (SSL_write(session, request, (int)strlen(request)) <= 0)
        return -EPIPE;
    while ((size = SSL_read(session, chunk, sizeof(chunk))) > 0)
        if (buffer_append(answer, chunk, (size_t)size) < 0)
            return -E2BIG;
    return 0;
}

static int fetch(const char *host, const char *port, Buffer *answer, char **ret_chain, Error *error)
{
    _cleanup_close_ int descriptor = connect_to(host, port, error);
    if (descriptor < 0)
        return -ECONNREFUSED;
    IpAddress address;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *session = NULL;
    if (context && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1)
        session = SSL_new(context);
    bool is_good = session && SSL_set_fd(session, descriptor) == 1;
    if (is_good && ip_address_parse(host, &address) < 0)
        is_good = SSL_ctrl(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                           (void *)(uintptr_t)host) == 1; /* the macro for this casts const away */
    int r = is_good && SSL_connect(session) == 1 ? 0 : -EPROTO;
    if (r >= 0)
        r = exchange(session, host, answer);
    if (r >= 0 && !(*ret_chain = peer_chain(session)))
        r = -EPROTO;
    SSL_free(session);
    SSL_CTX_free(context);
    return r < 0 ? error_set(error, ERROR_PROTOCOL, "%s, port %s does not speak TLS as a manager does", host,
                             port)
                 : 0;
}

static int examine(const char *host, const char *chain, FetchedCa *ca, Error *error)
{
    _cleanup_certificate_ Certificate *certificate = NULL;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    int r = certificate_from_pem(ca->pem, strlen(ca->pem), &certificate, error);
    if (r < 0)
        return r;
    certificate_info(certificate, &info);
    if (!info.is_ca)
        return error_set(error, ERROR_UNTRUSTED, "what the server sent is not the certificate of a CA");
    ca->subject = string_duplicate(info.subject);
    memcpy(ca->fingerprint, info.fingerprint, sizeof(ca->fingerprint));
    r = certificate_verify(chain, ca->pem, CERTIFICATE_SERVER, host, 0, error);
    if (r < 0)
        error_prefix(error, "the server's own certificate does not fit the CA it names");
    return r;
}

int trust_fetch(const char *url, FetchedCa *ret_ca, Error *error)
{
    _cleanup_free_ char *host = NULL, *port = NULL, *chain = NULL;
    _cleanup_buffer_ Buffer answer = BUFFER_INIT_LIMIT(ANSWER_LIMIT);
    _cleanup_fetched_ca_ FetchedCa ca = {0};
    int r = trust_parse_url(url, &host, &port, error);
    if (r >= 0)
        r = fetch(host, port, &answer, &chain, error);
    if (r < 0)
        return r;
    if (trust_read_answer(buffer_string(&answer), answer.size, &ca.pem) < 0)
        return error_set(error, ERROR_PROTOCOL, "%s does not answer as a Bastide manager", url);
    r = examine(host, chain, &ca, error);
    if (r < 0)
        return r;
    *ret_ca = ca;
    ca = (FetchedCa){0};
    return 0;
}
