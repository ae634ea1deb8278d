/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed values: sealing, opening, re-sealing to a provisioner, making up secrets. */

#include <errno.h>

#include "base/memory.h"
#include "base/string.h"
#include "crypto/envelope.h"
#include "custody/sealed_value.h"
#include "keeper/keeper-internal.h"

/* What every value request names. */
typedef struct ValueName {
    char *tenant, *context;
} ValueName;

static void value_name_done(ValueName *name)
{
    free(name->tenant);
    free(name->context);
}

static int get_name(Request *request, ValueName *name, Error *error)
{
    int r = request_text(request, KEEPER_FIELD_TENANT, &name->tenant, error);

    if (r >= 0)
        r = request_text(request, KEEPER_FIELD_CONTEXT, &name->context, error);
    if (r < 0)
        return r;
    if (string_is_empty(name->tenant) || string_is_empty(name->context))
        return error_set(error, ERROR_BAD_REQUEST, "a value needs a tenant and a context");
    request_note(request, "tenant", name->tenant);
    request_note(request, "context", name->context);
    return 0;
}

static int get_class(Request *request, SealedClass *ret_class, Error *error)
{
    _cleanup_free_ char *text = NULL;
    int r = request_text(request, KEEPER_FIELD_CLASS, &text, error);

    if (r < 0)
        return r;
    *ret_class = sealed_class_from_string(text);
    if (*ret_class < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "class", "the class must be self, task or user");
    request_note(request, "class", text);
    return 0;
}

/* "bastide-sealed-1", class, generation, tenant and context with their lengths. */
static int build_associated(SealedClass sealed_class, uint32_t generation, const ValueName *name,
                            Buffer *associated)
{
    int r = buffer_append_string(associated, "bastide-sealed-1");

    if (r >= 0)
        r = buffer_append_byte(associated, (uint8_t)sealed_class);
    if (r >= 0)
        r = buffer_append_u32(associated, generation);
    if (r >= 0)
        r = buffer_append_u32(associated, (uint32_t)strlen(name->tenant));
    if (r >= 0)
        r = buffer_append_string(associated, name->tenant);
    if (r >= 0)
        r = buffer_append_u32(associated, (uint32_t)strlen(name->context));
    return r < 0 ? r : buffer_append_string(associated, name->context);
}

static int put_sealed(Request *request, SealedClass sealed_class, const ValueName *name, const uint8_t *plain,
                      size_t size, Error *error)
{
    _cleanup_buffer_ Buffer associated = BUFFER_INIT;
    _cleanup_free_ uint8_t *sealed = NEW_ARRAY(uint8_t, SEALED_OVERHEAD + size);
    uint32_t generation = request->keeper->generation;
    uint8_t nonce[AEAD_NONCE_SIZE];
    const Secret *key;
    int r = keyring_get(request->keeper->keyring, name->tenant, generation, true, &key, error);

    if (r < 0)
        return r;
    random_bytes(&system_random, nonce, sizeof(nonce));
    sealed_value_header(sealed_class, generation, nonce, sealed);
    r = build_associated(sealed_class, generation, name, &associated);
    if (r >= 0)
        r = aead_seal(secret_bytes(key), nonce, associated.data, associated.size, plain, size,
                      sealed + SEALED_HEADER_SIZE);
    return r < 0 ? r : message_put_bytes(request->reply, KEEPER_FIELD_SEALED, sealed, SEALED_OVERHEAD + size);
}

int handle_seal_value(Request *request, Error *error)
{
    _cleanup_(value_name_done) ValueName name = {0};
    SealedClass sealed_class;
    const uint8_t *plain;
    size_t size;
    int r = get_name(request, &name, error);

    if (r >= 0)
        r = get_class(request, &sealed_class, error);
    if (r < 0)
        return r;
    if (message_get_bytes(&request->view, KEEPER_FIELD_PLAINTEXT, 0, &plain, &size) < 0)
        return error_set(error, ERROR_BAD_REQUEST, "there is no value to seal");
    return put_sealed(request, sealed_class, &name, plain, size, error);
}

/* What may be done with values of a class: bits by SealedClass. */
enum {
    CLASSES_OPENED = 1 << SEALED_SELF | 1 << SEALED_USER,
    CLASSES_DELIVERED = 1 << SEALED_TASK | 1 << SEALED_USER,
    CLASSES_ALL = CLASSES_OPENED | CLASSES_DELIVERED,
};

static int check_class(SealedClass sealed_class, unsigned classes, Error *error)
{
    if (classes & 1U << sealed_class)
        return 0;
    return error_set(error, ERROR_FORBIDDEN,
                     sealed_class == SEALED_TASK
                         ? "values of the class task are opened by the provisioner that runs the task"
                         : "values of the class self are never sealed for a provisioner");
}

