/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/policy/policy.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#include "base/buffer.h"
#include "base/memory.h"

enum { NAME_LENGTH_MAX = 64 };

static const PolicyDescription descriptions[_POLICY_MAX] = {
#define POLICY_ROW(symbol, name, kind, scope, direction, initial, minimum, maximum, meaning)                 \
    [POLICY_##symbol] = {                                                                                    \
        name,   POLICY_KIND_##kind, POLICY_SCOPE_##scope, POLICY_##direction, initial, minimum, maximum,     \
        meaning},
#include "domain/policy/policy-table.h"
#undef POLICY_ROW
};

const PolicyDescription *policy_describe(PolicyId id)
{
    ASSERT(id >= 0 && id < _POLICY_MAX);
    return &descriptions[id];
}

PolicyId policy_from_name(const char *name)
{
    for (unsigned i = 0; i < _POLICY_MAX; i++)
        if (string_equal(name, descriptions[i].name))
            return (PolicyId)i;
    return _POLICY_INVALID;
}

const char *policy_kind_to_string(PolicyKind kind)
{
    static const char *const names[] = {"count", "seconds", "names"};
    return names[kind];
}

void policy_init(Policy *policy)
{
    *policy = (Policy){0};
    for (unsigned i = 0; i < _POLICY_MAX; i++)
        policy->numbers[i] = descriptions[i].initial;
}

void policy_done(Policy *policy)
{
    for (unsigned i = 0; i < _POLICY_MAX; i++)
        string_list_done(&policy->names[i]);
}

static void add_names(StringList *list, const StringList *more)
{
    for (size_t i = 0; i < more->count; i++)
        if (!string_list_contains(list, more->items[i]))
            string_list_append(list, more->items[i]);
    string_list_sort(list);
}

void policy_copy(Policy *destination, const Policy *source)
{
    policy_init(destination);
    for (unsigned i = 0; i < _POLICY_MAX; i++) {
        destination->numbers[i] = source->numbers[i];
        add_names(&destination->names[i], &source->names[i]);
    }
}

/* Values
 * ------------------------------------------------------------------------------------------------------------
 */

static int read_names(const PolicyDescription *row, const json_t *value, char **ret_text, Error *error)
{
    _cleanup_string_list_ StringList names = {0};
    if (!json_is_array(value) || json_array_size(value) > (size_t)row->maximum)
        return error_set_field(error, ERROR_BAD_FIELD, row->name,
                               "This is a list of at most %" PRId64 " names.", row->maximum);
    size_t i;
    const json_t *item;
    json_array_foreach (value, i, item) {
        const char *name = json_string_value(item);
        if (!name || !name_is_valid(name) || strlen(name) > NAME_LENGTH_MAX)
            return error_set_field(error, ERROR_BAD_FIELD, row->name,
                                   "Each name has at most %d letters, digits and _.- alone.",
                                   (int)NAME_LENGTH_MAX);
        if (!string_list_contains(&names, name))
            string_list_append(&names, name);
    }
    string_list_sort(&names);
    Buffer text = BUFFER_INIT;
    for (i = 0; i < names.count; i++)
        (void)buffer_append_format(&text, "%s%s", i > 0 ? "," : "", names.items[i]);
    *ret_text = buffer_take_string(&text);
    return 0;
}

int policy_read(PolicyId id, const json_t *value, char **ret_text, Error *error)
{
    const PolicyDescription *row = policy_describe(id);
    if (row->kind == POLICY_KIND_NAMES)
        return read_names(row, value, ret_text, error);
    if (!json_is_integer(value) || json_integer_value(value) < row->minimum ||
        json_integer_value(value) > row->maximum)
        return error_set_field(error, ERROR_BAD_FIELD, row->name,
                               "This is a whole number from %" PRId64 " to %" PRId64 "%s.", row->minimum,
                               row->maximum, row->kind == POLICY_KIND_SECONDS ? ", in seconds" : "");
    *ret_text = string_format("%" PRId64, (int64_t)json_integer_value(value));
    return 0;
}

int policy_apply(Policy *policy, PolicyId id, const char *text)
{
    const PolicyDescription *row = policy_describe(id);
    if (row->kind != POLICY_KIND_NAMES)
        return string_to_i64(text, row->minimum, row->maximum, &policy->numbers[id]);
    string_list_done(&policy->names[id]);
    policy->names[id] = (StringList){0};
    if (*text)
        string_list_split(&policy->names[id], text, ',');
    policy->numbers[id] = (int64_t)policy->names[id].count;
    return policy->names[id].count > (size_t)row->maximum ? -EINVAL : 0;
}

