/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/protocol.h"

#include <errno.h>
#include <string.h>

#include "base/string.h"

#define FIELDS(...)                                                                                          \
    (const MessageField[])                                                                                   \
    {                                                                                                        \
        __VA_ARGS__,                                                                                         \
        {                                                                                                    \
            0                                                                                                \
        }                                                                                                    \
    }
#define M    true
#define O    false
#define ONE  false
#define MANY true

const MessageType runner_requests[] = {
    {RUNNER_HELLO, "HELLO",
     FIELDS({HELLO_VERSION, "version", MESSAGE_U32, M, ONE, 0},
            {HELLO_EPOCH, "epoch", MESSAGE_U64, O, ONE, 0},
            {HELLO_HOLDER, "holder", MESSAGE_STRING, O, ONE, 64})},
    {RUNNER_HAVE, "HAVE", FIELDS({HAVE_DIGEST, "digest", MESSAGE_BYTES, M, MANY, RUNNER_DIGEST_SIZE})},
    {RUNNER_PUT, "PUT",
     FIELDS({PUT_DIGEST, "digest", MESSAGE_BYTES, M, ONE, RUNNER_DIGEST_SIZE},
            {PUT_SIZE, "size", MESSAGE_U32, M, ONE, 0}, {PUT_OFFSET, "offset", MESSAGE_U32, M, ONE, 0},
            {PUT_CONTENT, "content", MESSAGE_BYTES, M, ONE, RUNNER_CHUNK_MAX})},
    {RUNNER_RUN, "RUN",
     FIELDS(
         {RUN_STEP, "step", MESSAGE_STRING, M, ONE, RUNNER_STEP_ID_MAX},
         {RUN_ATTEMPT, "attempt", MESSAGE_U32, M, ONE, 0},
         {RUN_SCRIPT_DIGEST, "script", MESSAGE_BYTES, M, ONE, RUNNER_DIGEST_SIZE},
         {RUN_NAME, "name", MESSAGE_STRING, M, ONE, RUNNER_PATH_MAX},
         {RUN_TIMEOUT_MS, "timeout_ms", MESSAGE_U64, M, ONE, 0},
         {RUN_OUTPUT_LIMIT, "output_limit", MESSAGE_U64, M, ONE, 0},
         {RUN_IDEMPOTENT, "idempotent", MESSAGE_U32, M, ONE, 0},
         {RUN_FILE, "file", MESSAGE_BYTES, M, MANY, RUNNER_DIGEST_SIZE + RUNNER_PATH_MAX},
         {RUN_PARAMETERS_JSON, "parameters_json", MESSAGE_BYTES, O, ONE, RUNNER_PARAMETERS_MAX},
         {RUN_PARAMETERS_FLAT, "parameters", MESSAGE_BYTES, O, ONE, RUNNER_PARAMETERS_MAX},
         {RUN_SECRET, "secret", MESSAGE_BYTES, O, MANY, 2 + RUNNER_SECRET_NAME_MAX + RUNNER_SECRET_SIZE_MAX},
         {RUN_STDOUT_OFFSET, "stdout_offset", MESSAGE_U64, O, ONE, 0},
         {RUN_STDERR_OFFSET, "stderr_offset", MESSAGE_U64, O, ONE, 0})},
    {RUNNER_ATTACH, "ATTACH",
     FIELDS({ATTACH_STEP, "step", MESSAGE_STRING, M, ONE, RUNNER_STEP_ID_MAX},
            {ATTACH_STDOUT_OFFSET, "stdout_offset", MESSAGE_U64, O, ONE, 0},
            {ATTACH_STDERR_OFFSET, "stderr_offset", MESSAGE_U64, O, ONE, 0})},
    {RUNNER_CANCEL, "CANCEL",
     FIELDS({CANCEL_STEP, "step", MESSAGE_STRING, M, ONE, RUNNER_STEP_ID_MAX},
            {CANCEL_GRACE_MS, "grace_ms", MESSAGE_U32, M, ONE, 0})},
    {RUNNER_FIREWALL, "FIREWALL",
     FIELDS({FIREWALL_RULESET, "ruleset", MESSAGE_STRING, M, ONE, RUNNER_RULESET_MAX},
            {FIREWALL_CONFIRM_SECONDS, "confirm_seconds", MESSAGE_U32, M, ONE, 0})},
    {RUNNER_CONFIRM_FIREWALL, "CONFIRM_FIREWALL",
     FIELDS({CONFIRM_TOKEN, "token", MESSAGE_STRING, M, ONE, 64})},
    {RUNNER_MAKE_CSR, "MAKE_CSR",
     FIELDS({MAKE_CSR_NAME, "name", MESSAGE_STRING, M, ONE, 255},
            {MAKE_CSR_KEY_PATH, "key_path", MESSAGE_STRING, M, ONE, RUNNER_PATH_MAX},
            {MAKE_CSR_OWNER, "owner", MESSAGE_STRING, O, ONE, 64},
            {MAKE_CSR_COMMON_NAME, "common_name", MESSAGE_STRING, M, ONE, 64})},
    {RUNNER_INSTALL_CERTIFICATE, "INSTALL_CERTIFICATE",
     FIELDS({INSTALL_NAME, "name", MESSAGE_STRING, M, ONE, 255},
            {INSTALL_KEY_PATH, "key_path", MESSAGE_STRING, M, ONE, RUNNER_PATH_MAX},
            {INSTALL_CERTIFICATE_PATH, "certificate_path", MESSAGE_STRING, M, ONE, RUNNER_PATH_MAX},
            {INSTALL_CA_PATH, "ca_path", MESSAGE_STRING, O, ONE, RUNNER_PATH_MAX},
            {INSTALL_OWNER, "owner", MESSAGE_STRING, O, ONE, 64},
            {INSTALL_CHAIN, "chain", MESSAGE_STRING, M, ONE, RUNNER_CHAIN_MAX},
            {INSTALL_CA, "ca", MESSAGE_STRING, O, ONE, RUNNER_CHAIN_MAX})},
    {RUNNER_FORGET, "FORGET", FIELDS({FORGET_STEP, "step", MESSAGE_STRING, M, MANY, RUNNER_STEP_ID_MAX})},
    {RUNNER_PING, "PING", FIELDS({0})},
    {0, NULL, NULL},
};

