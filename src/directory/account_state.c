/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/account_state.h"

#include "base/string.h"

static const uint32_t CONTROL_DISABLED = 0x2, CONTROL_LOCKED = 0x10; /* of userAccountControl */
static const int64_t FILETIME_NEVER = INT64_MAX, FILETIME_PER_SECOND = 10000000;
static const int64_t FILETIME_EPOCH = 11644473600; /* seconds from 1601 to 1970 */
static const int64_t SECONDS_PER_DAY = 86400, SHADOW_DAYS_MAX = 10000000;
static const char LOCKED_FOR_EVER[] = "000001010000Z"; /* of pwdAccountLockedTime */

const char *const account_state_attributes[] = {"userAccountControl", "accountExpires",       "shadowExpire",
                                                "nsAccountLock",      "pwdAccountLockedTime", NULL};

static AccountState of_control(const char *value, int64_t now)
{
    (void)now;
    int64_t flags;
    if (string_to_i64(value, INT32_MIN, UINT32_MAX, &flags) < 0)
        return ACCOUNT_UNCLEAR;
    if ((uint32_t)flags & CONTROL_DISABLED)
        return ACCOUNT_DISABLED;
    return (uint32_t)flags & CONTROL_LOCKED ? ACCOUNT_LOCKED : ACCOUNT_USABLE;
}

static AccountState of_filetime(const char *value, int64_t now)
{
    int64_t expiry;
    if (string_to_i64(value, 0, INT64_MAX, &expiry) < 0)
        return ACCOUNT_UNCLEAR;
    if (expiry == 0 || expiry == FILETIME_NEVER)
        return ACCOUNT_USABLE;
    return expiry / FILETIME_PER_SECOND - FILETIME_EPOCH <= now ? ACCOUNT_EXPIRED : ACCOUNT_USABLE;
}

/* Days since 1970; -1 stands for none. shadow(5) leaves open what 0 means: it is taken as over. */
static AccountState of_shadow_day(const char *value, int64_t now)
{
    int64_t day;
    if (string_to_i64(value, -1, SHADOW_DAYS_MAX, &day) < 0)
        return ACCOUNT_UNCLEAR;
    return day >= 0 && day * SECONDS_PER_DAY <= now ? ACCOUNT_EXPIRED : ACCOUNT_USABLE;
}

static AccountState of_boolean(const char *value, int64_t now)
{
    (void)now;
    bool is_locked;
    if (string_to_bool(value, &is_locked) < 0)
        return ACCOUNT_UNCLEAR;
    return is_locked ? ACCOUNT_DISABLED : ACCOUNT_USABLE;
}

/* A time in it ends by itself after what only the directory knows; its bind says then. */
static AccountState of_lock_time(const char *value, int64_t now)
{
    (void)now;
    return string_equal(value, LOCKED_FOR_EVER) ? ACCOUNT_LOCKED : ACCOUNT_USABLE;
}

AccountState account_state_of(const char *attribute, const char *value, Usec realtime)
{
    static AccountState (*const rules[])(const char *, int64_t) = {of_control, of_filetime, of_shadow_day,
                                                                   of_boolean, of_lock_time};
    for (size_t i = 0; i < ELEMENTSOF(rules); i++)
        if (strcasecmp(attribute, account_state_attributes[i]) == 0)
            return rules[i](value, (int64_t)(realtime / USEC_PER_SEC));
    return ACCOUNT_USABLE;
}

const char *account_state_to_string(AccountState state)
{
    static const char *const names[_ACCOUNT_STATE_MAX] = {"usable", "disabled", "expired", "locked",
                                                          "unclear"};
    return state >= 0 && state < _ACCOUNT_STATE_MAX ? names[state] : "unclear";
}
