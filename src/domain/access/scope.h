/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a token is limited to, of all that its owner may: some permissions, some tenants, or both. It only
 * takes away: a permission that the owner lacks is not there because it stands in a scope. Stored as the JSON
 * object {"permissions": […], "tenants": […]}, and "" for none. Pure; any thread. */

#include <jansson.h>

#include "base/string.h"
#include "domain/access/access.h"

enum { TOKEN_SCOPE_PERMISSIONS_MAX = 256, TOKEN_SCOPE_TENANTS_MAX = 64 };

typedef struct TokenScope {
    bool has_permissions, has_tenants; /* is limited to */
    PermissionSet permissions;
    StringList tenants;
} TokenScope;

void token_scope_done(TokenScope *scope);
#define _cleanup_token_scope_ _cleanup_(token_scope_done)

/* From a request: arrays, or NULL for no limit. ERROR_BAD_FIELD for names that are none. */
int token_scope_read(const json_t *permissions, const json_t *tenants, TokenScope *ret_scope, Error *error);
/* From the database. -EINVAL when it cannot be read: such a token may do nothing. */
int token_scope_parse(const char *text, TokenScope *ret_scope);
/* Owned; "" when nothing is limited. */
char *token_scope_to_text(const TokenScope *scope);
/* A token that a limited one makes is limited at least as much: where it says nothing, as the other.
 * ERROR_FORBIDDEN when it asks for more. */
int token_scope_narrow(TokenScope *scope, const TokenScope *of_maker, Error *error);
/* Takes away what the scope does not have; tenant NULL = the installation. Limited to tenants, a token does
 * in the installation no more than an account without any role. */
void token_scope_apply(const TokenScope *scope, const char *tenant, Principal *principal);
