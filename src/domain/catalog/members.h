/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Objects of catalog documents taken apart by tables. Unlike json_dispatch this never stops at the first
 * fault: each one becomes an issue, and what could be read is read. A row says where the member goes; strings
 * are borrowed from the document, lists live in the arena. One thread at a time. */

#include "domain/catalog/issue.h"
#include "model/catalog.h"

typedef struct Members {
    Arena *arena;
    IssueList *issues;
} Members;

typedef struct Member Member;
typedef void (*MemberParse)(Members *members, const json_t *value, const char *path, void *destination);

typedef enum MemberType {
    MEMBER_IGNORED,  /* known, of no interest here */
    MEMBER_STRING,   /* const char * */
    MEMBER_NAME,     /* const char *, name_is_valid */
    MEMBER_NAMES,    /* NameList of valid names without repetition */
    MEMBER_STRINGS,  /* NameList */
    MEMBER_INTEGER,  /* int64_t in [minimum, maximum] */
    MEMBER_DURATION, /* int64_t milliseconds: integer, or "15s", "5m", "2h", "7d" */
    MEMBER_OBJECT,   /* const json_t * */
    MEMBER_CUSTOM,   /* parse() */
} MemberType;

enum {
    MEMBER_REQUIRED = 1 << 0,
    MEMBER_NONEMPTY = 1 << 1,
};

struct Member {
    const char *name; /* NULL ends the table */
    MemberType type;
    unsigned flags;
    size_t offset;
    int64_t minimum, maximum; /* integers */
    MemberParse parse;
};

enum { NAME_LIST_LIMIT = 1000, STRING_LIMIT = 65536 };

/* "parent.name", or name alone at the top. In the arena. */
const char *member_path(Members *members, const char *parent, const char *name);
const char *item_path(Members *members, const char *parent, size_t index);
void member_issue(Members *members, const char *path, const char *rule, const char *format, ...)
    _printf_(4, 5);
void member_warning(Members *members, const char *path, const char *rule, const char *format, ...)
    _printf_(4, 5);

/* unknown: ISSUE_WARNING for the members of the older format, ISSUE_ERROR for our own. */
void members_parse(Members *members, const json_t *object, const char *path, const Member *table,
                   IssueSeverity unknown, void *destination);
/* NULL and an issue when it is not a string. */
const char *member_string(Members *members, const json_t *value, const char *path);
const char *member_name(Members *members, const json_t *value, const char *path);
void member_names(Members *members, const json_t *value, const char *path, NameList *destination);
bool member_is_array(Members *members, const json_t *value, const char *path, size_t limit);

bool name_list_contains(const NameList *list, const char *name);
/* Every integer that a document gives as a number, or as a string of digits as older documents do. */
bool member_integer(Members *members, const json_t *value, const char *path, int64_t minimum, int64_t maximum,
                    int64_t *ret_value);
bool member_duration(Members *members, const json_t *value, const char *path, int64_t *ret_milliseconds);
