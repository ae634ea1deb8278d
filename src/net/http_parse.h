/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The request parser: HTTP/1.1 as RFC 9112 has it, with every leniency that the RFC merely permits left out,
 * because two parsers that disagree about where a request ends are how requests are smuggled. Pure: no I/O,
 * no allocation, no state but what the caller holds. Any thread.
 *
 * A caller collects bytes, asks http_head_find() whether the head is whole, gives the head to
 * http_head_parse(), and then takes the body by content_length or through an HttpChunked. After any fault the
 * connection must be closed, since nobody knows where the next request would begin. */

#include <sys/types.h>

#include "base/macros.h"
#include "net/http_method.h"

enum {
    HTTP_LINE_LIMIT = 8 * 1024,  /* request line, without its CRLF */
    HTTP_HEAD_LIMIT = 16 * 1024, /* request line and fields with all line ends */
    HTTP_FIELDS_MAX = 64,
    HTTP_QUERY_MAX = 128,             /* parameters */
    HTTP_CHUNK_OVERHEAD_LIMIT = 4096, /* bytes of chunk extensions and trailers in one body */
    HTTP_CHUNK_EXTENSION_LIMIT = 256, /* bytes of extensions of one chunk */
    HTTP_TRAILERS_MAX = 16,
};

/* HTTP_FAULT_ROW(symbol, name, status, text for the client) */
#define HTTP_FAULT_TABLE                                                                                     \
    HTTP_FAULT_ROW(NONE, "none", 200, "no fault")                                                            \
    HTTP_FAULT_ROW(LINE_END, "line-end", 400, "lines must end with CR LF")                                   \
    HTTP_FAULT_ROW(LINE_TOO_LONG, "line-too-long", 414, "the request line is longer than 8 KiB")             \
    HTTP_FAULT_ROW(HEAD_TOO_LARGE, "head-too-large", 431, "the request head is larger than 16 KiB")          \
    HTTP_FAULT_ROW(TOO_MANY_FIELDS, "too-many-fields", 431, "the request has more than 64 header fields")    \
    HTTP_FAULT_ROW(REQUEST_LINE, "request-line", 400, "the request line is malformed")                       \
    HTTP_FAULT_ROW(METHOD, "method", 501, "the method is not known here")                                    \
    HTTP_FAULT_ROW(VERSION, "version", 505, "only HTTP/1.1 and HTTP/1.0 are spoken here")                    \
    HTTP_FAULT_ROW(TARGET, "target", 400, "the request target must be a path with legal characters")         \
    HTTP_FAULT_ROW(ESCAPE, "escape", 400, "the request target has a bad percent escape")                     \
    HTTP_FAULT_ROW(DOT_SEGMENT, "dot-segment", 400, "the path must not have dot segments")                   \
    HTTP_FAULT_ROW(QUERY_TOO_LONG, "query-too-long", 400, "the query has more than 128 parameters")          \
    HTTP_FAULT_ROW(FIELD_NAME, "field-name", 400, "a header field's name is malformed")                      \
    HTTP_FAULT_ROW(FIELD_VALUE, "field-value", 400, "a header field's value has a control character")        \
    HTTP_FAULT_ROW(FOLDING, "folding", 400, "header fields must not be folded")                              \
    HTTP_FAULT_ROW(REPEATED_FIELD, "repeated-field", 400, "a header field that is not a list is repeated")   \
    HTTP_FAULT_ROW(HOST, "host", 400, "the request needs exactly one valid Host field")                      \
    HTTP_FAULT_ROW(CONTENT_LENGTH, "content-length", 400, "Content-Length must be one decimal number")       \
    HTTP_FAULT_ROW(TRANSFER_ENCODING, "transfer-encoding", 400, "the only transfer coding here is chunked")  \
    HTTP_FAULT_ROW(AMBIGUOUS_LENGTH, "ambiguous-length", 400,                                                \
                   "Content-Length and Transfer-Encoding exclude each other")                                \
    HTTP_FAULT_ROW(EXPECTATION, "expectation", 417, "the only expectation met here is 100-continue")         \
    HTTP_FAULT_ROW(CHUNK_SIZE, "chunk-size", 400, "a chunk size is malformed")                               \
    HTTP_FAULT_ROW(CHUNK_DATA, "chunk-data", 400, "chunk data does not end where its size says")             \
    HTTP_FAULT_ROW(CHUNK_OVERHEAD, "chunk-overhead", 400, "chunk extensions or trailers are too long")       \
    HTTP_FAULT_ROW(TRAILER, "trailer", 400, "a trailer field is malformed")                                  \
    HTTP_FAULT_ROW(BODY_TOO_LARGE, "body-too-large", 413, "the request body is larger than allowed here")

