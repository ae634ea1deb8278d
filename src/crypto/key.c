/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/key.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/key-internal.h"

static const struct {
    const char *name, *group;
    int openssl_type;
} key_types[_KEY_TYPE_MAX] = {
    [KEY_P256] = {"P-256", "prime256v1", EVP_PKEY_EC},
    [KEY_P384] = {"P-384", "secp384r1", EVP_PKEY_EC},
    [KEY_ED25519] = {"Ed25519", NULL, EVP_PKEY_ED25519},
    [KEY_RSA] = {"RSA", NULL, EVP_PKEY_RSA},
};

const char *key_type_to_string(KeyType type)
{
    return type >= 0 && type < _KEY_TYPE_MAX ? key_types[type].name : NULL;
}

static PrivateKey *wrap(EVP_PKEY *key, KeyType type)
{
    PrivateKey *private_key = NEW(PrivateKey);

    private_key->key = key;
    private_key->type = type;
    return private_key;
}

int private_key_generate(KeyType type, PrivateKey **ret_key)
{
    EVP_PKEY *key = NULL;

    if (type == KEY_ED25519)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else if (type == KEY_P256 || type == KEY_P384)
        key = EVP_EC_gen(key_types[type].group);
    else
        return -EINVAL;
    if (!key)
        return -EIO;
    *ret_key = wrap(key, type);
    return 0;
}

PrivateKey *private_key_free(PrivateKey *key)
{
    if (!key)
        return NULL;
    EVP_PKEY_free(key->key);
    free(key);
    return NULL;
}

static int check_rsa(const EVP_PKEY *key, const char *what, Error *error)
{
    _cleanup_(bignum_free) BIGNUM *exponent = NULL;
    int bits = EVP_PKEY_get_bits(key);

    if (bits < KEY_RSA_BITS_MINIMUM || bits > KEY_RSA_BITS_MAXIMUM)
        return error_set(error, ERROR_INSECURE, "%s is an RSA key of %d bits; %d to %d are accepted", what,
                         bits, KEY_RSA_BITS_MINIMUM, KEY_RSA_BITS_MAXIMUM);
    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) != 1 || !BN_is_odd(exponent) ||
        BN_num_bits(exponent) < 17 || BN_num_bits(exponent) > 64)
        return error_set(error, ERROR_INSECURE, "%s is an RSA key with an unusual public exponent; use 65537",
                         what);
    return 0;
}

static int check_curve(const EVP_PKEY *key, const char *what, KeyType *ret_type, Error *error)
{
    _cleanup_(evp_key_context_free) EVP_PKEY_CTX *context = NULL;
    char group[64] = "", encoding[32] = "";
    size_t length;

    if (EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), &length) != 1 ||
        EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, encoding, sizeof(encoding),
                                       &length) != 1 ||
        !string_equal(encoding, OSSL_PKEY_EC_ENCODING_GROUP))
        return error_set(error, ERROR_INSECURE,
                         "%s is on a curve without a name; P-256 and P-384 are accepted", what);
    if (string_equal(group, key_types[KEY_P256].group))
        *ret_type = KEY_P256;
    else if (string_equal(group, key_types[KEY_P384].group))
        *ret_type = KEY_P384;
    else
        return error_set(error, ERROR_INSECURE, "%s is on the curve %s; P-256 and P-384 are accepted", what,
                         group);
    /* These curves have a prime order, so a point of the curve that is not zero is a good one: the quick
     * check is a whole one. */
    context = EVP_PKEY_CTX_new_from_pkey(NULL, (EVP_PKEY *)(uintptr_t)key, NULL);
    if (!context || EVP_PKEY_public_check_quick(context) != 1)
        return error_set(error, ERROR_INSECURE, "%s is not a point of its curve", what);
    return 0;
}

int key_check_policy(const EVP_PKEY *key, const char *what, KeyType *ret_type, Error *error)
{
    KeyType type = _KEY_TYPE_INVALID;
    int r = 0;

    if (EVP_PKEY_is_a(key, "ED25519"))
        type = KEY_ED25519;
    else if (EVP_PKEY_is_a(key, "RSA")) {
        type = KEY_RSA;
        r = check_rsa(key, what, error);
    } else if (EVP_PKEY_is_a(key, "EC"))
        r = check_curve(key, what, &type, error);
    else
        r = error_set(error, ERROR_INSECURE,
                      "%s is of a kind that is not accepted (P-256, P-384, Ed25519 or RSA)", what);
    if (r >= 0 && ret_type)
        *ret_type = type;
    forget_openssl_errors();
    return r;
}

