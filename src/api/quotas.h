/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a tenant may have at most. Checked in the transaction that uses it up, so that no race gives more:
 * the embedded database writes one after another, PostgreSQL runs again who lost. */

#include "api/route.h"

typedef enum Quota { QUOTA_CLUSTERS, QUOTA_NODES, QUOTA_RUNNING_TASKS, QUOTA_BUNDLE_BYTES, _QUOTA_MAX } Quota;

typedef struct QuotaUsage {
    int64_t maximum[_QUOTA_MAX], used[_QUOTA_MAX]; /* maximum 0 = unlimited */
} QuotaUsage;

/* In a write job: ERROR_QUOTA when the tenant of the request may not have so much more. */
int quota_take(ApiCall *call, const int64_t more[static _QUOTA_MAX], Error *error);
