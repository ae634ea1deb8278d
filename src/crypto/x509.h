/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* X.509: signing requests, certificates, chains. Certificates travel as PEM text; a Certificate is a parsed
 * one, immutable, usable from any thread. Building certificates is the keeper's alone; the others make and
 * check requests, read and verify certificates. Everything from outside is bounded and errors say which rule
 * was broken. */

#include "base/clock.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/string.h"
#include "crypto/hash.h"
#include "crypto/key.h"

enum {
    CSR_LIMIT = 16 * 1024,
    CHAIN_LIMIT = 64 * 1024,
    CHAIN_LENGTH_MAX = 8,
    SERIAL_HEX_SIZE = 2 * 20 + 1,
    CERTIFICATE_NAMES_MAX = 100,
};

typedef enum CertificatePurpose {
    CERTIFICATE_SERVER = 1 << 0,
    CERTIFICATE_CLIENT = 1 << 1,
} CertificatePurpose;

typedef struct IpAddress { /* network order */
    uint8_t bytes[16];
    uint8_t size; /* 4 or 16 */
} IpAddress;
/* Numeric text of either family; -EINVAL. */
int ip_address_parse(const char *text, IpAddress *ret_address);
void ip_address_format(const IpAddress *address, char destination[static 46]);

/* --- requests --- */

/* common_name may be NULL. Names in a request are a wish at best: Bastide takes only the key from it. Owned
 * PEM. */
int csr_make(const PrivateKey *key, const char *common_name, const StringList *dns_names, char **ret_pem);
/* Parses PEM, checks the policy for the key and that the sender has the private key (the request's own
 * signature). Gives the SubjectPublicKeyInfo; owned. */
int csr_parse(const char *pem, size_t size, uint8_t **ret_spki, size_t *ret_spki_size, Error *error);

/* --- certificates --- */

typedef struct Certificate Certificate;
/* The first certificate of the PEM text. */
int certificate_from_pem(const char *pem, size_t size, Certificate **ret_certificate, Error *error);
Certificate *certificate_free(Certificate *certificate);
DEFINE_CLEANUP(Certificate, certificate_free);
#define _cleanup_certificate_ _cleanup_(certificate_free_pointer)
/* Owned. */
char *certificate_to_pem(const Certificate *certificate);
bool certificate_matches_key(const Certificate *certificate, const PrivateKey *key);

typedef struct CertificateInfo {
    char *subject, *issuer, *common_name; /* RFC 2253 text; common_name NULL when absent */
    char serial[SERIAL_HEX_SIZE];         /* lower-case hex */
    char fingerprint[HASH_HEX_SIZE];      /* SHA-256 of the DER form */
    char key_fingerprint[HASH_HEX_SIZE];  /* SHA-256 of the SubjectPublicKeyInfo */
    Usec not_before, not_after;
    StringList dns_names, ip_addresses, uris;
    unsigned purposes; /* of CertificatePurpose; 0 = the certificate names none */
    bool is_ca, is_self_signed;
    long path_length; /* -1 = unlimited */
} CertificateInfo;
void certificate_info(const Certificate *certificate, CertificateInfo *ret_info);
void certificate_info_done(CertificateInfo *info);
#define _cleanup_certificate_info_ _cleanup_(certificate_info_done)

/* Does the leaf (first of chain_pem, intermediates after it) lead to one of the certificates in ca_pem, is it
 * valid at `at` (0 = now) and meant for the purpose? host (may be NULL) must be one of its DNS names or
 * addresses. */
int certificate_verify(const char *chain_pem, const char *ca_pem, CertificatePurpose purpose,
                       const char *host, Usec at, Error *error);
/* The value of the URI "<prefix><value>" among the names, e.g. "bastide:provisioner:"; NULL when there is
 * none or more than one. Borrowed. */
const char *certificate_info_uri_value(const CertificateInfo *info, const char *prefix);

/* --- chains --- */

/* How many certificates the PEM text has; -EBADMSG for text that is not only certificates, -E2BIG beyond the
 * limits. */
int chain_count(const char *pem, size_t size);
/* The index-th certificate as PEM; owned, or NULL. */
char *chain_nth(const char *pem, size_t size, unsigned index);

/* --- issuing (the keeper) --- */

typedef struct CertificateTemplate {
    const uint8_t *spki; /* the subject's key */
    size_t spki_size;
    const char *common_name, *organisation; /* either may be NULL */
    const StringList *dns_names, *uris;     /* may be NULL */
    const IpAddress *ip_addresses;
    size_t ip_address_count;
    Usec not_before, not_after;
    unsigned purposes; /* extended key usage */
    bool is_ca;
    int path_length;       /* of a CA; -1 = none given */
    bool is_without_hosts; /* a CA below which no DNS name and no address may stand (name constraints) */
} CertificateTemplate;

/* Signs. issuer NULL = self-signed. The serial is random (159 bits). ret_serial gets lower-case hex. */
int certificate_issue(const CertificateTemplate *template, const Certificate *issuer,
                      const PrivateKey *issuer_key, Certificate **ret_certificate,
                      char ret_serial[static SERIAL_HEX_SIZE], Error *error);
