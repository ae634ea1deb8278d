/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A real bastide-keeper in a temporary directory: started as root it becomes user KEEPER_UID; the manager is
 * MANAGER_UID. A client gets its identity when it connects, so a test connects under another effective user
 * and goes on as before. The numbers belong to nobody. These tests need root. */

#include <signal.h>
#include <time.h>

#include "../crypto/run.h"
#include "base/clock.h"
#include "custody/keeper_client.h"

enum { KEEPER_UID = 61234, MANAGER_UID = 61235, STRANGER_UID = 61236 };

typedef struct Site {
    char *directory, *config, *socket, *keys;
    pid_t pid; /* 0 = not running */
} Site;

static inline void site_write_config(const Site *site, const char *more)
{
    _cleanup_free_ char *text =
        string_format("[keeper]\ndirectory = %s\nsocket = %s\nuser = %d\nmanager_user = %d\n%s", site->keys,
                      site->socket, KEEPER_UID, MANAGER_UID, more);

    write_file(site->directory, "keeper.conf", text);
}

static inline Site *site_new(void)
{
    Site *site = NEW(Site);

    assert_int_equal(geteuid(), 0);
    site->directory = temporary_directory();
    assert_int_equal(chmod(site->directory, 0755), 0);
    site->config = path_join(site->directory, "keeper.conf");
    site->socket = path_join(site->directory, "keeper.sock");
    site->keys = path_join(site->directory, "keys");
    site_write_config(site, "");
    return site;
}

static inline int site_stop(Site *site, int signal_number)
{
    int status = 0;

    if (site->pid == 0)
        return 0;
    assert_int_equal(kill(site->pid, signal_number), 0);
    assert_int_equal(waitpid(site->pid, &status, 0), site->pid);
    site->pid = 0;
    return status;
}

static inline void site_free(Site **site)
{
    if (!*site)
        return;
    if ((*site)->pid > 0) {
        (void)kill((*site)->pid, SIGKILL);
        (void)waitpid((*site)->pid, NULL, 0);
    }
    temporary_directory_done(&(*site)->directory);
    free((*site)->config);
    free((*site)->socket);
    free((*site)->keys);
    free(*site);
}
#define _cleanup_site_ _cleanup_(site_free)

static inline void nap(long milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};

    (void)nanosleep(&time, NULL);
}

static inline pid_t spawn_logged(const Site *site, const char *const *arguments)
{
    _cleanup_free_ char *log = path_join(site->directory, "output");
    posix_spawn_file_actions_t actions;
    pid_t pid;

    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600),
                     0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, 1, 2), 0);
    assert_int_equal(
        posix_spawnp(&pid, arguments[0], &actions, NULL, (char *const *)(uintptr_t)arguments, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static inline void become(uid_t uid)
{
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(setegid(uid), 0);
    assert_int_equal(seteuid(uid), 0);
}

/* A client that the keeper takes for this user; not connected when nobody listens or the user may not. */
static inline KeeperClient *client_as(const Site *site, uid_t uid)
{
    KeeperClient *client = keeper_client_new(site->socket, 10 * USEC_PER_SEC);

    become(uid);
    (void)keeper_client_connect(client, NULL);
    become(0);
    return client;
}

static inline void wait_until_served(Site *site)
{
    for (int i = 0; i < 1000; i++) {
        _cleanup_keeper_client_ KeeperClient *client = client_as(site, 0);
        KeeperStatus status;

        if (keeper_client_status(client, &status, NULL) >= 0)
            return;
        if (waitpid(site->pid, NULL, WNOHANG) == site->pid) {
            _cleanup_free_ char *output = read_file(site->directory, "output");

            site->pid = 0;
            fail_msg("the keeper ended: %s", output);
        }
        nap(10);
    }
    fail_msg("the keeper does not answer");
}

static inline void site_start(Site *site)
{
    const char *const arguments[] = {KEEPER_PROGRAM, "--config", site->config, "run", NULL};

    site->pid = spawn_logged(site, arguments);
    wait_until_served(site);
}

static inline void site_init(const Site *site)
{
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "init", "--organisation", "Test");
}

/* Initialised and running. */
static inline Site *site_open(void)
{
    Site *site = site_new();

    site_init(site);
    site_start(site);
    return site;
}

/* For calls that must succeed: CHECK(keeper_client_x(..., &error)). */
#define CHECK(call)                                                                                          \
    do {                                                                                                     \
        Error error = ERROR_INIT;                                                                            \
        if ((call) < 0)                                                                                      \
            fail_msg("%s: %s", #call, error.text);                                                           \
    } while (0)
/* For calls that must fail with this code. */
#define REFUSED(expected, call)                                                                              \
    do {                                                                                                     \
        Error error = ERROR_INIT;                                                                            \
        assert_true((call) < 0);                                                                             \
        if (error.code != (expected))                                                                        \
            fail_msg("%s: %s: %s", #call, error_describe(error.code)->name, error.text);                     \
    } while (0)
