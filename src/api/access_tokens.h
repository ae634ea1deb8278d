/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Making tokens, for the route and for local administration. In write jobs. */

#include "base/secret.h"
#include "store/store.h"

/* tenant and description may be NULL. */
int token_create(StoreTransaction *transaction, Random *random, const char *username, const char *tenant,
                 const char *description, int64_t expires_at, char ret_id[static ID_SIZE], Secret **ret_token,
                 Error *error);
