/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_parse.h"

#include <errno.h>
#include <strings.h>

#include "base/string.h"

/* How this works: http_head_find() only looks for line ends, so that a slow client costs one memchr() a read.
 * All judgement is in http_head_parse(), which walks the lines of the whole head once. Field names that
 * decide about framing have a row in special_fields; of all others only those in list_fields may be repeated.
 */

enum {
    CLASS_TOKEN = 1 << 0,  /* RFC 9110 tchar */
    CLASS_TARGET = 1 << 1, /* RFC 3986 pchar and '/' */
    CLASS_HEX = 1 << 2,
    CLASS_HOST = 1 << 3, /* of a name or an IPv4 address */
};

static const uint8_t character_classes[256] = {
    ['0' ... '9'] = CLASS_TOKEN | CLASS_TARGET | CLASS_HEX | CLASS_HOST,
    ['A' ... 'F'] = CLASS_TOKEN | CLASS_TARGET | CLASS_HEX | CLASS_HOST,
    ['G' ... 'Z'] = CLASS_TOKEN | CLASS_TARGET | CLASS_HOST,
    ['a' ... 'f'] = CLASS_TOKEN | CLASS_TARGET | CLASS_HEX | CLASS_HOST,
    ['g' ... 'z'] = CLASS_TOKEN | CLASS_TARGET | CLASS_HOST,
    ['-'] = CLASS_TOKEN | CLASS_TARGET | CLASS_HOST,
    ['.'] = CLASS_TOKEN | CLASS_TARGET | CLASS_HOST,
    ['_'] = CLASS_TOKEN | CLASS_TARGET | CLASS_HOST,
    ['~'] = CLASS_TOKEN | CLASS_TARGET,
    ['!'] = CLASS_TOKEN | CLASS_TARGET,
    ['$'] = CLASS_TOKEN | CLASS_TARGET,
    ['%'] = CLASS_TOKEN | CLASS_TARGET,
    ['&'] = CLASS_TOKEN | CLASS_TARGET,
    ['\''] = CLASS_TOKEN | CLASS_TARGET,
    ['*'] = CLASS_TOKEN | CLASS_TARGET,
    ['+'] = CLASS_TOKEN | CLASS_TARGET,
    ['#'] = CLASS_TOKEN,
    ['^'] = CLASS_TOKEN,
    ['`'] = CLASS_TOKEN,
    ['|'] = CLASS_TOKEN,
    ['('] = CLASS_TARGET,
    [')'] = CLASS_TARGET,
    [','] = CLASS_TARGET,
    ['/'] = CLASS_TARGET,
    [':'] = CLASS_TARGET,
    [';'] = CLASS_TARGET,
    ['='] = CLASS_TARGET,
    ['@'] = CLASS_TARGET,
};

/* Fields whose grammar is a list, so that several lines mean the same as one (RFC 9110, 5.3). */
static const char *const list_fields[] = {
    "accept",          "accept-charset",   "accept-encoding",
    "accept-language", "cache-control",    "connection",
    "forwarded",       "if-match",         "if-none-match",
    "keep-alive",      "pragma",           "te",
    "trailer",         "upgrade",          "via",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
    "prefer",          "warning",
};

typedef struct FaultRow {
    const char *name;
    int status;
    const char *text;
} FaultRow;

