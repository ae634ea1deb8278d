/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/secret.h"
#include "base/string.h"

/* A generation is an SSL_CTX with everything loaded and checked. Sessions hold their own reference to the
 * SSL_CTX, so a reload is: make the next generation, put it into the listener, drop the old one. Sessions are
 * never resumed: tickets and the session cache are off, so a certificate that is refused today has no
 * yesterday to return to. */

struct TlsGeneration {
    atomic_uint references;
    SSL_CTX *context;
};

enum { PEM_LIMIT = 256 * 1024, CHAIN_MAX = 8, VERIFY_DEPTH = 4 };

static const char tls12_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char tls13_ciphers[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static char groups[] = /* not const: OpenSSL's macro casts it away */ "X25519:P-256:P-384";

static BIO_METHOD *socket_method;

static inline void bio_free_pointer(BIO **bio)
{
    BIO_free(*bio);
}
static inline void key_free_pointer(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}
static inline void certificate_free_pointer(X509 **certificate)
{
    X509_free(*certificate);
}

/* Fills the error from OpenSSL's queue and empties it. */
static int crypto_error(Error *error, const char *what, const char *path)
{
    unsigned long code = ERR_peek_last_error();
    char reason[256] = "unknown reason";

    if (code)
        ERR_error_string_n(code, reason, sizeof(reason));
    ERR_clear_error();
    (void)error_set(error, ERROR_CRYPTO, "%s %s", what, path);
    error_add_details(error, "%s", reason);
    return -EINVAL;
}

/* Our own socket BIO: as OpenSSL's, but a peer that is gone is an error and never a SIGPIPE. */
static int socket_write(BIO *bio, const char *data, int size)
{
    ssize_t count = send((int)(intptr_t)BIO_get_data(bio), data, (size_t)size, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)count;
}

static int socket_read(BIO *bio, char *data, int size)
{
    ssize_t count = recv((int)(intptr_t)BIO_get_data(bio), data, (size_t)size, 0);

    BIO_clear_retry_flags(bio);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)count;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *get_socket_method(void)
{
    if (socket_method)
        return socket_method;
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without signal");
    if (!method)
        return NULL;
    (void)BIO_meth_set_write(method, socket_write);
    (void)BIO_meth_set_read(method, socket_read);
    (void)BIO_meth_set_ctrl(method, socket_control);
    return socket_method = method; /* one a process, for its life */
}

/* OpenSSL would ask on the terminal for the passphrase of an encrypted key. */
static int no_passphrase(char *buffer, int size, int is_for_writing, void *userdata)
{
    return -1;
}

/* "http/1.1" or nothing: a client that means another protocol must not end here (ALPACA). */
static int select_protocol(SSL *session, const unsigned char **ret_protocol, unsigned char *ret_length,
                           const unsigned char *offered, unsigned offered_length, void *userdata)
{
    static const char protocol[] = "http/1.1";

    for (unsigned i = 0; i < offered_length; i += 1U + offered[i]) {
        if (offered[i] == sizeof(protocol) - 1 && i + sizeof(protocol) <= offered_length &&
            memcmp(offered + i + 1, protocol, sizeof(protocol) - 1) == 0) {
            *ret_protocol = offered + i + 1;
            *ret_length = offered[i];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int load_chain(SSL_CTX *context, const char *path, Error *error)
{
    _cleanup_free_ char *pem = NULL;
    size_t size;
    int r = file_read(path, PEM_LIMIT, &pem, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read the certificate %s", path);

    _cleanup_(bio_free_pointer) BIO *bio = BIO_new_mem_buf(pem, (int)size);
    if (!bio)
        return crypto_error(error, "cannot read the certificate", path);
    for (unsigned count = 0; count < CHAIN_MAX; count++) {
        _cleanup_(certificate_free_pointer) X509 *certificate =
            PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        if (!certificate) {
            if (count == 0)
                return crypto_error(error, "no certificate in", path);
            ERR_clear_error();
            return 0;
        }
        long is_good = count == 0 ? SSL_CTX_use_certificate(context, certificate)
                                  : SSL_CTX_add1_chain_cert(context, certificate);
        if (is_good != 1)
            return crypto_error(error, "unusable certificate in", path);
    }
    return error_set(error, ERROR_CRYPTO, "more than %d certificates in %s", CHAIN_MAX, path);
}

static int load_key(SSL_CTX *context, const char *path, Error *error)
{
    char *pem = NULL;
    size_t size;
    int r = file_read_private(path, geteuid(), PEM_LIMIT, &pem, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read the private key %s", path);

    _cleanup_(bio_free_pointer) BIO *bio = BIO_new_mem_buf(pem, (int)size);
    _cleanup_(key_free_pointer) EVP_PKEY *key =
        bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    memory_wipe(pem, size);
    free(pem);
    if (!key)
        return crypto_error(error, "no usable private key in", path);
    if (SSL_CTX_use_PrivateKey(context, key) != 1 || SSL_CTX_check_private_key(context) != 1)
        return crypto_error(error, "the certificate does not belong to the private key", path);
    return 0;
}

static int load_client_ca(SSL_CTX *context, const TlsServerSettings *settings, Error *error)
{
    if (!settings->client_ca_file) {
        if (settings->is_client_certificate_required)
            return error_set(error, ERROR_INSECURE,
                             "client certificates are required but no CA for them is given");
        return 0;
    }
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(settings->client_ca_file);
    if (!names || SSL_CTX_load_verify_file(context, settings->client_ca_file) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return crypto_error(error, "no usable client CA in", settings->client_ca_file);
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context,
                       SSL_VERIFY_PEER |
                           (settings->is_client_certificate_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
    SSL_CTX_set_verify_depth(context, VERIFY_DEPTH);
    X509_VERIFY_PARAM *parameters = SSL_CTX_get0_param(context);
    if (X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_CLIENT) != 1 ||
        X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT) != 1)
        return crypto_error(error, "cannot set the verification rules of", settings->client_ca_file);
    return 0;
}

static int set_policy(SSL_CTX *context, Error *error)
{
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, tls12_ciphers) != 1 ||
        SSL_CTX_set_ciphersuites(context, tls13_ciphers) != 1 ||
        SSL_CTX_set1_groups_list(context, groups) != 1 || SSL_CTX_set_num_tickets(context, 0) != 1)
        return crypto_error(error, "cannot set the TLS policy:", "OpenSSL");
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                           SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    /* Idle connections give their record buffers back; a write may go on from a copy of the unsent bytes. */
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    return 0;
}

int tls_generation_new(const TlsServerSettings *settings, TlsGeneration **ret_generation, Error *error)
{
    TlsGeneration *generation = NEW(TlsGeneration);
    int r;

    atomic_init(&generation->references, 1);
    ERR_clear_error();
    generation->context = SSL_CTX_new(TLS_server_method());
    if (!generation->context || !get_socket_method()) {
        r = crypto_error(error, "cannot start", "OpenSSL");
        goto fail;
    }
    if ((r = set_policy(generation->context, error)) < 0 ||
        (r = load_chain(generation->context, settings->certificate_file, error)) < 0 ||
        (r = load_key(generation->context, settings->key_file, error)) < 0 ||
        (r = load_client_ca(generation->context, settings, error)) < 0)
        goto fail;
    *ret_generation = generation;
    return 0;

fail:
    tls_generation_unref(generation);
    return r;
}

TlsGeneration *tls_generation_ref(TlsGeneration *generation)
{
    atomic_fetch_add_explicit(&generation->references, 1, memory_order_relaxed);
    return generation;
}

TlsGeneration *tls_generation_unref(TlsGeneration *generation)
{
    if (generation && atomic_fetch_sub_explicit(&generation->references, 1, memory_order_acq_rel) == 1) {
        SSL_CTX_free(generation->context);
        free(generation);
    }
    return NULL;
}

SSL *tls_generation_session(TlsGeneration *generation, int descriptor)
{
    SSL *session = SSL_new(generation->context);
    BIO *bio = session ? BIO_new(get_socket_method()) : NULL;

    if (!bio) {
        SSL_free(session);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, (void *)(intptr_t)descriptor);
    BIO_set_init(bio, 1);
    SSL_set_bio(session, bio, bio);
    SSL_set_accept_state(session);
    return session;
}

static char *first_uri(X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    char *uri = NULL;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !uri; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        const char *text = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
        int length = ASN1_STRING_length(name->d.uniformResourceIdentifier);
        /* The first URI counts; one that is not plain text counts as none, not as the next. */
        if (length <= 0 || length > 1024 || string_has_control(text, (size_t)length, NULL) ||
            memchr(text, '\0', (size_t)length))
            break;
        uri = string_duplicate_n(text, (size_t)length);
    }
    GENERAL_NAMES_free(names);
    return uri;
}

static char *serial_hex(X509 *certificate)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
    int length = ASN1_STRING_length(serial);
    const unsigned char *bytes = ASN1_STRING_get0_data(serial);

    if (length <= 0 || length > 64)
        return string_duplicate("");
    char *hex = memory_new((size_t)length * 2 + 1);
    hex_encode(bytes, (size_t)length, hex);
    return hex;
}

bool tls_session_peer(SSL *session, char **ret_uri, char **ret_serial)
{
    X509 *certificate = SSL_get0_peer_certificate(session);

    *ret_uri = *ret_serial = NULL;
    if (!certificate || SSL_get_verify_result(session) != X509_V_OK)
        return false;
    *ret_uri = first_uri(certificate);
    *ret_serial = serial_hex(certificate);
    ERR_clear_error();
    return true;
}
