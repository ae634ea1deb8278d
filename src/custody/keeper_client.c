/* SPDX-License-Identifier: Apache-2.0 */
#include "custody/keeper_client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.h"
#include "base/memory.h"

struct KeeperClient {
    char *path;
    Usec timeout;
    pthread_mutex_t lock; /* of everything below, held for a whole call */
    int descriptor;
    uint32_t next_id;
    Buffer out, in; /* one frame each; wiped after every call */
};

/* A call in the making; the first failure sticks and the rest of the steps do nothing. */
typedef struct Call {
    KeeperClient *client;
    uint16_t type;
    uint32_t id;
    size_t start;
    int result;
    MessageView answer;
} Call;

KeeperClient *keeper_client_new(const char *socket_path, Usec timeout)
{
    KeeperClient *client = NEW(KeeperClient);

    client->path = string_duplicate(socket_path);
    client->timeout = timeout;
    client->descriptor = -1;
    client->out = BUFFER_INIT_SECRET(KEEPER_FRAME_LIMIT + 16);
    client->in = BUFFER_INIT_SECRET(KEEPER_FRAME_LIMIT + 16);
    ASSERT(pthread_mutex_init(&client->lock, NULL) == 0);
    return client;
}

static void disconnect(KeeperClient *client)
{
    close_pointer(&client->descriptor);
    client->descriptor = -1;
}

KeeperClient *keeper_client_free(KeeperClient *client)
{
    if (!client)
        return NULL;
    disconnect(client);
    buffer_wipe(&client->out);
    buffer_wipe(&client->in);
    (void)pthread_mutex_destroy(&client->lock);
    free(client->path);
    free(client);
    return NULL;
}

/* --- transport --- */

static int wait_for(int descriptor, short events, Usec deadline)
{
    for (;;) {
        struct pollfd item = {.fd = descriptor, .events = events};
        Usec now = clock_monotonic(&system_clock);
        int r;

        if (now >= deadline)
            return -ETIMEDOUT;
        r = poll(&item, 1, (int)MIN((deadline - now) / USEC_PER_MSEC + 1, (Usec)60000));
        if (r > 0)
            return 0;
        if (r < 0 && errno != EINTR)
            return -errno;
    }
}

static int connect_now(KeeperClient *client, Usec deadline)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int descriptor = -1;

    if (client->descriptor >= 0)
        return 0;
    if (string_copy(address.sun_path, sizeof(address.sun_path), client->path) < 0)
        return -ENAMETOOLONG;
    descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0)
        return -errno;
    while (connect(descriptor, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        if (errno == EISCONN)
            break;
        /* EAGAIN: the keeper's backlog is full; a Unix socket gives no event for that. */
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        if (clock_monotonic(&system_clock) >= deadline)
            return -ETIMEDOUT;
        (void)poll(NULL, 0, 5);
    }
    client->descriptor = TAKE_FD(descriptor);
    return 0;
}

