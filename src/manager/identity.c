/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/identity.h"

#include <errno.h>
#include <pthread.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/secret.h"
#include "crypto/key.h"
#include "crypto/x509.h"

enum { IDENTITY_LIFE_SECONDS = 30 * 86400, ADDRESSES_MAX = 32 };

typedef struct IdentityDescription {
    const char *name, *profile;
} IdentityDescription;

static const IdentityDescription identities[_IDENTITY_MAX] = {
    [IDENTITY_EXTERNAL] = {"external", "external-server"},
    [IDENTITY_INTERNAL] = {"internal", "internal-server"},
};

static char *identity_path(const ManagerConfig *config, const char *name, const char *suffix)
{
    return string_format("%s/tls/%s%s", config->directory, name, suffix);
}

/* Chain and key in one file. */
static char *given_path(const ManagerConfig *config, IdentityKind kind)
{
    return identity_path(config, identities[kind].name, ".given.pem");
}

bool identity_is_given(const ManagerConfig *config, IdentityKind kind)
{
    _cleanup_free_ char *path = given_path(config, kind);
    return access(path, F_OK) == 0;
}

char *identity_key_path(const ManagerConfig *config, IdentityKind kind)
{
    return identity_is_given(config, kind) ? given_path(config, kind)
                                           : identity_path(config, identities[kind].name, ".key");
}

char *identity_chain_path(const ManagerConfig *config, IdentityKind kind)
{
    return identity_is_given(config, kind) ? given_path(config, kind)
                                           : identity_path(config, identities[kind].name, ".crt");
}

int identity_read_chain(const ManagerConfig *config, IdentityKind kind, char **ret_chain)
{
    _cleanup_free_ char *path = identity_chain_path(config, kind), *content = NULL;
    size_t size;
    int r = file_read(path, CHAIN_LIMIT + KEY_PEM_LIMIT, &content, &size);
    if (r < 0)
        return r;
    _cleanup_buffer_ Buffer chain = BUFFER_INIT;
    const char *begin = content, *end;
    static const char FIRST[] = "-----BEGIN CERTIFICATE-----", LAST[] = "-----END CERTIFICATE-----";
    while (r >= 0 && (begin = strstr(begin, FIRST)) && (end = strstr(begin, LAST))) {
        end += strlen(LAST);
        r = buffer_append(&chain, begin, (size_t)(end - begin));
        if (r >= 0)
            r = buffer_append_byte(&chain, '\n');
        begin = end;
    }
    memory_wipe(content, size);
    if (r >= 0)
        *ret_chain = string_duplicate(buffer_string(&chain));
    return MIN(r, 0);
}

IdentityKind identity_kind_from_string(const char *name)
{
    for (IdentityKind kind = 0; kind < _IDENTITY_MAX; kind++)
        if (string_equal(identities[kind].name, name))
            return kind;
    return (IdentityKind)-EINVAL;
}

const char *identity_kind_to_string(IdentityKind kind)
{
    return identities[kind].name;
}

char *identity_ca_path(const ManagerConfig *config)
{
    return identity_path(config, "ca", ".crt");
}

typedef struct Names {
    StringList dns_names;
    IpAddress addresses[ADDRESSES_MAX];
    size_t address_count;
} Names;

static void add_name(Names *names, const char *text)
{
    IpAddress address;
    if (ip_address_parse(text, &address) < 0) {
        if (hostname_is_valid(text) && !string_list_contains(&names->dns_names, text))
            string_list_append(&names->dns_names, text);
        return;
    }
    bool is_wildcard = true;
    for (size_t i = 0; i < address.size; i++)
        is_wildcard &= address.bytes[i] == 0;
    for (size_t i = 0; i < names->address_count; i++)
        if (names->addresses[i].size == address.size &&
            memcmp(names->addresses[i].bytes, address.bytes, address.size) == 0)
            return;
    if (!is_wildcard && names->address_count < ADDRESSES_MAX)
        names->addresses[names->address_count++] = address;
}

