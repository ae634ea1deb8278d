/* SPDX-License-Identifier: Apache-2.0 */
/* What has to be done now and then, apart from any request. One timer on the loop; what blocks goes to the
 * pool. */

#include "api/audit_heads.h"
#include "api/audit_shipping.h"
#include "base/log.h"

static const Usec TICK = USEC_PER_SEC, EXPIRY_INTERVAL = 600 * USEC_PER_SEC;

struct Care {
    sd_event_source *timer;
    Usec expiry_due;
};

static int expire(StoreTransaction *transaction, void *context, Error *error)
{
    (void)context;
    return idempotency_expire(transaction, error);
}

static void expired(int result, const Error *error, void *context)
{
    (void)context;
    if (result < 0)
        log_error_record(LOG_LEVEL_WARNING, "removing old Idempotency-Keys", error);
}

static bool is_due(Usec *due, Usec now, Usec interval)
{
    if (now < *due)
        return false;
    *due = now + interval;
    return true;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)usec;
    Api *api = userdata;
    Care *care = api->care;
    Usec now = clock_monotonic(api->settings.clock);
    denials_flush(api, false);
    audit_heads_tick(api);
    shipping_tick(api);
    Error error = ERROR_INIT;
    if (is_due(&care->expiry_due, now, EXPIRY_INTERVAL) &&
        store_submit(api->settings.store, STORE_WRITE, expire, expired, NULL, &error) < 0)
        log_error_record(LOG_LEVEL_WARNING, "removing old Idempotency-Keys", &error);
    (void)sd_event_source_set_time_relative(source, TICK);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int care_start(Api *api, Error *error)
{
    audit_heads_start(api);
    int r = shipping_start(api, error);
    if (r < 0)
        return r;
    api->care = NEW(Care);
    r = sd_event_add_time_relative(api->settings.event, &api->care->timer, CLOCK_MONOTONIC, TICK,
                                   USEC_PER_MSEC, on_tick, api);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "Starting a timer") : 0;
}

void care_stop(Api *api)
{
    if (!api->care)
        return;
    sd_event_source_disable_unref(api->care->timer);
    free(api->care);
    api->care = NULL;
    denials_flush(api, true);
    audit_heads_stop(api);
    shipping_stop(api);
}
