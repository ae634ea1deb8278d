/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of both kinds, and the provisioners that are known. */

#include <arpa/inet.h>
#include <errno.h>

#include "base/memory.h"
#include "base/string.h"
#include "crypto/envelope.h"
#include "crypto/ssh.h"
#include "keeper/keeper-internal.h"
#include "keeper/profiles.h"

enum {
    SSH_LIFE_MINIMUM = 60,
    SSH_USER_LIFE_MAXIMUM = 24 * 3600,
    SSH_HOST_LIFE_MAXIMUM = 90 * 24 * 3600,
};
/* Certificates for a whole cluster's provisioner: they may only ever start the runner. */
static const char provisioner_principal[] = "provisioner:";

/* --- provisioners --- */

static int provisioner_file(const char *id, char *destination, size_t size, Error *error)
{
    if (!id_is_valid(id))
        return error_set_field(error, ERROR_BAD_FIELD, "provisioner", "this is not the id of a provisioner");
    return string_print(destination, size, "provisioners/%s", id);
}

int provisioner_envelope_key(Keeper *keeper, const char *id, uint8_t *ret_key, Error *error)
{
    _cleanup_secret_ Secret *record = NULL;
    char file[64];
    int r = provisioner_file(id, file, sizeof(file), error);

    if (r >= 0)
        r = vault_read(keeper->vault, file, ENVELOPE_KEY_SIZE, &record, error);
    if (r == -ENOENT)
        return error_set(error, ERROR_NOT_FOUND, "the provisioner %s is not enrolled", id);
    if (r < 0)
        return r;
    if (secret_size(record) != ENVELOPE_KEY_SIZE)
        return error_set(error, ERROR_CRYPTO, "%s has the wrong size", file);
    memcpy(ret_key, secret_bytes(record), ENVELOPE_KEY_SIZE);
    return 0;
}

static int issue_and_put(Request *request, const CertificateOrder *order, Error *error)
{
    _cleanup_free_ char *chain = NULL;
    char serial[SERIAL_HEX_SIZE];
    int r = authority_issue(request->keeper->authority, order, clock_realtime(request->keeper->clock), &chain,
                            serial, error);

    if (r < 0)
        return r;
    request_note(request, "serial", serial);
    r = message_put_string(request->reply, KEEPER_FIELD_CHAIN, chain);
    return r < 0 ? r : message_put_string(request->reply, KEEPER_FIELD_SERIAL, serial);
}

int handle_enrol_provisioner(Request *request, Error *error)
{
    _cleanup_(certificate_order_done) CertificateOrder order = {.profile = profile_find("provisioner")};
    _cleanup_free_ char *id = NULL, *uri = NULL;
    const uint8_t *envelope_key;
    char file[64];
    int r = request_text(request, KEEPER_FIELD_PROVISIONER, &id, error);

    if (r >= 0)
        r = provisioner_file(id, file, sizeof(file), error);
    if (r >= 0)
        r = request_fixed(request, KEEPER_FIELD_ENVELOPE_KEY, ENVELOPE_KEY_SIZE, &envelope_key, error);
    if (r < 0)
        return r;
    request_note(request, "provisioner", id);
    if (envelope_check_public(envelope_key) < 0)
        return error_set_field(error, ERROR_INSECURE, "envelope_key",
                               "the envelope key is a weak point of X25519");
    /* Another key for a known provisioner would divert its secrets. */
    if (vault_exists(request->keeper->vault, file))
        return error_set(error, ERROR_CONFLICT, "the provisioner %s is enrolled already", id);
    (void)message_get_bytes(&request->view, KEEPER_FIELD_PUBLIC_KEY, 0, &order.spki, &order.spki_size);
    order.common_name = id;
    uri = string_format(PROVISIONER_URI "%s", id);
    string_list_append(&order.uris, uri);
    r = issue_and_put(request, &order, error);
    return r < 0 ? r : vault_write(request->keeper->vault, file, envelope_key, ENVELOPE_KEY_SIZE, error);
}

int handle_remove_provisioner(Request *request, Error *error)
{
    _cleanup_free_ char *id = NULL;
    char file[64];
    int r = request_text(request, KEEPER_FIELD_PROVISIONER, &id, error);

    if (r >= 0)
        r = provisioner_file(id, file, sizeof(file), error);
    if (r < 0)
        return r;
    request_note(request, "provisioner", id);
    r = vault_remove(request->keeper->vault, file, error);
    return r == -ENOENT ? 0 : r;
}

