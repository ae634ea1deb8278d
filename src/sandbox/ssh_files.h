/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The sshd_config of every host. */
extern const char sshd_configuration[];
