/* SPDX-License-Identifier: Apache-2.0 */
/* The deterministic simulator: the real engine and store under a clock of our own, with provisioners and
 * nodes that crash, lose, delay and repeat messages, a manager that dies at any transition, and people who
 * pause, resume, cancel and retry. Each seed is one history; a failing seed replays exactly:
 * test-engine-simulator SEED. Checked (PR5): every execution reaches its end after the faults stop, however
 * often it had to be retried; a run takes effect once; no task begins before its predecessors took effect;
 * nothing is handed out while it is paused; a node does one thing at a time; work that comes later on the
 * same cluster does as well; the audit chain holds. */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/string.h"
#include "fixture.h"

enum { NODES = 4, TASKS = 14, PROVISIONERS = 2, SEEDS_DEFAULT = 1000, EVENTS_MAX = 40000 };

/* What a node's runner knows of a step. */
typedef struct Step {
    Usec begun, done;
    bool is_failing, is_hopeless;
    int64_t number;
} Step;

typedef struct Running {
    Leased leased;
    Usec finished;  /* when the step ends on the node */
    Usec report_at; /* when the report reaches the manager */
    bool is_used;
} Running;

typedef struct Provisioner {
    char id[8];
    int64_t epoch;
    bool is_down;
    Usec up_at, heartbeat_at;
    Running running[8];
} Provisioner;

typedef struct Simulation {
    Fixture f;
    SeededRandom chance;
    uint64_t seed;
    Provisioner provisioners[PROVISIONERS];
    StringMap *steps; /* by step id */
    char execution[ID_SIZE];
    EngineEdge edges[64];
    size_t edge_count;
    EngineTask tasks[TASKS];
    Usec faults_end;
    unsigned effects[TASKS + 1];
    Usec effect_done[TASKS + 1];
    Usec node_busy_until[NODES];
    bool is_paused;
    unsigned rounds, retries;
} Simulation;

static bool chance(Simulation *s, unsigned per_thousand)
{
    return random_below(&s->chance.random, 1000) < per_thousand && s->f.clock.now < s->faults_end;
}

static Usec delay(Simulation *s, Usec maximum)
{
    return random_below(&s->chance.random, maximum) + 1;
}

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fail_msg("seed %" PRIu64 ": %s", s->seed, #condition);                                           \
    } while (0)

static void build_graph(Simulation *s, const char *workflow)
{
    s->edge_count = 0;
    memset(s->effects, 0, sizeof(s->effects));
    memset(s->effect_done, 0, sizeof(s->effect_done));
    for (unsigned i = 0; i < TASKS; i++) {
        bool is_join = random_below(&s->chance.random, 6) == 0;
        s->tasks[i] =
            (EngineTask){.kind = is_join ? "join" : "automator",
                         .action = is_join ? "join" : "install",
                         .node_id = is_join ? NULL : s->f.nodes[random_below(&s->chance.random, NODES)],
                         .timeout_ms = 60000,
                         .maximum_failures = 10,
                         .is_idempotent = true};
        for (unsigned j = 0; j < i && s->edge_count < ELEMENTSOF(s->edges); j++)
            if (random_below(&s->chance.random, 5) == 0)
                s->edges[s->edge_count++] = (EngineEdge){j + 1, i + 1};
    }
    fixture_submit(&s->f, workflow, s->tasks, TASKS, s->edges, s->edge_count, s->execution);
}

static unsigned node_index(const Simulation *s, const char *node)
{
    for (unsigned i = 0; i < NODES; i++)
        if (string_equal(s->f.nodes[i], node))
            return i;
    return 0;
}

/* The predecessors of a task that stand behind joins count too. */
static void require_predecessors(Simulation *s, int64_t number)
{
    for (size_t i = 0; i < s->edge_count; i++) {
        if (s->edges[i].successor != number)
            continue;
        uint32_t before = s->edges[i].predecessor;
        if (string_equal(s->tasks[before - 1].kind, "join")) {
            require_predecessors(s, before);
            continue;
        }
        REQUIRE(s->effects[before] == 1);
        REQUIRE(s->effect_done[before] <= s->f.clock.now);
    }
}

