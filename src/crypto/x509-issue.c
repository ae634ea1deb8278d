/* SPDX-License-Identifier: Apache-2.0 */
/* Signing requests and the building of certificates. */

#include <errno.h>
#include <openssl/pem.h>

#include "base/memory.h"
#include "base/secret.h"
#include "crypto/x509-internal.h"

static const EVP_MD *digest_for(const PrivateKey *key)
{
    KeyType type = private_key_type(key);

    if (type == KEY_ED25519)
        return NULL;
    return type == KEY_P384 ? EVP_sha384() : EVP_sha256();
}

static int add_name_part(X509_NAME *name, int nid, const char *value)
{
    if (!value)
        return 0;
    return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0) == 1
               ? 0
               : -EINVAL;
}

static int add_ia5_name(GENERAL_NAMES *names, int type, const char *text)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();

    if (!name || !value || ASN1_STRING_set(value, text, -1) != 1) {
        GENERAL_NAME_free(name);
        ASN1_IA5STRING_free(value);
        return -ENOMEM;
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(names, name) > 0)
        return 0;
    GENERAL_NAME_free(name);
    return -ENOMEM;
}

static GENERAL_NAME *address_name(const uint8_t *bytes, size_t size)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();

    if (!name || !value || ASN1_OCTET_STRING_set(value, bytes, (int)size) != 1) {
        GENERAL_NAME_free(name);
        ASN1_OCTET_STRING_free(value);
        return NULL;
    }
    GENERAL_NAME_set0_value(name, GEN_IPADD, value);
    return name;
}

static int add_address_name(GENERAL_NAMES *names, const IpAddress *address)
{
    GENERAL_NAME *name = address_name(address->bytes, address->size);

    if (name && sk_GENERAL_NAME_push(names, name) > 0)
        return 0;
    GENERAL_NAME_free(name);
    return -ENOMEM;
}

/* --- requests --- */

static int add_request_names(X509_REQ *request, const StringList *dns_names)
{
    _cleanup_(general_names_free) GENERAL_NAMES *names = NULL;
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    int r = 0;

    if (!dns_names || dns_names->count == 0)
        return 0;
    names = sk_GENERAL_NAME_new_null();
    for (size_t i = 0; names && r >= 0 && i < dns_names->count; i++)
        r = add_ia5_name(names, GEN_DNS, dns_names->items[i]);
    if (!names || r < 0)
        return -ENOMEM;
    if (X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) != 1 ||
        X509_REQ_add_extensions(request, extensions) != 1)
        r = -EIO;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return r;
}

