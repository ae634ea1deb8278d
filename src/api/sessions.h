/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Sessions of the console: tokens with an idle limit that travel in a cookie which no script reads and no
 * other site's page can send. */

#include "api/credentials.h"
#include "api/route.h"

typedef struct NewSession {
    char id[ID_SIZE];
    Secret *value;
    int64_t expires_at, idle_limit;
} NewSession;

/* In a write job, which may run again. */
int session_make(ApiCall *call, const char *username, bool has_second_factor, NewSession *session,
                 Error *error);
void new_session_done(NewSession *session);
/* After the commit. */
void session_set_cookie(ApiCall *call, const NewSession *session);