/* Asked by OpenSSL for an encrypted PEM; without a passphrase it must not ask the terminal. */
static int give_passphrase(char *destination, int capacity, int is_writing, void *userdata)
{
    const Secret *passphrase = userdata;

    if (!passphrase || capacity < 0 || secret_size(passphrase) > (size_t)capacity)
        return -1;
    memcpy(destination, secret_bytes(passphrase), secret_size(passphrase));
    return (int)secret_size(passphrase);
}

int private_key_from_pem(const void *pem, size_t size, const Secret *passphrase, PrivateKey **ret_key,
                         Error *error)
{
    _cleanup_(evp_key_free) EVP_PKEY *key = NULL;
    _cleanup_(bio_free) BIO *bio = NULL;
    KeyType type;
    int r;

    if (size > KEY_PEM_LIMIT)
        return error_set(error, ERROR_TOO_LARGE, "a private key of more than %d bytes is not accepted",
                         KEY_PEM_LIMIT);
    bio = BIO_new_mem_buf(pem, (int)size);
    key = bio ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, (void *)(uintptr_t)passphrase) : NULL;
    forget_openssl_errors();
    if (!key)
        return error_set(error, ERROR_BAD_DOCUMENT,
                         passphrase ? "the private key is not PEM, or its passphrase is another"
                                    : "the private key is not unencrypted PEM");
    r = key_check_policy(key, "the private key", &type, error);
    if (r < 0)
        return r;
    *ret_key = wrap(TAKE_PTR(key), type);
    return 0;
}

int private_key_to_pem(const PrivateKey *key, Secret **ret_pem)
{
    /* Secure memory BIO: its buffer is wiped when it is freed. */
    _cleanup_(bio_free) BIO *bio = BIO_new(BIO_s_secmem());
    char *text;
    long length;

    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key->key, NULL, NULL, 0, NULL, NULL) != 1)
        return -EIO;
    length = BIO_get_mem_data(bio, &text);
    if (length <= 0)
        return -EIO;
    *ret_pem = secret_new(text, (size_t)length);
    return *ret_pem ? 0 : -ENOMEM;
}

int private_key_write(const PrivateKey *key, const char *path)
{
    _cleanup_secret_ Secret *pem = NULL;
    int r = private_key_to_pem(key, &pem);

    if (r < 0)
        return r;
    return file_write_new(path, secret_bytes(pem), secret_size(pem), 0600);
}

int private_key_read(const char *path, PrivateKey **ret_key, Error *error)
{
    char *text = NULL;
    size_t size = 0;
    int r = file_read_private(path, geteuid(), KEY_PEM_LIMIT, &text, &size);

    if (r == -EPERM)
        return error_set(error, ERROR_INSECURE,
                         "%s must be a plain file that only its owner can read (mode 0600)", path);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read the private key %s", path);
    r = private_key_from_pem(text, size, NULL, ret_key, error);
    memory_wipe(text, size);
    free(text);
    return r;
}

KeyType private_key_type(const PrivateKey *key)
{
    return key->type;
}

int private_key_public_der(const PrivateKey *key, uint8_t **ret_spki, size_t *ret_size)
{
    unsigned char *der = NULL;
    int length = i2d_PUBKEY(key->key, &der);

    if (length <= 0)
        return -EIO;
    *ret_spki = memory_duplicate(der, (size_t)length);
    *ret_size = (size_t)length;
    OPENSSL_free(der);
    return 0;
}

int public_key_decode(const uint8_t *spki, size_t size, EVP_PKEY **ret_key, KeyType *ret_type, Error *error)
{
    _cleanup_(evp_key_free) EVP_PKEY *key = NULL;
    const unsigned char *position = spki;
    unsigned char *again = NULL;
    bool is_canonical;
    int length, r;

    if (size == 0 || size > PUBLIC_KEY_LIMIT)
        return error_set(error, ERROR_BAD_FIELD, "the public key must have 1 to %d bytes", PUBLIC_KEY_LIMIT);
    key = d2i_PUBKEY(NULL, &position, (long)size);
    if (!key) {
        forget_openssl_errors();
        return error_set(error, ERROR_BAD_FIELD,
                         "the public key is not a SubjectPublicKeyInfo of a known kind");
    }
    r = key_check_policy(key, "the public key", ret_type, error);
    if (r < 0)
        return r;
    length = i2d_PUBKEY(key, &again);
    is_canonical = length > 0 && (size_t)length == size && memcmp(again, spki, size) == 0;
    OPENSSL_free(again);
    if (!is_canonical)
        return error_set(error, ERROR_BAD_FIELD, "the public key is not encoded canonically");
    *ret_key = TAKE_PTR(key);
    return 0;
}

int public_key_check(const uint8_t *spki, size_t size, KeyType *ret_type, Error *error)
{
    _cleanup_(evp_key_free) EVP_PKEY *key = NULL;

    return public_key_decode(spki, size, &key, ret_type, error);
}
