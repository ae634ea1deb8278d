/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the keeper's messages, sealed values' headers, signed forms; and the client against peers that
 * are no keeper. */

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../crypto/run.h"
#include "custody/keeper_client.h"

static void test_table(void **state)
{
    unsigned last = 0;

    for (const MessageType *type = keeper_request_types; type->name; type++) {
        const MessageType *answer = keeper_answer_types + (type - keeper_request_types);

        assert_true(type->type > last && type->type < KEEPER_ANSWER);
        last = type->type;
        assert_int_equal(answer->type, type->type | KEEPER_ANSWER);
        assert_string_equal(answer->name, type->name);
        assert_int_not_equal(keeper_request_who(type->type), KEEPER_PEER_NONE);
        for (int side = 0; side < 2; side++) {
            unsigned tag = 0;

            for (const MessageField *field = side ? answer->fields : type->fields; field->tag; field++) {
                assert_true(field->tag > tag);
                assert_true(field->maximum > 0);
                tag = field->tag;
            }
        }
    }
    assert_int_equal(keeper_request_who(0), KEEPER_PEER_NONE);
    assert_int_equal(keeper_request_who(999), KEEPER_PEER_NONE);
}

/* Decision 1: what root may do the manager may not, and the other way round. */
static void test_who(void **state)
{
    static const uint16_t root_only[] = {KEEPER_INITIALISE,   KEEPER_UNSEAL,           KEEPER_SEAL,
                                         KEEPER_IMPORT_CA,    KEEPER_ROTATE_MASTER,    KEEPER_SPLIT_MASTER,
                                         KEEPER_CHECK_SHARES, KEEPER_BEGIN_AUDIT_EPOCH};
    static const uint16_t both[] = {KEEPER_STATUS, KEEPER_PUBLIC, KEEPER_ROTATE_DATA_KEYS,
                                    KEEPER_SHRED_TENANT};

    for (const MessageType *type = keeper_request_types; type->name; type++) {
        unsigned expected = KEEPER_PEER_MANAGER;

        for (size_t i = 0; i < ELEMENTSOF(root_only); i++)
            if (root_only[i] == type->type)
                expected = KEEPER_PEER_ROOT;
        for (size_t i = 0; i < ELEMENTSOF(both); i++)
            if (both[i] == type->type)
                expected = KEEPER_PEER_ROOT | KEEPER_PEER_MANAGER;
        assert_int_equal(keeper_request_who(type->type), expected);
    }
}

static void test_sealed_header(void **state)
{
    uint8_t value[SEALED_OVERHEAD + 3] = {0}, nonce[AEAD_NONCE_SIZE] = "abcdefghijk";
    SealedHeader header;

    sealed_value_header(SEALED_TASK, 0x01020304, nonce, value);
    assert_int_equal(sealed_value_parse(value, sizeof(value), &header), 0);
    assert_int_equal(header.sealed_class, SEALED_TASK);
    assert_int_equal(header.generation, 0x01020304);
    assert_memory_equal(header.nonce, nonce, sizeof(nonce));
    assert_int_equal(header.ciphertext_size, 3 + AEAD_TAG_SIZE);
    assert_int_equal(sealed_value_parse(value, SEALED_OVERHEAD - 1, &header), -EBADMSG);
    value[0] = 2;
    assert_int_equal(sealed_value_parse(value, sizeof(value), &header), -EBADMSG);
    value[0] = 1;
    value[1] = 0;
    assert_int_equal(sealed_value_parse(value, sizeof(value), &header), -EBADMSG);
    value[1] = 4;
    assert_int_equal(sealed_value_parse(value, sizeof(value), &header), -EBADMSG);
    assert_int_equal(sealed_class_from_string("task"), SEALED_TASK);
    assert_true(sealed_class_from_string("") < 0 && sealed_class_from_string("Task") < 0);
    assert_null(sealed_class_to_string((SealedClass)0));
}

