/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the error table; included several times, so no include guard.
 * ERROR_ROW(symbol, name, conductor name, HTTP status, exit status, retry sensible, meaning) */
ERROR_ROW(NONE, "none", "", 200, 0, false, "no error")
ERROR_ROW(INTERNAL, "internal", "internal_server_error", 500, 70, true,
          "an error inside Bastide; the log has its details under the request id")
ERROR_ROW(BAD_REQUEST, "bad_request", "bad_parameters_error", 400, 64, false, "the request is malformed")
ERROR_ROW(BAD_DOCUMENT, "bad_document", "bad_parameters_error", 400, 65, false, "a document breaks a rule")
ERROR_ROW(BAD_FIELD, "bad_field", "bad_parameters_error", 400, 65, false,
          "a member of a document or request is missing, unknown or out of its range")
ERROR_ROW(BAD_REFERENCE, "bad_reference", "bad_parameters_error", 400, 65, false,
          "a document names something that does not exist")
ERROR_ROW(BAD_MACRO, "bad_macro", "functions_evaluation_error", 400, 65, false,
          "a macro is malformed or names something unknown")
ERROR_ROW(CYCLE, "cycle", "bad_parameters_error", 400, 65, false, "dependencies form a cycle")
ERROR_ROW(IMPOSSIBLE, "layout_impossible", "constraint_error", 400, 65, false,
          "no layout can satisfy the constraints")
ERROR_ROW(GAVE_UP, "layout_gave_up", "constraint_error", 400, 75, false,
          "the solver's step budget ran out before an answer")
ERROR_ROW(UNAUTHENTICATED, "unauthenticated", "unauthorized_error", 401, 77, false, "no valid credentials")
ERROR_ROW(SECOND_FACTOR, "second_factor_required", "unauthorized_error", 401, 77, false,
          "a code of the second factor is needed")
ERROR_ROW(FORBIDDEN, "forbidden", "forbidden_error", 403, 77, false, "the caller lacks the permission")
ERROR_ROW(NOT_FOUND, "not_found", "not_found_error", 404, 66, false, "no such object for this caller")
ERROR_ROW(METHOD_NOT_ALLOWED, "method_not_allowed", "method_not_allowed_error", 405, 64, false,
          "the resource does not know this method")
ERROR_ROW(CONFLICT, "conflict", "conflict_error", 409, 73, false,
          "the object exists already or is in another state")
ERROR_ROW(STALE, "stale", "conflict_error", 409, 75, false,
          "the report or change is of an older attempt or version")
ERROR_ROW(PRECONDITION, "precondition_failed", "conflict_error", 412, 75, false,
          "If-Match does not match the object's version")
ERROR_ROW(KEY_REUSED, "idempotency_key_reused", "bad_parameters_error", 422, 64, false,
          "the Idempotency-Key was used for another request")
ERROR_ROW(TOO_LARGE, "too_large", "bad_parameters_error", 413, 65, false, "the input exceeds its limit")
ERROR_ROW(UNSUPPORTED_MEDIA, "unsupported_media_type", "unsupported_content_type_error", 415, 64, false,
          "the body must have another content type")
ERROR_ROW(QUOTA, "quota_exceeded", "forbidden_error", 403, 69, false, "a quota of the tenant is used up")
ERROR_ROW(RATE_LIMITED, "rate_limited", "forbidden_error", 429, 75, true,
          "too many requests; try again later")
ERROR_ROW(BUSY, "busy", "insufficient_memory_error", 503, 75, true, "a bounded queue is full; try again")
ERROR_ROW(UNAVAILABLE, "unavailable", "maintenance_mode_active", 503, 69, true,
          "a part that is needed is not available")
ERROR_ROW(SEALED, "sealed", "maintenance_mode_active", 503, 69, true, "the keeper is sealed")
ERROR_ROW(INSECURE, "insecure", "bad_parameters_error", 400, 78, false,
          "a setting would be insecure and is refused")
ERROR_ROW(CONFIGURATION, "configuration", "internal_server_error", 500, 78, false,
          "the configuration file is wrong")
ERROR_ROW(TIMED_OUT, "timed_out", "internal_server_error", 504, 75, true, "the time for this ran out")
ERROR_ROW(IO, "input_output", "internal_server_error", 500, 74, true, "reading or writing failed")
ERROR_ROW(PROTOCOL, "protocol", "internal_server_error", 502, 76, true, "a peer broke the protocol")
ERROR_ROW(CRYPTO, "cryptography", "internal_server_error", 500, 70, false, "a cryptographic check failed")
ERROR_ROW(CANCELLED, "cancelled", "forbidden_while_cancelling", 409, 130, false, "the work was cancelled")
ERROR_ROW(UNTRUSTED, "untrusted", "forbidden_error", 403, 77, false,
          "a key, certificate or digest is not the expected one")
ERROR_ROW(NOT_APPROVED, "not_approved", "forbidden_error", 403, 77, false,
          "the bundle is not in the approved set")
ERROR_ROW(STEP_FAILED, "step_failed", "internal_server_error", 500, 1, false,
          "a step on a node ended with an error")
