/* SPDX-License-Identifier: Apache-2.0 */
/* bastide-keeper: the server and its administration. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/string.h"
#include "crypto/start.h"
#include "crypto/x509.h"
#include "custody/keeper_client.h"
#include "keeper/confine.h"
#include "keeper/escrow.h"
#include "keeper/input.h"
#include "keeper/keeper-config.h"
#include "keeper/keeper.h"
#include "keeper/server.h"

#define CONFIG_PATH_DEFAULT BASTIDE_PREFIX "/etc/keeper.conf"
#define CALL_TIMEOUT        (60 * USEC_PER_SEC)

#if defined(__SANITIZE_ADDRESS__)
/* The leak checker attaches to the process, which the keeper forbids; leaks are looked for in the unit tests.
 */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

static int finish(const char *context, const Error *error)
{
    log_error_record(LOG_LEVEL_ERROR, context, error);
    return error_describe(error->code)->exit_status;
}

static int load_config(const ParsedOptions *options, KeeperConfig *config, Error *error)
{
    const char *path = options_get(options, "config");

    return keeper_config_load(path ? path : CONFIG_PATH_DEFAULT, path == NULL, config, error);
}

/* --- run --- */

/* The service manager's socket, connected before system calls are given up; -1 = there is none. */
static int open_notify(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int descriptor = -1;
    socklen_t length;

    if (!path || (path[0] != '/' && path[0] != '@') ||
        string_copy(address.sun_path, sizeof(address.sun_path), path) < 0)
        return -1;
    length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0 || connect(descriptor, (const struct sockaddr *)&address, length) < 0)
        return -1;
    return TAKE_FD(descriptor);
}

static void notify(int descriptor, const char *text)
{
    if (descriptor >= 0)
        (void)!send(descriptor, text, strlen(text), MSG_NOSIGNAL);
}

/* It gets its owner before its name: a set-up that is killed in between leaves nothing that the next one
 * would take for somebody else's. */
