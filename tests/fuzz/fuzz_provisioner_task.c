/* SPDX-License-Identifier: Apache-2.0 */

/* A task as the manager sends it, and its parameters. */

#include <stdlib.h>

#include "base/memory.h"
#include "provisioner/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_json_ json_t *document = NULL;
    Error error = ERROR_INIT;
    if (json_parse((const char *)data, size, 256 * 1024, &document, &error) < 0)
        return 0;
    error_clear(&error);
    _cleanup_task_ Task *task = NULL;
    if (task_parse(document, &task, &error) < 0) {
        ASSERT(error_is_set(&error));
        return 0;
    }
    ASSERT(task->id && task->step && task->tenant && task->node.id && task->kind < _TASK_KIND_MAX);
    _cleanup_free_ char *text = NULL;
    (void)task_flatten_parameters(task->parameters, 64 * 1024, &text);
    return 0;
}
