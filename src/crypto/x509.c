/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/x509.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/pem.h>
#include <time.h>

#include "base/memory.h"
#include "crypto/x509-internal.h"

int ip_address_parse(const char *text, IpAddress *ret_address)
{
    IpAddress address = {0};

    if (inet_pton(AF_INET, text, address.bytes) == 1)
        address.size = 4;
    else if (inet_pton(AF_INET6, text, address.bytes) == 1)
        address.size = 16;
    else
        return -EINVAL;
    *ret_address = address;
    return 0;
}

void ip_address_format(const IpAddress *address, char destination[static 46])
{
    if (!inet_ntop(address->size == 4 ? AF_INET : AF_INET6, address->bytes, destination, 46))
        destination[0] = '\0';
}

int no_passphrase(char *destination, int capacity, int is_writing, void *userdata)
{
    return -1;
}

char *bio_take_string(BIO *bio)
{
    char *text = NULL;
    long length = BIO_get_mem_data(bio, &text);

    return string_duplicate_n(length > 0 ? text : "", length > 0 ? (size_t)length : 0);
}

Certificate *certificate_wrap(X509 *x509)
{
    Certificate *certificate = NEW(Certificate);

    certificate->certificate = x509;
    return certificate;
}

Certificate *certificate_free(Certificate *certificate)
{
    if (!certificate)
        return NULL;
    X509_free(certificate->certificate);
    free(certificate);
    return NULL;
}

/* Each block of the text must be a certificate; -EBADMSG, -E2BIG. */
static int read_chain(const char *pem, size_t size, STACK_OF(X509) * *ret_chain)
{
    _cleanup_(x509_stack_free) STACK_OF(X509) *chain = sk_X509_new_null();
    _cleanup_(bio_free) BIO *bio = NULL;

    if (size > CHAIN_LIMIT)
        return -E2BIG;
    bio = BIO_new_mem_buf(pem, (int)size);
    if (!bio || !chain)
        return -ENOMEM;
    for (;;) {
        char *name = NULL, *header = NULL;
        unsigned char *data = NULL;
        long length = 0;
        X509 *x509 = NULL;

        if (PEM_read_bio(bio, &name, &header, &data, &length) != 1)
            break;
        if (string_equal(name, PEM_STRING_X509) && string_is_empty(header)) {
            const unsigned char *position = data;

            x509 = d2i_X509(NULL, &position, length);
            if (x509 && position != data + length) {
                X509_free(x509);
                x509 = NULL;
            }
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
        if (!x509) {
            forget_openssl_errors();
            return -EBADMSG;
        }
        if (sk_X509_num(chain) >= CHAIN_LENGTH_MAX || sk_X509_push(chain, x509) <= 0) {
            X509_free(x509);
            return -E2BIG;
        }
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE || sk_X509_num(chain) == 0) {
        forget_openssl_errors();
        return -EBADMSG;
    }
    forget_openssl_errors();
    *ret_chain = TAKE_PTR(chain);
    return 0;
}

int chain_count(const char *pem, size_t size)
{
    _cleanup_(x509_stack_free) STACK_OF(X509) *chain = NULL;
    int r = read_chain(pem, size, &chain);

    return r < 0 ? r : sk_X509_num(chain);
}

static char *x509_to_pem(X509 *x509)
{
    _cleanup_(bio_free) BIO *bio = BIO_new(BIO_s_mem());

    ASSERT(bio && PEM_write_bio_X509(bio, x509) == 1);
    return bio_take_string(bio);
}

char *chain_nth(const char *pem, size_t size, unsigned index)
{
    _cleanup_(x509_stack_free) STACK_OF(X509) *chain = NULL;

    if (read_chain(pem, size, &chain) < 0 || index >= (unsigned)sk_X509_num(chain))
        return NULL;
    return x509_to_pem(sk_X509_value(chain, (int)index));
}

int certificate_from_pem(const char *pem, size_t size, Certificate **ret_certificate, Error *error)
{
    _cleanup_(x509_stack_free) STACK_OF(X509) *chain = NULL;
    int r = read_chain(pem, size, &chain);

    if (r == -E2BIG)
        return error_set(error, ERROR_TOO_LARGE, "more than %d certificates or %d bytes", CHAIN_LENGTH_MAX,
                         CHAIN_LIMIT);
    if (r < 0)
        return error_set(error, ERROR_BAD_DOCUMENT, "the text is not a PEM certificate or a chain of them");
    *ret_certificate = certificate_wrap(sk_X509_shift(chain));
    return 0;
}

char *certificate_to_pem(const Certificate *certificate)
{
    return x509_to_pem(certificate->certificate);
}

bool certificate_matches_key(const Certificate *certificate, const PrivateKey *key)
{
    EVP_PKEY *public_key = X509_get0_pubkey(certificate->certificate);
    bool is_match = public_key && EVP_PKEY_eq(public_key, key->key) == 1;

    forget_openssl_errors();
    return is_match;
}

static char *name_to_text(const X509_NAME *name)
{
    _cleanup_(bio_free) BIO *bio = BIO_new(BIO_s_mem());

    ASSERT(bio);
    /* Escapes everything that is not printable ASCII. */
    (void)X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_UTF8_CONVERT);
    return bio_take_string(bio);
}

