/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Care for the keys, and what a sealed keeper means for the API.
 *
 * Theory of operation: after a rotation the keeper seals under new data keys, and every value of the database
 * is sealed anew in small batches, each a job between those of requests. A pass begins from what the database
 * says, so nothing needs to be remembered over a kill -9. When no older value is left, one transaction counts
 * them once more and forbids writing any (sealed_store.h); only then the keeper destroys the older keys. A
 * value that does not open is counted and kept, and so are the old keys.
 *
 * The state of the keeper is asked for every few seconds. While it is sealed, only the routes with
 * while_sealed are served and no task is handed out. keys_start and keys_stop run on the loop's thread; the
 * rest on any. */

#include "api/api_internal.h"

int keys_start(Api *api, Error *error);
void keys_stop(Api *api);
/* Looks for values under older keys now rather than at the next care. */
void keys_care(Api *api);
bool keys_is_sealed(const Api *api);

typedef struct KeysProgress {
    bool is_running;
    int64_t renewed;    /* values of the present or last pass */
    int64_t unreadable; /* values that did not open in it */
} KeysProgress;
KeysProgress keys_progress(const Api *api);
