# SPDX-License-Identifier: Apache-2.0
"""The listener for provisioners: who gets in, and the protocol as docs/internals/protocols.md section 4 has it."""

import http.client
import ssl

import pytest


def test_no_client_certificate(bastide):
    connection = bastide.internal_connect()
    with pytest.raises((ssl.SSLError, http.client.RemoteDisconnected, ConnectionError)):
        connection.request("POST", "/internal/v1/session", body=b"{}", headers={"Content-Type": "application/json"})
        connection.getresponse()
    connection.close()