static int send_frame(KeeperClient *client, Usec deadline)
{
    size_t sent = 0;

    while (sent < client->out.size) {
        ssize_t count =
            send(client->descriptor, client->out.data + sent, client->out.size - sent, MSG_NOSIGNAL);

        if (count >= 0) {
            sent += (size_t)count;
            continue;
        }
        if (errno == EAGAIN) {
            int r = wait_for(client->descriptor, POLLOUT, deadline);
            if (r < 0)
                return r;
        } else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

static int receive_up_to(KeeperClient *client, size_t size, Usec deadline)
{
    /* Reserved in one piece, so that growing leaves no copy of a plaintext behind. */
    int r = size > client->in.size ? buffer_reserve(&client->in, size - client->in.size) : 0;

    while (r >= 0 && client->in.size < size) {
        uint8_t *end = client->in.data + client->in.size;
        ssize_t count = recv(client->descriptor, end, size - client->in.size, 0);

        if (count == 0)
            return -ECONNRESET;
        if (count > 0)
            client->in.size += (size_t)count;
        else if (errno == EAGAIN)
            r = wait_for(client->descriptor, POLLIN, deadline);
        else if (errno != EINTR)
            r = -errno;
    }
    return r;
}

static int receive_frame(KeeperClient *client, Usec deadline)
{
    ssize_t size;
    int r;

    buffer_wipe(&client->in);
    r = receive_up_to(client, MESSAGE_HEADER_SIZE, deadline);
    if (r < 0)
        return r;
    size = keeper_frame_size(client->in.data);
    if (size < 0)
        return (int)size;
    return receive_up_to(client, (size_t)size, deadline);
}

/* --- calls --- */

static Call call_begin(KeeperClient *client, uint16_t type, size_t expected_size)
{
    Call call = {.client = client, .type = type};

    ASSERT(pthread_mutex_lock(&client->lock) == 0);
    call.id = ++client->next_id;
    buffer_wipe(&client->out);
    call.result = buffer_reserve(&client->out, expected_size + 4096);
    if (call.result >= 0)
        call.start = message_begin(&client->out, type, call.id);
    return call;
}

static void call_end(Call *call)
{
    buffer_wipe(&call->client->out);
    buffer_wipe(&call->client->in);
    ASSERT(pthread_mutex_unlock(&call->client->lock) == 0);
}
#define _cleanup_call_ _cleanup_(call_end)

static void put_text(Call *call, KeeperField tag, const char *text)
{
    if (call->result >= 0)
        call->result = message_put_string(&call->client->out, (uint8_t)tag, text);
}

static void put_bytes(Call *call, KeeperField tag, const void *data, size_t size)
{
    if (call->result >= 0)
        call->result = message_put_bytes(&call->client->out, (uint8_t)tag, data, size);
}

static void put_secret(Call *call, KeeperField tag, const Secret *secret)
{
    if (secret)
        put_bytes(call, tag, secret_bytes(secret), secret_size(secret));
}

static void put_u32(Call *call, KeeperField tag, uint32_t value)
{
    if (call->result >= 0)
        call->result = message_put_u32(&call->client->out, (uint8_t)tag, value);
}

static void put_u64(Call *call, KeeperField tag, uint64_t value)
{
    if (call->result >= 0)
        call->result = message_put_u64(&call->client->out, (uint8_t)tag, value);
}

static void put_list(Call *call, KeeperField tag, const StringList *list)
{
    for (size_t i = 0; list && i < list->count; i++)
        put_text(call, tag, list->items[i]);
}

/* A connection that the keeper closed while it lay idle is no reason to fail; one that breaks in the middle
 * of anything that is done once (set-up) is. */
static bool may_try_again(const Call *call, int r)
{
    return (r == -EPIPE || r == -ECONNRESET) && call->type != KEEPER_INITIALISE &&
           call->type != KEEPER_IMPORT_CA && call->type != KEEPER_ROTATE_DATA_KEYS &&
           call->type != KEEPER_SHRED_TENANT && call->type != KEEPER_ROTATE_MASTER;
}

static int exchange(Call *call, Usec deadline)
{
    KeeperClient *client = call->client;
    bool was_connected = client->descriptor >= 0;
    int r;

    for (;;) {
        r = connect_now(client, deadline);
        if (r >= 0)
            r = send_frame(client, deadline);
        /* The keeper may have answered (a refusal) before it closed. */
        if (r >= 0 || r == -EPIPE) {
            int received = receive_frame(client, deadline);

            if (received >= 0 || r >= 0)
                r = received;
        }
        if (r >= 0)
            return 0;
        disconnect(client);
        if (!was_connected || !may_try_again(call, r))
            return r;
        was_connected = false;
    }
}

static int transport_error(const KeeperClient *client, int r, Error *error)
{
    if (r == -ETIMEDOUT)
        return error_set(error, ERROR_TIMED_OUT, "the keeper did not answer in time");
    if (r == -EBADMSG || r == -E2BIG)
        return error_set(error, ERROR_PROTOCOL, "the keeper's answer is malformed");
    r = error_set_errno(error, ERROR_UNAVAILABLE, -r, "the keeper cannot be reached");
    error_add_details(error, "socket %s", client->path);
    return r;
}

static int keeper_error(const MessageView *answer, Error *error)
{
    _cleanup_free_ char *name = message_get_string(answer, KEEPER_FIELD_CODE, 0);
    _cleanup_free_ char *text = message_get_string(answer, KEEPER_FIELD_TEXT, 0);
    ErrorCode code = name ? error_code_from_name(name) : _ERROR_INVALID;

    if (code <= ERROR_NONE || code >= _ERROR_MAX)
        code = ERROR_PROTOCOL;
    return error_set(error, code, "%s", text ? text : "the keeper refused");
}

static int call_finish(Call *call, Error *error)
{
    KeeperClient *client = call->client;
    Usec deadline = clock_monotonic(&system_clock) + client->timeout;
    int r = call->result;

    if (r >= 0)
        r = message_end(&client->out, call->start);
    if (r >= 0 && client->out.size > KEEPER_FRAME_LIMIT)
        r = -E2BIG;
    if (r < 0)
        return error_set(error, ERROR_TOO_LARGE, "a request to the keeper is too large");
    r = exchange(call, deadline);
    if (r < 0)
        return transport_error(client, r, error);
    r = message_decode(client->in.data, client->in.size, keeper_answer_types, &call->answer);
    if (r >= 0 && call->answer.type == KEEPER_ERROR)
        return keeper_error(&call->answer, error);
    if (r >= 0 && (call->answer.request_id != call->id || call->answer.type != (call->type | KEEPER_ANSWER)))
        r = -EBADMSG;
    if (r < 0) {
        disconnect(client);
        return transport_error(client, -EBADMSG, error);
    }
    return 0;
}

/* Mandatory fields were checked by the decoder; sizes of fixed ones are checked here. */
static int get_fixed(Call *call, KeeperField tag, void *destination, size_t size, Error *error)
{
    const uint8_t *data;
    size_t length;

    if (message_get_bytes(&call->answer, (uint8_t)tag, 0, &data, &length) < 0 || length != size)
        return transport_error(call->client, -EBADMSG, error);
    memcpy(destination, data, size);
    return 0;
}

static int get_text(Call *call, KeeperField tag, char **ret_text, Error *error)
{
    *ret_text = message_get_string(&call->answer, (uint8_t)tag, 0);
    return *ret_text ? 0 : transport_error(call->client, -EBADMSG, error);
}

static int get_into_buffer(Call *call, KeeperField tag, Buffer *buffer, Error *error)
{
    const uint8_t *data;
    size_t size;
    int r = message_get_bytes(&call->answer, (uint8_t)tag, 0, &data, &size);

    if (r < 0)
        return transport_error(call->client, -EBADMSG, error);
    r = buffer_append(buffer, data, size);
    return r < 0 ? error_set(error, ERROR_TOO_LARGE, "the keeper's answer does not fit") : 0;
}

int keeper_client_connect(KeeperClient *client, Error *error)
{
    int r;

    ASSERT(pthread_mutex_lock(&client->lock) == 0);
    r = connect_now(client, clock_monotonic(&system_clock) + client->timeout);
    ASSERT(pthread_mutex_unlock(&client->lock) == 0);
    return r < 0 ? transport_error(client, r, error) : 0;
}

int keeper_client_status(KeeperClient *client, KeeperStatus *ret_status, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_STATUS, 0);
    _cleanup_free_ char *state = NULL, *version = NULL;
    KeeperStatus status = {0};
    int r = call_finish(&call, error);

    if (r >= 0)
        r = get_text(&call, KEEPER_FIELD_STATE, &state, error);
    if (r >= 0)
        r = get_text(&call, KEEPER_FIELD_VERSION, &version, error);
    if (r < 0)
        return r;
    status.state = keeper_state_from_string(state);
    if (status.state < 0)
        return transport_error(client, -EBADMSG, error);
    status.generation = (uint32_t)message_get_u64(&call.answer, KEEPER_FIELD_GENERATION, 0);
    status.retired = (uint32_t)message_get_u64(&call.answer, KEEPER_FIELD_RETIRED, 0);
    status.is_rotating = message_get_u64(&call.answer, KEEPER_FIELD_ROTATING, 0) != 0;
    status.is_wrapped = message_get_u64(&call.answer, KEEPER_FIELD_WRAPPED, 0) != 0;
    (void)string_copy(status.version, sizeof(status.version), version);
    *ret_status = status;
    return 0;
}

void keeper_public_done(KeeperPublic *value)
{
    free(value->ca_chain);
    free(value->ssh_user_ca);
    free(value->ssh_host_ca);
    *value = (KeeperPublic){0};
}

int keeper_client_public(KeeperClient *client, KeeperPublic *ret_public, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_PUBLIC, 0);
    _cleanup_(keeper_public_done) KeeperPublic value = {0};
    int r = call_finish(&call, error);

    if (r >= 0)
        r = get_text(&call, KEEPER_FIELD_CHAIN, &value.ca_chain, error);
    if (r >= 0)
        r = get_text(&call, KEEPER_FIELD_SSH_USER_CA, &value.ssh_user_ca, error);
    if (r >= 0)
        r = get_text(&call, KEEPER_FIELD_SSH_HOST_CA, &value.ssh_host_ca, error);
    if (r >= 0)
        r = get_fixed(&call, KEEPER_FIELD_SIGNING_KEY, value.signing_key, sizeof(value.signing_key), error);
    if (r < 0)
        return r;
    *ret_public = value;
    value = (KeeperPublic){0};
    return 0;
}

