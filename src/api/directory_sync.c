/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at all accounts of the directory at intervals, and shows administrators how the directory does. */

#include <errno.h>

#include "api/api_internal.h"
#include "api/directory_accounts.h"
#include "base/log.h"
#include "base/string.h"
#include "directory/filter.h"

enum { PAGE = 200 };
static const Usec FIRST = 5 * USEC_PER_SEC; /* after the start */

struct DirectorySync {
    sd_event_source *timer;
    Usec interval;
    _Atomic(bool) is_running;
    _Atomic(uint64_t) finished_at; /* wall clock, of the last one that reached the end; 0 = none yet */
};

typedef struct Round {
    Api *api;
    Arena *arena; /* of one page */
    char names[PAGE][256];
    int64_t checked_at[PAGE];
    char after[256];
    size_t count;
    const char *username;
    const DirectoryAccount *account; /* NULL = the directory has none */
} Round;

static int read_page(StoreTransaction *transaction, void *context, Error *error)
{
    Round *round = context;
    DirectoryUsersRow *rows;
    int r = statement_directory_users(transaction,
                                      &(DirectoryUsersParameters){.after = round->after, .maximum = PAGE},
                                      &rows, &round->count, error);
    for (size_t i = 0; r >= 0 && i < round->count; i++) {
        round->checked_at[i] = rows[i].directory_checked_at;
        r = string_copy(round->names[i], sizeof(round->names[i]), rows[i].username);
    }
    return r;
}

static int store_answer(StoreTransaction *transaction, void *context, Error *error)
{
    const Round *round = context;
    const char *reason;
    if (!round->account)
        return directory_account_withdraw(transaction, round->username, "no longer in the directory", error);
    int r = directory_account_store(transaction, directory_settings(round->api->directory), round->account,
                                    &reason, error);
    if (r != 0)
        return MIN(r, 0);
    return directory_account_withdraw(transaction, round->username, reason, error);
}

/* The directory has not answered for so long that its last word no longer counts. */
static int end_tokens(StoreTransaction *transaction, void *context, Error *error)
{
    const Round *round = context;
    return statement_tokens_revoke_of_user(
        transaction, &(TokensRevokeOfUserParameters){.username = round->username, .kind = "", .but = ""},
        error);
}

static int check_account(Round *round, size_t index, Error *error)
{
    Api *api = round->api;
    _cleanup_directory_account_ DirectoryAccount account = {0};
    round->username = round->names[index];
    round->account = NULL;
    int r = directory_look_up(api->directory, round->arena, round->username, &account, error);
    if (r < 0)
        return r;
    /* A name in another spelling is another name. */
    if (r == 1 && string_equal(account.username, round->username))
        round->account = &account;
    return store_run(api->settings.store, STORE_WRITE, store_answer, round, error);
}

static void end_stale(Round *round, size_t index)
{
    Api *api = round->api;
    const DirectorySettings *settings = directory_settings(api->directory);
    int64_t limit =
        (int64_t)clock_realtime(api->settings.clock) - settings->unverified_limit_ms * (int64_t)USEC_PER_MSEC;
    Error error = ERROR_INIT;
    round->username = round->names[index];
    if (round->checked_at[index] > limit)
        return;
    if (store_run(api->settings.store, STORE_WRITE, end_tokens, round, &error) < 0)
        log_error_record(LOG_LEVEL_ERROR, "ending tokens that the directory no longer vouches for", &error);
}

static int check_page(Round *round, Error *error)
{
    int r = 0;
    for (size_t i = 0; i < round->count && !round->api->is_draining; i++) {
        if (r >= 0)
            r = check_account(round, i, error);
        if (r < 0)
            end_stale(round, i);
        arena_reset(round->arena);
    }
    return r;
}

