/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/shamir.h"

#include <errno.h>
#include <string.h>

#include "base/secret.h"

uint8_t shamir_multiply(uint8_t a, uint8_t b)
{
    unsigned product = 0, factor = a;

    for (unsigned i = 0; i < 8; i++) {
        product ^= factor & (0u - ((unsigned)b >> i & 1u));
        factor = factor << 1 ^ (0x11bu & (0u - (factor >> 7 & 1u)));
    }
    return (uint8_t)product;
}

/* a^254, and 0 for 0. */
uint8_t shamir_invert(uint8_t a)
{
    uint8_t square = a, result = 1;

    for (unsigned i = 0; i < 7; i++) {
        square = shamir_multiply(square, square);
        result = shamir_multiply(result, square);
    }
    return result;
}

int shamir_split(const uint8_t *secret, size_t size, unsigned threshold, unsigned count, Random *random,
                 uint8_t *ret_shares)
{
    uint8_t coefficients[SHAMIR_SHARES_MAX];

    if (threshold < 2 || threshold > count || count > SHAMIR_SHARES_MAX || size == 0 ||
        size > SHAMIR_SECRET_MAX)
        return -EINVAL;
    for (size_t i = 0; i < size; i++) {
        random_bytes(random, coefficients, threshold - 1);
        for (unsigned share = 0; share < count; share++) {
            uint8_t value = 0;

            /* Horner's rule, from the highest power down to the secret itself. */
            for (unsigned power = threshold - 1; power > 0; power--)
                value = shamir_multiply(value ^ coefficients[power - 1], (uint8_t)(share + 1));
            ret_shares[share * size + i] = value ^ secret[i];
        }
    }
    memory_wipe(coefficients, sizeof(coefficients));
    return 0;
}

/* The Lagrange polynomial of one point, at 0. */
static uint8_t weight(const uint8_t *points, unsigned count, unsigned self)
{
    uint8_t numerator = 1, denominator = 1;

    for (unsigned i = 0; i < count; i++) {
        if (i == self)
            continue;
        numerator = shamir_multiply(numerator, points[i]);
        denominator = shamir_multiply(denominator, points[i] ^ points[self]);
    }
    return shamir_multiply(numerator, shamir_invert(denominator));
}

int shamir_combine(const uint8_t *points, const uint8_t *const *shares, unsigned count, size_t size,
                   uint8_t *ret_secret)
{
    if (count < 2 || count > SHAMIR_SHARES_MAX || size == 0 || size > SHAMIR_SECRET_MAX)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            if (points[i] == points[j])
                return -EINVAL;
    for (unsigned i = 0; i < count; i++)
        if (points[i] == 0)
            return -EINVAL;
    memset(ret_secret, 0, size);
    for (unsigned i = 0; i < count; i++) {
        uint8_t factor = weight(points, count, i);

        for (size_t j = 0; j < size; j++)
            ret_secret[j] ^= shamir_multiply(shares[i][j], factor);
    }
    return 0;
}
