/* SPDX-License-Identifier: Apache-2.0 */

/* What a provisioner sends to a runner and a runner to a provisioner, as far as it is parsed: frames against
 * both tables, packed pairs, rulesets, flat parameters. (Requests are not carried out: they would write files
 * and start programs.) */

#include <stdlib.h>

#include "base/memory.h"
#include "base/string.h"
#include "runner/firewall.h"
#include "runner/helpers.h"
#include "runner/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_fields(const MessageView *view)
{
    const uint8_t *bytes;
    size_t length;
    for (uint8_t tag = 1; tag < 16; tag++) {
        for (unsigned i = 0; i < 4 && message_get_bytes(view, tag, i, &bytes, &length) >= 0; i++) {
            _cleanup_free_ char *name = NULL;
            const uint8_t *value;
            size_t value_size;
            if (runner_get_pair(bytes, length, &name, &value, &value_size) >= 0)
                ASSERT(strlen(name) + 2 + value_size == length);
        }
        _cleanup_free_ char *text = message_get_string(view, tag, 0);
        (void)runner_step_id_is_valid(text);
    }
}

static void read_frame(const uint8_t *data, size_t size, const MessageType *types)
{
    ssize_t frame = message_frame_size(data, size);
    MessageView view;
    if (frame > 0 && message_decode(data, (size_t)frame, types, &view) >= 0)
        read_fields(&view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_frame(data, size, runner_requests);
    read_frame(data, size, runner_answers);
    _cleanup_free_ char *text = string_duplicate_n((const char *)data, size);
    (void)firewall_is_confined(text);
    free(parameters_find(text, "a.b"));
    return 0;
}
