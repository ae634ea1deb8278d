/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is wrong with a document: a list that names every fault, not just the first. Each issue says where
 * (path of the member, line and column when the text is known), which rule, and what to do. One thread at a
 * time; the list owns its strings. At most ISSUE_LIMIT issues are kept, the rest is counted. */

#include "base/error.h"
#include "base/json.h"

typedef enum IssueSeverity { ISSUE_ERROR, ISSUE_WARNING } IssueSeverity;

typedef struct Issue {
    IssueSeverity severity;
    char *field; /* "constraints.services.db.quantities.min", "network.ports[0].port"; "" = the document */
    const char *rule; /* stable short name, static: "unknown_member", "cycle", "bad_macro", ... */
    char *message;
    unsigned line, column; /* from 1; 0 = unknown */
} Issue;

enum { ISSUE_LIMIT = 200 };

typedef struct IssueList {
    Issue *items;
    size_t count, capacity;
    size_t error_count, warning_count; /* also those that were not kept */
} IssueList;

void issue_list_done(IssueList *list);
#define _cleanup_issues_ _cleanup_(issue_list_done)
/* list may be NULL. rule must be a literal. */
void issue_add(IssueList *list, IssueSeverity severity, const char *field, const char *rule,
               const char *format, ...) _printf_(5, 6);
/* The first issue with this rule (and field, unless NULL), or NULL. */
const Issue *issue_list_find(const IssueList *list, const char *rule, const char *field);
/* Array of {field, line, column, rule, message} of one severity; line and column only when known. Owned. */
json_t *issue_list_to_json(const IssueList *list, IssueSeverity severity);
/* 0 when the list has no error; else fills *error with the first one (and how many more there are). */
int issue_list_to_error(const IssueList *list, Error *error);
/* Fills line and column from the text that the document was parsed from: those of the member, or of its
 * nearest ancestor that is there. */
void issue_list_locate(IssueList *list, const char *text, size_t size);