static void collect_names(const ManagerConfig *config, IdentityKind kind, Names *names)
{
    char hostname[254];
    add_name(names, "localhost");
    add_name(names, "127.0.0.1");
    add_name(names, "::1");
    if (gethostname(hostname, sizeof(hostname)) == 0)
        add_name(names, hostname);
    add_name(names, kind == IDENTITY_EXTERNAL ? config->external_address : config->internal_address);
    for (size_t i = 0; i < config->management_addresses.count; i++)
        add_name(names, config->management_addresses.items[i]);
}

/* The first name or address that is missing; owned, NULL when all are there. */
static char *find_missing(const CertificateInfo *info, const Names *names)
{
    for (size_t i = 0; i < names->dns_names.count; i++)
        if (!string_list_contains(&info->dns_names, names->dns_names.items[i]))
            return string_duplicate(names->dns_names.items[i]);
    for (size_t i = 0; i < names->address_count; i++) {
        char text[46];
        ip_address_format(&names->addresses[i], text);
        if (!string_list_contains(&info->ip_addresses, text))
            return string_duplicate(text);
    }
    return NULL;
}

static bool covers(const CertificateInfo *info, const Names *names)
{
    _cleanup_free_ char *missing = find_missing(info, names);
    return !missing;
}

/* Good while it is there, matches its key, names every address and has a third of its life left. */
static bool is_good(const ManagerConfig *config, IdentityKind kind, const Names *names, const char *ca)
{
    _cleanup_free_ char *path = identity_chain_path(config, kind), *chain = NULL;
    size_t size;
    _cleanup_certificate_ Certificate *certificate = NULL;
    Error error = ERROR_INIT;
    if (file_read(path, CHAIN_LIMIT, &chain, &size) < 0 ||
        certificate_from_pem(chain, size, &certificate, &error) < 0 ||
        certificate_verify(chain, ca, CERTIFICATE_SERVER, NULL, 0, &error) < 0)
        return false;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    certificate_info(certificate, &info);
    Usec now = clock_realtime(&system_clock);
    return covers(&info, names) && info.not_after > now &&
           info.not_after - now > (info.not_after - info.not_before) / 3;
}

static int issue(const ManagerConfig *config, IdentityKind kind, const Names *names, KeeperClient *keeper,
                 Error *error)
{
    _cleanup_free_ char *key_path = identity_key_path(config, kind),
                        *chain_path = identity_chain_path(config, kind);
    _cleanup_private_key_ PrivateKey *key = NULL;
    _cleanup_free_ uint8_t *spki = NULL;
    size_t spki_size;
    _cleanup_free_ char *chain = NULL;
    char serial[SERIAL_HEX_SIZE];
    int r = private_key_generate(KEY_P256, &key);
    if (r < 0)
        return error_set_errno(error, ERROR_CRYPTO, -r, "Making a key");
    r = private_key_public_der(key, &spki, &spki_size);
    if (r < 0)
        return error_set_errno(error, ERROR_CRYPTO, -r, "Reading the public key");
    r = keeper_client_issue_certificate(keeper,
                                        &(KeeperCertificateRequest){.profile = identities[kind].profile,
                                                                    .spki = spki,
                                                                    .spki_size = spki_size,
                                                                    .common_name = "Bastide manager",
                                                                    .dns_names = &names->dns_names,
                                                                    .ip_addresses = names->addresses,
                                                                    .ip_address_count = names->address_count,
                                                                    .life_seconds = IDENTITY_LIFE_SECONDS},
                                        &chain, serial, error);
    if (r < 0)
        return r;
    /* The key first: between the two writes the old pair is broken, and the next start makes a new one. */
    if (unlink(key_path) < 0 && errno != ENOENT)
        return error_set_errno(error, ERROR_IO, errno, "Replacing %s", key_path);
    r = private_key_write(key, key_path);
    if (r >= 0)
        r = file_write_atomic(chain_path, chain, strlen(chain), 0644);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "Writing %s", chain_path);
    log_notice("New %s certificate %s.", identities[kind].name, serial);
    return 0;
}

