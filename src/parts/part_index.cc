#include "parts/part_index.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include <xxhash.h>

#include "columns/id_filter.h"
#include "core/check.h"
#include "parts/byte_codec.h"
#include "parts/report_codec.h"

namespace sheaf::parts {
namespace {

constexpr std::string_view kMagic = "SHEAFIDX";
constexpr uint32_t kVersion = 1;
constexpr uint32_t kVersionOfAttributes = 2;  // Its data file has columns that the table has not.
constexpr size_t kSectionBytes = 24;
constexpr size_t kGranuleBytes = 24;
constexpr size_t kZoneBytesMin = 10;
constexpr size_t kBodyAlignment = 64;
constexpr size_t kUuidBytes = 16;
constexpr size_t kHeadPrefixBytes = 16;  // Magic, version, bytes of the head.
constexpr int64_t kCountMax = int64_t{1} << 28;

using columns::Zone;

enum ZoneFlag : uint8_t { kHasNan = 1, kMaxIsCut = 2, kMinIsCut = 4 };

void WriteZone(const Zone& zone, ByteWriter* out) {
  out->Number(static_cast<uint8_t>(zone.kind));
  out->Number(static_cast<uint8_t>((zone.has_nan ? kHasNan : 0) | (zone.bytes_max_is_exact ? 0 : kMaxIsCut) |
                                   (zone.bytes_min_is_exact ? 0 : kMinIsCut)));
  out->Number(zone.null_count);
  switch (zone.kind) {
    case Zone::Kind::kNone: break;
    case Zone::Kind::kInt64:
    case Zone::Kind::kUint64:
      out->Number(zone.int_min);
      out->Number(zone.int_max);
      break;
    case Zone::Kind::kDouble:
      out->Number(zone.double_min);
      out->Number(zone.double_max);
      break;
    case Zone::Kind::kBytes:
      out->Text(zone.bytes_min);
      out->Text(zone.bytes_max);
      break;
  }
}

bool ReadZone(ByteReader* in, Zone* zone) {
  const auto kind = in->Number<uint8_t>();
  const auto flags = in->Number<uint8_t>();
  if (kind > static_cast<uint8_t>(Zone::Kind::kBytes)) return false;
  zone->kind = static_cast<Zone::Kind>(kind);
  zone->has_nan = (flags & kHasNan) != 0;
  zone->bytes_max_is_exact = (flags & kMaxIsCut) == 0;
  zone->bytes_min_is_exact = (flags & kMinIsCut) == 0;
  zone->null_count = in->Number<int64_t>();
  switch (zone->kind) {
    case Zone::Kind::kNone: break;
    case Zone::Kind::kInt64:
    case Zone::Kind::kUint64:
      zone->int_min = in->Number<int64_t>();
      zone->int_max = in->Number<int64_t>();
      break;
    case Zone::Kind::kDouble:
      zone->double_min = in->Number<double>();
      zone->double_max = in->Number<double>();
      break;
    case Zone::Kind::kBytes:
      zone->bytes_min = in->Text();
      zone->bytes_max = in->Text();
      break;
  }
  return in->ok();
}

void WriteIdentity(const PartInfo& info, ByteWriter* out) {
  out->Fixed(info.file_uuid, kUuidBytes);
  out->Fixed(info.database_uuid, kUuidBytes);
  out->Number(info.id.value);
  out->Number(info.table.value);
  out->Number(info.schema_version);
  out->Number(static_cast<uint32_t>(info.format));
  out->Number(static_cast<int32_t>(info.level));
  out->Number(static_cast<uint32_t>(kBlockBytes));
  out->Number(info.rows);
  out->Number(info.data_bytes);
  out->Number(info.min_lsn.value);
  out->Number(info.max_lsn.value);
  out->Number(info.time_min);
  out->Number(info.time_max);
  out->Number(info.created_ns);
}

/// Returns false where a field makes no sense.
bool ReadIdentity(ByteReader* in, PartInfo* info) {
  info->file_uuid = in->Raw(kUuidBytes);
  info->database_uuid = in->Raw(kUuidBytes);
  if (info->database_uuid == std::string(kUuidBytes, '\0')) info->database_uuid.clear();
  info->id = PartId(in->Number<uint64_t>());
  info->table = TableId(in->Number<uint64_t>());
  info->schema_version = in->Number<uint32_t>();
  const auto format = in->Number<uint32_t>();
  info->format = static_cast<Format>(format);
  info->level = in->Number<int32_t>();
  const auto block_bytes = in->Number<uint32_t>();
  info->rows = in->Number<int64_t>();
  info->data_bytes = in->Number<int64_t>();
  info->min_lsn = Lsn(in->Number<uint64_t>());
  info->max_lsn = Lsn(in->Number<uint64_t>());
  info->time_min = in->Number<int64_t>();
  info->time_max = in->Number<int64_t>();
  info->created_ns = in->Number<int64_t>();
  return in->ok() && (format == 1 || format == 2) && block_bytes == kBlockBytes && info->rows >= 0 && info->data_bytes >= 0;
}

void WriteKeys(const PartInfo& info, const PartKeys& keys, ByteWriter* out) {
  out->Number(static_cast<uint32_t>(keys.columns.size()));
  for (const int column : keys.columns) out->Number(static_cast<uint32_t>(column));
  out->Text(info.key_min);
  out->Text(info.key_max);
  for (const uint32_t end : keys.separators.ends) out->Number(end);
  out->Raw(keys.separators.bytes);
}

bool HasColumns(const std::optional<columns::AttributeKeys>& attributes) {
  return attributes && std::any_of(attributes->keys.begin(), attributes->keys.end(), [](const auto& key) { return key.position >= 0; });
}

void WriteAttributes(const columns::AttributeKeys& attributes, ByteWriter* out) {
  out->Number(static_cast<uint32_t>(attributes.complete ? 1 : 0));
  out->Number(static_cast<uint32_t>(attributes.keys.size()));
  for (const columns::AttributeKey& key : attributes.keys) {
    out->Number(static_cast<int32_t>(key.column));
    out->Number(static_cast<int32_t>(key.position));
    out->Number(static_cast<uint32_t>(key.form));
    out->Number(key.types);
    out->Number(key.values);
    out->Text(key.key);
  }
}

std::vector<uint64_t> ReadSums(ByteReader* in, uint64_t count) {
  const std::string_view raw = in->Raw(count * sizeof(uint64_t));
  std::vector<uint64_t> sums(raw.size() / sizeof(uint64_t));
  if (!sums.empty()) std::memcpy(sums.data(), raw.data(), raw.size());
  return sums;
}

}  // namespace

std::string PartIndex::EncodeBody(const IndexContents& contents, std::vector<Section>* listed) {
  std::string body;
  ByteWriter out(&body);
  std::vector<Section>& sections = *listed;
  const auto begin = [&](SectionKind kind, int column) {
    body.append((kBodyAlignment - body.size() % kBodyAlignment) % kBodyAlignment, '\0');
    sections.push_back({kind, column, static_cast<int64_t>(body.size()), 0});
  };
  const auto end = [&] { sections.back().bytes = static_cast<int64_t>(body.size()) - sections.back().offset; };

  begin(SectionKind::kGranules, -1);
  for (const GranulePlace& g : contents.granules) {
    out.Number(g.rows);
    out.Number(g.offset);
    out.Number(g.bytes);
  }
  end();
  begin(SectionKind::kColumnBytes, -1);
  for (const auto& row : contents.column_bytes) {
    for (const int64_t bytes : row) out.Number(bytes);
  }
  end();
  for (size_t c = 0; c < contents.zones.size(); ++c) {
    begin(SectionKind::kZones, static_cast<int>(c));
    for (const Zone& zone : contents.zones[c]) WriteZone(zone, &out);
    end();
  }
  for (const auto& [column, filter] : contents.filters) {
    begin(SectionKind::kFilter, column);
    out.Raw(filter);
    end();
  }
  for (const auto& [column, filter] : contents.token_filters) {
    begin(SectionKind::kTokens, column);
    out.Raw(filter);
    end();
  }
  if (contents.keys) {
    begin(SectionKind::kKeys, -1);
    WriteKeys(contents.info, *contents.keys, &out);
    end();
    begin(SectionKind::kKeyFilter, -1);
    out.Raw(contents.key_filter);
    end();
  }

  if (contents.attributes) {
    begin(SectionKind::kAttributes, -1);
    WriteAttributes(*contents.attributes, &out);
    end();
  }
  if (!contents.reports.empty()) {
    begin(SectionKind::kReports, -1);
    out.Raw(contents.reports);
    end();
  }
  return body;
}

std::string EncodeIndex(const IndexContents& contents) {
  std::vector<PartIndex::Section> sections;
  const std::string body = PartIndex::EncodeBody(contents, &sections);
  const std::vector<uint64_t> body_sums = BlockSums(body);
  std::string head;
  ByteWriter header(&head);
  header.Raw(kMagic);
  header.Number(HasColumns(contents.attributes) ? kVersionOfAttributes : kVersion);
  header.Number(uint32_t{0});  // Bytes of the head, below.
  WriteIdentity(contents.info, &header);
  header.Number(static_cast<uint64_t>(body.size()));
  header.Number(static_cast<uint32_t>(contents.granules.size()));
  header.Number(static_cast<uint32_t>(contents.columns));
  header.Number(static_cast<uint32_t>(sections.size()));
  header.Number(static_cast<uint32_t>(body_sums.size()));
  header.Number(static_cast<uint64_t>(contents.data_sums.size()));
  for (const PartIndex::Section& s : sections) {
    header.Number(static_cast<uint32_t>(s.kind));
    header.Number(static_cast<int32_t>(s.column));
    header.Number(s.offset);
    header.Number(s.bytes);
  }
  for (const uint64_t sum : contents.data_sums) header.Number(sum);
  for (const uint64_t sum : body_sums) header.Number(sum);
  head.append((kBodyAlignment - (head.size() + sizeof(uint64_t)) % kBodyAlignment) % kBodyAlignment, '\0');
  const auto head_bytes = static_cast<uint32_t>(head.size() + sizeof(uint64_t));
  std::memcpy(head.data() + kMagic.size() + sizeof kVersion, &head_bytes, sizeof head_bytes);
  header.Number(static_cast<uint64_t>(XXH3_64bits(head.data(), head.size())));
  return head + body;
}

Result<std::unique_ptr<PartIndex>> PartIndex::Open(std::shared_ptr<arrow::Buffer> bytes, std::string name) {
  std::unique_ptr<PartIndex> out(new PartIndex());
  out->name_ = std::move(name);
  const std::string_view file(reinterpret_cast<const char*>(bytes->data()), static_cast<size_t>(bytes->size()));
  if (file.size() < kHeadPrefixBytes || file.substr(0, kMagic.size()) != kMagic) {
    return MakeError(ErrorKind::kCorruption, "{}: not a part index (it should begin with {})", out->name_, kMagic);
  }
  ByteReader prefix(file.substr(kMagic.size()));
  const auto version = prefix.Number<uint32_t>();
  const auto head_bytes = prefix.Number<uint32_t>();
  uint64_t sum = 0;
  if (head_bytes >= kHeadPrefixBytes + sizeof sum && head_bytes <= file.size()) {
    std::memcpy(&sum, file.data() + head_bytes - sizeof sum, sizeof sum);
  }
  if (head_bytes < kHeadPrefixBytes + sizeof sum || head_bytes > file.size() ||
      sum != XXH3_64bits(file.data(), head_bytes - sizeof sum)) {
    return MakeError(ErrorKind::kCorruption, "{}: the index's head is damaged; restore it from a copy", out->name_);
  }
  if (version != kVersion && version != kVersionOfAttributes) {
    return MakeError(ErrorKind::kUnsupported, "{}: index version {}; this program reads up to {}", out->name_, version,
                     kVersionOfAttributes);
  }
  out->info_.index_bytes = bytes->size();
  SHEAF_RETURN_NOT_OK(out->ReadHead(bytes, file.substr(0, head_bytes - sizeof sum)));
  return out;
}

Status PartIndex::ReadHead(const std::shared_ptr<arrow::Buffer>& file, std::string_view head) {
  const auto damaged = [this](const char* what) {
    return MakeError(ErrorKind::kCorruption, "{}: the index is damaged: {}", name_, what);
  };
  ByteReader in(head.substr(kHeadPrefixBytes));
  if (!ReadIdentity(&in, &info_)) return damaged("its identity makes no sense");
  const auto body_bytes = in.Number<uint64_t>();
  const auto granules = in.Number<uint32_t>();
  const auto columns = in.Number<uint32_t>();
  const auto section_count = in.Number<uint32_t>();
  const auto body_blocks = in.Number<uint32_t>();
  const auto data_blocks = in.Number<uint64_t>();
  if (!in.ok() || granules > kCountMax || columns > kCountMax || section_count > in.left() / kSectionBytes ||
      data_blocks > in.left() / sizeof(uint64_t)) {
    return damaged("its counts make no sense");
  }
  std::vector<Section> sections;
  for (uint32_t i = 0; i < section_count; ++i) {
    Section s{};
    s.kind = static_cast<SectionKind>(in.Number<uint32_t>());
    s.column = in.Number<int32_t>();
    s.offset = in.Number<int64_t>();
    s.bytes = in.Number<int64_t>();
    const auto limit = static_cast<int64_t>(body_bytes);
    if (s.offset < 0 || s.bytes < 0 || s.offset > limit || s.bytes > limit - s.offset) return damaged("a section lies outside of it");
    sections.push_back(s);
  }
  data_sums_ = ReadSums(&in, data_blocks);
  std::vector<uint64_t> body_sums = ReadSums(&in, body_blocks);
  const int64_t head_bytes = static_cast<int64_t>(head.size() + sizeof(uint64_t));
  if (!in.ok() || body_bytes != static_cast<uint64_t>(info_.index_bytes - head_bytes))
    return damaged("its length is not what its head says");
  if (body_sums.size() != (body_bytes + kBlockBytes - 1) / kBlockBytes ||
      data_sums_.size() != static_cast<uint64_t>(info_.data_bytes / kBlockBytes + (info_.data_bytes % kBlockBytes != 0 ? 1 : 0))) {
    return damaged("the number of checksums does not match");
  }
  columns_ = static_cast<int>(columns);
  if (columns > section_count + 1) return damaged("it has too many columns");  // Every column has zones; bounds what is allocated.
  info_.digest = DigestOf(data_sums_);
  body_ = std::make_unique<CheckedBytes>(arrow::SliceBuffer(file, head_bytes, static_cast<int64_t>(body_bytes)),
                                         std::move(body_sums), name_, head_bytes);
  granules_.resize(granules > body_bytes / kGranuleBytes ? 0 : granules);
  if (granules_.size() != granules) return damaged("it has too many granules");
  return ReadSections(sections);
}

Status PartIndex::ReadGranules(std::string_view bytes, int64_t count) {
  ByteReader in(bytes);
  int64_t rows = 0;
  for (int64_t i = 0; i < count; ++i) {
    GranulePlace& g = granules_[static_cast<size_t>(i)];
    g.rows = in.Number<int64_t>();
    g.offset = in.Number<int64_t>();
    g.bytes = in.Number<int64_t>();
    const bool sane = g.rows >= 0 && g.rows <= info_.rows - rows && g.offset >= 0 && g.bytes >= 0 && g.offset <= info_.data_bytes &&
                      g.bytes <= info_.data_bytes - g.offset;
    if (!in.ok() || !sane) return MakeError(ErrorKind::kCorruption, "{}: the index is damaged: granule {} lies outside the part", name_, i);
    rows += g.rows;
  }
  if (rows != info_.rows) return MakeError(ErrorKind::kCorruption, "{}: granules have {} rows, the part {}", name_, rows, info_.rows);
  return Status::OK();
}

Status PartIndex::ReadKeys(std::string_view bytes) {
  const auto damaged = [this](const char* what) { return MakeError(ErrorKind::kCorruption, "{}: the index is damaged: {}", name_, what); };
  ByteReader in(bytes);
  const auto count = in.Number<uint32_t>();
  if (count == 0 || count > in.left() / sizeof(uint32_t)) return damaged("its keys have no columns");
  PartKeys keys;
  for (uint32_t i = 0; i < count; ++i) {
    keys.columns.push_back(static_cast<int>(in.Number<uint32_t>()));
    if (keys.columns.back() < 0 || keys.columns.back() >= columns_) return damaged("a key column is none of its columns");
  }
  info_.key_min = in.Text();
  info_.key_max = in.Text();
  const std::string_view ends = in.Raw(granules_.size() * sizeof(uint32_t));
  keys.separators.ends.resize(ends.size() / sizeof(uint32_t));
  if (!ends.empty()) std::memcpy(keys.separators.ends.data(), ends.data(), ends.size());
  keys.separators.bytes = in.Raw(in.left());
  if (!in.ok() || info_.key_min > info_.key_max) return damaged("its keys make no sense");
  uint32_t before = 0;
  for (const uint32_t end : keys.separators.ends) {
    if (end < before || end > keys.separators.bytes.size()) return damaged("separators of its keys lie outside");
    before = end;
  }
  for (int64_t i = 1; i < keys.separators.size(); ++i) {
    if (keys.separators[i - 1] >= keys.separators[i]) return damaged("separators of its keys are out of order");
  }
  keys_ = std::move(keys);
  return Status::OK();
}

Status PartIndex::ReadAttributes(std::string_view bytes) {
  const auto damaged = [this](const char* what) { return MakeError(ErrorKind::kCorruption, "{}: the index is damaged: {}", name_, what); };
  ByteReader in(bytes);
  columns::AttributeKeys attributes;
  attributes.complete = in.Number<uint32_t>() != 0;
  const auto count = in.Number<uint32_t>();
  constexpr size_t kBytesMin = 28;
  if (!in.ok() || count > in.left() / kBytesMin) return damaged("it has too many attributes");
  int own = 0;
  for (uint32_t i = 0; i < count; ++i) {
    columns::AttributeKey key;
    key.column = in.Number<int32_t>();
    key.position = in.Number<int32_t>();
    const auto form = in.Number<uint32_t>();
    key.form = static_cast<columns::AttributeForm>(form);
    key.types = in.Number<uint32_t>();
    key.values = in.Number<int64_t>();
    key.key = in.Text();
    if (!in.ok() || form > static_cast<uint32_t>(columns::AttributeForm::kText)) return damaged("its attributes make no sense");
    if ((key.position >= 0) != (key.form != columns::AttributeForm::kNone)) return damaged("an attribute's column has no form");
    if (key.position >= 0) ++own;
    attributes.keys.push_back(std::move(key));
  }
  int next = columns_ - own;  // Columns of their own are the last ones, in this order.
  for (const columns::AttributeKey& key : attributes.keys) {
    if (key.column < 0 || key.column >= columns_ - own) return damaged("an attribute is of a column that is not there");
    if (key.position >= 0 && key.position != next++) return damaged("an attribute's column is not where it belongs");
  }
  attributes_ = std::move(attributes);
  return Status::OK();
}

Status PartIndex::ReadSections(const std::vector<Section>& sections) {
  zone_sections_.resize(static_cast<size_t>(columns_));
  filter_sections_.resize(static_cast<size_t>(columns_));
  token_sections_.resize(static_cast<size_t>(columns_));
  zones_ = std::vector<ColumnZones>(static_cast<size_t>(columns_));
  bool found_granules = false;
  for (const Section& s : sections) {
    const std::string_view bytes(reinterpret_cast<const char*>(body_->data()) + s.offset, static_cast<size_t>(s.bytes));
    const bool read_later = s.kind == SectionKind::kFilter || s.kind == SectionKind::kKeyFilter || s.kind == SectionKind::kTokens ||
                            s.kind == SectionKind::kReports;
    if (!read_later) SHEAF_RETURN_NOT_OK(body_->Check(s.offset, s.bytes));
    const bool of_column = s.kind == SectionKind::kZones || s.kind == SectionKind::kFilter || s.kind == SectionKind::kTokens;
    if (of_column && (s.column < 0 || s.column >= columns_)) {
      return MakeError(ErrorKind::kCorruption, "{}: the index is damaged: a section of column {} of {}", name_, s.column, columns_);
    }
    switch (s.kind) {
      case SectionKind::kGranules:
        found_granules = true;
        SHEAF_RETURN_NOT_OK(ReadGranules(bytes, granules()));
        break;
      case SectionKind::kColumnBytes:
        if (bytes.size() == granules_.size() * static_cast<size_t>(columns_) * sizeof(int64_t)) column_bytes_ = s;
        break;
      case SectionKind::kZones: zone_sections_[static_cast<size_t>(s.column)] = s; break;
      case SectionKind::kFilter: filter_sections_[static_cast<size_t>(s.column)] = s; break;
      case SectionKind::kKeys: SHEAF_RETURN_NOT_OK(ReadKeys(bytes)); break;
      case SectionKind::kKeyFilter: key_filter_section_ = s; break;
      case SectionKind::kTokens: token_sections_[static_cast<size_t>(s.column)] = s; break;
      case SectionKind::kAttributes: SHEAF_RETURN_NOT_OK(ReadAttributes(bytes)); break;
      case SectionKind::kReports: reports_ = s; break;
    }  // Kinds of a later minor version are skipped: they can only make things faster.
  }
  if (!found_granules) return MakeError(ErrorKind::kCorruption, "{}: the index is damaged: it lists no granules", name_);
  if (!keys_ || !key_filter_section_) return Status::OK();
  const Section& filter = *key_filter_section_;
  const auto head_bytes = std::min<int64_t>(filter.bytes, columns::IdFilterView::kHeadBytes);
  SHEAF_RETURN_NOT_OK(body_->Check(filter.offset, head_bytes));
  auto view = columns::IdFilterView::Make(Bytes(filter));
  if (!view.ok()) return WithContext(view.status(), name_);
  key_filter_ = *view;
  return Status::OK();
}

int64_t PartIndex::column_bytes(int granule, int column) const {
  SHEAF_CHECK(granule >= 0 && granule < granules() && column >= 0 && column < columns_);
  if (!column_bytes_) return 0;
  int64_t out = 0;
  const int64_t at = (int64_t{granule} * columns_ + column) * static_cast<int64_t>(sizeof out);
  std::memcpy(&out, body_->data() + column_bytes_->offset + at, sizeof out);
  return out;
}

const columns::Zone* PartIndex::zone(int granule, int column) const {
  SHEAF_CHECK(granule >= -1 && granule < granules() && column >= 0 && column < columns_);
  const std::optional<Section>& section = zone_sections_[static_cast<size_t>(column)];
  if (!section) return nullptr;
  ColumnZones& cache = zones_[static_cast<size_t>(column)];
  std::call_once(cache.once, [&] {
    ByteReader in({reinterpret_cast<const char*>(body_->data()) + section->offset, static_cast<size_t>(section->bytes)});
    // What cannot be read has the right checksum: another program wrote it so. No zone is always safe.
    if (in.left() / kZoneBytesMin < granules_.size() + 1) return;
    std::vector<Zone> zones(granules_.size() + 1);
    for (Zone& zone : zones) {
      if (!ReadZone(&in, &zone)) return;
    }
    cache.zones = std::move(zones);
  });
  return cache.zones.empty() ? nullptr : &cache.zones[static_cast<size_t>(granule + 1)];
}

const PartIndex::Section* PartIndex::FilterOf(int column) const {
  if (column < 0 || column >= columns_ || !filter_sections_[static_cast<size_t>(column)]) return nullptr;
  return &*filter_sections_[static_cast<size_t>(column)];
}

Status PartIndex::Find(int column, std::string_view value, std::vector<int>* granules) const {
  const Section* section = FilterOf(column);
  if (section == nullptr) return MakeError(ErrorKind::kInvalid, "{}: column {} has no id filter", name_, column);
  const std::span<const uint8_t> filter(body_->data() + section->offset, static_cast<size_t>(section->bytes));
  const size_t before = granules->size();
  const auto check = [&](size_t offset, size_t bytes) {
    return body_->Check(section->offset + static_cast<int64_t>(offset), static_cast<int64_t>(bytes));
  };
  SHEAF_RETURN_NOT_OK(columns::FindInFilter(filter, value, check, granules));
  for (size_t i = before; i < granules->size(); ++i) {
    if ((*granules)[i] >= this->granules())
      return MakeError(ErrorKind::kCorruption, "{}: an id filter names granule {}", name_, (*granules)[i]);
  }
  return Status::OK();
}

const PartIndex::Section* PartIndex::TokensOf(int column) const {
  if (column < 0 || column >= columns_ || !token_sections_[static_cast<size_t>(column)]) return nullptr;
  return &*token_sections_[static_cast<size_t>(column)];
}

Status PartIndex::FindTokens(int column, std::span<const uint64_t> needs, std::vector<int>* granules) const {
  const Section* section = TokensOf(column);
  if (section == nullptr) return MakeError(ErrorKind::kInvalid, "{}: column {} has no token index", name_, column);
  const size_t before = granules->size();
  const auto check = [&](size_t offset, size_t bytes) {
    return body_->Check(section->offset + static_cast<int64_t>(offset), static_cast<int64_t>(bytes));
  };
  SHEAF_ASSIGN_OR_RETURN(const uint32_t covered, columns::FindInTokenFilter(Bytes(*section), needs, check, granules));
  if (static_cast<int64_t>(covered) == this->granules()) return Status::OK();
  granules->resize(before);
  return MakeError(ErrorKind::kCorruption, "{}: the token index of column {} is of {} granules, the part of {}", name_, column, covered,
                   this->granules());
}

Result<std::string_view> PartIndex::TokenFilterBytes(int column) const {
  const Section* section = TokensOf(column);
  SHEAF_CHECK(section != nullptr);
  SHEAF_RETURN_NOT_OK(body_->Check(section->offset, section->bytes));
  return std::string_view(reinterpret_cast<const char*>(body_->data()) + section->offset, static_cast<size_t>(section->bytes));
}

Status PartIndex::Verify() const {
  SHEAF_RETURN_NOT_OK(body_->CheckAll());
  if (reports_) {
    SHEAF_ASSIGN_OR_RETURN(const std::string_view bytes, ReportBytes());
    if (const auto reports = DecodeReports(bytes, columns_); !reports.ok()) return WithContext(reports.status(), name_);
  }
  for (int column = 0; column < columns_; ++column) {
    const Section* section = TokensOf(column);
    if (section == nullptr) continue;
    const auto shape = columns::ShapeOfTokenFilter(Bytes(*section));
    if (!shape.ok()) return WithContext(shape.status(), fmt::format("{}: column {}", name_, column));
    if (static_cast<int64_t>(shape->granules) == granules()) continue;
    return MakeError(ErrorKind::kCorruption, "{}: the token index of column {} is of {} granules, the part of {}", name_, column,
                     shape->granules, granules());
  }
  return Status::OK();
}

int PartIndex::GranuleOfLowerBound(std::string_view key) const {
  SHEAF_CHECK(keys_.has_value());
  int low = 0, high = granules();  // The last granule whose separator is <= key lies in [low, high); the first where there is none.
  while (high - low > 1) {
    const int middle = low + (high - low) / 2;
    if (keys_->separators[middle] <= key) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

Result<int> PartIndex::FindKey(std::string_view key) const {
  SHEAF_CHECK(keys_.has_value());
  if (granules() == 0 || key > info_.key_max || key < info_.key_min) return -1;
  if (!key_filter_) return GranuleOfLowerBound(key);
  int granule = -1;
  bool sane = true;
  const columns::KeyColumn& separators = keys_->separators;
  const auto check = [&](size_t offset, size_t bytes) {
    return body_->Check(key_filter_section_->offset + static_cast<int64_t>(offset), static_cast<int64_t>(bytes));
  };
  SHEAF_RETURN_NOT_OK(key_filter_->Find(key, check, [&](int g) {
    sane &= g < granules();
    if (!sane || separators[g] > key || (g + 1 < granules() && separators[g + 1] <= key)) return;
    granule = g;  // The separators leave one granule; another with the same fingerprint is a false hit.
  }));
  if (!sane) return MakeError(ErrorKind::kCorruption, "{}: the key filter names a granule that is not there", name_);
  return granule;
}

Result<std::string_view> PartIndex::KeyFilterBytes() const {
  if (!key_filter_section_) return std::string_view();
  SHEAF_RETURN_NOT_OK(body_->Check(key_filter_section_->offset, key_filter_section_->bytes));
  const auto bytes = Bytes(*key_filter_section_);
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<std::string_view> PartIndex::ReportBytes() const {
  SHEAF_CHECK(reports_.has_value());
  SHEAF_RETURN_NOT_OK(body_->Check(reports_->offset, reports_->bytes));
  return std::string_view(reinterpret_cast<const char*>(body_->data()) + reports_->offset, static_cast<size_t>(reports_->bytes));
}

Result<std::string_view> PartIndex::FilterBytes(int column) const {
  const Section* section = FilterOf(column);
  SHEAF_CHECK(section != nullptr);
  SHEAF_RETURN_NOT_OK(body_->Check(section->offset, section->bytes));
  return std::string_view(reinterpret_cast<const char*>(body_->data()) + section->offset, static_cast<size_t>(section->bytes));
}

}  // namespace sheaf::parts
