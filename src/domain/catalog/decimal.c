/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/catalog/decimal.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#include "base/string.h"

enum { DECIMAL_ONE = 1000000000, DECIMAL_WHOLE_LIMIT = 1000000 };

int decimal_parse(const char *text, Decimal *ret_value)
{
    uint64_t whole = 0, fraction = 0, scale = DECIMAL_ONE;
    bool has_digit = false;
    for (; isdigit((unsigned char)*text); text++, has_digit = true) {
        whole = whole * 10 + (uint64_t)(*text - '0');
        if (whole >= DECIMAL_WHOLE_LIMIT)
            return -EINVAL;
    }
    if (*text == '.')
        for (text++; isdigit((unsigned char)*text); text++, has_digit = true) {
            if (scale == 1)
                return -EINVAL;
            scale /= 10;
            fraction += (uint64_t)(*text - '0') * scale;
        }
    if (*text || !has_digit)
        return -EINVAL;
    *ret_value = whole * DECIMAL_ONE + fraction;
    return 0;
}

int decimal_add_times(Decimal *sum, Decimal value, uint64_t times)
{
    uint64_t product, total;
    if (__builtin_mul_overflow(value, times, &product) || __builtin_add_overflow(*sum, product, &total))
        return -ERANGE;
    *sum = total;
    return 0;
}

void decimal_format(Decimal value, char destination[static DECIMAL_SIZE])
{
    (void)string_print(destination, DECIMAL_SIZE, "%" PRIu64 ".%09" PRIu64, value / DECIMAL_ONE,
                       value % DECIMAL_ONE);
    size_t length = strlen(destination);
    while (destination[length - 1] == '0')
        length--;
    if (destination[length - 1] == '.')
        length--;
    destination[length] = '\0';
}
