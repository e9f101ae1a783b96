#include "parts/part.h"

#include <array>
#include <random>
#include <utility>

#include <arrow/util/key_value_metadata.h>

#include "columns/id_filter.h"
#include "columns/row_order.h"
#include "columns/row_union.h"
#include "columns/zones.h"
#include "core/check.h"
#include "core/hex.h"
#include "io/clock.h"
#include "parts/cold_part.h"
#include "parts/hot_part.h"
#include "parts/part_index.h"

namespace sheaf::parts {
namespace {

constexpr const char* kTemporary = ".tmp";
constexpr size_t kUuidBytes = 16;

std::string MakeUuid() {
  std::random_device random;
  std::string out;
  while (out.size() < kUuidBytes) {
    const uint32_t word = random();
    out.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  out[6] = static_cast<char>((out[6] & 0x0F) | 0x40);  // Version 4, variant 1: a random one.
  out[8] = static_cast<char>((out[8] & 0x3F) | 0x80);
  return out;
}

/// The table's schema with who the part is, for whoever opens the data file alone.
std::shared_ptr<arrow::Schema> Signed(const arrow::Schema& schema, const PartInfo& info) {
  return schema.WithMetadata(arrow::key_value_metadata(
      {"sheaf.format_version", "sheaf.part", "sheaf.table", "sheaf.schema_version", "sheaf.file_uuid", "sheaf.database_uuid", "sheaf.lsn"},
      {"1", fmt::format("{}", info.id), fmt::format("{}", info.table), fmt::format("{}", info.schema_version), ToHex(info.file_uuid),
       ToHex(info.database_uuid), fmt::format("{}..{}", info.min_lsn, info.max_lsn)}));
}

/// A file under a temporary name that vanishes unless it is installed.
class NewFile {
 public:
  static Result<NewFile> Create(io::FileSystem* files, std::string path) {
    const std::string temporary = path + kTemporary;
    auto file = files->Open(temporary, io::OpenMode::kCreate);
    if (!file.ok() && KindOf(file.status()) == ErrorKind::kAlreadyExists) {  // Left over from a crash.
      SHEAF_RETURN_NOT_OK(files->Remove(temporary));
      file = files->Open(temporary, io::OpenMode::kCreate);
    }
    SHEAF_RETURN_NOT_OK(file.status());
    return NewFile(files, std::move(path), std::move(*file));
  }
  NewFile(NewFile&& other) noexcept = default;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile() {
    if (!file_) return;
    file_.reset();
    (void)files_->Remove(installed_ ? path_ : path_ + kTemporary);  // The error that led here is the one to report.
  }

  io::File* file() { return file_.get(); }
  Status SyncAndClose() {
    SHEAF_RETURN_NOT_OK(file_->Sync());
    return file_->Close();
  }
  Status Install() {
    SHEAF_RETURN_NOT_OK(files_->Rename(path_ + kTemporary, path_));
    installed_ = true;
    return Status::OK();
  }
  /// From here on the file stays.
  void Keep() { file_.reset(); }

 private:
  NewFile(io::FileSystem* files, std::string path, std::unique_ptr<io::File> file)
      : files_(files), path_(std::move(path)), file_(std::move(file)) {}

  io::FileSystem* files_;
  std::string path_;
  std::unique_ptr<io::File> file_;
  bool installed_ = false;
};

Result<std::vector<uint32_t>> Order(const columns::RowUnion& rows, const Layout& layout) {
  if (!layout.cluster_traces) return columns::SortRows(rows, layout.sort_columns);
  return columns::SortTraces(rows, {layout.trace_column, layout.parent_column, layout.service_column, layout.time_column});
}

Status CheckLayout(const Layout& layout, const arrow::Schema& schema) {
  std::vector<int> all = layout.sort_columns;
  all.insert(all.end(), layout.filter_columns.begin(), layout.filter_columns.end());
  if (layout.time_column >= 0) all.push_back(layout.time_column);
  if (layout.cluster_traces) all.insert(all.end(), {layout.trace_column, layout.parent_column, layout.service_column, layout.time_column});
  for (const int column : all) {
    if (column < 0 || column >= schema.num_fields()) {
      return MakeError(ErrorKind::kInvalid, "the layout names column {} of a table with {}", column, schema.num_fields());
    }
  }
  for (const int column : layout.filter_columns) {
    if (columns::CanFilter(*schema.field(column)->type())) continue;
    return MakeError(ErrorKind::kUnsupported, "column '{}' of type {} takes no id filter", schema.field(column)->name(),
                     schema.field(column)->type()->ToString());
  }
  if (layout.granule_rows <= 0) return MakeError(ErrorKind::kInvalid, "granules of {} rows", layout.granule_rows);
  return Status::OK();
}

/// Gathers, measures and writes one granule after the other.
class Sealer {
 public:
  Sealer(const columns::RowUnion& rows, const Layout& layout) : rows_(rows), layout_(layout) {
    filters_.resize(layout.filter_columns.size());
    contents_.columns = rows.schema()->num_fields();
    contents_.zones.resize(static_cast<size_t>(contents_.columns), std::vector<columns::Zone>(1));
  }

  Status Write(const std::vector<uint32_t>& order, PartWriter* writer) {
    const std::span<const uint32_t> all(order);
    const auto granule_rows = static_cast<size_t>(layout_.granule_rows);
    for (size_t at = 0; at < all.size(); at += granule_rows) {
      SHEAF_ASSIGN_OR_RETURN(const auto batch, rows_.Gather(all.subspan(at, std::min(granule_rows, all.size() - at))));
      SHEAF_RETURN_NOT_OK(Measure(*batch));
      SHEAF_ASSIGN_OR_RETURN(WrittenGranule written, writer->Write(batch));
      written_.push_back(std::move(written));
    }
    SHEAF_RETURN_NOT_OK(writer->Finish());
    if (std::vector<WrittenGranule> final = writer->FinalGranules(); !final.empty()) written_ = std::move(final);
    for (WrittenGranule& g : written_) {
      contents_.granules.push_back(g.place);
      contents_.column_bytes.push_back(std::move(g.column_bytes));
    }
    return Status::OK();
  }

  /// Requires: Write() returned OK.
  IndexContents Finish(PartInfo info, std::vector<uint64_t> data_sums) {
    contents_.info = std::move(info);
    contents_.data_sums = std::move(data_sums);
    for (size_t f = 0; f < filters_.size(); ++f) contents_.filters.emplace_back(layout_.filter_columns[f], filters_[f].Finish());
    return std::move(contents_);
  }
  const columns::Zone& zone(int column) const { return contents_.zones[static_cast<size_t>(column)][0]; }

 private:
  Status Measure(const arrow::RecordBatch& batch) {
    for (int c = 0; c < batch.num_columns(); ++c) {
      std::vector<columns::Zone>& zones = contents_.zones[static_cast<size_t>(c)];
      SHEAF_ASSIGN_OR_RETURN(columns::Zone zone, columns::ComputeZone(*batch.column_data(c)));
      columns::MergeZone(zone, batch.num_rows(), measured_rows_, &zones[0]);
      zones.push_back(std::move(zone));
    }
    for (size_t f = 0; f < filters_.size(); ++f) {
      SHEAF_RETURN_NOT_OK(filters_[f].Add(*batch.column_data(layout_.filter_columns[f]), granule_));
    }
    measured_rows_ += batch.num_rows();
    ++granule_;
    return Status::OK();
  }

  const columns::RowUnion& rows_;
  const Layout& layout_;
  IndexContents contents_;
  std::vector<columns::IdFilterBuilder> filters_;
  std::vector<WrittenGranule> written_;
  int64_t measured_rows_ = 0;
  uint32_t granule_ = 0;
};

Status WriteIndex(io::File* file, const IndexContents& contents, PartInfo* info) {
  const std::string bytes = EncodeIndex(contents);
  info->index_bytes = static_cast<int64_t>(bytes.size());
  return file->WriteAt(0, std::as_bytes(std::span(bytes.data(), bytes.size())));
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
                    got.rows == want.rows && got.data_bytes == want.data_bytes && got.digest == want.digest &&
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

std::shared_ptr<const columns::GranuleSource> MakeSource(const PartInfo& info, const std::shared_ptr<arrow::Schema>& schema,
                                                         OpenedFiles files) {
  if (info.format == Format::kHot) return std::make_shared<HotPart>(info, schema, std::move(files.index), std::move(files.data));
  return std::make_shared<ColdPart>(info, schema, std::move(files.index), std::move(files.data));
}

}  // namespace

std::string IndexFileName(PartId id) { return fmt::format("part-{}.idx", id); }
std::string DataFileName(PartId id, Format format) { return fmt::format("part-{}.{}", id, format == Format::kHot ? "arrow" : "parquet"); }

Result<PartInfo> WritePart(io::FileSystem* files, const std::string& directory, PartInfo info, const Layout& layout,
                           const std::shared_ptr<arrow::Schema>& schema,
                           const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  SHEAF_RETURN_NOT_OK(CheckLayout(layout, *schema));
  SHEAF_ASSIGN_OR_RETURN(const auto rows, columns::RowUnion::Make(schema, batches));
  if (rows->rows() == 0) return MakeError(ErrorKind::kInvalid, "a part needs at least one row");
  SHEAF_ASSIGN_OR_RETURN(const std::vector<uint32_t> order, Order(*rows, layout));

  info.rows = rows->rows();
  info.file_name = DataFileName(info.id, info.format);
  if (info.file_uuid.empty()) info.file_uuid = MakeUuid();
  if (info.created_ns == 0) info.created_ns = io::SystemClock()->NowNs();
  const auto signed_schema = Signed(*schema, info);

  SHEAF_ASSIGN_OR_RETURN(NewFile data, NewFile::Create(files, io::Join(directory, info.file_name)));
  SHEAF_ASSIGN_OR_RETURN(NewFile index, NewFile::Create(files, io::Join(directory, IndexFileName(info.id))));
  auto stream = std::make_shared<SummingStream>(data.file());
  std::unique_ptr<PartWriter> writer;
  if (info.format == Format::kHot) {
    SHEAF_ASSIGN_OR_RETURN(writer, HotWriter::Make(stream.get(), signed_schema));
  } else {
    SHEAF_ASSIGN_OR_RETURN(writer, ColdWriter::Make(stream, signed_schema, layout));
  }
  Sealer sealer(*rows, layout);
  SHEAF_RETURN_NOT_OK(sealer.Write(order, writer.get()));
  SHEAF_RETURN_NOT_OK(stream->Close());
  SHEAF_ASSIGN_OR_RETURN(info.data_bytes, data.file()->Size());
  info.digest = DigestOf(stream->sums());
  if (layout.time_column >= 0) {
    info.time_min = sealer.zone(layout.time_column).int_min;
    info.time_max = sealer.zone(layout.time_column).int_max;
  }
  SHEAF_RETURN_NOT_OK(WriteIndex(index.file(), sealer.Finish(info, stream->sums()), &info));

  SHEAF_RETURN_NOT_OK(data.SyncAndClose());
  SHEAF_RETURN_NOT_OK(index.SyncAndClose());
  SHEAF_RETURN_NOT_OK(index.Install());
  SHEAF_RETURN_NOT_OK(data.Install());
  SHEAF_RETURN_NOT_OK(files->SyncDirectory(directory));
  data.Keep();
  index.Keep();
  return info;
}

Result<std::shared_ptr<const columns::GranuleSource>> OpenPart(io::FileSystem* files, const std::string& directory, const PartInfo& info,
                                                               const std::shared_ptr<arrow::Schema>& schema) {
  auto opened = OpenFiles(files, directory, info);
  if (!opened.ok()) return WithContext(opened.status(), fmt::format("opening part {}", info.id));
  if (opened->index->columns() != schema->num_fields()) {
    return MakeError(ErrorKind::kCorruption, "part {} has {} columns, its table's schema version {} has {}", info.id,
                     opened->index->columns(), info.schema_version, schema->num_fields());
  }
  SHEAF_RETURN_NOT_OK(opened->data->Check(0, std::min<int64_t>(1, opened->data->size())));
  return MakeSource(info, schema, std::move(*opened));
}

Status VerifyPart(io::FileSystem* files, const std::string& directory, const PartInfo& info) {
  auto opened = OpenFiles(files, directory, info);
  if (!opened.ok()) return WithContext(opened.status(), fmt::format("part {}", info.id));
  SHEAF_RETURN_NOT_OK(opened->index->Verify());
  return opened->data->CheckAll();
}

}  // namespace sheaf::parts
