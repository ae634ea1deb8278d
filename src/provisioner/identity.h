/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What makes a provisioner this one: its id, TLS key and certificate, envelope key, the pinned CA and signing
 * key of its manager. Made by enrolment, kept below the state directory. Main thread, but for
 * identity_renew(). */

#include "base/error.h"
#include "base/secret.h"
#include "crypto/sign.h"
#include "provisioner/manager.h"

typedef struct Identity {
    char *directory; /* all owned */
    char *id, *url;
    char *ca_file, *certificate_file, *key_file;
    Secret *envelope_key;
    uint8_t signing_key[SIGN_PUBLIC_SIZE];
} Identity;

typedef struct EnrolmentRequest {
    const char *url, *token, *ca_file, *name;
} EnrolmentRequest;

/* Makes the keys, has them certified, stores everything. ERROR_CONFLICT when there is an identity already. */
int identity_enrol(const char *directory, const EnrolmentRequest *request, Error *error);
int identity_load(const char *directory, Identity *ret_identity, Error *error);
void identity_done(Identity *identity);
#define _cleanup_identity_ _cleanup_(identity_done)
/* Asks for a new certificate once less than a third of its life is left: 1 = renewed, 0 = not needed. */
int identity_renew(const Identity *identity, Manager *manager, Error *error);
