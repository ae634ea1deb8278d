/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The keeper's client: blocking calls with a deadline, for pool threads and command lines. A client has one
 * connection, made at the first call and made anew when it was lost; calls of several threads on one client
 * wait for each other, so a pool uses one client per thread. Errors carry the keeper's own code and text.
 * Plaintexts come as Secret. */

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/secret.h"
#include "base/string.h"
#include "crypto/envelope.h"
#include "crypto/x509.h"
#include "custody/keeper_protocol.h"
#include "custody/sealed_value.h"

typedef struct KeeperClient KeeperClient;

/* Does not connect yet. timeout: of a whole call, connecting included. */
KeeperClient *keeper_client_new(const char *socket_path, Usec timeout);
KeeperClient *keeper_client_free(KeeperClient *client);
DEFINE_CLEANUP(KeeperClient, keeper_client_free);
#define _cleanup_keeper_client_ _cleanup_(keeper_client_free_pointer)
/* Connects now when it is not connected; for checks at start. */
int keeper_client_connect(KeeperClient *client, Error *error);

typedef struct KeeperStatus {
    KeeperState state;
    uint32_t generation;          /* of the data keys */
    uint32_t retired;             /* keys of generations up to this one are destroyed; 0 = none */
    bool is_rotating, is_wrapped; /* the master key */
    char version[65];
} KeeperStatus;
int keeper_client_status(KeeperClient *client, KeeperStatus *ret_status, Error *error);

typedef struct KeeperPublic {
    char *ca_chain;                  /* PEM */
    char *ssh_user_ca, *ssh_host_ca; /* public key lines */
    uint8_t signing_key[SIGN_PUBLIC_SIZE];
} KeeperPublic;
int keeper_client_public(KeeperClient *client, KeeperPublic *ret_public, Error *error);
void keeper_public_done(KeeperPublic *value);

/* --- root --- */

/* ca_certificate and ca_key come together or not at all (NULL); passphrase NULL = the master key lies in its
 * file unwrapped. Gives the CA certificate; owned. */
int keeper_client_initialise(KeeperClient *client, const char *organisation, const char *ca_certificate,
                             const Secret *ca_key, const Secret *passphrase, char **ret_ca, Error *error);
int keeper_client_unseal(KeeperClient *client, const Secret *passphrase, Error *error);
int keeper_client_seal(KeeperClient *client, Error *error);
int keeper_client_import_ca(KeeperClient *client, const char *ca_certificate, const Secret *ca_key,
                            char **ret_ca, Error *error);
/* Moves some files to another master key; while *ret_is_left, ask again (without a passphrase). */
int keeper_client_rotate_master(KeeperClient *client, const Secret *passphrase, bool *ret_is_left,
                                Error *error);
/* Shares of the master key, KEEPER_SHARE_SIZE bytes each, appended to the buffer. */
int keeper_client_split_master(KeeperClient *client, uint32_t threshold, uint32_t count, Buffer *ret_shares,
                               Error *error);
int keeper_client_check_shares(KeeperClient *client, const uint8_t (*shares)[KEEPER_SHARE_SIZE], size_t count,
                               Error *error);

/* --- root and manager: data keys --- */

/* From now on audit heads may begin anew: root has accepted a restored database. */
int keeper_client_begin_audit_epoch(KeeperClient *client, uint64_t *ret_epoch, Error *error);
int keeper_client_rotate_data_keys(KeeperClient *client, uint32_t *ret_generation, Error *error);
/* Destroys the keys of all generations before `oldest`; the manager alone, when no value needs them. */
int keeper_client_retire_data_keys(KeeperClient *client, uint32_t oldest, uint32_t *ret_count, Error *error);
int keeper_client_shred_tenant(KeeperClient *client, const char *tenant, uint32_t *ret_count, Error *error);

/* --- manager: values. Sealed values and envelopes are appended to the buffer. --- */

int keeper_client_seal_value(KeeperClient *client, SealedClass sealed_class, const char *tenant,
                             const char *context, const Secret *plain, Buffer *ret_sealed, Error *error);
/* Classes self and user only. */
int keeper_client_open_value(KeeperClient *client, const char *tenant, const char *context,
                             const void *sealed, size_t size, Secret **ret_plain, Error *error);
/* Classes task and user. */
int keeper_client_reseal_value(KeeperClient *client, const char *tenant, const char *context,
                               const void *sealed, size_t size, const char *provisioner, Buffer *ret_envelope,
                               Error *error);
/* The same value under the present data key. */
int keeper_client_renew_value(KeeperClient *client, const char *tenant, const char *context,
                              const void *sealed, size_t size, Buffer *ret_sealed, Error *error);
int keeper_client_generate_secret(KeeperClient *client, SealedClass sealed_class, const char *tenant,
                                  const char *context, uint32_t length, SecretAlphabet alphabet,
                                  Buffer *ret_sealed, Error *error);

/* --- manager: certificates --- */

typedef struct KeeperCertificateRequest {
    const char *profile; /* internal-server, external-server, provisioner, cluster-server, manager */
    const uint8_t *spki;
    size_t spki_size;
    const char *common_name;
    const StringList *dns_names, *uris; /* may be NULL */
    const IpAddress *ip_addresses;
    size_t ip_address_count;
    uint32_t life_seconds; /* 0 = the profile's usual life */
} KeeperCertificateRequest;
int keeper_client_issue_certificate(KeeperClient *client, const KeeperCertificateRequest *request,
                                    char **ret_chain, char ret_serial[static SERIAL_HEX_SIZE], Error *error);
int keeper_client_enrol_provisioner(KeeperClient *client, const char *provisioner, const uint8_t *spki,
                                    size_t spki_size, const uint8_t envelope_key[static ENVELOPE_KEY_SIZE],
                                    char **ret_chain, char ret_serial[static SERIAL_HEX_SIZE], Error *error);
/* Its record goes: nothing is issued or re-sealed for it afterwards. */
int keeper_client_remove_provisioner(KeeperClient *client, const char *provisioner, Error *error);

typedef struct KeeperSshRequest {
    const uint8_t *key; /* wire blob */
    size_t key_size;
    const char *key_id;
    const StringList *principals;
    uint32_t life_seconds;
    const char *force_command, *source_address; /* user certificates; may be NULL */
    bool is_pty_allowed;
} KeeperSshRequest;
int keeper_client_issue_ssh_user(KeeperClient *client, const KeeperSshRequest *request, char **ret_line,
                                 Error *error);
int keeper_client_issue_ssh_host(KeeperClient *client, const KeeperSshRequest *request, char **ret_line,
                                 Error *error);

/* --- manager: signatures --- */

/* The last head that was signed in this epoch; sequence 0 = none. */
int keeper_client_audit_head(KeeperClient *client, const char *shard, uint64_t *ret_epoch,
                             uint64_t *ret_sequence, uint8_t ret_hash[static HASH_SIZE], Error *error);
/* ret_epoch may be NULL. */
int keeper_client_sign_audit_head(KeeperClient *client, const char *shard, uint64_t sequence, Usec time,
                                  const uint8_t hash[static HASH_SIZE], uint64_t *ret_epoch,
                                  uint8_t ret_signature[static SIGN_SIGNATURE_SIZE], Error *error);
/* The digests may come in any order; doubles are dropped. ret_set gets the canonical bytes. */
int keeper_client_sign_approved_set(KeeperClient *client, const char *tenant, uint64_t serial, Usec expiry,
                                    const uint8_t (*digests)[HASH_SIZE], size_t count, Buffer *ret_set,
                                    uint8_t ret_signature[static SIGN_SIGNATURE_SIZE], Error *error);
