/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/ssh.h"

#include <errno.h>

#include "base/memory.h"
#include "crypto/hash.h"

static const char *const key_names[_SSH_KEY_TYPE_MAX] = {
    [SSH_KEY_ED25519] = "ssh-ed25519",
    [SSH_KEY_ECDSA_P256] = "ecdsa-sha2-nistp256",
    [SSH_KEY_RSA] = "ssh-rsa",
};

enum { RSA_BYTES_MINIMUM = 3072 / 8, RSA_BYTES_MAXIMUM = 8192 / 8 };

typedef struct Piece {
    const uint8_t *data;
    size_t size;
} Piece;

const char *ssh_key_type_to_string(SshKeyType type)
{
    return type >= 0 && type < _SSH_KEY_TYPE_MAX ? key_names[type] : NULL;
}

/* A string of RFC 4251: u32 length, bytes. */
static int read_piece(Reader *reader, Piece *ret_piece)
{
    uint32_t size;

    if (reader_u32(reader, &size) < 0 || size > SSH_KEY_BLOB_MAX ||
        reader_bytes(reader, size, &ret_piece->data) < 0)
        return -EBADMSG;
    ret_piece->size = size;
    return 0;
}

static bool piece_is(const Piece *piece, const char *text)
{
    return piece->size == strlen(text) && memcmp(piece->data, text, piece->size) == 0;
}

static int append_piece(Buffer *buffer, const void *data, size_t size)
{
    int r = size > UINT32_MAX ? -E2BIG : buffer_append_u32(buffer, (uint32_t)size);

    return r < 0 ? r : buffer_append(buffer, data, size);
}

static int append_text(Buffer *buffer, const char *text)
{
    return append_piece(buffer, text, strlen(text));
}

static int bad_key(Error *error)
{
    return error_set(error, ERROR_BAD_FIELD, "the SSH public key is damaged");
}

static int check_ed25519(Reader *reader, Error *error)
{
    Piece point;

    return read_piece(reader, &point) < 0 || point.size != SIGN_PUBLIC_SIZE ? bad_key(error) : 0;
}

static int check_ecdsa(Reader *reader, Error *error)
{
    Piece curve, point;

    if (read_piece(reader, &curve) < 0 || read_piece(reader, &point) < 0 || !piece_is(&curve, "nistp256") ||
        point.size != 65 || point.data[0] != 4)
        return bad_key(error);
    return 0;
}

/* mpint: positive, without needless zeros. */
static bool is_canonical_number(const Piece *number)
{
    if (number->size == 0 || number->data[0] & 0x80)
        return false;
    return number->data[0] != 0 || (number->size > 1 && number->data[1] & 0x80);
}

static int check_rsa(Reader *reader, Error *error)
{
    Piece exponent, modulus;
    size_t bytes, bits;

    if (read_piece(reader, &exponent) < 0 || read_piece(reader, &modulus) < 0 ||
        !is_canonical_number(&exponent) || !is_canonical_number(&modulus))
        return bad_key(error);
    bytes = modulus.size - (modulus.data[0] == 0 ? 1 : 0);
    bits = bytes * 8 - (size_t)__builtin_clz(modulus.data[modulus.data[0] == 0 ? 1 : 0]) + 24;
    if (bytes < RSA_BYTES_MINIMUM || bytes > RSA_BYTES_MAXIMUM || bits < RSA_BYTES_MINIMUM * 8)
        return error_set(error, ERROR_INSECURE, "the SSH key is RSA with %zu bits; 3072 to 8192 are accepted",
                         bits);
    if (exponent.size < 3 || exponent.size > 8 || !(exponent.data[exponent.size - 1] & 1))
        return error_set(error, ERROR_INSECURE, "the SSH key is RSA with an unusual public exponent");
    return 0;
}

static int (*const key_checks[_SSH_KEY_TYPE_MAX])(Reader *reader, Error *error) = {
    [SSH_KEY_ED25519] = check_ed25519,
    [SSH_KEY_ECDSA_P256] = check_ecdsa,
    [SSH_KEY_RSA] = check_rsa,
};

int ssh_key_check_blob(const uint8_t *blob, size_t size, SshKeyType *ret_type, Error *error)
{
    Reader reader = READER(blob, size);
    Piece name;

    if (size > SSH_KEY_BLOB_MAX)
        return error_set(error, ERROR_TOO_LARGE, "an SSH public key may have at most %d bytes",
                         SSH_KEY_BLOB_MAX);
    if (read_piece(&reader, &name) < 0)
        return bad_key(error);
    for (int type = 0; type < _SSH_KEY_TYPE_MAX; type++) {
        int r;

        if (!piece_is(&name, key_names[type]))
            continue;
        r = key_checks[type](&reader, error);
        if (r < 0)
            return r;
        if (reader_left(&reader) > 0)
            return bad_key(error);
        if (ret_type)
            *ret_type = (SshKeyType)type;
        return 0;
    }
    return error_set(
        error, ERROR_INSECURE,
        "the SSH key is of a kind that is not accepted (ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa)");
}

