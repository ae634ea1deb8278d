/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to the keeper: as many as threads ask at once, kept for the next. */

#include "api/api_internal.h"

enum { KEEPER_KEPT = 8 };
static const Usec KEEPER_TIMEOUT = 5 * USEC_PER_SEC;

KeeperClient *keeper_take(Api *api, Error *error)
{
    KeeperClient *client = NULL;
    ASSERT(pthread_mutex_lock(&api->keeper_lock) == 0);
    if (api->keeper_count > 0)
        client = api->keepers[--api->keeper_count];
    ASSERT(pthread_mutex_unlock(&api->keeper_lock) == 0);
    if (!client)
        client = keeper_client_new(api->settings.keeper_socket, KEEPER_TIMEOUT);
    if (!client)
        (void)error_set(error, ERROR_UNAVAILABLE, "The keeper cannot be reached.");
    return client;
}

void keeper_give(Api *api, KeeperClient *client)
{
    if (!client)
        return;
    ASSERT(pthread_mutex_lock(&api->keeper_lock) == 0);
    if (!api->keepers)
        api->keepers = NEW_ARRAY(KeeperClient *, KEEPER_KEPT);
    if (api->keeper_count < KEEPER_KEPT) {
        api->keepers[api->keeper_count++] = client;
        client = NULL;
    }
    ASSERT(pthread_mutex_unlock(&api->keeper_lock) == 0);
    keeper_client_free(client);
}
