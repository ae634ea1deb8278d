/* SPDX-License-Identifier: Apache-2.0 */
/* ETags. A tag is a keyed digest of what the caller sees, bound to the route and the tenant: it tells nothing
 * about what others see, and equal tags mean equal bytes. The key is sealed by the keeper in the database, so
 * all managers and restarts give the same tags; while the keeper has not opened it there are none. */

#include <errno.h>
#include <sodium.h>

#include "api/api_internal.h"
#include "base/string.h"

enum { TAG_SIZE = 16, TAG_TEXT_SIZE = 2 * TAG_SIZE + 3, KEY_LETTERS = 64 };
static const char KEY_SETTING[] = "request_key", KEY_TENANT[] = "@system",
                  KEY_CONTEXT[] = "settings/request_key";

/* The key
 * ----------------------------------------------------------------------------------------------------------
 */

typedef struct KeySetting {
    char *text; /* base64 of the sealed key; owned */
    bool is_offered;
} KeySetting;

/* Reads the setting; one that is offered is put where there is none. */
static int settle_key(StoreTransaction *transaction, void *context, Error *error)
{
    KeySetting *setting = context;
    int r = 0;
    if (setting->is_offered)
        r = statement_setting_claim(
            transaction, &(SettingClaimParameters){.name = KEY_SETTING, .value = setting->text}, error);
    if (r < 0)
        return r;
    SettingGetRow row;
    r = statement_setting_get(transaction, &(SettingGetParameters){.name = KEY_SETTING}, &row, error);
    if (r <= 0)
        return r;
    free(setting->text);
    setting->text = string_duplicate(row.value);
    return 0;
}

static int offer_key(Api *api, KeeperClient *keeper, KeySetting *setting, Error *error)
{
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT;
    int r = keeper_client_generate_secret(keeper, SEALED_SELF, KEY_TENANT, KEY_CONTEXT, KEY_LETTERS,
                                          SECRET_ALPHANUMERIC, &sealed, error);
    if (r < 0)
        return r;
    setting->text = memory_new(4 * ((sealed.size + 2) / 3) + 1);
    base64_encode(sealed.data, sealed.size, setting->text);
    setting->is_offered = true;
    return store_run(api->settings.store, STORE_WRITE, settle_key, setting, error);
}

static int open_key(Api *api, KeeperClient *keeper, const KeySetting *setting, Error *error)
{
    _cleanup_secret_ Secret *plain = NULL;
    _cleanup_free_ uint8_t *sealed = NULL;
    size_t size;
    if (base64_decode(setting->text, strlen(setting->text), 4096, &sealed, &size) < 0)
        return error_set(error, ERROR_INTERNAL, "The setting '%s' is damaged.", KEY_SETTING);
    int r = keeper_client_open_value(keeper, KEY_TENANT, KEY_CONTEXT, sealed, size, &plain, error);
    if (r < 0)
        return r;
    hash_sha256(secret_bytes(plain), secret_size(plain), api->request_key);
    atomic_store(&api->has_request_key, true);
    return 0;
}

int tags_load_key(Api *api, Error *error)
{
    KeySetting setting = {0};
    int r = store_run(api->settings.store, STORE_READ, settle_key, &setting, error);
    if (r < 0)
        return r;
    KeeperClient *keeper = keeper_take(api, error);
    r = keeper ? 0 : -ECONNREFUSED;
    if (r >= 0 && !setting.text)
        r = offer_key(api, keeper, &setting, error);
    if (r >= 0)
        r = open_key(api, keeper, &setting, error);
    keeper_give(api, keeper);
    free(setting.text);
    return r;
}

static void add_part(crypto_generichash_state *state, const void *data, size_t size)
{
    uint64_t length = size;
    (void)crypto_generichash_update(state, (const uint8_t *)&length, sizeof(length));
    (void)crypto_generichash_update(state, data, size);
}

bool tags_digest(Api *api, const char *purpose, const StoreBlob *parts, size_t count,
                 char ret_hex[static HASH_HEX_SIZE])
{
    if (!atomic_load(&api->has_request_key))
        return false;
    uint8_t digest[HASH_SIZE];
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, api->request_key, REQUEST_KEY_SIZE, sizeof(digest));
    add_part(&state, purpose, strlen(purpose));
    for (size_t i = 0; i < count; i++)
        add_part(&state, parts[i].data, parts[i].size);
    (void)crypto_generichash_final(&state, digest, sizeof(digest));
    hex_encode(digest, sizeof(digest), ret_hex);
    return true;
}

/* Tags
 * -------------------------------------------------------------------------------------------------------------
 */

static bool make_tag(ApiCall *call, const ApiRoute *shown, const Buffer *text, char tag[static TAG_TEXT_SIZE])
{
    char hex[HASH_HEX_SIZE];
    const char *tenant = call->tenant ?: "";
    const StoreBlob parts[] = {{(const uint8_t *)tenant, strlen(tenant)},
                               {(const uint8_t *)shown->path, strlen(shown->path)},
                               {text->data, text->size}};
    if (!tags_digest(call->api, "tag", parts, ELEMENTSOF(parts), hex))
        return false;
    (void)string_print(tag, TAG_TEXT_SIZE, "\"%.*s\"", 2 * TAG_SIZE, hex);
    return true;
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
    if (!route_shows_object(call->route) || call->status != 200 ||
        !make_tag(call, call->route, &call->answer, tag))
        return;
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
    if (r == 1 && !make_tag(call, call->change->shown, &text, tag))
        return error_set(error, ERROR_UNAVAILABLE,
                         "Versions cannot be compared now: the keeper has not answered yet.");
    if (match && !condition_holds(match, tag, false))
        return error_set_field(
            error, ERROR_PRECONDITION, "If-Match",
            "The object is not, or no longer, the one that If-Match names: read it again.");
    if (none_match && condition_holds(none_match, tag, true))
        return error_set_field(error, ERROR_PRECONDITION, "If-None-Match",
                               "There is such an object already.");
    return 0;
}
