/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and certificates, checked against the openssl program and in a TLS handshake. */

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "crypto/start.h"
#include "crypto/x509.h"
#include "run.h"

#define DAY (86400 * USEC_PER_SEC)

typedef struct Node {
    PrivateKey *key;
    Certificate *certificate;
    char *pem;
    char serial[SERIAL_HEX_SIZE];
} Node;

static void node_done(Node *node)
{
    (void)private_key_free(node->key);
    (void)certificate_free(node->certificate);
    free(node->pem);
}
#define _cleanup_node_ _cleanup_(node_done)

static void make_node(Node *node, const Node *issuer, CertificateTemplate template)
{
    _cleanup_free_ uint8_t *spki = NULL;
    Usec now = clock_realtime(&system_clock);
    Error error = ERROR_INIT;
    int r;

    assert_int_equal(private_key_generate(KEY_P256, &node->key), 0);
    assert_int_equal(private_key_public_der(node->key, &spki, &template.spki_size), 0);
    template.spki = spki;
    if (template.not_after == 0) {
        template.not_before = now - DAY;
        template.not_after = now + DAY;
    }
    r = certificate_issue(&template, issuer ? issuer->certificate : NULL, issuer ? issuer->key : node->key,
                          &node->certificate, node->serial, &error);
    if (r < 0)
        fail_msg("%s", error.text);
    node->pem = certificate_to_pem(node->certificate);
}

static void make_authorities(Node *root, Node *middle, unsigned purposes, bool is_without_hosts)
{
    make_node(root, NULL,
              (CertificateTemplate){
                  .common_name = "Root", .organisation = "Test", .is_ca = true, .path_length = 1});
    make_node(middle, root,
              (CertificateTemplate){.common_name = "Middle",
                                    .is_ca = true,
                                    .path_length = 0,
                                    .purposes = purposes,
                                    .is_without_hosts = is_without_hosts});
}

static void make_server(Node *leaf, const Node *issuer, unsigned purposes)
{
    _cleanup_string_list_ StringList names = {0};
    IpAddress addresses[2];

    string_list_append(&names, "manager.example");
    string_list_append(&names, "*.apps.example");
    assert_int_equal(ip_address_parse("127.0.0.1", &addresses[0]), 0);
    assert_int_equal(ip_address_parse("fd00::1", &addresses[1]), 0);
    make_node(leaf, issuer,
              (CertificateTemplate){.common_name = "manager.example",
                                    .dns_names = &names,
                                    .ip_addresses = addresses,
                                    .ip_address_count = 2,
                                    .purposes = purposes,
                                    .path_length = -1});
}

