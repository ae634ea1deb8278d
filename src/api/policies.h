/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The policies in force, kept in memory: read from the database at the start, after every change, and every
 * few seconds, because another manager may have changed them. Any thread. */

#include "domain/policy/policy.h"
#include "store/store.h"

typedef struct Api Api;
typedef struct PolicyBook PolicyBook;

PolicyBook *policy_book_new(void);
PolicyBook *policy_book_free(PolicyBook *book);
/* Not from a job. */
int policies_load(Api *api, Error *error);
/* Queues a load when the last is some seconds old. Loop's thread. */
void policies_refresh(Api *api);

int64_t policy_of_system(Api *api, PolicyId id);
/* A number in force within a tenant: the tighter of the two. */
int64_t policy_of_tenant(Api *api, const char *tenant, PolicyId id);
/* True when the policy names anything at all, in the system's list or the tenant's. */
bool policy_names_any(Api *api, const char *tenant, PolicyId id);
/* True when the name stands in the system's list, or in the tenant's (NULL = no tenant). */
bool policy_names_role(Api *api, const char *tenant, PolicyId id, const char *role);
/* What an account is held to: the system's policy, tightened by those of all its tenants. In a job. The
 * result is the caller's to end. */
int policy_of_account(Api *api, StoreTransaction *transaction, const char *username, Policy *ret_policy,
                      Error *error);
/* The system's; the result is the caller's to end. */
void policy_of_installation(Api *api, Policy *ret_policy);
