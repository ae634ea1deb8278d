/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what people show and set: a cookie header, a recovery code, the scope of a token, a policy.
 * What is taken comes out again as it went in. */
#include <string.h>

#include "api/credentials.h"
#include "base/json.h"
#include "crypto/totp.h"
#include "domain/access/scope.h"
#include "domain/policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_cookie(const char *text)
{
    _cleanup_credentials_ Credentials credentials = {0};
    credentials_read_cookie(text, &credentials);
    ASSERT(credentials.kind == CREDENTIALS_NONE || credentials.kind == CREDENTIALS_BAD ||
           credentials.kind == CREDENTIALS_SESSION);
    ASSERT(credentials.kind != CREDENTIALS_SESSION || strlen(credentials.csrf) == CSRF_TOKEN_SIZE - 1);
}

static void try_scope(const char *text)
{
    _cleanup_token_scope_ TokenScope scope = {0}, again = {0};
    if (token_scope_parse(text, &scope) < 0)
        return;
    _cleanup_free_ char *written = token_scope_to_text(&scope);
    ASSERT(token_scope_parse(written, &again) == 0);
    ASSERT(again.has_permissions == scope.has_permissions && again.tenants.count == scope.tenants.count);
    ASSERT(permission_set_covers(&again.permissions, &scope.permissions));
}

static void try_policies(const char *text, size_t size)
{
    _cleanup_json_ json_t *document = NULL;
    Error ignored = ERROR_INIT;
    if (json_parse(text, size, 64 * 1024, &document, &ignored) < 0 || !json_is_object(document))
        return;
    const char *name;
    json_t *value;
    json_object_foreach (document, name, value) {
        PolicyId id = policy_from_name(name);
        _cleanup_free_ char *stored = NULL;
        Error error = ERROR_INIT;
        if (id < 0 || policy_read(id, value, &stored, &error) < 0)
            continue;
        _cleanup_policy_ Policy policy;
        policy_init(&policy);
        ASSERT(policy_apply(&policy, id, stored) == 0);
        ASSERT(policy_check_within(&policy, id, stored, &error) == 0 ||
               policy_describe(id)->scope == POLICY_SCOPE_SYSTEM);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = string_duplicate_n((const char *)data, size);
    uint8_t hash[HASH_SIZE];
    Error error = ERROR_INIT;
    _cleanup_policy_ Policy policy;
    policy_init(&policy);
    try_cookie(text);
    try_scope(text);
    try_policies(text, strlen(text));
    (void)recovery_code_hash("ann", text, hash);
    (void)policy_check_password(&policy, "ann", text, &error);
    return 0;
}
