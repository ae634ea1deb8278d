/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the manager has yet to be told: output of steps and reports of tasks. A thread of its own sends both,
 * in batches, output of a task before its report, again and again until the manager has taken or refused
 * them. The queue of output is bounded: who has more to say waits. Any thread. */

#include "provisioner/execute.h"

typedef struct Outbox Outbox;

/* Called on the outbox's thread for each report that the manager has decided on. */
typedef void (*OutboxReported)(const char *task, int64_t attempt, void *userdata);

int outbox_new(Manager *manager, uint64_t epoch, OutboxReported reported, void *userdata, Outbox **ret_outbox,
               Error *error);
/* Ends the thread; what was not sent is lost. */
Outbox *outbox_free(Outbox *outbox);
DEFINE_CLEANUP(Outbox, outbox_free);
void outbox_add_output(Outbox *outbox, const Task *task, RunnerStream stream, uint64_t offset,
                       const void *data, size_t size);
void outbox_add_report(Outbox *outbox, const Task *task, const Outcome *outcome);
/* Waits until everything was sent; false when the deadline (monotonic) came first. */
bool outbox_flush(Outbox *outbox, Usec deadline);
