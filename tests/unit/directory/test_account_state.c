/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/string.h"
#include "directory/account_state.h"

static const Usec NOW = 1800000000 * USEC_PER_SEC; /* 2027-01-15 08:00 */

static void test_sv2_states(void **state)
{
    (void)state;
    static const struct {
        const char *attribute, *value;
        AccountState expected;
    } rows[] = {
        {"userAccountControl", "512", ACCOUNT_USABLE},
        {"userAccountControl", "514", ACCOUNT_DISABLED},
        {"useraccountcontrol", "66050", ACCOUNT_DISABLED},
        {"userAccountControl", "528", ACCOUNT_LOCKED},
        {"userAccountControl", "-2147483646", ACCOUNT_DISABLED},
        {"userAccountControl", "", ACCOUNT_UNCLEAR},
        {"userAccountControl", "0x2", ACCOUNT_UNCLEAR},
        {"userAccountControl", "99999999999999999999", ACCOUNT_UNCLEAR},
        {"accountExpires", "0", ACCOUNT_USABLE},
        {"accountExpires", "9223372036854775807", ACCOUNT_USABLE},
        {"accountExpires", "134444735999999999", ACCOUNT_EXPIRED}, /* the second before */
        {"accountExpires", "134444736000000000", ACCOUNT_EXPIRED}, /* now */
        {"accountExpires", "134444736010000000", ACCOUNT_USABLE},  /* the second after */
        {"accountExpires", "1", ACCOUNT_EXPIRED},
        {"accountExpires", "-1", ACCOUNT_UNCLEAR},
        {"accountExpires", "9223372036854775808", ACCOUNT_UNCLEAR},
        {"accountExpires", "never", ACCOUNT_UNCLEAR},
        {"shadowExpire", "-1", ACCOUNT_USABLE},
        {"shadowExpire", "0", ACCOUNT_EXPIRED},
        {"shadowExpire", "20833", ACCOUNT_EXPIRED}, /* begins today */
        {"shadowExpire", "20834", ACCOUNT_USABLE},
        {"shadowExpire", "99999999999", ACCOUNT_UNCLEAR},
        {"nsAccountLock", "TRUE", ACCOUNT_DISABLED},
        {"nsAccountLock", "false", ACCOUNT_USABLE},
        {"nsAccountLock", "perhaps", ACCOUNT_UNCLEAR},
        {"pwdAccountLockedTime", "000001010000Z", ACCOUNT_LOCKED},
        {"pwdAccountLockedTime", "20270101000000Z", ACCOUNT_USABLE},
        {"description", "514", ACCOUNT_USABLE},
    };
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        assert_int_equal(account_state_of(rows[i].attribute, rows[i].value, NOW), rows[i].expected);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(account_state_to_string(ACCOUNT_EXPIRED), "expired");
    assert_string_equal(account_state_to_string(_ACCOUNT_STATE_MAX), "unclear");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_sv2_states),
                                              cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
