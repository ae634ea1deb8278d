/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/connection.h"

#include <errno.h>
#include <ldap.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/string.h"

enum {
    ANSWER_MAX = 4 * 1024 * 1024, /* one message of the server */
    VALUES_MAX = 10000,           /* of one attribute */
};
/* A write that makes no progress for this long gives the deadline a chance to be looked at. */
static const struct timeval STALL = {.tv_usec = 250000};

struct DirectoryConnection {
    LDAP *handle;
    const char *url; /* of the caller */
    const Clock *clock;
    Usec deadline;
    struct ldap_conncb callback;
};

int directory_library_init(void)
{
    return setenv("LDAPNOINIT", "1", 1) < 0 ? -errno : 0;
}

bool directory_server_is_valid(const char *url)
{
    LDAPURLDesc *parts = NULL;
    bool is_valid = ldap_url_parse(url, &parts) == LDAP_URL_SUCCESS &&
                    (string_equal(parts->lud_scheme, "ldap") || string_equal(parts->lud_scheme, "ldaps")) &&
                    !string_is_empty(parts->lud_host) && string_is_empty(parts->lud_dn) &&
                    !parts->lud_attrs && !parts->lud_filter && !parts->lud_exts;
    ldap_free_urldesc(parts);
    return is_valid;
}

/* Errors and time
 * -----------------------------------------------------------------------------------------------------------
 */

/* What GnuTLS says below libldap when it does not accept a certificate. */
static bool is_about_certificate(const char *message)
{
    return message && (strstr(message, "unknown error code") || strstr(message, "certificate") ||
                       strstr(message, "hostname does not match"));
}

static int failed(DirectoryConnection *connection, int code, const char *what, Error *error)
{
    char *message = NULL;
    if (connection->handle)
        (void)ldap_get_option(connection->handle, LDAP_OPT_DIAGNOSTIC_MESSAGE, &message);
    int r;
    if (code == LDAP_TIMEOUT || clock_monotonic(connection->clock) >= connection->deadline)
        r = error_set(error, ERROR_TIMED_OUT, "The directory server %s did not answer in time (%s).",
                      connection->url, what);
    else if (is_about_certificate(message))
        r = error_set(error, ERROR_UNTRUSTED,
                      "The certificate of the directory server %s is not of this name, or of no authority in "
                      "'ldap.ca_file'.",
                      connection->url);
    else
        r = error_set(error, ERROR_UNAVAILABLE, "The directory server %s: %s: %s.", connection->url, what,
                      ldap_err2string(code));
    if (!string_is_empty(message))
        error_add_details(error, "%s", message);
    ldap_memfree(message);
    return r;
}

static struct timeval time_left(const DirectoryConnection *connection)
{
    Usec now = clock_monotonic(connection->clock);
    Usec left = now < connection->deadline ? connection->deadline - now : 1;
    return (struct timeval){.tv_sec = (time_t)(left / USEC_PER_SEC),
                            .tv_usec = (suseconds_t)(left % USEC_PER_SEC)};
}

/* The complete answer to a request; the caller frees it. */
static int wait_for(DirectoryConnection *connection, int message, const char *what, LDAPMessage **ret_answer,
                    Error *error)
{
    struct timeval left = time_left(connection);
    int r = ldap_result(connection->handle, message, LDAP_MSG_ALL, &left, ret_answer);
    if (r > 0)
        return 0;
    int code = r == 0 ? LDAP_TIMEOUT : LDAP_SERVER_DOWN;
    if (r < 0)
        (void)ldap_get_option(connection->handle, LDAP_OPT_RESULT_CODE, &code);
    return failed(connection, code, what, error);
}

/* Connecting
 * -----------------------------------------------------------------------------------------------------------
 */

/* libldap waits for the end of a handshake, and for the rest of a message, as long as the server likes. So
 * below TLS stands a layer of ours that gives up at the deadline. */
static int deadline_setup(Sockbuf_IO_Desc *layer, void *connection)
{
    layer->sbiod_pvt = connection;
    return 0;
}

static int deadline_control(Sockbuf_IO_Desc *layer, int option, void *argument)
{
    return LBER_SBIOD_CTRL_NEXT(layer, option, argument);
}