static void test_signed_forms(void **state)
{
    uint8_t public_key[SIGN_PUBLIC_SIZE], signature[SIGN_SIGNATURE_SIZE], digests[2 * HASH_SIZE] = {0};
    _cleanup_buffer_ Buffer bytes = BUFFER_INIT, unsorted = BUFFER_INIT;
    _cleanup_secret_ Secret *seed = NULL;
    ApprovedSet set = {.tenant = "acme", .serial = 3, .expiry = 1000, .digests = digests, .count = 2}, parsed;
    Error error = ERROR_INIT;

    digests[HASH_SIZE] = 1;
    assert_int_equal(sign_generate(&seed, public_key), 0);
    assert_true(approved_set_encode(&set, &bytes) >= 0);
    assert_int_equal(bytes.size, 22 + 4 + 4 + 8 + 8 + 4 + 64);
    assert_int_equal(sign_message(seed, bytes.data, bytes.size, signature), 0);
    assert_int_equal(
        approved_set_verify(public_key, bytes.data, bytes.size, signature, "acme", 999, &parsed, NULL), 0);
    assert_true(approved_set_has(&parsed, digests + HASH_SIZE));
    assert_true(approved_set_verify(public_key, bytes.data, bytes.size, signature, "acme", 1000, &parsed,
                                    &error) < 0);
    assert_int_equal(error.code, ERROR_STALE);
    digests[HASH_SIZE] = 0; /* twice the same */
    assert_int_equal(approved_set_encode(&set, &unsorted), -EINVAL);
    /* signed, but with something after it */
    assert_true(buffer_append_byte(&bytes, 0) >= 0);
    assert_int_equal(sign_message(seed, bytes.data, bytes.size, signature), 0);
    assert_true(approved_set_verify(public_key, bytes.data, bytes.size, signature, "acme", 1, &parsed, NULL) <
                0);
}

/* "acme" and "acme\0" must not be one tenant, also when both are signed. */
static void test_signed_name_with_nul(void **state)
{
    uint8_t public_key[SIGN_PUBLIC_SIZE], signature[SIGN_SIGNATURE_SIZE], digest[HASH_SIZE] = {0};
    _cleanup_buffer_ Buffer bytes = BUFFER_INIT;
    _cleanup_secret_ Secret *seed = NULL;
    ApprovedSet set = {.tenant = "acmex", .serial = 3, .expiry = 1000, .digests = digest, .count = 1}, parsed;
    Error error = ERROR_INIT;

    assert_int_equal(sign_generate(&seed, public_key), 0);
    assert_true(approved_set_encode(&set, &bytes) >= 0);
    uint8_t *last = memchr(bytes.data, 'x', bytes.size);
    assert_non_null(last);
    *last = 0;
    assert_int_equal(sign_message(seed, bytes.data, bytes.size, signature), 0);
    assert_true(
        approved_set_verify(public_key, bytes.data, bytes.size, signature, "acme", 1, &parsed, &error) < 0);
    assert_int_equal(error.code, ERROR_PROTOCOL);
}

static void test_frame_size(void **state)
{
    assert_int_equal(keeper_frame_size((const uint8_t *)"\0\0\0\6"), 10);
    assert_int_equal(keeper_frame_size((const uint8_t *)"\0\0\0\5"), -EBADMSG);
    assert_int_equal(keeper_frame_size((const uint8_t *)"\0\3\377\374"), KEEPER_FRAME_LIMIT);
    assert_int_equal(keeper_frame_size((const uint8_t *)"\0\3\377\375"), -E2BIG);
    assert_int_equal(keeper_frame_size((const uint8_t *)"\377\377\377\377"), -E2BIG);
}

/* --- a peer that is no keeper --- */

typedef struct Peer {
    char *directory, *path;
    int listener;
    const char *answer;
    size_t size;
    unsigned connections;
    pthread_t thread;
} Peer;

