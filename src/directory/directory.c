/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/directory.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"
#include "directory/connection.h"
#include "directory/filter.h"

enum { PASSWORD_LIMIT = 1024, GROUPS_MAX = 1000, BATCH = 32 };
/* A server that failed is not asked again for so long while there are others, or while nobody waited. */
static const Usec PAUSE = 3 * USEC_PER_SEC;
static const char CHAIN_FILTER[] = "(member:1.2.840.113556.1.4.1941:={dn})";

typedef struct ServerState {
    DirectoryServerStatus status;
    Usec paused_until; /* monotonic */
} ServerState;

struct Directory {
    const DirectorySettings *settings;
    const Clock *clock;
    pthread_mutex_t lock; /* of what follows */
    ServerState *servers; /* as in the settings */
    unsigned calls;
};

void directory_account_done(DirectoryAccount *account)
{
    string_list_done(&account->groups);
}

/* Settings
 * -----------------------------------------------------------------------------------------------------------
 */

static int missing(Error *error, const char *field)
{
    return error_set_field(error, ERROR_CONFIGURATION, field, "A directory needs '%s'.", field);
}

static int check_filters(const DirectorySettings *settings, Error *error)
{
    const struct {
        const char *field, *pattern, *placeholder;
    } filters[] = {{"ldap.user_filter", settings->user_filter, "{username}"},
                   {"ldap.group_filter", settings->group_filter, "{"},
                   {"ldap.nested_filter", settings->nested_filter, "{dn}"}};
    for (size_t i = 0; i < ELEMENTSOF(filters); i++) {
        if (i > 0 && string_is_empty(filters[i].pattern))
            continue;
        if (!directory_filter_is_valid(filters[i].pattern) ||
            !strstr(filters[i].pattern, filters[i].placeholder))
            return error_set_field(error, ERROR_CONFIGURATION, filters[i].field,
                                   "'%s' is a filter in brackets with %s in it.", filters[i].field,
                                   i == 1 ? "{dn} or {username}" : filters[i].placeholder);
    }
    return 0;
}

static int check_settings(const DirectorySettings *settings, Error *error)
{
    for (size_t i = 0; i < settings->servers.count; i++)
        if (!directory_server_is_valid(settings->servers.items[i]))
            return error_set_field(error, ERROR_CONFIGURATION, "ldap.servers",
                                   "'%s' is neither ldaps://HOST[:PORT] nor ldap://HOST[:PORT].",
                                   settings->servers.items[i]);
    const struct {
        const char *field, *value;
    } needed[] = {{"ldap.ca_file", settings->ca_file},
                  {"ldap.bind_dn", settings->bind_dn},
                  {"ldap.bind_password_file", settings->bind_password_file},
                  {"ldap.base_dn", settings->base_dn},
                  {"ldap.username_attribute", settings->username_attribute}};
    for (size_t i = 0; i < ELEMENTSOF(needed); i++)
        if (string_is_empty(needed[i].value))
            return missing(error, needed[i].field);
    if (access(settings->ca_file, R_OK) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "Reading %s", settings->ca_file);
    return check_filters(settings, error);
}

static int read_password(const Directory *directory, Secret **ret_password, Error *error)
{
    const char *path = directory->settings->bind_password_file;
    char *text = NULL;
    size_t size = 0;
    int r = file_read_private(path, geteuid(), PASSWORD_LIMIT, &text, &size);
    if (r < 0)
        return error_set_errno(error, r == -EPERM ? ERROR_INSECURE : ERROR_CONFIGURATION, -r,
                               "Reading %s, which nobody but the manager may read or write", path);
    size_t length = strcspn(text, "\r\n");
    *ret_password = secret_new(text, length);
    memory_wipe(text, size);
    free(text);
    return *ret_password ? 0 : error_set(error, ERROR_INTERNAL, "There is no memory for a password.");
}

