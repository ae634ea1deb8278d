/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names of nodes: "<cluster name><cluster number>-<node number>.<suffix>". The cluster's name becomes lower
 * case, loses leading digits, and '_' and '.' become '-'; it is cut so that the first label keeps within 63
 * characters. Without a suffix the domain is "local"; a leading dot of the suffix is dropped. Pure. */

#include "base/macros.h"

enum { NODE_NUMBER_FIRST = 1000, HOSTNAME_LIMIT = 253, HOSTNAME_LABEL_LIMIT = 63 };

/* cluster_number 0 = not given yet (a preview): left out. -E2BIG when the suffix is too long, -EINVAL when it
 * is no domain. */
int node_hostname(const char *cluster_name, uint64_t cluster_number, uint32_t node_number, const char *suffix,
                  char destination[static HOSTNAME_LIMIT + 1]);
