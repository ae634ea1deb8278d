/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/admin_socket.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/string.h"

enum { REQUEST_LIMIT = 4096, LIFE_MAX_SECONDS = 3600 };

struct AdminSocket {
    Api *api;
    int descriptor;
    char *path;
    sd_event_source *source;
};

static int fill_address(const char *path, struct sockaddr_un *address, Error *error)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (string_copy(address->sun_path, sizeof(address->sun_path), path) < 0)
        return error_set(error, ERROR_CONFIGURATION, "The path of the socket is too long: %s", path);
    return 0;
}

typedef struct AdminRequest {
    const char *op, *username, *reason;
    int64_t life_seconds;
} AdminRequest;

static const JsonField request_fields[] = {
    {"op", JSON_FIELD_STRING, offsetof(AdminRequest, op), JSON_FIELD_REQUIRED, 1, 16,
     "token, accept-restore or ping"},
    {"username", JSON_FIELD_STRING, offsetof(AdminRequest, username), JSON_FIELD_IDENTIFIER, 1, 255,
     "account"},
    {"reason", JSON_FIELD_STRING, offsetof(AdminRequest, reason), 0, 1, 1024,
     "of accepting a restored database"},
    {"life_seconds", JSON_FIELD_INTEGER, offsetof(AdminRequest, life_seconds), 0, 1, LIFE_MAX_SECONDS,
     "of the token"},
    {0},
};

static int answer(AdminSocket *admin, const char *line, size_t size, Buffer *out, Error *error)
{
    _cleanup_json_ json_t *document = NULL;
    AdminRequest request = {.life_seconds = 900};
    int r = json_parse(line, size, REQUEST_LIMIT, &document, error);
    if (r >= 0)
        r = json_dispatch(document, request_fields, &request, "", JSON_UNKNOWN_ERROR, NULL, error);
    if (r < 0)
        return r;
    if (string_equal(request.op, "ping"))
        return buffer_append_string(out, "{\"version\":\"" BASTIDE_VERSION "\"}\n");
    if (string_equal(request.op, "accept-restore") && request.reason) {
        r = api_admin_accept_restore(admin->api, request.reason, error);
        return r < 0 ? r : buffer_append_string(out, "{\"value\":\"accepted\"}\n");
    }
    if (!string_equal(request.op, "token") || !request.username)
        return error_set(error, ERROR_BAD_REQUEST, "The requests are token, accept-restore and ping.");
    _cleanup_free_ char *token = NULL;
    r = api_admin_token(admin->api, request.username, (Usec)request.life_seconds * USEC_PER_SEC, &token,
                        error);
    if (r >= 0)
        r = buffer_append_format(out, "{\"value\":\"%s\"}\n", token);
    if (token)
        memory_wipe(token, strlen(token));
    return r;
}

/* The caller is local and trusted; it gets a second to send its one line. */
static void serve(AdminSocket *admin, int connection)
{
    struct timeval timeout = {.tv_sec = 1};
    (void)setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    (void)setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    char line[REQUEST_LIMIT];
    ssize_t size = recv(connection, line, sizeof(line), 0);
    if (size <= 0)
        return;
    Error error = ERROR_INIT;
    Buffer out = BUFFER_INIT;
    if (answer(admin, line, (size_t)size, &out, &error) < 0) {
        buffer_clear(&out);
        (void)buffer_append_string(&out, "{\"error\":");
        (void)buffer_append_json_string(&out, error.text, strlen(error.text));
        (void)buffer_append_string(&out, "}\n");
    }
    (void)write_full(connection, out.data, out.size);
    buffer_wipe(&out);
}

static int on_connection(sd_event_source *source, int descriptor, uint32_t events, void *userdata)
{
    (void)source;
    (void)events;
    _cleanup_close_ int connection = accept4(descriptor, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0)
        return 0;
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        (peer.uid != 0 && peer.uid != getuid())) {
        log_warning("Refused a caller of the administration socket.");
        return 0;
    }
    serve(userdata, connection);
    return 0;
}

int admin_socket_new(sd_event *event, const char *path, Api *api, AdminSocket **ret_socket, Error *error)
{
    struct sockaddr_un address;
    int r = fill_address(path, &address, error);
    if (r < 0)
        return r;
    _cleanup_(admin_socket_free_pointer) AdminSocket *admin = NEW(AdminSocket);
    admin->api = api;
    admin->path = string_duplicate(path);
    admin->descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (admin->descriptor < 0)
        return error_set_errno(error, ERROR_IO, errno, "Making a socket");
    (void)unlink(path);
    mode_t mask = umask(0177);
    r = bind(admin->descriptor, (struct sockaddr *)&address, sizeof(address));
    (void)umask(mask);
    if (r < 0 || listen(admin->descriptor, 8) < 0)
        return error_set_errno(error, ERROR_IO, errno, "Listening on %s", path);
    r = sd_event_add_io(event, &admin->source, admin->descriptor, EPOLLIN, on_connection, admin);
    if (r < 0)
        return error_set_errno(error, ERROR_INTERNAL, -r, "Watching %s", path);
    *ret_socket = TAKE_PTR(admin);
    return 0;
}

AdminSocket *admin_socket_free(AdminSocket *admin)
{
    if (!admin)
        return NULL;
    sd_event_source_disable_unref(admin->source);
    if (admin->descriptor >= 0) {
        (void)close(admin->descriptor);
        (void)unlink(admin->path);
    }
    free(admin->path);
    free(admin);
    return NULL;
}

int admin_socket_ask(const char *path, const char *request, char **ret_answer, Error *error)
{
    struct sockaddr_un address;
    int r = fill_address(path, &address, error);
    if (r < 0)
        return r;
    _cleanup_close_ int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_set_errno(error, ERROR_UNAVAILABLE, errno, "The manager does not answer at %s", path);
    struct timeval timeout = {.tv_sec = 10};
    (void)setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    r = write_full(connection, request, strlen(request));
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "Asking the manager");
    char line[REQUEST_LIMIT];
    ssize_t size = read_full(connection, line, sizeof(line) - 1);
    if (size <= 0)
        return error_set(error, ERROR_PROTOCOL, "The manager gave no answer.");
    line[size] = '\0';
    *ret_answer = string_duplicate(line);
    memory_wipe(line, sizeof(line));
    return 0;
}