typedef enum HttpFault {
#define HTTP_FAULT_ROW(symbol, name, status, text) HTTP_FAULT_##symbol,
    HTTP_FAULT_TABLE
#undef HTTP_FAULT_ROW
        _HTTP_FAULT_MAX,
} HttpFault;

const char *http_fault_name(HttpFault fault);
int http_fault_status(HttpFault fault);
const char *http_fault_text(HttpFault fault);

/* Positions in the head; a head is below 64 KiB. */
typedef struct HttpSpan {
    uint16_t offset, length;
} HttpSpan;

typedef struct HttpField {
    HttpSpan name, value;
} HttpField;

typedef struct HttpHead {
    HttpMethod method;
    HttpSpan target, path, query; /* raw; query without '?' */
    bool has_escapes;             /* the path has percent escapes */
    bool is_keep_alive;
    bool expects_continue;
    bool is_chunked;
    bool is_version_1_0;
    uint64_t content_length; /* 0 when absent */
    HttpSpan host;           /* value of Host */
    unsigned field_count;
    HttpField fields[HTTP_FIELDS_MAX];
} HttpHead;

/* Looks for the end of a head at the start of [data, data+size). *scanned (0 before the first call for a
 * head) remembers how far earlier calls looked. One empty line before the request line is part of the head.
 * Returns HTTP_FAULT_NONE with *ret_size = 0 when more bytes are needed, or the head's size with its final
 * empty line. */
HttpFault http_head_find(const char *data, size_t size, size_t *scanned, size_t *ret_size);
/* Parses a whole head of the size that http_head_find() told. */
HttpFault http_head_parse(const char *data, size_t size, HttpHead *ret_head);
/* First field of that name, or NULL. */
const HttpField *http_head_field(const HttpHead *head, const char *data, const char *name);

/* Decodes percent escapes once; `plus_is_space` for queries. The destination needs length + 1 bytes and is
 * terminated. Returns the decoded length, -EINVAL for a bad escape, a NUL byte, or text that is not UTF-8. */
ssize_t http_percent_decode(const char *text, size_t length, bool plus_is_space, char *destination);
/* True when the decoded path has a "." or ".." segment. */
bool http_path_has_dot_segment(const char *path, size_t length);
typedef struct HttpQueryPart { /* raw, pointing into the query */
    const char *name, *value;
    size_t name_length, value_length;
} HttpQueryPart;
/* Cuts the next parameter off the raw query [*cursor, end); empty ones are skipped. False at the end. */
bool http_query_next(const char **cursor, const char *end, HttpQueryPart *ret_part);

/* Decodes a chunked body as its bytes come. */
typedef struct HttpChunked {
    uint8_t state;
    uint8_t digits;
    uint8_t trailers;
    uint16_t extension; /* bytes of this chunk's extensions */
    uint16_t overhead;  /* bytes of extensions and trailers so far */
    uint64_t left;      /* of the current chunk */
} HttpChunked;
#define HTTP_CHUNKED_INIT ((HttpChunked){0})

/* Takes bytes from [data, data+size): *ret_taken of them; if some are body they are the *ret_body_size ones
 * at *ret_body (a part of data). Call again while bytes are left and the body is not complete. */
HttpFault http_chunked_step(HttpChunked *chunked, const char *data, size_t size, size_t *ret_taken,
                            const char **ret_body, size_t *ret_body_size);
bool http_chunked_is_complete(const HttpChunked *chunked);
