/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the keeper share: its state, a request in work, the handlers. */

#include "keeper/authority.h"
#include "keeper/journal.h"
#include "keeper/keeper.h"
#include "keeper/keyring.h"
#include "keeper/vault.h"

struct Keeper {
    const Clock *clock;
    Vault *vault;
    Journal *journal;
    KeeperState state;
    /* while open */
    uint32_t generation; /* of the data keys */
    uint32_t retired;    /* keys of generations up to this one are destroyed; 0 = none */
    char *organisation;
    Authority *authority;
    Keyring *keyring;
    Secret *signing, *ssh_user, *ssh_host; /* Ed25519 seeds */
};

typedef struct Request {
    Keeper *keeper;
    const KeeperCaller *caller;
    MessageView view;
    Buffer *reply; /* the handler puts fields; begin and end are done around it */
    Buffer note;   /* for the log */
} Request;

typedef int (*RequestHandler)(Request *request, Error *error);

/* Strings of a request. They were checked for UTF-8, length and presence; request_text also refuses control
 * characters. Owned. */
int request_text(const Request *request, KeeperField tag, char **ret_text, Error *error);
int request_text_list(const Request *request, KeeperField tag, size_t maximum, StringList *list,
                      Error *error);
/* Bytes of exactly this size. */
int request_fixed(const Request *request, KeeperField tag, size_t size, const uint8_t **ret_data,
                  Error *error);
int request_secret(const Request *request, KeeperField tag, Secret **ret_secret, Error *error);
/* Left NULL when the field is absent. */
int request_optional_secret(const Request *request, KeeperField tag, Secret **ret_secret, Error *error);
/* Adds ` name="value"` to the line in the log. */
void request_note(Request *request, const char *name, const char *value);
void request_note_number(Request *request, const char *name, uint64_t value);

int handle_status(Request *request, Error *error);
int handle_initialise(Request *request, Error *error);
int handle_unseal(Request *request, Error *error);
int handle_seal(Request *request, Error *error);
int handle_public(Request *request, Error *error);
int handle_import_ca(Request *request, Error *error);
int handle_rotate_data_keys(Request *request, Error *error);
int handle_retire_data_keys(Request *request, Error *error);
int handle_shred_tenant(Request *request, Error *error);
int handle_rotate_master(Request *request, Error *error);
int handle_split_master(Request *request, Error *error);
int handle_check_shares(Request *request, Error *error);
int handle_seal_value(Request *request, Error *error);
int handle_open_value(Request *request, Error *error);
int handle_reseal_value(Request *request, Error *error);
int handle_generate_secret(Request *request, Error *error);
int handle_renew_value(Request *request, Error *error);
int handle_issue_certificate(Request *request, Error *error);
int handle_enrol_provisioner(Request *request, Error *error);
int handle_remove_provisioner(Request *request, Error *error);
int handle_issue_ssh_user(Request *request, Error *error);
int handle_issue_ssh_host(Request *request, Error *error);
int handle_sign_audit_head(Request *request, Error *error);
int handle_sign_approved_set(Request *request, Error *error);
int handle_begin_audit_epoch(Request *request, Error *error);
int handle_audit_head(Request *request, Error *error);

/* --- state (state.c) --- */

int keeper_open(Keeper *keeper, const Secret *passphrase, Error *error);
void keeper_close(Keeper *keeper);
int keeper_import_ca(Keeper *keeper, const char *ca_certificate, const Secret *ca_key, Error *error);
int keeper_rotate(Keeper *keeper, Error *error);
/* Destroys the data keys of all generations before `oldest`. */
int keeper_retire(Keeper *keeper, uint32_t oldest, unsigned *ret_count, Error *error);
int keeper_shred(Keeper *keeper, const char *tenant, unsigned *ret_count, Error *error);

/* --- provisioners (provisioners.c) --- */

/* The X25519 key recorded at enrolment. ERROR_NOT_FOUND when the provisioner is not enrolled. */
int provisioner_envelope_key(Keeper *keeper, const char *id, uint8_t *ret_key, Error *error);
