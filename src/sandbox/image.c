/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"
#include "sandbox/image_parts.h"

enum { DESCRIPTION_LIMIT = 16384, DIGEST_SHOWN = 16 };

static const char *const kind_names[] = {[IMAGE_TREE] = "tree", [IMAGE_HOST_USR] = "host-usr"};

void image_done(Image *image)
{
    free(image->root);
    *image = (Image){0};
}

static int read_description(const char *directory, json_t **ret_value)
{
    _cleanup_free_ char *path = path_join(directory, "image.json"), *text = NULL;
    size_t size = 0;
    int r = file_read(path, DESCRIPTION_LIMIT, &text, &size);
    return r < 0 ? r : json_parse(text, size, DESCRIPTION_LIMIT, ret_value, NULL);
}

int image_find(const Settings *settings, const char *name, Image *ret_image, Error *error)
{
    if (!name_is_valid(name) || *name == '.')
        return error_set_field(error, ERROR_BAD_FIELD, "image", "image must be a plain name");
    _cleanup_free_ char *link = path_join(settings->images, name);
    _cleanup_free_ char *tree = realpath(link, NULL);
    _cleanup_json_ json_t *description = NULL;
    if (!tree || read_description(tree, &description) < 0)
        return error_set_field(error, ERROR_BAD_REFERENCE, "image",
                               "there is no image %s here; bastide-sandboxd image build %s makes it", name,
                               name);
    const char *kind = json_string_value(json_object_get(description, "kind"));
    const char *digest = json_string_value(json_object_get(description, "digest"));
    Image image = {.root = path_join(tree, "root"),
                   .kind = string_equal(kind, kind_names[IMAGE_HOST_USR]) ? IMAGE_HOST_USR : IMAGE_TREE};
    if (!digest || string_copy(image.digest, sizeof(image.digest), digest) < 0 ||
        access(image.root, F_OK) < 0) {
        image_done(&image);
        return error_set_field(error, ERROR_BAD_REFERENCE, "image", "image %s is damaged; build it again",
                               name);
    }
    *ret_image = image;
    return 0;
}

json_t *image_list(const Settings *settings)
{
    json_t *list = json_array();
    DIR *directory = opendir(settings->images);
    const struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        if (entry->d_name[0] == '.')
            continue;
        _cleanup_free_ char *path = path_join(settings->images, entry->d_name);
        json_t *description = NULL;
        if (read_description(path, &description) >= 0)
            (void)json_array_append_new(list, description);
    }
    if (directory)
        (void)closedir(directory);
    return list;
}

static void digest_of(const char *recipe, char ret_digest[static 65])
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    (void)crypto_hash_sha256(hash, (const unsigned char *)recipe, strlen(recipe));
    hex_encode(hash, sizeof(hash), ret_digest);
}

static int write_description(const char *tree, const char *name, ImageKind kind, const char *digest,
                             const char *recipe)
{
    char now[TIMESTAMP_SIZE];
    timestamp_format(clock_realtime(&system_clock), now);
    _cleanup_json_ json_t *description =
        json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", name, "kind", kind_names[kind], "digest", digest,
                  "built_at", now, "recipe", recipe);
    _cleanup_free_ char *text = json_to_text(description);
    _cleanup_free_ char *path = path_join(tree, "image.json");
    return file_write_atomic(path, text, strlen(text), 0644);
}

/* The link turns in one step. */
static int turn_link(const Settings *settings, const char *name, const char *target)
{
    _cleanup_free_ char *link = path_join(settings->images, name);
    _cleanup_free_ char *fresh = string_format("%s/.link-%s", settings->images, name);
    if ((unlink(fresh) < 0 && errno != ENOENT) || symlink(target, fresh) < 0 || rename(fresh, link) < 0)
        return -errno;
    return file_sync_parent(link);
}

static bool tree_is_used(const Settings *settings, const char *tree)
{
    _cleanup_free_ char *hosts = path_join(settings->state, "hosts");
    bool is_used = false;
    DIR *directory = opendir(hosts);
    const struct dirent *entry;
    while (directory && !is_used && (entry = readdir(directory))) {
        _cleanup_free_ char *path = string_format("%s/%s/host.json", hosts, entry->d_name), *text = NULL;
        size_t size = 0;
        is_used = entry->d_name[0] != '.' && file_read(path, DESCRIPTION_LIMIT, &text, &size) >= 0 &&
                  strstr(text, tree) != NULL;
    }
    if (directory)
        (void)closedir(directory);
    return is_used;
}

