/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Money as whole billionths: decimal texts such as "0.24" are added and multiplied without rounding. Pure. */

#include "base/macros.h"

typedef uint64_t Decimal; /* in 1e-9 */
enum { DECIMAL_SIZE = 32 };

/* "12", "0.24", ".5": digits with at most one point, at most nine digits behind it and a value below one
 * million. 0 or -EINVAL. */
int decimal_parse(const char *text, Decimal *ret_value);
/* -ERANGE on overflow. */
int decimal_add_times(Decimal *sum, Decimal value, uint64_t times);
/* Without trailing zeros: "0.24", "3", "0". */
void decimal_format(Decimal value, char destination[static DECIMAL_SIZE]);
