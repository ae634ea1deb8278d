/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the connections need of a TLS generation; private to net. Loop thread. */

#include <openssl/ssl.h>

#include "net/http_server.h"

/* A server-side session over a non-blocking socket, which stays the caller's. NULL without memory. */
SSL *tls_generation_session(TlsGeneration *generation, int descriptor);
/* The verified client certificate's first URI SAN (owned; NULL when it has none or it is not plain text) and
 * serial (owned, lower-case hex). False when there is no certificate. */
bool tls_session_peer(SSL *session, char **ret_uri, char **ret_serial);
