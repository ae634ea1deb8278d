/* SPDX-License-Identifier: Apache-2.0 */
#include "api/directory_accounts.h"

#include "base/string.h"
#include "directory/filter.h"

static const char ACTOR[] = "directory";

static int record(StoreTransaction *transaction, const char *action, const char *username,
                  const char *details, Error *error)
{
    return audit_trail_append(
        transaction,
        &(AuditRecord){.actor = ACTOR,
                       .action = action,
                       .object = arena_format(store_arena(transaction), "user:%s", username),
                       .details = details},
        error);
}

static int withdraw(StoreTransaction *transaction, const char *username, const char *reason, Error *error)
{
    int changed = statement_directory_user_withdraw(
        transaction, &(DirectoryUserWithdrawParameters){.username = username}, error);
    int r = changed;
    if (r >= 0)
        r = statement_tokens_revoke_of_user(
            transaction, &(TokensRevokeOfUserParameters){.username = username, .kind = "", .but = ""}, error);
    if (r < 0 || changed == 0)
        return MIN(r, 0);
    return record(transaction, "user_withdraw", username,
                  arena_format(store_arena(transaction), "{\"reason\":\"%s\"}", reason), error);
}

int directory_account_withdraw(StoreTransaction *transaction, const char *username, const char *reason,
                               Error *error)
{
    int r = withdraw(transaction, username, reason, error);
    if (r < 0)
        return r;
    r = statement_directory_user_note(
        transaction,
        &(DirectoryUserNoteParameters){.username = username, .now = (int64_t)store_now(transaction)}, error);
    return MIN(r, 0);
}

/* Groups
 * -----------------------------------------------------------------------------------------------------------
 */

typedef struct GroupChange {
    StoreTransaction *transaction;
    const DirectoryAccount *account;
    DirectoryGroupsRow *rows;
    bool *is_wanted;
    size_t count, wanted;
} GroupChange;

static int read_groups(GroupChange *change, Error *error)
{
    int r = statement_directory_groups(change->transaction,
                                       &(DirectoryGroupsParameters){.username = change->account->username},
                                       &change->rows, &change->count, error);
    if (r < 0)
        return r;
    change->is_wanted =
        arena_allocate_array(store_arena(change->transaction), change->count + 1, sizeof(*change->is_wanted));
    for (size_t i = 0; i < change->count; i++) {
        _cleanup_free_ char *name = directory_name_normalise(change->rows[i].ldap_group_dn);
        change->is_wanted[i] = name && string_list_contains(&change->account->groups, name);
        change->wanted += change->is_wanted[i];
    }
    return 0;
}

static int change_group(const GroupChange *change, size_t index, Error *error)
{
    const char *group = change->rows[index].name, *username = change->account->username;
    bool is_wanted = change->is_wanted[index];
    int r = is_wanted
                ? statement_directory_group_join(
                      change->transaction,
                      &(DirectoryGroupJoinParameters){.group_name = group, .username = username}, error)
                : statement_directory_group_leave(
                      change->transaction,
                      &(DirectoryGroupLeaveParameters){.group_name = group, .username = username}, error);
    if (r < 0)
        return r;
    return record(change->transaction, is_wanted ? "group_join" : "group_leave", username,
                  arena_format(store_arena(change->transaction), "{\"group\":\"%s\"}", group), error);
}

static int change_groups(const GroupChange *change, Error *error)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < change->count; i++)
        if (change->is_wanted[i] != (change->rows[i].is_member > 0))
            r = change_group(change, i, error);
    return MIN(r, 0);
}

/* The account
 * -----------------------------------------------------------------------------------------------------------
 */

static int make_account(StoreTransaction *transaction, const DirectoryAccount *account, Error *error)
{
    int r = statement_directory_user_insert(
        transaction,
        &(DirectoryUserInsertParameters){.username = account->username,
                                         .directory_id = account->id,
                                         .now = (int64_t)store_now(transaction)},
        error);
    return r < 0 ? r : record(transaction, "user_create", account->username, "{\"origin\":\"ldap\"}", error);
}

static int renew_account(StoreTransaction *transaction, const DirectoryAccount *account, Error *error)
{
    int r = statement_directory_user_give_back(
        transaction, &(DirectoryUserGiveBackParameters){.username = account->username}, error);
    if (r > 0)
        r = record(transaction, "user_give_back", account->username, NULL, error);
    if (r >= 0)
        r = statement_directory_user_note(
            transaction,
            &(DirectoryUserNoteParameters){.username = account->username,
                                           .now = (int64_t)store_now(transaction)},
            error);
    return MIN(r, 0);
}

/* Why this entry cannot have the account of its name, or NULL. A local account is never taken over. */
static const char *find_objection(const UserGetRow *row, const DirectoryAccount *account)
{
    if (string_equal(row->origin, "local"))
        return "a local account has this name";
    if (!string_equal(row->directory_id, account->id))
        return "the name was that of another entry; remove the account first";
    return NULL;
}

static int store_known(StoreTransaction *transaction, const DirectoryAccount *account, bool is_known,
                       GroupChange *change, Error *error)
{
    int r = is_known ? renew_account(transaction, account, error) : make_account(transaction, account, error);
    return r < 0 ? r : change_groups(change, error);
}

int directory_account_store(StoreTransaction *transaction, const DirectorySettings *settings,
                            const DirectoryAccount *account, const char **ret_reason, Error *error)
{
    UserGetRow row;
    GroupChange change = {.transaction = transaction, .account = account};
    *ret_reason = NULL;
    int r = statement_user_get(transaction, &(UserGetParameters){.username = account->username}, &row, error);
    if (r < 0)
        return r;
    const bool is_known = r == 1;
    *ret_reason = is_known ? find_objection(&row, account) : NULL;
    if (*ret_reason)
        return 0;
    r = read_groups(&change, error);
    if (r < 0)
        return r;
    if (account->state != ACCOUNT_USABLE)
        *ret_reason = account_state_to_string(account->state);
    else if (settings->requires_group && change.wanted == 0)
        *ret_reason = "in no group that has an ldap_group_dn";
    if (!*ret_reason)
        r = store_known(transaction, account, is_known, &change, error);
    else if (is_known)
        r = directory_account_withdraw(transaction, account->username, *ret_reason, error);
    return r < 0 ? r : *ret_reason ? 0 : 1;
}
