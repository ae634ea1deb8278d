/* SPDX-License-Identifier: Apache-2.0 */
/* Idempotency-Key: a request that comes again with its key gets the first one's answer and changes nothing.
 * The key is taken in the transaction of the change, so the two stand or fall together. What a handler
 * answers after its transaction (on a pool thread) is kept by a second one; until then the key says "carried
 * out, answer not known". The digest of the request is keyed, for a body may hold a password. */

#include "api/api_internal.h"
#include "base/string.h"

enum { KEY_MAX = 255, ANSWER_MAX = 256 * 1024 };
static const int64_t KEPT = 24 * 3600 * (int64_t)USEC_PER_SEC;
/* In place of a content type: there is no answer to give again. */
static const char SECRET_ANSWER[] = "secret", LARGE_ANSWER[] = "large";

static bool key_is_valid(const char *key)
{
    size_t length = strlen(key);
    if (length == 0 || length > KEY_MAX)
        return false;
    for (const char *c = key; *c; c++)
        if (*c < '!' || *c > '~')
            return false;
    return true;
}

int idempotency_read(ApiCall *call, Error *error)
{
    const HttpRequest *request = call->request;
    const char *key = http_exchange_header(call->exchange, "Idempotency-Key");
    if (!key || !call->principal.username ||
        request->method == HTTP_METHOD_GET) /* who has no account has no keys */
        return 0;
    if (!key_is_valid(key))
        return error_set_field(error, ERROR_BAD_REQUEST, "Idempotency-Key",
                               "An Idempotency-Key has 1 to %d visible characters.", KEY_MAX);
    const char *method = http_method_name(request->method);
    const char *condition = http_exchange_header(call->exchange, "If-Match") ?: "";
    const StoreBlob parts[] = {{(const uint8_t *)method, strlen(method)},
                               {(const uint8_t *)request->path, strlen(request->path)},
                               {(const uint8_t *)request->query, strlen(request->query)},
                               {(const uint8_t *)condition, strlen(condition)},
                               {(const uint8_t *)request->body, request->body_size}};
    tags_digest(call->api, "request", parts, ELEMENTSOF(parts), call->change->request_digest);
    call->change->key = key;
    return 0;
}

int idempotency_find(ApiCall *call, Error *error)
{
    ApiChange *change = call->change;
    if (!change || !change->key)
        return 0;
    IdempotencyGetRow row;
    int r = statement_idempotency_get(
        call->transaction,
        &(IdempotencyGetParameters){.tenant = call->tenant ?: "",
                                    .username = call->principal.username,
                                    .idempotency_key = change->key,
                                    .expired_at = (int64_t)store_now(call->transaction) - KEPT},
        &row, error);
    if (r <= 0)
        return r;
    if (!string_equal(row.request_digest, change->request_digest))
        return error_set_field(error, ERROR_KEY_REUSED, "Idempotency-Key",
                               "This Idempotency-Key was used for another request; use a new one.");
    if (row.status == 0)
        return error_set(
            error, ERROR_CONFLICT,
            "The request with this Idempotency-Key was carried out, but its answer is not known, or "
            "not yet: look at the object.");
    bool is_secret = string_equal(row.content_type, SECRET_ANSWER);
    if (is_secret || string_equal(row.content_type, LARGE_ANSWER))
        return error_set(
            error, ERROR_CONFLICT,
            "The request with this Idempotency-Key was carried out with status %d (%s). Its answer %s "
            "and was not kept.",
            (int)row.status, row.object, is_secret ? "held a secret that is shown once" : "was too large");
    change->is_replayed = true;
    change->status = (int)row.status;
    change->content_type = *row.content_type ? arena_string(call->arena, row.content_type) : NULL;
    change->answer = arena_string(call->arena, row.answer);
    if (*row.object)
        call->audit_object = arena_string(call->arena, row.object);
    return 1;
}

int idempotency_claim(ApiCall *call, Error *error)
{
    ApiChange *change = call->change;
    if (!change->key)
        return 0;
    int r = idempotency_find(call, error);
    if (r != 0)
        return r;
    r = idempotency_forget(call, error); /* one that has expired */
    if (r >= 0)
        r = statement_idempotency_claim(
            call->transaction,
            &(IdempotencyClaimParameters){.tenant = call->tenant ?: "",
                                          .username = call->principal.username,
                                          .idempotency_key = change->key,
                                          .request_digest = change->request_digest,
                                          .created_at = (int64_t)store_now(call->transaction)},
            error);
    if (r == 0)
        return error_set(error, ERROR_CONFLICT, "A request with this Idempotency-Key is being carried out.");
    change->is_claimed = r > 0;
    return MIN(r, 0);
}

int idempotency_store(ApiCall *call, Error *error)
{
    const ApiChange *change = call->change;
    if (!change->key)
        return 0;
    const char *type = call->content_type ?: "", *answer = buffer_string(&call->answer);
    if (call->route->has_secret_answer)
        type = SECRET_ANSWER, answer = "";
    else if (call->answer.size > ANSWER_MAX)
        type = LARGE_ANSWER, answer = "";
    int r = statement_idempotency_answer(call->transaction,
                                         &(IdempotencyAnswerParameters){.tenant = call->tenant ?: "",
                                                                        .username = call->principal.username,
                                                                        .idempotency_key = change->key,
                                                                        .status = call->status,
                                                                        .answer = answer,
                                                                        .content_type = type,
                                                                        .object = call->audit_object ?: ""},
                                         error);
    return MIN(r, 0);
}

int idempotency_forget(ApiCall *call, Error *error)
{
    int r = statement_idempotency_forget(call->transaction,
                                         &(IdempotencyForgetParameters){.tenant = call->tenant ?: "",
                                                                        .username = call->principal.username,
                                                                        .idempotency_key = call->change->key},
                                         error);
    return MIN(r, 0);
}

void idempotency_replay(ApiCall *call)
{
    const ApiChange *change = call->change;
    buffer_clear(&call->answer);
    (void)buffer_append_string(&call->answer, change->answer);
    call->status = change->status;
    call->content_type = change->content_type;
    http_exchange_set_header(call->exchange, "Idempotency-Replayed", "true");
}

int idempotency_expire(StoreTransaction *transaction, Error *error)
{
    int r = statement_idempotency_expire(
        transaction, &(IdempotencyExpireParameters){.expired_at = (int64_t)store_now(transaction) - KEPT},
        error);
    return MIN(r, 0);
}