static bool wait_until_ready(Sockbuf_IO_Desc *layer, short events)
{
    const DirectoryConnection *connection = layer->sbiod_pvt;
    struct pollfd poller = {.events = events};
    if (ber_sockbuf_ctrl(layer->sbiod_sb, LBER_SB_OPT_GET_FD, &poller.fd) != 1)
        return false;
    for (;;) {
        Usec now = clock_monotonic(connection->clock);
        if (now >= connection->deadline)
            return false;
        int r = poll(&poller, 1, (int)((connection->deadline - now) / USEC_PER_MSEC) + 1);
        if (r > 0 || (r < 0 && errno != EINTR))
            return r > 0;
    }
}

static ber_slen_t deadline_read(Sockbuf_IO_Desc *layer, void *data, ber_len_t size)
{
    if (wait_until_ready(layer, POLLIN))
        return LBER_SBIOD_READ_NEXT(layer, data, size);
    errno = ETIMEDOUT;
    return -1;
}

static ber_slen_t deadline_write(Sockbuf_IO_Desc *layer, void *data, ber_len_t size)
{
    if (wait_until_ready(layer, POLLOUT))
        return LBER_SBIOD_WRITE_NEXT(layer, data, size);
    errno = ETIMEDOUT;
    return -1;
}

static int deadline_done(Sockbuf_IO_Desc *layer)
{
    (void)layer;
    return 0;
}

static Sockbuf_IO deadline_layer = {.sbi_setup = deadline_setup,
                                    .sbi_remove = deadline_done,
                                    .sbi_ctrl = deadline_control,
                                    .sbi_read = deadline_read,
                                    .sbi_write = deadline_write,
                                    .sbi_close = deadline_done};

static int on_connected(LDAP *handle, Sockbuf *buffer, LDAPURLDesc *server, struct sockaddr *address,
                        struct ldap_conncb *context)
{
    (void)handle;
    (void)server;
    (void)address;
    DirectoryConnection *connection =
        (DirectoryConnection *)(void *)((char *)context - offsetof(DirectoryConnection, callback));
    int descriptor = -1;
    ber_len_t maximum = ANSWER_MAX;
    if (ber_sockbuf_ctrl(buffer, LBER_SB_OPT_GET_FD, &descriptor) != 1 ||
        ber_sockbuf_ctrl(buffer, LBER_SB_OPT_SET_MAX_INCOMING, &maximum) != 1 ||
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &STALL, sizeof(STALL)) < 0 ||
        ber_sockbuf_add_io(buffer, &deadline_layer, LBER_SBIOD_LEVEL_PROVIDER + 1, connection) < 0)
        return LDAP_OTHER;
    return LDAP_SUCCESS;
}

static void on_disconnected(LDAP *handle, Sockbuf *buffer, struct ldap_conncb *context)
{
    (void)handle;
    (void)buffer;
    (void)context;
}

static int set_options(DirectoryConnection *connection, const char *ca_file)
{
    LDAP *handle = connection->handle;
    struct timeval left = time_left(connection);
    const int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_HARD, minimum = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2,
              client = 0;
    const struct {
        int option;
        const void *value;
    } options[] = {
        {LDAP_OPT_PROTOCOL_VERSION, &version},
        {LDAP_OPT_REFERRALS, LDAP_OPT_OFF},
        {LDAP_OPT_RESTART, LDAP_OPT_ON},
        {LDAP_OPT_NETWORK_TIMEOUT, &left},
        {LDAP_OPT_TIMEOUT, &left},
        {LDAP_OPT_CONNECT_CB, &connection->callback},
        {LDAP_OPT_X_TLS_CACERTFILE, ca_file},
        {LDAP_OPT_X_TLS_REQUIRE_CERT, &demand},
        {LDAP_OPT_X_TLS_REQUIRE_SAN, &demand},
        {LDAP_OPT_X_TLS_PROTOCOL_MIN, &minimum},
        {LDAP_OPT_X_TLS_NEWCTX, &client},
    };
    for (size_t i = 0; i < ELEMENTSOF(options); i++)
        if (ldap_set_option(handle, options[i].option, options[i].value) != LDAP_OPT_SUCCESS)
            return LDAP_CONNECT_ERROR;
    return LDAP_SUCCESS;
}

