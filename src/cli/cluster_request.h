/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The request for a cluster, from the options of `clusters plan` and `clusters create`, over a whole request
 * from a file when one is given. Main thread. */

#include "base/json.h"
#include "base/options.h"

extern const Option cluster_request_options[];
/* Those of `create` have --watch and --timeout besides. */
extern const Option cluster_create_options[];
/* name may be NULL when the file has one. Owned. */
int cluster_request_make(const ParsedOptions *options, const char *name, json_t **ret_request, Error *error);
