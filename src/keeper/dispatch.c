/* SPDX-License-Identifier: Apache-2.0 */
/* From a frame to its handler and back. */

#include <errno.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "keeper/keeper-internal.h"

static const struct {
    uint16_t type;
    RequestHandler handle;
    bool is_open_needed;
} handlers[] = {
    {KEEPER_STATUS, handle_status, false},
    {KEEPER_INITIALISE, handle_initialise, false},
    {KEEPER_UNSEAL, handle_unseal, false},
    {KEEPER_SEAL, handle_seal, false},
    {KEEPER_PUBLIC, handle_public, true},
    {KEEPER_IMPORT_CA, handle_import_ca, true},
    {KEEPER_ROTATE_DATA_KEYS, handle_rotate_data_keys, true},
    {KEEPER_RETIRE_DATA_KEYS, handle_retire_data_keys, true},
    {KEEPER_SHRED_TENANT, handle_shred_tenant, true},
    {KEEPER_ROTATE_MASTER, handle_rotate_master, true},
    {KEEPER_SPLIT_MASTER, handle_split_master, true},
    {KEEPER_CHECK_SHARES, handle_check_shares, false},
    {KEEPER_SEAL_VALUE, handle_seal_value, true},
    {KEEPER_OPEN_VALUE, handle_open_value, true},
    {KEEPER_RESEAL_VALUE, handle_reseal_value, true},
    {KEEPER_GENERATE_SECRET, handle_generate_secret, true},
    {KEEPER_RENEW_VALUE, handle_renew_value, true},
    {KEEPER_ISSUE_CERTIFICATE, handle_issue_certificate, true},
    {KEEPER_ENROL_PROVISIONER, handle_enrol_provisioner, true},
    {KEEPER_REMOVE_PROVISIONER, handle_remove_provisioner, true},
    {KEEPER_ISSUE_SSH_USER, handle_issue_ssh_user, true},
    {KEEPER_ISSUE_SSH_HOST, handle_issue_ssh_host, true},
    {KEEPER_SIGN_AUDIT_HEAD, handle_sign_audit_head, true},
    {KEEPER_SIGN_APPROVED_SET, handle_sign_approved_set, true},
    {KEEPER_BEGIN_AUDIT_EPOCH, handle_begin_audit_epoch, true},
    {KEEPER_AUDIT_HEAD, handle_audit_head, true},
};

int request_text(const Request *request, KeeperField tag, char **ret_text, Error *error)
{
    _cleanup_free_ char *text = message_get_string(&request->view, (uint8_t)tag, 0);

    if (!text || string_has_control(text, strlen(text), NULL))
        return error_set(error, ERROR_BAD_REQUEST,
                         "a text of the request is missing or has control characters");
    *ret_text = TAKE_PTR(text);
    return 0;
}

int request_text_list(const Request *request, KeeperField tag, size_t maximum, StringList *list, Error *error)
{
    for (unsigned i = 0;; i++) {
        _cleanup_free_ char *text = message_get_string(&request->view, (uint8_t)tag, i);

        if (!text)
            return 0;
        if (i >= maximum)
            return error_set(error, ERROR_TOO_LARGE, "a list of the request has more than %zu members",
                             maximum);
        if (*text == '\0' || string_has_control(text, strlen(text), NULL))
            return error_set(error, ERROR_BAD_REQUEST,
                             "a text of the request is empty or has control characters");
        string_list_append(list, text);
    }
}

int request_fixed(const Request *request, KeeperField tag, size_t size, const uint8_t **ret_data,
                  Error *error)
{
    size_t length;

    if (message_get_bytes(&request->view, (uint8_t)tag, 0, ret_data, &length) < 0 || length != size)
        return error_set(error, ERROR_BAD_REQUEST, "a field of the request must have %zu bytes", size);
    return 0;
}

int request_secret(const Request *request, KeeperField tag, Secret **ret_secret, Error *error)
{
    const uint8_t *data;
    size_t size;

    if (message_get_bytes(&request->view, (uint8_t)tag, 0, &data, &size) < 0)
        return error_set(error, ERROR_BAD_REQUEST, "a field of the request is missing");
    *ret_secret = secret_new(data, size);
    return *ret_secret ? 0 : error_set(error, ERROR_INTERNAL, "no guarded memory");
}

int request_optional_secret(const Request *request, KeeperField tag, Secret **ret_secret, Error *error)
{
    const uint8_t *data;
    size_t size;

    if (message_get_bytes(&request->view, (uint8_t)tag, 0, &data, &size) < 0)
        return 0;
    return request_secret(request, tag, ret_secret, error);
}