int csr_make(const PrivateKey *key, const char *common_name, const StringList *dns_names, char **ret_pem)
{
    _cleanup_(x509_request_free) X509_REQ *request = X509_REQ_new();
    _cleanup_(bio_free) BIO *bio = BIO_new(BIO_s_mem());
    int r;

    if (!request || !bio)
        return -ENOMEM;
    r = add_name_part(X509_REQ_get_subject_name(request), NID_commonName, common_name);
    if (r >= 0)
        r = add_request_names(request, dns_names);
    if (r < 0)
        return r;
    if (X509_REQ_set_version(request, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_pubkey(request, key->key) != 1 ||
        X509_REQ_sign(request, key->key, digest_for(key)) <= 0 || PEM_write_bio_X509_REQ(bio, request) != 1) {
        forget_openssl_errors();
        return -EIO;
    }
    *ret_pem = bio_take_string(bio);
    return 0;
}

static bool begins_as_request(const char *pem, size_t size)
{
    static const char *const lines[] = {"-----BEGIN CERTIFICATE REQUEST-----",
                                        "-----BEGIN NEW CERTIFICATE REQUEST-----"};

    for (size_t i = 0; i < ELEMENTSOF(lines); i++)
        if (size > strlen(lines[i]) && memcmp(pem, lines[i], strlen(lines[i])) == 0)
            return true;
    return false;
}

int csr_parse(const char *pem, size_t size, uint8_t **ret_spki, size_t *ret_spki_size, Error *error)
{
    _cleanup_(x509_request_free) X509_REQ *request = NULL;
    _cleanup_(bio_free) BIO *bio = NULL;
    unsigned char *der = NULL;
    EVP_PKEY *key;
    int length, r;

    if (size > CSR_LIMIT)
        return error_set(error, ERROR_TOO_LARGE, "a signing request may have at most %d bytes", CSR_LIMIT);
    if (!begins_as_request(pem, size))
        return error_set(error, ERROR_BAD_FIELD,
                         "a signing request must be PEM and begin with its BEGIN line");
    bio = BIO_new_mem_buf(pem, (int)size);
    request = bio ? PEM_read_bio_X509_REQ(bio, NULL, no_passphrase, NULL) : NULL;
    key = request ? X509_REQ_get0_pubkey(request) : NULL;
    forget_openssl_errors();
    if (!key)
        return error_set(error, ERROR_BAD_FIELD,
                         "the signing request is damaged or has a key of an unknown kind");
    r = key_check_policy(key, "the key of the signing request", NULL, error);
    if (r < 0)
        return r;
    r = X509_REQ_verify(request, key);
    forget_openssl_errors();
    if (r != 1)
        return error_set(
            error, ERROR_UNTRUSTED,
            "the signing request is not signed with its own key, so possession of the key is not proved");
    length = i2d_PUBKEY(key, &der);
    if (length <= 0 || length > PUBLIC_KEY_LIMIT) {
        OPENSSL_free(der);
        return error_set(error, ERROR_BAD_FIELD, "the key of the signing request is too long");
    }
    *ret_spki = memory_duplicate(der, (size_t)length);
    *ret_spki_size = (size_t)length;
    OPENSSL_free(der);
    return 0;
}

/* --- certificates --- */

static int add_extension(X509 *x509, int nid, void *value, bool is_critical)
{
    return X509_add1_ext_i2d(x509, nid, value, is_critical, X509V3_ADD_DEFAULT) == 1 ? 0 : -EIO;
}

static int add_text_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
    _cleanup_(x509_extension_free) X509_EXTENSION *extension = NULL;
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&context);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    return extension && X509_add_ext(x509, extension, -1) == 1 ? 0 : -EIO;
}

static int add_subject_names(X509 *x509, const CertificateTemplate *template)
{
    _cleanup_(general_names_free) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    int r = names ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && template->dns_names && i < template->dns_names->count; i++)
        r = add_ia5_name(names, GEN_DNS, template->dns_names->items[i]);
    for (size_t i = 0; r >= 0 && i < template->ip_address_count; i++)
        r = add_address_name(names, &template->ip_addresses[i]);
    for (size_t i = 0; r >= 0 && template->uris && i < template->uris->count; i++)
        r = add_ia5_name(names, GEN_URI, template->uris->items[i]);
    if (r < 0 || sk_GENERAL_NAME_num(names) == 0)
        return r;
    return add_extension(x509, NID_subject_alt_name, names,
                         X509_NAME_entry_count(X509_get_subject_name(x509)) == 0);
}

static int exclude(NAME_CONSTRAINTS *constraints, GENERAL_NAME *base)
{
    GENERAL_SUBTREE *subtree = base ? GENERAL_SUBTREE_new() : NULL;

    if (!subtree) {
        GENERAL_NAME_free(base);
        return -ENOMEM;
    }
    GENERAL_NAME_free(subtree->base);
    subtree->base = base;
    if (sk_GENERAL_SUBTREE_push(constraints->excludedSubtrees, subtree) > 0)
        return 0;
    GENERAL_SUBTREE_free(subtree);
    return -ENOMEM;
}

/* Every DNS name (the empty suffix) and every address (masks of zero bits) is excluded. */
static int add_no_hosts(X509 *x509)
{
    static const uint8_t zeros[32];
    NAME_CONSTRAINTS *constraints = NAME_CONSTRAINTS_new();
    _cleanup_(general_names_free) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    int r = constraints && names ? 0 : -ENOMEM;

    if (r >= 0) {
        constraints->excludedSubtrees = sk_GENERAL_SUBTREE_new_null();
        r = constraints->excludedSubtrees ? add_ia5_name(names, GEN_DNS, "") : -ENOMEM;
    }
    if (r >= 0)
        r = exclude(constraints, sk_GENERAL_NAME_pop(names));
    if (r >= 0)
        r = exclude(constraints, address_name(zeros, 8));
    if (r >= 0)
        r = exclude(constraints, address_name(zeros, 32));
    if (r >= 0)
        r = add_extension(x509, NID_name_constraints, constraints, true);
    NAME_CONSTRAINTS_free(constraints);
    return r;
}

