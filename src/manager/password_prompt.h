/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A password from the person at the terminal, without echo, or one line of standard input when that is no
 * terminal. Main thread. */

#include "base/error.h"
#include "base/secret.h"

int password_prompt(const char *question, Secret **ret_password, Error *error);