int ssh_key_parse_line(const char *line, size_t length, Buffer *ret_blob, Error *error)
{
    const char *end = line + length, *type_end, *data, *data_end;
    _cleanup_free_ uint8_t *blob = NULL;
    size_t size = 0;
    SshKeyType type;
    int r;

    if (length > SSH_KEY_LINE_MAX)
        return error_set(error, ERROR_TOO_LARGE, "an SSH public key line may have at most %d bytes",
                         SSH_KEY_LINE_MAX);
    while (end > line && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' '))
        end--;
    if (string_has_control(line, (size_t)(end - line), NULL))
        return error_set(error, ERROR_BAD_FIELD, "an SSH public key is one line without control characters");
    type_end = memchr(line, ' ', (size_t)(end - line));
    if (!type_end)
        return error_set(error, ERROR_BAD_FIELD, "an SSH public key line is \"type base64 [comment]\"");
    for (data = type_end; data < end && *data == ' ';)
        data++;
    for (data_end = data; data_end < end && *data_end != ' ';)
        data_end++;
    r = base64_decode(data, (size_t)(data_end - data), SSH_KEY_BLOB_MAX, &blob, &size);
    if (r < 0)
        return error_set(error, ERROR_BAD_FIELD, "the second word of an SSH public key line must be base64");
    r = ssh_key_check_blob(blob, size, &type, error);
    if (r < 0)
        return r;
    if ((size_t)(type_end - line) != strlen(key_names[type]) ||
        memcmp(line, key_names[type], strlen(key_names[type])) != 0)
        return error_set(error, ERROR_BAD_FIELD,
                         "the SSH public key is of another kind than its first word says");
    return buffer_append(ret_blob, blob, size);
}

char *ssh_key_format_line(const uint8_t *blob, size_t size, const char *comment)
{
    char encoded[4 * ((SSH_KEY_BLOB_MAX + 2) / 3) + 1];
    SshKeyType type;

    if (ssh_key_check_blob(blob, size, &type, NULL) < 0)
        return NULL;
    base64_encode(blob, size, encoded);
    return string_format("%s %s%s%s", key_names[type], encoded, comment ? " " : "", comment ? comment : "");
}

void ssh_key_fingerprint(const uint8_t *blob, size_t size, char ret_fingerprint[static SSH_FINGERPRINT_SIZE])
{
    uint8_t digest[HASH_SIZE];
    char encoded[4 * ((HASH_SIZE + 2) / 3) + 1];

    hash_sha256(blob, size, digest);
    base64_encode(digest, sizeof(digest), encoded);
    encoded[43] = '\0'; /* without its padding */
    (void)string_print(ret_fingerprint, SSH_FINGERPRINT_SIZE, "SHA256:%s", encoded);
}

int ssh_key_from_ed25519(const uint8_t public_key[static SIGN_PUBLIC_SIZE], Buffer *ret_blob)
{
    int r = append_text(ret_blob, key_names[SSH_KEY_ED25519]);

    return r < 0 ? r : append_piece(ret_blob, public_key, SIGN_PUBLIC_SIZE);
}

/* --- private key files (PROTOCOL.key, without encryption) --- */

static int append_private_part(Buffer *buffer, const Secret *seed, const uint8_t *public_key,
                               const char *comment)
{
    uint8_t both[SIGN_SEED_SIZE + SIGN_PUBLIC_SIZE];
    uint32_t check = (uint32_t)random_below(&system_random, UINT32_MAX);
    int r = buffer_append_u32(buffer, check);

    memcpy(both, secret_bytes(seed), SIGN_SEED_SIZE);
    memcpy(both + SIGN_SEED_SIZE, public_key, SIGN_PUBLIC_SIZE);
    if (r >= 0)
        r = buffer_append_u32(buffer, check);
    if (r >= 0)
        r = append_text(buffer, key_names[SSH_KEY_ED25519]);
    if (r >= 0)
        r = append_piece(buffer, public_key, SIGN_PUBLIC_SIZE);
    if (r >= 0)
        r = append_piece(buffer, both, sizeof(both));
    memory_wipe(both, sizeof(both));
    if (r >= 0)
        r = append_text(buffer, comment);
    for (uint8_t pad = 1; r >= 0 && buffer->size % 8 != 0; pad++)
        r = buffer_append_byte(buffer, pad);
    return r;
}