static int start_tls(DirectoryConnection *connection, Error *error)
{
    int message, result = LDAP_OTHER;
    LDAPMessage *answer = NULL;
    int code = ldap_start_tls(connection->handle, NULL, NULL, &message);
    if (code != LDAP_SUCCESS)
        return failed(connection, code, "asking for TLS", error);
    int r = wait_for(connection, message, "asking for TLS", &answer, error);
    if (r < 0)
        return r;
    code = ldap_parse_result(connection->handle, answer, &result, NULL, NULL, NULL, NULL, 1);
    if (code != LDAP_SUCCESS || result != LDAP_SUCCESS)
        return failed(connection, code != LDAP_SUCCESS ? code : result, "asking for TLS", error);
    code = ldap_install_tls(connection->handle);
    return code == LDAP_SUCCESS ? 0 : failed(connection, code, "TLS", error);
}

int directory_connect(const char *url, const char *ca_file, const Clock *clock, Usec deadline,
                      DirectoryConnection **ret_connection, Error *error)
{
    _cleanup_directory_connection_ DirectoryConnection *connection = NEW(DirectoryConnection);
    *connection = (DirectoryConnection){.url = url,
                                        .clock = clock,
                                        .deadline = deadline,
                                        .callback = {.lc_add = on_connected, .lc_del = on_disconnected}};
    int code = ldap_initialize(&connection->handle, url);
    if (code == LDAP_SUCCESS)
        code = set_options(connection, ca_file);
    if (code == LDAP_SUCCESS)
        code = ldap_connect(connection->handle);
    if (code != LDAP_SUCCESS)
        return failed(connection, code, "connecting", error);
    int r = string_starts_with(url, "ldaps:") ? 0 : start_tls(connection, error);
    if (r >= 0 && !ldap_tls_inplace(connection->handle))
        r = error_set(error, ERROR_UNTRUSTED, "The connection to %s is not encrypted.", url);
    if (r >= 0)
        *ret_connection = TAKE_PTR(connection);
    return r;
}

DirectoryConnection *directory_disconnect(DirectoryConnection *connection)
{
    if (!connection)
        return NULL;
    if (connection->handle)
        (void)ldap_unbind_ext_s(connection->handle, NULL, NULL);
    free(connection);
    return NULL;
}

/* Requests
 * -----------------------------------------------------------------------------------------------------------
 */

int directory_bind(DirectoryConnection *connection, const char *dn, const Secret *password, Error *error)
{
    if (!password || secret_size(password) == 0 || string_is_empty(dn))
        return 0;
    struct berval credentials = {.bv_val = (char *)(uintptr_t)secret_bytes(password),
                                 .bv_len = secret_size(password)};
    int message, result = LDAP_OTHER;
    LDAPMessage *answer = NULL;
    int code = ldap_sasl_bind(connection->handle, dn, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, &message);
    if (code != LDAP_SUCCESS)
        return failed(connection, code, "binding", error);
    int r = wait_for(connection, message, "binding", &answer, error);
    if (r < 0)
        return r;
    code = ldap_parse_result(connection->handle, answer, &result, NULL, NULL, NULL, NULL, 1);
    if (code != LDAP_SUCCESS)
        return failed(connection, code, "binding", error);
    switch (result) {
    case LDAP_SUCCESS:
        return 1;
    case LDAP_INVALID_CREDENTIALS:
    case LDAP_INAPPROPRIATE_AUTH:
    case LDAP_INSUFFICIENT_ACCESS:
    case LDAP_CONSTRAINT_VIOLATION:
    case LDAP_NO_SUCH_OBJECT:
    case LDAP_UNWILLING_TO_PERFORM:
    case LDAP_REFERRAL:
        return 0;
    default:
        return failed(connection, result, "binding", error);
    }
}

static int copy_values(DirectoryConnection *connection, Arena *arena, LDAPMessage *entry,
                       DirectoryAttribute *attribute, Error *error)
{
    struct berval **values = ldap_get_values_len(connection->handle, entry, attribute->name);
    int count = ldap_count_values_len(values), r = 0;
    if (count > VALUES_MAX)
        r = error_set(error, ERROR_TOO_LARGE, "The directory gave more than %d values of '%s'.", VALUES_MAX,
                      attribute->name);
    for (int i = 0; r >= 0 && i < count; i++) {
        if (i == 0)
            attribute->values = arena_allocate_array(arena, (size_t)count, sizeof(DirectoryValue));
        attribute->values[i] = (DirectoryValue){
            .data = arena_string_n(arena, values[i]->bv_val, values[i]->bv_len), .size = values[i]->bv_len};
        attribute->count++;
    }
    ldap_value_free_len(values);
    return r;
}

