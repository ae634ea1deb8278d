/* SPDX-License-Identifier: Apache-2.0 */

/* Hosts of the local machine, made by bastide-sandboxd over its socket: one JSON object a packet. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "provisioner/providers/provider.h"

enum { PACKET_LIMIT = 64 * 1024 };

static int connect_sandbox(const char *path, int *ret_socket, Error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || string_copy(address.sun_path, sizeof(address.sun_path), path) < 0)
        return error_set(error, ERROR_CONFIGURATION, "no usable sandbox socket is configured");
    _cleanup_close_ int descriptor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_set_errno(error, ERROR_UNAVAILABLE, errno, "cannot reach bastide-sandboxd");
    *ret_socket = TAKE_FD(descriptor);
    return 0;
}

static int wait_for_answer(const ExecuteContext *context, int descriptor, Error *error)
{
    for (;;) {
        Usec now = clock_monotonic(&system_clock);
        if (now >= context->deadline)
            return error_set(error, ERROR_TIMED_OUT, "bastide-sandboxd did not answer in time");
        if (context->is_abandoned)
            return error_set(error, ERROR_CANCELLED, "nobody waits for the host any more");
        struct pollfd ready = {descriptor, POLLIN, 0};
        if (poll(&ready, 1, 200) > 0)
            return 0;
    }
}

/* Codes of the sandbox are ours; what is not known counts as unavailable. */
static int take_error(const json_t *failure, Error *error)
{
    const char *code = json_string_value(json_object_get(failure, "code"));
    const char *message = json_string_value(json_object_get(failure, "message"));
    ErrorCode known = code ? error_code_from_name(code) : _ERROR_INVALID;
    return error_set(error, known > ERROR_NONE ? known : ERROR_UNAVAILABLE, "sandbox: %s",
                     message ? message : "no reason given");
}

static int ask(const ExecuteContext *context, const json_t *request, json_t **ret_answer, Error *error)
{
    _cleanup_close_ int descriptor = -1;
    int r = connect_sandbox(context->services->sandbox_socket, &descriptor, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = json_to_text(request), *packet = memory_new(PACKET_LIMIT + 1);
    if (send(descriptor, text, strlen(text), MSG_NOSIGNAL) < 0)
        return error_set_errno(error, ERROR_UNAVAILABLE, errno, "cannot ask bastide-sandboxd");
    r = wait_for_answer(context, descriptor, error);
    if (r < 0)
        return r;
    ssize_t size = recv(descriptor, packet, PACKET_LIMIT, 0);
    if (size <= 0)
        return error_set(error, ERROR_UNAVAILABLE, "bastide-sandboxd closed the connection");
    _cleanup_json_ json_t *answer = NULL;
    r = json_parse(packet, (size_t)size, PACKET_LIMIT, &answer, error);
    if (r < 0)
        return r;
    const json_t *failure = json_object_get(answer, "error");
    if (failure)
        return take_error(failure, error);
    *ret_answer = TAKE_PTR(answer);
    return 0;
}

/* A flavor is "name" or a number of MiB; the sandbox has its own default. */
static void add_limits(const Task *task, json_t *request)
{
    uint64_t bytes;
    if (task->node.flavor && string_to_bytes(task->node.flavor, &bytes) >= 0 && bytes >= 16 * 1024 * 1024)
        (void)json_object_set_new(request, "memory_bytes", json_integer((json_int_t)bytes));
    if (task->node.image)
        (void)json_object_set_new(request, "image", json_string(task->node.image));
}

static int sandbox_create(ExecuteContext *context, json_t **ret_result, Error *error)
{
    const Task *task = context->task;
    _cleanup_free_ char *authority = NULL, *provisioner = string_format("provisioner:%s", task->cluster),
                        *person = string_format("person:%s", task->cluster);
    int r = credentials_get_authority(context->services->credentials, task->cluster, &authority, error);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *answer = NULL,
                          *request = json_pack(
                              "{ss ss ss ss ss ss s{s[s] s[s]}}", "op", "create", "token", task->node.id,
                              "cluster", task->cluster, "tenant", task->tenant, "hostname",
                              task->node.hostname ? task->node.hostname : task->node.id, "ssh_user_ca",
                              authority, "principals", "root", provisioner, "operator", person);
    add_limits(task, request);
    r = ask(context, request, &answer, error);
    if (r < 0)
        return r;
    json_t *id = json_object_get(answer, "id"), *address = json_object_get(answer, "address_v4"),
           *keys = json_object_get(answer, "host_keys");
    if (!json_is_string(id) || !json_is_string(address) || json_array_size(keys) == 0)
        return error_set(error, ERROR_PROTOCOL,
                         "bastide-sandboxd's answer lacks the host's id, address or keys");
    *ret_result = json_pack("{sO s{sO sO} sO ss si}", "provider_id", id, "addresses", "access_v4", address,
                            "bind_v4", address, "host_keys", keys, "ssh_user", "root", "ssh_port", 22);
    json_t *v6 = json_object_get(answer, "address_v6");
    if (json_is_string(v6))
        (void)json_object_set(json_object_get(*ret_result, "addresses"), "access_v6", v6);
    return 0;
}

static int sandbox_confirm(ExecuteContext *context, json_t **ret_result, Error *error)
{
    (void)ret_result;
    const Task *task = context->task;
    if (!task->node.provider_id)
        return error_set_field(error, ERROR_BAD_FIELD, "node.provider_id", "the node was not made yet");
    _cleanup_json_ json_t *answer = NULL,
                          *request = json_pack("{ss ss}", "op", "status", "id", task->node.provider_id);
    return ask(context, request, &answer, error);
}

static int sandbox_remove(ExecuteContext *context, Error *error)
{
    const Task *task = context->task;
    /* Without an id nothing is known to have been made. */
    if (!task->node.provider_id)
        return 0;
    _cleanup_json_ json_t *answer = NULL,
                          *request = json_pack("{ss ss}", "op", "delete", "id", task->node.provider_id);
    Error failure = ERROR_INIT;
    int r = ask(context, request, &answer, &failure);
    if (r < 0 && failure.code == ERROR_NOT_FOUND)
        return 0;
    if (r < 0)
        *error = failure;
    return r;
}

const Provider provider_sandbox = {
    .type = "sandbox",
    .summary = "hosts of this machine, for tests, demonstrations and small installations",
    .create = sandbox_create,
    .confirm = sandbox_confirm,
    .remove = sandbox_remove,
};