static void run_round(Api *api, void *context)
{
    DirectorySync *sync = context;
    Round *round = NEW(Round);
    Error error = ERROR_INIT;
    int r, problem = 0;
    round->api = api;
    round->arena = arena_new();
    do {
        r = store_run(api->settings.store, STORE_READ, read_page, round, &error);
        if (r >= 0 && check_page(round, &error) < 0)
            problem = -EIO;
        if (round->count > 0)
            (void)string_copy(round->after, sizeof(round->after), round->names[round->count - 1]);
    } while (r >= 0 && round->count == PAGE && !api->is_draining);
    if (r < 0 || problem < 0)
        log_error_record(LOG_LEVEL_WARNING, "looking at the accounts of the directory", &error);
    else
        atomic_store(&sync->finished_at, clock_realtime(api->settings.clock));
    arena_free(round->arena);
    free(round);
    atomic_store(&sync->is_running, false);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    Api *api = userdata;
    DirectorySync *sync = api->directory_sync;
    if (!api->is_draining && !atomic_exchange(&sync->is_running, true) &&
        pool_submit(api, run_round, sync) < 0)
        atomic_store(&sync->is_running, false);
    (void)sd_event_source_set_time(source, usec + sync->interval);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int end_all_tokens(StoreTransaction *transaction, void *context, Error *error)
{
    (void)context;
    return statement_directory_tokens_revoke(transaction, error);
}

int directory_sync_start(Api *api, Error *error)
{
    if (!api->directory)
        return store_run(api->settings.store, STORE_WRITE, end_all_tokens, NULL, error);
    DirectorySync *sync = NEW(DirectorySync);
    sync->interval = (Usec)directory_settings(api->directory)->sync_interval_ms * USEC_PER_MSEC;
    api->directory_sync = sync;
    ASSERT(sd_event_add_time_relative(api->settings.event, &sync->timer, CLOCK_MONOTONIC,
                                      MIN(FIRST, sync->interval), USEC_PER_MSEC, on_timer, api) >= 0);
    return 0;
}

void directory_sync_stop(Api *api)
{
    if (!api->directory_sync)
        return;
    sd_event_source_disable_unref(api->directory_sync->timer);
    free(api->directory_sync);
    api->directory_sync = NULL;
}

/* What is shown
 * -----------------------------------------------------------------------------------------------------------
 */

static int get_idp(ApiCall *call, Error *error)
{
    (void)error;
    return buffer_append_string(&call->answer, call->api->directory ? "\"local,ldap\"" : "\"local\"");
}

static int get_ldap(ApiCall *call, Error *error)
{
    (void)error;
    return buffer_append_string(&call->answer, call->api->directory ? "\"enabled\"" : "\"disabled\"");
}

static void write_servers(ApiCall *call, Writer *writer)
{
    DirectoryServerStatus status;
    writer_begin_array(writer, "servers");
    for (size_t i = 0; directory_server_status(call->api->directory, i, &status); i++) {
        writer_begin_object(writer, NULL);
        writer_string(writer, "url", status.url);
        writer_time(writer, "tried_at", (int64_t)status.tried_at);
        writer_time(writer, "answered_at", (int64_t)status.answered_at);
        writer_string(writer, "problem", *status.problem ? status.problem : NULL);
        writer_end_object(writer);
    }
    writer_end_array(writer);
}

static int get_directory(ApiCall *call, Error *error)
{
    DirectoryUsersCountRow row;
    int r = statement_directory_users_count(call->transaction, &row, error);
    if (r < 0)
        return r;
    Api *api = call->api;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_boolean(&writer, "is_enabled", api->directory != NULL);
    if (api->directory) {
        write_servers(call, &writer);
        writer_time(&writer, "synchronised_at", (int64_t)atomic_load(&api->directory_sync->finished_at));
        writer_integer(&writer, "sync_interval_seconds",
                       (int64_t)(api->directory_sync->interval / USEC_PER_SEC));
    }
    writer_integer(&writer, "accounts", row.total);
    writer_integer(&writer, "withdrawn", row.withdrawn);
    writer_time(&writer, "oldest_check_at", row.oldest);
    writer_end_object(&writer);
    return writer.status;
}

/* Trying
 * -----------------------------------------------------------------------------------------------------------
 */

typedef struct TestBody {
    const char *username;
} TestBody;

static const JsonField test_fields[] = {
    {"username", JSON_FIELD_STRING, offsetof(TestBody, username), JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER,
     1, 255, "who is looked up; nobody is signed in"},
    {0},
};

static int read_mapped(ApiCall *call, void *context, Error *error)
{
    const DirectoryAccount *account = context;
    DirectoryGroupsRow *rows;
    size_t count;
    int r = statement_directory_groups(
        call->transaction, &(DirectoryGroupsParameters){.username = account->username}, &rows, &count, error);
    if (r < 0)
        return r;
    buffer_clear(&call->answer); /* the job may run again */
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "username", account->username);
    writer_string(&writer, "dn", account->dn);
    writer_string(&writer, "state", account_state_to_string(account->state));
    writer_begin_array(&writer, "directory_groups");
    for (size_t i = 0; i < account->groups.count; i++)
        writer_string(&writer, NULL, account->groups.items[i]);
    writer_end_array(&writer);
    writer_begin_array(&writer, "groups");
    for (size_t i = 0; i < count; i++) {
        _cleanup_free_ char *name = directory_name_normalise(rows[i].ldap_group_dn);
        if (name && string_list_contains(&account->groups, name))
            writer_string(&writer, NULL, rows[i].name);
    }
    writer_end_array(&writer);
    writer_end_object(&writer);
    return writer.status;
}

static int post_test(ApiCall *call, Error *error)
{
    TestBody body = {0};
    _cleanup_directory_account_ DirectoryAccount account = {0};
    int r = body_dispatch(call, test_fields, &body, error);
    if (r < 0)
        return r;
    if (!call->api->directory)
        return error_set(error, ERROR_CONFLICT, "No directory is configured.");
    r = directory_look_up(call->api->directory, call->arena, body.username, &account, error);
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "The directory has no '%s', or more than one.",
                         body.username);
    call->audit_object = arena_format(call->arena, "user:%s", body.username);
    return r < 0 ? r : api_call_run(call, STORE_WRITE, read_mapped, &account, error);
}

const ApiRoute routes_directory[] = {
    ROUTE(GET, "/idp", IDENTITY_PROVIDER_GET, NO_TENANT, READ, NO_BODY, get_idp, NULL, 200,
          "Who vouches for accounts: local, or local,ldap"),
    ROUTE(GET, "/ldap", LDAP_STATUS_GET, NO_TENANT, READ, NO_BODY, get_ldap, NULL, 200,
          "Whether there is a directory: enabled or disabled"),
    ROUTE(GET, "/directory", DIRECTORY_MANAGE, NO_TENANT, READ, NO_BODY, get_directory, NULL, 200,
          "How the servers of the directory answer, and how old its word is"),
    ROUTE(POST, "/directory/test", DIRECTORY_MANAGE, NO_TENANT, POOL, JSON_BODY, post_test, "directory_test",
          200, "What the directory says about a person: state and groups", .fields = test_fields,
          .unshown = "it asks the directory and changes nothing here"),
    {0},
};
