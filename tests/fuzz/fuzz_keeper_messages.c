/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as requests to a real keeper (in this process, in a temporary directory). First byte: who asks.
 * Then type and fields of one request after the other, each with its length before it (u16). Every answer
 * must be one that the client accepts, nobody gets past the table of who may ask, and the keeper stays
 * usable. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/start.h"
#include "keeper/keeper.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/bastide-fuzz-XXXXXX";
static Keeper *keeper;

static void stop(void)
{
    (void)keeper_free(keeper);
    (void)directory_remove(directory);
}

static void start(void)
{
    Error error = ERROR_INIT;

    if (keeper)
        return;
    log_init("fuzz", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    ASSERT(crypto_start() == 0 && mkdtemp(directory));
    ASSERT(keeper_new(directory, &system_clock, &keeper, &error) >= 0);
    ASSERT(keeper_initialise(keeper, "Fuzz", NULL, NULL, NULL, &error) >= 0);
    ASSERT(atexit(stop) == 0);
}

static void check_answer(const Buffer *reply, const MessageView *request, KeeperPeer peer)
{
    MessageView answer;

    ASSERT(reply->size <= KEEPER_FRAME_LIMIT);
    ASSERT(message_decode(reply->data, reply->size, keeper_answer_types, &answer) >= 0);
    if (!request) {
        ASSERT(answer.type == KEEPER_ERROR);
        return;
    }
    ASSERT(answer.request_id == request->request_id);
    ASSERT(answer.type == KEEPER_ERROR || answer.type == (request->type | KEEPER_ANSWER));
    if (!(keeper_request_who(request->type) & peer))
        ASSERT(answer.type == KEEPER_ERROR);
}

static void ask(const KeeperCaller *caller, const uint8_t *body, size_t size)
{
    _cleanup_buffer_ Buffer frame = BUFFER_INIT, reply = BUFFER_INIT_LIMIT(KEEPER_FRAME_LIMIT + 16);
    MessageView request;
    bool is_well_formed;

    ASSERT(buffer_append_u32(&frame, (uint32_t)(6 + size - 2)) >= 0);
    ASSERT(buffer_append(&frame, body, 2) >= 0);
    ASSERT(buffer_append_u32(&frame, 7) >= 0);
    ASSERT(buffer_append(&frame, body + 2, size - 2) >= 0);
    is_well_formed = message_decode(frame.data, frame.size, keeper_request_types, &request) >= 0;
    ASSERT((keeper_handle(keeper, caller, frame.data, frame.size, &reply) >= 0) == is_well_formed);
    check_answer(&reply, is_well_formed ? &request : NULL, caller->peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t unseal[] = {0, KEEPER_UNSEAL, KEEPER_FIELD_PASSPHRASE, 0, 0, 0, 0};
    KeeperCaller caller = {.peer = KEEPER_PEER_MANAGER, .uid = 1, .pid = 1};
    const KeeperCaller root = {.peer = KEEPER_PEER_ROOT, .pid = 1};
    Reader reader = READER(data, size);
    uint8_t who;

    start();
    if (reader_u8(&reader, &who) < 0)
        return 0;
    caller.peer = (KeeperPeer)(who % 3);
    for (int i = 0; i < 8; i++) {
        const uint8_t *body;
        uint16_t length;

        if (reader_u16(&reader, &length) < 0 || length < 2 || reader_bytes(&reader, length, &body) < 0)
            break;
        ask(&caller, body, length);
    }
    if (keeper_state(keeper) != KEEPER_STATE_OPEN)
        ask(&root, unseal, sizeof(unseal));
    ASSERT(keeper_state(keeper) == KEEPER_STATE_OPEN && keeper_trust(keeper));
    return 0;
}
