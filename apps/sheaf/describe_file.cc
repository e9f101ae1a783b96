#include "describe_file.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/type.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>

#include "columns/column_report.h"
#include "columns/token_filter.h"
#include "core/hex.h"
#include "file_kinds.h"
#include "io/arrow_io.h"
#include "io/posix.h"
#include "parts/delete_vector.h"
#include "parts/manifest.h"
#include "parts/part_index.h"
#include "parts/report_codec.h"
#include "store/batch_id_file.h"
#include "store/log_payload.h"
#include "store/snapshots.h"
#include "wal/segment_reader.h"
#include "wal/segments.h"

namespace sheaf::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kWholeFileBytesMax = int64_t{1} << 30;

Result<std::string> ReadWhole(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const auto buffer, io::ReadFile(io::PosixFileSystem(), path, kWholeFileBytesMax));
  return std::string(reinterpret_cast<const char*>(buffer->data()), static_cast<size_t>(buffer->size()));
}

Json PartAsJson(const parts::PartInfo& info) {
  Json json{{"id", info.id.value},
          {"table", info.table.value},
          {"file", info.file_name},
          {"uuid", ToHex(info.file_uuid)},
          {"format", info.format == parts::Format::kHot ? "hot" : "cold"},
          {"level", info.level},
          {"schema_version", info.schema_version},
          {"rows", info.rows},
          {"data_bytes", info.data_bytes},
          {"index_bytes", info.index_bytes},
          {"min_lsn", info.min_lsn.value},
          {"max_lsn", info.max_lsn.value},
          {"time_min_ns", info.time_min},
          {"time_max_ns", info.time_max},
          {"created_ns", info.created_ns},
          {"digest", ToHex(info.digest)}};
  if (!info.key_max.empty()) {
    json["key_min_hex"] = ToHex(info.key_min);
    json["key_max_hex"] = ToHex(info.key_max);
  }
  if (!info.dead_file.empty()) {
    json["dead"] = {{"file", info.dead_file},
                    {"rows", info.dead_rows},
                    {"through_lsn", info.dead_through.value},
                    {"digest", ToHex(info.dead_digest)}};
  }
  return json;
}

Result<Json> DescribeManifest(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const std::string bytes, ReadWhole(path));
  SHEAF_ASSIGN_OR_RETURN(const parts::ManifestState state, parts::DecodeManifest(bytes));
  Json tables = Json::array(), parts = Json::array();
  for (const parts::TableRecord& table : state.tables) {
    tables.push_back({{"id", table.id.value},
                      {"name", table.schema_name + "." + table.name},
                      {"schema_version", table.schema_version},
                      {"settings", Json::parse(table.settings_json, nullptr, false)}});
  }
  for (const parts::PartInfo& part : state.parts) parts.push_back(PartAsJson(part));
  return Json{{"kind", "manifest"},
              {"number", state.number},
              {"database", ToHex(state.database_uuid)},
              {"epoch", state.epoch.value},
              {"covered_lsn", state.covered.value},
              {"durable_lsn", state.durable.value},
              {"next_part", state.next_part.value},
              {"next_table", state.next_table.value},
              {"tables", tables},
              {"parts", parts},
              {"extra", Json::parse(state.extra_json, nullptr, false)}};
}

Json EntryAsJson(const wal::LoggedEntry& logged) {
  Json json = {{"lsn", logged.lsn.value},
               {"time_ns", logged.time_ns},
               {"type", logged.entry.type},
               {"payload_bytes", logged.entry.payload->size()}};
  if (!logged.entry.batch_id.empty()) json["batch_id"] = logged.entry.batch_id;
  return json;
}

