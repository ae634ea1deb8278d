/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Certificates of a node: the key is made on the node and stays there (PK5). A new key waits beside the old
 * one as
 * "<key path>.pending" until its certificate is installed; asking again gives a request for the same pending
 * key. One thread. */

#include "runner/state.h"

typedef struct CertificatePlace {
    const char *key_path, *certificate_path, *ca_path; /* ca_path may be NULL */
    const char *owner;                                 /* user name or number; NULL = root */
} CertificatePlace;

int certificate_make_csr(const CertificatePlace *place, const char *common_name, char **ret_pem,
                         char ret_text[static 1200]);
/* Installs chain, CA and the pending key, each by rename; the chain must belong to the key. Doing it again
 * with the same chain is a success. */
int certificate_install(const CertificatePlace *place, const char *chain, const char *ca,
                        char ret_text[static 1200]);
