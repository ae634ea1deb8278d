/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one door through which sealed values get into the database. It records the generation of the data key
 * and refuses a value under a key that is about to be destroyed: sealed before a rotation, written after the
 * last old value was sealed anew. In write jobs. */

#include "store/statements.h"

/* Fills generation from the value itself. ERROR_BUSY when the keys were rotated between sealing and writing;
 * the request may be repeated. */
int sealed_store_put(StoreTransaction *transaction, const SealedValuePutParameters *value, Error *error);

/* The oldest generation that may be written; 1 when none was retired. */
int sealed_store_oldest(StoreTransaction *transaction, int64_t *ret_generation, Error *error);
/* From now on nothing older is written. */
int sealed_store_set_oldest(StoreTransaction *transaction, int64_t generation, Error *error);
