/* SPDX-License-Identifier: Apache-2.0 */
#include "api/credentials.h"

#include "api/tokens.h"
#include "base/string.h"
#include "crypto/token.h"

enum { BASIC_LIMIT = 2048 };

void credentials_done(Credentials *credentials)
{
    free(credentials->username);
    secret_free(credentials->password);
    memory_wipe(credentials, sizeof(*credentials));
}

static void read_token(const char *text, Credentials *credentials)
{
    char id[ID_SIZE];
    credentials->kind = token_parse(text, strlen(text), TOKEN_PREFIX, id, credentials->token_hash) < 0
                            ? CREDENTIALS_BAD
                            : CREDENTIALS_TOKEN;
}

static void read_basic(const char *text, Credentials *credentials)
{
    uint8_t *data;
    size_t size;
    credentials->kind = CREDENTIALS_BAD;
    if (base64_decode(text, strlen(text), BASIC_LIMIT, &data, &size) < 0)
        return;
    uint8_t *colon = memchr(data, ':', size);
    if (colon && utf8_is_valid((const char *)data, size) && !memchr(data, 0, (size_t)(colon - data))) {
        credentials->username = string_duplicate_n((const char *)data, (size_t)(colon - data));
        credentials->password = secret_new(colon + 1, size - (size_t)(colon - data) - 1);
        if (credentials->password && identifier_is_valid(credentials->username))
            credentials->kind = CREDENTIALS_PASSWORD;
    }
    memory_wipe(data, size);
    free(data);
}

void csrf_token_of(const char *session, size_t length, char ret_token[static CSRF_TOKEN_SIZE])
{
    static const char purpose[] = "bastide-csrf-1";
    uint8_t digest[HASH_SIZE];
    _cleanup_hash_ Hash *hash = hash_new();
    hash_add(hash, purpose, sizeof(purpose));
    hash_add(hash, session, length);
    hash_finish(hash, digest);
    base64url_encode(digest, sizeof(digest), ret_token);
}

/* The value of our cookie among others; two of them are none. */
static bool find_cookie(const char *header, const char **ret_value, size_t *ret_length)
{
    unsigned count = 0;
    for (const char *pair = header; *pair;) {
        pair += strspn(pair, "; ");
        size_t length = strcspn(pair, ";");
        if (string_starts_with(pair, SESSION_COOKIE "=")) {
            *ret_value = pair + strlen(SESSION_COOKIE "=");
            *ret_length = length - strlen(SESSION_COOKIE "=");
            count++;
        }
        pair += length;
    }
    return count == 1;
}

/* Cookies that are not ours are nobody's credentials. */
void credentials_read_cookie(const char *header, Credentials *credentials)
{
    const char *value;
    size_t length;
    char id[ID_SIZE];
    if (!strstr(header, SESSION_COOKIE "="))
        return;
    credentials->kind = CREDENTIALS_BAD;
    if (!find_cookie(header, &value, &length) ||
        token_parse(value, length, SESSION_PREFIX, id, credentials->token_hash) < 0)
        return;
    csrf_token_of(value, length, credentials->csrf);
    credentials->kind = CREDENTIALS_SESSION;
}

void credentials_read(HttpExchange *exchange, Credentials *ret_credentials)
{
    *ret_credentials = (Credentials){.kind = CREDENTIALS_NONE};
    const char *authorization = http_exchange_header(exchange, "Authorization");
    const char *token = http_exchange_header(exchange, "Authentication-Token");
    const char *cookie = http_exchange_header(exchange, "Cookie");
    if (cookie)
        credentials_read_cookie(cookie, ret_credentials);
    if (!authorization && !token)
        return;
    if ((authorization && token) || ret_credentials->kind != CREDENTIALS_NONE)
        ret_credentials->kind = CREDENTIALS_BAD; /* two identities at once are none */
    else if (token)
        read_token(token, ret_credentials);
    else if (strncasecmp(authorization, "Bearer ", 7) == 0)
        read_token(authorization + 7, ret_credentials);
    else if (strncasecmp(authorization, "Basic ", 6) == 0)
        read_basic(authorization + 6, ret_credentials);
    else
        ret_credentials->kind = CREDENTIALS_BAD;
}

/* Where the page came from
 * ------------------------------------------------------------------------------------------------- */

static bool is_own_origin(const HttpExchange *exchange, const char *origin)
{
    static const char scheme[] = "https://";
    const char *host = http_exchange_header(exchange, "Host");
    return host && string_starts_with(origin, scheme) && strcasecmp(origin + strlen(scheme), host) == 0;
}

bool origin_is_own_or_absent(const HttpExchange *exchange)
{
    const char *origin = http_exchange_header(exchange, "Origin");
    return !origin || is_own_origin(exchange, origin);
}

bool credentials_are_of_own_page(const HttpExchange *exchange, const Credentials *credentials)
{
    const char *origin = http_exchange_header(exchange, "Origin");
    const char *shown = http_exchange_header(exchange, "X-CSRF-Token");
    return origin && shown && is_own_origin(exchange, origin) && strlen(shown) == CSRF_TOKEN_SIZE - 1 &&
           memory_equal_constant_time(shown, credentials->csrf, CSRF_TOKEN_SIZE - 1);
}