static char *common_name_of(const X509_NAME *name)
{
    _cleanup_free_ unsigned char *copy = NULL;
    unsigned char *text = NULL;
    int position = X509_NAME_get_index_by_NID(name, NID_commonName, -1), length;

    if (position < 0)
        return NULL;
    length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, position)));
    if (length < 0)
        return NULL;
    copy = memory_duplicate(text, (size_t)length);
    OPENSSL_free(text);
    if (string_has_control((const char *)copy, (size_t)length, NULL))
        return NULL;
    return string_duplicate_n((const char *)copy, (size_t)length);
}

static Usec time_to_usec(const ASN1_TIME *time)
{
    struct tm parts = {0};
    time_t seconds;

    if (ASN1_TIME_to_tm(time, &parts) != 1)
        return 0;
    seconds = timegm(&parts);
    return seconds < 0 ? 0 : (Usec)seconds * USEC_PER_SEC;
}

static void serial_to_hex(const X509 *x509, char destination[static SERIAL_HEX_SIZE])
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x509);
    size_t length = (size_t)ASN1_STRING_length(serial);

    hex_encode(ASN1_STRING_get0_data(serial), MIN(length, (size_t)(SERIAL_HEX_SIZE - 1) / 2), destination);
}

static void add_ia5(StringList *list, const ASN1_IA5STRING *value)
{
    const char *text = (const char *)ASN1_STRING_get0_data(value);
    size_t length = (size_t)ASN1_STRING_length(value);
    _cleanup_free_ char *copy = NULL;

    /* A name with a NUL or control character is nobody's name. */
    if (length == 0 || string_has_control(text, length, NULL) || !utf8_is_valid(text, length))
        return;
    copy = string_duplicate_n(text, length);
    string_list_append(list, copy);
}

static void read_names(const X509 *x509, CertificateInfo *info)
{
    _cleanup_(general_names_free) GENERAL_NAMES *names =
        X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS)
            add_ia5(&info->dns_names, name->d.dNSName);
        else if (name->type == GEN_URI)
            add_ia5(&info->uris, name->d.uniformResourceIdentifier);
        else if (name->type == GEN_IPADD) {
            int length = ASN1_STRING_length(name->d.iPAddress);
            IpAddress address = {.size = (uint8_t)length};
            char text[46];

            if (length != 4 && length != 16)
                continue;
            memcpy(address.bytes, ASN1_STRING_get0_data(name->d.iPAddress), (size_t)length);
            ip_address_format(&address, text);
            string_list_append(&info->ip_addresses, text);
        }
    }
}

void certificate_info(const Certificate *certificate, CertificateInfo *ret_info)
{
    X509 *x509 = certificate->certificate;
    uint32_t flags = X509_get_extension_flags(x509);
    unsigned char *der = NULL;
    int length;

    *ret_info = (CertificateInfo){
        .subject = name_to_text(X509_get_subject_name(x509)),
        .issuer = name_to_text(X509_get_issuer_name(x509)),
        .common_name = common_name_of(X509_get_subject_name(x509)),
        .not_before = time_to_usec(X509_get0_notBefore(x509)),
        .not_after = time_to_usec(X509_get0_notAfter(x509)),
        .is_ca = flags & EXFLAG_CA,
        .is_self_signed = flags & EXFLAG_SS,
        .path_length = X509_get_pathlen(x509),
    };
    serial_to_hex(x509, ret_info->serial);
    length = i2d_X509(x509, &der);
    if (length > 0)
        hash_sha256_hex(der, (size_t)length, ret_info->fingerprint);
    OPENSSL_free(der);
    der = NULL;
    length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);
    if (length > 0)
        hash_sha256_hex(der, (size_t)length, ret_info->key_fingerprint);
    OPENSSL_free(der);
    read_names(x509, ret_info);
    if (flags & EXFLAG_XKUSAGE) {
        uint32_t usage = X509_get_extended_key_usage(x509);

        ret_info->purposes |= usage & XKU_SSL_SERVER ? CERTIFICATE_SERVER : 0;
        ret_info->purposes |= usage & XKU_SSL_CLIENT ? CERTIFICATE_CLIENT : 0;
    }
    forget_openssl_errors();
}

