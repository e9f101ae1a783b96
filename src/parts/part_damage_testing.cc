#include "parts/part_damage_testing.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "columns/few_rows.h"
#include "columns/random_testing.h"
#include "core/check.h"
#include "core/memory.h"
#include "io/sim_testing.h"
#include "parts/spans_testing.h"

namespace sheaf::parts {
namespace {

using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

constexpr const char* kFolder = "/db";
/// Far above what the small files need, far below what a machine has.
constexpr int64_t kReadBytesMax = int64_t{256} << 20;

/// A part as it was written.
struct WholePart {
  std::shared_ptr<arrow::Schema> schema;
  PartInfo info;
  std::string data, index;
  Batches granules;  // Its rows.
};

WholePart Write(Format format, const Layout& layout, const std::shared_ptr<arrow::Schema>& schema, const Batches& batches) {
  io::SimFileSystem disk;
  SHEAF_CHECK(disk.MakeDirectories(kFolder).ok());
  PartInfo info;
  info.id = PartId(7);
  info.table = TableId(1);
  info.format = format;
  info.file_uuid = "a part to damage";
  info.database_uuid = "fuzzed database!";
  info.min_lsn = Lsn(1);
  info.max_lsn = Lsn(9);
  info.created_ns = 1'700'000'000'000'000'000;
  WholePart out;
  out.schema = schema;
  out.info = WritePart(&disk, kFolder, info, layout, schema, batches).ValueOrDie();
  out.data = disk.Contents(io::Join(kFolder, out.info.file_name)).ValueOrDie();
  out.index = disk.Contents(io::Join(kFolder, IndexFileName(out.info.id))).ValueOrDie();
  const auto source = OpenPart(&disk, kFolder, out.info, schema).ValueOrDie();
  for (int g = 0; g < source->num_granules(); ++g) out.granules.push_back(source->Read(g, AllColumns(*schema)).ValueOrDie());
  return out;
}

WholePart WriteSpans(Format format) {
  Layout layout = SpanLayout();
  layout.granule_rows = 256;
  const Batches spans = MakeSpans(7, 2, 400);
  return Write(format, layout, spans.front()->schema(), spans);
}

WholePart WriteEveryType(Format format) {
  columns::Random random(7);
  Layout layout;
  layout.granule_rows = 4;
  const auto schema = columns::EveryType();
  return Write(format, layout, schema, {columns::RandomBatch(schema, 7, &random)});
}

/// Applies edits of six bytes: what to do and to which file, where (three bytes), and two of what.
void Edit(std::span<const uint8_t> edits, WholePart* part) {
  constexpr size_t kEditBytes = 6, kStretch = 512;
  for (; edits.size() >= kEditBytes; edits = edits.subspan(kEditBytes)) {
    std::string& file = (edits[0] & 1) != 0 ? part->index : part->data;
    if (file.empty()) continue;
    const size_t at = (edits[1] | size_t{edits[2]} << 8 | size_t{edits[3]} << 16) % file.size();
    const size_t more = edits[4] | size_t{edits[5]} << 8;
    const size_t stretch = std::min(kStretch, file.size() - at);
    switch (edits[0] >> 1 & 3) {
      case 0: file[at] = static_cast<char>(file[at] ^ edits[4]); break;
      case 1: file.replace(at, stretch, stretch, static_cast<char>(edits[4])); break;
      case 2: file.replace(at, stretch, file, more % (file.size() - stretch + 1), stretch); break;  // Misplaced.
      default: file.resize(at); break;
    }
  }
}

/// Makes index and manifest fit the data: checksums, sizes, and granules that lie inside.
void Mend(WholePart* part) {
  const auto index = PartIndex::Open(arrow::Buffer::FromString(part->index), "whole.idx").ValueOrDie();
  IndexContents contents = ContentsOf(*index);
  const auto bytes = static_cast<int64_t>(part->data.size());
  contents.info.data_bytes = bytes;
  contents.data_sums = BlockSums(part->data);
  for (GranulePlace& place : contents.granules) {
    place.offset = std::min(place.offset, bytes);
    place.bytes = std::min(place.bytes, bytes - place.offset);
  }
  part->index = EncodeIndex(contents);
  part->info.data_bytes = bytes;
  part->info.index_bytes = static_cast<int64_t>(part->index.size());
  part->info.digest = DigestOf(contents.data_sums);
}

void CheckRefusal(const Status& error) {
  const ErrorKind kind = KindOf(error);
  SHEAF_CHECK(kind == ErrorKind::kCorruption || kind == ErrorKind::kUnsupported || kind == ErrorKind::kOutOfMemory);
}

/// Of a part that can be opened: each granule, whole and by rows, and the columns one by one. `right`: the rows must be the part's.
void ReadAll(const WholePart& part, const columns::GranuleSource& source, bool right) {
  const std::vector<int> all = AllColumns(*part.schema);
  const auto check = [&](const Result<std::shared_ptr<arrow::RecordBatch>>& read, int granule, const std::vector<int>& columns) {
    if (!read.ok()) return CheckRefusal(read.status());
    const arrow::RecordBatch& batch = **read;
    if (right) {
      const auto& whole = *part.granules[static_cast<size_t>(granule)];
      for (size_t i = 0; i < columns.size(); ++i) {
        SHEAF_CHECK(batch.column(static_cast<int>(i))->Equals(whole.column(columns[i]), arrow::EqualOptions().nans_equal(true)));
      }
    } else {
      // Hot ones are as the file has them: a writer who knows the checksums is believed.
      SHEAF_CHECK(batch.Validate().ok() || part.info.format == Format::kHot);
    }
  };
  const auto* few = dynamic_cast<const columns::FewRowsSource*>(&source);
  for (int g = 0; g < source.num_granules(); ++g) {
    check(source.Read(g, all), g, all);
    for (const int column : all) check(source.Read(g, {column}), g, {column});
    if (few == nullptr) continue;
    const int64_t last = source.granule_rows(g) - 1;
    const auto rows = few->ReadRows(g, all, std::vector<int64_t>{0, last});
    if (!rows.ok()) {
      CheckRefusal(rows.status());
    } else if (right) {
      for (const int64_t row : {int64_t{0}, last}) {
        SHEAF_CHECK(columns::RowText(**rows, row) == columns::RowText(*part.granules[static_cast<size_t>(g)], row));
      }
    }
  }
}

void OpenAndRead(const WholePart& part, bool right) {
  io::SimFileSystem disk;
  SHEAF_CHECK(disk.MakeDirectories(kFolder).ok());
  disk.SetContents(io::Join(kFolder, part.info.file_name), part.data);
  disk.SetContents(io::Join(kFolder, IndexFileName(part.info.id)), part.index);
  if (const Status verified = VerifyPart(&disk, kFolder, part.info); !verified.ok()) CheckRefusal(verified);
  const auto source = OpenPart(&disk, kFolder, part.info, part.schema);
  if (!source.ok()) return CheckRefusal(source.status());
  ReadAll(part, **source, right);
}

}  // namespace

std::vector<int> AllColumns(const arrow::Schema& schema) {
  std::vector<int> out(static_cast<size_t>(schema.num_fields()));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

IndexContents ContentsOf(const PartIndex& index) {
  IndexContents out;
  out.info = index.info();
  out.columns = index.columns();
  out.data_sums = index.data_sums();
  for (int g = 0; g < index.granules(); ++g) {
    out.granules.push_back(index.granule(g));
    auto& bytes = out.column_bytes.emplace_back();
    for (int c = 0; c < index.columns(); ++c) bytes.push_back(index.column_bytes(g, c));
  }
  for (int c = 0; c < index.columns(); ++c) {
    auto& zones = out.zones.emplace_back();
    for (int g = -1; g < index.granules(); ++g) {
      const columns::Zone* zone = index.zone(g, c);
      zones.push_back(zone != nullptr ? *zone : columns::Zone());
    }
    if (index.has_filter(c)) out.filters.emplace_back(c, index.FilterBytes(c).ValueOrDie());
    if (index.has_tokens(c)) out.token_filters.emplace_back(c, index.TokenFilterBytes(c).ValueOrDie());
  }
  if (index.attributes() != nullptr) out.attributes = *index.attributes();
  if (index.has_reports()) out.reports = index.ReportBytes().ValueOrDie();
  if (index.keys() == nullptr) return out;
  out.keys = *index.keys();
  out.key_filter = index.KeyFilterBytes().ValueOrDie();
  return out;
}

void FuzzPart(Format format, std::span<const uint8_t> input) {
  static const WholePart spans = WriteSpans(format), every_type = WriteEveryType(format);  // One format a program.
  static const bool limited = (NamedPool("cold_read").SetLimit(kReadBytesMax), true);
  SHEAF_CHECK(limited && spans.info.format == format);
  if (input.empty()) return;
  const bool mended = (input[0] & 1) != 0;
  WholePart part = mended ? every_type : spans;
  if (mended) {
    part.data.assign(reinterpret_cast<const char*>(input.data() + 1), input.size() - 1);
    Mend(&part);
  } else {
    Edit(input.subspan(1), &part);
  }
  OpenAndRead(part, !mended);
}

std::string SeedOfDataFile(Format format) { return '\1' + WriteEveryType(format).data; }

std::string SeedOfEdits() {
  // A bit of the data, a stretch of it misplaced, one of the index in zeros, and the data cut.
  const uint8_t edits[] = {0, 0, 0, 1, 0, 4, 0, 4, 0, 2, 1, 0, 1, 3, 200, 0, 0, 0, 0, 6, 0, 0, 3, 0, 0};
  return std::string(reinterpret_cast<const char*>(edits), sizeof edits);
}

}  // namespace sheaf::parts
