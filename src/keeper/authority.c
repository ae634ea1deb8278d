/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/authority.h"

#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "keeper/profiles.h"

enum {
    SETS_MAX = 1000000,
    EARLIER_TRUSTED_MAX = 3,
    RESERVED_NAMES_MAX = 2000,
    RESERVED_LIMIT = RESERVED_NAMES_MAX * 256,
};
#define YEAR (366ull * 24 * 3600 * USEC_PER_SEC)
/* For machines whose clocks are a little behind. */
#define SKEW (300 * USEC_PER_SEC)

static const struct {
    const char *name, *title;
    unsigned purposes;
    bool is_without_hosts;
} issuers[_ISSUER_MAX] = {
    [ISSUER_SERVICES] = {"services", "services", CERTIFICATE_SERVER | CERTIFICATE_CLIENT, false},
    [ISSUER_PROVISIONERS] = {"provisioners", "provisioners", CERTIFICATE_CLIENT, true},
    [ISSUER_CLUSTERS] = {"clusters", "cluster applications", CERTIFICATE_SERVER, false},
};

struct Authority {
    Vault *vault; /* borrowed */
    char *trust;
    char *outer_chain; /* the given CA's chain, when the CA is not self-signed; "" otherwise */
    struct {
        PrivateKey *key;
        Certificate *certificate;
        char *pem;
        Usec not_after;
    } issuers[_ISSUER_MAX];
    StringList reserved; /* host names and addresses of Bastide itself */
};

/* --- making --- */

typedef struct Root {
    PrivateKey *key;
    Certificate *certificate;
    char *pem; /* the CA's certificate and, when given, its chain */
    Usec not_after;
} Root;

static void root_done(Root *root)
{
    (void)private_key_free(root->key);
    (void)certificate_free(root->certificate);
    free(root->pem);
}

static int make_root(const char *organisation, Usec now, Root *root, Error *error)
{
    _cleanup_free_ uint8_t *spki = NULL;
    char title[128], serial[SERIAL_HEX_SIZE];
    CertificateTemplate template = {
        .organisation = organisation,
        .common_name = title,
        .not_before = now - SKEW,
        .not_after = now + 10 * YEAR,
        .is_ca = true,
        .path_length = 1,
    };
    uint8_t mark[4];
    int r;

    /* Two installations of one organisation must not have authorities of the same name. */
    random_bytes(&system_random, mark, sizeof(mark));
    (void)string_print(title, sizeof(title), "Bastide CA %02x%02x%02x%02x", mark[0], mark[1], mark[2],
                       mark[3]);
    r = private_key_generate(KEY_P256, &root->key);
    if (r >= 0)
        r = private_key_public_der(root->key, &spki, &template.spki_size);
    if (r < 0)
        return error_set_errno(error, ERROR_CRYPTO, -r, "no key for the CA");
    template.spki = spki;
    r = certificate_issue(&template, NULL, root->key, &root->certificate, serial, error);
    if (r < 0)
        return r;
    root->pem = certificate_to_pem(root->certificate);
    root->not_after = template.not_after;
    return 0;
}

static int check_given(const Root *root, Usec now, Error *error)
{
    _cleanup_certificate_info_ CertificateInfo info = {0};

    certificate_info(root->certificate, &info);
    if (!certificate_matches_key(root->certificate, root->key))
        return error_set(error, ERROR_BAD_DOCUMENT, "the CA key does not belong to the CA certificate");
    if (!info.is_ca)
        return error_set(error, ERROR_BAD_DOCUMENT,
                         "the CA certificate is not one of an authority (CA:TRUE is missing)");
    if (info.path_length == 0)
        return error_set(
            error, ERROR_BAD_DOCUMENT,
            "the CA certificate has path length 0; Bastide signs intermediates and needs at least 1");
    if (info.purposes != 0 && info.purposes != (CERTIFICATE_SERVER | CERTIFICATE_CLIENT))
        return error_set(error, ERROR_BAD_DOCUMENT,
                         "the CA certificate must be good for TLS servers and clients");
    if (info.not_before > now || info.not_after <= now + 30 * 24 * 3600 * USEC_PER_SEC)
        return error_set(error, ERROR_BAD_DOCUMENT,
                         "the CA certificate must be valid now and for 30 days at least");
    return 0;
}