Result<Json> DescribeLogSegment(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const auto reader, wal::SegmentReader::Open(io::PosixFileSystem(), path));
  SHEAF_ASSIGN_OR_RETURN(const wal::SegmentHeader header, reader->ReadHeader());
  Json blocks = Json::array();
  reader->Seek({Lsn(header.first_lsn), wal::kPageBytes, header.chain}, header.salt);
  for (;;) {
    SHEAF_ASSIGN_OR_RETURN(const auto block, reader->Next());
    if (!block) break;
    Json entries = Json::array();
    for (const wal::LoggedEntry& entry : block->entries) entries.push_back(EntryAsJson(entry));
    blocks.push_back({{"offset", block->header.position},
                      {"bytes", block->header.block_bytes},
                      {"durable_lsn", block->header.durable_lsn},
                      {"entries", entries}});
  }
  const wal::Tail& tail = reader->tail();
  Json json = {{"kind", "log segment"}, {"version", header.version},       {"first_lsn", header.first_lsn},
               {"epoch", header.epoch}, {"created_ns", header.created_ns}, {"file_bytes", reader->file_bytes()},
               {"blocks", blocks}};
  json["tail"] = {
      {"offset", tail.offset}, {"state", tail.state == wal::TailState::kBlank ? "blank" : "damaged"}, {"reason", tail.reason}};
  return json;
}

Result<Json> DescribeLogCommit(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const std::string bytes, ReadWhole(path));
  Json slots = Json::array();
  for (size_t offset = 0; offset + wal::kPageBytes <= bytes.size() && slots.size() < 2; offset += wal::kPageBytes) {
    const auto slot = wal::DecodeCommitSlot(std::as_bytes(std::span(bytes.data() + offset, wal::kPageBytes)));
    slots.push_back(slot ? Json{{"sequence", slot->sequence}, {"durable_lsn", slot->durable_lsn}, {"closed", slot->closed != 0}}
                         : Json{{"damaged", true}});
  }
  return Json{{"kind", "log commit"}, {"slots", slots}};
}

std::string ZoneText(const columns::Zone& zone) {
  using Kind = columns::Zone::Kind;
  switch (zone.kind) {
    case Kind::kInt64: return fmt::format("{} to {}", zone.int_min, zone.int_max);
    case Kind::kUint64: return fmt::format("{} to {}", static_cast<uint64_t>(zone.int_min), static_cast<uint64_t>(zone.int_max));
    case Kind::kDouble: return fmt::format("{} to {}", zone.double_min, zone.double_max);
    case Kind::kBytes: return fmt::format("{} to {} (hex)", ToHex(zone.bytes_min), ToHex(zone.bytes_max));
    case Kind::kNone: break;
  }
  return "no values";
}

Result<std::unique_ptr<parts::PartIndex>> OpenIndex(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(auto bytes, io::ReadFile(io::PosixFileSystem(), path, kWholeFileBytesMax));
  return parts::PartIndex::Open(std::move(bytes), path);
}

/// As sheaf.columns has them.
Result<Json> ReportsAsJson(const parts::PartIndex& index) {
  SHEAF_ASSIGN_OR_RETURN(const std::string_view bytes, index.ReportBytes());
  SHEAF_ASSIGN_OR_RETURN(const auto reports, parts::DecodeReports(bytes, index.columns()));
  Json json = Json::array();
  for (const columns::ColumnReport& report : reports) {
    const columns::ColumnAnalysis& analysis = report.analysis;
    json.push_back({{"column", report.column},
                    {"path", report.path},
                    {"rows", analysis.values},
                    {"nulls", analysis.nulls},
                    {"looked_at", analysis.looked_at},
                    {"cardinality", analysis.cardinality},
                    {"cardinality_is_exact", analysis.cardinality_is_exact},
                    {"runs", analysis.runs},
                    {"longest_run", analysis.longest_run},
                    {"encoding", columns::NameOf(report.stored.encoding)},
                    {"reason", columns::TextOf(report.stored.reason)},
                    {"bytes_before", analysis.plain_bytes},
                    {"bytes_after", report.stored_bytes},
                    {"dictionary_bytes", analysis.dictionary_bytes},
                    {"run_end_bytes", analysis.run_end_bytes},
                    {"delta_bytes", analysis.delta_bytes},
                    {"frame_of_reference_bytes", analysis.frame_bytes}});
  }
  return json;
}

