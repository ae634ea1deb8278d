/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/string.h"
#include "crypto/x509.h"

enum { FILE_LIMIT = 256 * 1024, PROFILES_MAX = 200 };

struct Profiles {
    char *directory, *path;
    json_t *document; /* {"current", "profiles": {name: {...}}} */
};

typedef struct FileFields {
    const char *current;
    json_t *profiles;
} FileFields;

static const JsonField file_fields[] = {
    {"current", JSON_FIELD_STRING, offsetof(FileFields, current), JSON_FIELD_NAME, 1, 64, NULL},
    {"profiles", JSON_FIELD_OBJECT, offsetof(FileFields, profiles), JSON_FIELD_REQUIRED, 0, 0, NULL},
    {0},
};

typedef struct ProfileFields {
    const char *url, *user, *tenant, *ca_file, *token_id, *expires_at, *token;
} ProfileFields;

static const JsonField profile_fields[] = {
    {"url", JSON_FIELD_STRING, offsetof(ProfileFields, url), 0, 1, 2048, NULL},
    {"user", JSON_FIELD_STRING, offsetof(ProfileFields, user), 0, 1, 255, NULL},
    {"tenant", JSON_FIELD_STRING, offsetof(ProfileFields, tenant), JSON_FIELD_IDENTIFIER, 1, 255, NULL},
    {"ca_file", JSON_FIELD_STRING, offsetof(ProfileFields, ca_file), 0, 1, 4096, NULL},
    {"token_id", JSON_FIELD_STRING, offsetof(ProfileFields, token_id), 0, 1, 64, NULL},
    {"expires_at", JSON_FIELD_STRING, offsetof(ProfileFields, expires_at), 0, 1, 40, NULL},
    {"token", JSON_FIELD_STRING, offsetof(ProfileFields, token), JSON_FIELD_SECRET, 1, 256, NULL},
    {0},
};

void profile_done(Profile *profile)
{
    free(profile->name);
    free(profile->url);
    free(profile->user);
    free(profile->tenant);
    free(profile->ca_file);
    free(profile->token_id);
    free(profile->expires_at);
    secret_free(profile->token);
    *profile = (Profile){0};
}

static char *own_directory(void)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && config[0] == '/')
        return path_join(config, "bastide");
    if (!home || home[0] != '/') {
        const struct passwd *entry = getpwuid(geteuid());
        home = entry ? entry->pw_dir : "/";
    }
    _cleanup_free_ char *fallback = path_join(home, ".config");
    return path_join(fallback, "bastide");
}

static int bad_file(const Profiles *profiles, const Error *cause, Error *error)
{
    return error_set(error, ERROR_CONFIGURATION, "%s is damaged (%s%s%s); move it away and sign in again",
                     profiles->path, cause->text, *cause->field ? ", in " : "", cause->field);
}

static int check_document(const Profiles *profiles, Error *error)
{
    Error cause = ERROR_INIT;
    FileFields file = {0};
    const char *name;
    json_t *value;
    if (!json_is_object(profiles->document)) {
        (void)error_set(&cause, ERROR_BAD_DOCUMENT, "not an object");
        return bad_file(profiles, &cause, error);
    }
    if (json_dispatch(profiles->document, file_fields, &file, "", JSON_UNKNOWN_ERROR, NULL, &cause) < 0)
        return bad_file(profiles, &cause, error);
    json_object_foreach (file.profiles, name, value) {
        ProfileFields fields = {0};
        if (!name_is_valid(name) || !json_is_object(value))
            (void)error_set_field(&cause, ERROR_BAD_FIELD, "profiles", "a profile has no good name or shape");
        else
            (void)json_dispatch(value, profile_fields, &fields, "profiles", JSON_UNKNOWN_ERROR, NULL, &cause);
        if (error_is_set(&cause))
            return bad_file(profiles, &cause, error);
    }
    return 0;
}

static int read_document(Profiles *profiles, Error *error)
{
    char *text;
    size_t size;
    int r = file_read_private(profiles->path, geteuid(), FILE_LIMIT, &text, &size);
    if (r == -ENOENT) {
        profiles->document = json_pack("{s:{}}", "profiles");
        return 0;
    }
    if (r == -EPERM)
        return error_set(error, ERROR_INSECURE,
                         "%s holds tokens, but others can read it or it is not yours: chmod 600 it, sign out "
                         "and in again",
                         profiles->path);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", profiles->path);
    Error cause = ERROR_INIT;
    r = json_parse(text, size, FILE_LIMIT, &profiles->document, &cause);
    memory_wipe(text, size);
    free(text);
    return r < 0 ? bad_file(profiles, &cause, error) : check_document(profiles, error);
}

int profiles_open(const char *directory, Profiles **ret_profiles, Error *error)
{
    _cleanup_profiles_ Profiles *profiles = NEW(Profiles);
    profiles->directory = directory ? string_duplicate(directory) : own_directory();
    profiles->path = path_join(profiles->directory, "profiles.json");
    int r = read_document(profiles, error);
    if (r < 0)
        return r;
    *ret_profiles = TAKE_PTR(profiles);
    return 0;
}

static json_t *entries(const Profiles *profiles)
{
    return json_object_get(profiles->document, "profiles");
}

/* jansson frees without wiping; a token is wiped first. */
static void wipe_token(const json_t *entry)
{
    const json_t *token = json_object_get(entry, "token");
    if (json_is_string(token))
        memory_wipe((void *)(uintptr_t)json_string_value(token), json_string_length(token));
}