bool identity_is_there(const ManagerConfig *config)
{
    for (IdentityKind kind = 0; kind < _IDENTITY_MAX; kind++) {
        _cleanup_free_ char *key = identity_key_path(config, kind),
                            *chain = identity_chain_path(config, kind);
        if (access(key, R_OK) < 0 || access(chain, R_OK) < 0)
            return false;
    }
    return true;
}

/* Given pairs
 * ----------------------------------------------------------------------------------------------------------------
 */

/* What must be in a given certificate: what people configured, not the loopback of the moment. */
static void collect_required(const ManagerConfig *config, IdentityKind kind, Names *names)
{
    add_name(names, kind == IDENTITY_EXTERNAL ? config->external_address : config->internal_address);
    for (size_t i = 0; i < config->management_addresses.count; i++)
        add_name(names, config->management_addresses.items[i]);
}

static int check_names(const ManagerConfig *config, IdentityKind kind, const CertificateInfo *info,
                       Error *error)
{
    Names names = {0};
    collect_required(config, kind, &names);
    _cleanup_free_ char *missing = find_missing(info, &names);
    string_list_done(&names.dns_names);
    return missing
               ? error_set(error, ERROR_BAD_DOCUMENT,
                           "The certificate lacks the name '%s'; it must have every address of the manager.",
                           missing)
               : 0;
}

/* Provisioners ask for this mark, so that no other certificate of the authority can stand in for the manager.
 */
static int check_internal(const CertificateInfo *info, const char *chain, const char *trust, Error *error)
{
    if (certificate_verify(chain, trust, CERTIFICATE_SERVER, NULL, 0, error) < 0) {
        error_prefix(error, "The internal certificate must come from the internal CA");
        return -EINVAL;
    }
    const char *mark = certificate_info_uri_value(info, "bastide:service:");
    return string_equal(mark, "internal") || string_equal(mark, "manager")
               ? 0
               : error_set(
                     error, ERROR_BAD_DOCUMENT,
                     "The internal certificate needs the URI bastide:service:internal among its names.");
}

int identity_check_given(const ManagerConfig *config, IdentityKind kind, const char *chain, const Secret *key,
                         const char *ca, const char *trust, Error *error)
{
    _cleanup_certificate_ Certificate *certificate = NULL;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    _cleanup_private_key_ PrivateKey *private_key = NULL;
    Usec now = clock_realtime(&system_clock);
    if (chain_count(chain, strlen(chain)) < 1)
        return error_set(error, ERROR_BAD_DOCUMENT, "The certificate is no PEM text of certificates alone.");
    int r = certificate_from_pem(chain, strlen(chain), &certificate, error);
    if (r >= 0)
        r = private_key_from_pem(secret_bytes(key), secret_size(key), NULL, &private_key, error);
    if (r < 0)
        return r;
    certificate_info(certificate, &info);
    if (!certificate_matches_key(certificate, private_key))
        return error_set(error, ERROR_BAD_DOCUMENT, "The key does not belong to the certificate.");
    if (info.is_ca)
        return error_set(error, ERROR_BAD_DOCUMENT,
                         "This is the certificate of an authority, not of a server.");
    if (!(info.purposes & CERTIFICATE_SERVER))
        return error_set(error, ERROR_BAD_DOCUMENT, "The certificate is not meant for TLS servers.");
    if (info.not_before > now || info.not_after <= now + 86400 * USEC_PER_SEC)
        return error_set(error, ERROR_BAD_DOCUMENT,
                         "The certificate must be valid now and for a day at least.");
    if (ca && certificate_verify(chain, ca, CERTIFICATE_SERVER, NULL, 0, error) < 0) {
        error_prefix(error, "The chain does not lead to the CA certificate");
        return -EINVAL;
    }
    r = kind == IDENTITY_INTERNAL ? check_internal(&info, chain, trust, error) : 0;
    return r < 0 ? r : check_names(config, kind, &info, error);
}

