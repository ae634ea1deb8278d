/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the engine's tests share: a clock that is set by hand, a store in memory with one tenant, one cluster
 * and its nodes, and the engine's calls as one job each. */

#include "base/clock.h"
#include "engine/audit_trail.h"
#include "engine/engine.h"
#include "store/statements.h"
#include "store/store.h"

typedef struct FakeClock {
    Clock clock;
    Usec now;
} FakeClock;

typedef struct Fixture {
    FakeClock clock;
    SeededRandom random;
    Store *store;
    Engine *engine;
    EngineEffects effects;
    unsigned wakes;
    bool has_published;
    char cluster[ID_SIZE];
    char nodes[64][ID_SIZE];
    unsigned node_count;
    bool is_right_gone; /* nobody may have anything done any more */
    unsigned rights_asked;
} Fixture;

static const char TENANT[] __attribute__((unused)) = "default_tenant";

void fixture_open(Fixture *fixture, uint64_t seed, unsigned node_count);
void fixture_close(Fixture *fixture);
/* The manager's process died and started again: memory is gone, the store stays. */
void fixture_restart(Fixture *fixture);

void fixture_submit(Fixture *fixture, const char *workflow, const EngineTask *tasks, size_t task_count,
                    const EngineEdge *edges, size_t edge_count, char ret_execution[static ID_SIZE]);

typedef struct Leased {
    char task[40], step[56], action[32], node[ID_SIZE];
    int64_t attempt;
} Leased;
/* How many were leased. */
size_t fixture_lease(Fixture *fixture, const char *provisioner, int64_t epoch, unsigned maximum,
                     Leased *leased);
/* As engine_report. A crash makes the transaction roll back as if the process died before its commit; -1 is
 * returned. */
int fixture_report(Fixture *fixture, const char *provisioner, int64_t epoch, const EngineReport *report,
                   bool is_crashing);
/* All in one job, as engine_report_many. */
void fixture_report_many(Fixture *fixture, const char *provisioner, int64_t epoch,
                         const EngineReport *reports, size_t count, bool *ret_is_accepted);
void fixture_expire(Fixture *fixture);
int fixture_cancel(Fixture *fixture, const char *execution, bool is_forced);
typedef int (*FixtureSteer)(Engine *engine, StoreTransaction *transaction, const char *tenant,
                            const char *execution_id, const char *actor, EngineEffects *effects,
                            Error *error);
/* engine_pause, engine_unpause or engine_retry. */
int fixture_steer(Fixture *fixture, FixtureSteer steer, const char *execution);
int fixture_resume(Fixture *fixture, const char *execution, const char *actor);
void fixture_limit_running_tasks(Fixture *fixture, int64_t maximum);
int fixture_decide(Fixture *fixture, const char *task, EngineDecision decision);

/* Owned copies of what the store says. */
char *fixture_execution_status(Fixture *fixture, const char *execution);
char *fixture_cluster_status(Fixture *fixture);
char *fixture_task_state(Fixture *fixture, const char *execution, int64_t number);
int64_t fixture_next_runnable(Fixture *fixture);
/* The audit chain holds. */
bool fixture_audit_is_valid(Fixture *fixture);
