/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Policies: rules of the installation that administrators set while it runs, each a row of one table with its
 * default and its limits. A tenant may have tighter rules than the system, never looser ones; who belongs to
 * several tenants is held to the tightest of each. Pure; any thread, a Policy belongs to one at a time. */

#include <jansson.h>

#include "base/error.h"
#include "base/string.h"

typedef enum PolicyId {
#define POLICY_ROW(symbol, name, kind, scope, direction, initial, minimum, maximum, meaning) POLICY_##symbol,
#include "domain/policy/policy-table.h"
#undef POLICY_ROW
    _POLICY_MAX,
    _POLICY_INVALID = -22,
} PolicyId;

typedef enum PolicyKind { POLICY_KIND_COUNT, POLICY_KIND_SECONDS, POLICY_KIND_NAMES } PolicyKind;
typedef enum PolicyScope { POLICY_SCOPE_SYSTEM, POLICY_SCOPE_TENANT } PolicyScope;
typedef enum PolicyDirection { POLICY_LOWER, POLICY_HIGHER } PolicyDirection;

typedef struct PolicyDescription {
    const char *name;
    PolicyKind kind;
    PolicyScope scope;
    PolicyDirection direction;
    int64_t initial, minimum, maximum;
    const char *meaning;
} PolicyDescription;

const PolicyDescription *policy_describe(PolicyId id);
PolicyId policy_from_name(const char *name);
const char *policy_kind_to_string(PolicyKind kind);

/* The values of all rows. */
typedef struct Policy {
    int64_t numbers[_POLICY_MAX];
    StringList names[_POLICY_MAX]; /* of rows of kind NAMES; sorted, each once */
} Policy;

/* The defaults. */
void policy_init(Policy *policy);
void policy_done(Policy *policy);
#define _cleanup_policy_ _cleanup_(policy_done)
void policy_copy(Policy *destination, const Policy *source);

/* A value from outside, checked against the limits of its row, as the text that is stored. Owned. */
int policy_read(PolicyId id, const json_t *value, char **ret_text, Error *error);
/* Takes a stored text over. -EINVAL when it is none (a row of a newer version). */
int policy_apply(Policy *policy, PolicyId id, const char *text);
/* Where the other is tighter, its value. */
void policy_tighten(Policy *policy, const Policy *other);
/* ERROR_BAD_FIELD when the text would be looser than the system's value, or is not a tenant's to set. */
int policy_check_within(const Policy *system, PolicyId id, const char *text, Error *error);

/* Length is what counts (NIST SP 800-63B): no rules about kinds of characters. Refused is what is easily
 * guessed: the account's name, the words of the policy, the product's name, one character or a short piece
 * repeated, rows of the keyboard. Length in characters, not bytes. Never quotes the password. */
int policy_check_password(const Policy *policy, const char *username, const char *password, Error *error);