static void test_chain_verifies_here_and_with_openssl(void **state)
{
    _cleanup_directory_ char *directory = temporary_directory();
    _cleanup_node_ Node root = {0}, middle = {0}, leaf = {0};
    _cleanup_free_ char *chain = NULL, *root_path = path_join(directory, "root.pem"),
                        *middle_path = path_join(directory, "middle.pem"),
                        *leaf_path = path_join(directory, "leaf.pem");
    Error error = ERROR_INIT;

    make_authorities(&root, &middle, CERTIFICATE_SERVER, false);
    make_server(&leaf, &middle, CERTIFICATE_SERVER);
    chain = string_format("%s%s", leaf.pem, middle.pem);
    if (certificate_verify(chain, root.pem, CERTIFICATE_SERVER, "manager.example", 0, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(certificate_verify(chain, root.pem, CERTIFICATE_SERVER, "a.apps.example", 0, NULL), 0);
    assert_int_equal(certificate_verify(chain, root.pem, CERTIFICATE_SERVER, "127.0.0.1", 0, NULL), 0);
    assert_int_equal(certificate_verify(chain, root.pem, CERTIFICATE_SERVER, "fd00::1", 0, NULL), 0);
    assert_true(certificate_verify(chain, root.pem, CERTIFICATE_SERVER, "other.example", 0, NULL) < 0);
    assert_true(certificate_verify(chain, root.pem, CERTIFICATE_SERVER, "b.a.apps.example", 0, NULL) < 0);
    assert_true(certificate_verify(chain, root.pem, CERTIFICATE_SERVER, "127.0.0.2", 0, NULL) < 0);
    write_file(directory, "root.pem", root.pem);
    write_file(directory, "middle.pem", middle.pem);
    write_file(directory, "leaf.pem", leaf.pem);
    RUN_CHECKED("openssl", "verify", "-x509_strict", "-CAfile", root_path, "-untrusted", middle_path,
                "-purpose", "sslserver", "-verify_hostname", "manager.example", leaf_path);
    assert_int_not_equal(RUN(NULL, "openssl", "verify", "-CAfile", root_path, "-untrusted", middle_path,
                             "-purpose", "sslclient", leaf_path),
                         0);
}

static void test_verify_refuses(void **state)
{
    _cleanup_node_ Node root = {0}, middle = {0}, leaf = {0}, client = {0}, other_root = {0},
                        other_middle = {0};
    _cleanup_node_ Node deep = {0}, bare = {0};
    _cleanup_free_ char *chain = NULL, *client_chain = NULL, *deep_chain = NULL, *bare_chain = NULL;
    Usec now = clock_realtime(&system_clock);

    make_authorities(&root, &middle, CERTIFICATE_SERVER, false);
    make_authorities(&other_root, &other_middle, CERTIFICATE_SERVER, false);
    make_server(&leaf, &middle, CERTIFICATE_SERVER);
    chain = string_format("%s%s", leaf.pem, middle.pem);
    assert_int_equal(certificate_verify(chain, root.pem, CERTIFICATE_SERVER, NULL, 0, NULL), 0);
    /* another CA, another purpose, no intermediate, outside of its life */
    assert_true(certificate_verify(chain, other_root.pem, CERTIFICATE_SERVER, NULL, 0, NULL) < 0);
    assert_true(certificate_verify(chain, root.pem, CERTIFICATE_CLIENT, NULL, 0, NULL) < 0);
    assert_true(certificate_verify(leaf.pem, root.pem, CERTIFICATE_SERVER, NULL, 0, NULL) < 0);
    assert_true(certificate_verify(chain, root.pem, CERTIFICATE_SERVER, NULL, now + 2 * DAY, NULL) < 0);
    assert_true(certificate_verify(chain, root.pem, CERTIFICATE_SERVER, NULL, now - 2 * DAY, NULL) < 0);
    /* PK5: an intermediate for servers gives no clients, whatever the leaf says */
    make_server(&client, &middle, CERTIFICATE_CLIENT);
    client_chain = string_format("%s%s", client.pem, middle.pem);
    assert_true(certificate_verify(client_chain, root.pem, CERTIFICATE_CLIENT, NULL, 0, NULL) < 0);
    /* a leaf signs nothing */
    make_server(&deep, &leaf, CERTIFICATE_SERVER);
    deep_chain = string_format("%s%s%s", deep.pem, leaf.pem, middle.pem);
    assert_true(certificate_verify(deep_chain, root.pem, CERTIFICATE_SERVER, NULL, 0, NULL) < 0);
    /* a certificate without a purpose is good for none */
    make_server(&bare, &middle, 0);
    bare_chain = string_format("%s%s", bare.pem, middle.pem);
    assert_true(certificate_verify(bare_chain, root.pem, CERTIFICATE_SERVER, NULL, 0, NULL) < 0);
    assert_true(certificate_verify("nonsense", root.pem, CERTIFICATE_SERVER, NULL, 0, NULL) < 0);
}

static void test_authority_without_hosts(void **state)
{
    _cleanup_node_ Node root = {0}, middle = {0}, right = {0}, with_host = {0}, with_address = {0};
    _cleanup_string_list_ StringList uris = {0}, names = {0};
    _cleanup_free_ char *right_chain = NULL, *host_chain = NULL, *address_chain = NULL;
    IpAddress address;
    CertificateTemplate template = {
        .common_name = "id", .uris = &uris, .purposes = CERTIFICATE_CLIENT, .path_length = -1};

    make_authorities(&root, &middle, CERTIFICATE_CLIENT, true);
    string_list_append(&uris, "bastide:provisioner:abc");
    make_node(&right, &middle, template);
    right_chain = string_format("%s%s", right.pem, middle.pem);
    assert_int_equal(certificate_verify(right_chain, root.pem, CERTIFICATE_CLIENT, NULL, 0, NULL), 0);
    string_list_append(&names, "manager.example");
    template.dns_names = &names;
    make_node(&with_host, &middle, template);
    host_chain = string_format("%s%s", with_host.pem, middle.pem);
    assert_true(certificate_verify(host_chain, root.pem, CERTIFICATE_CLIENT, NULL, 0, NULL) < 0);
    template.dns_names = NULL;
    assert_int_equal(ip_address_parse("10.0.0.1", &address), 0);
    template.ip_addresses = &address;
    template.ip_address_count = 1;
    make_node(&with_address, &middle, template);
    address_chain = string_format("%s%s", with_address.pem, middle.pem);
    assert_true(certificate_verify(address_chain, root.pem, CERTIFICATE_CLIENT, NULL, 0, NULL) < 0);
}

static void test_information(void **state)
{
    _cleanup_node_ Node root = {0}, middle = {0}, leaf = {0};
    _cleanup_certificate_info_ CertificateInfo info = {0}, root_info = {0};

    make_authorities(&root, &middle, CERTIFICATE_SERVER, false);
    make_server(&leaf, &middle, CERTIFICATE_SERVER);
    certificate_info(leaf.certificate, &info);
    assert_string_equal(info.common_name, "manager.example");
    assert_string_equal(info.subject, "CN=manager.example");
    assert_string_equal(info.issuer, "CN=Middle");
    assert_string_equal(info.serial, leaf.serial);
    assert_int_equal(strlen(info.serial), 40);
    assert_int_equal(info.purposes, CERTIFICATE_SERVER);
    assert_int_equal(info.dns_names.count, 2);
    assert_int_equal(info.ip_addresses.count, 2);
    assert_string_equal(info.ip_addresses.items[0], "127.0.0.1");
    assert_string_equal(info.ip_addresses.items[1], "fd00::1");
    assert_false(info.is_ca);
    assert_true(info.not_after > info.not_before);
    assert_int_equal(strlen(info.fingerprint), 64);
    certificate_info(root.certificate, &root_info);
    assert_true(root_info.is_ca && root_info.is_self_signed);
    assert_int_equal(root_info.path_length, 1);
    assert_true(certificate_matches_key(leaf.certificate, leaf.key));
    assert_false(certificate_matches_key(leaf.certificate, root.key));
}

static void test_uri_value(void **state)
{
    CertificateInfo info = {0};

    assert_null(certificate_info_uri_value(&info, "bastide:provisioner:"));
    string_list_append(&info.uris, "https://x.example");
    string_list_append(&info.uris, "bastide:provisioner:one");
    assert_string_equal(certificate_info_uri_value(&info, "bastide:provisioner:"), "one");
    string_list_append(&info.uris, "bastide:provisioner:two");
    assert_null(certificate_info_uri_value(&info, "bastide:provisioner:"));
    certificate_info_done(&info);
}

static void test_request(void **state)
{
    static const KeyType types[] = {KEY_P256, KEY_P384, KEY_ED25519};

    for (size_t i = 0; i < ELEMENTSOF(types); i++) {
        _cleanup_private_key_ PrivateKey *key = NULL;
        _cleanup_string_list_ StringList names = {0};
        _cleanup_free_ char *pem = NULL;
        _cleanup_free_ uint8_t *spki = NULL, *expected = NULL;
        size_t size, expected_size;
        KeyType type;

        string_list_append(&names, "node.example");
        assert_int_equal(private_key_generate(types[i], &key), 0);
        assert_int_equal(csr_make(key, "node", &names, &pem), 0);
        assert_int_equal(csr_parse(pem, strlen(pem), &spki, &size, NULL), 0);
        assert_int_equal(private_key_public_der(key, &expected, &expected_size), 0);
        assert_int_equal(size, expected_size);
        assert_memory_equal(spki, expected, size);
        assert_int_equal(public_key_check(spki, size, &type, NULL), 0);
        assert_int_equal(type, types[i]);
        assert_int_equal(private_key_type(key), types[i]);
    }
}

/* The possession of the key is what a request proves: the key of another in one's own request is refused. */
static void test_request_with_anothers_key(void **state)
{
    _cleanup_private_key_ PrivateKey *one = NULL, *other = NULL;
    _cleanup_free_ char *pem = NULL, *forged = NULL;
    _cleanup_free_ uint8_t *der = NULL, *spki_one = NULL, *spki_other = NULL, *result = NULL;
    size_t size = 0, spki_size, other_size, result_size;
    const char *begin;
    uint8_t *place;
    Error error = ERROR_INIT;
    Buffer joined = BUFFER_INIT;

    assert_int_equal(private_key_generate(KEY_P256, &one), 0);
    assert_int_equal(private_key_generate(KEY_P256, &other), 0);
    assert_int_equal(csr_make(one, "node", NULL, &pem), 0);
    assert_int_equal(private_key_public_der(one, &spki_one, &spki_size), 0);
    assert_int_equal(private_key_public_der(other, &spki_other, &other_size), 0);
    assert_int_equal(spki_size, other_size);
    begin = strchr(pem, '\n') + 1;
    for (const char *c = begin; *c && *c != '-'; c++)
        if (*c != '\n')
            assert_true(buffer_append_byte(&joined, (uint8_t)*c) >= 0);
    assert_true(base64_decode(buffer_string(&joined), joined.size, 4096, &der, &size) >= 0);
    place = memmem(der, size, spki_one, spki_size);
    assert_non_null(place);
    memcpy(place, spki_other, spki_size);
    forged = NEW_ARRAY(char, 2 * size + 4);
    base64_encode(der, size, forged);
    buffer_clear(&joined);
    assert_true(buffer_append_string(&joined, "-----BEGIN CERTIFICATE REQUEST-----\n") >= 0);
    for (size_t i = 0; i < strlen(forged); i += 64)
        assert_true(buffer_append_format(&joined, "%.64s\n", forged + i) >= 0);
    assert_true(buffer_append_string(&joined, "-----END CERTIFICATE REQUEST-----\n") >= 0);
    assert_true(csr_parse(buffer_string(&joined), joined.size, &result, &result_size, &error) < 0);
    assert_int_equal(error.code, ERROR_UNTRUSTED);
    buffer_done(&joined);
}

static int parse_made_by_openssl(const char *directory, const char *const *key_arguments, Error *error)
{
    _cleanup_free_ char *key = path_join(directory, "k.pem"), *request = path_join(directory, "r.pem"),
                        *pem = NULL;
    _cleanup_free_ uint8_t *spki = NULL;
    const char *arguments[16] = {"openssl", "genpkey", "-out", key};
    size_t size, count = 4;

    while (*key_arguments)
        arguments[count++] = *key_arguments++;
    (void)unlink(key);
    run_checked(arguments);
    RUN_CHECKED("openssl", "req", "-new", "-key", key, "-subj", "/CN=x", "-out", request);
    pem = read_file(directory, "r.pem");
    return csr_parse(pem, strlen(pem), &spki, &size, error);
}
#define KEY(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_key_policy_on_requests_of_openssl(void **state)
{
    _cleanup_directory_ char *directory = temporary_directory();
    Error error = ERROR_INIT;

    assert_int_equal(
        parse_made_by_openssl(directory, KEY("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"), NULL),
        0);
    assert_int_equal(parse_made_by_openssl(directory, KEY("-algorithm", "ED25519"), NULL), 0);
    assert_int_equal(parse_made_by_openssl(
                         directory, KEY("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"), NULL),
                     0);
    assert_true(parse_made_by_openssl(directory, KEY("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
                                      &error) < 0);
    assert_int_equal(error.code, ERROR_INSECURE);
    error_clear(&error);
    assert_true(parse_made_by_openssl(directory,
                                      KEY("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"),
                                      &error) < 0);
    assert_int_equal(error.code, ERROR_INSECURE);
    error_clear(&error);
    assert_true(parse_made_by_openssl(directory,
                                      KEY("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                                          "-pkeyopt", "ec_param_enc:explicit"),
                                      &error) < 0);
    assert_int_equal(error.code, ERROR_INSECURE);
    error_clear(&error);
    assert_true(parse_made_by_openssl(directory,
                                      KEY("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-pkeyopt",
                                          "rsa_keygen_pubexp:3"),
                                      &error) < 0);
    assert_int_equal(error.code, ERROR_INSECURE);
}

static void test_request_refuses_nonsense(void **state)
{
    _cleanup_private_key_ PrivateKey *key = NULL;
    _cleanup_free_ char *pem = NULL, *cut = NULL, *before = NULL, *large = NEW_ARRAY(char, CSR_LIMIT + 2);
    _cleanup_free_ uint8_t *spki = NULL;
    size_t size;

    assert_int_equal(private_key_generate(KEY_P256, &key), 0);
    assert_int_equal(csr_make(key, NULL, NULL, &pem), 0);
    cut = string_duplicate_n(pem, strlen(pem) - 40);
    before = string_format("hello\n%s", pem);
    memset(large, 'A', CSR_LIMIT + 1);
    assert_true(csr_parse(cut, strlen(cut), &spki, &size, NULL) < 0);
    assert_true(csr_parse(before, strlen(before), &spki, &size, NULL) < 0);
    assert_true(csr_parse(large, CSR_LIMIT + 1, &spki, &size, NULL) < 0);
    assert_true(csr_parse("", 0, &spki, &size, NULL) < 0);
    assert_null(spki);
}

static void test_key_files(void **state)
{
    _cleanup_directory_ char *directory = temporary_directory();
    _cleanup_free_ char *path = path_join(directory, "key.pem"),
                        *encrypted = path_join(directory, "encrypted.pem");
    _cleanup_free_ char *text = NULL;
    _cleanup_private_key_ PrivateKey *key = NULL, *again = NULL, *opened = NULL;
    _cleanup_secret_ Secret *pem = NULL, *pem_again = NULL, *passphrase = secret_new("open sesame", 11);
    struct stat status;
    Error error = ERROR_INIT;

    assert_int_equal(private_key_generate(KEY_P256, &key), 0);
    assert_int_equal(private_key_write(key, path), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(private_key_write(key, path), -EEXIST);
    assert_int_equal(private_key_read(path, &again, NULL), 0);
    assert_int_equal(private_key_to_pem(key, &pem), 0);
    assert_int_equal(private_key_to_pem(again, &pem_again), 0);
    assert_true(secret_equal(pem, pem_again));
    /* One that others can read is refused. */
    assert_int_equal(chmod(path, 0640), 0);
    assert_true(private_key_read(path, &opened, &error) < 0);
    assert_int_equal(error.code, ERROR_INSECURE);
    assert_int_equal(chmod(path, 0600), 0);
    RUN_CHECKED("openssl", "pkcs8", "-topk8", "-in", path, "-out", encrypted, "-passout", "pass:open sesame");
    text = read_file(directory, "encrypted.pem");
    assert_true(private_key_from_pem(text, strlen(text), NULL, &opened, NULL) < 0);
    assert_int_equal(private_key_from_pem(text, strlen(text), passphrase, &opened, NULL), 0);
}

static void test_chains(void **state)
{
    _cleanup_node_ Node root = {0}, middle = {0}, leaf = {0};
    _cleanup_free_ char *chain = NULL, *second = NULL, *with_key = NULL, *many = NULL;
    _cleanup_secret_ Secret *key = NULL;

    make_authorities(&root, &middle, CERTIFICATE_SERVER, false);
    make_server(&leaf, &middle, CERTIFICATE_SERVER);
    chain = string_format("%s%s%s", leaf.pem, middle.pem, root.pem);
    assert_int_equal(chain_count(chain, strlen(chain)), 3);
    second = chain_nth(chain, strlen(chain), 1);
    assert_string_equal(second, middle.pem);
    assert_null(chain_nth(chain, strlen(chain), 3));
    assert_int_equal(private_key_to_pem(leaf.key, &key), 0);
    with_key = string_format("%s%s", leaf.pem, (const char *)secret_bytes(key));
    assert_int_equal(chain_count(with_key, strlen(with_key)), -EBADMSG);
    assert_int_equal(chain_count("", 0), -EBADMSG);
    assert_int_equal(chain_count(chain, strlen(leaf.pem) + 60), -EBADMSG);
    many = string_format("%s%s%s%s", chain, chain, chain, chain);
    assert_int_equal(chain_count(many, strlen(many)), -E2BIG);
}

/* --- a handshake in memory --- */

static SSL_CTX *make_context(const SSL_METHOD *method, const Node *leaf, const Node *middle, const Node *root)
{
    SSL_CTX *context = SSL_CTX_new(method);
    _cleanup_secret_ Secret *key = NULL;
    BIO *bio;
    X509 *x509;
    EVP_PKEY *pkey;

    assert_int_equal(private_key_to_pem(leaf->key, &key), 0);
    bio = BIO_new_mem_buf(leaf->pem, -1);
    x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_int_equal(SSL_CTX_use_certificate(context, x509), 1);
    X509_free(x509);
    bio = BIO_new_mem_buf(middle->pem, -1);
    assert_int_equal(SSL_CTX_add_extra_chain_cert(context, PEM_read_bio_X509(bio, NULL, NULL, NULL)), 1);
    BIO_free(bio);
    bio = BIO_new_mem_buf(secret_bytes(key), (int)secret_size(key));
    pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, pkey), 1);
    EVP_PKEY_free(pkey);
    bio = BIO_new_mem_buf(root->pem, -1);
    x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), x509), 1);
    X509_free(x509);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return context;
}

