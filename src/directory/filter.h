/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text of a directory: filters made from templates with values that strangers wrote, and names of entries in
 * one spelling, so that they can be compared. Pure. Any thread. */

#include "base/buffer.h"

enum { DIRECTORY_FILTER_MAX = 64 * 1024, DIRECTORY_NAME_MAX = 2048 };

/* Appends the template with {username} and {dn} replaced. Every byte of a value that has a meaning in a
 * filter (RFC 4515), and every one outside printable ASCII, is escaped; NULL values become empty. -E2BIG. */
int directory_filter_append(Buffer *buffer, const char *pattern, const char *username, const char *dn);
/* Brackets in pairs around the whole, and nothing in braces but {username} and {dn}. */
bool directory_filter_is_valid(const char *pattern);
/* The distinguished name in the one spelling that we compare: as RFC 4514 writes it, no space between parts,
 * ASCII letters small. Owned; NULL when it is not a name, or is empty or too long. */
char *directory_name_normalise(const char *name);
