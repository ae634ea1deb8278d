/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an SSH public key line, and as a wire blob. What is accepted is written and read again as the
 * same, and can be certified. */
#include <string.h>

#include "base/memory.h"
#include "crypto/ssh.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_certificate(const Buffer *blob)
{
    static Secret *seed;
    static StringList principals;
    uint8_t public_key[SIGN_PUBLIC_SIZE];
    _cleanup_free_ char *line = NULL;
    SshCertificate certificate = {.type = SSH_CERTIFICATE_USER,
                                  .key = blob->data,
                                  .key_size = blob->size,
                                  .key_id = "fuzz",
                                  .principals = &principals,
                                  .valid_before = USEC_PER_SEC};

    if (!seed) {
        ASSERT(sign_generate(&seed, public_key) == 0);
        string_list_append(&principals, "x");
    }
    ASSERT(ssh_certificate_sign(&certificate, seed, &line, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_buffer_ Buffer blob = BUFFER_INIT, again = BUFFER_INIT;
    _cleanup_free_ char *line = NULL;
    char fingerprint[SSH_FINGERPRINT_SIZE];
    Error error = ERROR_INIT;

    (void)ssh_key_check_blob(data, size, NULL, NULL);
    if (ssh_key_parse_line((const char *)data, size, &blob, &error) < 0) {
        ASSERT(error_is_set(&error) && blob.size == 0);
        return 0;
    }
    line = ssh_key_format_line(blob.data, blob.size, NULL);
    ASSERT(line && ssh_key_parse_line(line, strlen(line), &again, NULL) >= 0);
    ASSERT(again.size == blob.size && memcmp(again.data, blob.data, blob.size) == 0);
    ssh_key_fingerprint(blob.data, blob.size, fingerprint);
    ASSERT(strlen(fingerprint) == SSH_FINGERPRINT_SIZE - 1);
    check_certificate(&blob);
    return 0;
}
