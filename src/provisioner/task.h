/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A task as the manager gives it (section 4 of docs/internals/protocols.md), checked and taken apart. Strings
 * are borrowed from the JSON document that the Task owns. Immutable once parsed; any thread. */

#include "base/error.h"
#include "base/json.h"

typedef enum TaskKind {
    TASK_PROVIDER,
    TASK_AUTOMATOR,
    TASK_FIREWALL,
    TASK_CERTIFICATE,
    TASK_BOOTSTRAP,
    _TASK_KIND_MAX,
    _TASK_KIND_INVALID = -22,
} TaskKind;
const char *task_kind_to_string(TaskKind kind);

enum { TASK_HOST_KEYS_MAX = 8, TASK_SECRETS_MAX = 128, TASK_LIMIT = 2 * 1024 * 1024, TASKS_LIMIT = 64 };

typedef struct TaskNode {
    const char *id, *hostname, *hardware_type, *flavor, *image_type, *image, *ssh_user, *provider_id;
    const char *access_v4, *bind_v4, *access_v6;
    int64_t number, ssh_port;
    const char *host_keys[TASK_HOST_KEYS_MAX];
    size_t host_key_count;
} TaskNode;

typedef struct TaskCertificate {
    const char *name, *key_path, *certificate_path, *ca_path, *owner, *common_name, *reload;
} TaskCertificate;

typedef struct Task {
    json_t *document; /* owned */
    const char *id, *step, *tenant, *cluster, *execution, *action;
    TaskKind kind;
    int64_t attempt, epoch, timeout_ms;
    bool is_idempotent;
    TaskNode node;
    const char *provider_name, *provider_type;
    json_t *provider_fields;                       /* may be NULL */
    const char *service_name, *automator, *script; /* NULL when the task has none */
    json_t *action_fields;
    const char *bundle_name, *bundle_version;
    uint8_t bundle_digest[32];
    bool has_bundle;
    json_t *parameters;                /* object, or NULL */
    json_t *secrets, *secret_contexts; /* name to base64 envelope; name to context; may be NULL */
    const char *ruleset;
    int64_t confirm_seconds;
    TaskCertificate certificate;
    json_t *results; /* may be NULL */
} Task;

/* Takes a reference of its own. The error names the member. */
int task_parse(json_t *document, Task **ret_task, Error *error);
Task *task_free(Task *task);
DEFINE_CLEANUP(Task, task_free);
#define _cleanup_task_ _cleanup_(task_free_pointer)

/* Parameters as "path<TAB>value" lines; owned. -E2BIG. */
int task_flatten_parameters(const json_t *parameters, size_t limit, char **ret_text);
