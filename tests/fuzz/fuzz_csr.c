/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a signing request, a chain of certificates and a public key. */
#include <string.h>

#include "base/memory.h"
#include "crypto/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(const char *text, size_t size)
{
    _cleanup_free_ uint8_t *spki = NULL;
    Error error = ERROR_INIT;
    size_t spki_size = 0;

    if (csr_parse(text, size, &spki, &spki_size, &error) < 0) {
        ASSERT(error_is_set(&error) && !spki);
        return;
    }
    ASSERT(spki_size > 0 && spki_size <= PUBLIC_KEY_LIMIT);
}

static void check_chain(const char *text, size_t size)
{
    _cleanup_certificate_ Certificate *certificate = NULL;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    _cleanup_free_ char *copy = NULL;

    if (chain_count(text, size) < 1)
        return;
    ASSERT(certificate_from_pem(text, size, &certificate, NULL) == 0);
    certificate_info(certificate, &info);
    ASSERT(strlen(info.fingerprint) == 64 && info.subject && info.issuer);
    copy = chain_nth(text, size, 0);
    ASSERT(copy && chain_count(copy, strlen(copy)) == 1);
    (void)certificate_verify(copy, copy, CERTIFICATE_SERVER, "x.example", 0, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_request((const char *)data, size);
    check_chain((const char *)data, size);
    (void)public_key_check(data, size, NULL, NULL);
    return 0;
}
