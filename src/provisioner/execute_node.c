/* SPDX-License-Identifier: Apache-2.0 */

/* The tasks that use the runner without a script of a bundle: bootstrap, firewall, certificate. */

#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "provisioner/execute.h"

#define CALL_TIMEOUT (60 * USEC_PER_SEC)
enum { CA_LIMIT = 64 * 1024 };

/* --- bootstrap: the node lets us in and its runner speaks our protocol --- */

static int build_ping(Buffer *frame, const void *userdata)
{
    (void)userdata;
    size_t start = message_begin(frame, RUNNER_PING, 0);
    return message_end(frame, start);
}

int execute_bootstrap(ExecuteContext *context, Outcome *outcome, Error *error)
{
    NodeDoor door;
    int r = execute_door(context, &door, error);
    if (r < 0)
        return r;
    /* A node that was just made may take its time to start. */
    _cleanup_node_reply_ NodeReply reply = {0};
    r = node_call_repeated(&door, build_ping, NULL, RUNNER_OK, CALL_TIMEOUT, context->deadline, &reply,
                           error);
    if (r < 0)
        return r;
    outcome->result = json_pack("{s{ss}}", "outputs", "address", door.node.address);
    return 0;
}

/* --- firewall --- */

static int build_firewall(Buffer *frame, const void *userdata)
{
    const Task *task = userdata;
    size_t start = message_begin(frame, RUNNER_FIREWALL, 0);
    (void)message_put_string(frame, FIREWALL_RULESET, task->ruleset);
    (void)message_put_u32(frame, FIREWALL_CONFIRM_SECONDS, (uint32_t)task->confirm_seconds);
    return message_end(frame, start);
}

static int build_confirm(Buffer *frame, const void *userdata)
{
    size_t start = message_begin(frame, RUNNER_CONFIRM_FIREWALL, 0);
    (void)message_put_string(frame, CONFIRM_TOKEN, userdata);
    return message_end(frame, start);
}

int execute_firewall(ExecuteContext *context, Outcome *outcome, Error *error)
{
    (void)outcome;
    NodeDoor door;
    int r = execute_door(context, &door, error);
    if (r < 0)
        return r;
    _cleanup_node_reply_ NodeReply applied = {0}, confirmed = {0};
    r = node_call_repeated(&door, build_firewall, context->task, RUNNER_OK, CALL_TIMEOUT, context->deadline,
                           &applied, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *token = message_get_string(&applied.message, OK_TOKEN, 0);
    if (!token)
        return error_set(error, ERROR_PROTOCOL, "the runner gave no token for the firewall");
    /* Only a new connection shows that the new rules let us in. */
    ssh_pool_renew(door.pool, &door.node);
    Usec deadline = MIN(context->deadline,
                        clock_monotonic(&system_clock) + (Usec)context->task->confirm_seconds * USEC_PER_SEC);
    r = node_call_repeated(&door, build_confirm, token, RUNNER_OK, CALL_TIMEOUT, deadline, &confirmed, error);
    if (r < 0)
        error_prefix(error, "the new firewall was not confirmed and the node goes back to the old one");
    return r;
}

/* --- certificate --- */

static int build_csr(Buffer *frame, const void *userdata)
{
    const TaskCertificate *certificate = userdata;
    size_t start = message_begin(frame, RUNNER_MAKE_CSR, 0);
    (void)message_put_string(frame, MAKE_CSR_NAME, certificate->name);
    (void)message_put_string(frame, MAKE_CSR_KEY_PATH, certificate->key_path);
    (void)message_put_string(frame, MAKE_CSR_OWNER, certificate->owner);
    (void)message_put_string(frame, MAKE_CSR_COMMON_NAME,
                             certificate->common_name ? certificate->common_name : certificate->name);
    return message_end(frame, start);
}

typedef struct Installation {
    const TaskCertificate *certificate;
    const char *chain, *ca;
} Installation;

static int build_install(Buffer *frame, const void *userdata)
{
    const Installation *installation = userdata;
    const TaskCertificate *certificate = installation->certificate;
    size_t start = message_begin(frame, RUNNER_INSTALL_CERTIFICATE, 0);
    (void)message_put_string(frame, INSTALL_NAME, certificate->name);
    (void)message_put_string(frame, INSTALL_KEY_PATH, certificate->key_path);
    (void)message_put_string(frame, INSTALL_CERTIFICATE_PATH, certificate->certificate_path);
    (void)message_put_string(frame, INSTALL_CA_PATH, certificate->ca_path);
    (void)message_put_string(frame, INSTALL_OWNER, certificate->owner);
    (void)message_put_string(frame, INSTALL_CHAIN, installation->chain);
    (void)message_put_string(frame, INSTALL_CA, certificate->ca_path ? installation->ca : NULL);
    return message_end(frame, start);
}

static int ask_for_certificate(const ExecuteContext *context, const char *csr, json_t **ret_answer,
                               Error *error)
{
    const Task *task = context->task;
    _cleanup_free_ char *path = string_format("/internal/v1/tasks/%s/certificate", task->id);
    _cleanup_json_ json_t *body = json_pack("{sI sI ss}", "epoch", (json_int_t)context->services->epoch,
                                            "attempt", (json_int_t)task->attempt, "csr", csr);
    int r = manager_request(context->services->manager, "POST", path, body, CALL_TIMEOUT, ret_answer, error);
    if (r >= 0 && !json_is_string(json_object_get(*ret_answer, "chain")))
        r = error_set(error, ERROR_PROTOCOL, "the manager's answer has no certificate");
    return r;
}

int execute_certificate(ExecuteContext *context, Outcome *outcome, Error *error)
{
    const Task *task = context->task;
    NodeDoor door;
    int r = execute_door(context, &door, error);
    if (r < 0)
        return r;
    _cleanup_node_reply_ NodeReply request = {0}, installed = {0};
    r = node_call_repeated(&door, build_csr, &task->certificate, RUNNER_CSR, CALL_TIMEOUT, context->deadline,
                           &request, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *csr = message_get_string(&request.message, CSR_PEM, 0), *ca = NULL;
    _cleanup_json_ json_t *answer = NULL;
    r = ask_for_certificate(context, csr, &answer, error);
    if (r < 0)
        return r;
    r = file_read(context->services->ca_file, CA_LIMIT, &ca, NULL);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "cannot read the internal CA");
    Installation installation = {.certificate = &task->certificate,
                                 .chain = json_string_value(json_object_get(answer, "chain")),
                                 .ca = ca};
    r = node_call_repeated(&door, build_install, &installation, RUNNER_OK, CALL_TIMEOUT, context->deadline,
                           &installed, error);
    if (r < 0)
        return r;
    if (task->certificate.reload)
        r = execute_script(context, task->step, task->certificate.reload, outcome, error);
    json_t *serial = json_object_get(answer, "serial");
    if (r >= 0 && json_is_string(serial) && !outcome->result)
        outcome->result = json_pack("{s{sO}}", "outputs", "serial", serial);
    return r;
}