int directory_new(const DirectorySettings *settings, const Clock *clock, Directory **ret_directory,
                  Error *error)
{
    int r = directory_library_init();
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "Preparing the directory");
    r = check_settings(settings, error);
    if (r < 0)
        return r;
    _cleanup_(directory_free_pointer) Directory *directory = NEW(Directory);
    directory->settings = settings;
    directory->clock = clock;
    directory->servers = NEW_ARRAY(ServerState, settings->servers.count);
    ASSERT(pthread_mutex_init(&directory->lock, NULL) == 0);
    _cleanup_secret_ Secret *password = NULL;
    r = read_password(directory, &password, error);
    if (r >= 0)
        *ret_directory = TAKE_PTR(directory);
    return r;
}

Directory *directory_free(Directory *directory)
{
    if (!directory)
        return NULL;
    (void)pthread_mutex_destroy(&directory->lock);
    free(directory->servers);
    free(directory);
    return NULL;
}

const DirectorySettings *directory_settings(const Directory *directory)
{
    return directory->settings;
}

/* Servers
 * -----------------------------------------------------------------------------------------------------------
 */

static int begin_call(Directory *directory, Error *error)
{
    ASSERT(pthread_mutex_lock(&directory->lock) == 0);
    bool is_free = directory->calls < DIRECTORY_CALLS_MAX;
    directory->calls += is_free;
    ASSERT(pthread_mutex_unlock(&directory->lock) == 0);
    return is_free ? 0 : error_set(error, ERROR_BUSY, "Too many sign-ins wait for the directory.");
}

static void end_call(Directory *directory)
{
    ASSERT(pthread_mutex_lock(&directory->lock) == 0);
    directory->calls--;
    ASSERT(pthread_mutex_unlock(&directory->lock) == 0);
}

static bool is_paused(Directory *directory, size_t index)
{
    ASSERT(pthread_mutex_lock(&directory->lock) == 0);
    bool result = directory->servers[index].paused_until > clock_monotonic(directory->clock);
    ASSERT(pthread_mutex_unlock(&directory->lock) == 0);
    return result;
}

/* problem: NULL when it answered. */
static void note_try(Directory *directory, size_t index, const Error *problem)
{
    ASSERT(pthread_mutex_lock(&directory->lock) == 0);
    ServerState *server = &directory->servers[index];
    Usec now = clock_realtime(directory->clock);
    server->status.tried_at = now;
    if (problem) {
        server->paused_until = clock_monotonic(directory->clock) + PAUSE;
        (void)string_copy(server->status.problem, sizeof(server->status.problem), problem->text);
    } else {
        server->paused_until = 0;
        server->status.answered_at = now;
        *server->status.problem = '\0';
    }
    ASSERT(pthread_mutex_unlock(&directory->lock) == 0);
}

bool directory_server_status(Directory *directory, size_t index, DirectoryServerStatus *ret_status)
{
    if (index >= directory->settings->servers.count)
        return false;
    ASSERT(pthread_mutex_lock(&directory->lock) == 0);
    *ret_status = directory->servers[index].status;
    ASSERT(pthread_mutex_unlock(&directory->lock) == 0);
    ret_status->url = directory->settings->servers.items[index];
    return true;
}

/* What is asked of one server; all of it is asked of the next one when this fails. */
typedef struct Query {
    Directory *directory;
    Arena *arena;
    const char *username;
    const Secret *password; /* NULL = looked up only */
    DirectoryAccount *account;
    const char **reason;
} Query;

static int bind_self(Directory *directory, DirectoryConnection *connection, Error *error)
{
    _cleanup_secret_ Secret *password = NULL;
    int r = read_password(directory, &password, error);
    if (r < 0)
        return r;
    r = directory_bind(connection, directory->settings->bind_dn, password, error);
    if (r != 0)
        return r;
    return error_set(error, ERROR_UNAVAILABLE, "The directory refuses the account of 'ldap.bind_dn'.");
}

/* Entries
 * -----------------------------------------------------------------------------------------------------------
 */

