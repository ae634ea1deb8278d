/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "directory/kerberos.h"

static void test_sv25_principals(void **state)
{
    (void)state;
    char name[KERBEROS_NAME_MAX];
    assert_int_equal(kerberos_map_principal("ann@EXAMPLE.ORG", "EXAMPLE.ORG", name), 0);
    assert_string_equal(name, "ann");
    static const char *const wrong[] = {"",
                                        "ann",
                                        "@EXAMPLE.ORG",
                                        "ann@example.org",
                                        "ann@OTHER.ORG",
                                        "ann@EXAMPLE.ORG@EXAMPLE.ORG",
                                        "ann/admin@EXAMPLE.ORG",
                                        "ann\\@x@EXAMPLE.ORG",
                                        "ann@EXAMPLE.ORG ",
                                        "1ann@EXAMPLE.ORG",
                                        "host/a@EXAMPLE.ORG"};
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
        assert_int_equal(kerberos_map_principal(wrong[i], "EXAMPLE.ORG", name), -EINVAL);
    char lengthy[KERBEROS_NAME_MAX + 32];
    memset(lengthy, 'a', KERBEROS_NAME_MAX);
    memcpy(lengthy + KERBEROS_NAME_MAX, "@EXAMPLE.ORG", sizeof("@EXAMPLE.ORG"));
    assert_int_equal(kerberos_map_principal(lengthy, "EXAMPLE.ORG", name), -EINVAL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_sv25_principals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
