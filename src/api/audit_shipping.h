/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Ships the audit trail off this database: each record, in order, to a file that others take away. How far it
 * is stands in the database, so nothing is lost over a restart or while the file cannot be written; a crash
 * may ship some records twice (same shard and sequence). The file is opened for each batch, so whoever
 * rotates it renames it.
 *
 * By policy the manager goes on when the file cannot be written for long, and says so, or changes nothing any
 * more. */

#include "api/api_internal.h"

/* Records a change of the settings before it takes effect. Blocks; before the API serves. */
int shipping_start(Api *api, Error *error);
/* On the loop, now and then. */
void shipping_tick(Api *api);
/* Ships what is there; blocks. */
void shipping_stop(Api *api);
/* 0, or ERROR_UNAVAILABLE when by policy nothing may be changed now. Any thread. */
int shipping_check(const Api *api, Error *error);

typedef struct ShippingState {
    bool is_used, is_failing;
    int64_t lag; /* records that were not shipped when it was looked at last */
} ShippingState;
ShippingState shipping_state(const Api *api);
