/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What root inside a host may not do, beside what its namespaces already refuse: a capability bounding set
 * and a system call deny-list. no_new_privs stays off, because people become root in their hosts through
 * sudo; what a set-user-id program can gain there is bounded by the same two. The filter is compiled once in
 * the daemon and loaded by each first process. */

#include <linux/filter.h>

#include "base/error.h"

typedef struct Filter {
    struct sock_filter *instructions; /* owned */
    unsigned short count;
} Filter;

int filter_build(Filter *ret_filter, Error *error);
void filter_done(Filter *filter);

/* In the host's first process, with all capabilities of its user namespace: drops the bounding set, loads the
 * filter, keeps only the host's capabilities. Nothing of it can be undone. */
int confine_self(const Filter *filter);
