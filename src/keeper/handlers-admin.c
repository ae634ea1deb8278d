/* SPDX-License-Identifier: Apache-2.0 */
/* State, set-up, opening, public keys. */

#include <errno.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/ssh.h"
#include "keeper/keeper-internal.h"

int handle_status(Request *request, Error *error)
{
    int r = message_put_string(request->reply, KEEPER_FIELD_STATE,
                               keeper_state_to_string(request->keeper->state));

    if (r >= 0)
        r = message_put_string(request->reply, KEEPER_FIELD_VERSION, BASTIDE_VERSION);
    if (r >= 0)
        r = message_put_u32(request->reply, KEEPER_FIELD_GENERATION, request->keeper->generation);
    if (r >= 0)
        r = message_put_u32(request->reply, KEEPER_FIELD_RETIRED, request->keeper->retired);
    if (r >= 0)
        r = message_put_u32(request->reply, KEEPER_FIELD_ROTATING, vault_is_rotating(request->keeper->vault));
    return r < 0 ? r
                 : message_put_u32(request->reply, KEEPER_FIELD_WRAPPED,
                                   request->keeper->state != KEEPER_STATE_UNINITIALISED &&
                                       vault_is_wrapped(request->keeper->vault));
}

static int put_trust(Request *request)
{
    return message_put_string(request->reply, KEEPER_FIELD_CHAIN, keeper_trust(request->keeper));
}

int handle_initialise(Request *request, Error *error)
{
    _cleanup_secret_ Secret *ca_key = NULL, *passphrase = NULL;
    _cleanup_free_ char *organisation = NULL, *ca_certificate = NULL;
    int r = request_text(request, KEEPER_FIELD_ORGANISATION, &organisation, error);

    if (r >= 0)
        r = request_optional_secret(request, KEEPER_FIELD_CA_KEY, &ca_key, error);
    if (r >= 0)
        r = request_optional_secret(request, KEEPER_FIELD_PASSPHRASE, &passphrase, error);
    if (r < 0)
        return r;
    ca_certificate = message_get_string(&request->view, KEEPER_FIELD_CA_CERTIFICATE, 0);
    request_note(request, "organisation", organisation);
    request_note(request, "ca", ca_certificate ? "given" : "own");
    r = keeper_initialise(request->keeper, organisation, ca_certificate, ca_key, passphrase, error);
    if (r < 0)
        return r;
    log_notice("the keeper was set up");
    return put_trust(request);
}

int handle_unseal(Request *request, Error *error)
{
    _cleanup_secret_ Secret *passphrase = NULL;
    int r;

    if (request->keeper->state == KEEPER_STATE_UNINITIALISED)
        return error_set(error, ERROR_UNAVAILABLE, "the keeper is not set up yet");
    if (request->keeper->state == KEEPER_STATE_OPEN)
        return 0;
    r = request_secret(request, KEEPER_FIELD_PASSPHRASE, &passphrase, error);
    if (r >= 0)
        r = keeper_open(request->keeper, passphrase, error);
    if (r >= 0)
        log_notice("the keeper was unsealed");
    return r;
}

int handle_seal(Request *request, Error *error)
{
    if (request->keeper->state == KEEPER_STATE_UNINITIALISED)
        return error_set(error, ERROR_UNAVAILABLE, "the keeper is not set up yet");
    keeper_close(request->keeper);
    log_notice("the keeper was sealed");
    return 0;
}

static int put_ssh_ca(Request *request, KeeperField tag, const Secret *seed, const char *comment)
{
    _cleanup_buffer_ Buffer blob = BUFFER_INIT;
    _cleanup_free_ char *line = NULL;
    uint8_t public_key[SIGN_PUBLIC_SIZE];
    int r = sign_public_from_seed(seed, public_key);

    if (r >= 0)
        r = ssh_key_from_ed25519(public_key, &blob);
    if (r < 0)
        return r;
    line = ssh_key_format_line(blob.data, blob.size, comment);
    return line ? message_put_string(request->reply, (uint8_t)tag, line) : -EIO;
}

int handle_public(Request *request, Error *error)
{
    const Keeper *keeper = request->keeper;
    uint8_t public_key[SIGN_PUBLIC_SIZE];
    int r = put_trust(request);

    if (r >= 0)
        r = put_ssh_ca(request, KEEPER_FIELD_SSH_USER_CA, keeper->ssh_user, "bastide-user-ca");
    if (r >= 0)
        r = put_ssh_ca(request, KEEPER_FIELD_SSH_HOST_CA, keeper->ssh_host, "bastide-host-ca");
    if (r >= 0)
        r = sign_public_from_seed(keeper->signing, public_key);
    return r < 0
               ? r
               : message_put_bytes(request->reply, KEEPER_FIELD_SIGNING_KEY, public_key, sizeof(public_key));
}

int handle_import_ca(Request *request, Error *error)
{
    _cleanup_secret_ Secret *ca_key = NULL;
    _cleanup_free_ char *ca_certificate = message_get_string(&request->view, KEEPER_FIELD_CA_CERTIFICATE, 0);
    int r = request_secret(request, KEEPER_FIELD_CA_KEY, &ca_key, error);

    if (r >= 0)
        r = keeper_import_ca(request->keeper, ca_certificate, ca_key, error);
    if (r < 0)
        return r;
    log_notice("the certificate authority was replaced");
    return put_trust(request);
}