int identity_install_given(const ManagerConfig *config, IdentityKind kind, const char *chain,
                           const Secret *key, Error *error)
{
    _cleanup_free_ char *path = given_path(config, kind);
    Buffer file = BUFFER_INIT_SECRET(CHAIN_LIMIT + KEY_PEM_LIMIT + 16);
    int r = buffer_append_string(&file, chain);
    if (r >= 0)
        r = buffer_append_byte(&file, '\n');
    if (r >= 0)
        r = buffer_append(&file, secret_bytes(key), secret_size(key));
    if (r >= 0)
        r = file_write_atomic(path, file.data, file.size, 0600);
    buffer_wipe(&file);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "Writing %s", path);
    log_notice("The %s listener gets the pair that was given.", identities[kind].name);
    return 0;
}

int identity_remove_given(const ManagerConfig *config, IdentityKind kind, Error *error)
{
    _cleanup_free_ char *path = given_path(config, kind);
    if (unlink(path) < 0)
        return errno == ENOENT ? 0 : error_set_errno(error, ERROR_IO, errno, "Removing %s", path);
    int r = file_sync_parent(path);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "Removing %s", path) : 0;
}

static int read_pem(const char *path, char **ret_text, Error *error)
{
    size_t size;
    int r = file_read(path, CHAIN_LIMIT, ret_text, &size);
    return r < 0 ? error_set_errno(error, ERROR_CONFIGURATION, -r, "Reading %s", path) : 0;
}

static int read_private(const char *path, Secret **ret_key, Error *error)
{
    char *content = NULL;
    size_t size = 0;
    int r = file_read_private(path, geteuid(), KEY_PEM_LIMIT, &content, &size);
    if (r == -EPERM)
        return error_set(error, ERROR_INSECURE,
                         "%s must be a file of mode 0600 of the manager's account or of root.", path);
    if (r < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, -r, "Reading %s", path);
    *ret_key = secret_new(content, size);
    memory_wipe(content, size);
    free(content);
    return *ret_key ? 0 : error_set(error, ERROR_INTERNAL, "There is no guarded memory for a key.");
}

typedef struct GivenPair {
    IdentityKind kind;
    const char *certificate, *key, *ca; /* paths; NULL = not given */
    const char *certificate_setting, *key_setting;
} GivenPair;

static int configure_pair(const ManagerConfig *config, const GivenPair *pair, const char *trust, Error *error)
{
    _cleanup_free_ char *chain = NULL, *ca = NULL;
    _cleanup_secret_ Secret *key = NULL;
    if (!pair->certificate && !pair->key)
        return 0;
    if (!pair->certificate || !pair->key)
        return error_set_field(
            error, ERROR_CONFIGURATION, pair->certificate ? pair->key_setting : pair->certificate_setting,
            "%s and %s are given together or not at all.", pair->certificate_setting, pair->key_setting);
    int r = read_pem(pair->certificate, &chain, error);
    if (r >= 0)
        r = read_private(pair->key, &key, error);
    if (r >= 0 && pair->ca)
        r = read_pem(pair->ca, &ca, error);
    if (r >= 0)
        r = identity_check_given(config, pair->kind, chain, key, ca, trust, error);
    if (r < 0 && error && !*error->field)
        (void)string_copy(error->field, sizeof(error->field), pair->certificate_setting);
    return r < 0 ? r : identity_install_given(config, pair->kind, chain, key, error);
}