static const char *read_id(Arena *arena, const DirectoryEntry *entry)
{
    const DirectoryAttribute *guid = directory_entry_get(entry, "objectGUID");
    const char *uuid = directory_entry_text(entry, "entryUUID");
    if (uuid)
        return uuid;
    if (guid && guid->values[0].size <= 64) {
        char *text = arena_allocate(arena, guid->values[0].size * 2 + 1);
        hex_encode(guid->values[0].data, guid->values[0].size, text);
        return text;
    }
    _cleanup_free_ char *name = directory_name_normalise(entry->dn);
    return arena_string(arena, name);
}

static AccountState read_state(const Query *query, const DirectoryEntry *entry)
{
    Usec now = clock_realtime(query->directory->clock);
    for (const char *const *name = account_state_attributes; *name; name++) {
        const DirectoryAttribute *attribute = directory_entry_get(entry, *name);
        for (size_t i = 0; attribute && i < attribute->count; i++) {
            AccountState state = strlen(attribute->values[i].data) == attribute->values[i].size
                                     ? account_state_of(*name, attribute->values[i].data, now)
                                     : ACCOUNT_UNCLEAR;
            if (state != ACCOUNT_USABLE)
                return state;
        }
    }
    return ACCOUNT_USABLE;
}

/* The spelling of the directory, of the value that was asked for; what our own names cannot be is none. */
static const char *read_username(const Query *query, const DirectoryEntry *entry)
{
    const DirectoryAttribute *names =
        directory_entry_get(entry, query->directory->settings->username_attribute);
    for (size_t i = 0; names && i < names->count; i++)
        if (strcasecmp(names->values[i].data, query->username) == 0 &&
            strlen(names->values[i].data) == names->values[i].size &&
            identifier_is_valid(names->values[i].data))
            return names->values[i].data;
    return NULL;
}

enum { ATTRIBUTES_MAX = 16 };

static int find_user(const Query *query, DirectoryConnection *connection, DirectoryEntry *ret_entry,
                     Error *error)
{
    const DirectorySettings *settings = query->directory->settings;
    const char *attributes[ATTRIBUTES_MAX] = {settings->username_attribute, "entryUUID", "objectGUID"};
    size_t count = 3, found;
    if (!string_is_empty(settings->group_attribute))
        attributes[count++] = settings->group_attribute;
    for (const char *const *name = account_state_attributes; *name && count < ATTRIBUTES_MAX - 1; name++)
        attributes[count++] = *name;
    _cleanup_buffer_ Buffer filter = BUFFER_INIT_LIMIT(DIRECTORY_FILTER_MAX);
    DirectoryEntry *entries;
    if (directory_filter_append(&filter, settings->user_filter, query->username, NULL) < 0)
        return error_set(error, ERROR_TOO_LARGE, "The filter for a user is too long.");
    int r = directory_search(connection, query->arena,
                             &(DirectorySearch){.base = settings->base_dn,
                                                .filter = buffer_string(&filter),
                                                .attributes = attributes,
                                                .maximum = 2},
                             &entries, &found, error);
    if (r < 0)
        return r;
    if (found != 1) {
        *query->reason = found == 0 ? "there is no such entry" : "the name is not unique";
        return 0;
    }
    *ret_entry = entries[0];
    return 1;
}

static int read_account(const Query *query, const DirectoryEntry *entry)
{
    DirectoryAccount *account = query->account;
    account->username = read_username(query, entry);
    account->dn = entry->dn;
    account->id = read_id(query->arena, entry);
    account->state = read_state(query, entry);
    if (account->username && account->id)
        return 1;
    *query->reason = "the entry's name cannot be that of an account";
    return 0;
}

/* Groups
 * -----------------------------------------------------------------------------------------------------------
 */

typedef struct GroupWalk {
    const Query *query;
    DirectoryConnection *connection;
    StringMap *seen;     /* normalised names */
    StringList frontier; /* names as the directory gave them, of the level that is looked at next */
} GroupWalk;

