/* SPDX-License-Identifier: Apache-2.0 */
/* What surrounds every change, so that no handler has to think of it. The object is shown by the handler of
 * its own GET route, inside the transaction, with nothing hidden but secrets: the digest before and after is
 * of what an administrator would see, and If-Match is compared with what the caller would. */

#include <ctype.h>

#include "api/audit_heads.h"
#include "api/audit_shipping.h"
#include "base/string.h"

enum { TEXT_LIMIT = 256, SEGMENT_SIZE = 64 };

const char *change_text(ApiCall *call, const char *text)
{
    char *copy = arena_string_n(call->arena, text, strnlen(text, TEXT_LIMIT));
    for (char *c = copy; *c; c++)
        if (!isascii((unsigned char)*c) || !isprint((unsigned char)*c))
            *c = '?';
    return copy;
}

/* Parameters of paths
 * ------------------------------------------------------------------------------------------------------ */

/* The value of the parameter `name` in the call's own path, or NULL. */
static const char *own_parameter(const ApiCall *call, const char *name, size_t length)
{
    unsigned index = 0;
    for (const char *start = strchr(call->route->path, '{'); start; start = strchr(start + 1, '{'), index++)
        if (strncmp(start + 1, name, length) == 0 && start[1 + length] == '}')
            return call->parameters[index];
    return NULL;
}

/* What the body calls the object, or what the handler called what it made. */
static const char *other_parameter(const ApiCall *call)
{
    const char *member = call->route->shown_member;
    const char *named = member ? json_string_value(json_object_get(call->body, member)) : NULL;
    const char *colon = call->audit_object ? strchr(call->audit_object, ':') : NULL;
    return named ?: colon ? colon + 1 : NULL;
}

/* False while nobody knows which object it is. */
static bool find_parameters(const ApiCall *call, const ApiRoute *shown,
                            const char *parameters[static ROUTE_PARAMETERS_MAX])
{
    unsigned count = 0;
    for (const char *start = strchr(shown->path, '{'); start; start = strchr(start + 1, '{')) {
        const char *value = own_parameter(call, start + 1, strcspn(start + 1, "}")) ?: other_parameter(call);
        if (!value || count == ROUTE_PARAMETERS_MAX)
            return false;
        parameters[count++] = value;
    }
    return true;
}

/* Views
 * ------------------------------------------------------------------------------------------------------------
 */

int change_view(ApiCall *call, bool is_whole, Buffer *ret_text, Error *error)
{
    const ApiRoute *shown = call->change->shown;
    ApiCall view = *call;
    if (!shown || !find_parameters(call, shown, view.parameters))
        return 0;
    view.route = shown;
    view.is_view = true;
    view.body = NULL;
    view.effects = (EngineEffects){0};
    view.error = ERROR_INIT;
    view.answer = BUFFER_INIT;
    view.audit_object = view.audit_details = NULL;
    if (is_whole) {
        view.principal.rights = access_role_permissions(ACCESS_ROLE_SYS_ADMIN);
        view.principal.is_member = true;
    }
    int r = shown->object ? api_object_require(&view, shown->object, shown->permission, error) : 0;
    if (r >= 0)
        r = shown->handler(&view, error);
    *ret_text = view.answer;
    engine_effects_done(&view.effects);
    if (r < 0 && (error->code == ERROR_NOT_FOUND || (!is_whole && error->code == ERROR_FORBIDDEN))) {
        *error = ERROR_INIT;
        return 0;
    }
    return r < 0 ? r : 1;
}

static int take_digest(ApiCall *call, char digest[static HASH_HEX_SIZE], Error *error)
{
    _cleanup_buffer_ Buffer text = BUFFER_INIT;
    digest[0] = '\0';
    int r = change_view(call, true, &text, error);
    if (r == 1)
        hash_sha256_hex(text.data, text.size, digest);
    return MIN(r, 0);
}

/* Records
 * ----------------------------------------------------------------------------------------------------------
 */

/* "cluster:web" of "/clusters/{id}", "services:nginx" of "/catalog/{kind}/{name}". */
static const char *name_object(ApiCall *call)
{
    const ApiRoute *shown = call->change ? call->change->shown : NULL;
    const char *parameters[ROUTE_PARAMETERS_MAX] = {0};
    if (!shown || !find_parameters(call, shown, parameters) || !parameters[0])
        return change_text(call, call->request->path);
    if (parameters[1])
        return arena_format(call->arena, "%s:%s", change_text(call, parameters[0]),
                            change_text(call, parameters[1]));
    int length = (int)strcspn(shown->path + 1, "/");
    if (length > 1 && shown->path[length] == 's')
        length--;
    return arena_format(call->arena, "%.*s:%s", length, shown->path + 1, change_text(call, parameters[0]));
}

static const char *name_authentication(const ApiCall *call)
{
    if (call->authentication)
        return call->authentication;
    if (!call->principal.token_id)
        return NULL;
    return arena_format(call->arena, "%s:%s", call->is_session ? "session" : "token",
                        call->principal.token_id);
}

int change_record(ApiCall *call, const char *outcome, const char *details, Error *error)
{
    const ApiRoute *route = call->route;
    const char *username = call->principal.username ?: "nobody";
    const ApiChange *change = call->change;
    const char *action = route->action ?: permission_describe(route->permission)->name;
    return audit_trail_append(call->transaction,
                              &(AuditRecord){.actor = call->real_actor ?: username,
                                             .effective_actor = call->real_actor ? username : NULL,
                                             .authentication = name_authentication(call),
                                             .tenant = call->tenant,
                                             .source = call->request->remote_address,
                                             .request_id = call->request->request_id,
                                             .action = action,
                                             .object = call->audit_object ?: name_object(call),
                                             .outcome = outcome,
                                             .details = details,
                                             .digest_before = change ? change->before : NULL,
                                             .digest_after = change ? change->after : NULL},
                              error);
}

/* Around the work
 * -------------------------------------------------------------------------------------------------- */

int change_prepare(ApiCall *call, Error *error)
{
    if (!call->route->action)
        return 0;
    int r = audit_heads_check(call->api, error);
    if (r >= 0)
        r = shipping_check(call->api, error);
    if (r < 0)
        return r;
    call->change = arena_allocate(call->arena, sizeof(*call->change));
    call->change->shown = route_object(call->route);
    return idempotency_read(call, error);
}

int change_begin(ApiCall *call, Error *error)
{
    ApiChange *change = call->change;
    if (!change)
        return 0;
    change->before[0] = change->after[0] = '\0';
    if (call->is_recorded) /* a later step of the same request */
        return take_digest(call, change->before, error);
    int r = idempotency_claim(call, error);
    if (r < 0)
        return r;
    if (r == 1) {
        r = change_record(call, "replayed", NULL, error);
        return r < 0 ? r : 1;
    }
    r = call->route->method == HTTP_METHOD_GET ? 0 : tags_check(call, error);
    return r < 0 ? r : take_digest(call, change->before, error);
}

int change_end(ApiCall *call, Error *error)
{
    if (!call->change)
        return 0;
    int r = take_digest(call, call->change->after, error);
    if (r >= 0)
        r = change_record(call, "done", call->audit_details, error);
    /* On a pool thread the handler has not answered yet. */
    return r < 0 || call->route->mode == ROUTE_POOL ? r : idempotency_store(call, error);
}