static int make_owned_directory(const KeeperConfig *config, Error *error)
{
    _cleanup_free_ char *fresh = string_format("%s.new", config->directory);
    struct stat status;

    if (lstat(config->directory, &status) >= 0)
        return 0;
    if (rmdir(fresh) < 0 && errno != ENOENT)
        return error_set_errno(error, ERROR_IO, errno, "cannot remove %s", fresh);
    if (mkdir(fresh, 0700) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot make %s", fresh);
    if (geteuid() == 0 && lchown(fresh, config->uid, config->gid) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot hand %s over", fresh);
    if (rename(fresh, config->directory) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot make %s", config->directory);
    return 0;
}

/* The directories of the keys and of the socket; what exists is left as it is (and checked by the vault). */
static int make_directories(const KeeperConfig *config, Error *error)
{
    const char *const paths[] = {config->directory, config->socket};

    for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
        _cleanup_free_ char *parent = string_duplicate(paths[i]);
        int r = 0;

        *strrchr(parent, '/') = '\0';
        if (*parent)
            r = directory_make(parent, 0755);
        if (r < 0)
            return error_set_errno(error, ERROR_IO, -r, "cannot make %s", parent);
    }
    return make_owned_directory(config, error);
}

static int open_signals(int *ret_descriptor, Error *error)
{
    sigset_t signals;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot block signals");
    *ret_descriptor = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return *ret_descriptor < 0 ? error_set_errno(error, ERROR_INTERNAL, errno, "no descriptor for signals")
                               : 0;
}

/* The passphrase that the service manager hands over, read while this may still be root; NULL = none. */
static int read_credential(const KeeperConfig *config, Secret **ret_passphrase, Error *error)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    _cleanup_free_ char *path = NULL;

    if (!config->passphrase_credential)
        return 0;
    if (!directory)
        return error_set(error, ERROR_CONFIGURATION,
                         "passphrase_credential needs a service manager that hands over credentials "
                         "(LoadCredentialEncrypted=%s:FILE)",
                         config->passphrase_credential);
    path = path_join(directory, config->passphrase_credential);
    return input_read_passphrase(path, ret_passphrase, error);
}

/* Everything that needs root, then none of it any more. */
static int prepare(const KeeperConfig *config, int *ret_listener, int *ret_signals, Secret **ret_passphrase,
                   Error *error)
{
    bool keeps_capability = false;
    int r = make_directories(config, error);

    if (r >= 0)
        r = confine_process(error);
    if (r >= 0 && crypto_start() < 0)
        r = error_set(error, ERROR_CRYPTO, "the cryptographic libraries do not work");
    if (r >= 0)
        r = open_signals(ret_signals, error);
    if (r >= 0)
        r = confine_memory(config->is_lock_required, &keeps_capability, error);
    if (r >= 0)
        r = read_credential(config, ret_passphrase, error);
    if (r >= 0)
        r = server_listen(config->socket, config->uid, config->manager_gid, ret_listener, error);
    if (r >= 0)
        r = confine_user(config->uid, config->gid, keeps_capability, error);
    return r < 0 ? r : confine_system_calls(error);
}

static int serve(const KeeperConfig *config, Error *error)
{
    _cleanup_close_ int listener = -1, signals = -1, notifier = open_notify();
    _cleanup_keeper_ Keeper *keeper = NULL;
    ServerSettings settings = {.manager_uid = config->manager_uid, .clock = &system_clock};
    _cleanup_secret_ Secret *passphrase = NULL;
    int r = prepare(config, &listener, &signals, &passphrase, error);

    if (r >= 0)
        r = keeper_new(config->directory, &system_clock, &keeper, error);
    if (r >= 0 && passphrase && keeper_state(keeper) == KEEPER_STATE_SEALED)
        r = keeper_unseal(keeper, passphrase, error);
    if (r < 0)
        return r;
    passphrase = secret_free(passphrase);
    settings.listener = listener;
    settings.signals = signals;
    log_notice("version %s, %s, on %s", BASTIDE_VERSION, keeper_state_to_string(keeper_state(keeper)),
               config->socket);
    notify(notifier, "READY=1");
    r = server_run(keeper, &settings, error);
    notify(notifier, "STOPPING=1");
    log_notice("stopped");
    return r;
}

static int verb_run(const ParsedOptions *options, void *context)
{
    _cleanup_(keeper_config_done) KeeperConfig config = {0};
    Error error = ERROR_INIT;
    int r = load_config(options, &config, &error);

    if (r >= 0)
        r = serve(&config, &error);
    return r < 0 ? finish("run", &error) : 0;
}

/* --- administration --- */

typedef struct GivenCa {
    char *certificate;
    Secret *key;
} GivenCa;

static void given_ca_done(GivenCa *ca)
{
    free(ca->certificate);
    (void)secret_free(ca->key);
}

static int read_key_file(const char *path, const Secret *passphrase, Secret **ret_pem, Error *error)
{
    _cleanup_private_key_ PrivateKey *key = NULL;
    char *content = NULL;
    size_t size = 0;
    int r = file_read_private(path, geteuid(), KEY_PEM_LIMIT, &content, &size);

    if (r == -EPERM)
        return error_set(error, ERROR_INSECURE, "%s must be a plain file that only its owner can read", path);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", path);
    r = private_key_from_pem(content, size, passphrase, &key, error);
    memory_wipe(content, size);
    free(content);
    if (r >= 0 && private_key_to_pem(key, ret_pem) < 0)
        r = error_set(error, ERROR_CRYPTO, "the key cannot be written anew");
    return r;
}

static int read_ca(const ParsedOptions *options, GivenCa *ca, Error *error)
{
    const char *certificate = options_get(options, "ca-certificate"), *key = options_get(options, "ca-key"),
               *passphrase_path = options_get(options, "ca-key-passphrase");
    _cleanup_secret_ Secret *passphrase = NULL;
    size_t size;
    int r = 0;

    if (!certificate && !key)
        return 0;
    if (!certificate || !key)
        return error_set(error, ERROR_BAD_REQUEST, "--ca-certificate and --ca-key are given together");
    if (passphrase_path)
        r = input_read_passphrase(passphrase_path, &passphrase, error);
    if (r < 0)
        return r;
    r = file_read(certificate, CHAIN_LIMIT, &ca->certificate, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", certificate);
    return read_key_file(key, passphrase, &ca->key, error);
}

static KeeperClient *open_client(const KeeperConfig *config)
{
    return keeper_client_new(config->socket, CALL_TIMEOUT);
}

static int initialise_offline(const KeeperConfig *config, const char *organisation, const GivenCa *ca,
                              const Secret *passphrase, char **ret_trust, Error *error)
{
    _cleanup_keeper_ Keeper *keeper = NULL;
    int r = make_directories(config, error);

    if (r >= 0)
        r = confine_process(error);
    if (r >= 0)
        r = confine_user(config->uid, config->gid, false, error);
    if (r >= 0)
        r = keeper_new(config->directory, &system_clock, &keeper, error);
    if (r >= 0)
        r = keeper_initialise(keeper, organisation, ca->certificate, ca->key, passphrase, error);
    if (r >= 0)
        *ret_trust = string_duplicate(keeper_trust(keeper));
    return r;
}

static int initialise(const ParsedOptions *options, const KeeperConfig *config, char **ret_trust,
                      Error *error)
{
    const char *organisation = options_get(options, "organisation"),
               *path = options_get(options, "passphrase");
    _cleanup_keeper_client_ KeeperClient *client = NULL;
    _cleanup_(given_ca_done) GivenCa ca = {0};
    _cleanup_secret_ Secret *passphrase = NULL;
    int r = read_ca(options, &ca, error);

    if (r >= 0 && path)
        r = input_read_passphrase(path, &passphrase, error);
    if (r < 0)
        return r;
    organisation = organisation ? organisation : "Bastide";
    client = open_client(config);
    if (keeper_client_connect(client, NULL) < 0)
        return initialise_offline(config, organisation, &ca, passphrase, ret_trust, error);
    return keeper_client_initialise(client, organisation, ca.certificate, ca.key, passphrase, ret_trust,
                                    error);
}

/* The frame of every administration verb. */
static int administer(const ParsedOptions *options,
                      int (*work)(const ParsedOptions *options, const KeeperConfig *config, char **ret_text,
                                  Error *error))
{
    _cleanup_(keeper_config_done) KeeperConfig config = {0};
    _cleanup_free_ char *text = NULL;
    Error error = ERROR_INIT;
    int r = load_config(options, &config, &error);

    if (r >= 0 && crypto_start() < 0)
        r = error_set(&error, ERROR_CRYPTO, "the cryptographic libraries do not work");
    if (r >= 0)
        r = work(options, &config, &text, &error);
    if (r < 0)
        return finish(options_verb(options)->name, &error);
    if (text)
        printf("%s", text);
    return fflush(stdout) == 0 ? 0 : 74;
}

static int verb_init(const ParsedOptions *options, void *context)
{
    return administer(options, initialise);
}

static int show_status(const ParsedOptions *options, const KeeperConfig *config, char **ret_text,
                       Error *error)
{
    _cleanup_keeper_client_ KeeperClient *client = open_client(config);
    KeeperStatus status;
    int r = keeper_client_status(client, &status, error);

    if (r >= 0)
        *ret_text = string_format("state       %s\nversion     %s\ngeneration  %u\nretired     %u\n"
                                  "master key  %s%s\n",
                                  keeper_state_to_string(status.state), status.version, status.generation,
                                  status.retired, status.is_wrapped ? "wrapped" : "in its file",
                                  status.is_rotating ? ", being replaced" : "");
    return r;
}

static int verb_status(const ParsedOptions *options, void *context)
{
    return administer(options, show_status);
}

static int import_ca(const ParsedOptions *options, const KeeperConfig *config, char **ret_text, Error *error)
{
    _cleanup_keeper_client_ KeeperClient *client = open_client(config);
    _cleanup_(given_ca_done) GivenCa ca = {0};
    int r = read_ca(options, &ca, error);

    if (r < 0)
        return r;
    if (!ca.certificate)
        return error_set(error, ERROR_BAD_REQUEST, "--ca-certificate and --ca-key are needed");
    return keeper_client_import_ca(client, ca.certificate, ca.key, ret_text, error);
}

static int verb_import_ca(const ParsedOptions *options, void *context)
{
    return administer(options, import_ca);
}

static int unseal(const ParsedOptions *options, const KeeperConfig *config, char **ret_text, Error *error)
{
    const char *path = options_get(options, "passphrase");
    _cleanup_keeper_client_ KeeperClient *client = open_client(config);
    _cleanup_secret_ Secret *passphrase = NULL;
    int r = input_read_passphrase(path ? path : "-", &passphrase, error);

    return r < 0 ? r : keeper_client_unseal(client, passphrase, error);
}

static int verb_unseal(const ParsedOptions *options, void *context)
{
    return administer(options, unseal);
}

static int seal(const ParsedOptions *options, const KeeperConfig *config, char **ret_text, Error *error)
{
    _cleanup_keeper_client_ KeeperClient *client = open_client(config);

    return keeper_client_seal(client, error);
}

static int verb_seal(const ParsedOptions *options, void *context)
{
    return administer(options, seal);
}

static int rotate(const ParsedOptions *options, const KeeperConfig *config, char **ret_text, Error *error)
{
    _cleanup_keeper_client_ KeeperClient *client = open_client(config);
    uint32_t generation = 0;
    int r = keeper_client_rotate_data_keys(client, &generation, error);

    if (r >= 0)
        *ret_text = string_format("generation  %u\n", generation);
    return r;
}

static int verb_rotate(const ParsedOptions *options, void *context)
{
    return administer(options, rotate);
}

/* --- master key --- */

static int rotate_master(const ParsedOptions *options, const KeeperConfig *config, char **ret_text,
                         Error *error)
{
    const char *path = options_get(options, "passphrase");
    _cleanup_keeper_client_ KeeperClient *client = open_client(config);
    _cleanup_secret_ Secret *passphrase = NULL;
    bool is_left = true;
    int r = path ? input_read_passphrase(path, &passphrase, error) : 0;

    while (r >= 0 && is_left) {
        r = keeper_client_rotate_master(client, passphrase, &is_left, error);
        passphrase = secret_free(passphrase);
    }
    if (r >= 0)
        *ret_text =
            string_duplicate("The master key was replaced. Earlier shares of it are worthless: split the "
                             "new one with 'bastide-keeper escrow'.\n");
    return r;
}

static int verb_rotate_master(const ParsedOptions *options, void *context)
{
    return administer(options, rotate_master);
}

static int read_number(const ParsedOptions *options, const char *name, uint32_t *ret_number, Error *error)
{
    const char *text = options_get(options, name);
    uint64_t number;

    if (!text || string_to_u64(text, KEEPER_SHARES_MAX, &number) < 0 || number < 2)
        return error_set_field(error, ERROR_BAD_REQUEST, name, "--%s is a number from 2 to %d", name,
                               KEEPER_SHARES_MAX);
    *ret_number = (uint32_t)number;
    return 0;
}

static int escrow(const ParsedOptions *options, const KeeperConfig *config, char **ret_text, Error *error)
{
    const char *directory = options_get(options, "output");
    _cleanup_keeper_client_ KeeperClient *client = open_client(config);
    uint32_t threshold = 0, count = 0;
    int r = read_number(options, "shares", &count, error);

    if (r >= 0)
        r = read_number(options, "threshold", &threshold, error);
    if (r >= 0 && !directory)
        r = error_set(error, ERROR_BAD_REQUEST, "--output DIR is needed; it gets one file a share");
    if (r >= 0)
        r = escrow_split(client, threshold, count, directory, error);
    if (r >= 0)
        *ret_text =
            string_format("%u shares in %s; any %u of them give the master key back. Hand each to another "
                          "person, then remove the files.\n",
                          count, directory, threshold);
    return r;
}

static int verb_escrow(const ParsedOptions *options, void *context)
{
    return administer(options, escrow);
}

static int read_shares(const ParsedOptions *options, EscrowShares *shares, Error *error)
{
    const char *path;
    int r = 0;

    for (unsigned i = 0; r >= 0 && (path = options_get_nth(options, "share", i)); i++)
        r = input_read_shares(path, shares->bytes, &shares->count, error);
    if (r >= 0 && shares->count == 0)
        r = error_set(error, ERROR_BAD_REQUEST, "--share FILE is needed, once for each share");
    return r;
}

static int drill(const ParsedOptions *options, const KeeperConfig *config, char **ret_text, Error *error)
{
    _cleanup_keeper_client_ KeeperClient *client = open_client(config);
    _cleanup_(escrow_shares_done) EscrowShares shares = {0};
    int r = read_shares(options, &shares, error);

    if (r >= 0)
        r = keeper_client_check_shares(client, (const uint8_t(*)[KEEPER_SHARE_SIZE])shares.bytes,
                                       shares.count, error);
    if (r >= 0)
        *ret_text =
            string_format("These %zu shares give the master key of %s.\n", shares.count, config->directory);
    return r;
}

static int verb_drill(const ParsedOptions *options, void *context)
{
    return administer(options, drill);
}

static int restore(const ParsedOptions *options, const KeeperConfig *config, char **ret_text, Error *error)
{
    const char *path = options_get(options, "passphrase");
    _cleanup_(escrow_shares_done) EscrowShares shares = {0};
    _cleanup_secret_ Secret *passphrase = NULL;
    int r = read_shares(options, &shares, error);

    if (r >= 0 && path)
        r = input_read_passphrase(path, &passphrase, error);
    if (r >= 0)
        r = confine_process(error);
    if (r >= 0)
        r = confine_user(config->uid, config->gid, false, error);
    if (r >= 0)
        r = escrow_restore(config, &shares, passphrase, error);
    if (r >= 0)
        *ret_text = string_format("The master key of %s is restored; start the keeper.\n", config->directory);
    return r;
}

static int verb_restore(const ParsedOptions *options, void *context)
{
    return administer(options, restore);
}

#define CA_OPTIONS                                                                                           \
    {"ca-certificate", 0, "FILE", "PEM certificate of the authority to use, with its chain", false},         \
        {"ca-key", 0, "FILE", "its private key (PEM, mode 0600)", false},                                    \
    {                                                                                                        \
        "ca-key-passphrase", 0, "FILE", "passphrase of an encrypted key; - is standard input", false         \
    }

static const Option init_options[] = {
    {"organisation", 0, "NAME", "name in the certificates (default: Bastide)", false},
    CA_OPTIONS,
    {"passphrase", 0, "FILE", "wrap the master key with the passphrase in FILE; - is standard input", false},
    {0},
};
static const Option import_options[] = {CA_OPTIONS, {0}};
static const Option unseal_options[] = {
    {"passphrase", 0, "FILE", "read the passphrase from FILE (default: standard input)", false},
    {0},
};
static const Option rotate_master_options[] = {
    {"passphrase", 0, "FILE", "wrap the new master key with the passphrase in FILE; - is standard input",
     false},
    {0},
};
static const Option escrow_options[] = {
    {"shares", 0, "N", "how many shares are made, up to 16", false},
    {"threshold", 0, "M", "how many of them are needed together", false},
    {"output", 0, "DIR", "where the files share-1 to share-N go; made with mode 0700", false},
    {0},
};
static const Option drill_options[] = {
    {"share", 0, "FILE", "a share, or several, one a line; - is standard input", true},
    {0},
};
static const Option restore_options[] = {
    {"share", 0, "FILE", "a share, or several, one a line; - is standard input", true},
    {"passphrase", 0, "FILE", "wrap the master key with the passphrase in FILE", false},
    {0},
};
static const Option no_options[] = {{0}};
static const Option global_options[] = {
    {"config", 'c', "FILE", "configuration (default: " CONFIG_PATH_DEFAULT ")", false},
    {0},
};

static const Verb verbs[] = {
    {"run", "", 0, 0, no_options, "serve",
     "Locks its memory, becomes its user, gives up system calls, opens the keys and answers on the socket.",
     verb_run},
    {"init", "", 0, 0, init_options, "make the keys",
     "Makes the master key, the authorities and the signing keys, once. Asks a running keeper to do it, or "
     "does it itself. Prints the CA certificate.",
     verb_init},
    {"status", "", 0, 0, no_options, "show the state", NULL, verb_status},
    {"import-ca", "", 0, 0, import_options, "use another certificate authority",
     "The earlier ones stay trusted until they expire.", verb_import_ca},
    {"unseal", "", 0, 0, unseal_options, "open a keeper whose master key is wrapped", NULL, verb_unseal},
    {"seal", "", 0, 0, no_options, "forget all keys in memory",
     "Afterwards the keeper answers nothing until it is unsealed or started again.", verb_seal},
    {"rotate", "", 0, 0, no_options, "seal new values under new data keys",
     "The manager seals all earlier values anew by and by; then the old keys are destroyed.", verb_rotate},
    {"rotate-master", "", 0, 0, rotate_master_options, "replace the master key",
     "Moves every file to a new master key, in steps between which the keeper serves. When it was "
     "interrupted, "
     "the same command goes on. Also the way to another passphrase, or to none.",
     verb_rotate_master},
    {"escrow", "", 0, 0, escrow_options, "split the master key among several people",
     "Any M of the N shares give the master key back; fewer tell nothing about it.", verb_escrow},
    {"drill", "", 0, 0, drill_options, "check that shares would give the master key back",
     "Changes nothing. Do it whenever somebody who has a share leaves, and once a year.", verb_drill},
    {"restore", "", 0, 0, restore_options, "bring a lost master key or passphrase back from shares",
     "With the keeper stopped and its directory (without the master key, from a backup) in place.",
     verb_restore},
    {0},
};

static const Program program = {
    .name = "bastide-keeper",
    .summary = "custody of the keys of Bastide",
    .global_options = global_options,
    .verbs = verbs,
};

int main(int argc, char **argv)
{
    log_init("bastide-keeper", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    return program_run(&program, argc, argv, NULL);
}