void request_note(Request *request, const char *name, const char *value)
{
    (void)buffer_append_format(&request->note, " %s=", name);
    (void)buffer_append_json_string(&request->note, value, MIN(strlen(value), (size_t)300));
}

void request_note_number(Request *request, const char *name, uint64_t value)
{
    (void)buffer_append_format(&request->note, " %s=%llu", name, (unsigned long long)value);
}

int keeper_append_error(Buffer *reply, uint32_t request_id, ErrorCode code, const char *text)
{
    const ErrorDescription *description = error_describe(code);
    size_t start = message_begin(reply, KEEPER_ERROR, request_id);
    int r = message_put_string(reply, KEEPER_FIELD_CODE, description ? description->name : "internal");

    if (r >= 0)
        r = message_put_string(reply, KEEPER_FIELD_TEXT, text);
    return r < 0 ? r : message_end(reply, start);
}

/* Every request is accounted for; STATUS and PUBLIC change and reveal nothing and would only fill the log. */
static int account(Request *request, const Error *error)
{
    _cleanup_buffer_ Buffer line = BUFFER_INIT;
    bool is_harmless = request->view.type == KEEPER_STATUS || request->view.type == KEEPER_PUBLIC;
    int r;

    if (is_harmless && !error_is_set(error))
        return 0;
    r = buffer_append_format(&line, "%s uid=%u pid=%d %s%s", keeper_peer_to_string(request->caller->peer),
                             request->caller->uid, request->caller->pid, request->view.description->name,
                             buffer_string(&request->note));
    if (r >= 0)
        r = error_is_set(error)
                ? buffer_append_format(&line, " refused=%s", error_describe(error->code)->name)
                : buffer_append_string(&line, " done");
    if (r >= 0)
        r = journal_write(request->keeper->journal, clock_realtime(request->keeper->clock),
                          buffer_string(&line));
    return r;
}

static int run_handler(Request *request, Error *error)
{
    if (!(keeper_request_who(request->view.type) & request->caller->peer))
        return error_set(error, ERROR_FORBIDDEN, "%s is not for this user", request->view.description->name);
    for (size_t i = 0; i < ELEMENTSOF(handlers); i++) {
        if (handlers[i].type != request->view.type)
            continue;
        if (handlers[i].is_open_needed && request->keeper->state == KEEPER_STATE_UNINITIALISED)
            return error_set(error, ERROR_UNAVAILABLE, "the keeper is not set up yet");
        if (handlers[i].is_open_needed && request->keeper->state != KEEPER_STATE_OPEN)
            return error_set(error, ERROR_SEALED, "the keeper is sealed");
        return handlers[i].handle(request, error);
    }
    return error_set(error, ERROR_BAD_REQUEST, "the request is not known");
}

static int answer(Request *request, size_t reply_before)
{
    Error error = ERROR_INIT;
    size_t start =
        message_begin(request->reply, request->view.type | KEEPER_ANSWER, request->view.request_id);
    int r = run_handler(request, &error), accounted;

    if (r >= 0)
        r = message_end(request->reply, start);
    if (r < 0)
        (void)error_set_errno(&error, ERROR_INTERNAL, -r, "the answer could not be built");
    accounted = account(request, &error);
    if (accounted < 0)
        (void)error_set_errno(&error, ERROR_IO, -accounted, "the keeper's log cannot be written");
    if (!error_is_set(&error))
        return 0;
    /* What the handler had put may be secret. */
    if (request->reply->size > reply_before) {
        memory_wipe(request->reply->data + reply_before, request->reply->size - reply_before);
        request->reply->size = reply_before;
    }
    log_error_record(LOG_LEVEL_WARNING, request->view.description->name, &error);
    return keeper_append_error(request->reply, request->view.request_id, error.code, error.text);
}

int keeper_handle(Keeper *keeper, const KeeperCaller *caller, const uint8_t *frame, size_t size,
                  Buffer *reply)
{
    Request request = {
        .keeper = keeper, .caller = caller, .reply = reply, .note = BUFFER_INIT_LIMIT(64 * 1024)};
    size_t before = reply->size;
    int r =
        size > KEEPER_FRAME_LIMIT ? -E2BIG : message_decode(frame, size, keeper_request_types, &request.view);

    if (r < 0) {
        log_warning("uid %u, pid %d sent a malformed request", caller->uid, caller->pid);
        (void)keeper_append_error(reply, 0, ERROR_PROTOCOL, "the request is malformed");
        return r;
    }
    r = answer(&request, before);
    buffer_done(&request.note);
    return r < 0 ? r : 0;
}
