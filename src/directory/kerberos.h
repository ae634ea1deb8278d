/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Kerberos as HTTP carries it (SPNEGO, RFC 4559): the only door to GSSAPI. One token each way is enough for
 * Kerberos; a longer conversation, another mechanism inside, a ticket for another service and one that was
 * shown before are refused. No ticket is handed on. Any thread; the acceptor does not block on the network.
 */

#include "base/error.h"
#include "base/string.h"

/* The section [kerberos] of the manager's configuration; owned by who read it. */
typedef struct KerberosSettings {
    char *keytab, *principal, *realm;
    StringList local_accounts;
} KerberosSettings;

typedef struct Kerberos Kerberos;

enum { KERBEROS_TOKEN_MAX = 16 * 1024, KERBEROS_NAME_MAX = 256 };

/* replay_cache: a file that only the manager may write, made when absent. The settings must outlive it.
 * ERROR_CONFIGURATION. */
int kerberos_new(const KerberosSettings *settings, const char *replay_cache, Kerberos **ret_kerberos,
                 Error *error);
Kerberos *kerberos_free(Kerberos *kerberos);
DEFINE_CLEANUP(Kerberos, kerberos_free);

/* 1 and the name of the account that the ticket's owner has by the rule of the realm; 0 when the token is not
 * accepted, with the reason for the log. */
int kerberos_accept(Kerberos *kerberos, const void *token, size_t size,
                    char ret_username[static KERBEROS_NAME_MAX], char ret_reason[static KERBEROS_NAME_MAX]);
/* Whether the realm may vouch for this local account. */
bool kerberos_may_use_local(const Kerberos *kerberos, const char *username);
/* The rule: NAME@REALM is the account NAME; names with a slash are of services and not of people. Pure. */
int kerberos_map_principal(const char *principal, const char *realm,
                           char ret_username[static KERBEROS_NAME_MAX]);

/* For clients: the value of the header Authorization for a request to the host; owned, and to be wiped.
 * Blocks while a ticket is fetched. ERROR_UNAUTHENTICATED when there is no ticket to begin with. */
int kerberos_authorization(const char *host, char **ret_value, Error *error);