static int append_key_file(Buffer *file, const uint8_t *public_key, const Buffer *private_part)
{
    static const char magic[] = "openssh-key-v1"; /* with its NUL */
    _cleanup_buffer_ Buffer blob = BUFFER_INIT;
    int r = ssh_key_from_ed25519(public_key, &blob);

    if (r >= 0)
        r = buffer_append(file, magic, sizeof(magic));
    if (r >= 0)
        r = append_text(file, "none");
    if (r >= 0)
        r = append_text(file, "none");
    if (r >= 0)
        r = append_text(file, "");
    if (r >= 0)
        r = buffer_append_u32(file, 1);
    if (r >= 0)
        r = append_piece(file, blob.data, blob.size);
    return r < 0 ? r : append_piece(file, private_part->data, private_part->size);
}

static int armour(const Buffer *file, Secret **ret_text)
{
    static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n",
                      end[] = "-----END OPENSSH PRIVATE KEY-----\n";
    char *encoded = NEW_ARRAY(char, 4 * ((file->size + 2) / 3) + 1);
    Buffer text = BUFFER_INIT;
    size_t length;
    int r;

    base64_encode(file->data, file->size, encoded);
    length = strlen(encoded);
    r = buffer_reserve(&text, sizeof(begin) + sizeof(end) + length + length / 70 + 2);
    if (r >= 0)
        r = buffer_append_string(&text, begin);
    for (size_t i = 0; r >= 0 && i < length; i += 70) {
        r = buffer_append(&text, encoded + i, MIN((size_t)70, length - i));
        if (r >= 0)
            r = buffer_append_byte(&text, '\n');
    }
    if (r >= 0)
        r = buffer_append_string(&text, end);
    if (r >= 0) {
        *ret_text = secret_new(text.data, text.size);
        r = *ret_text ? 0 : -ENOMEM;
    }
    buffer_wipe(&text);
    memory_wipe(encoded, length);
    free(encoded);
    return r;
}

int ssh_private_key_format(const Secret *seed, const char *comment, Secret **ret_text)
{
    uint8_t public_key[SIGN_PUBLIC_SIZE];
    Buffer private_part = BUFFER_INIT, file = BUFFER_INIT;
    int r = sign_public_from_seed(seed, public_key);

    if (r >= 0)
        r = buffer_reserve(&private_part, 512 + strlen(comment));
    if (r >= 0)
        r = buffer_reserve(&file, 1024 + strlen(comment));
    if (r >= 0)
        r = append_private_part(&private_part, seed, public_key, comment);
    if (r >= 0)
        r = append_key_file(&file, public_key, &private_part);
    if (r >= 0)
        r = armour(&file, ret_text);
    buffer_wipe(&private_part);
    buffer_wipe(&file);
    return r;
}

/* --- certificates --- */

static int check_certificate(const SshCertificate *certificate, Error *error)
{
    size_t count = certificate->principals ? certificate->principals->count : 0;

    if (count < 1 || count > SSH_PRINCIPALS_MAX)
        return error_set_field(error, ERROR_BAD_FIELD, "principals",
                               "an SSH certificate needs 1 to %d principals", SSH_PRINCIPALS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *principal = certificate->principals->items[i];
        size_t length = strlen(principal);

        if (length == 0 || length > SSH_PRINCIPAL_LENGTH_MAX || string_has_control(principal, length, NULL) ||
            strpbrk(principal, " ,\"*?!"))
            return error_set_field(
                error, ERROR_BAD_FIELD, "principals",
                "a principal has 1 to %d characters without blanks, commas, quotes and wildcards",
                SSH_PRINCIPAL_LENGTH_MAX);
    }
    if (string_is_empty(certificate->key_id) || strlen(certificate->key_id) > SSH_KEY_ID_MAX ||
        string_has_control(certificate->key_id, strlen(certificate->key_id), NULL))
        return error_set_field(error, ERROR_BAD_FIELD, "key_id",
                               "the key id must be 1 to %d printable characters", SSH_KEY_ID_MAX);
    if (certificate->valid_before <= certificate->valid_after)
        return error_set_field(error, ERROR_BAD_FIELD, "valid_before",
                               "the certificate would never be valid");
    if (certificate->type == SSH_CERTIFICATE_HOST &&
        (certificate->force_command || certificate->source_address || certificate->is_pty_allowed))
        return error_set(error, ERROR_BAD_FIELD, "a host certificate takes no options");
    return 0;
}

/* name, then a string that holds a string (or nothing). */
static int append_option(Buffer *options, const char *name, const char *value)
{
    _cleanup_buffer_ Buffer inner = BUFFER_INIT;
    int r = append_text(options, name);

    if (r >= 0 && value)
        r = append_text(&inner, value);
    return r < 0 ? r : append_piece(options, inner.data ? (const void *)inner.data : "", inner.size);
}

