/* SPDX-License-Identifier: Apache-2.0 */
/* ETags. A tag is a keyed digest of what the caller sees, bound to the route and the tenant: it tells nothing
 * about what others see, and equal tags mean equal bytes. The key lies in a file of the manager, not in the
 * database: whoever has a copy of that cannot try passwords against the digests of requests. */

#include <errno.h>
#include <sodium.h>

#include "api/api_internal.h"
#include "base/file.h"
#include "base/string.h"

enum { TAG_SIZE = 16, TAG_TEXT_SIZE = 2 * TAG_SIZE + 3 };

/* The key
 * ----------------------------------------------------------------------------------------------------------
 */

int tags_load_key(Api *api, Error *error)
{
    const char *path = api->settings.request_key_file;
    if (!path) { /* for tests: tags of this process only */
        random_bytes(api->settings.random, api->request_key, REQUEST_KEY_SIZE);
        return 0;
    }
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    int r = file_read(path, REQUEST_KEY_SIZE + 1, &text, &size);
    if (r == -ENOENT) {
        random_bytes(api->settings.random, api->request_key, REQUEST_KEY_SIZE);
        r = file_write_atomic(path, api->request_key, REQUEST_KEY_SIZE, 0600);
        return r < 0 ? error_set_errno(error, ERROR_IO, -r, "Writing %s", path) : 0;
    }
    if (r < 0 || size != REQUEST_KEY_SIZE)
        return error_set_errno(error, ERROR_IO, r < 0 ? -r : EBADMSG, "Reading the %d bytes of %s",
                               (int)REQUEST_KEY_SIZE, path);
    memcpy(api->request_key, text, REQUEST_KEY_SIZE);
    memory_wipe(text, size);
    return 0;
}

static void add_part(crypto_generichash_state *state, const void *data, size_t size)
{
    uint64_t length = size;
    (void)crypto_generichash_update(state, (const uint8_t *)&length, sizeof(length));
    (void)crypto_generichash_update(state, data, size);
}

void tags_digest(Api *api, const char *purpose, const StoreBlob *parts, size_t count,
                 char ret_hex[static HASH_HEX_SIZE])
{
    uint8_t digest[HASH_SIZE];
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, api->request_key, REQUEST_KEY_SIZE, sizeof(digest));
    add_part(&state, purpose, strlen(purpose));
    for (size_t i = 0; i < count; i++)
        add_part(&state, parts[i].data, parts[i].size);
    (void)crypto_generichash_final(&state, digest, sizeof(digest));
    hex_encode(digest, sizeof(digest), ret_hex);
}

/* Tags
 * -------------------------------------------------------------------------------------------------------------
 */

static void make_tag(ApiCall *call, const ApiRoute *shown, const Buffer *text, char tag[static TAG_TEXT_SIZE])
{
    char hex[HASH_HEX_SIZE];
    const char *tenant = call->tenant ?: "";
    const StoreBlob parts[] = {{(const uint8_t *)tenant, strlen(tenant)},
                               {(const uint8_t *)shown->path, strlen(shown->path)},
                               {text->data, text->size}};
    tags_digest(call->api, "tag", parts, ELEMENTSOF(parts), hex);
    (void)string_print(tag, TAG_TEXT_SIZE, "\"%.*s\"", 2 * TAG_SIZE, hex);
}

/* Whether a list of tags (RFC 9110, 13.1) has this one. A weak tag is as good as a strong one when only
 * reading. */
static bool list_has(const char *list, const char *tag, bool takes_weak)
{
    size_t length = strlen(tag);
    while (*list) {
        list += strspn(list, " \t,");
        bool is_weak = string_starts_with(list, "W/");
        list += is_weak ? 2 : 0;
        if (*list != '"')
            return false; /* not a list of tags */
        const char *end = strchr(list + 1, '"');
        if (!end)
            return false;
        if ((takes_weak || !is_weak) && (size_t)(end - list) + 1 == length && strncmp(list, tag, length) == 0)
            return true;
        list = end + 1;
    }
    return false;
}

static bool condition_holds(const char *condition, const char *tag, bool takes_weak)
{
    return string_equal(condition, "*") ? *tag != '\0' : *tag && list_has(condition, tag, takes_weak);
}

void tags_answer(ApiCall *call)
{
    char tag[TAG_TEXT_SIZE];
    if (!route_shows_object(call->route) || call->status != 200)
        return;
    make_tag(call, call->route, &call->answer, tag);
    http_exchange_set_header(call->exchange, "ETag", tag);
    const char *condition = http_exchange_header(call->exchange, "If-None-Match");
    if (!condition || !condition_holds(condition, tag, true))
        return;
    call->status = 304;
    buffer_clear(&call->answer);
}

int tags_check(ApiCall *call, Error *error)
{
    const char *match = http_exchange_header(call->exchange, "If-Match");
    const char *none_match = http_exchange_header(call->exchange, "If-None-Match");
    if (!match && !none_match)
        return 0;
    if (!call->change->shown)
        return error_set(error, ERROR_PRECONDITION, "What this request changes has no version to compare.");
    _cleanup_buffer_ Buffer text = BUFFER_INIT;
    char tag[TAG_TEXT_SIZE] = "";
    int r = change_view(call, false, &text, error);
    if (r < 0)
        return r;
    if (r == 1)
        make_tag(call, call->change->shown, &text, tag);
    if (match && !condition_holds(match, tag, false))
        return error_set_field(
            error, ERROR_PRECONDITION, "If-Match",
            "The object is not, or no longer, the one that If-Match names: read it again.");
    if (none_match && condition_holds(none_match, tag, true))
        return error_set_field(error, ERROR_PRECONDITION, "If-None-Match",
                               "There is such an object already.");
    return 0;
}
