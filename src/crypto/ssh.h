/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* OpenSSH's public keys and certificates (RFC 4253, RFC 8709, PROTOCOL.certkeys). Kinds: ssh-ed25519,
 * ecdsa-sha2-nistp256, ssh-rsa with at least 3,072 bits. Certificate authorities are Ed25519. Any thread. */

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/secret.h"
#include "base/string.h"
#include "crypto/sign.h"

enum {
    SSH_KEY_BLOB_MAX = 2048,
    SSH_KEY_LINE_MAX = 4096,
    SSH_FINGERPRINT_SIZE = 7 + 43 + 1, /* "SHA256:" + unpadded base64 */
    SSH_PRINCIPALS_MAX = 32,
    SSH_PRINCIPAL_LENGTH_MAX = 255,
    SSH_KEY_ID_MAX = 255,
};

typedef enum SshKeyType {
    SSH_KEY_ED25519,
    SSH_KEY_ECDSA_P256,
    SSH_KEY_RSA,
    _SSH_KEY_TYPE_MAX,
    _SSH_KEY_TYPE_INVALID = -22,
} SshKeyType;

/* "ssh-ed25519" and so on. */
const char *ssh_key_type_to_string(SshKeyType type);
/* Checks a wire blob fully (type, lengths, nothing after it, RSA size). The error says which rule was broken.
 */
int ssh_key_check_blob(const uint8_t *blob, size_t size, SshKeyType *ret_type, Error *error);
/* "type base64 [comment]", without options before it; appends the blob. */
int ssh_key_parse_line(const char *line, size_t length, Buffer *ret_blob, Error *error);
/* "type base64" (+ " comment"); owned, NULL for a blob that is not valid. */
char *ssh_key_format_line(const uint8_t *blob, size_t size, const char *comment);
/* "SHA256:…", as ssh-keygen prints it. */
void ssh_key_fingerprint(const uint8_t *blob, size_t size, char ret_fingerprint[static SSH_FINGERPRINT_SIZE]);
/* Wire blob of an Ed25519 key; appends. */
int ssh_key_from_ed25519(const uint8_t public_key[static SIGN_PUBLIC_SIZE], Buffer *ret_blob);
/* An unencrypted private key file of OpenSSH for an Ed25519 seed. */
int ssh_private_key_format(const Secret *seed, const char *comment, Secret **ret_text);

typedef enum SshCertificateType { SSH_CERTIFICATE_USER = 1, SSH_CERTIFICATE_HOST = 2 } SshCertificateType;

typedef struct SshCertificate {
    SshCertificateType type;
    uint64_t serial;
    const uint8_t *key; /* wire blob of the certified key */
    size_t key_size;
    const char *key_id;
    const StringList *principals; /* at least one: OpenSSH takes "none" for "everybody" */
    Usec valid_after, valid_before;
    const char *force_command;  /* user certificates; NULL = none */
    const char *source_address; /* comma separated CIDR; NULL = anywhere */
    bool is_pty_allowed;        /* the only extension that Bastide gives */
} SshCertificate;

/* Signs; the certificate as a line for authorized clients ("<type>-cert-v01@openssh.com base64 key-id");
 * owned. */
int ssh_certificate_sign(const SshCertificate *certificate, const Secret *ca_seed, char **ret_line,
                         Error *error);