static int take_root(const char *ca_certificate, const Secret *ca_key, Usec now, Root *root, Error *error)
{
    _cleanup_certificate_info_ CertificateInfo info = {0};
    size_t length = strlen(ca_certificate);
    int r = certificate_from_pem(ca_certificate, length, &root->certificate, error), count;

    if (r >= 0)
        r = private_key_from_pem(secret_bytes(ca_key), secret_size(ca_key), NULL, &root->key, error);
    if (r >= 0)
        r = check_given(root, now, error);
    if (r < 0)
        return r;
    count = chain_count(ca_certificate, length);
    root->pem = string_duplicate("");
    for (int i = 0; i < count; i++) {
        /* Written anew, so that comments between the certificates do not travel. */
        _cleanup_free_ char *one = chain_nth(ca_certificate, length, (unsigned)i), *before = root->pem;

        root->pem = string_format("%s%s", before, one);
    }
    certificate_info(root->certificate, &info);
    root->not_after = info.not_after;
    return 0;
}

static int write_key(Vault *vault, unsigned number, const char *name, const PrivateKey *key, Error *error)
{
    _cleanup_secret_ Secret *pem = NULL;
    char path[64];
    int r = private_key_to_pem(key, &pem);

    if (r < 0)
        return error_set_errno(error, ERROR_CRYPTO, -r, "cannot write the key of %s", name);
    (void)string_print(path, sizeof(path), "ca/%u/%s.key", number, name);
    return vault_write_secret(vault, path, pem, error);
}

static int write_text(Vault *vault, unsigned number, const char *name, const char *text, Error *error)
{
    char path[64];

    (void)string_print(path, sizeof(path), "ca/%u/%s", number, name);
    return vault_write(vault, path, text, strlen(text), error);
}

static int make_issuer(Vault *vault, unsigned number, Issuer issuer, const char *organisation,
                       const Root *root, Usec now, Error *error)
{
    _cleanup_private_key_ PrivateKey *key = NULL;
    _cleanup_certificate_ Certificate *certificate = NULL;
    _cleanup_free_ uint8_t *spki = NULL;
    _cleanup_free_ char *pem = NULL;
    char title[128], file[64], serial[SERIAL_HEX_SIZE];
    CertificateTemplate template = {
        .organisation = organisation,
        .common_name = title,
        .not_before = now - SKEW,
        .not_after = MIN(now + 5 * YEAR, root->not_after),
        .purposes = issuers[issuer].purposes,
        .is_ca = true,
        .path_length = 0,
        .is_without_hosts = issuers[issuer].is_without_hosts,
    };
    int r = private_key_generate(KEY_P256, &key);

    if (r >= 0)
        r = private_key_public_der(key, &spki, &template.spki_size);
    if (r < 0)
        return error_set_errno(error, ERROR_CRYPTO, -r, "no key for an intermediate authority");
    template.spki = spki;
    (void)string_print(title, sizeof(title), "Bastide %s %u", issuers[issuer].title, number);
    r = certificate_issue(&template, root->certificate, root->key, &certificate, serial, error);
    if (r < 0)
        return r;
    pem = certificate_to_pem(certificate);
    (void)string_print(file, sizeof(file), "%s.pem", issuers[issuer].name);
    r = write_text(vault, number, file, pem, error);
    return r < 0 ? r : write_key(vault, number, issuers[issuer].name, key, error);
}

static int read_text(Vault *vault, const char *path, size_t limit, char **ret_text, Error *error)
{
    _cleanup_secret_ Secret *content = NULL;
    int r = vault_read(vault, path, limit, &content, error);

    if (r >= 0)
        *ret_text = string_duplicate_n((const char *)secret_bytes(content), secret_size(content));
    return r;
}

