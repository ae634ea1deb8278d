/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a request shows for its sender: a token, a session's cookie, or name and password. Reading them asks
 * no database. Any thread that holds the exchange. */

#include "base/secret.h"
#include "crypto/hash.h"
#include "net/http_server.h"

typedef enum CredentialKind {
    CREDENTIALS_NONE,
    CREDENTIALS_TOKEN,
    CREDENTIALS_SESSION,
    CREDENTIALS_PASSWORD,
    CREDENTIALS_BAD
} CredentialKind;

enum { CSRF_TOKEN_SIZE = 44 }; /* base64url of a SHA-256, with NUL */

typedef struct Credentials {
    CredentialKind kind;
    uint8_t token_hash[HASH_SIZE]; /* of a token or a session */
    char csrf[CSRF_TOKEN_SIZE];    /* of a session */
    char *username;                /* owned */
    Secret *password;
} Credentials;

void credentials_read(HttpExchange *exchange, Credentials *ret_credentials);
/* What a Cookie header shows, if it has a session of ours. */
void credentials_read_cookie(const char *header, Credentials *credentials);
void credentials_done(Credentials *credentials);
#define _cleanup_credentials_ _cleanup_(credentials_done)

/* A browser sends a cookie with every request, also with one that another site made it send. So a request
 * that changes something by a session must come from a page of this host (Origin), and must show what only
 * such a page can know (X-CSRF-Token). */
bool credentials_are_of_own_page(const HttpExchange *exchange, const Credentials *credentials);
/* For signing in, where there is no session yet: a page of another site may not do it. */
bool origin_is_own_or_absent(const HttpExchange *exchange);
/* What a page of the session must show; made from the session's secret, so it need not be stored. */
void csrf_token_of(const char *session, size_t length, char ret_token[static CSRF_TOKEN_SIZE]);

#define SESSION_COOKIE "__Host-bastide-session"
/* The header that carries a code of the second factor. */
#define SECOND_FACTOR_HEADER "Second-Factor"