const MessageType runner_answers[] = {
    {RUNNER_HELLO_ANSWER, "HELLO",
     FIELDS({HELLO_ANSWER_VERSION, "version", MESSAGE_U32, M, ONE, 0},
            {HELLO_ANSWER_BOOT_ID, "boot_id", MESSAGE_STRING, M, ONE, 64},
            {HELLO_ANSWER_ARCHITECTURE, "architecture", MESSAGE_STRING, M, ONE, 65},
            {HELLO_ANSWER_PROGRAM, "program", MESSAGE_STRING, M, ONE, 64})},
    {RUNNER_MISSING, "MISSING",
     FIELDS({MISSING_DIGEST, "digest", MESSAGE_BYTES, O, MANY, RUNNER_DIGEST_SIZE})},
    {RUNNER_CSR, "CSR", FIELDS({CSR_PEM, "pem", MESSAGE_STRING, M, ONE, 16 * 1024})},
    {RUNNER_OK, "OK", FIELDS({OK_TOKEN, "token", MESSAGE_STRING, O, ONE, 64})},
    {RUNNER_ERROR, "ERROR",
     FIELDS({ERROR_FIELD_CODE, "code", MESSAGE_STRING, M, ONE, 64},
            {ERROR_FIELD_TEXT, "text", MESSAGE_STRING, M, ONE, RUNNER_TEXT_MAX})},
    {RUNNER_STARTED, "STARTED", FIELDS({0})},
    {RUNNER_OUTPUT, "OUTPUT",
     FIELDS({OUTPUT_STREAM, "stream", MESSAGE_U32, M, ONE, 0},
            {OUTPUT_OFFSET, "offset", MESSAGE_U64, M, ONE, 0},
            {OUTPUT_DATA, "data", MESSAGE_BYTES, M, ONE, RUNNER_CHUNK_MAX})},
    {RUNNER_DONE, "DONE",
     FIELDS({DONE_EXIT_STATUS, "exit_status", MESSAGE_U32, M, ONE, 0},
            {DONE_SIGNAL, "signal", MESSAGE_U32, M, ONE, 0},
            {DONE_TIMED_OUT, "timed_out", MESSAGE_U32, M, ONE, 0},
            {DONE_CANCELLED, "cancelled", MESSAGE_U32, M, ONE, 0},
            {DONE_MESSAGE, "message", MESSAGE_STRING, O, ONE, RUNNER_TEXT_MAX},
            {DONE_RESULT, "result", MESSAGE_BYTES, O, MANY, 2 + 255 + RUNNER_RESULTS_SIZE_MAX})},
    {RUNNER_NEEDS_DECISION, "NEEDS_DECISION",
     FIELDS({NEEDS_DECISION_TEXT, "text", MESSAGE_STRING, M, ONE, RUNNER_TEXT_MAX})},
    {0, NULL, NULL},
};

int runner_put_pair(Buffer *buffer, uint8_t tag, const char *name, const void *value, size_t size)
{
    size_t name_size = strlen(name);
    if (name_size > UINT16_MAX || size > MESSAGE_LIMIT)
        return -E2BIG;
    /* A field is tag, length, bytes; put together here so that the value is copied once. */
    int r = buffer_append_byte(buffer, tag);
    if (r >= 0)
        r = buffer_append_u32(buffer, (uint32_t)(2 + name_size + size));
    if (r >= 0)
        r = buffer_append_u16(buffer, (uint16_t)name_size);
    if (r >= 0)
        r = buffer_append(buffer, name, name_size);
    if (r >= 0)
        r = buffer_append(buffer, value, size);
    return r;
}

int runner_get_pair(const uint8_t *data, size_t size, char **ret_name, const uint8_t **ret_value,
                    size_t *ret_size)
{
    Reader reader = READER(data, size);
    uint16_t name_size;
    const uint8_t *name;
    if (reader_u16(&reader, &name_size) < 0 || reader_bytes(&reader, name_size, &name) < 0 ||
        name_size == 0 || memchr(name, 0, name_size))
        return -EBADMSG;
    *ret_name = string_duplicate_n((const char *)name, name_size);
    *ret_value = data + reader.position;
    *ret_size = reader_left(&reader);
    return 0;
}

bool runner_step_id_is_valid(const char *id)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    size_t length = id ? strlen(id) : 0;
    return length > 0 && length <= RUNNER_STEP_ID_MAX && id[0] != '.' && id[0] != '-' &&
           strspn(id, allowed) == length;
}
