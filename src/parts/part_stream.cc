#include "parts/part_stream.h"

#include <random>
#include <span>
#include <utility>

#include <arrow/util/key_value_metadata.h>

#include "columns/column_report.h"
#include "columns/zones.h"
#include "core/check.h"
#include "core/hex.h"
#include "core/test_hooks.h"
#include "io/clock.h"
#include "parts/cold_part.h"
#include "parts/hot_part.h"
#include "parts/key_bounds.h"
#include "parts/report_codec.h"

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

/// Nanoseconds of one unit of a time column.
int64_t UnitNs(const arrow::DataType& type) {
  if (type.id() != arrow::Type::TIMESTAMP) return 1;
  switch (static_cast<const arrow::TimestampType&>(type).unit()) {
    case arrow::TimeUnit::SECOND: return 1'000'000'000;
    case arrow::TimeUnit::MILLI: return 1'000'000;
    case arrow::TimeUnit::MICRO: return 1'000;
    default: return 1;
  }
}

/// Times that nanoseconds cannot reach become the first or last that they can.
int64_t ToNs(int64_t time, int64_t unit_ns) {
  int64_t ns = 0;
  if (!__builtin_mul_overflow(time, unit_ns, &ns)) return ns;
  return time < 0 ? INT64_MIN : INT64_MAX;
}

}  // namespace

/// A file under a temporary name that vanishes unless it is installed.
class PartStream::NewFile {
 public:
  static Result<std::unique_ptr<NewFile>> Create(io::FileSystem* files, std::string path) {
    const std::string temporary = path + kTemporary;
    auto file = files->Open(temporary, io::OpenMode::kCreate);
    if (!file.ok() && KindOf(file.status()) == ErrorKind::kAlreadyExists) {  // Left over from a crash.
      SHEAF_RETURN_NOT_OK(files->Remove(temporary));
      file = files->Open(temporary, io::OpenMode::kCreate);
    }
    SHEAF_RETURN_NOT_OK(file.status());
    return std::unique_ptr<NewFile>(new NewFile(files, std::move(path), std::move(*file)));
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (!file_) return;
    file_.reset();
    (void)files_->Remove(installed_ ? path_ : path_ + kTemporary);  // The error that led here is the one to report.
  }