int keeper_client_initialise(KeeperClient *client, const char *organisation, const char *ca_certificate,
                             const Secret *ca_key, const Secret *passphrase, char **ret_ca, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_INITIALISE, CHAIN_LIMIT + KEY_PEM_LIMIT);
    int r;

    put_text(&call, KEEPER_FIELD_ORGANISATION, organisation);
    put_text(&call, KEEPER_FIELD_CA_CERTIFICATE, ca_certificate);
    put_secret(&call, KEEPER_FIELD_CA_KEY, ca_key);
    put_secret(&call, KEEPER_FIELD_PASSPHRASE, passphrase);
    r = call_finish(&call, error);
    return r < 0 ? r : get_text(&call, KEEPER_FIELD_CHAIN, ret_ca, error);
}

int keeper_client_unseal(KeeperClient *client, const Secret *passphrase, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_UNSEAL, 0);

    put_secret(&call, KEEPER_FIELD_PASSPHRASE, passphrase);
    return call_finish(&call, error);
}

int keeper_client_seal(KeeperClient *client, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_SEAL, 0);

    return call_finish(&call, error);
}

int keeper_client_import_ca(KeeperClient *client, const char *ca_certificate, const Secret *ca_key,
                            char **ret_ca, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_IMPORT_CA, CHAIN_LIMIT + KEY_PEM_LIMIT);
    int r;

    put_text(&call, KEEPER_FIELD_CA_CERTIFICATE, ca_certificate);
    put_secret(&call, KEEPER_FIELD_CA_KEY, ca_key);
    r = call_finish(&call, error);
    return r < 0 ? r : get_text(&call, KEEPER_FIELD_CHAIN, ret_ca, error);
}

