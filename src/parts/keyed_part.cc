#include "parts/keyed_part.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/check.h"
#include "parts/conform_source.h"
#include "parts/part_source.h"

namespace sheaf::parts {
namespace {

constexpr int64_t kWindowRowsMax = 1024;

int64_t BytesOf(const arrow::ArrayData& data) {
  int64_t bytes = 0;
  for (const auto& buffer : data.buffers) bytes += buffer ? buffer->size() : 0;
  for (const auto& child : data.child_data) bytes += BytesOf(*child);
  return data.dictionary ? bytes + BytesOf(*data.dictionary) : bytes;
}

int64_t BytesOf(const arrow::RecordBatch& batch) {
  int64_t bytes = 0;
  for (int c = 0; c < batch.num_columns(); ++c) bytes += BytesOf(*batch.column_data(c));
  return bytes;
}

}  // namespace

std::shared_ptr<arrow::Schema> KeyedSchema(const arrow::Schema& table) {
  arrow::FieldVector fields = table.fields();
  fields.push_back(arrow::field(kLsnColumn, arrow::uint64(), false));
  return arrow::schema(std::move(fields), table.metadata());
}

struct KeyedPart::Keys : CachedGranule {
  Keys(std::shared_ptr<arrow::RecordBatch> batch, const columns::KeyCodec* codec) : keys(std::move(batch), codec) {}
  const SortedKeys keys;
};

struct KeyedPart::Rows : CachedGranule {
  std::shared_ptr<arrow::RecordBatch> batch;  // The table's columns.
  std::shared_ptr<arrow::ArrayData> lsns;
};

KeyedPart::KeyedPart(std::shared_ptr<const PartSource> part, std::shared_ptr<const columns::GranuleSource> source, PartInfo info,
                     Options options)
    : info_(std::move(info)),
      options_(std::move(options)),
      part_(std::move(part)),
      source_(std::move(source)),
      owner_(GranuleCache::NewOwner()),
      key_columns_(options_.keys->columns()),
      table_columns_(static_cast<size_t>(source_->schema()->num_fields())) {
  std::iota(table_columns_.begin(), table_columns_.end(), 0);
  // What was cast or filled is memory, not the mapping.
  const bool in_place = info_.format == Format::kHot && source_.get() == static_cast<const columns::GranuleSource*>(part_.get());
  if (in_place) pinned_ = std::vector<Pinned>(static_cast<size_t>(source_->num_granules()));
}

KeyedPart::~KeyedPart() {
  if (options_.cache != nullptr && pinned_.empty()) options_.cache->Drop(owner_);
  for (const Pinned& pinned : pinned_) {
    delete pinned.keys.load();
    delete pinned.rows.load();
  }
}

Result<std::shared_ptr<const KeyedPart>> KeyedPart::Open(io::FileSystem* files, const std::string& directory, const PartInfo& info,
                                                         Options options) {
  const auto written = KeyedSchema(options.written ? *options.written : *options.schema);
  SHEAF_ASSIGN_OR_RETURN(auto part, OpenPartSource(files, directory, info, written));
  const PartKeys* keys = part->index().keys();
  const bool same_keys = keys != nullptr && keys->columns.size() == options.keys->columns().size();
  const auto schema = KeyedSchema(*options.schema);
  SHEAF_ASSIGN_OR_RETURN(auto source, ConformSource(part, schema, options.fills));
  for (size_t i = 0; same_keys && i < keys->columns.size(); ++i) {
    const auto& was = written->field(keys->columns[i])->type();
    const auto& is = schema->field(options.keys->columns()[i])->type();
    if (!was->Equals(*is)) {
      return MakeError(ErrorKind::kCorruption, "{}: its key column {} is of type {}, the table's of {}", info.file_name, i, was->ToString(),
                       is->ToString());
    }
  }
  if (!same_keys) {
    return MakeError(ErrorKind::kCorruption, "{}: has {} key columns, its table {}", info.file_name,
                     keys == nullptr ? 0 : keys->columns.size(), options.keys->columns().size());
  }
  return std::shared_ptr<const KeyedPart>(new KeyedPart(std::move(part), std::move(source), info, std::move(options)));
}

Result<std::shared_ptr<const KeyedPart::Keys>> KeyedPart::ReadKeys(int granule) const {
  SHEAF_ASSIGN_OR_RETURN(auto batch, source_->Read(granule, key_columns_));
  for (int c = 0; c < batch->num_columns(); ++c) {
    if (batch->column_data(c)->GetNullCount() == 0) continue;
    return MakeError(ErrorKind::kCorruption, "{}: granule {}: a key is NULL", info_.file_name, granule);
  }
  auto out = std::make_shared<Keys>(batch, options_.keys.get());
  out->bytes = BytesOf(*batch);
  return out;
}

Result<std::shared_ptr<const KeyedPart::Rows>> KeyedPart::ReadRows(int granule) const {
  SHEAF_ASSIGN_OR_RETURN(const auto batch, source_->Read(granule, table_columns_));
  auto out = std::make_shared<Rows>();
  out->bytes = BytesOf(*batch);
  std::vector<std::shared_ptr<arrow::ArrayData>> arrays = batch->column_data();
  out->lsns = std::move(arrays.back());
  arrays.pop_back();
  out->batch = arrow::RecordBatch::Make(options_.schema, batch->num_rows(), std::move(arrays));
  return out;
}

Result<KeyedPart::Loaded<KeyedPart::Keys>> KeyedPart::LoadKeys(int granule) const {
  return Load<Keys>(granule, false, pinned_.empty() ? nullptr : &pinned_[static_cast<size_t>(granule)].keys,
                    [&] { return ReadKeys(granule); });
}

Result<KeyedPart::Loaded<KeyedPart::Rows>> KeyedPart::LoadRows(int granule) const {
  return Load<Rows>(granule, true, pinned_.empty() ? nullptr : &pinned_[static_cast<size_t>(granule)].rows,
                    [&] { return ReadRows(granule); });
}

Result<std::optional<KeyedPart::Position>> KeyedPart::Find(std::string_view key) const {
  SHEAF_ASSIGN_OR_RETURN(const int granule, part_->index().FindKey(key));
  if (granule < 0) return std::nullopt;
  SHEAF_ASSIGN_OR_RETURN(const auto loaded, LoadKeys(granule));
  const int64_t row = loaded.granule->keys.Find(key);
  if (row < 0) return std::nullopt;
  return Position{granule, row};
}

Result<std::vector<std::optional<KeyedPart::Position>>> KeyedPart::FindMany(const columns::KeyColumn& keys) const {
  constexpr int64_t kAhead = 8;  // Keys whose place in the filter is fetched before it is asked for.
  std::vector<std::optional<Position>> out(static_cast<size_t>(keys.size()));
  std::vector<std::pair<int, int64_t>> wanted;  // Granule, number of the key.
  for (int64_t i = 0; i < keys.size(); ++i) {
    if (i + kAhead < keys.size()) part_->index().PrefetchKey(keys[i + kAhead]);
    SHEAF_ASSIGN_OR_RETURN(const int granule, part_->index().FindKey(keys[i]));
    if (granule >= 0) wanted.emplace_back(granule, i);
  }
  std::sort(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < wanted.size();) {
    const int granule = wanted[i].first;
    SHEAF_ASSIGN_OR_RETURN(const auto loaded, LoadKeys(granule));
    for (; i < wanted.size() && wanted[i].first == granule; ++i) {
      const int64_t row = loaded.granule->keys.Find(keys[wanted[i].second]);
      if (row >= 0) out[static_cast<size_t>(wanted[i].second)] = Position{granule, row};
    }
  }
  return out;
}

Result<KeyedPart::Position> KeyedPart::LowerBound(std::string_view key) const {
  const int granules = source_->num_granules();
  if (key > info_.key_max) return Position{granules, 0};
  const int granule = part_->index().GranuleOfLowerBound(key);
  SHEAF_ASSIGN_OR_RETURN(const auto loaded, LoadKeys(granule));
  const int64_t row = loaded.granule->keys.LowerBound(key);
  return row < loaded.granule->keys.rows() ? Position{granule, row} : Position{granule + 1, 0};
}

Result<KeyedPartRow> KeyedPart::Row(Position position) const {
  SHEAF_CHECK(position.granule >= 0 && position.granule < source_->num_granules());
  SHEAF_ASSIGN_OR_RETURN(const auto loaded, LoadRows(position.granule));
  const Rows& rows = *loaded.granule;
  SHEAF_CHECK(position.row >= 0 && position.row < rows.batch->num_rows());
  return KeyedPartRow{rows.batch, position.row, Lsn(rows.lsns->GetValues<uint64_t>(1)[position.row])};
}

template <typename T, typename Read>
Result<KeyedPart::Loaded<T>> KeyedPart::Load(int granule, bool whole, std::atomic<const T*>* pin, const Read& read) const {
  if (pin != nullptr) {
    if (const T* ready = pin->load(std::memory_order_acquire)) return Loaded<T>{ready, nullptr};
    SHEAF_ASSIGN_OR_RETURN(const auto made, read());
    auto own = std::make_unique<const T>(*made);
    const T* there = nullptr;
    if (pin->compare_exchange_strong(there, own.get(), std::memory_order_acq_rel)) there = own.release();
    return Loaded<T>{there, nullptr};  // Where another thread was faster: its copy.
  }
  const GranuleCache::Key key{owner_, granule, whole};
  if (options_.cache != nullptr) {
    if (auto found = options_.cache->Find(key)) return Loaded<T>{static_cast<const T*>(found.get()), std::move(found)};
  }
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<const T> made, read());
  if (options_.cache != nullptr) options_.cache->Insert(key, made);
  const T* granule_read = made.get();
  return Loaded<T>{granule_read, std::move(made)};
}

