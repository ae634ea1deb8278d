/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/outbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"

enum {
    OUTPUT_QUEUED_MAX = 32 * 1024 * 1024,
    OUTPUT_BATCH = 512 * 1024,
    REPORT_BATCH = 100,
    CHUNK_MAX = 128 * 1024,
    BACKOFF_FIRST_MS = 200,
    BACKOFF_MAX_MS = 10 * 1000,
};
#define SEND_TIMEOUT (30 * USEC_PER_SEC)

struct Outbox {
    Manager *manager;
    uint64_t epoch;
    OutboxReported reported;
    void *userdata;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t condition; /* of everything below */
    json_t *chunks, *reports; /* arrays */
    size_t queued;            /* bytes of output, before base64 */
    bool is_sending, is_stopping;
};

static void add_chunk(Outbox *outbox, const Task *task, RunnerStream stream, uint64_t offset,
                      const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = memory_new(4 * ((size + 2) / 3) + 1);
    base64_encode(data, size, text);
    json_t *chunk =
        json_pack("{ss sI ss sI ss}", "task", task->id, "attempt", (json_int_t)task->attempt, "stream",
                  stream == RUNNER_STDOUT ? "stdout" : "stderr", "offset", (json_int_t)offset, "data", text);
    (void)pthread_mutex_lock(&outbox->mutex);
    while (outbox->queued > OUTPUT_QUEUED_MAX && !outbox->is_stopping)
        (void)pthread_cond_wait(&outbox->condition, &outbox->mutex);
    (void)json_array_append_new(outbox->chunks, chunk);
    outbox->queued += size;
    (void)pthread_cond_broadcast(&outbox->condition);
    (void)pthread_mutex_unlock(&outbox->mutex);
}

void outbox_add_output(Outbox *outbox, const Task *task, RunnerStream stream, uint64_t offset,
                       const void *data, size_t size)
{
    for (size_t at = 0; at < size; at += CHUNK_MAX)
        add_chunk(outbox, task, stream, offset + at, (const uint8_t *)data + at,
                  MIN(size - at, (size_t)CHUNK_MAX));
}

void outbox_add_report(Outbox *outbox, const Task *task, const Outcome *outcome)
{
    json_t *report =
        json_pack("{ss sI ss sb}", "task", task->id, "attempt", (json_int_t)task->attempt, "state",
                  outcome_state_to_string(outcome->state), "retry", outcome->is_retry_sensible);
    if (error_is_set(&outcome->error)) {
        json_t *message = json_string(outcome->error.text);
        (void)json_object_set_new(report, "error",
                                  json_pack("{ss so}", "code", error_describe(outcome->error.code)->name,
                                            "message",
                                            message ? message : json_string("the reason is not text")));
    }
    if (outcome->result)
        (void)json_object_set(report, "result", outcome->result);
    (void)pthread_mutex_lock(&outbox->mutex);
    (void)json_array_append_new(outbox->reports, report);
    (void)pthread_cond_broadcast(&outbox->condition);
    (void)pthread_mutex_unlock(&outbox->mutex);
}

/* --- sending --- */

static void pause_sending(Outbox *outbox, unsigned milliseconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += (long)(milliseconds % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    (void)pthread_mutex_lock(&outbox->mutex);
    while (!outbox->is_stopping && pthread_cond_timedwait(&outbox->condition, &outbox->mutex, &until) == 0)
        ;
    (void)pthread_mutex_unlock(&outbox->mutex);
}

static bool is_stopping(Outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->mutex);
    bool result = outbox->is_stopping;
    (void)pthread_mutex_unlock(&outbox->mutex);
    return result;
}

/* Until the manager has answered, whatever it says. False when we stop first. */
static bool send_until_answered(Outbox *outbox, const char *path, const json_t *body, json_t **ret_answer)
{
    for (unsigned attempt = 0; !is_stopping(outbox); attempt++) {
        Error error = ERROR_INIT;
        if (manager_request(outbox->manager, "POST", path, body, SEND_TIMEOUT, ret_answer, &error) >= 0)
            return true;
        const ErrorDescription *description = error_describe(error.code);
        if (!description->is_retry_sensible) {
            log_error_record(LOG_LEVEL_ERROR, path, &error);
            return true;
        }
        log_error_record(attempt == 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, path, &error);
        pause_sending(outbox, MIN((unsigned)BACKOFF_FIRST_MS << MIN(attempt, 6U), (unsigned)BACKOFF_MAX_MS));
    }
    return false;
}

static size_t decoded_size(const json_t *chunk)
{
    return json_string_length(json_object_get(chunk, "data")) / 4 * 3;
}

