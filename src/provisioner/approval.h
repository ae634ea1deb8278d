/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What may run, and the bytes of it (PR9). The approved set of a tenant is signed by the keeper with the key
 * that this provisioner pinned at its enrolment; its serial never goes back, also not over a restart. A
 * bundle is fetched by its digest, checked, inspected as the manager did at upload, and unpacked into a
 * directory of our own. The manager is not trusted with either. Any thread. */

#include "crypto/sign.h"
#include "domain/bundle/bundle.h"
#include "provisioner/manager.h"

typedef struct Approval Approval;

/* The directory (existing, private) keeps serials and bundles. */
Approval *approval_new(Manager *manager, const char *directory,
                       const uint8_t signing_key[static SIGN_PUBLIC_SIZE]);
Approval *approval_free(Approval *approval);
DEFINE_CLEANUP(Approval, approval_free);

typedef struct ApprovedBundle {
    const Bundle *bundle; /* lives as long as the Approval */
    const char *directory;
} ApprovedBundle;
/* ERROR_NOT_APPROVED when the tenant's set does not name the digest; ERROR_UNTRUSTED, ERROR_STALE for a set
 * that cannot be believed. */
int approval_get_bundle(Approval *approval, const char *tenant,
                        const uint8_t digest[static BUNDLE_DIGEST_SIZE], ApprovedBundle *ret_bundle,
                        Error *error);