Profiles *profiles_free(Profiles *profiles)
{
    const char *name;
    json_t *value;
    if (!profiles)
        return NULL;
    json_object_foreach (entries(profiles), name, value)
        wipe_token(value);
    json_decref(profiles->document);
    free(profiles->directory);
    free(profiles->path);
    free(profiles);
    return NULL;
}

const char *profiles_directory(const Profiles *profiles)
{
    return profiles->directory;
}

const char *profiles_current(const Profiles *profiles)
{
    const char *chosen = getenv("BASTIDE_PROFILE");
    if (string_is_empty(chosen))
        chosen = json_string_value(json_object_get(profiles->document, "current"));
    return string_is_empty(chosen) ? "default" : chosen;
}

void profiles_set_current(Profiles *profiles, const char *name)
{
    (void)json_object_set_new(profiles->document, "current", json_string(name));
}

void profiles_names(const Profiles *profiles, StringList *ret_names)
{
    const char *name;
    json_t *value;
    json_object_foreach (entries(profiles), name, value)
        string_list_append(ret_names, name);
    string_list_sort(ret_names);
}

bool profiles_has(const Profiles *profiles, const char *name)
{
    return json_object_get(entries(profiles), name) != NULL;
}

void profiles_get(const Profiles *profiles, const char *name, Profile *ret_profile)
{
    ProfileFields fields = {0};
    json_t *entry = json_object_get(entries(profiles), name);
    if (entry) /* was checked when it was read */
        (void)json_dispatch(entry, profile_fields, &fields, "", JSON_UNKNOWN_IGNORE, NULL, NULL);
    *ret_profile = (Profile){
        .name = string_duplicate(name),
        .url = string_duplicate(fields.url),
        .user = string_duplicate(fields.user),
        .tenant = string_duplicate(fields.tenant),
        .ca_file = string_duplicate(fields.ca_file),
        .token_id = string_duplicate(fields.token_id),
        .expires_at = string_duplicate(fields.expires_at),
        .token = fields.token ? secret_new(fields.token, strlen(fields.token)) : NULL,
    };
}

static void put_text(json_t *entry, const char *name, const char *value)
{
    if (!string_is_empty(value))
        (void)json_object_set_new(entry, name, json_string(value));
}

void profiles_put(Profiles *profiles, const Profile *profile)
{
    json_t *entry = json_object();
    put_text(entry, "url", profile->url);
    put_text(entry, "user", profile->user);
    put_text(entry, "tenant", profile->tenant);
    put_text(entry, "ca_file", profile->ca_file);
    put_text(entry, "token_id", profile->token_id);
    put_text(entry, "expires_at", profile->expires_at);
    if (profile->token)
        (void)json_object_set_new(
            entry, "token",
            json_stringn((const char *)secret_bytes(profile->token), secret_size(profile->token)));
    wipe_token(json_object_get(entries(profiles), profile->name));
    (void)json_object_set_new(entries(profiles), profile->name, entry);
}

static char *ca_path(const Profiles *profiles, const char *name)
{
    _cleanup_free_ char *file = string_format("%s.ca.pem", name);
    return path_join(profiles->directory, file);
}

bool profiles_remove(Profiles *profiles, const char *name)
{
    _cleanup_free_ char *path = ca_path(profiles, name);
    wipe_token(json_object_get(entries(profiles), name));
    if (json_object_del(entries(profiles), name) < 0)
        return false;
    if (string_equal(json_string_value(json_object_get(profiles->document, "current")), name))
        (void)json_object_del(profiles->document, "current");
    (void)unlink(path);
    return true;
}

/* Ours, and closed to others. */
static int prepare_directory(const Profiles *profiles, Error *error)
{
    struct stat state;
    int r = directory_make(profiles->directory, 0700);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot make %s", profiles->directory);
    if (stat(profiles->directory, &state) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot look at %s", profiles->directory);
    if (state.st_uid != geteuid())
        return error_set(error, ERROR_INSECURE, "%s belongs to somebody else; tokens are not kept there",
                         profiles->directory);
    if ((state.st_mode & 077) != 0 && chmod(profiles->directory, 0700) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot close %s to others", profiles->directory);
    return 0;
}

int profiles_save(Profiles *profiles, Error *error)
{
    if (json_object_size(entries(profiles)) > PROFILES_MAX)
        return error_set(error, ERROR_TOO_LARGE, "there may be %d profiles", PROFILES_MAX);
    int r = prepare_directory(profiles, error);
    if (r < 0)
        return r;
    char *text = json_dumps(profiles->document, JSON_INDENT(2));
    if (!text)
        return error_set(error, ERROR_INTERNAL, "the profiles cannot be written");
    r = file_write_atomic(profiles->path, text, strlen(text), 0600);
    memory_wipe(text, strlen(text));
    free(text);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write %s", profiles->path) : 0;
}

int profiles_store_ca(Profiles *profiles, Profile *profile, const char *pem, Error *error)
{
    if (chain_count(pem, strlen(pem)) < 1)
        return error_set(error, ERROR_BAD_DOCUMENT, "this is not a PEM file of certificates");
    int r = prepare_directory(profiles, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = ca_path(profiles, profile->name);
    r = file_write_atomic(path, pem, strlen(pem), 0600);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot write %s", path);
    free(profile->ca_file);
    profile->ca_file = TAKE_PTR(path);
    return 0;
}