void certificate_info_done(CertificateInfo *info)
{
    free(info->subject);
    free(info->issuer);
    free(info->common_name);
    string_list_done(&info->dns_names);
    string_list_done(&info->ip_addresses);
    string_list_done(&info->uris);
    *info = (CertificateInfo){0};
}

const char *certificate_info_uri_value(const CertificateInfo *info, const char *prefix)
{
    const char *found = NULL;

    for (size_t i = 0; i < info->uris.count; i++) {
        if (!string_starts_with(info->uris.items[i], prefix))
            continue;
        if (found)
            return NULL;
        found = info->uris.items[i] + strlen(prefix);
    }
    return found;
}

static int prepare_verification(X509_STORE_CTX *context, CertificatePurpose purpose, const char *host,
                                Usec at)
{
    X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
    IpAddress address;

    /* A given CA need not be a root itself. */
    X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
    X509_VERIFY_PARAM_set_depth(parameters, CHAIN_LENGTH_MAX);
    X509_VERIFY_PARAM_set_auth_level(parameters, 2);
    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                                    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (at > 0)
        X509_VERIFY_PARAM_set_time(parameters, (time_t)(at / USEC_PER_SEC));
    if (X509_STORE_CTX_set_purpose(context, purpose == CERTIFICATE_SERVER ? X509_PURPOSE_SSL_SERVER
                                                                          : X509_PURPOSE_SSL_CLIENT) != 1)
        return -EINVAL;
    if (!host)
        return 0;
    if (ip_address_parse(host, &address) >= 0)
        return X509_VERIFY_PARAM_set1_ip(parameters, address.bytes, address.size) == 1 ? 0 : -EINVAL;
    return X509_VERIFY_PARAM_set1_host(parameters, host, 0) == 1 ? 0 : -EINVAL;
}

int certificate_verify(const char *chain_pem, const char *ca_pem, CertificatePurpose purpose,
                       const char *host, Usec at, Error *error)
{
    _cleanup_(x509_stack_free) STACK_OF(X509) *chain = NULL;
    _cleanup_(x509_stack_free) STACK_OF(X509) *authorities = NULL;
    _cleanup_(x509_store_free) X509_STORE *store = X509_STORE_new();
    _cleanup_(x509_store_context_free) X509_STORE_CTX *context = X509_STORE_CTX_new();
    X509 *leaf;
    int r = 0;

    if (read_chain(chain_pem, strlen(chain_pem), &chain) < 0)
        return error_set(error, ERROR_BAD_DOCUMENT, "the certificate is not PEM");
    if (read_chain(ca_pem, strlen(ca_pem), &authorities) < 0)
        return error_set(error, ERROR_BAD_DOCUMENT, "the CA certificate is not PEM");
    leaf = sk_X509_value(chain, 0);
    if (!store || !context)
        return error_set(error, ERROR_INTERNAL, "no memory to verify a certificate");
    for (int i = 0; i < sk_X509_num(authorities); i++)
        if (X509_STORE_add_cert(store, sk_X509_value(authorities, i)) != 1)
            r = -EIO;
    if (r < 0 || X509_STORE_CTX_init(context, store, leaf, chain) != 1 ||
        prepare_verification(context, purpose, host, at) < 0) {
        forget_openssl_errors();
        return error_set(error, ERROR_INTERNAL, "the verification of a certificate could not be set up");
    }
    r = 0;
    /* Without the extension a certificate counts as good for everything; ours always say what they are for.
     */
    if (!(X509_get_extension_flags(leaf) & EXFLAG_XKUSAGE))
        r = error_set(error, ERROR_UNTRUSTED,
                      "the certificate does not say what it is for (extended key usage)");
    else if (X509_verify_cert(context) != 1)
        r = error_set(error, ERROR_UNTRUSTED, "the certificate is not trusted: %s",
                      X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
    forget_openssl_errors();
    return r;
}
