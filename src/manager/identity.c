/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/identity.h"

#include <errno.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
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

char *identity_key_path(const ManagerConfig *config, IdentityKind kind)
{
    return identity_path(config, identities[kind].name, ".key");
}

char *identity_chain_path(const ManagerConfig *config, IdentityKind kind)
{
    return identity_path(config, identities[kind].name, ".crt");
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

static bool covers(const CertificateInfo *info, const Names *names)
{
    for (size_t i = 0; i < names->dns_names.count; i++)
        if (!string_list_contains(&info->dns_names, names->dns_names.items[i]))
            return false;
    for (size_t i = 0; i < names->address_count; i++) {
        char text[46];
        ip_address_format(&names->addresses[i], text);
        if (!string_list_contains(&info->ip_addresses, text))
            return false;
    }
    return true;
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

int identity_ensure(const ManagerConfig *config, KeeperClient *keeper, unsigned *ret_changed, Error *error)
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
