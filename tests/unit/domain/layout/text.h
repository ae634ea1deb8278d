/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Layout problems from a few lines of text, for tests and benchmarks. One statement a line:
 *   nodes N | budget N | hardware NAME... | images NAME... | prefer-hardware NAME... | prefer-images NAME...
 *   service NAME [free] [min N] [max N] [exactly N] [hw A,B] [im A,B]
 *   must A B... | cant A B...
 *   existing COUNT HARDWARE IMAGE [extend] [remove] with A B... */

#include <stdio.h>

#include "base/memory.h"
#include "base/string.h"
#include "domain/layout/layout.h"

enum { TEXT_NAMES = 64 };

typedef struct TextProblem {
    Arena *arena;
    LayoutProblem problem;
    LayoutService services[LAYOUT_SERVICES_MAX];
    LayoutNames must[LAYOUT_SETS_MAX], cant[LAYOUT_SETS_MAX];
    LayoutClass classes[LAYOUT_CLASSES_MAX];
} TextProblem;

static inline LayoutNames text_names(Arena *arena, char **words, size_t count)
{
    const char **items = arena_allocate_array(arena, count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++)
        items[i] = words[i];
    return (LayoutNames){.items = items, .count = count};
}

static inline size_t text_split(Arena *arena, const char *text, size_t length, char separator, char **words)
{
    size_t count = 0;
    for (size_t start = 0, i = 0; i <= length; i++) {
        if (i < length && text[i] != separator)
            continue;
        if (i > start) {
            ASSERT(count < TEXT_NAMES);
            words[count++] = arena_string_n(arena, text + start, i - start);
        }
        start = i + 1;
    }
    return count;
}

static inline uint32_t text_number(const char *word)
{
    uint64_t value = 0;
    ASSERT(string_to_u64(word, UINT32_MAX, &value) == 0);
    return (uint32_t)value;
}

static inline LayoutNames text_list(Arena *arena, const char *word)
{
    char *parts[TEXT_NAMES];
    size_t count = text_split(arena, word, strlen(word), ',', parts);
    return text_names(arena, parts, count);
}

static inline void text_service(TextProblem *text, char **words, size_t count)
{
    LayoutService *service = &text->services[text->problem.service_count++];
    *service = (LayoutService){.name = words[1], .maximum = LAYOUT_UNLIMITED, .is_constrained = true};
    for (size_t i = 2; i < count; i++) {
        if (string_equal(words[i], "free")) {
            service->is_constrained = false;
            continue;
        }
        ASSERT(i + 1 < count);
        const char *value = words[++i];
        if (string_equal(words[i - 1], "min")) {
            service->minimum = text_number(value);
            service->is_minimum_stated = true;
        } else if (string_equal(words[i - 1], "max")) {
            service->maximum = text_number(value);
        } else if (string_equal(words[i - 1], "exactly")) {
            service->has_quantity = true;
            service->quantity = text_number(value);
        } else {
            LayoutNames *names = string_equal(words[i - 1], "hw") ? &service->hardware : &service->images;
            *names = text_list(text->arena, value);
        }
    }
}

static inline void text_existing(TextProblem *text, char **words, size_t count)
{
    LayoutClass *class = &text->classes[text->problem.existing_count++];
    *class = (LayoutClass){.count = text_number(words[1]), .hardware = words[2], .image = words[3]};
    size_t i = 4;
    for (; !string_equal(words[i], "with"); i++)
        *(string_equal(words[i], "extend") ? &class->may_extend : &class->may_remove) = true;
    class->services = text_names(text->arena, words + i + 1, count - i - 1);
}

static inline void text_line(TextProblem *text, const char *line, size_t length)
{
    LayoutProblem *problem = &text->problem;
    char *words[TEXT_NAMES];
    size_t count = text_split(text->arena, line, length, ' ', words);
    if (count == 0)
        return;
    ASSERT(problem->service_count < LAYOUT_SERVICES_MAX && problem->must_coexist_count < LAYOUT_SETS_MAX &&
           problem->cant_coexist_count < LAYOUT_SETS_MAX && problem->existing_count < LAYOUT_CLASSES_MAX);
    LayoutNames rest = text_names(text->arena, words + 1, count - 1);
    if (string_equal(words[0], "nodes"))
        problem->node_count = text_number(words[1]);
    else if (string_equal(words[0], "budget"))
        problem->budget = text_number(words[1]);
    else if (string_equal(words[0], "hardware"))
        problem->hardware = rest;
    else if (string_equal(words[0], "images"))
        problem->images = rest;
    else if (string_equal(words[0], "prefer-hardware"))
        problem->hardware_preference = rest;
    else if (string_equal(words[0], "prefer-images"))
        problem->image_preference = rest;
    else if (string_equal(words[0], "must"))
        text->must[problem->must_coexist_count++] = rest;
    else if (string_equal(words[0], "cant"))
        text->cant[problem->cant_coexist_count++] = rest;
    else if (string_equal(words[0], "service"))
        text_service(text, words, count);
    else {
        ASSERT(string_equal(words[0], "existing"));
        text_existing(text, words, count);
    }
}

/* Adds the statements; without types in the text there is one of each. Statements may come in several calls.
 */
static inline void text_parse(TextProblem *text, const char *source)
{
    LayoutProblem *problem = &text->problem;
    if (!text->arena) {
        *text = (TextProblem){.arena = arena_new()};
        text_line(text, "hardware small", strlen("hardware small"));
        text_line(text, "images debian", strlen("images debian"));
    }
    while (*source) {
        size_t length = strcspn(source, "\n;");
        text_line(text, source, length);
        source += length + (source[length] != '\0');
    }
    problem->services = text->services;
    problem->must_coexist = text->must;
    problem->cant_coexist = text->cant;
    problem->existing = text->classes;
}

static inline void text_done(TextProblem *text)
{
    arena_free(text->arena);
}
#define _cleanup_text_ _cleanup_(text_done)

/* "2 a,b small/debian; 1 c big/debian of 0" */
static inline char *text_of_result(const LayoutResult *result)
{
    char *text = string_duplicate("");
    for (size_t i = 0; i < result->node_class_count; i++) {
        const LayoutNodes *nodes = &result->nodes[i];
        char *services = string_duplicate("");
        for (size_t k = 0; k < nodes->service_count; k++) {
            char *longer = string_format("%s%s%s", services, k ? "," : "", nodes->services[k]);
            free(services);
            services = longer;
        }
        char *of = nodes->existing < 0 ? string_duplicate("") : string_format(" of %d", nodes->existing);
        char *longer = string_format("%s%s%u %s %s/%s%s", text, i ? "; " : "", nodes->count, services,
                                     nodes->hardware, nodes->image, of);
        free(text);
        free(services);
        free(of);
        text = longer;
    }
    return text;
}
