/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The node's firewall: the table "inet bastide" and no other. A new ruleset replaces the table in one
 * transaction; a detached timer puts the old table back unless the change is confirmed in time over another
 * connection, which proves that the new rules let us in (CH8). One thread. */

#include "runner/state.h"

enum { FIREWALL_TOKEN_SIZE = 33, FIREWALL_CONFIRM_SECONDS_MAX = 600 };

/* True when every statement of the ruleset is about the table "inet bastide"; no includes, no other tables,
 * no commands. */
bool firewall_is_confined(const char *ruleset);
int firewall_apply(const RunnerState *state, const char *ruleset, uint32_t confirm_seconds,
                   char ret_token[static FIREWALL_TOKEN_SIZE], char ret_text[static 1200]);
/* -ESTALE when the change was reverted or another one came; -EPERM on the connection that made the change. */
int firewall_confirm(const RunnerState *state, const char *token);
