/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One connection to a directory server: the only door to libldap. Always encrypted with a certificate that
 * was verified: LDAPS, or StartTLS before anything else is said. Referrals are not followed. Every wait ends
 * at the connection's deadline. Blocking: pool threads; one connection belongs to one thread. */

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"

typedef struct DirectoryConnection DirectoryConnection;

typedef struct DirectoryValue {
    const char *data; /* a NUL follows */
    size_t size;
} DirectoryValue;

typedef struct DirectoryAttribute {
    const char *name;
    DirectoryValue *values;
    size_t count;
} DirectoryAttribute;

typedef struct DirectoryEntry {
    const char *dn;
    DirectoryAttribute *attributes;
    size_t count;
} DirectoryEntry;

typedef struct DirectorySearch {
    const char *base, *filter;
    const char *const *attributes; /* NULL ends the list */
    size_t maximum;                /* entries; more are an error */
} DirectorySearch;

/* Once, before other threads: libldap then reads neither files nor the environment. */
int directory_library_init(void);
/* Is it "ldaps://host[:port]" or "ldap://host[:port]"? */
bool directory_server_is_valid(const char *url);

/* deadline: monotonic, of the whole connection. ERROR_UNAVAILABLE, ERROR_TIMED_OUT, ERROR_UNTRUSTED. */
int directory_connect(const char *url, const char *ca_file, const Clock *clock, Usec deadline,
                      DirectoryConnection **ret_connection, Error *error);
DirectoryConnection *directory_disconnect(DirectoryConnection *connection);
DEFINE_CLEANUP(DirectoryConnection, directory_disconnect);
#define _cleanup_directory_connection_ _cleanup_(directory_disconnect_pointer)

/* A simple bind. 1 when the server takes the password; 0 when it does not, and without asking it when the
 * password is empty, which would be an anonymous bind that succeeds. */
int directory_bind(DirectoryConnection *connection, const char *dn, const Secret *password, Error *error);
/* Below the base; entries are copied to the arena. */
int directory_search(DirectoryConnection *connection, Arena *arena, const DirectorySearch *search,
                     DirectoryEntry **ret_entries, size_t *ret_count, Error *error);

/* NULL when the entry has none. */
const DirectoryAttribute *directory_entry_get(const DirectoryEntry *entry, const char *name);
/* Its first value, or NULL. */
const char *directory_entry_text(const DirectoryEntry *entry, const char *name);
