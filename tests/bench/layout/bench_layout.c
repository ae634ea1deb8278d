/* SPDX-License-Identifier: Apache-2.0 */
/* Times of the layout solver (P7): `bench_layout` prints them all, `bench_layout show NAME` prints a problem
 * in the text form of tests/unit/domain/layout/text.h for compare-solvers.py, `bench_layout solve NAME`
 * solves only that one. Times are of this machine; ratios against other solvers come from the script. */

#include <time.h>

#include "base/buffer.h"
#include "text.h"

typedef struct Instance {
    const char *name, *what;
    void (*write)(Buffer *text, unsigned services, unsigned nodes);
    unsigned services, nodes;
} Instance;

static void write_types(Buffer *text, unsigned nodes)
{
    buffer_append_format(text, "nodes %u\nhardware h1 h2 h3 h4 h5\nimages", nodes);
    for (unsigned i = 1; i <= 11; i++)
        buffer_append_format(text, " i%02u", i);
    buffer_append_string(text, "\n");
}

static void write_service(Buffer *text, unsigned index, unsigned minimum, unsigned maximum)
{
    buffer_append_format(text, "service s%02u min %u max %u hw h%u,h%u,h%u im", index, minimum, maximum,
                         1 + index % 5, 1 + (index + 1) % 5, 1 + (index + 2) % 5);
    for (unsigned i = 0; i < 7; i++)
        buffer_append_format(text, "%ci%02u", i ? ',' : ' ', 1 + (index + i * i) % 11);
    buffer_append_string(text, "\n");
}

/* Services with types and a third of all pairs in conflict. */
static void write_mixed(Buffer *text, unsigned services, unsigned nodes)
{
    write_types(text, nodes);
    for (unsigned i = 0; i < services; i++)
        write_service(text, i, 1 + i % 4, nodes / 2 + i);
    for (unsigned i = 0; i < services; i++)
        for (unsigned k = i + 1; k < services; k++)
            if ((i * 7 + k * 13) % 3 == 0)
                buffer_append_format(text, "cant s%02u s%02u\n", i, k);
}

/* The same with minima so high that the machines hardly suffice. */
static void write_tight(Buffer *text, unsigned services, unsigned nodes)
{
    write_types(text, nodes);
    for (unsigned i = 0; i < services; i++)
        write_service(text, i, nodes / 9 + i * nodes / 400, nodes);
    for (unsigned i = 0; i < services; i++)
        for (unsigned k = i + 1; k < services; k++)
            if ((i * 7 + k * 13) % 3 == 0)
                buffer_append_format(text, "cant s%02u s%02u\n", i, k);
}

/* No conflicts and no restricted types: what the source system enumerates subset by subset. */
static void write_plain(Buffer *text, unsigned services, unsigned nodes)
{
    write_types(text, nodes);
    for (unsigned i = 0; i < services; i++)
        buffer_append_format(text, "service s%02u min 1\n", i);
}

/* Mutually exclusive services, one more machine needed than there are. */
static void write_exclusive(Buffer *text, unsigned services, unsigned nodes)
{
    write_types(text, nodes);
    for (unsigned i = 0; i < services; i++)
        buffer_append_format(text, "service s%02u min %u\n", i,
                             nodes / services + (i == 0 ? nodes % services + 1 : 0));
    for (unsigned i = 0; i < services; i++)
        for (unsigned k = i + 1; k < services; k++)
            buffer_append_format(text, "cant s%02u s%02u\n", i, k);
}

/* Mutually exclusive services that just fit. */
static void write_fitting(Buffer *text, unsigned services, unsigned nodes)
{
    write_types(text, nodes);
    for (unsigned i = 0; i < services; i++)
        buffer_append_format(text, "service s%02u min %u\n", i, nodes / services);
    for (unsigned i = 0; i < services; i++)
        for (unsigned k = i + 1; k < services; k++)
            buffer_append_format(text, "cant s%02u s%02u\n", i, k);
}

/* A graph like a random one, of given services, every second pair in conflict. */
static void write_graph(Buffer *text, unsigned services, unsigned nodes)
{
    uint32_t seed = 12345;
    write_types(text, nodes);
    for (unsigned i = 0; i < services; i++)
        buffer_append_format(text, "service s%02u min 1\n", i);
    for (unsigned i = 0; i < services; i++)
        for (unsigned k = i + 1; k < services; k++) {
            seed = seed * 1664525 + 1013904223;
            if (seed >> 31)
                buffer_append_format(text, "cant s%02u s%02u\n", i, k);
        }
}

