/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/server.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/string.h"

typedef struct Connection {
    int descriptor;
    KeeperCaller caller;
    Buffer in, out; /* one frame each; wiped when done with */
    size_t sent;
    Usec deadline;   /* of the frame or answer under way; 0 = idle */
    bool is_closing; /* after the answer */
} Connection;

typedef struct Server {
    Keeper *keeper;
    const ServerSettings *settings;
    Connection *connections[SERVER_CONNECTIONS_MAX];
    size_t count;
} Server;

/* --- socket --- */

static int try_bind(int descriptor, const struct sockaddr_un *address)
{
    _cleanup_close_ int probe = -1;
    struct stat status;

    if (bind(descriptor, (const struct sockaddr *)address, sizeof(*address)) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -errno;
    if (lstat(address->sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return -EEXIST;
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return -errno;
    if (connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno != ECONNREFUSED)
        return -EADDRINUSE;
    if (unlink(address->sun_path) < 0)
        return -errno;
    return bind(descriptor, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
}

int server_listen(const char *path, uid_t uid, gid_t gid, int *ret_descriptor, Error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask;
    int r;

    if (descriptor < 0)
        return error_set_errno(error, ERROR_IO, errno, "no socket");
    if (string_copy(address.sun_path, sizeof(address.sun_path), path) < 0)
        return error_set(error, ERROR_CONFIGURATION, "the socket's path is too long: %s", path);
    mask = umask(0177); /* nobody gets in before owner and mode are right */
    r = try_bind(descriptor, &address);
    (void)umask(mask);
    if (r < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, -r, "cannot listen on %s", path);
    if (geteuid() == 0 && lchown(path, uid, gid) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot hand %s over", path);
    if (chmod(path, 0660) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot set the mode of %s", path);
    if (listen(descriptor, SERVER_CONNECTIONS_MAX) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot listen on %s", path);
    *ret_descriptor = TAKE_FD(descriptor);
    return 0;
}

/* --- connections --- */

static Connection *connection_free(Connection *connection)
{
    close_pointer(&connection->descriptor);
    buffer_wipe(&connection->in);
    buffer_wipe(&connection->out);
    free(connection);
    return NULL;
}

static void reset_input(Connection *connection)
{
    buffer_wipe(&connection->in);
}

static void reset_output(Connection *connection)
{
    buffer_wipe(&connection->out);
    connection->sent = 0;
}

/* Negative: close. */
static int flush(Connection *connection)
{
    while (connection->sent < connection->out.size) {
        ssize_t count = send(connection->descriptor, connection->out.data + connection->sent,
                             connection->out.size - connection->sent, MSG_NOSIGNAL);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == EAGAIN ? 0 : -errno;
        connection->sent += (size_t)count;
    }
    reset_output(connection);
    connection->deadline = 0;
    return connection->is_closing ? -ESHUTDOWN : 0;
}

static int handle_frame(Server *server, Connection *connection)
{
    /* In one piece, so that growing leaves no copy of a plaintext behind. */
    int r = buffer_reserve(&connection->out, connection->in.size + 4096);

    if (r >= 0)
        r = keeper_handle(server->keeper, &connection->caller, connection->in.data, connection->in.size,
                          &connection->out);
    reset_input(connection);
    connection->deadline = clock_monotonic(server->settings->clock) + SERVER_DEADLINE;
    if (r < 0)
        connection->is_closing = true;
    return flush(connection);
}

/* How many bytes the input must have before something can be done; negative: close. */
static ssize_t bytes_wanted(const Connection *connection)
{
    return connection->in.size < 4 ? 4 : keeper_frame_size(connection->in.data);
}

static int receive(Server *server, Connection *connection)
{
    for (;;) {
        ssize_t wanted = bytes_wanted(connection), count;
        size_t missing;

        if (wanted < 0)
            return (int)wanted;
        if ((size_t)wanted == connection->in.size)
            return handle_frame(server, connection);
        missing = (size_t)wanted - connection->in.size;
        if (buffer_reserve(&connection->in, missing) < 0)
            return -ENOMEM;
        count = recv(connection->descriptor, connection->in.data + connection->in.size, missing, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == EAGAIN ? 0 : -errno;
        if (count == 0)
            return -ECONNRESET;
        if (connection->in.size == 0)
            connection->deadline = clock_monotonic(server->settings->clock) + SERVER_DEADLINE;
        connection->in.size += (size_t)count;
    }
}

/* --- accepting --- */

static void refuse(int descriptor, ErrorCode code, const char *text)
{
    _cleanup_buffer_ Buffer reply = BUFFER_INIT;

    if (keeper_append_error(&reply, 0, code, text) >= 0)
        (void)!send(descriptor, reply.data, reply.size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static KeeperPeer classify(const Server *server, const struct ucred *credentials)
{
    if (credentials->uid == 0)
        return KEEPER_PEER_ROOT;
    return credentials->uid == server->settings->manager_uid ? KEEPER_PEER_MANAGER : KEEPER_PEER_NONE;
}

static void add_connection(Server *server, int descriptor, const struct ucred *credentials, KeeperPeer peer)
{
    Connection *connection = NEW(Connection);

    connection->descriptor = descriptor;
    connection->caller = (KeeperCaller){.peer = peer, .uid = credentials->uid, .pid = credentials->pid};
    connection->in = BUFFER_INIT_SECRET(KEEPER_FRAME_LIMIT + 16);
    connection->out = BUFFER_INIT_SECRET(KEEPER_FRAME_LIMIT + 16);
    server->connections[server->count++] = connection;
}

static void accept_one(Server *server, int descriptor)
{
    struct ucred credentials;
    socklen_t length = sizeof(credentials);
    size_t maximum = SERVER_CONNECTIONS_MAX;
    KeeperPeer peer;

    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0 ||
        length != sizeof(credentials)) {
        (void)close(descriptor);
        return;
    }
    peer = classify(server, &credentials);
    if (peer != KEEPER_PEER_ROOT)
        maximum -= SERVER_ROOT_RESERVED; /* an administrator always gets in */
    if (peer == KEEPER_PEER_NONE) {
        log_warning("uid %u, pid %d was refused", credentials.uid, credentials.pid);
        refuse(descriptor, ERROR_FORBIDDEN, "the keeper answers root and the manager only");
    } else if (server->count >= maximum)
        refuse(descriptor, ERROR_BUSY, "the keeper has too many connections");
    else {
        add_connection(server, descriptor, &credentials, peer);
        return;
    }
    (void)close(descriptor);
}

static void accept_all(Server *server)
{
    for (;;) {
        int descriptor = accept4(server->settings->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (descriptor < 0 && errno == EINTR)
            continue;
        if (descriptor < 0)
            return;
        accept_one(server, descriptor);
    }
}

/* --- loop --- */

static int next_timeout(const Server *server, Usec now)
{
    Usec next = now + 60 * USEC_PER_SEC;

    for (size_t i = 0; i < server->count; i++)
        if (server->connections[i]->deadline > 0)
            next = MIN(next, server->connections[i]->deadline);
    return next <= now ? 0 : (int)((next - now) / USEC_PER_MSEC + 1);
}

static int serve(Server *server, Connection *connection, short events)
{
    Usec now = clock_monotonic(server->settings->clock);

    if (connection->deadline > 0 && now >= connection->deadline)
        return -ETIMEDOUT;
    if (connection->out.size > 0)
        return events & (POLLOUT | POLLERR | POLLHUP) ? flush(connection) : 0;
    return events & (POLLIN | POLLERR | POLLHUP) ? receive(server, connection) : 0;
}

static void serve_all(Server *server, const struct pollfd *items)
{
    size_t kept = 0, count = server->count;

    for (size_t i = 0; i < count; i++) {
        Connection *connection = server->connections[i];

        if (serve(server, connection, items[i].revents) < 0)
            (void)connection_free(connection);
        else
            server->connections[kept++] = connection;
    }
    server->count = kept;
}

static int turn(Server *server, bool *ret_is_over)
{
    struct pollfd items[SERVER_CONNECTIONS_MAX + 2];
    size_t count = server->count;

    for (size_t i = 0; i < count; i++)
        items[i] = (struct pollfd){.fd = server->connections[i]->descriptor,
                                   .events = server->connections[i]->out.size > 0 ? POLLOUT : POLLIN};
    items[count] = (struct pollfd){.fd = server->settings->listener, .events = POLLIN};
    items[count + 1] = (struct pollfd){.fd = server->settings->signals, .events = POLLIN};
    if (poll(items, (nfds_t)(count + 2), next_timeout(server, clock_monotonic(server->settings->clock))) < 0)
        return errno == EINTR ? 0 : -errno;
    *ret_is_over = items[count + 1].revents & POLLIN;
    serve_all(server, items);
    if (items[count].revents & POLLIN)
        accept_all(server);
    return 0;
}

int server_run(Keeper *keeper, const ServerSettings *settings, Error *error)
{
    Server server = {.keeper = keeper, .settings = settings};
    bool is_over = false;
    int r = 0;

    while (r >= 0 && !is_over)
        r = turn(&server, &is_over);
    for (size_t i = 0; i < server.count; i++)
        (void)connection_free(server.connections[i]);
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "the keeper's loop failed") : 0;
}
