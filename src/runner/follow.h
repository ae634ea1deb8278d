/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Following steps on behalf of one connection: their output files are sent as they grow, then their end. The
 * steps do not know of their followers. One thread. */

#include "runner/state.h"

typedef struct FollowSet FollowSet;

FollowSet *follow_set_new(const RunnerState *state);
FollowSet *follow_set_free(FollowSet *set);
DEFINE_CLEANUP(FollowSet, follow_set_free);

/* -EBUSY when the connection follows too many steps; following a step again replaces the request id and
 * offsets. */
int follow_add(FollowSet *set, const char *step, uint32_t request_id, uint64_t stdout_offset,
               uint64_t stderr_offset);
void follow_remove(FollowSet *set, const char *step);
/* Becomes readable when something may have changed; -1 when the kernel gives no such descriptor: then call
 * follow_pump() every follow_interval_ms(). */
int follow_descriptor(const FollowSet *set);
int follow_interval_ms(const FollowSet *set);
/* Appends what there is to the outgoing bytes, stopping when they are more than limit; true when there is
 * more to send now. */
bool follow_pump(FollowSet *set, Buffer *outgoing, size_t limit);