static int read_current(Vault *vault, unsigned *ret_number, Error *error)
{
    _cleanup_free_ char *text = NULL;
    uint64_t number;
    int r = read_text(vault, "ca/current", 16, &text, error);

    if (r < 0)
        return r;
    if (string_to_u64(text, SETS_MAX, &number) < 0 || number == 0)
        return error_set(error, ERROR_CRYPTO, "ca/current is damaged");
    *ret_number = (unsigned)number;
    return 0;
}

/* The new CA, then those of the earlier trust that are still valid. */
static int compose_trust(Vault *vault, unsigned previous, const Root *root, Usec now, char **ret_trust,
                         Error *error)
{
    _cleanup_free_ char *earlier = NULL, *own = NULL, *trust = NULL;
    char path[64];
    int r, count, kept = 0;

    own = chain_nth(root->pem, strlen(root->pem), 0);
    trust = string_duplicate(own);
    (void)string_print(path, sizeof(path), "ca/%u/trust.pem", previous);
    r = previous > 0 ? read_text(vault, path, CHAIN_LIMIT, &earlier, error) : 0;
    if (r < 0)
        return r == -ENOENT ? error_set(error, ERROR_CRYPTO, "%s is missing", path) : r;
    count = earlier ? chain_count(earlier, strlen(earlier)) : 0;
    for (int i = 0; i < count && kept < EARLIER_TRUSTED_MAX; i++) {
        _cleanup_free_ char *one = chain_nth(earlier, strlen(earlier), (unsigned)i), *before = NULL;
        _cleanup_certificate_ Certificate *certificate = NULL;
        _cleanup_certificate_info_ CertificateInfo info = {0};

        if (!one || certificate_from_pem(one, strlen(one), &certificate, NULL) < 0)
            continue;
        certificate_info(certificate, &info);
        if (info.not_after <= now || string_equal(one, own))
            continue;
        before = trust;
        trust = string_format("%s%s", before, one);
        kept++;
    }
    *ret_trust = TAKE_PTR(trust);
    return 0;
}

int authority_create(Vault *vault, const char *organisation, const char *ca_certificate, const Secret *ca_key,
                     Usec now, Error *error)
{
    _cleanup_(root_done) Root root = {0};
    _cleanup_free_ char *trust = NULL;
    char text[16];
    unsigned previous = 0, number;
    int r = read_current(vault, &previous, error);

    if (r < 0 && r != -ENOENT)
        return r;
    number = previous + 1;
    r = ca_certificate ? take_root(ca_certificate, ca_key, now, &root, error)
                       : make_root(organisation, now, &root, error);
    if (r >= 0)
        r = compose_trust(vault, previous, &root, now, &trust, error);
    if (r >= 0)
        r = write_key(vault, number, "root", root.key, error);
    if (r >= 0)
        r = write_text(vault, number, "root.pem", root.pem, error);
    if (r >= 0)
        r = write_text(vault, number, "trust.pem", trust, error);
    for (int issuer = 0; r >= 0 && issuer < _ISSUER_MAX; issuer++)
        r = make_issuer(vault, number, (Issuer)issuer, organisation, &root, now, error);
    if (r < 0)
        return r;
    (void)string_print(text, sizeof(text), "%u", number);
    return vault_write(vault, "ca/current", text, strlen(text), error);
}

/* --- loading --- */