static const FaultRow fault_rows[] = {
#define HTTP_FAULT_ROW(symbol, fault_name, fault_status, fault_text)                                         \
    [HTTP_FAULT_##symbol] = {.name = (fault_name), .status = (fault_status), .text = (fault_text)},
    HTTP_FAULT_TABLE
#undef HTTP_FAULT_ROW
};

static const char *const method_names[] = {
    [HTTP_METHOD_GET] = "GET",         [HTTP_METHOD_HEAD] = "HEAD",   [HTTP_METHOD_POST] = "POST",
    [HTTP_METHOD_PUT] = "PUT",         [HTTP_METHOD_PATCH] = "PATCH", [HTTP_METHOD_DELETE] = "DELETE",
    [HTTP_METHOD_OPTIONS] = "OPTIONS",
};

/* What one walk over a head has to remember. */
typedef struct HeadWalk {
    const char *data;
    HttpHead *head;
    bool has_host, has_length, has_encoding, has_expectation;
} HeadWalk;

const char *http_fault_name(HttpFault fault)
{
    ASSERT((unsigned)fault < ELEMENTSOF(fault_rows));
    return fault_rows[fault].name;
}

int http_fault_status(HttpFault fault)
{
    ASSERT((unsigned)fault < ELEMENTSOF(fault_rows));
    return fault_rows[fault].status;
}

const char *http_fault_text(HttpFault fault)
{
    ASSERT((unsigned)fault < ELEMENTSOF(fault_rows));
    return fault_rows[fault].text;
}

const char *http_method_to_string(HttpMethod method)
{
    return method >= 0 && method < _HTTP_METHOD_MAX ? method_names[method] : NULL;
}

HttpMethod http_method_from_string(const char *text, size_t length)
{
    for (HttpMethod method = 0; method < _HTTP_METHOD_MAX; method++) {
        if (strlen(method_names[method]) == length && memcmp(method_names[method], text, length) == 0)
            return method;
    }
    return _HTTP_METHOD_INVALID;
}

static bool has_class(char character, unsigned class)
{
    return (character_classes[(uint8_t)character] & class) != 0;
}

/* RFC 9110 field-vchar, obs-text, SP and HT. */
static bool is_value_character(char character)
{
    uint8_t byte = (uint8_t)character;

    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

static bool is_blank(char character)
{
    return character == ' ' || character == '\t';
}

static int hex_value(char character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    if (character >= 'A' && character <= 'F')
        return character - 'A' + 10;
    return -1;
}

static bool span_equals(const char *data, HttpSpan span, const char *text)
{
    return strlen(text) == span.length && strncasecmp(data + span.offset, text, span.length) == 0;
}

static HttpSpan span_between(size_t start, size_t end)
{
    return (HttpSpan){.offset = (uint16_t)start, .length = (uint16_t)(end - start)};
}

HttpFault http_head_find(const char *data, size_t size, size_t *scanned, size_t *ret_size)
{
    size_t start = size >= 2 && data[0] == '\r' && data[1] == '\n' ? 2 : 0;

    *ret_size = 0;
    if (*scanned < start)
        *scanned = start;
    while (*scanned < size) {
        const char *line_end = memchr(data + *scanned, '\n', size - *scanned);
        if (!line_end)
            break;
        size_t at = (size_t)(line_end - data);

        /* A first byte CR may still become the empty line; a first byte LF never does. */
        if (at == start || data[at - 1] != '\r')
            return HTTP_FAULT_LINE_END;
        if (at - 1 == start || data[at - 2] == '\n') {
            if (at + 1 > HTTP_HEAD_LIMIT)
                return memchr(data + start, '\n', HTTP_LINE_LIMIT + 2) ? HTTP_FAULT_HEAD_TOO_LARGE
                                                                       : HTTP_FAULT_LINE_TOO_LONG;
            *ret_size = at + 1;
            return HTTP_FAULT_NONE;
        }
        *scanned = at + 1;
    }
    *scanned = size;
    if (size > start + HTTP_LINE_LIMIT + 1 && !memchr(data + start, '\n', HTTP_LINE_LIMIT + 2))
        return HTTP_FAULT_LINE_TOO_LONG;
    return size >= HTTP_HEAD_LIMIT ? HTTP_FAULT_HEAD_TOO_LARGE : HTTP_FAULT_NONE;
}

ssize_t http_percent_decode(const char *text, size_t length, bool plus_is_space, char *destination)
{
    size_t size = 0;

    for (size_t i = 0; i < length; i++) {
        char character = text[i];
        if (character == '%') {
            if (length - i < 3)
                return -EINVAL;
            int high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
            if (high < 0 || low < 0 || (high == 0 && low == 0))
                return -EINVAL;
            character = (char)(uint8_t)(high * 16 + low);
            i += 2;
        } else if (character == '+' && plus_is_space) {
            character = ' ';
        } else if (character == '\0') {
            return -EINVAL;
        }
        destination[size++] = character;
    }
    destination[size] = '\0';
    return utf8_is_valid(destination, size) ? (ssize_t)size : -EINVAL;
}

bool http_path_has_dot_segment(const char *path, size_t length)
{
    size_t start = 0;

    for (size_t i = 0; i <= length; i++) {
        if (i < length && path[i] != '/')
            continue;
        if ((i - start == 1 && path[start] == '.') ||
            (i - start == 2 && path[start] == '.' && path[start + 1] == '.'))
            return true;
        start = i + 1;
    }
    return false;
}

bool http_query_next(const char **cursor, const char *end, HttpQueryPart *ret_part)
{
    while (*cursor < end) {
        const char *start = *cursor;
        const char *stop = memchr(start, '&', (size_t)(end - start));
        if (!stop)
            stop = end;
        *cursor = stop < end ? stop + 1 : end;
        if (stop == start)
            continue;

        const char *equals = memchr(start, '=', (size_t)(stop - start));
        *ret_part = (HttpQueryPart){
            .name = start,
            .name_length = (size_t)((equals ? equals : stop) - start),
            .value = equals ? equals + 1 : stop,
            .value_length = equals ? (size_t)(stop - equals - 1) : 0,
        };
        return true;
    }
    return false;
}

static HttpFault check_query(const char *query, size_t length)
{
    char decoded[HTTP_LINE_LIMIT + 1];
    const char *cursor = query, *end = query + length;
    HttpQueryPart part;
    unsigned count = 0;

    while (http_query_next(&cursor, end, &part)) {
        if (++count > HTTP_QUERY_MAX)
            return HTTP_FAULT_QUERY_TOO_LONG;
        if (http_percent_decode(part.name, part.name_length, true, decoded) < 0 ||
            http_percent_decode(part.value, part.value_length, true, decoded) < 0)
            return HTTP_FAULT_ESCAPE;
    }
    return HTTP_FAULT_NONE;
}

static HttpFault check_path(const char *path, size_t length, bool has_escapes)
{
    char decoded[HTTP_LINE_LIMIT + 1];

    if (has_escapes) {
        ssize_t size = http_percent_decode(path, length, false, decoded);
        if (size < 0 || string_has_control(decoded, (size_t)size, NULL))
            return HTTP_FAULT_ESCAPE;
        path = decoded;
        length = (size_t)size;
    }
    return http_path_has_dot_segment(path, length) ? HTTP_FAULT_DOT_SEGMENT : HTTP_FAULT_NONE;
}

/* Origin form only: "/path" or "/path?query". */
static HttpFault parse_target(HeadWalk *walk, size_t start, size_t end)
{
    HttpHead *head = walk->head;
    const char *data = walk->data;
    size_t question = end;

    if (start == end || data[start] != '/')
        return HTTP_FAULT_TARGET;
    for (size_t i = start; i < end; i++) {
        if (data[i] == '?' && question == end)
            question = i;
        else if (!has_class(data[i], CLASS_TARGET) && data[i] != '?')
            return HTTP_FAULT_TARGET;
    }
    head->target = span_between(start, end);
    head->path = span_between(start, question);
    head->query = span_between(MIN(question + 1, end), end);
    head->has_escapes = memchr(data + start, '%', head->path.length) != NULL;

    HttpFault fault = check_path(data + start, head->path.length, head->has_escapes);
    if (fault == HTTP_FAULT_NONE && head->query.length > 0)
        fault = check_query(data + head->query.offset, head->query.length);
    return fault;
}

static HttpFault parse_version(HeadWalk *walk, size_t start, size_t end)
{
    const char *version = walk->data + start;

    if (end - start != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' || version[5] < '0' ||
        version[5] > '9' || version[7] < '0' || version[7] > '9')
        return HTTP_FAULT_REQUEST_LINE;
    if (version[5] != '1' || (version[7] != '1' && version[7] != '0'))
        return HTTP_FAULT_VERSION;
    walk->head->is_version_1_0 = version[7] == '0';
    walk->head->is_keep_alive = !walk->head->is_version_1_0;
    return HTTP_FAULT_NONE;
}

/* method SP target SP version, with exactly one blank each. */
static HttpFault parse_request_line(HeadWalk *walk, size_t start, size_t end)
{
    const char *data = walk->data;
    size_t method_end = start, target_end = end;

    if (end - start > HTTP_LINE_LIMIT)
        return HTTP_FAULT_LINE_TOO_LONG;
    while (method_end < end && has_class(data[method_end], CLASS_TOKEN))
        method_end++;
    if (method_end == start || method_end == end || data[method_end] != ' ')
        return HTTP_FAULT_REQUEST_LINE;
    while (target_end > method_end + 1 && data[target_end - 1] != ' ')
        target_end--;
    if (target_end == method_end + 1)
        return HTTP_FAULT_REQUEST_LINE;

    HttpFault fault = parse_version(walk, target_end, end);
    if (fault == HTTP_FAULT_NONE)
        fault = parse_target(walk, method_end + 1, target_end - 1);
    if (fault != HTTP_FAULT_NONE)
        return fault;
    walk->head->method = http_method_from_string(data + start, method_end - start);
    return walk->head->method >= 0 ? HTTP_FAULT_NONE : HTTP_FAULT_METHOD;
}

static bool port_is_valid(const char *text, size_t length)
{
    unsigned port = 0;

    if (length == 0 || length > 5)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port > 0 && port <= UINT16_MAX;
}

static HttpFault take_host(HeadWalk *walk, HttpSpan value)
{
    const char *text = walk->data + value.offset;
    size_t length = value.length, end = 0;

    if (walk->has_host || length == 0 || length > 255 + 6)
        return HTTP_FAULT_HOST;
    if (text[0] == '[') { /* an IPv6 address */
        for (end = 1;
             end < length && (has_class(text[end], CLASS_HEX) || text[end] == ':' || text[end] == '.');)
            end++;
        if (end < 4 || end == length || text[end] != ']')
            return HTTP_FAULT_HOST;
        end++;
    } else {
        while (end < length && has_class(text[end], CLASS_HOST))
            end++;
        if (end == 0)
            return HTTP_FAULT_HOST;
    }
    if (end < length && (text[end] != ':' || !port_is_valid(text + end + 1, length - end - 1)))
        return HTTP_FAULT_HOST;
    walk->has_host = true;
    walk->head->host = value;
    return HTTP_FAULT_NONE;
}

static HttpFault take_content_length(HeadWalk *walk, HttpSpan value)
{
    uint64_t length = 0;

    /* 18 digits cannot overflow, and nothing real is longer. */
    if (walk->has_length || value.length == 0 || value.length > 18)
        return HTTP_FAULT_CONTENT_LENGTH;
    for (size_t i = 0; i < value.length; i++) {
        char digit = walk->data[value.offset + i];
        if (digit < '0' || digit > '9')
            return HTTP_FAULT_CONTENT_LENGTH;
        length = length * 10 + (uint64_t)(digit - '0');
    }
    walk->has_length = true;
    walk->head->content_length = length;
    return HTTP_FAULT_NONE;
}

static HttpFault take_transfer_encoding(HeadWalk *walk, HttpSpan value)
{
    /* HTTP/1.0 knows no transfer codings: a message that has one was framed by somebody else. */
    if (walk->has_encoding || walk->head->is_version_1_0 || !span_equals(walk->data, value, "chunked"))
        return HTTP_FAULT_TRANSFER_ENCODING;
    walk->has_encoding = true;
    walk->head->is_chunked = true;
    return HTTP_FAULT_NONE;
}

static HttpFault take_expect(HeadWalk *walk, HttpSpan value)
{
    if (walk->has_expectation || !span_equals(walk->data, value, "100-continue"))
        return HTTP_FAULT_EXPECTATION;
    walk->has_expectation = true;
    walk->head->expects_continue = !walk->head->is_version_1_0;
    return HTTP_FAULT_NONE;
}

static HttpFault take_connection(HeadWalk *walk, HttpSpan value)
{
    size_t start = value.offset, end = start + value.length;

    for (size_t i = start; i <= end; i++) {
        if (i < end && walk->data[i] != ',')
            continue;
        size_t from = start, to = i;
        while (from < to && is_blank(walk->data[from]))
            from++;
        while (to > from && is_blank(walk->data[to - 1]))
            to--;
        if (span_equals(walk->data, span_between(from, to), "close"))
            walk->head->is_keep_alive = false;
        start = i + 1;
    }
    return HTTP_FAULT_NONE;
}

static const struct {
    const char *name;
    HttpFault (*take)(HeadWalk *walk, HttpSpan value);
} special_fields[] = {
    {"host", take_host},
    {"content-length", take_content_length},
    {"transfer-encoding", take_transfer_encoding},
    {"connection", take_connection},
    {"expect", take_expect},
};

/* A field that two readers could take from different lines is refused, not merged. */
static HttpFault check_repetition(const HeadWalk *walk, HttpSpan name)
{
    const HttpHead *head = walk->head;

    for (unsigned i = 0; i < head->field_count; i++) {
        if (head->fields[i].name.length != name.length ||
            strncasecmp(walk->data + head->fields[i].name.offset, walk->data + name.offset, name.length) != 0)
            continue;
        for (size_t j = 0; j < ELEMENTSOF(list_fields); j++) {
            if (span_equals(walk->data, name, list_fields[j]))
                return HTTP_FAULT_NONE;
        }
        return HTTP_FAULT_REPEATED_FIELD;
    }
    return HTTP_FAULT_NONE;
}

static HttpFault take_field(HeadWalk *walk, HttpSpan name, HttpSpan value)
{
    HttpHead *head = walk->head;
    HttpFault fault = HTTP_FAULT_NONE;

    if (head->field_count == HTTP_FIELDS_MAX)
        return HTTP_FAULT_TOO_MANY_FIELDS;
    for (size_t i = 0; i < ELEMENTSOF(special_fields) && fault == HTTP_FAULT_NONE; i++) {
        if (span_equals(walk->data, name, special_fields[i].name))
            fault = special_fields[i].take(walk, value);
    }
    if (fault == HTTP_FAULT_NONE)
        fault = check_repetition(walk, name);
    if (fault == HTTP_FAULT_NONE)
        head->fields[head->field_count++] = (HttpField){.name = name, .value = value};
    return fault;
}

static HttpFault parse_field(HeadWalk *walk, size_t start, size_t end)
{
    const char *data = walk->data;
    size_t name_end = start;

    if (is_blank(data[start]))
        return HTTP_FAULT_FOLDING;
    while (name_end < end && has_class(data[name_end], CLASS_TOKEN))
        name_end++;
    if (name_end == start || name_end == end || data[name_end] != ':')
        return HTTP_FAULT_FIELD_NAME;

    size_t value_start = name_end + 1, value_end = end;
    while (value_start < value_end && is_blank(data[value_start]))
        value_start++;
    while (value_end > value_start && is_blank(data[value_end - 1]))
        value_end--;
    for (size_t i = value_start; i < value_end; i++) {
        if (!is_value_character(data[i]))
            return HTTP_FAULT_FIELD_VALUE;
    }
    return take_field(walk, span_between(start, name_end), span_between(value_start, value_end));
}

HttpFault http_head_parse(const char *data, size_t size, HttpHead *ret_head)
{
    HeadWalk walk = {.data = data, .head = ret_head};
    bool is_first = true;

    memset(ret_head, 0, offsetof(HttpHead, fields));
    if (size > HTTP_HEAD_LIMIT)
        return HTTP_FAULT_HEAD_TOO_LARGE;
    size_t position = size >= 2 && data[0] == '\r' && data[1] == '\n' ? 2 : 0;
    while (position < size) {
        const char *line_end = memchr(data + position, '\n', size - position);
        size_t end = line_end ? (size_t)(line_end - data) : position;
        if (end == position || data[end - 1] != '\r')
            return HTTP_FAULT_LINE_END;
        end--;

        HttpFault fault = HTTP_FAULT_NONE;
        if (is_first)
            fault = end == position ? HTTP_FAULT_REQUEST_LINE : parse_request_line(&walk, position, end);
        else if (end == position)
            break;
        else
            fault = parse_field(&walk, position, end);
        if (fault != HTTP_FAULT_NONE)
            return fault;
        is_first = false;
        position = end + 2;
    }
    if (is_first || position + 2 != size)
        return is_first ? HTTP_FAULT_REQUEST_LINE : HTTP_FAULT_LINE_END;
    if (!walk.has_host)
        return HTTP_FAULT_HOST;
    if (walk.has_length && walk.has_encoding)
        return HTTP_FAULT_AMBIGUOUS_LENGTH;
    return HTTP_FAULT_NONE;
}

const HttpField *http_head_field(const HttpHead *head, const char *data, const char *name)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        if (span_equals(data, head->fields[i].name, name))
            return &head->fields[i];
    }
    return NULL;
}

