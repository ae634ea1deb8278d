/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/ssh_credential.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/string.h"

enum { CERTIFICATE_LINE_MAX = 16 * 1024 };

struct SshCredential {
    atomic_uint references;
    ssh_key key;
    Usec expires;
};

int ssh_credential_new(SshCredential **ret_credential, char **ret_public, Error *error)
{
    _cleanup_ssh_credential_ SshCredential *credential = NEW(SshCredential);
    credential->references = 1;
    char *base64 = NULL;
    if (ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &credential->key) != SSH_OK ||
        ssh_pki_export_pubkey_base64(credential->key, &base64) != SSH_OK)
        return error_set(error, ERROR_CRYPTO, "cannot make an SSH key");
    *ret_public = string_format("ssh-ed25519 %s", base64);
    ssh_string_free_char(base64);
    *ret_credential = TAKE_PTR(credential);
    return 0;
}

/* "<type> <base64>[ comment]" into its two parts. */
static int split_line(const char *line, char **ret_type, char **ret_base64)
{
    if (strlen(line) > CERTIFICATE_LINE_MAX)
        return -E2BIG;
    size_t type_length = strcspn(line, " ");
    if (line[type_length] != ' ')
        return -EBADMSG;
    const char *base64 = line + type_length + 1;
    *ret_type = string_duplicate_n(line, type_length);
    *ret_base64 = string_duplicate_n(base64, strcspn(base64, " \r\n"));
    return 0;
}

int ssh_credential_set_certificate(SshCredential *credential, const char *line, Usec expires, Error *error)
{
    _cleanup_free_ char *type = NULL, *base64 = NULL;
    if (split_line(line, &type, &base64) < 0 || !string_equal(type, "ssh-ed25519-cert-v01@openssh.com"))
        return error_set(error, ERROR_PROTOCOL, "the SSH certificate is malformed");
    ssh_key certificate = NULL;
    int r = ssh_pki_import_cert_base64(base64, SSH_KEYTYPE_ED25519_CERT01, &certificate);
    if (r == SSH_OK)
        r = ssh_pki_copy_cert_to_privkey(certificate, credential->key);
    ssh_key_free(certificate);
    if (r != SSH_OK)
        return error_set(error, ERROR_PROTOCOL, "the SSH certificate does not belong to our key");
    credential->expires = expires;
    return 0;
}

int ssh_credential_from_key(ssh_key key, const char *certificate, Usec expires,
                            SshCredential **ret_credential, Error *error)
{
    _cleanup_ssh_credential_ SshCredential *credential = NEW(SshCredential);
    credential->references = 1;
    credential->key = key;
    int r = ssh_credential_set_certificate(credential, certificate, expires, error);
    if (r >= 0)
        *ret_credential = TAKE_PTR(credential);
    return r;
}

SshCredential *ssh_credential_ref(SshCredential *credential)
{
    atomic_fetch_add(&credential->references, 1);
    return credential;
}

SshCredential *ssh_credential_unref(SshCredential *credential)
{
    if (!credential || atomic_fetch_sub(&credential->references, 1) != 1)
        return NULL;
    ssh_key_free(credential->key); /* wipes it */
    free(credential);
    return NULL;
}

ssh_key ssh_credential_key(const SshCredential *credential)
{
    return credential->key;
}

Usec ssh_credential_expires(const SshCredential *credential)
{
    return credential->expires;
}

static int read_string(Reader *reader, const uint8_t **ret_data, uint32_t *ret_size)
{
    int r = reader_u32(reader, ret_size);
    return r < 0 ? r : reader_bytes(reader, *ret_size, ret_data);
}

/* PROTOCOL.certkeys: type, nonce, pk, serial u64, kind u32, key id, principals, after u64, before u64,
 * critical options, extensions, reserved, signature key, signature. */
static int find_authority(const uint8_t *blob, size_t size, const uint8_t **ret_key, uint32_t *ret_size)
{
    enum { STRING, U32, U64 };
    static const uint8_t layout[] = {STRING, STRING, STRING, U64,    U32,    STRING,
                                     STRING, U64,    U64,    STRING, STRING, STRING};
    Reader reader = READER(blob, size);
    for (size_t i = 0; i < ELEMENTSOF(layout); i++) {
        uint32_t u32;
        uint64_t u64;
        int r = layout[i] == STRING ? read_string(&reader, ret_key, ret_size)
                : layout[i] == U32  ? reader_u32(&reader, &u32)
                                    : reader_u64(&reader, &u64);
        if (r < 0)
            return r;
    }
    return read_string(&reader, ret_key, ret_size);
}

int ssh_certificate_authority(const char *line, char **ret_authority, Error *error)
{
    _cleanup_free_ char *type = NULL, *base64 = NULL;
    _cleanup_free_ uint8_t *blob = NULL;
    size_t size;
    const uint8_t *key, *name;
    uint32_t key_size, name_size;
    if (split_line(line, &type, &base64) < 0 ||
        base64_decode(base64, strlen(base64), CERTIFICATE_LINE_MAX, &blob, &size) < 0 ||
        find_authority(blob, size, &key, &key_size) < 0)
        return error_set(error, ERROR_PROTOCOL, "the SSH certificate is malformed");
    Reader reader = READER(key, key_size);
    if (read_string(&reader, &name, &name_size) < 0 || name_size > 64 || memchr(name, 0, name_size) ||
        memchr(name, '\n', name_size))
        return error_set(error, ERROR_PROTOCOL, "the authority of the SSH certificate is malformed");
    _cleanup_free_ char *encoded = memory_new(4 * ((key_size + 2) / 3) + 1);
    base64_encode(key, key_size, encoded);
    *ret_authority = string_format("%.*s %s", (int)name_size, (const char *)name, encoded);
    return 0;
}