/* Each service only at most once, and half as many machines: many layouts, all nearly alike. */
static void write_scarce(Buffer *text, unsigned services, unsigned nodes)
{
    write_types(text, nodes);
    for (unsigned i = 0; i < services; i++)
        write_service(text, i, 1, nodes / services * 2);
}

static uint32_t next_random(uint32_t *seed, uint32_t limit)
{
    *seed = *seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)*seed * limit) >> 32);
}

static void write_names(Buffer *text, const char *prefix, uint32_t *seed, unsigned count, unsigned limit)
{
    for (unsigned i = 0; i < count; i++)
        buffer_append_format(text, "%s%s%u", i ? "," : "", prefix, next_random(seed, limit));
}

/* As bad as the limits allow: all conflicts of three to five services. */
static void write_worst_sets(Buffer *text, unsigned services, unsigned nodes)
{
    uint32_t seed = 99;
    write_types(text, nodes);
    for (unsigned i = 0; i < services; i++)
        buffer_append_format(text, "service s%u min %u\n", i, 1 + next_random(&seed, nodes / 3));
    for (unsigned i = 0; i < LAYOUT_SETS_MAX - 1; i++) {
        buffer_append_string(text, "cant");
        for (unsigned k = 3 + next_random(&seed, 3); k > 0; k--)
            buffer_append_format(text, " s%u", next_random(&seed, services));
        buffer_append_string(text, "\n");
    }
}

/* Each service with its own random choice of hardware and image. */
static void write_worst_types(Buffer *text, unsigned services, unsigned nodes)
{
    uint32_t seed = 77;
    buffer_append_format(text, "nodes %u\nhardware", nodes);
    for (unsigned i = 0; i < 60; i++)
        buffer_append_format(text, " h%u", i);
    buffer_append_string(text, "\nimages");
    for (unsigned i = 0; i < 60; i++)
        buffer_append_format(text, " i%u", i);
    for (unsigned i = 0; i < services; i++) {
        buffer_append_format(text, "\nservice s%u min 1 hw ", i);
        write_names(text, "h", &seed, 20, 60);
        buffer_append_string(text, " im ");
        write_names(text, "i", &seed, 20, 60);
    }
    buffer_append_string(text, "\n");
}

/* Many kinds of existing nodes that may take more and may go. */
static void write_worst_existing(Buffer *text, unsigned services, unsigned nodes)
{
    uint32_t seed = 55;
    write_types(text, nodes);
    for (unsigned i = 0; i < services; i++)
        buffer_append_format(text, "service s%u min %u max %u\n", i, 1 + next_random(&seed, 3),
                             4 + next_random(&seed, nodes));
    for (unsigned i = 0; i < services * 2; i++) {
        unsigned first = next_random(&seed, services);
        buffer_append_format(text, "cant s%u s%u\n", first,
                             (first + 1 + next_random(&seed, services - 1)) % services);
    }
    for (unsigned i = 0; i < 60; i++)
        buffer_append_format(text, "existing %u h%u i01 extend remove with s%u\n", 1 + next_random(&seed, 4),
                             1 + next_random(&seed, 5), next_random(&seed, services));
}