/* Chunked bodies: one state a byte class, so that any split of the bytes gives the same result. */
enum {
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_START,
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_FINAL_LF,
    CHUNK_COMPLETE,
};

static HttpFault chunk_size_byte(HttpChunked *chunked, char byte)
{
    int digit = hex_value(byte);

    if (digit >= 0) {
        if (++chunked->digits > 15)
            return HTTP_FAULT_CHUNK_SIZE;
        chunked->left = chunked->left * 16 + (uint64_t)digit;
        return HTTP_FAULT_NONE;
    }
    if (chunked->digits == 0 || (byte != ';' && byte != '\r'))
        return HTTP_FAULT_CHUNK_SIZE;
    chunked->state = byte == ';' ? CHUNK_EXTENSION : CHUNK_SIZE_LF;
    return HTTP_FAULT_NONE;
}

static HttpFault chunk_extension_byte(HttpChunked *chunked, char byte)
{
    if (byte == '\r') {
        chunked->state = CHUNK_SIZE_LF;
        return HTTP_FAULT_NONE;
    }
    if (!is_value_character(byte))
        return HTTP_FAULT_CHUNK_SIZE;
    if (++chunked->extension > HTTP_CHUNK_EXTENSION_LIMIT || ++chunked->overhead > HTTP_CHUNK_OVERHEAD_LIMIT)
        return HTTP_FAULT_CHUNK_OVERHEAD;
    return HTTP_FAULT_NONE;
}