/* --- X.509 --- */

static int get_addresses(const Request *request, CertificateOrder *order, Error *error)
{
    for (unsigned i = 0;; i++) {
        const uint8_t *data;
        size_t size;

        if (message_get_bytes(&request->view, KEEPER_FIELD_IP_ADDRESS, i, &data, &size) < 0)
            return 0;
        if (i >= CERTIFICATE_NAMES_MAX)
            return error_set(error, ERROR_TOO_LARGE, "at most %d addresses in a certificate",
                             CERTIFICATE_NAMES_MAX);
        if (size != 4 && size != 16)
            return error_set_field(error, ERROR_BAD_FIELD, "ip_address", "an address has 4 or 16 bytes");
        memcpy(order->ip_addresses[i].bytes, data, size);
        order->ip_addresses[i].size = (uint8_t)size;
        order->ip_address_count = i + 1;
    }
}

static int check_enrolled(Request *request, const CertificateOrder *order, Error *error)
{
    uint8_t key[ENVELOPE_KEY_SIZE];

    if (order->profile->names != PROFILE_PROVISIONER)
        return 0;
    return provisioner_envelope_key(request->keeper, order->common_name, key, error);
}

static int fill_order(Request *request, CertificateOrder *order, Error *error)
{
    int r =
        request_text_list(request, KEEPER_FIELD_DNS_NAME, CERTIFICATE_NAMES_MAX, &order->dns_names, error);

    if (r >= 0)
        r = request_text_list(request, KEEPER_FIELD_URI, 1, &order->uris, error);
    if (r >= 0)
        r = get_addresses(request, order, error);
    (void)message_get_bytes(&request->view, KEEPER_FIELD_PUBLIC_KEY, 0, &order->spki, &order->spki_size);
    order->life_seconds = (uint32_t)message_get_u64(&request->view, KEEPER_FIELD_LIFE_SECONDS, 0);
    return r;
}

int handle_issue_certificate(Request *request, Error *error)
{
    _cleanup_(certificate_order_done) CertificateOrder order = {0};
    _cleanup_free_ char *profile_name = NULL, *common_name = NULL;
    int r = request_text(request, KEEPER_FIELD_PROFILE, &profile_name, error);

    if (r >= 0)
        r = request_text(request, KEEPER_FIELD_COMMON_NAME, &common_name, error);
    if (r < 0)
        return r;
    request_note(request, "profile", profile_name);
    request_note(request, "common_name", common_name);
    order.profile = profile_find(profile_name);
    if (!order.profile)
        return error_set_field(error, ERROR_BAD_FIELD, "profile", "there is no profile of this name");
    order.common_name = common_name;
    r = fill_order(request, &order, error);
    if (r >= 0)
        r = profile_check(&order, error);
    if (r >= 0)
        r = check_enrolled(request, &order, error);
    return r < 0 ? r : issue_and_put(request, &order, error);
}

/* --- SSH --- */

/* Comma separated addresses with or without a prefix length, as sshd takes them. */
static bool source_address_is_valid(const char *text)
{
    _cleanup_string_list_ StringList parts = {0};

    string_list_split(&parts, text, ',');
    for (size_t i = 0; i < parts.count; i++) {
        char *slash = strchr(parts.items[i], '/');
        IpAddress address;
        uint64_t prefix;

        if (slash)
            *slash = '\0';
        if (ip_address_parse(parts.items[i], &address) < 0)
            return false;
        if (slash && (string_to_u64(slash + 1, address.size == 4 ? 32 : 128, &prefix) < 0))
            return false;
    }
    return parts.count > 0;
}