/* Names in lexical order, as the format asks. */
static int append_options(Buffer *body, const SshCertificate *certificate)
{
    _cleanup_buffer_ Buffer critical = BUFFER_INIT, extensions = BUFFER_INIT;
    int r = 0;

    if (certificate->force_command)
        r = append_option(&critical, "force-command", certificate->force_command);
    if (r >= 0 && certificate->source_address)
        r = append_option(&critical, "source-address", certificate->source_address);
    if (r >= 0 && certificate->is_pty_allowed)
        r = append_option(&extensions, "permit-pty", NULL);
    if (r >= 0)
        r = append_piece(body, critical.data ? (const void *)critical.data : "", critical.size);
    return r < 0 ? r
                 : append_piece(body, extensions.data ? (const void *)extensions.data : "", extensions.size);
}

static int append_principals(Buffer *body, const StringList *principals)
{
    _cleanup_buffer_ Buffer list = BUFFER_INIT;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < principals->count; i++)
        r = append_text(&list, principals->items[i]);
    return r < 0 ? r : append_piece(body, list.data, list.size);
}

/* The certified key without its type name, which stands at the front of the certificate in its longer form.
 */
static int append_key_parts(Buffer *body, const SshCertificate *certificate)
{
    Reader reader = READER(certificate->key, certificate->key_size);
    Piece name;
    int r = read_piece(&reader, &name);

    return r < 0 ? r : buffer_append(body, certificate->key + reader.position, reader_left(&reader));
}

static int append_body(Buffer *body, const SshCertificate *certificate, const char *type_name,
                       const Buffer *ca_blob)
{
    uint8_t nonce[32];
    int r = append_text(body, type_name);

    random_bytes(&system_random, nonce, sizeof(nonce));
    if (r >= 0)
        r = append_piece(body, nonce, sizeof(nonce));
    if (r >= 0)
        r = append_key_parts(body, certificate);
    if (r >= 0)
        r = buffer_append_u64(body, certificate->serial);
    if (r >= 0)
        r = buffer_append_u32(body, (uint32_t)certificate->type);
    if (r >= 0)
        r = append_text(body, certificate->key_id);
    if (r >= 0)
        r = append_principals(body, certificate->principals);
    if (r >= 0)
        r = buffer_append_u64(body, certificate->valid_after / USEC_PER_SEC);
    if (r >= 0)
        r = buffer_append_u64(body, certificate->valid_before / USEC_PER_SEC);
    if (r >= 0)
        r = append_options(body, certificate);
    if (r >= 0)
        r = append_piece(body, "", 0); /* reserved */
    return r < 0 ? r : append_piece(body, ca_blob->data, ca_blob->size);
}

static int append_signature(Buffer *body, const Secret *ca_seed)
{
    _cleanup_buffer_ Buffer inner = BUFFER_INIT;
    uint8_t signature[SIGN_SIGNATURE_SIZE];
    int r = sign_message(ca_seed, body->data, body->size, signature);

    if (r >= 0)
        r = append_text(&inner, key_names[SSH_KEY_ED25519]);
    if (r >= 0)
        r = append_piece(&inner, signature, sizeof(signature));
    return r < 0 ? r : append_piece(body, inner.data, inner.size);
}

int ssh_certificate_sign(const SshCertificate *certificate, const Secret *ca_seed, char **ret_line,
                         Error *error)
{
    _cleanup_buffer_ Buffer body = BUFFER_INIT, ca_blob = BUFFER_INIT;
    _cleanup_free_ char *encoded = NULL;
    uint8_t ca_public[SIGN_PUBLIC_SIZE];
    char type_name[64];
    SshKeyType type;
    int r = ssh_key_check_blob(certificate->key, certificate->key_size, &type, error);

    if (r >= 0)
        r = check_certificate(certificate, error);
    if (r < 0)
        return r;
    (void)string_print(type_name, sizeof(type_name), "%s-cert-v01@openssh.com", key_names[type]);
    r = sign_public_from_seed(ca_seed, ca_public);
    if (r >= 0)
        r = ssh_key_from_ed25519(ca_public, &ca_blob);
    if (r >= 0)
        r = append_body(&body, certificate, type_name, &ca_blob);
    if (r >= 0)
        r = append_signature(&body, ca_seed);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "an SSH certificate could not be built");
    encoded = NEW_ARRAY(char, 4 * ((body.size + 2) / 3) + 1);
    base64_encode(body.data, body.size, encoded);
    *ret_line = string_format("%s %s %s", type_name, encoded, certificate->key_id);
    return 0;
}
