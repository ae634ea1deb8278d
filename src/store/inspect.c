/* SPDX-License-Identifier: Apache-2.0 */
#include "store/inspect.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>

#include "base/string.h"

enum { KEYWORDS_MAX = 64 };
static const int64_t CLOCK_SKEW_MAX = 5 * (int64_t)USEC_PER_SEC;

static void finish_connection(PGconn **connection)
{
    if (*connection)
        PQfinish(*connection);
}
static void clear_result(PGresult **result)
{
    if (*result)
        PQclear(*result);
}
static void free_options(PQconninfoOption **options)
{
    if (*options)
        PQconninfoFree(*options);
}

static void ignore_notice(_unused_ void *context, _unused_ const char *message) {}

/* sslmode NULL: as the connection string says. */
static PGconn *open_connection(const char *location, const char *sslmode)
{
    const char *keywords[KEYWORDS_MAX + 3] = {0}, *values[KEYWORDS_MAX + 3] = {0};
    _cleanup_(free_options) PQconninfoOption *options = PQconninfoParse(location, NULL);
    size_t count = 0;
    if (!options)
        return NULL;
    for (const PQconninfoOption *option = options; option->keyword && count < KEYWORDS_MAX; option++) {
        if (!option->val)
            continue;
        keywords[count] = option->keyword;
        values[count++] = option->val;
    }
    /* The last of two equal keywords counts. */
    keywords[count] = "connect_timeout";
    values[count++] = "5";
    keywords[count] = "sslmode";
    values[count] = sslmode;
    if (!sslmode)
        keywords[count] = NULL;
    PGconn *connection = PQconnectdbParams(keywords, values, false);
    if (connection)
        (void)PQsetNoticeProcessor(connection, ignore_notice, NULL);
    return connection;
}

/* Each asks one thing; a row whose first column is true is a finding. A server that does not let us ask tells
 * nothing. */
static const struct {
    const char *sql, *finding;
} questions[] = {
    {"SELECT rolsuper FROM pg_roles WHERE rolname = current_user",
     "the database role is a superuser; ALTER ROLE … NOSUPERUSER"},
    {"SELECT rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = "
     "current_user",
     "the database role may make roles or databases, replicate or go past row security; it needs none of "
     "that"},
    {"SELECT pg_has_role(current_user, 'pg_read_server_files', 'MEMBER') OR pg_has_role(current_user, "
     "'pg_write_server_files', 'MEMBER') OR pg_has_role(current_user, 'pg_execute_server_program', 'MEMBER')",
     "the database role may read or write files of the server, or run programs there"},
    {"SELECT EXISTS (SELECT 1 FROM aclexplode((SELECT COALESCE(datacl, acldefault('d', datdba)) FROM "
     "pg_database WHERE "
     "datname = current_database())) WHERE grantee = 0 AND privilege_type IN ('CONNECT', 'TEMPORARY'))",
     "every role of the server may connect to the database; REVOKE ALL ON DATABASE … FROM PUBLIC"},
    {"SELECT EXISTS (SELECT 1 FROM aclexplode((SELECT COALESCE(nspacl, acldefault('n', nspowner)) FROM "
     "pg_namespace "
     "WHERE nspname = 'public')) WHERE grantee = 0 AND privilege_type = 'CREATE')",
     "every role may create objects in the schema public; REVOKE CREATE ON SCHEMA public FROM PUBLIC"},
    {"SELECT setting <> 'scram-sha-256' FROM pg_settings WHERE name = 'password_encryption'",
     "new passwords are not kept as scram-sha-256 (password_encryption)"},
    {"SELECT setting <> 'on' FROM pg_settings WHERE name = 'fsync'",
     "fsync is off: an accepted change can be lost"},
    {"SELECT EXISTS (SELECT 1 FROM pg_hba_file_rules WHERE auth_method IN ('trust', 'password', 'md5', "
     "'ident'))",
     "pg_hba.conf has lines that let in without a password, or with a weak kind of it"},
};

static void ask(PGconn *connection, size_t index, StoreFinding found, void *context)
{
    _cleanup_(clear_result) PGresult *result = PQexec(connection, questions[index].sql);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
        string_equal(PQgetvalue(result, 0, 0), "t"))
        found(context, questions[index].finding);
}

static void compare_clocks(PGconn *connection, const Clock *clock, StoreFinding found, void *context)
{
    Usec before = clock_realtime(clock);
    _cleanup_(clear_result) PGresult *result =
        PQexec(connection, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
    Usec after = clock_realtime(clock);
    int64_t theirs;
    if (PQresultStatus(result) != PGRES_TUPLES_OK ||
        string_to_i64(PQgetvalue(result, 0, 0), 0, INT64_MAX, &theirs) < 0)
        return;
    if (theirs + CLOCK_SKEW_MAX < (int64_t)before || theirs > (int64_t)after + CLOCK_SKEW_MAX)
        found(context,
              "the clocks of this machine and of the database server differ by more than five seconds");
}

static void try_plain(const char *location, bool is_socket, StoreFinding found, void *context)
{
    if (is_socket)
        return;
    _cleanup_(finish_connection) PGconn *connection = open_connection(location, "disable");
    if (connection && PQstatus(connection) == CONNECTION_OK)
        found(context,
              "the database server takes connections without TLS; only hostssl lines in pg_hba.conf");
}

static bool uses_socket(const PGconn *connection)
{
    const char *host = PQhost(connection);
    return host && (*host == '/' || *host == '@');
}

int store_inspect(const char *location, const Clock *clock, StoreFinding found, void *context, Error *error)
{
    const char *connection_string =
        string_starts_with(location, "postgresql://") ? location : location + strlen("postgresql:");
    _cleanup_(finish_connection) PGconn *connection = open_connection(connection_string, NULL);
    if (!connection || PQstatus(connection) != CONNECTION_OK)
        return error_set(error, ERROR_UNAVAILABLE, "The database cannot be reached");
    bool is_socket = uses_socket(connection);
    if (!is_socket && !PQsslInUse(connection))
        found(context, "the connection to the database is not encrypted");
    for (size_t i = 0; i < ELEMENTSOF(questions); i++)
        ask(connection, i, found, context);
    compare_clocks(connection, clock, found, context);
    try_plain(connection_string, is_socket, found, context);
    return 0;
}
