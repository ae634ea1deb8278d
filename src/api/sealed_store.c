/* SPDX-License-Identifier: Apache-2.0 */
#include "api/sealed_store.h"

#include "base/string.h"
#include "custody/sealed_value.h"

static const char OLDEST[] = "keys.oldest_generation";

int sealed_store_oldest(StoreTransaction *transaction, int64_t *ret_generation, Error *error)
{
    SettingGetRow row;
    *ret_generation = 1;
    int r = statement_setting_get(transaction, &(SettingGetParameters){.name = OLDEST}, &row, error);
    if (r == 1 && string_to_i64(row.value, 1, UINT32_MAX, ret_generation) < 0)
        return error_set(error, ERROR_INTERNAL, "The setting %s is damaged.", OLDEST);
    return MIN(r, 0);
}

int sealed_store_set_oldest(StoreTransaction *transaction, int64_t generation, Error *error)
{
    char text[32];
    (void)string_print(text, sizeof(text), "%lld", (long long)generation);
    return MIN(
        statement_setting_put(transaction, &(SettingPutParameters){.name = OLDEST, .value = text}, error), 0);
}

int sealed_store_put(StoreTransaction *transaction, const SealedValuePutParameters *value, Error *error)
{
    SealedHeader header;
    int64_t oldest;
    if (sealed_value_parse(value->value.data, value->value.size, &header) < 0)
        return error_set(error, ERROR_INTERNAL, "What is to be stored is no sealed value.");
    int r = sealed_store_oldest(transaction, &oldest, error);
    if (r < 0)
        return r;
    if (header.generation < oldest)
        return error_set(error, ERROR_BUSY, "The keys were just rotated; try again.");
    SealedValuePutParameters parameters = *value;
    parameters.generation = header.generation;
    return MIN(statement_sealed_value_put(transaction, &parameters, error), 0);
}