int keeper_client_rotate_data_keys(KeeperClient *client, uint32_t *ret_generation, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_ROTATE_DATA_KEYS, 0);
    int r = call_finish(&call, error);

    if (r >= 0)
        *ret_generation = (uint32_t)message_get_u64(&call.answer, KEEPER_FIELD_GENERATION, 0);
    return r;
}

int keeper_client_retire_data_keys(KeeperClient *client, uint32_t oldest, uint32_t *ret_count, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_RETIRE_DATA_KEYS, 0);
    int r;

    put_u32(&call, KEEPER_FIELD_GENERATION, oldest);
    r = call_finish(&call, error);
    if (r >= 0)
        *ret_count = (uint32_t)message_get_u64(&call.answer, KEEPER_FIELD_COUNT, 0);
    return r;
}

int keeper_client_shred_tenant(KeeperClient *client, const char *tenant, uint32_t *ret_count, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_SHRED_TENANT, 0);
    int r;

    put_text(&call, KEEPER_FIELD_TENANT, tenant);
    r = call_finish(&call, error);
    if (r >= 0)
        *ret_count = (uint32_t)message_get_u64(&call.answer, KEEPER_FIELD_COUNT, 0);
    return r;
}

int keeper_client_rotate_master(KeeperClient *client, const Secret *passphrase, bool *ret_is_left,
                                Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_ROTATE_MASTER, 0);
    int r;

    put_secret(&call, KEEPER_FIELD_PASSPHRASE, passphrase);
    r = call_finish(&call, error);
    if (r >= 0)
        *ret_is_left = message_get_u64(&call.answer, KEEPER_FIELD_ROTATING, 0) != 0;
    return r;
}

