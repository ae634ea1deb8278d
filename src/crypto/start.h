/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Sets the cryptographic libraries up: no configuration file of OpenSSL is read (it could load modules),
 * random numbers are seeded, what is loaded lazily is loaded. For programs that give up system calls
 * afterwards. Main thread. */

/* 0 or -ENOSYS. */
int crypto_start(void);
