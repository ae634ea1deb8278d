# SPDX-License-Identifier: Apache-2.0
"""Writes the first token of a conversation with a service, in base64: what a browser would send. Debian has no Python
module for it that is small, so the C library is called.

    kerberos_token.py HTTP/127.0.0.1"""

import base64
import ctypes
import sys


class Buffer(ctypes.Structure):
    _fields_ = [("length", ctypes.c_size_t), ("value", ctypes.c_void_p)]


class Oid(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint32), ("elements", ctypes.c_char_p)]


SPNEGO = Oid(6, b"\x2b\x06\x01\x05\x05\x02")
PRINCIPAL_NAME = Oid(10, b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01")


def main():
    library = ctypes.CDLL("libgssapi_krb5.so.2")
    minor, target, context, token = ctypes.c_uint32(), ctypes.c_void_p(), ctypes.c_void_p(), Buffer()
    name = sys.argv[1].encode()
    text = Buffer(len(name), ctypes.cast(ctypes.c_char_p(name), ctypes.c_void_p))
    major = library.gss_import_name(ctypes.byref(minor), ctypes.byref(text), ctypes.byref(PRINCIPAL_NAME), ctypes.byref(target))
    assert major == 0, (major, minor.value)
    major = library.gss_init_sec_context(ctypes.byref(minor), None, ctypes.byref(context), target, ctypes.byref(SPNEGO),
                                         ctypes.c_uint32(0), ctypes.c_uint32(0), None, None, None, ctypes.byref(token), None, None)
    assert major in (0, 1), (hex(major), minor.value)
    print(base64.b64encode(ctypes.string_at(token.value, token.length)).decode(), end="")


if __name__ == "__main__":
    main()