int keeper_client_split_master(KeeperClient *client, uint32_t threshold, uint32_t count, Buffer *ret_shares,
                               Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_SPLIT_MASTER, 0);
    int r;

    put_u32(&call, KEEPER_FIELD_COUNT, count);
    put_u32(&call, KEEPER_FIELD_THRESHOLD, threshold);
    r = call_finish(&call, error);
    for (uint32_t i = 0; r >= 0 && i < count; i++) {
        const uint8_t *data;
        size_t size;

        if (message_get_bytes(&call.answer, KEEPER_FIELD_SHARE, i, &data, &size) < 0 ||
            size != KEEPER_SHARE_SIZE)
            return transport_error(client, -EBADMSG, error);
        r = buffer_append(ret_shares, data, size);
    }
    return r;
}

int keeper_client_check_shares(KeeperClient *client, const uint8_t (*shares)[KEEPER_SHARE_SIZE], size_t count,
                               Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_CHECK_SHARES, count * KEEPER_SHARE_SIZE);

    for (size_t i = 0; i < count; i++)
        put_bytes(&call, KEEPER_FIELD_SHARE, shares[i], KEEPER_SHARE_SIZE);
    return call_finish(&call, error);
}

int keeper_client_seal_value(KeeperClient *client, SealedClass sealed_class, const char *tenant,
                             const char *context, const Secret *plain, Buffer *ret_sealed, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_SEAL_VALUE, secret_size(plain));
    int r;

    put_text(&call, KEEPER_FIELD_CLASS, sealed_class_to_string(sealed_class));
    put_text(&call, KEEPER_FIELD_TENANT, tenant);
    put_text(&call, KEEPER_FIELD_CONTEXT, context);
    put_secret(&call, KEEPER_FIELD_PLAINTEXT, plain);
    r = call_finish(&call, error);
    return r < 0 ? r : get_into_buffer(&call, KEEPER_FIELD_SEALED, ret_sealed, error);
}

int keeper_client_open_value(KeeperClient *client, const char *tenant, const char *context,
                             const void *sealed, size_t size, Secret **ret_plain, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_OPEN_VALUE, size);
    const uint8_t *data;
    int r;

    put_text(&call, KEEPER_FIELD_TENANT, tenant);
    put_text(&call, KEEPER_FIELD_CONTEXT, context);
    put_bytes(&call, KEEPER_FIELD_SEALED, sealed, size);
    r = call_finish(&call, error);
    if (r < 0)
        return r;
    if (message_get_bytes(&call.answer, KEEPER_FIELD_PLAINTEXT, 0, &data, &size) < 0)
        return transport_error(client, -EBADMSG, error);
    *ret_plain = secret_new(data, size);
    return *ret_plain ? 0 : error_set(error, ERROR_INTERNAL, "no guarded memory for a secret");
}

int keeper_client_reseal_value(KeeperClient *client, const char *tenant, const char *context,
                               const void *sealed, size_t size, const char *provisioner, Buffer *ret_envelope,
                               Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_RESEAL_VALUE, size);
    int r;

    put_text(&call, KEEPER_FIELD_TENANT, tenant);
    put_text(&call, KEEPER_FIELD_CONTEXT, context);
    put_bytes(&call, KEEPER_FIELD_SEALED, sealed, size);
    put_text(&call, KEEPER_FIELD_PROVISIONER, provisioner);
    r = call_finish(&call, error);
    return r < 0 ? r : get_into_buffer(&call, KEEPER_FIELD_ENVELOPE, ret_envelope, error);
}

int keeper_client_renew_value(KeeperClient *client, const char *tenant, const char *context,
                              const void *sealed, size_t size, Buffer *ret_sealed, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_RENEW_VALUE, size);
    int r;

    put_text(&call, KEEPER_FIELD_TENANT, tenant);
    put_text(&call, KEEPER_FIELD_CONTEXT, context);
    put_bytes(&call, KEEPER_FIELD_SEALED, sealed, size);
    r = call_finish(&call, error);
    return r < 0 ? r : get_into_buffer(&call, KEEPER_FIELD_SEALED, ret_sealed, error);
}

int keeper_client_generate_secret(KeeperClient *client, SealedClass sealed_class, const char *tenant,
                                  const char *context, uint32_t length, SecretAlphabet alphabet,
                                  Buffer *ret_sealed, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_GENERATE_SECRET, 0);
    int r;

    put_text(&call, KEEPER_FIELD_CLASS, sealed_class_to_string(sealed_class));
    put_text(&call, KEEPER_FIELD_TENANT, tenant);
    put_text(&call, KEEPER_FIELD_CONTEXT, context);
    put_u32(&call, KEEPER_FIELD_LENGTH, length);
    put_text(&call, KEEPER_FIELD_ALPHABET, secret_alphabet_to_string(alphabet));
    r = call_finish(&call, error);
    return r < 0 ? r : get_into_buffer(&call, KEEPER_FIELD_SEALED, ret_sealed, error);
}