static int copy_entry(DirectoryConnection *connection, Arena *arena, const DirectorySearch *search,
                      LDAPMessage *message, DirectoryEntry *entry, Error *error)
{
    size_t count = 0;
    char *dn = ldap_get_dn(connection->handle, message);
    if (!dn)
        return failed(connection, LDAP_DECODING_ERROR, "reading an entry", error);
    entry->dn = arena_string(arena, dn);
    ldap_memfree(dn);
    while (search->attributes[count])
        count++;
    entry->attributes = arena_allocate_array(arena, count + 1, sizeof(DirectoryAttribute));
    for (entry->count = 0; entry->count < count; entry->count++) {
        DirectoryAttribute *attribute = &entry->attributes[entry->count];
        attribute->name = search->attributes[entry->count];
        int r = copy_values(connection, arena, message, attribute, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_entries(DirectoryConnection *connection, Arena *arena, const DirectorySearch *search,
                        LDAPMessage *answer, DirectoryEntry **ret_entries, size_t *ret_count, Error *error)
{
    int code, result = LDAP_OTHER;
    code = ldap_parse_result(connection->handle, answer, &result, NULL, NULL, NULL, NULL, 0);
    if (code == LDAP_SUCCESS)
        code = result;
    int found = ldap_count_entries(connection->handle, answer);
    if (code == LDAP_SIZELIMIT_EXCEEDED || found < 0 || (size_t)found > search->maximum)
        return error_set(error, ERROR_TOO_LARGE, "The directory found more than %zu entries for %s.",
                         search->maximum, search->filter);
    if (code == LDAP_TIMELIMIT_EXCEEDED)
        code = LDAP_TIMEOUT;
    if (code != LDAP_SUCCESS) /* also a referral, and a base that does not exist */
        return failed(connection, code, "searching", error);
    *ret_entries = arena_allocate_array(arena, (size_t)found + 1, sizeof(DirectoryEntry));
    *ret_count = 0;
    for (LDAPMessage *entry = ldap_first_entry(connection->handle, answer); entry;
         entry = ldap_next_entry(connection->handle, entry)) {
        int r = copy_entry(connection, arena, search, entry, &(*ret_entries)[*ret_count], error);
        if (r < 0)
            return r;
        (*ret_count)++;
    }
    return 0;
}

int directory_search(DirectoryConnection *connection, Arena *arena, const DirectorySearch *search,
                     DirectoryEntry **ret_entries, size_t *ret_count, Error *error)
{
    struct timeval left = time_left(connection);
    struct timeval limit = {.tv_sec = left.tv_sec + 1}; /* the server's, in whole seconds */
    int message;
    LDAPMessage *answer = NULL;
    int code = ldap_search_ext(connection->handle, search->base, LDAP_SCOPE_SUBTREE, search->filter,
                               (char **)(uintptr_t)search->attributes, 0, NULL, NULL, &limit,
                               (int)search->maximum + 1, &message);
    if (code != LDAP_SUCCESS)
        return failed(connection, code, "searching", error);
    int r = wait_for(connection, message, "searching", &answer, error);
    if (r >= 0)
        r = read_entries(connection, arena, search, answer, ret_entries, ret_count, error);
    ldap_msgfree(answer);
    return r;
}

/* Entries
 * -----------------------------------------------------------------------------------------------------------
 */

const DirectoryAttribute *directory_entry_get(const DirectoryEntry *entry, const char *name)
{
    for (size_t i = 0; i < entry->count; i++)
        if (strcasecmp(entry->attributes[i].name, name) == 0)
            return entry->attributes[i].count > 0 ? &entry->attributes[i] : NULL;
    return NULL;
}

const char *directory_entry_text(const DirectoryEntry *entry, const char *name)
{
    const DirectoryAttribute *attribute = directory_entry_get(entry, name);
    return attribute ? attribute->values[0].data : NULL;
}