static void remove_old_trees(const Settings *settings, const char *trees, const char *name,
                             const char *current)
{
    _cleanup_free_ char *prefix = string_format("%s-", name);
    DIR *directory = opendir(trees);
    const struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        /* NAME-DIGEST, and not the tree of another image whose name goes on. */
        if (!string_starts_with(entry->d_name, prefix) ||
            strlen(entry->d_name) != strlen(prefix) + DIGEST_SHOWN || string_equal(entry->d_name, current) ||
            tree_is_used(settings, entry->d_name))
            continue;
        _cleanup_free_ char *path = path_join(trees, entry->d_name);
        if (directory_remove(path) < 0)
            log_warning("cannot remove the old image tree %s", path);
    }
    if (directory)
        (void)closedir(directory);
}

static int build_into(const Settings *settings, ImageKind kind, const char *root, Error *error)
{
    int r = directory_make(root, 0755);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot make %s", root);
    r = kind == IMAGE_HOST_USR ? image_make_skeleton(root, error) : image_make_debian(settings, root, error);
    return r < 0 ? r : image_finish(root, error);
}

static int publish(const Settings *settings, const char *trees, const char *building, const char *name,
                   const char *digest, Error *error)
{
    _cleanup_free_ char *tree_name = string_format("%s-%.*s", name, DIGEST_SHOWN, digest);
    _cleanup_free_ char *tree = path_join(trees, tree_name);
    _cleanup_free_ char *target = path_join(".trees", tree_name);
    _cleanup_free_ char *aside = string_format("%s/.old-%s", trees, tree_name);
    /* A forced build of the same recipe: hosts that use the old tree must keep it. */
    if (access(tree, F_OK) == 0) {
        if (tree_is_used(settings, tree_name))
            return error_set(error, ERROR_CONFLICT,
                             "hosts use this very image; delete them before it is built again");
        if (rename(tree, aside) < 0)
            return error_set_errno(error, ERROR_IO, errno, "cannot replace %s", tree);
    }
    if (rename(building, tree) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot rename %s", building);
    int r = turn_link(settings, name, target);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot publish image %s", name);
    (void)directory_remove(aside);
    remove_old_trees(settings, trees, name, tree_name);
    return 0;
}

int image_build(const Settings *settings, const char *name, bool is_forced, bool *ret_built, Error *error)
{
    *ret_built = false;
    if (!name_is_valid(name) || *name == '.' || strlen(name) > 100)
        return error_set(error, ERROR_BAD_FIELD,
                         "an image's name has 1 to 100 of A-Z, a-z, 0-9, '_', '.' and '-', and no dot first");
    ImageKind kind = string_equal(name, IMAGE_HOST_USR_NAME) ? IMAGE_HOST_USR : IMAGE_TREE;
    _cleanup_free_ char *trees = path_join(settings->images, ".trees");
    int r = directory_make(trees, 0755);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot make %s", trees);
    _cleanup_free_ char *lock = path_join(settings->images, ".lock");
    _cleanup_close_ int lock_descriptor = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_descriptor < 0 || flock(lock_descriptor, LOCK_EX) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot lock %s", lock);

    _cleanup_free_ char *recipe = NULL;
    char digest[65];
    r = image_recipe(settings, kind, &recipe, error);
    if (r < 0)
        return r;
    digest_of(recipe, digest);
    _cleanup_image_ Image present = {0};
    if (!is_forced && image_find(settings, name, &present, NULL) >= 0 && string_equal(present.digest, digest))
        return 0;

    _cleanup_free_ char *building =
        string_format("%s/.building-%s", trees, name); /* under the lock, so ours */
    _cleanup_free_ char *root = path_join(building, "root");
    (void)directory_remove(building);
    r = build_into(settings, kind, root, error);
    if (r >= 0 && (r = write_description(building, name, kind, digest, recipe)) < 0)
        error_set_errno(error, ERROR_IO, -r, "cannot describe the image");
    if (r >= 0)
        r = publish(settings, trees, building, name, digest, error);
    (void)directory_remove(building);
    *ret_built = r >= 0;
    return MIN(r, 0);
}
