/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* YAML documents as JSON values, over libyaml's events: no anchors, no aliases, no tags, no duplicate keys,
 * depth and size limited; errors carry line and column. Plain scalars follow the YAML 1.2 core schema. Any
 * thread. */

#include "base/json.h"

int yaml_parse(const char *text, size_t size, size_t limit, json_t **ret_value, Error *error);
/* Block style; owned string. */
char *yaml_from_json(const json_t *value);