Result<std::unique_ptr<KeyedPart::Cursor>> KeyedPart::Scan(std::string_view from) const {
  SHEAF_ASSIGN_OR_RETURN(Position position, LowerBound(from));
  --position.row;
  return std::unique_ptr<Cursor>(new Cursor(this, position));
}

Result<bool> KeyedPart::Cursor::Next() {
  ++position_.row;
  const int granules = part_->source_->num_granules();
  while (position_.granule < granules && position_.row >= part_->source_->granule_rows(position_.granule)) {
    position_ = {position_.granule + 1, 0};
    keys_ = nullptr;
  }
  if (position_.granule >= granules) {
    position_ = {granules, -1};
    return false;
  }
  if (keys_ == nullptr) {
    SHEAF_ASSIGN_OR_RETURN(auto loaded, part_->LoadKeys(position_.granule));
    keys_ = &loaded.granule->keys;
    hold_ = std::move(loaded.hold);
    window_ = {};
    window_begin_ = position_.row;
  }
  if (position_.row >= window_begin_ + window_.size()) {
    window_rows_ = std::min(window_rows_ * 2, kWindowRowsMax);
    SHEAF_ASSIGN_OR_RETURN(window_, keys_->Encode(position_.row, std::min(window_rows_, keys_->rows() - position_.row)));
    window_begin_ = position_.row;
  }
  return true;
}

}  // namespace sheaf::parts