  io::File* file() { return file_.get(); }
  Status SyncAndClose() {
    if (!Mutant("manifest_before_parts")) SHEAF_RETURN_NOT_OK(file_->Sync());
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

PartStream::PartStream(io::FileSystem* files, std::string directory, PartInfo info, const Layout& layout,
                       std::shared_ptr<arrow::Schema> schema)
    : files_(files), directory_(std::move(directory)), info_(std::move(info)), layout_(layout), schema_(std::move(schema)) {
  filters_.resize(layout_.filter_columns.size());
  token_filters_.resize(layout_.token_columns.size());
  contents_.columns = schema_->num_fields();
  contents_.zones.resize(static_cast<size_t>(contents_.columns), std::vector<columns::Zone>(1));
  leaves_ = columns::LeavesOf(*schema_);
  for (const columns::Leaf& leaf : leaves_) analyzers_.emplace_back(leaf.type);
}

PartStream::~PartStream() = default;

Result<std::unique_ptr<PartStream>> PartStream::Open(io::FileSystem* files, const std::string& directory, PartInfo info,
                                                     const Layout& layout, std::shared_ptr<arrow::Schema> schema) {
  SHEAF_RETURN_NOT_OK(CheckLayout(layout, *schema));
  std::unique_ptr<PartStream> out(new PartStream(files, directory, std::move(info), layout, std::move(schema)));
  SHEAF_RETURN_NOT_OK(out->Start());
  return out;
}

Status PartStream::Start() {
  info_.rows = 0;
  info_.key_min.clear();
  info_.key_max.clear();
  if (!layout_.key_columns.empty()) {
    SHEAF_ASSIGN_OR_RETURN(key_codec_, columns::KeyCodec::Make(schema_, layout_.key_columns));
    contents_.keys.emplace().columns = layout_.key_columns;
  }
  info_.file_name = DataFileName(info_.id, info_.format);
  if (info_.file_uuid.empty()) info_.file_uuid = MakeUuid();
  if (info_.created_ns == 0) info_.created_ns = io::SystemClock()->NowNs();
  const auto signed_schema = Signed(*schema_, info_);
  SHEAF_ASSIGN_OR_RETURN(data_, NewFile::Create(files_, io::Join(directory_, info_.file_name)));
  SHEAF_ASSIGN_OR_RETURN(index_, NewFile::Create(files_, io::Join(directory_, IndexFileName(info_.id))));
  stream_ = std::make_shared<SummingStream>(data_->file());
  if (info_.format == Format::kHot) {
    SHEAF_ASSIGN_OR_RETURN(writer_, HotWriter::Make(stream_.get(), signed_schema));
  } else {
    SHEAF_ASSIGN_OR_RETURN(writer_, ColdWriter::Make(stream_, signed_schema, layout_));
  }
  return Status::OK();
}

Status PartStream::Write(const std::shared_ptr<arrow::RecordBatch>& granule) {
  if (failed_) return MakeError(ErrorKind::kInvalid, "part {} failed before", info_.id);
  failed_ = true;  // Until this granule is in.
  if (granule->num_rows() == 0) return MakeError(ErrorKind::kInvalid, "a granule needs at least one row");
  if (granule->num_columns() != schema_->num_fields()) {
    return MakeError(ErrorKind::kInvalid, "a granule has {} columns, its table {}", granule->num_columns(), schema_->num_fields());
  }
  for (int c = 0; c < granule->num_columns(); ++c) {
    const auto& type = granule->column_data(c)->type;
    if (type->Equals(*schema_->field(c)->type())) continue;
    return MakeError(ErrorKind::kInvalid, "column '{}' of a granule is {}, of its table {}", schema_->field(c)->name(), type->ToString(),
                     schema_->field(c)->type()->ToString());
  }
  SHEAF_RETURN_NOT_OK(Measure(*granule));
  if (written_.empty()) SHEAF_RETURN_NOT_OK(writer_->Choose(Analyses()));
  SHEAF_ASSIGN_OR_RETURN(WrittenGranule written, writer_->Write(granule));
  written_.push_back(std::move(written));
  info_.rows += granule->num_rows();
  failed_ = false;
  return Status::OK();
}

int64_t PartStream::bytes() const {
  const auto at = stream_->Tell();
  return at.ok() ? *at : 0;
}

Status PartStream::Measure(const arrow::RecordBatch& granule) {
  for (int c = 0; c < granule.num_columns(); ++c) {
    std::vector<columns::Zone>& zones = contents_.zones[static_cast<size_t>(c)];
    SHEAF_ASSIGN_OR_RETURN(columns::Zone zone, columns::ComputeZone(*granule.column_data(c)));
    columns::MergeZone(zone, granule.num_rows(), info_.rows, &zones[0]);
    zones.push_back(std::move(zone));
  }
  for (size_t f = 0; f < filters_.size(); ++f) {
    SHEAF_RETURN_NOT_OK(filters_[f].Add(*granule.column_data(layout_.filter_columns[f]), static_cast<uint32_t>(written_.size())));
  }
  for (size_t t = 0; t < token_filters_.size(); ++t) {
    SHEAF_RETURN_NOT_OK(token_filters_[t].Add(*granule.column_data(layout_.token_columns[t])));
  }
  SHEAF_RETURN_NOT_OK(Analyse(granule));
  return key_codec_ ? MeasureKeys(granule) : Status::OK();
}

Status PartStream::Analyse(const arrow::RecordBatch& granule) {
  size_t leaf = 0;
  for (int c = 0; c < granule.num_columns(); ++c) {
    SHEAF_RETURN_NOT_OK(columns::EachLeaf(granule.column_data(c), [&](const arrow::ArrayData& data) {
      SHEAF_CHECK(leaf < analyzers_.size());
      return analyzers_[leaf++].Add(data);
    }));
  }
  return Status::OK();
}

std::vector<columns::ColumnAnalysis> PartStream::Analyses() const {
  std::vector<columns::ColumnAnalysis> out;
  for (const columns::ColumnAnalyzer& analyzer : analyzers_) out.push_back(analyzer.Analysis());
  return out;
}

std::string PartStream::Reports() const {
  const std::vector<StoredLeaf> stored = writer_->StoredLeaves();
  SHEAF_CHECK(stored.size() == leaves_.size());
  std::vector<columns::ColumnReport> reports;
  for (size_t i = 0; i < leaves_.size(); ++i) {
    reports.push_back({leaves_[i].column, leaves_[i].path, analyzers_[i].Analysis(), stored[i].stored, stored[i].bytes});
  }
  return EncodeReports(reports);
}

Status PartStream::MeasureKeys(const arrow::RecordBatch& granule) {
  SHEAF_ASSIGN_OR_RETURN(const columns::KeyColumn keys, key_codec_->Encode(granule));
  const auto number = static_cast<uint32_t>(written_.size());
  std::string_view before = last_key_;
  for (int64_t i = 0; i < keys.size(); ++i) {
    const std::string_view key = keys[i];
    if ((i > 0 || number > 0) && before >= key) {
      return MakeError(ErrorKind::kInvalid, "part {}: key {} {} {}: keys of a part must rise", info_.id, key_codec_->ToText(key),
                       before == key ? "comes twice, after" : "follows", key_codec_->ToText(before));
    }
    key_filter_.AddValue(key, number);
    before = key;
  }
  contents_.keys->separators.Add(number == 0 ? std::string_view() : KeySeparator(last_key_, keys[0]));
  if (number == 0) info_.key_min = LowerKeyBound(keys[0]);
  last_key_ = before;
  return Status::OK();
}

Status PartStream::WriteIndex() {
  if (key_codec_) {
    info_.key_max = UpperKeyBound(last_key_);
    contents_.key_filter = key_filter_.Finish();
  }
  contents_.info = info_;
  contents_.reports = Reports();
  contents_.data_sums = stream_->sums();
  for (WrittenGranule& g : written_) {
    contents_.granules.push_back(g.place);
    contents_.column_bytes.push_back(std::move(g.column_bytes));
  }
  for (size_t f = 0; f < filters_.size(); ++f) contents_.filters.emplace_back(layout_.filter_columns[f], filters_[f].Finish());
  for (size_t t = 0; t < token_filters_.size(); ++t) {
    contents_.token_filters.emplace_back(layout_.token_columns[t], token_filters_[t].Finish());
  }
  const std::string bytes = EncodeIndex(contents_);
  info_.index_bytes = static_cast<int64_t>(bytes.size());
  return index_->file()->WriteAt(0, std::as_bytes(std::span(bytes.data(), bytes.size())));
}

Result<PartInfo> PartStream::Finish() {
  if (failed_ || info_.rows == 0) return MakeError(ErrorKind::kInvalid, "part {} has {}", info_.id, failed_ ? "failed before" : "no rows");
  failed_ = true;
  SHEAF_RETURN_NOT_OK(writer_->Finish());
  if (std::vector<WrittenGranule> final = writer_->FinalGranules(); !final.empty()) written_ = std::move(final);
  SHEAF_RETURN_NOT_OK(stream_->Close());
  SHEAF_ASSIGN_OR_RETURN(info_.data_bytes, data_->file()->Size());
  info_.digest = DigestOf(stream_->sums());
  if (layout_.time_column >= 0) {
    const int64_t unit_ns = UnitNs(*schema_->field(layout_.time_column)->type());
    const columns::Zone& time = contents_.zones[static_cast<size_t>(layout_.time_column)][0];
    info_.time_min = ToNs(time.int_min, unit_ns);
    info_.time_max = time.null_count > 0 ? INT64_MAX : ToNs(time.int_max, unit_ns);  // Rows without a time never expire.
  }
  SHEAF_RETURN_NOT_OK(WriteIndex());
  Failpoint("parts.written");
  SHEAF_RETURN_NOT_OK(data_->SyncAndClose());
  SHEAF_RETURN_NOT_OK(index_->SyncAndClose());
  Failpoint("parts.synced");
  SHEAF_RETURN_NOT_OK(index_->Install());
  Failpoint("parts.index_installed");
  SHEAF_RETURN_NOT_OK(data_->Install());
  Failpoint("parts.installed");
  SHEAF_RETURN_NOT_OK(files_->SyncDirectory(directory_));
  data_->Keep();
  index_->Keep();
  return info_;
}

Status CheckLayout(const Layout& layout, const arrow::Schema& schema) {
  if (!layout.key_columns.empty() && (layout.cluster_traces || layout.sort_columns != layout.key_columns)) {
    return MakeError(ErrorKind::kInvalid, "a keyed table is sorted by its key, and by nothing else");
  }
  std::vector<int> all = layout.sort_columns;
  all.insert(all.end(), layout.filter_columns.begin(), layout.filter_columns.end());
  all.insert(all.end(), layout.token_columns.begin(), layout.token_columns.end());
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
  for (const int column : layout.token_columns) {
    if (columns::CanFilterTokens(*schema.field(column)->type())) continue;
    return MakeError(ErrorKind::kUnsupported, "column '{}' of type {} takes no token index", schema.field(column)->name(),
                     schema.field(column)->type()->ToString());
  }
  if (layout.granule_rows <= 0) return MakeError(ErrorKind::kInvalid, "granules of {} rows", layout.granule_rows);
  return Status::OK();
}

}  // namespace sheaf::parts