static const Instance instances[] = {
    {"p7", "20 constrained services, 5 x 11 types, a third of the pairs in conflict", write_mixed, 20, 1000},
    {"p7-100000", "the same on 100,000 machines", write_mixed, 20, 100000},
    {"p7-tight", "minima that hardly fit", write_tight, 20, 1000},
    {"p7-plain", "no conflicts, any type", write_plain, 20, 1000},
    {"p7-scarce", "maxima below the machines, restricted types", write_scarce, 20, 1000},
    {"p7-fitting", "20 mutually exclusive services that just fit", write_fitting, 20, 1000},
    {"p7-infeasible", "20 mutually exclusive services, one machine short", write_exclusive, 20, 1000},
    {"k6", "6 mutually exclusive services, one machine short", write_exclusive, 6, 100},
    {"k10", "10 mutually exclusive services, one machine short", write_exclusive, 10, 1000},
    {"graph-20", "20 services, half of the pairs in conflict, 5 machines", write_graph, 20, 5},
    {"graph-20-more", "20 services, half of the pairs in conflict, 7 machines", write_graph, 20, 7},
    {"graph-30", "30 services, half of the pairs in conflict, 7 machines", write_graph, 30, 7},
    {"graph-40", "40 services, half of the pairs in conflict, 9 machines", write_graph, 40, 9},
    {"graph-60", "60 services, half of the pairs in conflict, 11 machines", write_graph, 60, 11},
    {"worst-sets", "the most conflicts of three to five services", write_worst_sets, 128, 60},
    {"worst-sets-few", "the same with few services", write_worst_sets, 30, 60},
    {"worst-types", "own random types for each service", write_worst_types, 60, 20},
    {"worst-existing", "60 kinds of existing nodes, to shrink", write_worst_existing, 30, 80},
    {"worst-existing2", "60 kinds of existing nodes, to grow", write_worst_existing, 60, 200},
};

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void solve(const char *name, void (*write)(Buffer *, unsigned, unsigned), unsigned services,
                  unsigned nodes)
{
    _cleanup_buffer_ Buffer source = BUFFER_INIT;
    _cleanup_text_ TextProblem text = {0};
    LayoutResult result = {0};
    double best = 1e9, start = now_ms();
    write(&source, services, nodes);
    text_parse(&text, buffer_string(&source));
    for (unsigned i = 0; i < 20 && (i == 0 || now_ms() - start < 200); i++) {
        double before = now_ms();
        layout_result_done(&result);
        ASSERT(layout_solve(&text.problem, &result, NULL) == 0);
        best = MIN(best, now_ms() - before);
    }
    printf("%-16s %8u %9u %12s %10.3f %10llu %8zu", name, services, nodes,
           layout_status_to_string(result.status), best, (unsigned long long)result.steps,
           result.node_class_count);
    if (result.status == LAYOUT_SOLVED) /* the first entry of the preference vector */
        printf("  %u x %zu", result.nodes[0].count, result.nodes[0].service_count);
    if (result.status == LAYOUT_IMPOSSIBLE)
        printf("  %s%.60s...", result.is_minimal ? "" : "(not minimal) ", result.summary);
    printf("\n");
    layout_result_done(&result);
}

static void print_heading(const char *title)
{
    printf("\n%s\n%-16s %8s %9s %12s %10s %10s %8s\n", title, "problem", "services", "nodes", "answer", "ms",
           "steps", "layouts");
}

static void growth(void)
{
    const unsigned nodes[] = {50, 1000, 10000, 100000};
    print_heading("Growth with services: no conflicts, and a third of the pairs in conflict, 1,000 nodes");
    for (unsigned services = 8; services <= 20; services += 2) {
        solve("plain", write_plain, services, 1000);
        solve("mixed", write_mixed, services, 1000);
    }
    print_heading("Growth with nodes: 20 services, a third of the pairs in conflict");
    for (size_t i = 0; i < ELEMENTSOF(nodes); i++) {
        solve("mixed", write_mixed, 20, nodes[i]);
        solve("tight", write_tight, 20, nodes[i]);
    }
    print_heading("K mutually exclusive services, one machine short (proof and explanation)");
    for (unsigned k = 6; k <= 20; k += 2)
        for (size_t i = 1; i < ELEMENTSOF(nodes); i += 2)
            solve("exclusive", write_exclusive, k, nodes[i]);
}

int main(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[1] : "", *name = argc > 2 ? argv[2] : NULL;
    if (!name)
        print_heading("P7 and around it (best of up to 20 runs)");
    for (size_t i = 0; i < ELEMENTSOF(instances); i++) {
        const Instance *instance = &instances[i];
        if (name && !string_equal(name, instance->name))
            continue;
        if (string_equal(verb, "show")) {
            _cleanup_buffer_ Buffer source = BUFFER_INIT;
            instance->write(&source, instance->services, instance->nodes);
            fputs(buffer_string(&source), stdout);
            continue;
        }
        solve(instance->name, instance->write, instance->services, instance->nodes);
    }
    if (!name)
        growth();
    return 0;
}
