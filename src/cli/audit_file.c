/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/audit_file.h"

#include <errno.h>
#include <inttypes.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/string.h"
#include "custody/keeper_protocol.h"
#include "domain/audit/chain.h"

enum { EXPORT_FORMAT = 1 };

typedef struct Shard {
    int64_t number, sequence, signed_sequence, epoch;
    uint8_t hash[HASH_SIZE];
    bool has_ended;
} Shard;

struct AuditFile {
    uint8_t key[SIGN_PUBLIC_SIZE];
    Shard shards[AUDIT_FILE_SHARDS_MAX];
    size_t shard_count;
    uint64_t line, records, signatures;
    int64_t last_signed_time;
    bool has_begun, has_ended;
};

AuditFile *audit_file_new(const uint8_t key[static SIGN_PUBLIC_SIZE])
{
    AuditFile *file = NEW(AuditFile);
    memcpy(file->key, key, SIGN_PUBLIC_SIZE);
    return file;
}

AuditFile *audit_file_free(AuditFile *file)
{
    free(file);
    return NULL;
}

static int bad(const AuditFile *file, Error *error, int64_t shard, int64_t sequence, const char *why)
{
    int r = error_set(error, ERROR_UNTRUSTED, "line %" PRIu64 ": record %" PRId64 " of shard %" PRId64 ": %s",
                      file->line, sequence, shard, why);
    error->line = (unsigned)MIN(file->line, (uint64_t)INT32_MAX);
    return r;
}

static int malformed(const AuditFile *file, Error *error, const char *why)
{
    return error_set(error, ERROR_BAD_DOCUMENT, "line %" PRIu64 ": %s", file->line, why);
}

/* Lines
 * ------------------------------------------------------------------------------------------------------------
 */

typedef struct Line {
    const char *type, *hash, *signature, *signing_key;
    AuditEntry entry;
    int64_t epoch;
} Line;

#define TEXT(name_, member_)                                                                                 \
    {                                                                                                        \
        name_, JSON_FIELD_STRING, offsetof(Line, entry.member_), JSON_FIELD_REQUIRED, 0, 0, NULL             \
    }
#define NUMBER(name_, member_, minimum_)                                                                     \
    {                                                                                                        \
        name_, JSON_FIELD_INTEGER, offsetof(Line, member_), JSON_FIELD_REQUIRED, minimum_, INT64_MAX, NULL   \
    }
#define HEX(name_, member_, size_)                                                                           \
    {                                                                                                        \
        name_, JSON_FIELD_STRING, offsetof(Line, member_), JSON_FIELD_REQUIRED, 2 * (size_), 2 * (size_),    \
            NULL                                                                                             \
    }
#define TYPE                                                                                                 \
    {                                                                                                        \
        "type", JSON_FIELD_STRING, offsetof(Line, type), JSON_FIELD_REQUIRED, 1, 16, NULL                    \
    }

static const JsonField export_fields[] = {
    TYPE, NUMBER("format", entry.format, 1), HEX("signing_key", signing_key, SIGN_PUBLIC_SIZE), {0}};
static const JsonField record_fields[] = {TYPE,
                                          NUMBER("format", entry.format, 1),
                                          NUMBER("shard", entry.shard, 0),
                                          NUMBER("sequence", entry.sequence, 1),
                                          NUMBER("time", entry.time, 0),
                                          TEXT("actor", actor),
                                          TEXT("effective_actor", effective_actor),
                                          TEXT("authentication", authentication),
                                          TEXT("tenant", tenant),
                                          TEXT("source", source),
                                          TEXT("request_id", request_id),
                                          TEXT("action", action),
                                          TEXT("object", object),
                                          TEXT("outcome", outcome),
                                          TEXT("digest_before", digest_before),
                                          TEXT("digest_after", digest_after),
                                          TEXT("details", details),
                                          HEX("hash", hash, HASH_SIZE),
                                          {0}};
static const JsonField signature_fields[] = {TYPE,
                                             NUMBER("shard", entry.shard, 0),
                                             NUMBER("epoch", epoch, 1),
                                             NUMBER("sequence", entry.sequence, 1),
                                             NUMBER("time", entry.time, 0),
                                             HEX("hash", hash, HASH_SIZE),
                                             HEX("signature", signature, SIGN_SIGNATURE_SIZE),
                                             {0}};
static const JsonField head_fields[] = {TYPE,
                                        NUMBER("shard", entry.shard, 0),
                                        NUMBER("sequence", entry.sequence, 0),
                                        HEX("hash", hash, HASH_SIZE),
                                        {0}};
static const JsonField end_fields[] = {TYPE, NUMBER("records", entry.sequence, 0), {0}};

static bool unhex(const char *text, uint8_t *ret_bytes, size_t size)
{
    size_t written;
    return hex_decode(text, ret_bytes, size, &written) >= 0 && written == size;
}

static Shard *find_shard(AuditFile *file, int64_t number)
{
    for (size_t i = 0; i < file->shard_count; i++)
        if (file->shards[i].number == number)
            return &file->shards[i];
    if (file->shard_count == AUDIT_FILE_SHARDS_MAX)
        return NULL;
    Shard *shard = &file->shards[file->shard_count++];
    *shard = (Shard){.number = number, .epoch = 1};
    return shard;
}

static int take_export(AuditFile *file, const Line *line, Shard *shard, Error *error)
{
    (void)shard;
    uint8_t key[SIGN_PUBLIC_SIZE];
    if (file->has_begun)
        return malformed(file, error, "a second beginning of an export");
    if (line->entry.format != EXPORT_FORMAT)
        return malformed(file, error, "this program does not know the format of the export");
    if (!unhex(line->signing_key, key, sizeof(key)) || memcmp(key, file->key, sizeof(key)) != 0)
        return error_set(error, ERROR_UNTRUSTED,
                         "line %" PRIu64
                         ": the export says that another key signs; it is of another installation, or forged",
                         file->line);
    file->has_begun = true;
    return 0;
}

