/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Inside base only: starts libsodium once. Every function of base that uses libsodium calls it first, so that
 * programs need no initialisation order. Any thread, also before main(); aborts when there is no randomness.
 */

void sodium_start(void);