/* The runner: a step that is known is attached to, not begun again. */
static Step *runner_execute(Simulation *s, const Leased *leased)
{
    Step *step = string_map_get(s->steps, leased->step);
    if (step)
        return step;
    char execution[ID_SIZE];
    int64_t number;
    REQUIRE(engine_task_parse(leased->task, execution, &number));
    require_predecessors(s, number);
    unsigned node = node_index(s, leased->node);
    REQUIRE(s->node_busy_until[node] <= s->f.clock.now);
    step = NEW(Step);
    *step = (Step){.begun = s->f.clock.now,
                   .done = s->f.clock.now + delay(s, 20 * USEC_PER_SEC),
                   .is_failing = chance(s, 100),
                   .is_hopeless = chance(s, 300),
                   .number = number};
    s->node_busy_until[node] = step->done;
    if (!step->is_failing) {
        s->effects[number]++;
        s->effect_done[number] = step->done;
        REQUIRE(s->effects[number] == 1);
    }
    string_map_set(s->steps, leased->step, step);
    return step;
}

static void provisioner_lease(Simulation *s, Provisioner *p)
{
    Leased leased[4];
    unsigned room = 0;
    for (size_t i = 0; i < ELEMENTSOF(p->running); i++)
        room += !p->running[i].is_used;
    size_t count = room > 0 ? fixture_lease(&s->f, p->id, p->epoch, MIN(room, 4U), leased) : 0;
    REQUIRE(count == 0 || !s->is_paused);
    for (size_t i = 0; i < count; i++) {
        if (chance(s, 50))
            continue; /* the answer is lost on its way: nobody works on this lease */
        Running *running = p->running;
        while (running->is_used)
            running++;
        Step *step = runner_execute(s, &leased[i]);
        *running =
            (Running){.leased = leased[i], .finished = MAX(step->done, s->f.clock.now), .is_used = true};
        running->report_at = running->finished + delay(s, 5 * USEC_PER_SEC);
    }
}

static void manager_crash(Simulation *s)
{
    s->f.clock.now += delay(s, 10 * USEC_PER_SEC);
    fixture_restart(&s->f);
}

static void deliver_report(Simulation *s, Provisioner *p, Running *running)
{
    Step *step = string_map_get(s->steps, running->leased.step);
    EngineReport report = {.task = running->leased.task,
                           .attempt = running->leased.attempt,
                           .state = step->is_failing ? ENGINE_REPORT_FAILED : ENGINE_REPORT_SUCCEEDED,
                           .is_retry_sensible = !step->is_hopeless,
                           .error_code = "step_failed",
                           .error_message = "no luck"};
    bool is_crashing = chance(s, 60);
    int r = fixture_report(&s->f, p->id, p->epoch, &report, is_crashing);
    if (is_crashing) {
        manager_crash(s);
        running->report_at = s->f.clock.now + delay(s, 5 * USEC_PER_SEC); /* sent again */
        return;
    }
    if (r == 1 && chance(s, 100)) { /* the answer is lost: the report comes again and is stale */
        running->report_at = s->f.clock.now + delay(s, 5 * USEC_PER_SEC);
        return;
    }
    running->is_used = false;
}

/* One heartbeat names all that the provisioner holds. */
static void heartbeat(Simulation *s, Provisioner *p)
{
    p->heartbeat_at = s->f.clock.now + 10 * USEC_PER_SEC;
    if (chance(s, 200))
        return; /* lost */
    Running *running[ELEMENTSOF(p->running)];
    EngineHeld held[ELEMENTSOF(p->running)];
    bool is_lost[ELEMENTSOF(p->running)];
    size_t count = 0;
    for (size_t i = 0; i < ELEMENTSOF(p->running); i++)
        if (p->running[i].is_used) {
            running[count] = &p->running[i];
            held[count++] = (EngineHeld){p->running[i].leased.task, p->running[i].leased.attempt};
        }
    engine_renew(s->f.engine, p->id, held, count, is_lost);
    for (size_t i = 0; i < count; i++)
        if (is_lost[i])
            running[i]->is_used = false;
}

static void provisioner_crash(Simulation *s, Provisioner *p)
{
    memset(p->running, 0, sizeof(p->running));
    p->is_down = true;
    p->up_at = s->f.clock.now + delay(s, 60 * USEC_PER_SEC);
}

static void step_provisioner(Simulation *s, Provisioner *p)
{
    if (p->is_down) {
        if (s->f.clock.now < p->up_at)
            return;
        p->is_down = false;
        p->epoch++;
    }
    if (chance(s, 10)) {
        provisioner_crash(s, p);
        return;
    }
    if (p->heartbeat_at <= s->f.clock.now)
        heartbeat(s, p);
    for (size_t i = 0; i < ELEMENTSOF(p->running); i++) {
        Running *running = &p->running[i];
        if (running->is_used && running->report_at <= s->f.clock.now)
            deliver_report(s, p, running);
    }
    provisioner_lease(s, p);
}

/* People
 * ----------------------------------------------------------------------------------------------------------------------
 */

