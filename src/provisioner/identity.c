/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/envelope.h"
#include "crypto/key.h"
#include "crypto/x509.h"
#include "net/http_client.h"

#define ENROL_TIMEOUT (60 * USEC_PER_SEC)
enum { ANSWER_LIMIT = 256 * 1024, TEXT_LIMIT = 64 * 1024 };

static char *file_in(const char *directory, const char *name)
{
    return path_join(directory, name);
}

static int store(const char *directory, const char *name, const void *data, size_t size, mode_t mode,
                 Error *error)
{
    _cleanup_free_ char *path = file_in(directory, name);
    int r = file_write_atomic(path, data, size, mode);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write %s", path) : 0;
}

/* A key that an enrolment before this one made is used again. */
static int make_tls_key(const char *directory, PrivateKey **ret_key, Error *error)
{
    _cleanup_free_ char *path = file_in(directory, "tls/key.pem");
    if (access(path, F_OK) == 0)
        return private_key_read(path, ret_key, error);
    int r = private_key_generate(KEY_P256, ret_key);
    if (r >= 0)
        r = private_key_write(*ret_key, path);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot make %s", path) : 0;
}

static int read_envelope_key(const char *directory, Secret **ret_key, Error *error)
{
    _cleanup_free_ char *path = file_in(directory, "envelope.key"), *data = NULL;
    size_t size;
    int r = file_read_private(path, geteuid(), ENVELOPE_KEY_SIZE, &data, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", path);
    if (size == ENVELOPE_KEY_SIZE)
        *ret_key = secret_new(data, size);
    memory_wipe(data, size);
    return size == ENVELOPE_KEY_SIZE ? 0 : error_set(error, ERROR_IO, "%s is not a key", path);
}

static int make_envelope_key(const char *directory, uint8_t ret_public[static ENVELOPE_KEY_SIZE],
                             Error *error)
{
    _cleanup_free_ char *path = file_in(directory, "envelope.key");
    _cleanup_secret_ Secret *key = NULL;
    int r;
    if (access(path, F_OK) == 0) {
        r = read_envelope_key(directory, &key, error);
        if (r < 0)
            return r;
        r = envelope_public_from_private(key, ret_public);
    } else {
        r = envelope_generate_key(&key, ret_public);
        if (r >= 0)
            r = file_write_new(path, secret_bytes(key), secret_size(key), 0600);
    }
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot make %s", path) : 0;
}

static int make_request(const char *directory, const EnrolmentRequest *request, json_t **ret_body,
                        Error *error)
{
    _cleanup_private_key_ PrivateKey *key = NULL;
    uint8_t envelope_public[ENVELOPE_KEY_SIZE];
    int r = make_tls_key(directory, &key, error);
    if (r >= 0)
        r = make_envelope_key(directory, envelope_public, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *csr = NULL;
    r = csr_make(key, request->name, NULL, &csr);
    if (r < 0)
        return error_set_errno(error, ERROR_CRYPTO, -r, "cannot make the signing request");
    char encoded[4 * ((ENVELOPE_KEY_SIZE + 2) / 3) + 1];
    base64_encode(envelope_public, sizeof(envelope_public), encoded);
    *ret_body = json_pack("{ss ss ss ss}", "token", request->token, "name", request->name, "tls_csr", csr,
                          "envelope_key", encoded);
    return *ret_body ? 0 : error_set(error, ERROR_BAD_REQUEST, "name or token are not text");
}

static int ask(const EnrolmentRequest *request, const json_t *body, json_t **ret_answer, Error *error)
{
    HttpClientSettings settings = {
        .base_url = request->url, .ca_file = request->ca_file, .answer_limit = ANSWER_LIMIT};
    HttpClient *client = NULL;
    int r = http_client_new(&settings, &client, error);
    if (r < 0)
        return r;
    HttpAnswer answer = {0};
    char *text = json_to_text(body);
    r = http_client_request(client, "POST", "/api/v3.1/provisioners/enrol", "application/json", text,
                            strlen(text), ENROL_TIMEOUT, &answer, error);
    memory_wipe(text, strlen(text));
    free(text);
    http_client_free(client);
    if (r < 0)
        return r;
    r = json_parse((const char *)answer.body.data, answer.body.size, ANSWER_LIMIT, ret_answer, error);
    if (r >= 0 && answer.status >= 400) {
        const char *message = json_string_value(json_object_get(*ret_answer, "message"));
        r = error_set(error, ERROR_FORBIDDEN, "the manager refused the enrolment (%d): %s", answer.status,
                      message ? message : "no reason given");
    }
    http_answer_done(&answer);
    return r;
}

static int store_answer(const char *directory, const json_t *answer, Error *error)
{
    /* "id" is last: with it the identity is whole. */
    static const struct {
        const char *member, *file;
    } parts[] = {
        {"certificate", "tls/certificate.pem"},
        {"ca_certificate", "tls/ca.pem"},
        {"internal_url", "url"},
        {"signing_key", "signing.key"},
        {"id", "id"},
    };
    for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
        const char *text = json_string_value(json_object_get(answer, parts[i].member));
        if (string_is_empty(text))
            return error_set(error, ERROR_PROTOCOL, "the manager's answer has no \"%s\"", parts[i].member);
        int r = store(directory, parts[i].file, text, strlen(text), 0600, error);
        if (r < 0)
            return r;
    }
    return 0;
}

int identity_enrol(const char *directory, const EnrolmentRequest *request, Error *error)
{
    _cleanup_free_ char *tls = file_in(directory, "tls"), *id = file_in(directory, "id");
    if (access(id, F_OK) == 0)
        return error_set(error, ERROR_CONFLICT,
                         "this provisioner is enrolled already; remove %s to enrol it anew", directory);
    int r = directory_make(tls, 0700);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot make %s", tls);
    _cleanup_json_ json_t *body = NULL, *answer = NULL;
    r = make_request(directory, request, &body, error);
    if (r >= 0)
        r = ask(request, body, &answer, error);
    return r < 0 ? r : store_answer(directory, answer, error);
}

static int load_text(const char *directory, const char *name, char **ret_text, Error *error)
{
    _cleanup_free_ char *path = file_in(directory, name);
    int r = file_read(path, TEXT_LIMIT, ret_text, NULL);
    if (r < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, -r,
                               "cannot read %s (enrol this provisioner first)", path);
    (*ret_text)[strcspn(*ret_text, "\r\n")] = 0;
    return 0;
}

static int load_signing_key(const char *directory, uint8_t key[static SIGN_PUBLIC_SIZE], Error *error)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_free_ uint8_t *bytes = NULL;
    size_t size;
    int r = load_text(directory, "signing.key", &text, error);
    if (r < 0)
        return r;
    if (base64_decode(text, strlen(text), SIGN_PUBLIC_SIZE, &bytes, &size) < 0 || size != SIGN_PUBLIC_SIZE)
        return error_set(error, ERROR_CONFIGURATION, "the signing key in %s is malformed", directory);
    memcpy(key, bytes, SIGN_PUBLIC_SIZE);
    return 0;
}