static int load_issuer(Authority *authority, unsigned number, Issuer issuer, Error *error)
{
    _cleanup_certificate_info_ CertificateInfo info = {0};
    _cleanup_secret_ Secret *key = NULL;
    char path[64];
    int r;

    (void)string_print(path, sizeof(path), "ca/%u/%s.pem", number, issuers[issuer].name);
    r = read_text(authority->vault, path, CHAIN_LIMIT, &authority->issuers[issuer].pem, error);
    if (r >= 0)
        r = certificate_from_pem(authority->issuers[issuer].pem, strlen(authority->issuers[issuer].pem),
                                 &authority->issuers[issuer].certificate, error);
    if (r < 0)
        return r;
    (void)string_print(path, sizeof(path), "ca/%u/%s.key", number, issuers[issuer].name);
    r = vault_read(authority->vault, path, KEY_PEM_LIMIT, &key, error);
    if (r >= 0)
        r = private_key_from_pem(secret_bytes(key), secret_size(key), NULL, &authority->issuers[issuer].key,
                                 error);
    if (r < 0)
        return r;
    if (!certificate_matches_key(authority->issuers[issuer].certificate, authority->issuers[issuer].key))
        return error_set(error, ERROR_CRYPTO, "key and certificate of the %s authority do not match",
                         issuers[issuer].name);
    certificate_info(authority->issuers[issuer].certificate, &info);
    authority->issuers[issuer].not_after = info.not_after;
    return 0;
}

static int load_reserved(Authority *authority, Error *error)
{
    _cleanup_free_ char *text = NULL;
    int r = read_text(authority->vault, "ca/reserved", RESERVED_LIMIT, &text, error);

    if (r == -ENOENT)
        return 0;
    if (r >= 0 && *text)
        string_list_split(&authority->reserved, text, '\n');
    return r;
}

static int load_root(Authority *authority, unsigned number, Error *error)
{
    _cleanup_certificate_ Certificate *certificate = NULL;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    _cleanup_free_ char *pem = NULL;
    char path[64];
    int r;

    (void)string_print(path, sizeof(path), "ca/%u/trust.pem", number);
    r = read_text(authority->vault, path, CHAIN_LIMIT, &authority->trust, error);
    if (r < 0)
        return r;
    (void)string_print(path, sizeof(path), "ca/%u/root.pem", number);
    r = read_text(authority->vault, path, CHAIN_LIMIT, &pem, error);
    if (r >= 0)
        r = certificate_from_pem(pem, strlen(pem), &certificate, error);
    if (r < 0)
        return r;
    certificate_info(certificate, &info);
    authority->outer_chain = string_duplicate(info.is_self_signed ? "" : pem);
    return 0;
}

int authority_load(Vault *vault, Authority **ret_authority, Error *error)
{
    _cleanup_(authority_free_pointer) Authority *authority = NEW(Authority);
    unsigned number = 0;
    int r;

    authority->vault = vault;
    r = read_current(vault, &number, error);
    if (r >= 0)
        r = load_root(authority, number, error);
    for (int issuer = 0; r >= 0 && issuer < _ISSUER_MAX; issuer++)
        r = load_issuer(authority, number, (Issuer)issuer, error);
    if (r >= 0)
        r = load_reserved(authority, error);
    if (r == -ENOENT)
        return error_set(error, ERROR_CRYPTO, "files of the certificate authority are missing");
    if (r < 0)
        return r;
    *ret_authority = TAKE_PTR(authority);
    return 0;
}

Authority *authority_free(Authority *authority)
{
    if (!authority)
        return NULL;
    for (int issuer = 0; issuer < _ISSUER_MAX; issuer++) {
        (void)private_key_free(authority->issuers[issuer].key);
        (void)certificate_free(authority->issuers[issuer].certificate);
        free(authority->issuers[issuer].pem);
    }
    string_list_done(&authority->reserved);
    free(authority->trust);
    free(authority->outer_chain);
    free(authority);
    return NULL;
}

const char *authority_trust(const Authority *authority)
{
    return authority->trust;
}

/* --- issuing --- */

/* All host names of an order as text. */
static void collect_hosts(const CertificateOrder *order, StringList *hosts)
{
    for (size_t i = 0; i < order->dns_names.count; i++)
        string_list_append(hosts, order->dns_names.items[i]);
    for (size_t i = 0; i < order->ip_address_count; i++) {
        char text[46];

        ip_address_format(&order->ip_addresses[i], text);
        string_list_append(hosts, text);
    }
}

