/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The messages between a provisioner and the runner on a node, as a table for the codec of base/message.h.
 * Both sides link this file and nothing else of each other. Requests carry a request id of the provisioner's
 * choosing; every answer and every event of a step carries the id of the request it belongs to. */

#include "base/message.h"

enum { RUNNER_PROTOCOL_VERSION = 1 };

/* Limits of what travels; the table and both sides use them. */
enum {
    RUNNER_DIGEST_SIZE = 32,
    RUNNER_STEP_ID_MAX = 96,
    RUNNER_PATH_MAX = 1024,
    RUNNER_FILES_MAX = 4096,
    RUNNER_SECRETS_MAX = 128,
    RUNNER_SECRET_NAME_MAX = 200,
    RUNNER_SECRET_SIZE_MAX = 64 * 1024,
    RUNNER_PARAMETERS_MAX = 384 * 1024,
    RUNNER_CHUNK_MAX = 128 * 1024, /* of a PUT; of an OUTPUT half of it */
    RUNNER_CONTENT_MAX = 64 * 1024 * 1024,
    RUNNER_RULESET_MAX = 512 * 1024,
    RUNNER_CHAIN_MAX = 64 * 1024,
    RUNNER_OUTPUT_MAX = 64 * 1024 * 1024, /* the largest output limit one may ask for, per stream */
    RUNNER_RESULTS_MAX = 64,
    RUNNER_RESULTS_SIZE_MAX = 16 * 1024, /* all names and values of one step */
    RUNNER_TEXT_MAX = 4096,
};

typedef enum RunnerMessage {
    RUNNER_HELLO = 1,
    RUNNER_HAVE,
    RUNNER_PUT,
    RUNNER_RUN,
    RUNNER_ATTACH,
    RUNNER_CANCEL,
    RUNNER_FIREWALL,
    RUNNER_CONFIRM_FIREWALL,
    RUNNER_MAKE_CSR,
    RUNNER_INSTALL_CERTIFICATE,
    RUNNER_FORGET,
    RUNNER_PING,

    RUNNER_ANSWER = 0x8000,
    RUNNER_HELLO_ANSWER = RUNNER_ANSWER | RUNNER_HELLO,
    RUNNER_MISSING = RUNNER_ANSWER | RUNNER_HAVE,
    RUNNER_CSR = RUNNER_ANSWER | RUNNER_MAKE_CSR,
    RUNNER_OK = RUNNER_ANSWER | 0x100,
    RUNNER_ERROR,
    RUNNER_STARTED,
    RUNNER_OUTPUT,
    RUNNER_DONE,
    RUNNER_NEEDS_DECISION,
} RunnerMessage;

typedef enum RunnerStream { RUNNER_STDOUT = 1, RUNNER_STDERR = 2 } RunnerStream;

/* Tags, one list per message. */
enum { HELLO_VERSION = 1, HELLO_EPOCH, HELLO_HOLDER };
enum { HELLO_ANSWER_VERSION = 1, HELLO_ANSWER_BOOT_ID, HELLO_ANSWER_ARCHITECTURE, HELLO_ANSWER_PROGRAM };
enum { HAVE_DIGEST = 1 };
enum { PUT_DIGEST = 1, PUT_SIZE, PUT_OFFSET, PUT_CONTENT };
enum {
    RUN_STEP = 1,
    RUN_ATTEMPT,
    RUN_SCRIPT_DIGEST,
    RUN_NAME,
    RUN_TIMEOUT_MS,
    RUN_OUTPUT_LIMIT,
    RUN_IDEMPOTENT,
    RUN_FILE, /* digest (32 bytes), relative path */
    RUN_PARAMETERS_JSON,
    RUN_PARAMETERS_FLAT,
    RUN_SECRET, /* u16 length of the name, name, value */
    RUN_STDOUT_OFFSET,
    RUN_STDERR_OFFSET,
};
enum { ATTACH_STEP = 1, ATTACH_STDOUT_OFFSET, ATTACH_STDERR_OFFSET };
enum { CANCEL_STEP = 1, CANCEL_GRACE_MS };
enum { FIREWALL_RULESET = 1, FIREWALL_CONFIRM_SECONDS };
enum { CONFIRM_TOKEN = 1 };
enum { MAKE_CSR_NAME = 1, MAKE_CSR_KEY_PATH, MAKE_CSR_OWNER, MAKE_CSR_COMMON_NAME };
enum {
    INSTALL_NAME = 1,
    INSTALL_KEY_PATH,
    INSTALL_CERTIFICATE_PATH,
    INSTALL_CA_PATH,
    INSTALL_OWNER,
    INSTALL_CHAIN,
    INSTALL_CA
};
enum { FORGET_STEP = 1 };

enum { OK_TOKEN = 1 };
enum { ERROR_FIELD_CODE = 1, ERROR_FIELD_TEXT };
enum { MISSING_DIGEST = 1 };
enum { CSR_PEM = 1 };
enum { OUTPUT_STREAM = 1, OUTPUT_OFFSET, OUTPUT_DATA };
enum {
    DONE_EXIT_STATUS = 1,
    DONE_SIGNAL,
    DONE_TIMED_OUT,
    DONE_CANCELLED,
    DONE_MESSAGE, /* why the step counts as failed although nothing else says so */
    DONE_RESULT,  /* u16 length of the name, name, value */
};
enum { NEEDS_DECISION_TEXT = 1 };

extern const MessageType runner_requests[];
extern const MessageType runner_answers[];

/* "name" and "value" packed into one repeatable field. */
int runner_put_pair(Buffer *buffer, uint8_t tag, const char *name, const void *value, size_t size);
/* The name is owned and terminated, the value borrowed from the frame. -EBADMSG. */
int runner_get_pair(const uint8_t *data, size_t size, char **ret_name, const uint8_t **ret_value,
                    size_t *ret_size);
/* Ids of steps: letters, digits, '.', '-', first a letter or digit; never "." or "..". */
bool runner_step_id_is_valid(const char *id);