/* The class in the header is bound by the associated data, so checking it before opening is enough. */
static int open_sealed(Request *request, const ValueName *name, unsigned classes, SealedClass *ret_class,
                       Secret **ret_plain, Error *error)
{
    _cleanup_buffer_ Buffer associated = BUFFER_INIT;
    _cleanup_free_ uint8_t *plain = NULL;
    const uint8_t *sealed;
    const Secret *key;
    SealedHeader header;
    size_t size;
    int r = message_get_bytes(&request->view, KEEPER_FIELD_SEALED, 0, &sealed, &size);

    if (r < 0 || sealed_value_parse(sealed, size, &header) < 0)
        return error_set(error, ERROR_BAD_REQUEST, "this is not a sealed value");
    request_note(request, "class", sealed_class_to_string(header.sealed_class));
    r = check_class(header.sealed_class, classes, error);
    if (r < 0)
        return r;
    *ret_class = header.sealed_class;
    if (header.generation <= request->keeper->retired &&
        !string_equal(name->tenant, KEEPER_TENANT_CONFIGURATION))
        return error_set(error, ERROR_CRYPTO, "the keys of this value's generation were destroyed");
    if (header.generation > request->keeper->generation)
        return error_set(error, ERROR_CRYPTO, "the sealed value is of a generation that does not exist yet");
    r = keyring_get(request->keeper->keyring, name->tenant, header.generation, false, &key, error);
    if (r < 0)
        return r;
    size = header.ciphertext_size - AEAD_TAG_SIZE;
    plain = NEW_ARRAY(uint8_t, size + 1);
    r = build_associated(header.sealed_class, header.generation, name, &associated);
    if (r >= 0)
        r = aead_open(secret_bytes(key), header.nonce, associated.data, associated.size, header.ciphertext,
                      header.ciphertext_size, plain);
    if (r == -EBADMSG)
        return error_set(error, ERROR_CRYPTO,
                         "the sealed value was changed, or belongs to another tenant or another place");
    if (r < 0)
        return r;
    *ret_plain = secret_new(plain, size);
    memory_wipe(plain, size);
    return *ret_plain ? 0 : error_set(error, ERROR_INTERNAL, "no guarded memory for a secret");
}

int handle_open_value(Request *request, Error *error)
{
    _cleanup_(value_name_done) ValueName name = {0};
    _cleanup_secret_ Secret *plain = NULL;
    SealedClass sealed_class;
    int r = get_name(request, &name, error);

    if (r >= 0)
        r = open_sealed(request, &name, CLASSES_OPENED, &sealed_class, &plain, error);
    if (r < 0)
        return r;
    return message_put_bytes(request->reply, KEEPER_FIELD_PLAINTEXT, secret_bytes(plain), secret_size(plain));
}

/* The same value under the present data key; its plaintext does not leave the keeper. */
int handle_renew_value(Request *request, Error *error)
{
    _cleanup_(value_name_done) ValueName name = {0};
    _cleanup_secret_ Secret *plain = NULL;
    SealedClass sealed_class;
    int r = get_name(request, &name, error);

    if (r >= 0)
        r = open_sealed(request, &name, CLASSES_ALL, &sealed_class, &plain, error);
    return r < 0 ? r
                 : put_sealed(request, sealed_class, &name, secret_bytes(plain), secret_size(plain), error);
}

int handle_reseal_value(Request *request, Error *error)
{
    _cleanup_(value_name_done) ValueName name = {0};
    _cleanup_secret_ Secret *plain = NULL;
    _cleanup_free_ char *provisioner = NULL;
    _cleanup_buffer_ Buffer envelope = BUFFER_INIT;
    uint8_t key[ENVELOPE_KEY_SIZE];
    SealedClass sealed_class;
    int r = get_name(request, &name, error);

    if (r >= 0)
        r = request_text(request, KEEPER_FIELD_PROVISIONER, &provisioner, error);
    if (r < 0)
        return r;
    request_note(request, "provisioner", provisioner);
    r = provisioner_envelope_key(request->keeper, provisioner, key, error);
    if (r >= 0)
        r = open_sealed(request, &name, CLASSES_DELIVERED, &sealed_class, &plain, error);
    if (r < 0)
        return r;
    r = envelope_seal(key, name.context, secret_bytes(plain), secret_size(plain), &envelope);
    return r < 0 ? r : message_put_bytes(request->reply, KEEPER_FIELD_ENVELOPE, envelope.data, envelope.size);
}

int handle_generate_secret(Request *request, Error *error)
{
    _cleanup_(value_name_done) ValueName name = {0};
    _cleanup_free_ char *alphabet_name = NULL;
    uint64_t length = message_get_u64(&request->view, KEEPER_FIELD_LENGTH, 0);
    uint8_t value[SECRET_LENGTH_MAXIMUM];
    const char *characters;
    SealedClass sealed_class;
    int r = get_name(request, &name, error);

    if (r >= 0)
        r = get_class(request, &sealed_class, error);
    if (r >= 0)
        r = request_text(request, KEEPER_FIELD_ALPHABET, &alphabet_name, error);
    if (r < 0)
        return r;
    characters = secret_alphabet_characters(secret_alphabet_from_string(alphabet_name));
    if (!characters)
        return error_set_field(error, ERROR_BAD_FIELD, "alphabet",
                               "the alphabet must be alphanumeric, hex or base64url");
    if (length < SECRET_LENGTH_MINIMUM || length > SECRET_LENGTH_MAXIMUM)
        return error_set_field(error, ERROR_BAD_FIELD, "length", "a generated secret has %d to %d characters",
                               SECRET_LENGTH_MINIMUM, SECRET_LENGTH_MAXIMUM);
    for (size_t i = 0; i < length; i++)
        value[i] = (uint8_t)characters[random_below(&system_random, strlen(characters))];
    r = put_sealed(request, sealed_class, &name, value, length, error);
    memory_wipe(value, sizeof(value));
    return r;
}