static HttpFault chunk_trailer_byte(HttpChunked *chunked, char byte)
{
    if (++chunked->overhead > HTTP_CHUNK_OVERHEAD_LIMIT)
        return HTTP_FAULT_CHUNK_OVERHEAD;
    if (chunked->state == CHUNK_TRAILER_START) {
        if (byte == '\r') {
            chunked->state = CHUNK_FINAL_LF;
            return HTTP_FAULT_NONE;
        }
        if (++chunked->trailers > HTTP_TRAILERS_MAX)
            return HTTP_FAULT_CHUNK_OVERHEAD;
        chunked->state = CHUNK_TRAILER_NAME;
        return has_class(byte, CLASS_TOKEN) ? HTTP_FAULT_NONE : HTTP_FAULT_TRAILER;
    }
    if (chunked->state == CHUNK_TRAILER_NAME) {
        if (byte == ':')
            chunked->state = CHUNK_TRAILER_VALUE;
        else if (!has_class(byte, CLASS_TOKEN))
            return HTTP_FAULT_TRAILER;
        return HTTP_FAULT_NONE;
    }
    if (byte == '\r')
        chunked->state = CHUNK_TRAILER_LF;
    else if (!is_value_character(byte))
        return HTTP_FAULT_TRAILER;
    return HTTP_FAULT_NONE;
}

