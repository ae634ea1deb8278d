/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The sshd_config of every host: certificates only, no forwarding, no passwords. A constant; any thread. */
extern const char sshd_configuration[];
