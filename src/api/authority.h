/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What keeps people from raising themselves or others (S20): nobody gives, takes over or changes what he does
 * not have himself, and the installation keeps an administrator. In jobs of a call. */

#include "api/api_internal.h"

/* The role is there, is one of the installation (tenant NULL) or of tenants, and the caller has all of it
 * there. */
int authority_over_role(ApiCall *call, const char *role, const char *tenant, Error *error);
/* The caller has everything that the group gives to its members. */
int authority_over_group(ApiCall *call, const char *group, Error *error);
/* The caller has everything that the account has, in every tenant: needed to change its password or role. */
int authority_over_account(ApiCall *call, const char *username, Error *error);
/* Members `groups`, `group_system_roles` and `tenant_roles` of an account's answer. */
int write_groups_of_user(ApiCall *call, Writer *writer, const char *username, Error *error);
/* After a handler: when it changed who may do what, somebody must still administer the installation. */
int authority_check_administrators(ApiCall *call, Error *error);