/* The states that wait for one certain byte. */
static HttpFault chunk_line_byte(HttpChunked *chunked, char byte)
{
    static const struct {
        char byte;
        uint8_t next;
        HttpFault fault;
    } expected[] = {
        [CHUNK_DATA_CR] = {'\r', CHUNK_DATA_LF, HTTP_FAULT_CHUNK_DATA},
        [CHUNK_DATA_LF] = {'\n', CHUNK_SIZE, HTTP_FAULT_CHUNK_DATA},
        [CHUNK_TRAILER_LF] = {'\n', CHUNK_TRAILER_START, HTTP_FAULT_TRAILER},
        [CHUNK_FINAL_LF] = {'\n', CHUNK_COMPLETE, HTTP_FAULT_TRAILER},
        [CHUNK_SIZE_LF] = {'\n', CHUNK_DATA, HTTP_FAULT_CHUNK_SIZE},
    };

    if (byte != expected[chunked->state].byte)
        return expected[chunked->state].fault;
    if (chunked->state == CHUNK_SIZE_LF) {
        chunked->digits = 0;
        chunked->extension = 0;
        chunked->state = chunked->left > 0 ? CHUNK_DATA : CHUNK_TRAILER_START;
    } else {
        chunked->state = expected[chunked->state].next;
    }
    return HTTP_FAULT_NONE;
}