static int add_usages(X509 *x509, X509 *issuer, const CertificateTemplate *template)
{
    static const char *const purposes[] = {NULL, "serverAuth", "clientAuth", "serverAuth,clientAuth"};
    char basic[64] = "critical,CA:FALSE";
    int r = 0;

    if (template->is_ca && template->path_length >= 0)
        r = string_print(basic, sizeof(basic), "critical,CA:TRUE,pathlen:%d", template->path_length);
    else if (template->is_ca)
        r = string_copy(basic, sizeof(basic), "critical,CA:TRUE");
    if (r >= 0)
        r = add_text_extension(x509, issuer, NID_basic_constraints, basic);
    if (r >= 0)
        r = add_text_extension(x509, issuer, NID_key_usage,
                               template->is_ca ? "critical,keyCertSign,cRLSign"
                                               : "critical,digitalSignature");
    if (r >= 0 && template->purposes)
        r = add_text_extension(x509, issuer, NID_ext_key_usage, purposes[template->purposes & 3]);
    if (r >= 0)
        r = add_text_extension(x509, issuer, NID_subject_key_identifier, "hash");
    if (r >= 0 && issuer != x509)
        r = add_text_extension(x509, issuer, NID_authority_key_identifier, "keyid:always");
    if (r >= 0 && template->is_without_hosts)
        r = add_no_hosts(x509);
    return r;
}

static int set_serial(X509 *x509)
{
    uint8_t bytes[20];

    random_bytes(&system_random, bytes, sizeof(bytes));
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, always 20 bytes */
    return ASN1_STRING_set(X509_get_serialNumber(x509), bytes, sizeof(bytes)) == 1 ? 0 : -ENOMEM;
}

static int fill(X509 *x509, X509 *issuer, EVP_PKEY *subject_key, const CertificateTemplate *template)
{
    X509_NAME *name = X509_get_subject_name(x509);
    int r = set_serial(x509);

    if (r < 0)
        return r;
    if (X509_set_version(x509, X509_VERSION_3) != 1 || X509_set_pubkey(x509, subject_key) != 1 ||
        !ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)(template->not_before / USEC_PER_SEC)) ||
        !ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)(template->not_after / USEC_PER_SEC)))
        return -EIO;
    r = add_name_part(name, NID_organizationName, template->organisation);
    if (r >= 0)
        r = add_name_part(name, NID_commonName, template->common_name);
    if (r < 0)
        return r;
    if (X509_set_issuer_name(x509, X509_get_subject_name(issuer)) != 1)
        return -EIO;
    r = add_usages(x509, issuer, template);
    return r < 0 ? r : add_subject_names(x509, template);
}

int certificate_issue(const CertificateTemplate *template, const Certificate *issuer,
                      const PrivateKey *issuer_key, Certificate **ret_certificate,
                      char ret_serial[static SERIAL_HEX_SIZE], Error *error)
{
    _cleanup_(x509_free) X509 *x509 = X509_new();
    _cleanup_(evp_key_free) EVP_PKEY *subject_key = NULL;
    int r = public_key_decode(template->spki, template->spki_size, &subject_key, NULL, error);

    if (r < 0)
        return r;
    if (!x509 || template->not_after <= template->not_before)
        return error_set(error, ERROR_INTERNAL, "a certificate without a life cannot be built");
    r = fill(x509, issuer ? issuer->certificate : x509, subject_key, template);
    if (r >= 0 && X509_sign(x509, issuer_key->key, digest_for(issuer_key)) <= 0)
        r = -EIO;
    forget_openssl_errors();
    if (r < 0)
        return error_set_errno(error, ERROR_CRYPTO, -r, "the certificate could not be built");
    hex_encode(ASN1_STRING_get0_data(X509_get0_serialNumber(x509)), 20, ret_serial);
    *ret_certificate = certificate_wrap(TAKE_PTR(x509));
    return 0;
}
