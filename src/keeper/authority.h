/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The certificate authorities: a root (made here or given) that signs three intermediates, and they sign
 * everything else. Each intermediate is limited to its purpose, so that a certificate of one domain is worth
 * nothing in another: services      TLS servers and managers provisioners  TLS clients; no DNS name and no
 * address may stand in a certificate below it clusters      TLS servers of the applications in clusters What
 * may be issued is a table of profiles. A set of authorities lives in ca/<number>/ and `ca/current` names the
 * one in use, so replacing the CA is one rename. One thread. */

#include "base/clock.h"
#include "base/error.h"
#include "crypto/x509.h"
#include "keeper/vault.h"

typedef struct Authority Authority;

typedef enum Issuer { ISSUER_SERVICES, ISSUER_PROVISIONERS, ISSUER_CLUSTERS, _ISSUER_MAX } Issuer;

/* Makes and stores a set, and makes it the current one. ca_certificate and ca_key (PEM) are NULL for a root
 * of our own. The certificates of the previous CA stay in the trust chain until they expire. */
int authority_create(Vault *vault, const char *organisation, const char *ca_certificate, const Secret *ca_key,
                     Usec now, Error *error);
int authority_load(Vault *vault, Authority **ret_authority, Error *error);
Authority *authority_free(Authority *authority);
DEFINE_CLEANUP(Authority, authority_free);
/* What to trust: the CA in use first, then earlier ones; PEM, borrowed. */
const char *authority_trust(const Authority *authority);

typedef enum ProfileNames { PROFILE_HOSTS, PROFILE_PROVISIONER } ProfileNames;

typedef struct Profile {
    const char *name; /* NULL ends the table */
    Issuer issuer;
    unsigned purposes;
    uint32_t usual_life, maximum_life; /* seconds */
    ProfileNames names;
    bool is_wildcard_allowed;
    bool reserves_names; /* its names belong to Bastide itself: profiles that do not reserve never get them */
    const char *marker;  /* a URI that says whose certificate it is; NULL = none */
} Profile;
extern const Profile profiles[];
const Profile *profile_find(const char *name);

typedef struct CertificateOrder {
    const Profile *profile;
    const uint8_t *spki;
    size_t spki_size;
    const char *common_name;
    StringList dns_names, uris; /* owned */
    IpAddress ip_addresses[CERTIFICATE_NAMES_MAX];
    size_t ip_address_count;
    uint32_t life_seconds; /* 0 = usual */
} CertificateOrder;
void certificate_order_done(CertificateOrder *order);
/* Checks the order against its profile and issues. ret_chain: leaf, intermediate, and the CA's own chain when
 * it is no root. */
int authority_issue(Authority *authority, const CertificateOrder *order, Usec now, char **ret_chain,
                    char ret_serial[static SERIAL_HEX_SIZE], Error *error);