static int add_group(GroupWalk *walk, const char *dn, Error *error)
{
    _cleanup_free_ char *name = directory_name_normalise(dn);
    if (!name || string_map_has(walk->seen, name))
        return 0;
    if (string_map_count(walk->seen) >= GROUPS_MAX)
        return error_set(error, ERROR_TOO_LARGE, "'%s' is in more than %d groups.", walk->query->username,
                         GROUPS_MAX);
    string_map_set(walk->seen, name, walk);
    string_list_append(&walk->query->account->groups, name);
    string_list_append(&walk->frontier, dn);
    return 0;
}

static int search_groups(GroupWalk *walk, const char *filter, Error *error)
{
    static const char *const attributes[] = {"1.1", NULL}; /* none */
    const DirectorySettings *settings = walk->query->directory->settings;
    DirectoryEntry *entries;
    size_t count;
    int r = directory_search(walk->connection, walk->query->arena,
                             &(DirectorySearch){.base = settings->group_base_dn ?: settings->base_dn,
                                                .filter = filter,
                                                .attributes = attributes,
                                                .maximum = GROUPS_MAX},
                             &entries, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = add_group(walk, entries[i].dn, error);
    return r;
}

/* One search for up to BATCH groups of a level. */
static int search_above(GroupWalk *walk, const StringList *level, size_t first, Error *error)
{
    _cleanup_buffer_ Buffer filter = BUFFER_INIT_LIMIT(DIRECTORY_FILTER_MAX * BATCH);
    (void)buffer_append_string(&filter, "(|");
    for (size_t i = first; i < level->count && i < first + BATCH; i++)
        (void)directory_filter_append(&filter, walk->query->directory->settings->nested_filter, NULL,
                                      level->items[i]);
    (void)buffer_append_string(&filter, ")");
    if (filter.has_overflowed)
        return error_set(error, ERROR_TOO_LARGE, "The filter for groups is too long.");
    return search_groups(walk, buffer_string(&filter), error);
}

static int walk_upwards(GroupWalk *walk, Error *error)
{
    const DirectorySettings *settings = walk->query->directory->settings;
    int r = 0;
    if (settings->is_active_directory || string_is_empty(settings->nested_filter))
        return 0;
    for (int64_t depth = 0; r >= 0 && depth < settings->nested_levels && walk->frontier.count > 0; depth++) {
        _cleanup_string_list_ StringList level = walk->frontier;
        walk->frontier = (StringList){0};
        for (size_t i = 0; r >= 0 && i < level.count; i += BATCH)
            r = search_above(walk, &level, i, error);
    }
    return r;
}

static int walk_groups(GroupWalk *walk, const DirectoryEntry *entry, Error *error)
{
    const DirectorySettings *settings = walk->query->directory->settings;
    /* Active Directory follows nested groups by itself, however deep. */
    bool is_chain = settings->is_active_directory && settings->nested_levels > 0;
    const char *pattern = is_chain ? CHAIN_FILTER : settings->group_filter;
    const DirectoryAttribute *direct = string_is_empty(settings->group_attribute)
                                           ? NULL
                                           : directory_entry_get(entry, settings->group_attribute);
    int r = 0;
    for (size_t i = 0; r >= 0 && direct && i < direct->count; i++)
        r = add_group(walk, direct->values[i].data, error);
    if (r < 0 || string_is_empty(pattern))
        return r < 0 ? r : walk_upwards(walk, error);
    _cleanup_buffer_ Buffer filter = BUFFER_INIT_LIMIT(DIRECTORY_FILTER_MAX);
    if (directory_filter_append(&filter, pattern, walk->query->account->username, entry->dn) < 0)
        return error_set(error, ERROR_TOO_LARGE, "The filter for groups is too long.");
    r = search_groups(walk, buffer_string(&filter), error);
    return r < 0 ? r : walk_upwards(walk, error);
}

static int read_groups(const Query *query, DirectoryConnection *connection, const DirectoryEntry *entry,
                       Error *error)
{
    GroupWalk walk = {.query = query, .connection = connection, .seen = string_map_new(NULL)};
    int r = walk_groups(&walk, entry, error);
    string_map_free(walk.seen);
    string_list_done(&walk.frontier);
    return r;
}

/* A call
 * -----------------------------------------------------------------------------------------------------------
 */

static int check_person(const Query *query, DirectoryConnection *connection, Error *error)
{
    if (!query->password)
        return 1;
    int r = directory_bind(connection, query->account->dn, query->password, error);
    if (r == 0)
        *query->reason = "the directory refuses the password";
    if (r == 1 && query->account->state != ACCOUNT_USABLE) {
        *query->reason = account_state_to_string(query->account->state);
        r = 0;
    }
    /* What is read afterwards is what our own account may see, not what the person may. */
    return r == 1 ? bind_self(query->directory, connection, error) : r;
}

static int ask_server(const Query *query, size_t index, Usec deadline, Error *error)
{
    const Directory *directory = query->directory;
    const DirectorySettings *settings = directory->settings;
    _cleanup_directory_connection_ DirectoryConnection *connection = NULL;
    DirectoryEntry entry;
    directory_account_done(query->account);
    *query->account = (DirectoryAccount){0};
    int r = directory_connect(settings->servers.items[index], settings->ca_file, directory->clock, deadline,
                              &connection, error);
    if (r >= 0)
        r = bind_self(query->directory, connection, error);
    if (r >= 0)
        r = find_user(query, connection, &entry, error);
    if (r == 1)
        r = read_account(query, &entry);
    if (r == 1)
        r = check_person(query, connection, error);
    if (r != 1)
        return r;
    r = read_groups(query, connection, &entry, error);
    return r < 0 ? r : 1;
}

/* Of the entry, not of the server: another one says the same. */
static bool is_about_entry(const Error *error)
{
    return error->code == ERROR_TOO_LARGE;
}

static int ask_servers(const Query *query, Error *error)
{
    Directory *directory = query->directory;
    const DirectorySettings *settings = directory->settings;
    Usec end = clock_monotonic(directory->clock) + (Usec)settings->timeout_ms * USEC_PER_MSEC;
    Error last = ERROR_INIT;
    int r = error_set(&last, ERROR_UNAVAILABLE, "No server of the directory can be asked at the moment.");
    for (size_t i = 0; i < settings->servers.count && clock_monotonic(directory->clock) < end; i++) {
        if (is_paused(directory, i))
            continue;
        Usec deadline = clock_monotonic(directory->clock) + (Usec)settings->server_timeout_ms * USEC_PER_MSEC;
        error_clear(&last);
        r = ask_server(query, i, MIN(deadline, end), &last);
        note_try(directory, i, r < 0 && !is_about_entry(&last) ? &last : NULL);
        if (r >= 0 || is_about_entry(&last))
            break;
    }
    if (r < 0 && error)
        *error = last;
    return r;
}

static int run_query(const Query *query, Error *error)
{
    *query->account = (DirectoryAccount){0};
    *query->reason = NULL;
    int r = begin_call(query->directory, error);
    if (r < 0)
        return r;
    r = ask_servers(query, error);
    end_call(query->directory);
    return r;
}

int directory_sign_in(Directory *directory, Arena *arena, const char *username, const Secret *password,
                      DirectoryAccount *ret_account, const char **ret_reason, Error *error)
{
    if (!password || secret_size(password) == 0 || !identifier_is_valid(username)) {
        *ret_account = (DirectoryAccount){0};
        *ret_reason = "the name or the password is empty or malformed";
        return 0;
    }
    return run_query(&(Query){.directory = directory,
                              .arena = arena,
                              .username = username,
                              .password = password,
                              .account = ret_account,
                              .reason = ret_reason},
                     error);
}

int directory_look_up(Directory *directory, Arena *arena, const char *username, DirectoryAccount *ret_account,
                      Error *error)
{
    const char *reason;
    return run_query(&(Query){.directory = directory,
                              .arena = arena,
                              .username = username,
                              .account = ret_account,
                              .reason = &reason},
                     error);
}
