/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/setup.h"

#include <errno.h>
#include <stdio.h>

#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "crypto/password.h"
#include "custody/keeper_client.h"
#include "domain/policy/policy.h"
#include "engine/audit_trail.h"
#include "manager/identity.h"
#include "store/statements.h"

static const Usec KEEPER_TIMEOUT = 10 * USEC_PER_SEC;
static const char ADMINISTRATOR[] = "admin";

typedef struct FirstAccount {
    char hash[PASSWORD_HASH_SIZE];
    bool is_made;
} FirstAccount;

static int make_first_rows(StoreTransaction *transaction, void *context, Error *error)
{
    FirstAccount *account = context;
    account->is_made = false;
    UserCountRow users;
    int r = statement_user_count(transaction, &users, error);
    if (r < 0 || users.total > 0)
        return MIN(r, 0);
    int64_t now = (int64_t)store_now(transaction);
    const int64_t first_password_life =
        policy_describe(POLICY_ONE_TIME_PASSWORD_LIFE)->initial * (int64_t)USEC_PER_SEC;
    r = statement_tenant_insert(transaction,
                                &(TenantInsertParameters){.name = "default_tenant",
                                                          .description = "The tenant of the beginning",
                                                          .created_at = now},
                                error);
    if (r >= 0)
        r = statement_user_insert(transaction,
                                  &(UserInsertParameters){.username = ADMINISTRATOR,
                                                          .password_hash = account->hash,
                                                          .role = "sys_admin",
                                                          .must_change_password = 1,
                                                          .created_at = now,
                                                          .password_expires_at = now + first_password_life},
                                  error);
    if (r >= 0)
        r = statement_membership_put(transaction,
                                     &(MembershipPutParameters){.tenant = "default_tenant",
                                                                .username = ADMINISTRATOR,
                                                                .role = "manager"},
                                     error);
    if (r >= 0)
        r = audit_trail_append(transaction,
                               &(AuditRecord){.actor = "local administration",
                                              .authentication = "local",
                                              .action = "initialise",
                                              .object = "user:admin"},
                               error);
    account->is_made = r >= 0;
    return MIN(r, 0);
}

static int has_accounts(StoreTransaction *transaction, void *context, Error *error)
{
    bool *answer = context;
    UserCountRow users;
    int r = statement_user_count(transaction, &users, error);
    *answer = r > 0 && users.total > 0;
    return MIN(r, 0);
}

/* Shown on the terminal once, never in a log. */
static int make_first_account(Store *store, Error *error)
{
    bool is_there = false;
    int r = store_run(store, STORE_READ, has_accounts, &is_there, error);
    if (r < 0 || is_there)
        return r;
    _cleanup_secret_ Secret *password = password_generate(&system_random);
    FirstAccount account = {0};
    r = password ? password_hash(password, account.hash) : -ENOMEM;
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "Hashing the first password");
    r = store_run(store, STORE_WRITE, make_first_rows, &account, error);
    if (r >= 0 && account.is_made) {
        (void)printf("First administrator: %s\nOne-time password:   ", ADMINISTRATOR);
        (void)fwrite(secret_bytes(password), 1, secret_size(password), stdout);
        (void)printf("\nIt is not shown again, and expires in three days: sign in and change it before.\n");
        (void)fflush(stdout);
    }
    return r;
}

static int prepare_database(const ManagerConfig *config, Error *error)
{
    Store *store = NULL;
    unsigned applied = 0;
    StoreSettings settings = {
        .location = config->database, .readers = 1, .clock = &system_clock, .random = &system_random};
    int r = store_open(&settings, &store, error);
    if (r >= 0)
        r = store_migrate(store, &applied, error);
    if (r >= 0 && applied > 0)
        log_notice("The database has %u new migrations.", applied);
    if (r >= 0)
        r = make_first_account(store, error);
    store_close(store);
    return r;
}

int setup_initialise(const ManagerConfig *config, Error *error)
{
    static const char *const directories[] = {"", "tls", "bundles"};
    for (size_t i = 0; i < ELEMENTSOF(directories); i++) {
        _cleanup_free_ char *path = manager_path(config, directories[i]);
        int r = directory_make(path, 0700);
        if (r < 0)
            return error_set_errno(error, ERROR_IO, -r, "Making %s", path);
    }
    _cleanup_keeper_client_ KeeperClient *keeper = keeper_client_new(config->keeper_socket, KEEPER_TIMEOUT);
    int r = identity_ensure(config, keeper, NULL, error);
    if (r < 0) {
        error_prefix(error, "The keeper at %s", config->keeper_socket);
        return r;
    }
    return prepare_database(config, error);
}
