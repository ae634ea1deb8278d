/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Makes an Ed25519 host key in the formats of OpenSSH. The private half is written into the host and
 * forgotten. Any thread after sodium_init. */

#include "base/buffer.h"

/* private_key: PEM of "openssh-key-v1", to be wiped by the caller; public_key: "ssh-ed25519 AAAA..." (owned).
 */
int host_key_generate(Buffer *private_key, char **ret_public_key);