Result<Json> DescribePartIndex(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const auto index, OpenIndex(path));
  SHEAF_RETURN_NOT_OK(index->Verify());
  Json granules = Json::array(), columns = Json::array();
  for (int i = 0; i < index->granules(); ++i) {
    const parts::GranulePlace& place = index->granule(i);
    granules.push_back({{"rows", place.rows}, {"offset", place.offset}, {"bytes", place.bytes}});
  }
  for (int column = 0; column < index->columns(); ++column) {
    Json json = {{"column", column}, {"filter", index->has_filter(column)}};
    if (const columns::Zone* zone = index->zone(-1, column); zone != nullptr) {
      json["values"] = ZoneText(*zone);
      json["nulls"] = zone->null_count;
    }
    if (index->has_tokens(column)) {
      SHEAF_ASSIGN_OR_RETURN(const std::string_view bytes, index->TokenFilterBytes(column));
      const std::span filter(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      SHEAF_ASSIGN_OR_RETURN(const columns::TokenFilterShape shape, columns::ShapeOfTokenFilter(filter));
      json["token_index"] = {{"bytes", filter.size()},
                             {"probes", shape.probes},
                             {"stripe_blocks", shape.blocks},
                             {"fill", columns::FillOfTokenFilter(filter, shape)}};
    }
    columns.push_back(json);
  }
  Json json{{"kind", "part index"},
            {"part", PartAsJson(index->info())},
            {"data_blocks", index->data_sums().size()},
            {"granules", granules},
            {"columns", columns}};
  if (const columns::AttributeKeys* attributes = index->attributes(); attributes != nullptr) {
    Json keys = Json::array();
    for (const columns::AttributeKey& key : attributes->keys) {
      keys.push_back({{"list", key.column}, {"key", key.key}, {"values", key.values}, {"column", key.position}});
    }
    json["attributes"] = {{"complete", attributes->complete}, {"keys", keys}};
  }
  if (index->has_reports()) {
    SHEAF_ASSIGN_OR_RETURN(json["stored"], ReportsAsJson(*index));
  }
  if (const parts::PartKeys* keys = index->keys(); keys != nullptr) {
    Json separators = Json::array();
    for (int64_t i = 0; i < keys->separators.size(); ++i) separators.push_back(ToHex(keys->separators[i]));
    SHEAF_ASSIGN_OR_RETURN(const std::string_view filter, index->KeyFilterBytes());
    json["keys"] = {{"columns", keys->columns}, {"filter_bytes", filter.size()}, {"separators_hex", separators}};
  }
  return json;
}

/// Beside the data lies its index, which has the checksums.
Result<Json> DescribePartData(const std::string& path, FileKind kind) {
  const std::string index_path = path.substr(0, path.rfind('.')) + ".idx";
  SHEAF_ASSIGN_OR_RETURN(const auto index, OpenIndex(index_path));
  parts::PartInfo info = index->info();
  info.file_name = NameOf(path);
  SHEAF_RETURN_NOT_OK(parts::VerifyPart(io::PosixFileSystem(), FolderOf(path), info));
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<io::File> file, io::PosixFileSystem()->Open(path, io::OpenMode::kRead));
  SHEAF_ASSIGN_OR_RETURN(const auto stream, io::MakeRandomAccessFile(file));
  Json json = {{"kind", kind == FileKind::kHotPart ? "hot part (Arrow IPC)" : "cold part (Parquet)"}, {"part", PartAsJson(info)}};
  Json columns = Json::array();
  if (kind == FileKind::kHotPart) {
    SHEAF_ASSIGN_OR_RETURN(const auto reader, arrow::ipc::RecordBatchFileReader::Open(stream));
    for (const auto& field : reader->schema()->fields()) columns.push_back(field->ToString());
    json["record_batches"] = reader->num_record_batches();
  } else {
    const auto metadata = parquet::ParquetFileReader::Open(stream)->metadata();
    for (int i = 0; i < metadata->num_columns(); ++i) columns.push_back(metadata->schema()->Column(i)->path()->ToDotString());
    json["row_groups"] = metadata->num_row_groups();
    json["written_by"] = metadata->created_by();
  }
  json["columns"] = columns;
  return json;
}

