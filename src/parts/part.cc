#include "parts/part.h"

#include <algorithm>
#include <span>
#include <utility>

#include "columns/row_order.h"
#include "columns/row_union.h"
#include "core/hex.h"
#include "core/memory.h"
#include "parts/attribute_columns.h"
#include "parts/cold_part.h"
#include "parts/delete_vector.h"
#include "parts/hot_part.h"
#include "parts/part_index.h"
#include "parts/part_stream.h"

namespace sheaf::parts {
namespace {

/// Several at once are cheaper (see ColumnUnion::Gather); all at once would double the memory.
constexpr size_t kGranulesGatheredAtOnce = 8;

Result<std::vector<uint32_t>> Order(const columns::RowUnion& rows, const Layout& layout) {
  if (!layout.cluster_traces) return columns::SortRows(rows, layout.sort_columns);
  return columns::SortTraces(rows, {layout.trace_column, layout.parent_column, layout.service_column, layout.time_column});
}

Result<std::shared_ptr<arrow::Buffer>> MapWhole(io::FileSystem* files, const std::string& path, int64_t bytes, io::Access access) {
  auto file = files->Open(path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  SHEAF_ASSIGN_OR_RETURN(const int64_t size, (*file)->Size());
  if (size != bytes) {
    return MakeError(ErrorKind::kCorruption, "{}: is {} bytes long, the manifest says {}; it was cut or replaced", path, size, bytes);
  }
  return (*file)->Map(size, access);
}

Status CheckIdentity(const PartInfo& want, const PartInfo& got, const std::string& path) {
  const bool same = got.file_uuid == want.file_uuid && got.id == want.id && got.table == want.table && got.format == want.format &&
                    got.key_min == want.key_min && got.key_max == want.key_max && got.rows == want.rows &&
                    got.data_bytes == want.data_bytes && got.digest == want.digest &&
                    (want.database_uuid.empty() || got.database_uuid.empty() || got.database_uuid == want.database_uuid);
  if (same) return Status::OK();
  return MakeError(ErrorKind::kCorruption,
                   "{}: belongs to another file (part {}, uuid {}) than the manifest names (part {}, uuid {})", path, got.id,
                   ToHex(got.file_uuid), want.id, ToHex(want.file_uuid));
}

struct OpenedFiles {
  std::unique_ptr<PartIndex> index;
  std::unique_ptr<CheckedBytes> data;
};

Result<OpenedFiles> OpenFiles(io::FileSystem* files, const std::string& directory, const PartInfo& info) {
  OpenedFiles out;
  const std::string index_path = io::Join(directory, IndexFileName(info.id));
  SHEAF_ASSIGN_OR_RETURN(auto index_bytes, MapWhole(files, index_path, info.index_bytes, io::Access::kRandom));
  SHEAF_ASSIGN_OR_RETURN(out.index, PartIndex::Open(std::move(index_bytes), index_path));
  SHEAF_RETURN_NOT_OK(CheckIdentity(info, out.index->info(), index_path));
  const std::string data_path = io::Join(directory, info.file_name);
  SHEAF_ASSIGN_OR_RETURN(auto data_bytes, MapWhole(files, data_path, info.data_bytes, io::Access::kNormal));
  out.data = std::make_unique<CheckedBytes>(std::move(data_bytes), out.index->data_sums(), data_path);
  return out;
}

std::shared_ptr<const PartSource> MakeSource(const PartInfo& info, PartSchema schema, OpenedFiles files) {
  if (info.format == Format::kHot) return std::make_shared<HotPart>(info, std::move(schema), std::move(files.index), std::move(files.data));
  return std::make_shared<ColdPart>(info, std::move(schema), std::move(files.index), std::move(files.data));
}

/// What the data file holds: the table's columns, and those of attributes.
std::shared_ptr<arrow::Schema> StoredSchema(const std::shared_ptr<arrow::Schema>& table, const PartIndex& index) {
  const columns::AttributeKeys* attributes = index.attributes();
  if (attributes == nullptr) return table;
  const bool sound = std::all_of(attributes->keys.begin(), attributes->keys.end(),
                                 [&](const auto& key) { return key.column < table->num_fields(); });
  return sound ? columns::WithAttributeColumns(*table, attributes->keys) : table;
}

}  // namespace

std::string IndexFileName(PartId id) { return fmt::format("part-{}.idx", id); }
std::string DataFileName(PartId id, Format format) { return fmt::format("part-{}.{}", id, format == Format::kHot ? "arrow" : "parquet"); }

Result<PartInfo> WritePart(io::FileSystem* files, const std::string& directory, PartInfo info, const Layout& table_layout,
                           const std::shared_ptr<arrow::Schema>& table_schema,
                           const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  SHEAF_RETURN_NOT_OK(CheckLayout(table_layout, *table_schema));
  SHEAF_ASSIGN_OR_RETURN(auto with, AddAttributeColumns(table_schema, batches, &NamedPool("seal")));
  const std::shared_ptr<arrow::Schema> schema = with.schema;
  Layout layout = table_layout;
  for (int c = table_schema->num_fields(); c < schema->num_fields(); ++c) layout.filter_columns.push_back(c);
  SHEAF_ASSIGN_OR_RETURN(const auto rows, columns::RowUnion::Make(schema, std::move(with.batches), &NamedPool("seal")));
  if (rows->rows() == 0) return MakeError(ErrorKind::kInvalid, "a part needs at least one row");
  SHEAF_ASSIGN_OR_RETURN(const std::vector<uint32_t> order, Order(*rows, layout));

  SHEAF_ASSIGN_OR_RETURN(const auto part, PartStream::Open(files, directory, std::move(info), layout, schema));
  if (!with.keys.keys.empty()) part->SetAttributes(std::move(with.keys));
  const std::span<const uint32_t> all(order);
  const size_t at_once = static_cast<size_t>(layout.granule_rows) * kGranulesGatheredAtOnce;
  for (size_t at = 0; at < all.size(); at += at_once) {
    SHEAF_ASSIGN_OR_RETURN(const auto granules, rows->Gather(all.subspan(at, std::min(at_once, all.size() - at)), layout.granule_rows));
    for (const auto& granule : granules) SHEAF_RETURN_NOT_OK(part->Write(granule));
  }
  return part->Finish();
}

Result<std::shared_ptr<const columns::GranuleSource>> OpenPart(io::FileSystem* files, const std::string& directory, const PartInfo& info,
                                                               const std::shared_ptr<arrow::Schema>& schema) {
  return OpenPartSource(files, directory, info, schema);
}

Result<std::shared_ptr<const PartSource>> OpenPartSource(io::FileSystem* files, const std::string& directory, const PartInfo& info,
                                                         const std::shared_ptr<arrow::Schema>& schema) {
  auto opened = OpenFiles(files, directory, info);
  if (!opened.ok()) return WithContext(opened.status(), fmt::format("opening part {}", info.id));
  auto stored = StoredSchema(schema, *opened->index);
  if (opened->index->columns() != stored->num_fields()) {
    return MakeError(ErrorKind::kCorruption, "part {} has {} columns, its table's schema version {} has {}", info.id,
                     opened->index->columns(), info.schema_version, stored->num_fields());
  }
  SHEAF_RETURN_NOT_OK(opened->data->Check(0, std::min<int64_t>(1, opened->data->size())));
  return MakeSource(info, {.table = schema, .stored = std::move(stored)}, std::move(*opened));
}

Status VerifyPart(io::FileSystem* files, const std::string& directory, const PartInfo& info,
                  const std::function<Status(int64_t)>& after_piece) {
  auto opened = OpenFiles(files, directory, info);
  if (!opened.ok()) return WithContext(opened.status(), fmt::format("part {}", info.id));
  SHEAF_RETURN_NOT_OK(opened->index->Verify());
  constexpr int64_t kPieceBytes = 16 * kBlockBytes;
  for (int64_t at = 0; at < opened->data->size(); at += kPieceBytes) {
    const int64_t bytes = std::min(kPieceBytes, opened->data->size() - at);
    SHEAF_RETURN_NOT_OK(opened->data->Check(at, bytes));
    if (after_piece) SHEAF_RETURN_NOT_OK(after_piece(bytes));
  }
  return VerifyDeadRows(files, directory, info);
}

}  // namespace sheaf::parts