static int take_certificate(Call *call, char **ret_chain, char ret_serial[static SERIAL_HEX_SIZE],
                            Error *error)
{
    _cleanup_free_ char *serial = NULL;
    int r = get_text(call, KEEPER_FIELD_SERIAL, &serial, error);

    if (r >= 0 && string_copy(ret_serial, SERIAL_HEX_SIZE, serial) < 0)
        r = transport_error(call->client, -EBADMSG, error);
    return r < 0 ? r : get_text(call, KEEPER_FIELD_CHAIN, ret_chain, error);
}

int keeper_client_issue_certificate(KeeperClient *client, const KeeperCertificateRequest *request,
                                    char **ret_chain, char ret_serial[static SERIAL_HEX_SIZE], Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_ISSUE_CERTIFICATE, request->spki_size);
    int r;

    put_text(&call, KEEPER_FIELD_PROFILE, request->profile);
    put_bytes(&call, KEEPER_FIELD_PUBLIC_KEY, request->spki, request->spki_size);
    put_text(&call, KEEPER_FIELD_COMMON_NAME, request->common_name);
    put_list(&call, KEEPER_FIELD_DNS_NAME, request->dns_names);
    for (size_t i = 0; i < request->ip_address_count; i++)
        put_bytes(&call, KEEPER_FIELD_IP_ADDRESS, request->ip_addresses[i].bytes,
                  request->ip_addresses[i].size);
    put_list(&call, KEEPER_FIELD_URI, request->uris);
    put_u32(&call, KEEPER_FIELD_LIFE_SECONDS, request->life_seconds);
    r = call_finish(&call, error);
    return r < 0 ? r : take_certificate(&call, ret_chain, ret_serial, error);
}

int keeper_client_enrol_provisioner(KeeperClient *client, const char *provisioner, const uint8_t *spki,
                                    size_t spki_size, const uint8_t envelope_key[static ENVELOPE_KEY_SIZE],
                                    char **ret_chain, char ret_serial[static SERIAL_HEX_SIZE], Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_ENROL_PROVISIONER, spki_size);
    int r;

    put_text(&call, KEEPER_FIELD_PROVISIONER, provisioner);
    put_bytes(&call, KEEPER_FIELD_PUBLIC_KEY, spki, spki_size);
    put_bytes(&call, KEEPER_FIELD_ENVELOPE_KEY, envelope_key, ENVELOPE_KEY_SIZE);
    r = call_finish(&call, error);
    return r < 0 ? r : take_certificate(&call, ret_chain, ret_serial, error);
}

int keeper_client_remove_provisioner(KeeperClient *client, const char *provisioner, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_REMOVE_PROVISIONER, 0);

    put_text(&call, KEEPER_FIELD_PROVISIONER, provisioner);
    return call_finish(&call, error);
}

static void put_ssh_request(Call *call, const KeeperSshRequest *request)
{
    put_bytes(call, KEEPER_FIELD_PUBLIC_KEY, request->key, request->key_size);
    put_u32(call, KEEPER_FIELD_LIFE_SECONDS, request->life_seconds);
    put_text(call, KEEPER_FIELD_KEY_ID, request->key_id);
    put_list(call, KEEPER_FIELD_PRINCIPAL, request->principals);
}

int keeper_client_issue_ssh_user(KeeperClient *client, const KeeperSshRequest *request, char **ret_line,
                                 Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_ISSUE_SSH_USER, request->key_size);
    int r;

    put_ssh_request(&call, request);
    put_text(&call, KEEPER_FIELD_FORCE_COMMAND, request->force_command);
    put_text(&call, KEEPER_FIELD_SOURCE_ADDRESS, request->source_address);
    put_u32(&call, KEEPER_FIELD_PTY, request->is_pty_allowed);
    r = call_finish(&call, error);
    return r < 0 ? r : get_text(&call, KEEPER_FIELD_CERTIFICATE, ret_line, error);
}