/* Answers every connection's first request with the same bytes, then closes; an empty answer keeps silent
 * until the other gives up. */
static void *serve(void *data)
{
    Peer *peer = data;

    for (;;) {
        int descriptor = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);
        char block[4096];

        if (descriptor < 0)
            return NULL;
        peer->connections++;
        if (recv(descriptor, block, sizeof(block), 0) > 0 && peer->size > 0)
            (void)!send(descriptor, peer->answer, peer->size, MSG_NOSIGNAL);
        if (peer->size == 0)
            (void)!recv(descriptor, block, sizeof(block), 0);
        (void)close(descriptor);
    }
}

static void start_peer(Peer *peer, const char *answer, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *peer = (Peer){.directory = temporary_directory(), .answer = answer, .size = size};
    peer->path = path_join(peer->directory, "socket");
    peer->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(string_copy(address.sun_path, sizeof(address.sun_path), peer->path) >= 0);
    assert_int_equal(bind(peer->listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(peer->listener, 4), 0);
    assert_int_equal(pthread_create(&peer->thread, NULL, serve, peer), 0);
}

static void stop_peer(Peer *peer)
{
    (void)shutdown(peer->listener, SHUT_RDWR);
    assert_int_equal(pthread_join(peer->thread, NULL), 0);
    (void)close(peer->listener);
    free(peer->path);
    temporary_directory_done(&peer->directory);
}

static ErrorCode ask(const char *answer, size_t size, Usec timeout)
{
    KeeperStatus status;
    Error error = ERROR_INIT;
    KeeperClient *client;
    Peer peer;

    start_peer(&peer, answer, size);
    client = keeper_client_new(peer.path, timeout);
    assert_true(keeper_client_status(client, &status, &error) < 0);
    (void)keeper_client_free(client);
    stop_peer(&peer);
    return error.code;
}
#define ASK(answer) ask((answer), sizeof(answer) - 1, 5 * USEC_PER_SEC)

static void test_answers_of_a_bad_peer(void **state)
{
    assert_int_equal(ASK("\377\377\377\377\0\0\0\0\0\0"), ERROR_PROTOCOL);
    assert_int_equal(ASK("\0\0\0\0\0\0\0\0\0\0"), ERROR_PROTOCOL);
    assert_int_equal(ASK("\0\0\0\6\200\1\0\0\0\1"), ERROR_PROTOCOL); /* fields missing */
    assert_int_equal(ASK("\0\0\0\6\200\4\0\0\0\1"), ERROR_PROTOCOL); /* answer to another request */
    assert_int_equal(ASK("\0\0\0\6\0\1\0\0\0\1"), ERROR_PROTOCOL);   /* a request */
    assert_int_equal(ASK("\0\0\0\x22\200\1"), ERROR_UNAVAILABLE);    /* cut */
    assert_int_equal(ASK("\0\0\0\x14\377\377\0\0\0\0\1\0\0\0\3abc\2\0\0\0\1x"),
                     ERROR_PROTOCOL); /* an error code that nobody knows */
    assert_int_equal(ask("", 0, 200 * USEC_PER_MSEC), ERROR_TIMED_OUT);
}

static void test_no_keeper(void **state)
{
    _cleanup_directory_ char *directory = temporary_directory();
    _cleanup_free_ char *path = path_join(directory, "none");
    _cleanup_keeper_client_ KeeperClient *client = keeper_client_new(path, USEC_PER_SEC);
    KeeperStatus status;
    Error error = ERROR_INIT;

    assert_true(keeper_client_status(client, &status, &error) < 0);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_null(strstr(error.text, path)); /* the path is for the log */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_who),
        cmocka_unit_test(test_sealed_header),
        cmocka_unit_test(test_signed_forms),
        cmocka_unit_test(test_signed_name_with_nul),
        cmocka_unit_test(test_frame_size),
        cmocka_unit_test(test_answers_of_a_bad_peer),
        cmocka_unit_test(test_no_keeper),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