static bool shake_hands(const Node *server_leaf, const Node *client_leaf, const Node *middle,
                        const Node *root)
{
    SSL_CTX *server_context = make_context(TLS_server_method(), server_leaf, middle, root);
    SSL_CTX *client_context = make_context(TLS_client_method(), client_leaf, middle, root);
    SSL *server = SSL_new(server_context), *client = SSL_new(client_context);
    BIO *server_side = NULL, *client_side = NULL;
    int server_result = -1, client_result = -1;

    assert_int_equal(BIO_new_bio_pair(&server_side, 0, &client_side, 0), 1);
    SSL_set_bio(server, server_side, server_side);
    SSL_set_bio(client, client_side, client_side);
    assert_int_equal(SSL_set1_host(client, "manager.example"), 1);
    for (int i = 0; i < 10 && (server_result != 1 || client_result != 1); i++) {
        client_result = SSL_connect(client);
        server_result = SSL_accept(server);
    }
    SSL_free(server);
    SSL_free(client);
    SSL_CTX_free(server_context);
    SSL_CTX_free(client_context);
    ERR_clear_error();
    return server_result == 1 && client_result == 1;
}

static void test_handshake(void **state)
{
    _cleanup_node_ Node root = {0}, middle = {0}, server = {0}, client = {0}, other_root = {0},
                        other_middle = {0}, stranger = {0};

    make_authorities(&root, &middle, CERTIFICATE_SERVER | CERTIFICATE_CLIENT, false);
    make_authorities(&other_root, &other_middle, CERTIFICATE_SERVER | CERTIFICATE_CLIENT, false);
    make_server(&server, &middle, CERTIFICATE_SERVER);
    make_server(&client, &middle, CERTIFICATE_CLIENT);
    make_server(&stranger, &other_middle, CERTIFICATE_CLIENT);
    assert_true(shake_hands(&server, &client, &middle, &root));
    assert_false(shake_hands(&server, &server, &middle, &root)); /* a server's certificate is no client's */
    assert_false(shake_hands(&client, &client, &middle, &root));
    assert_false(shake_hands(&server, &stranger, &middle, &root));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_verifies_here_and_with_openssl),
        cmocka_unit_test(test_verify_refuses),
        cmocka_unit_test(test_authority_without_hosts),
        cmocka_unit_test(test_information),
        cmocka_unit_test(test_uri_value),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_request_with_anothers_key),
        cmocka_unit_test(test_key_policy_on_requests_of_openssl),
        cmocka_unit_test(test_request_refuses_nonsense),
        cmocka_unit_test(test_key_files),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_handshake),
    };

    if (crypto_start() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
