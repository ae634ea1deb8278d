/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* First contact with a manager whose CA is not known yet: its CA certificate is fetched over a connection
 * that proves nothing, so nothing is sent on it but "GET /api/v3.1/ca", and what comes back counts only after
 * a person, or a fingerprint given beforehand, has confirmed it. Main thread. */

#include "base/error.h"
#include "crypto/hash.h"

typedef struct FetchedCa {
    char *pem, *subject; /* owned */
    char fingerprint[HASH_HEX_SIZE];
} FetchedCa;
void fetched_ca_done(FetchedCa *ca);
#define _cleanup_fetched_ca_ _cleanup_(fetched_ca_done)

/* The certificate must be a CA's, and the server's own certificate must lead to it and name the URL's host:
 * else confirming it would be of no use. */
int trust_fetch(const char *url, FetchedCa *ret_ca, Error *error);
/* Splits "https://host[:port][/]"; owned strings, the host without brackets. */
int trust_parse_url(const char *url, char **ret_host, char **ret_port, Error *error);
/* 64 hexadecimal digits in either case, with or without "SHA256:" before them and colons between. */
int trust_parse_fingerprint(const char *text, char ret_fingerprint[static HASH_HEX_SIZE]);
/* "AB:CD:…" */
char *trust_format_fingerprint(const char *fingerprint);
/* The body of an HTTP/1.x answer with status 200 and a PEM text; owned. */
int trust_read_answer(const char *answer, size_t size, char **ret_body);
