/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a provisioner shows to the sshd of a node: an Ed25519 key that lives in memory only, and a user
 * certificate of some minutes for it (PK9). A new certificate always comes with a new key. Counted; any
 * thread. */

/* Leaves out the library's old names, one of which is string_copy. */
#define LIBSSH_LEGACY_0_4
#include <libssh/libssh.h>

#include "base/clock.h"
#include "base/error.h"

typedef struct SshCredential SshCredential;

/* A fresh key without a certificate; *ret_public is its line "ssh-ed25519 AAAA…", owned. */
int ssh_credential_new(SshCredential **ret_credential, char **ret_public, Error *error);
/* Of a key that exists already (taken over); for tests and benchmarks. */
int ssh_credential_from_key(ssh_key key, const char *certificate, Usec expires,
                            SshCredential **ret_credential, Error *error);
/* Adds the certificate line; once. */
int ssh_credential_set_certificate(SshCredential *credential, const char *line, Usec expires, Error *error);
SshCredential *ssh_credential_ref(SshCredential *credential);
SshCredential *ssh_credential_unref(SshCredential *credential);
DEFINE_CLEANUP(SshCredential, ssh_credential_unref);
#define _cleanup_ssh_credential_ _cleanup_(ssh_credential_unref_pointer)

ssh_key ssh_credential_key(const SshCredential *credential);  /* borrowed */
Usec ssh_credential_expires(const SshCredential *credential); /* wall clock */
/* The authority's public key out of a certificate line, as a line; owned. */
int ssh_certificate_authority(const char *line, char **ret_authority, Error *error);