static int check_user_options(const SshCertificate *certificate, Error *error)
{
    if (certificate->force_command && *certificate->force_command == '\0')
        return error_set_field(error, ERROR_BAD_FIELD, "force_command",
                               "an empty forced command means none; leave it out");
    if (certificate->source_address && !source_address_is_valid(certificate->source_address))
        return error_set_field(error, ERROR_BAD_FIELD, "source_address", "this is not a list of addresses");
    for (size_t i = 0; i < certificate->principals->count; i++)
        if (string_starts_with(certificate->principals->items[i], provisioner_principal) &&
            (!certificate->force_command || certificate->is_pty_allowed ||
             certificate->principals->count != 1))
            return error_set_field(
                error, ERROR_FORBIDDEN, "principals",
                "a provisioner's certificate has one principal, a forced command and no terminal");
    return 0;
}

static int fill_ssh(Request *request, SshCertificate *certificate, StringList *principals,
                    uint32_t maximum_life, char **ret_key_id, Error *error)
{
    uint64_t life = message_get_u64(&request->view, KEEPER_FIELD_LIFE_SECONDS, 0);
    Usec now = clock_realtime(request->keeper->clock);
    int r = request_text_list(request, KEEPER_FIELD_PRINCIPAL, SSH_PRINCIPALS_MAX, principals, error);

    if (r >= 0)
        r = request_text(request, KEEPER_FIELD_KEY_ID, ret_key_id, error);
    if (r < 0)
        return r;
    if (life < SSH_LIFE_MINIMUM || life > maximum_life)
        return error_set_field(error, ERROR_BAD_FIELD, "life_seconds",
                               "such SSH certificates live %d to %u seconds", SSH_LIFE_MINIMUM, maximum_life);
    (void)message_get_bytes(&request->view, KEEPER_FIELD_PUBLIC_KEY, 0, &certificate->key,
                            &certificate->key_size);
    certificate->serial = random_below(&system_random, UINT64_MAX);
    certificate->principals = principals;
    certificate->key_id = *ret_key_id;
    certificate->valid_after = now - 60 * USEC_PER_SEC;
    certificate->valid_before = now + life * USEC_PER_SEC;
    request_note(request, "key_id", *ret_key_id);
    request_note_number(request, "serial", certificate->serial);
    for (size_t i = 0; i < principals->count; i++)
        request_note(request, "principal", principals->items[i]);
    return 0;
}

static int sign_and_put(Request *request, const SshCertificate *certificate, const Secret *ca, Error *error)
{
    _cleanup_free_ char *line = NULL;
    char fingerprint[SSH_FINGERPRINT_SIZE];
    int r = ssh_certificate_sign(certificate, ca, &line, error);

    if (r < 0)
        return r;
    ssh_key_fingerprint(certificate->key, certificate->key_size, fingerprint);
    request_note(request, "key", fingerprint);
    return message_put_string(request->reply, KEEPER_FIELD_CERTIFICATE, line);
}

int handle_issue_ssh_user(Request *request, Error *error)
{
    _cleanup_string_list_ StringList principals = {0};
    _cleanup_free_ char *key_id = NULL;
    _cleanup_free_ char *force_command = message_get_string(&request->view, KEEPER_FIELD_FORCE_COMMAND, 0);
    _cleanup_free_ char *source_address = message_get_string(&request->view, KEEPER_FIELD_SOURCE_ADDRESS, 0);
    SshCertificate certificate = {.type = SSH_CERTIFICATE_USER};
    int r = fill_ssh(request, &certificate, &principals, SSH_USER_LIFE_MAXIMUM, &key_id, error);

    if (r < 0)
        return r;
    if (force_command && string_has_control(force_command, strlen(force_command), NULL))
        return error_set_field(error, ERROR_BAD_FIELD, "force_command",
                               "a forced command has no control characters");
    certificate.force_command = force_command;
    certificate.source_address = source_address;
    certificate.is_pty_allowed = message_get_u64(&request->view, KEEPER_FIELD_PTY, 0) != 0;
    r = check_user_options(&certificate, error);
    return r < 0 ? r : sign_and_put(request, &certificate, request->keeper->ssh_user, error);
}

int handle_issue_ssh_host(Request *request, Error *error)
{
    _cleanup_string_list_ StringList principals = {0};
    _cleanup_free_ char *key_id = NULL;
    SshCertificate certificate = {.type = SSH_CERTIFICATE_HOST};
    int r = fill_ssh(request, &certificate, &principals, SSH_HOST_LIFE_MAXIMUM, &key_id, error);

    return r < 0 ? r : sign_and_put(request, &certificate, request->keeper->ssh_host, error);
}