static bool send_output(Outbox *outbox, const json_t *chunks)
{
    for (size_t at = 0; at < json_array_size(chunks);) {
        json_t *batch = json_array();
        for (size_t size = 0; at < json_array_size(chunks) && size < OUTPUT_BATCH; at++) {
            size += decoded_size(json_array_get(chunks, at));
            (void)json_array_append(batch, json_array_get(chunks, at));
        }
        _cleanup_json_ json_t *body =
                                  json_pack("{sI so}", "epoch", (json_int_t)outbox->epoch, "chunks", batch),
                              *answer = NULL;
        if (!send_until_answered(outbox, "/internal/v1/tasks/output", body, &answer))
            return false;
    }
    return true;
}

static const char *status_of(const json_t *answer, const char *task)
{
    size_t i;
    const json_t *result;
    json_array_foreach (json_object_get(answer, "results"), i, result)
        if (string_equal(json_string_value(json_object_get(result, "task")), task))
            return json_string_value(json_object_get(result, "status"));
    return NULL;
}

static bool send_reports(Outbox *outbox, const json_t *reports)
{
    for (size_t at = 0; at < json_array_size(reports);) {
        json_t *batch = json_array();
        for (; at < json_array_size(reports) && json_array_size(batch) < REPORT_BATCH; at++)
            (void)json_array_append(batch, json_array_get(reports, at));
        _cleanup_json_ json_t *body =
                                  json_pack("{sI so}", "epoch", (json_int_t)outbox->epoch, "reports", batch),
                              *answer = NULL;
        if (!send_until_answered(outbox, "/internal/v1/tasks/report", body, &answer))
            return false;
        for (size_t i = 0; i < json_array_size(batch); i++) {
            const char *task = json_string_value(json_object_get(json_array_get(batch, i), "task"));
            const char *status = status_of(answer, task);
            if (!string_equal(status, "accepted"))
                log_notice("the report of task %s was not accepted: %s", task, status ? status : "refused");
            outbox->reported(task, json_integer_value(json_object_get(json_array_get(batch, i), "attempt")),
                             outbox->userdata);
        }
    }
    return true;
}

static void *outbox_main(void *argument)
{
    Outbox *outbox = argument;
    for (;;) {
        (void)pthread_mutex_lock(&outbox->mutex);
        outbox->is_sending = false;
        (void)pthread_cond_broadcast(&outbox->condition);
        while (!outbox->is_stopping && json_array_size(outbox->chunks) == 0 &&
               json_array_size(outbox->reports) == 0)
            (void)pthread_cond_wait(&outbox->condition, &outbox->mutex);
        bool is_over = outbox->is_stopping;
        /* Taken together: a report's output was queued before it. */
        json_t *chunks = outbox->chunks, *reports = outbox->reports;
        outbox->chunks = json_array();
        outbox->reports = json_array();
        outbox->queued = 0;
        outbox->is_sending = true;
        (void)pthread_cond_broadcast(&outbox->condition);
        (void)pthread_mutex_unlock(&outbox->mutex);
        if (!is_over && send_output(outbox, chunks))
            (void)send_reports(outbox, reports);
        json_decref(chunks);
        json_decref(reports);
        if (is_over)
            return NULL;
    }
}

bool outbox_flush(Outbox *outbox, Usec deadline)
{
    for (;;) {
        (void)pthread_mutex_lock(&outbox->mutex);
        bool is_empty = !outbox->is_sending && json_array_size(outbox->chunks) == 0 &&
                        json_array_size(outbox->reports) == 0;
        (void)pthread_mutex_unlock(&outbox->mutex);
        if (is_empty || clock_monotonic(&system_clock) >= deadline)
            return is_empty;
        (void)nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
    }
}

/* --- life --- */

int outbox_new(Manager *manager, uint64_t epoch, OutboxReported reported, void *userdata, Outbox **ret_outbox,
               Error *error)
{
    Outbox *outbox = NEW(Outbox);
    *outbox = (Outbox){.manager = manager,
                       .epoch = epoch,
                       .reported = reported,
                       .userdata = userdata,
                       .chunks = json_array(),
                       .reports = json_array()};
    (void)pthread_mutex_init(&outbox->mutex, NULL);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&outbox->condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    int failure = pthread_create(&outbox->thread, NULL, outbox_main, outbox);
    if (failure != 0) {
        json_decref(outbox->chunks);
        json_decref(outbox->reports);
        free(outbox);
        return error_set_errno(error, ERROR_INTERNAL, failure, "cannot start the reporting thread");
    }
    *ret_outbox = outbox;
    return 0;
}

Outbox *outbox_free(Outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->mutex);
    outbox->is_stopping = true;
    (void)pthread_cond_broadcast(&outbox->condition);
    (void)pthread_mutex_unlock(&outbox->mutex);
    (void)pthread_join(outbox->thread, NULL);
    json_decref(outbox->chunks);
    json_decref(outbox->reports);
    (void)pthread_cond_destroy(&outbox->condition);
    (void)pthread_mutex_destroy(&outbox->mutex);
    free(outbox);
    return NULL;
}