Result<Json> DescribeDeleteVector(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const std::string bytes, ReadWhole(path));
  SHEAF_ASSIGN_OR_RETURN(const parts::DeadFile file, parts::DecodeDeadFile(bytes, path));
  return Json{{"kind", "delete vector"},
              {"part", file.part.value},
              {"part_uuid", ToHex(file.part_uuid)},
              {"database", ToHex(file.database_uuid)},
              {"through_lsn", file.through.value},
              {"part_rows", file.part_rows},
              {"dead_rows", file.rows.size()},
              {"bytes", bytes.size()},
              {"digest", ToHex(file.digest)}};
}

Result<Json> DescribeBatchIds(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const std::string bytes, ReadWhole(path));
  SHEAF_ASSIGN_OR_RETURN(const auto records, store::DecodeBatchIds(bytes, path));
  Json array = Json::array();
  for (const store::BatchIdRecord& record : records)
    array.push_back({{"id", record.id}, {"lsn", record.lsn.value}, {"time_ns", record.time_ns}});
  return Json{{"kind", "batch ids"}, {"records", array}};
}

Result<Json> DescribeCurrent(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const std::string bytes, ReadWhole(path));
  SHEAF_ASSIGN_OR_RETURN(const parts::ManifestLoad load, parts::LoadManifest(io::PosixFileSystem(), FolderOf(path)));
  return Json{{"kind", "current"},
              {"text", bytes},
              {"manifest", parts::ManifestFileName(load.state.number)},
              {"damaged", load.current_damaged},
              {"fell_back", load.fell_back},
              {"truncatable_lsn", load.truncatable.value}};
}

/// The mark counts only where it lies: in `snapshots/<id>` of a database or a backup.
Result<Json> DescribeSnapshotMark(const std::string& path) {
  const std::string folder = FolderOf(path), id = NameOf(folder);
  SHEAF_ASSIGN_OR_RETURN(const auto snapshots, store::ListSnapshots(io::PosixFileSystem(), FolderOf(FolderOf(folder))));
  for (const store::SnapshotInfo& info : snapshots) {
    if (info.id != id) continue;
    return Json{{"kind", "snapshot mark"},      {"id", info.id},       {"lsn", info.lsn.value},
                {"created_ns", info.created_ns}, {"parts", info.parts}, {"bytes", info.bytes}};
  }
  return MakeError(ErrorKind::kInvalid, "{} does not lie in snapshots/<id> of a database or a backup", path);
}

void AppendText(const Json& json, int depth, std::string* out) {
  const std::string indent(static_cast<size_t>(depth) * 2, ' ');
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      if (value.is_structured() && !value.empty()) {
        *out += indent + key + ":\n";
        AppendText(value, depth + 1, out);
      } else {
        *out += indent + key + ": " + (value.is_string() ? value.get<std::string>() : value.dump()) + "\n";
      }
    }
  } else if (json.is_array()) {
    for (const Json& item : json) {
      if (item.is_structured()) {
        *out += indent + "-\n";
        AppendText(item, depth + 1, out);
      } else {
        *out += indent + "- " + (item.is_string() ? item.get<std::string>() : item.dump()) + "\n";
      }
    }
  } else {
    *out += indent + json.dump() + "\n";
  }
}

}  // namespace

Result<Json> DescribeFile(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const FileKind kind, KindOfFile(path));
  switch (kind) {
    case FileKind::kManifest: return DescribeManifest(path);
    case FileKind::kCurrent: return DescribeCurrent(path);
    case FileKind::kLogSegment: return DescribeLogSegment(path);
    case FileKind::kLogCommit: return DescribeLogCommit(path);
    case FileKind::kPartIndex: return DescribePartIndex(path);
    case FileKind::kHotPart:
    case FileKind::kColdPart: return DescribePartData(path, kind);
    case FileKind::kDeleteVector: return DescribeDeleteVector(path);
    case FileKind::kBatchIds: return DescribeBatchIds(path);
    case FileKind::kSnapshotMark: return DescribeSnapshotMark(path);
    case FileKind::kLock: return Json{{"kind", "lock"}};
  }
  return MakeError(ErrorKind::kInternal, "{}: unknown kind of file", path);
}

std::string AsText(const Json& description) {
  std::string out;
  AppendText(description, 0, &out);
  return out;
}

}  // namespace sheaf::cli
