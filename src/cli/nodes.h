/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the verbs about nodes share: a node is named by its id or by its hostname, and answers are owned by
 * the caller. Main thread. */

#include "cli/cli.h"

/* The node with this id or hostname (or the first label of one, when only one node has it); owned. */
int node_find(Cli *cli, const char *name, json_t **ret_node, Error *error);
/* The verb `nodes ssh`. */
int node_ssh(Cli *cli, Error *error);