/* The authority itself is the keeper's: the file only says which one is meant. */
static int check_authority(const ManagerConfig *config, const char *trust, Error *error)
{
    _cleanup_free_ char *given = NULL, *own = NULL, *first = NULL;
    if (!config->ca_certificate)
        return 0;
    int r = read_pem(config->ca_certificate, &given, error);
    if (r < 0)
        return r;
    first = chain_nth(given, strlen(given), 0);
    own = chain_nth(trust, strlen(trust), 0);
    if (first && own && string_equal(first, own))
        return 0;
    return error_set_field(
        error, ERROR_CONFIGURATION, "certificates.ca_certificate",
        "The keeper signs with another CA: give it this one with its key, 'bastide-keeper import-ca "
        "--ca-certificate FILE --ca-key FILE'. A CA certificate without its key cannot sign for "
        "provisioners and clusters.");
}

int identity_configure(const ManagerConfig *config, const char *trust, Error *error)
{
    const GivenPair pairs[] = {
        {IDENTITY_EXTERNAL, config->rest_certificate, config->rest_key, config->external_ca_certificate,
         "certificates.rest_certificate", "certificates.rest_key"},
        {IDENTITY_INTERNAL, config->internal_certificate, config->internal_key, NULL,
         "certificates.internal_certificate", "certificates.internal_key"},
    };
    if (config->external_ca_certificate && !config->rest_certificate)
        return error_set_field(
            error, ERROR_CONFIGURATION, "certificates.external_ca_certificate",
            "An external CA certificate says who signed rest_certificate, which is not given.");
    int r = check_authority(config, trust, error);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(pairs); i++)
        r = configure_pair(config, &pairs[i], trust, error);
    return r;
}

enum { WARNING_DAYS = 14 };

/* Nobody but its giver can renew it. */
static void warn_before_expiry(const ManagerConfig *config, IdentityKind kind)
{
    _cleanup_free_ char *chain = NULL;
    _cleanup_certificate_ Certificate *certificate = NULL;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    if (identity_read_chain(config, kind, &chain) < 0)
        return;
    if (certificate_from_pem(chain, strlen(chain), &certificate, NULL) >= 0) {
        certificate_info(certificate, &info);
        Usec now = clock_realtime(&system_clock);
        if (info.not_after < now + WARNING_DAYS * 86400 * USEC_PER_SEC)
            log_warning("The given %s certificate expires within %d days; replace it.", identities[kind].name,
                        WARNING_DAYS);
    }
}

static int ensure(const ManagerConfig *config, KeeperClient *keeper, unsigned *ret_changed, Error *error)
{
    KeeperPublic public_ = {0};
    int r = keeper_client_public(keeper, &public_, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *directory = manager_path(config, "tls"), *ca_path = identity_ca_path(config);
    r = directory_make(directory, 0700);
    if (r >= 0)
        r = file_write_atomic(ca_path, public_.ca_chain, strlen(public_.ca_chain), 0644);
    if (r < 0)
        (void)error_set_errno(error, ERROR_IO, -r, "Writing %s", ca_path);
    for (IdentityKind kind = 0; kind < _IDENTITY_MAX && r >= 0; kind++) {
        Names names = {0};
        if (identity_is_given(config, kind)) {
            warn_before_expiry(config, kind);
            continue;
        }
        collect_names(config, kind, &names);
        if (!is_good(config, kind, &names, public_.ca_chain)) {
            r = issue(config, kind, &names, keeper, error);
            if (r >= 0 && ret_changed)
                *ret_changed |= 1U << kind;
        }
        string_list_done(&names.dns_names);
    }
    keeper_public_done(&public_);
    return r;
}

int identity_ensure(const ManagerConfig *config, KeeperClient *keeper, unsigned *ret_changed, Error *error)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* two at once would mix keys and chains */
    ASSERT(pthread_mutex_lock(&lock) == 0);
    int r = ensure(config, keeper, ret_changed, error);
    ASSERT(pthread_mutex_unlock(&lock) == 0);
    return r;
}