static int write_reserved(Authority *authority, Error *error)
{
    _cleanup_buffer_ Buffer text = BUFFER_INIT;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < authority->reserved.count; i++)
        r = buffer_append_format(&text, "%s%s", i > 0 ? "\n" : "", authority->reserved.items[i]);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "the reserved names cannot be written");
    return vault_write(authority->vault, "ca/reserved", text.data, text.size, error);
}

static int reserve(Authority *authority, const StringList *hosts, Error *error)
{
    size_t before = authority->reserved.count;

    for (size_t i = 0; i < hosts->count; i++) {
        if (string_list_contains(&authority->reserved, hosts->items[i]))
            continue;
        if (authority->reserved.count >= RESERVED_NAMES_MAX)
            return error_set(error, ERROR_QUOTA, "Bastide's own servers may have at most %d names",
                             RESERVED_NAMES_MAX);
        string_list_append(&authority->reserved, hosts->items[i]);
    }
    return authority->reserved.count > before ? write_reserved(authority, error) : 0;
}

/* True when the name is the reserved one, or a wildcard that covers it. */
static bool covers(const char *name, const char *reserved)
{
    const char *dot;

    if (string_equal(name, reserved))
        return true;
    dot = strchr(reserved, '.');
    return string_starts_with(name, "*.") && dot && string_equal(name + 1, dot);
}

/* Everybody who trusts the CA would take a cluster's certificate with the manager's name for the manager. */
static int check_not_reserved(const Authority *authority, const StringList *hosts, Error *error)
{
    for (size_t i = 0; i < hosts->count; i++)
        for (size_t j = 0; j < authority->reserved.count; j++)
            if (covers(hosts->items[i], authority->reserved.items[j]))
                return error_set_field(error, ERROR_FORBIDDEN, "dns_name",
                                       "\"%.100s\" is a name of Bastide's own servers", hosts->items[i]);
    return 0;
}

static int check_hosts(Authority *authority, const CertificateOrder *order, Error *error)
{
    _cleanup_string_list_ StringList hosts = {0};

    collect_hosts(order, &hosts);
    return order->profile->reserves_names ? reserve(authority, &hosts, error)
                                          : check_not_reserved(authority, &hosts, error);
}

int authority_issue(Authority *authority, const CertificateOrder *order, Usec now, char **ret_chain,
                    char ret_serial[static SERIAL_HEX_SIZE], Error *error)
{
    const Profile *profile = order->profile;
    _cleanup_certificate_ Certificate *certificate = NULL;
    _cleanup_string_list_ StringList uris = {0};
    _cleanup_free_ char *leaf = NULL;
    uint32_t life = order->life_seconds > 0 ? order->life_seconds : profile->usual_life;
    CertificateTemplate template = {
        .spki = order->spki,
        .spki_size = order->spki_size,
        .common_name = order->common_name,
        .dns_names = &order->dns_names,
        .uris = &uris,
        .ip_addresses = order->ip_addresses,
        .ip_address_count = order->ip_address_count,
        .not_before = now - SKEW,
        .not_after = MIN(now + life * USEC_PER_SEC, authority->issuers[profile->issuer].not_after),
        .purposes = profile->purposes,
        .path_length = -1,
    };
    int r = profile_check(order, error);

    if (r >= 0 && !profile->reserves_names)
        r = check_hosts(authority, order, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < order->uris.count; i++)
        string_list_append(&uris, order->uris.items[i]);
    if (profile->marker)
        string_list_append(&uris, profile->marker);
    r = certificate_issue(&template, authority->issuers[profile->issuer].certificate,
                          authority->issuers[profile->issuer].key, &certificate, ret_serial, error);
    /* Reserved before the certificate leaves, but not for an order that failed. */
    if (r >= 0 && profile->reserves_names)
        r = check_hosts(authority, order, error);
    if (r < 0)
        return r;
    leaf = certificate_to_pem(certificate);
    *ret_chain =
        string_format("%s%s%s", leaf, authority->issuers[profile->issuer].pem, authority->outer_chain);
    return 0;
}
