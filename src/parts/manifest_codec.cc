/// Bytes of a manifest file; the format is docs/formats/manifest.md.

#include <algorithm>
#include <cstring>
#include <span>

#include <xxhash.h>

#include "core/crc32c.h"
#include "parts/byte_codec.h"
#include "parts/manifest.h"

namespace sheaf::parts {
namespace {

constexpr std::string_view kMagic = "SHEAFMAN";
constexpr uint32_t kVersion = 2;
constexpr uint32_t kVersionWithoutKeys = 1;
constexpr size_t kUuidBytes = 16;
constexpr size_t kDigestBytes = 16;
constexpr size_t kFrameBytes = 12;   // CRC, length, kind.
constexpr size_t kFooterBytes = 16;  // XXH3-128 of all before it.

enum class RecordKind : uint32_t { kState = 1, kTable = 2, kPart = 3, kEnd = 4 };

std::string Digest(std::string_view bytes) {
  XXH128_canonical_t out;
  XXH128_canonicalFromHash(&out, XXH3_128bits(bytes.data(), bytes.size()));
  return std::string(reinterpret_cast<const char*>(out.digest), sizeof out.digest);
}

uint32_t Crc(std::string_view bytes) { return Crc32c(std::as_bytes(std::span(bytes.data(), bytes.size()))); }

void AppendRecord(RecordKind kind, const std::string& payload, std::string* out) {
  std::string frame;
  ByteWriter writer(&frame);
  writer.Number(static_cast<uint32_t>(payload.size()));
  writer.Number(static_cast<uint32_t>(kind));
  writer.Raw(payload);
  ByteWriter(out).Number(Crc(frame));
  out->append(frame);
}

std::string EncodeState(const ManifestState& state) {
  std::string out;
  ByteWriter w(&out);
  w.Number(state.number);
  w.Fixed(state.database_uuid, kUuidBytes);
  w.Number(state.epoch.value);
  w.Number(state.covered.value);
  w.Number(state.durable.value);
  w.Number(state.next_part.value);
  w.Number(state.next_table.value);
  w.Text(state.extra_json);
  return out;
}

void DecodeState(ByteReader* in, ManifestState* state) {
  state->number = in->Number<uint64_t>();
  state->database_uuid = in->Raw(kUuidBytes);
  state->epoch = Epoch(in->Number<uint64_t>());
  state->covered = Lsn(in->Number<uint64_t>());
  state->durable = Lsn(in->Number<uint64_t>());
  state->next_part = PartId(in->Number<uint64_t>());
  state->next_table = TableId(in->Number<uint64_t>());
  state->extra_json = in->Text();
}

std::string EncodeTable(const TableRecord& table) {
  std::string out;
  ByteWriter w(&out);
  w.Number(table.id.value);
  w.Text(table.schema_name);
  w.Text(table.name);
  w.Number(table.schema_version);
  w.Text(table.arrow_schema);
  w.Text(table.settings_json);
  return out;
}

void DecodeTable(ByteReader* in, TableRecord* table) {
  table->id = TableId(in->Number<uint64_t>());
  table->schema_name = in->Text();
  table->name = in->Text();
  table->schema_version = in->Number<uint32_t>();
  table->arrow_schema = in->Text();
  table->settings_json = in->Text();
}

std::string EncodePart(const PartInfo& part) {
  std::string out;
  ByteWriter w(&out);
  w.Number(part.id.value);
  w.Number(part.table.value);
  w.Number(part.schema_version);
  w.Number(static_cast<uint8_t>(part.format));
  w.Number(static_cast<int32_t>(part.level));
  w.Text(part.file_name);
  w.Fixed(part.file_uuid, kUuidBytes);
  w.Number(part.rows);
  w.Number(part.data_bytes);
  w.Number(part.index_bytes);
  w.Number(part.min_lsn.value);
  w.Number(part.max_lsn.value);
  w.Number(part.time_min);
  w.Number(part.time_max);
  w.Number(part.created_ns);
  w.Fixed(part.digest, kDigestBytes);
  w.Text(part.key_min);
  w.Text(part.key_max);
  w.Text(part.dead_file);
  w.Fixed(part.dead_digest, kDigestBytes);
  w.Number(part.dead_rows);
  w.Number(part.dead_through.value);
  return out;
}

bool DecodePart(ByteReader* in, uint32_t version, PartInfo* part) {
  part->id = PartId(in->Number<uint64_t>());
  part->table = TableId(in->Number<uint64_t>());
  part->schema_version = in->Number<uint32_t>();
  const auto format = in->Number<uint8_t>();
  part->format = static_cast<Format>(format);
  part->level = in->Number<int32_t>();
  part->file_name = in->Text();
  part->file_uuid = in->Raw(kUuidBytes);
  part->rows = in->Number<int64_t>();
  part->data_bytes = in->Number<int64_t>();
  part->index_bytes = in->Number<int64_t>();
  part->min_lsn = Lsn(in->Number<uint64_t>());
  part->max_lsn = Lsn(in->Number<uint64_t>());
  part->time_min = in->Number<int64_t>();
  part->time_max = in->Number<int64_t>();
  part->created_ns = in->Number<int64_t>();
  part->digest = in->Raw(kDigestBytes);
  if (version > kVersionWithoutKeys) {
    part->key_min = in->Text();
    part->key_max = in->Text();
    part->dead_file = in->Text();
    part->dead_digest = in->Raw(kDigestBytes);
    if (part->dead_file.empty()) part->dead_digest.clear();
    part->dead_rows = in->Number<int64_t>();
    part->dead_through = Lsn(in->Number<uint64_t>());
  }
  const bool plain_name = (part->file_name + part->dead_file).find('/') == std::string::npos;  // Never a way out of the folder.
  if (part->dead_rows < 0 || part->dead_rows > part->rows || part->key_min > part->key_max) return false;  // Nor rows below 0.
  return (format == 1 || format == 2) && plain_name && part->data_bytes >= 0 && part->index_bytes >= 0;
}

Status Damaged(size_t offset, const char* what) {
  return MakeError(ErrorKind::kCorruption, "the manifest is damaged at offset {}: {}", offset, what);
}

}  // namespace

std::string EncodeManifest(const ManifestState& state) {
  std::string out;
  ByteWriter w(&out);
  w.Raw(kMagic);
  w.Number(kVersion);
  AppendRecord(RecordKind::kState, EncodeState(state), &out);
  for (const TableRecord& table : state.tables) AppendRecord(RecordKind::kTable, EncodeTable(table), &out);
  for (const PartInfo& part : state.parts) AppendRecord(RecordKind::kPart, EncodePart(part), &out);
  std::string end;
  ByteWriter(&end).Number(static_cast<uint64_t>(1 + state.tables.size() + state.parts.size()));
  AppendRecord(RecordKind::kEnd, end, &out);
  out += Digest(out);
  return out;
}

Result<ManifestState> DecodeManifest(std::string_view bytes) {
  const size_t prefix = kMagic.size() + sizeof kVersion;
  if (bytes.size() < prefix + kFooterBytes || bytes.substr(0, kMagic.size()) != kMagic) return Damaged(0, "it is no manifest");
  const std::string_view body = bytes.substr(0, bytes.size() - kFooterBytes);
  if (Digest(body) != bytes.substr(body.size())) return Damaged(body.size(), "the digest of the whole does not match");
  const auto version = ByteReader(bytes.substr(kMagic.size())).Number<uint32_t>();
  if (version != kVersion && version != kVersionWithoutKeys) {
    return MakeError(ErrorKind::kUnsupported, "manifest version {}; this program reads up to {}: use the program that wrote it",
                     version, kVersion);
  }
  ManifestState state;
  uint64_t records = 0;
  size_t at = prefix;
  bool ended = false;
  while (at < body.size()) {
    if (ended) return Damaged(at, "something follows the end");
    if (body.size() - at < kFrameBytes) return Damaged(at, "a record is cut off");
    ByteReader frame(body.substr(at));
    const auto crc = frame.Number<uint32_t>();
    const auto length = frame.Number<uint32_t>();
    const auto kind = static_cast<RecordKind>(frame.Number<uint32_t>());
    if (length > body.size() - at - kFrameBytes) return Damaged(at, "a record is longer than the file");
    if (crc != Crc(body.substr(at + sizeof crc, kFrameBytes - sizeof crc + length))) return Damaged(at, "a record's CRC does not match");
    ByteReader in(body.substr(at + kFrameBytes, length));
    bool sane = (kind == RecordKind::kState) == (records == 0);
    switch (kind) {
      case RecordKind::kState: DecodeState(&in, &state); break;
      case RecordKind::kTable: DecodeTable(&in, &state.tables.emplace_back()); break;
      case RecordKind::kPart: sane &= DecodePart(&in, version, &state.parts.emplace_back()); break;
      case RecordKind::kEnd:
        ended = true;
        sane &= in.Number<uint64_t>() == records;
        break;
      default:
        return MakeError(ErrorKind::kUnsupported, "a manifest record of kind {}: use the program that wrote it",
                         static_cast<uint32_t>(kind));
    }
    if (!in.ok() || in.left() != 0 || !sane) return Damaged(at, "a record makes no sense");
    ++records;
    at += kFrameBytes + length;
  }
  if (!ended) return Damaged(at, "its end is missing");
  for (PartInfo& part : state.parts) part.database_uuid = state.database_uuid;
  return state;
}

}  // namespace sheaf::parts
