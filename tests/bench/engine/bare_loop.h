/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The limit of bench_engine: the rows that the engine leaves behind, written by a loop that knows what comes
 * next and decides nothing, with the same schema, settings and batches. */

#include <stdint.h>

typedef struct BareResult {
    double submit, run; /* seconds */
} BareResult;

/* Writes the life of `tasks` tasks, `steps` on each node, `batch` tasks a transaction, into the database file
 * (migrated, otherwise empty). */
BareResult bare_loop(const char *path, int64_t tasks, int64_t steps, int64_t batch);