static HttpFault chunk_byte(HttpChunked *chunked, char byte)
{
    switch (chunked->state) {
    case CHUNK_SIZE:
        return chunk_size_byte(chunked, byte);
    case CHUNK_EXTENSION:
        return chunk_extension_byte(chunked, byte);
    case CHUNK_TRAILER_START:
    case CHUNK_TRAILER_NAME:
    case CHUNK_TRAILER_VALUE:
        return chunk_trailer_byte(chunked, byte);
    default:
        return chunk_line_byte(chunked, byte);
    }
}

HttpFault http_chunked_step(HttpChunked *chunked, const char *data, size_t size, size_t *ret_taken,
                            const char **ret_body, size_t *ret_body_size)
{
    size_t taken = 0;
    HttpFault fault = HTTP_FAULT_NONE;

    *ret_body = NULL;
    *ret_body_size = 0;
    while (taken < size && chunked->state != CHUNK_COMPLETE && fault == HTTP_FAULT_NONE) {
        if (chunked->state == CHUNK_DATA) {
            size_t count = (size_t)MIN((uint64_t)(size - taken), chunked->left);
            *ret_body = data + taken;
            *ret_body_size = count;
            chunked->left -= count;
            taken += count;
            if (chunked->left == 0)
                chunked->state = CHUNK_DATA_CR;
            break;
        }
        fault = chunk_byte(chunked, data[taken++]);
    }
    *ret_taken = taken;
    return fault;
}

bool http_chunked_is_complete(const HttpChunked *chunked)
{
    return chunked->state == CHUNK_COMPLETE;
}
