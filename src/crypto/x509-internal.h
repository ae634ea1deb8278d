/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What x509.c (reading, checking) and x509-issue.c (signing, the keeper alone) share. Any thread; the objects
 * belong to whoever made them. */

#include "crypto/key-internal.h"
#include "crypto/x509.h"

struct Certificate {
    X509 *certificate;
};

Certificate *certificate_wrap(X509 *certificate);
/* For every PEM_read_*: an encrypted block must never make OpenSSL ask the terminal. */
int no_passphrase(char *destination, int capacity, int is_writing, void *userdata);
/* The content of a memory BIO; owned. */
char *bio_take_string(BIO *bio);