int keeper_client_issue_ssh_host(KeeperClient *client, const KeeperSshRequest *request, char **ret_line,
                                 Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_ISSUE_SSH_HOST, request->key_size);
    int r;

    put_ssh_request(&call, request);
    r = call_finish(&call, error);
    return r < 0 ? r : get_text(&call, KEEPER_FIELD_CERTIFICATE, ret_line, error);
}

int keeper_client_begin_audit_epoch(KeeperClient *client, uint64_t *ret_epoch, Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_BEGIN_AUDIT_EPOCH, 0);
    int r = call_finish(&call, error);

    if (r >= 0)
        *ret_epoch = message_get_u64(&call.answer, KEEPER_FIELD_EPOCH, 0);
    return r;
}

int keeper_client_audit_head(KeeperClient *client, const char *shard, uint64_t *ret_epoch,
                             uint64_t *ret_sequence, uint8_t ret_hash[static HASH_SIZE], Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_AUDIT_HEAD, 0);
    int r;

    put_text(&call, KEEPER_FIELD_SHARD, shard);
    r = call_finish(&call, error);
    if (r < 0)
        return r;
    *ret_epoch = message_get_u64(&call.answer, KEEPER_FIELD_EPOCH, 0);
    *ret_sequence = message_get_u64(&call.answer, KEEPER_FIELD_SEQUENCE, 0);
    return get_fixed(&call, KEEPER_FIELD_HASH, ret_hash, HASH_SIZE, error);
}

int keeper_client_sign_audit_head(KeeperClient *client, const char *shard, uint64_t sequence, Usec time,
                                  const uint8_t hash[static HASH_SIZE], uint64_t *ret_epoch,
                                  uint8_t ret_signature[static SIGN_SIGNATURE_SIZE], Error *error)
{
    _cleanup_call_ Call call = call_begin(client, KEEPER_SIGN_AUDIT_HEAD, 0);
    int r;

    put_text(&call, KEEPER_FIELD_SHARD, shard);
    put_u64(&call, KEEPER_FIELD_SEQUENCE, sequence);
    put_bytes(&call, KEEPER_FIELD_HASH, hash, HASH_SIZE);
    put_u64(&call, KEEPER_FIELD_TIME, time);
    r = call_finish(&call, error);
    if (r >= 0 && ret_epoch)
        *ret_epoch = message_get_u64(&call.answer, KEEPER_FIELD_EPOCH, 0);
    return r < 0 ? r : get_fixed(&call, KEEPER_FIELD_SIGNATURE, ret_signature, SIGN_SIGNATURE_SIZE, error);
}

static int compare_digests(const void *a, const void *b)
{
    return memcmp(a, b, HASH_SIZE);
}

int keeper_client_sign_approved_set(KeeperClient *client, const char *tenant, uint64_t serial, Usec expiry,
                                    const uint8_t (*digests)[HASH_SIZE], size_t count, Buffer *ret_set,
                                    uint8_t ret_signature[static SIGN_SIGNATURE_SIZE], Error *error)
{
    _cleanup_free_ uint8_t(*sorted)[HASH_SIZE] = NULL;
    int r;

    if (count > KEEPER_DIGESTS_MAX)
        return error_set(error, ERROR_TOO_LARGE, "an approved set may have at most %d bundles",
                         KEEPER_DIGESTS_MAX);
    _cleanup_call_ Call call = call_begin(client, KEEPER_SIGN_APPROVED_SET, count * (HASH_SIZE + 5));

    sorted = memory_new_array(MAX(count, (size_t)1), HASH_SIZE);
    if (count > 0)
        memcpy(sorted, digests, count * HASH_SIZE);
    qsort(sorted, count, HASH_SIZE, compare_digests);
    put_text(&call, KEEPER_FIELD_TENANT, tenant);
    put_u64(&call, KEEPER_FIELD_SET_SERIAL, serial);
    put_u64(&call, KEEPER_FIELD_EXPIRY, expiry);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || memcmp(sorted[i - 1], sorted[i], HASH_SIZE) != 0)
            put_bytes(&call, KEEPER_FIELD_DIGEST, sorted[i], HASH_SIZE);
    r = call_finish(&call, error);
    if (r >= 0)
        r = get_fixed(&call, KEEPER_FIELD_SIGNATURE, ret_signature, SIGN_SIGNATURE_SIZE, error);
    return r < 0 ? r : get_into_buffer(&call, KEEPER_FIELD_SET, ret_set, error);
}