static int take_record(AuditFile *file, const Line *line, Shard *shard, Error *error)
{
    const AuditEntry *entry = &line->entry;
    uint8_t said[HASH_SIZE], made[HASH_SIZE];
    if (entry->sequence != shard->sequence + 1 || shard->has_ended)
        return bad(file, error, shard->number, shard->sequence + 1, "is missing, or not in its place");
    audit_chain_hash(shard->hash, entry, made);
    if (entry->format > AUDIT_FORMAT_CURRENT || !unhex(line->hash, said, sizeof(said)) ||
        memcmp(said, made, HASH_SIZE) != 0)
        return bad(file, error, shard->number, entry->sequence, "was changed, or one before it");
    memcpy(shard->hash, made, HASH_SIZE);
    shard->sequence = entry->sequence;
    file->records++;
    return 0;
}

static int take_signature(AuditFile *file, const Line *line, Shard *shard, Error *error)
{
    char text[24];
    uint8_t hash[HASH_SIZE], signature[SIGN_SIGNATURE_SIZE];
    (void)string_print(text, sizeof(text), "%" PRId64, shard->number);
    bool is_good = line->entry.sequence == shard->sequence && line->epoch >= shard->epoch &&
                   unhex(line->hash, hash, sizeof(hash)) && memcmp(hash, shard->hash, HASH_SIZE) == 0 &&
                   unhex(line->signature, signature, sizeof(signature)) &&
                   audit_head_verify(file->key, text, (uint64_t)line->epoch, (uint64_t)line->entry.sequence,
                                     (Usec)line->entry.time, hash, signature) == 0;
    if (!is_good)
        return bad(file, error, shard->number, shard->signed_sequence + 1,
                   "it or a later one is not what the keeper has signed");
    shard->signed_sequence = line->entry.sequence;
    shard->epoch = line->epoch;
    file->signatures++;
    file->last_signed_time = MAX(file->last_signed_time, line->entry.time);
    return 0;
}

static int take_head(AuditFile *file, const Line *line, Shard *shard, Error *error)
{
    uint8_t hash[HASH_SIZE];
    if (line->entry.sequence != shard->sequence || !unhex(line->hash, hash, sizeof(hash)) ||
        memcmp(hash, shard->hash, HASH_SIZE) != 0)
        return bad(file, error, shard->number, shard->sequence + 1, "the end of the shard is missing");
    shard->has_ended = true;
    return 0;
}

static int take_end(AuditFile *file, const Line *line, Shard *shard, Error *error)
{
    (void)shard;
    for (size_t i = 0; i < file->shard_count; i++)
        if (!file->shards[i].has_ended)
            return bad(file, error, file->shards[i].number, file->shards[i].sequence + 1,
                       "the end of the shard is missing");
    if ((uint64_t)line->entry.sequence != file->records)
        return malformed(file, error, "the export says another number of records than it has");
    file->has_ended = true;
    return 0;
}

static const struct LineType {
    const char *name;
    const JsonField *fields;
    bool is_of_shard;
    int (*take)(AuditFile *file, const Line *line, Shard *shard, Error *error);
} line_types[] = {
    {"export", export_fields, false, take_export},
    {"record", record_fields, true, take_record},
    {"signature", signature_fields, true, take_signature},
    {"head", head_fields, true, take_head},
    {"end", end_fields, false, take_end},
};

static const struct LineType *find_type(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(line_types); i++)
        if (string_equal(line_types[i].name, name))
            return &line_types[i];
    return NULL;
}

int audit_file_line(AuditFile *file, const char *line, size_t size, Error *error)
{
    _cleanup_json_ json_t *document = NULL;
    Error cause = ERROR_INIT;
    file->line++;
    if (file->has_ended)
        return malformed(file, error, "something follows the end of the export");
    if (size > AUDIT_FILE_LINE_MAX)
        return malformed(file, error, "the line is too long");
    if (json_parse(line, size, AUDIT_FILE_LINE_MAX, &document, &cause) < 0 || !json_is_object(document))
        return malformed(file, error, "this is not a JSON object");
    const struct LineType *type = find_type(json_string_value(json_object_get(document, "type")));
    if (!type)
        return malformed(file, error, "the type of the line is missing or unknown");
    if (!file->has_begun && type != &line_types[0])
        return malformed(file, error, "an export begins with a line of the type 'export'");
    Line values = {0};
    if (json_dispatch(document, type->fields, &values, "", JSON_UNKNOWN_ERROR, NULL, &cause) < 0)
        return malformed(file, error, cause.text);
    Shard *shard = type->is_of_shard ? find_shard(file, values.entry.shard) : NULL;
    if (type->is_of_shard && !shard)
        return malformed(file, error, "the export has too many shards");
    return type->take(file, &values, shard, error);
}

int audit_file_end(AuditFile *file, AuditFileReport *ret_report, Error *error)
{
    if (!file->has_ended)
        return error_set(error, ERROR_UNTRUSTED,
                         "the export ends after line %" PRIu64 " without its last line: it was cut",
                         file->line);
    *ret_report = (AuditFileReport){
        .records = file->records, .signatures = file->signatures, .last_signed_time = file->last_signed_time};
    for (size_t i = 0; i < file->shard_count; i++)
        ret_report->unsigned_records +=
            (uint64_t)(file->shards[i].sequence - file->shards[i].signed_sequence);
    return 0;
}
