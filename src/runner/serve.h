/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One connection of a provisioner: frames in on one descriptor, frames out on another. */

#include "runner/state.h"

/* Until the input ends; an exit status. Switches both descriptors to non-blocking. */
int serve(const RunnerState *state, int input, int output);

/* One decoded request and the state of its connection, apart from the loop for tests and the fuzzer: bytes
 * in, answers appended to *outgoing. Returns how many bytes were consumed, or -EBADMSG when the peer breaks
 * the protocol. */
typedef struct Server Server;
Server *server_new(const RunnerState *state);
Server *server_free(Server *server);
DEFINE_CLEANUP(Server, server_free);
ssize_t server_take(Server *server, uint8_t *data, size_t size, Buffer *outgoing);
