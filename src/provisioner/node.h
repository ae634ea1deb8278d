/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Requests to a node's runner from a thread that may wait: the blocking face of ssh_pool.h. Any thread but
 * the pool's. */

#include <stdatomic.h>

#include "base/json.h"
#include "base/secret.h"
#include "provisioner/ssh_pool.h"
#include "runner/protocol.h"

typedef struct NodeReply {
    Buffer frame; /* owned */
    MessageView message;
} NodeReply;
void node_reply_done(NodeReply *reply);
#define _cleanup_node_reply_ _cleanup_(node_reply_done)

/* How to reach a node. The credential is asked for anew before each connection, since it lives for minutes
 * only. */
typedef struct NodeDoor {
    SshPool *pool;
    SshNode node;
    int (*get_credential)(void *userdata, SshCredential **ret_credential, Error *error);
    void *userdata;
    const atomic_bool *is_abandoned; /* may be NULL: set when the caller should give up waiting */
} NodeDoor;

/* One request, one answer. The frame is taken over. An answer of the expected type, or the runner's ERROR as
 * an Error with its code. Not repeated when the connection is lost (ERROR_IO). */
int node_call(const NodeDoor *door, Buffer *frame, uint16_t expected, Usec timeout, NodeReply *ret_reply,
              Error *error);
/* As node_call for requests that may be repeated: builds the frame again and tries until the deadline
 * (monotonic), as long as the error is one of the connection. */
typedef int (*NodeBuild)(Buffer *frame, const void *userdata);
int node_call_repeated(const NodeDoor *door, NodeBuild build, const void *build_data, uint16_t expected,
                       Usec timeout, Usec deadline, NodeReply *ret_reply, Error *error);

typedef enum NodeStepEnd { NODE_STEP_DONE, NODE_STEP_NEEDS_DECISION } NodeStepEnd;

typedef struct NodeStepFile {
    const uint8_t *digest;
    const char *path;   /* on the node */
    const char *source; /* of the content here */
} NodeStepFile;

typedef struct NodeStepSecret {
    const char *name;
    const Secret *value;
} NodeStepSecret;

typedef struct NodeStep {
    const char *step, *script;
    uint32_t attempt;
    Usec timeout; /* enforced by the runner */
    uint64_t output_limit;
    bool is_idempotent;
    const NodeStepFile *files; /* the script among them */
    size_t file_count;
    const NodeStepSecret *secrets;
    size_t secret_count;
    const char *parameters_json, *parameters_flat;
    const atomic_bool *is_cancelled; /* the step is then ended on the node */
    Usec cancel_grace;
    Usec patience; /* how long a node may be unreachable in all before we give up (ERROR_IO) */
    /* Called on the caller's thread, in order of offsets. */
    void (*output)(RunnerStream stream, const void *data, size_t size, void *userdata);
    void *userdata;
} NodeStep;

typedef struct NodeStepResult {
    NodeStepEnd end;
    int exit_status, signal;
    bool is_timed_out, is_cancelled;
    bool may_have_begun; /* also set when node_run_step() fails: the node may be running it */
    char *message;       /* owned; the runner's reason, or NULL */
    json_t *results;     /* owned; name to text */
} NodeStepResult;
void node_step_result_done(NodeStepResult *result);
#define _cleanup_node_step_result_ _cleanup_(node_step_result_done)

/* Puts what the node lacks of the files there, starts the step or attaches to it when the node knows it
 * already, and follows it to its end over as many connections as that takes (PR5). */
int node_run_step(const NodeDoor *door, const NodeStep *step, NodeStepResult *ret_result, Error *error);