int identity_load(const char *directory, Identity *ret_identity, Error *error)
{
    Identity identity = {
        .directory = string_duplicate(directory),
        .ca_file = file_in(directory, "tls/ca.pem"),
        .certificate_file = file_in(directory, "tls/certificate.pem"),
        .key_file = file_in(directory, "tls/key.pem"),
    };
    int r = load_text(directory, "id", &identity.id, error);
    if (r >= 0)
        r = load_text(directory, "url", &identity.url, error);
    if (r >= 0)
        r = load_signing_key(directory, identity.signing_key, error);
    if (r >= 0)
        r = read_envelope_key(directory, &identity.envelope_key, error);
    if (r >= 0 && !name_is_valid(identity.id))
        r = error_set(error, ERROR_CONFIGURATION, "the id in %s is malformed", directory);
    if (r < 0) {
        identity_done(&identity);
        return r;
    }
    *ret_identity = identity;
    return 0;
}

void identity_done(Identity *identity)
{
    free(identity->directory);
    free(identity->id);
    free(identity->url);
    free(identity->ca_file);
    free(identity->certificate_file);
    free(identity->key_file);
    secret_free(identity->envelope_key);
    *identity = (Identity){0};
}

static int is_due(const Identity *identity, Error *error)
{
    _cleanup_free_ char *pem = NULL;
    size_t size;
    int r = file_read(identity->certificate_file, CHAIN_LIMIT, &pem, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", identity->certificate_file);
    _cleanup_certificate_ Certificate *certificate = NULL;
    r = certificate_from_pem(pem, size, &certificate, error);
    if (r < 0)
        return r;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    certificate_info(certificate, &info);
    Usec now = clock_realtime(&system_clock), life = info.not_after - info.not_before;
    return now + life / 3 >= info.not_after;
}

int identity_renew(const Identity *identity, Manager *manager, Error *error)
{
    int r = is_due(identity, error);
    if (r <= 0)
        return r;
    _cleanup_private_key_ PrivateKey *key = NULL;
    _cleanup_free_ char *csr = NULL;
    _cleanup_json_ json_t *body = NULL, *answer = NULL;
    r = private_key_read(identity->key_file, &key, error);
    if (r < 0)
        return r;
    if (csr_make(key, identity->id, NULL, &csr) < 0)
        return error_set(error, ERROR_CRYPTO, "cannot make the signing request");
    body = json_pack("{ss}", "csr", csr);
    r = manager_request(manager, "POST", "/internal/v1/certificate", body, ENROL_TIMEOUT, &answer, error);
    if (r < 0)
        return r;
    const char *chain = json_string_value(json_object_get(answer, "certificate"));
    if (!chain)
        chain = json_string_value(json_object_get(answer, "chain"));
    if (!chain)
        return error_set(error, ERROR_PROTOCOL, "the manager's answer has no certificate");
    r = file_write_atomic(identity->certificate_file, chain, strlen(chain), 0600);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write %s", identity->certificate_file) : 1;
}