void policy_tighten(Policy *policy, const Policy *other)
{
    for (unsigned i = 0; i < _POLICY_MAX; i++) {
        if (descriptions[i].kind == POLICY_KIND_NAMES) {
            add_names(&policy->names[i], &other->names[i]);
            policy->numbers[i] = (int64_t)policy->names[i].count;
        } else if (descriptions[i].direction == POLICY_LOWER) {
            policy->numbers[i] = MIN(policy->numbers[i], other->numbers[i]);
        } else {
            policy->numbers[i] = MAX(policy->numbers[i], other->numbers[i]);
        }
    }
}

int policy_check_within(const Policy *system, PolicyId id, const char *text, Error *error)
{
    const PolicyDescription *row = policy_describe(id);
    _cleanup_policy_ Policy asked;
    policy_init(&asked);
    if (row->scope != POLICY_SCOPE_TENANT)
        return error_set_field(error, ERROR_BAD_FIELD, row->name, "Only the system has this policy.");
    if (policy_apply(&asked, id, text) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, row->name, "This is no value of the policy.");
    if (row->kind == POLICY_KIND_NAMES) /* they are added to the system's */
        return 0;
    int64_t limit = system->numbers[id];
    if (row->direction == POLICY_LOWER ? asked.numbers[id] > limit : asked.numbers[id] < limit)
        return error_set_field(
            error, ERROR_BAD_FIELD, row->name,
            "A tenant's policy may be tighter than the system's, which is %" PRId64 ", not looser.", limit);
    return 0;
}

/* Passwords
 * ---------------------------------------------------------------------------------------------------------
 */

static size_t count_characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((uint8_t)*text & 0xc0) != 0x80;
    return count;
}

/* The password is a piece of at most four bytes repeated ("aaaaaaaaaaaa", "abcabcabcabc"). */
static bool is_repetition(const char *password)
{
    size_t length = strlen(password);
    for (size_t piece = 1; piece <= 4 && piece < length; piece++)
        if (memcmp(password, password + piece, length - piece) == 0)
            return true;
    return false;
}

/* What is left of a password without the words that are guessed first must still be something. */
static bool is_mostly_guessable(const char *password)
{
    static const char *const pieces[] = {
        "password",   "passw0rd",
        "qwertyuiop", "qwertzuiop",
        "qwerty",     "qwertz",
        "asdfghjkl",  "zxcvbnm",
        "yxcvbnm",    "1234567890",
        "0987654321", "123456",
        "654321",     "abcdefghijklmnopqrstuvwxyz",
        "abcdef",     "changeme",
        "letmein",    "welcome",
        "admin",      "secret",
        "iloveyou",   "bastide",
        "0123456789",
    };
    size_t left = strlen(password), position = 0;
    while (password[position]) {
        size_t step = 0;
        for (size_t i = 0; i < ELEMENTSOF(pieces); i++)
            if (strncasecmp(password + position, pieces[i], strlen(pieces[i])) == 0)
                step = MAX(step, strlen(pieces[i]));
        left -= step;
        position += MAX(step, (size_t)1);
    }
    return left < 6 && left < strlen(password);
}

int policy_check_password(const Policy *policy, const char *username, const char *password, Error *error)
{
    const char *problem = NULL;
    int64_t length = policy->numbers[POLICY_PASSWORD_LENGTH];
    if ((int64_t)count_characters(password) < length)
        return error_set_field(error, ERROR_BAD_FIELD, "password",
                               "A password has at least %" PRId64 " characters.", length);
    if (strcasestr(password, username))
        problem = "A password must not contain the name of the account.";
    else if (is_repetition(password))
        problem = "A password is more than one character, or a few, repeated.";
    else if (is_mostly_guessable(password))
        problem = "This password is among the first that are guessed.";
    for (size_t i = 0; i < policy->names[POLICY_PASSWORD_WORDS].count && !problem; i++)
        if (strcasestr(password, policy->names[POLICY_PASSWORD_WORDS].items[i]))
            problem = "The password contains a word that no password may contain here.";
    return problem ? error_set_field(error, ERROR_BAD_FIELD, "password", "%s", problem) : 0;
}