static void steer(Simulation *s)
{
    if (!s->is_paused && chance(s, 10))
        s->is_paused = fixture_steer(&s->f, engine_pause, s->execution) >= 0;
    else if (s->is_paused && (chance(s, 100) || s->f.clock.now >= s->faults_end)) {
        /* It may have failed meanwhile. */
        _cleanup_free_ char *status = fixture_execution_status(&s->f, s->execution);
        int r = fixture_steer(&s->f, engine_unpause, s->execution);
        REQUIRE(r >= 0 || !string_equal(status, "paused"));
        s->is_paused = false;
    }
    if (chance(s, 3))
        (void)fixture_cancel(&s->f, s->execution, false);
}

static bool is_over(Simulation *s)
{
    _cleanup_free_ char *status = fixture_execution_status(&s->f, s->execution);
    return string_equal(status, "terminated") || string_equal(status, "failed") ||
           string_equal(status, "cancelled");
}

static void run_to_the_end(Simulation *s)
{
    while (!is_over(s)) {
        REQUIRE(++s->rounds < EVENTS_MAX);
        s->f.clock.now += delay(s, 2 * USEC_PER_SEC);
        if (chance(s, 5))
            manager_crash(s);
        fixture_expire(&s->f);
        for (unsigned i = 0; i < PROVISIONERS; i++)
            step_provisioner(s, &s->provisioners[i]);
        steer(s);
    }
    s->is_paused = false;
}

static bool require_outcome(Simulation *s, const char *failed)
{
    _cleanup_free_ char *status = fixture_execution_status(&s->f, s->execution);
    _cleanup_free_ char *cluster = fixture_cluster_status(&s->f);
    bool is_success = string_equal(status, "terminated");
    REQUIRE(string_equal(cluster, is_success ? "active" : failed));
    for (unsigned i = 1; i <= TASKS; i++) {
        _cleanup_free_ char *state = fixture_task_state(&s->f, s->execution, i);
        bool is_join = string_equal(s->tasks[i - 1].kind, "join");
        REQUIRE(!string_equal(state, "waiting") && !string_equal(state, "ready") &&
                !string_equal(state, "leased"));
        REQUIRE(!is_success || (string_equal(state, "succeeded") && (is_join || s->effects[i] == 1)));
        REQUIRE(!string_equal(state, "succeeded") || is_join || s->effects[i] == 1);
    }
    REQUIRE(engine_lease_count(s->f.engine) == 0);
    return is_success;
}

/* Work that is taken up until it is complete. */
static void work(Simulation *s, const char *workflow, const char *failed)
{
    build_graph(s, workflow);
    run_to_the_end(s);
    while (!require_outcome(s, failed)) {
        REQUIRE(++s->retries < 100);
        REQUIRE(fixture_steer(&s->f, engine_retry, s->execution) >= 0);
        run_to_the_end(s);
    }
    REQUIRE(fixture_steer(&s->f, engine_retry, s->execution) < 0);
}

static void simulate(uint64_t seed)
{
    Simulation *s = NEW(Simulation);
    s->seed = seed;
    fixture_open(&s->f, seed, NODES);
    seeded_random_init(&s->chance, seed ^ 0x9e3779b97f4a7c15U);
    s->steps = string_map_new(free);
    s->faults_end = s->f.clock.now + 600 * USEC_PER_SEC;
    for (unsigned i = 0; i < PROVISIONERS; i++) {
        s->provisioners[i].epoch = 1;
        (void)string_print(s->provisioners[i].id, sizeof(s->provisioners[i].id), "p%u", i);
    }
    work(s, "create", "incomplete");
    if (random_below(&s->chance.random, 4) == 0) {
        s->faults_end = s->f.clock.now + 300 * USEC_PER_SEC;
        work(s, "restart", "inconsistent");
    }
    REQUIRE(fixture_audit_is_valid(&s->f));
    string_map_free(s->steps);
    fixture_close(&s->f);
    free(s);
}

static uint64_t first_seed = 1, seed_count = SEEDS_DEFAULT;

static void test_seeds(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seed_count; seed++)
        simulate(seed);
    print_message("%" PRIu64 " histories from seed %" PRIu64 "\n", seed_count, first_seed);
}

/* test-engine-simulator [SEED [COUNT]] */
int main(int argc, char **argv)
{
    if (argc > 1) {
        if (string_to_u64(argv[1], UINT64_MAX, &first_seed) < 0 ||
            (argc > 2 && string_to_u64(argv[2], 100000000, &seed_count) < 0)) {
            (void)fprintf(stderr, "usage: %s [SEED [COUNT]]\n", argv[0]);
            return 64;
        }
        if (argc == 2)
            seed_count = 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
