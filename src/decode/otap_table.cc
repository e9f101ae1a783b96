#include "decode/otap_table.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace sheaf::decode {
namespace {

using wire::IpcField;
using wire::IpcType;

/// A field of the protocol: its path and what it must be made of.
struct FieldRule {
  OtapField field;
  const char* path;
  IpcType type;
  int32_t width = 0;  // 0: any.
};

using enum OtapField;
constexpr FieldRule kRules[] = {
    {kId, "id", IpcType::kUnsigned},
    {kParentId, "parent_id", IpcType::kUnsigned},
    {kResource, "resource", IpcType::kStruct},
    {kResourceId, "resource.id", IpcType::kUnsigned},
    {kResourceSchemaUrl, "resource.schema_url", IpcType::kText},
    {kResourceDropped, "resource.dropped_attributes_count", IpcType::kUnsigned, 4},
    {kScope, "scope", IpcType::kStruct},
    {kScopeId, "scope.id", IpcType::kUnsigned},
    {kScopeName, "scope.name", IpcType::kText},
    {kScopeVersion, "scope.version", IpcType::kText},
    {kScopeDropped, "scope.dropped_attributes_count", IpcType::kUnsigned, 4},
    {kSchemaUrl, "schema_url", IpcType::kText},
    {kDroppedAttributes, "dropped_attributes_count", IpcType::kUnsigned, 4},
    {kFlags, "flags", IpcType::kUnsigned, 4},
    {kName, "name", IpcType::kText},
    {kTraceId, "trace_id", IpcType::kFixedBytes, 16},
    {kSpanId, "span_id", IpcType::kFixedBytes, 8},
    {kTime, "time_unix_nano", IpcType::kTimestampNs, 8},
    {kStartTime, "start_time_unix_nano", IpcType::kTimestampNs, 8},
    {kDuration, "duration_time_unix_nano", IpcType::kDurationNs, 8},
    {kTraceState, "trace_state", IpcType::kText},
    {kParentSpanId, "parent_span_id", IpcType::kFixedBytes, 8},
    {kKind, "kind", IpcType::kSigned, 4},
    {kDroppedEvents, "dropped_events_count", IpcType::kUnsigned, 4},
    {kDroppedLinks, "dropped_links_count", IpcType::kUnsigned, 4},
    {kStatus, "status", IpcType::kStruct},
    {kStatusCode, "status.code", IpcType::kSigned, 4},
    {kStatusMessage, "status.status_message", IpcType::kText},
    {kObservedTime, "observed_time_unix_nano", IpcType::kTimestampNs, 8},
    {kSeverityNumber, "severity_number", IpcType::kSigned, 4},
    {kSeverityText, "severity_text", IpcType::kText},
    {kEventName, "event_name", IpcType::kText},
    {kBody, "body", IpcType::kStruct},
    {kBodyType, "body.type", IpcType::kUnsigned, 1},
    {kBodyStr, "body.str", IpcType::kText},
    {kBodyInt, "body.int", IpcType::kSigned, 8},
    {kBodyDouble, "body.double", IpcType::kFloat, 8},
    {kBodyBool, "body.bool", IpcType::kBool},
    {kBodyBytes, "body.bytes", IpcType::kBytes},
    {kBodySer, "body.ser", IpcType::kBytes},
    {kKey, "key", IpcType::kText},
    {kType, "type", IpcType::kUnsigned, 1},
    {kStr, "str", IpcType::kText},
    {kInt, "int", IpcType::kSigned, 8},
    {kDouble, "double", IpcType::kFloat, 8},
    {kBool, "bool", IpcType::kBool},
    {kBytes, "bytes", IpcType::kBytes},
    {kSer, "ser", IpcType::kBytes},
    {kMetricType, "metric_type", IpcType::kUnsigned, 1},
    {kDescription, "description", IpcType::kText},
    {kUnit, "unit", IpcType::kText},
    {kTemporality, "aggregation_temporality", IpcType::kSigned, 4},
    {kIsMonotonic, "is_monotonic", IpcType::kBool},
    {kIntValue, "int_value", IpcType::kSigned, 8},
    {kDoubleValue, "double_value", IpcType::kFloat, 8},
    {kCount, "count", IpcType::kUnsigned, 8},
    {kSum, "sum", IpcType::kFloat, 8},
    {kMin, "min", IpcType::kFloat, 8},
    {kMax, "max", IpcType::kFloat, 8},
    {kBucketCounts, "bucket_counts", IpcType::kList},
    {kExplicitBounds, "explicit_bounds", IpcType::kList},
    {kScale, "scale", IpcType::kSigned, 4},
    {kZeroCount, "zero_count", IpcType::kUnsigned, 8},
    {kZeroThreshold, "zero_threshold", IpcType::kFloat, 8},
    {kPositive, "positive", IpcType::kStruct},
    {kPositiveOffset, "positive.offset", IpcType::kSigned, 4},
    {kPositiveCounts, "positive.bucket_counts", IpcType::kList},
    {kNegative, "negative", IpcType::kStruct},
    {kNegativeOffset, "negative.offset", IpcType::kSigned, 4},
    {kNegativeCounts, "negative.bucket_counts", IpcType::kList},
    {kQuantiles, "quantile", IpcType::kList},
    {kQuantile, "quantile.item.quantile", IpcType::kFloat, 8},
    {kQuantileValue, "quantile.item.value", IpcType::kFloat, 8},
};
static_assert(std::size(kRules) == kOtapFields);

/// The path by which a field may have a rule; empty where it can have none. `paths` are those of the fields before it. It goes
/// by what holds the field, not by what the names add up to: senders may put dots into names, or leave them empty. What a list
/// holds has rows of its own, so that it must never be taken for a column of the table: it is always below an "item".
std::string RulePath(const std::vector<IpcField>& fields, const std::vector<std::string>& paths, size_t i) {
  const int32_t parent = fields[i].parent;
  const bool in_list = parent >= 0 && fields[static_cast<size_t>(parent)].type == IpcType::kList;
  const std::string_view name = in_list ? "item" : fields[i].name();  // Lists name their items as they like.
  if (name.empty() || name.find('.') != std::string_view::npos) return {};
  if (parent < 0) return std::string(name);
  const std::string& outer = paths[static_cast<size_t>(parent)];
  return outer.empty() ? std::string() : fmt::format("{}.{}", outer, name);
}

Result<IdEncoding> ParseIdEncoding(const IpcField& field) {
  if (field.encoding.empty()) return IdEncoding::kDefault;
  if (field.encoding == "plain") return IdEncoding::kPlain;
  if (field.encoding == "delta") return IdEncoding::kDelta;
  if (field.encoding == "quasidelta") return IdEncoding::kQuasiDelta;
  return MakeError(ErrorKind::kInvalid, "column {}: encoding \"{}\" is none of plain, delta, quasidelta", field.path,
                   field.encoding);
}

bool IsBytes(IpcType type) { return type == IpcType::kText || type == IpcType::kBytes; }

/// The largest of `n` numbers.
template <typename Index>
uint64_t Largest(const uint8_t* values, int64_t n) {
  Index largest = 0;
  int64_t i = 0;
  if constexpr (sizeof(Index) <= 2) {
    constexpr int64_t kLanes = 16 / sizeof(Index), kAtOnce = 4;  // Several, since each waits for the one before.
    __m128i most[kAtOnce] = {};
    const auto take = [&](__m128i* so_far, int64_t at) {
      const __m128i next = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + at * static_cast<int64_t>(sizeof(Index))));
      if constexpr (sizeof(Index) == 1)
        *so_far = _mm_max_epu8(*so_far, next);
      else
        *so_far = _mm_add_epi16(*so_far, _mm_subs_epu16(next, *so_far));  // The larger: SSE2 has no unsigned maximum of 16 bits.
    };
    for (; i + kAtOnce * kLanes <= n; i += kAtOnce * kLanes) {
      for (int64_t k = 0; k < kAtOnce; ++k) take(&most[k], i + k * kLanes);
    }
    for (; i + kLanes <= n; i += kLanes) take(&most[0], i);
    Index lanes[kAtOnce * kLanes];
    std::memcpy(lanes, most, sizeof(most));
    largest = *std::max_element(std::begin(lanes), std::end(lanes));
  }
  for (; i < n; ++i) largest = std::max(largest, LoadAt<Index>(values, i));
  return largest;
}

/// Whether the offsets of `rows` lists or bytes ascend, from zero or more up to at most `end`.
bool OffsetsAscend(const uint8_t* offsets, int64_t rows, int64_t end) {
  int32_t before = LoadAt<int32_t>(offsets, 0);
  bool ascending = before >= 0;
  for (int64_t i = 1; i <= rows; ++i) {
    const auto offset = LoadAt<int32_t>(offsets, i);
    ascending &= offset >= before;
    before = offset;
  }
  return ascending && before <= end;
}

}  // namespace

bool AllSet(const uint8_t* bits, int64_t begin, int64_t end) {
  const auto is_set = [bits](int64_t i) { return ((bits[i >> 3] >> (i & 7)) & 1) != 0; };
  for (; begin < end && begin % 8 != 0; ++begin) {
    if (!is_set(begin)) return false;
  }
  for (; begin + 64 <= end; begin += 64) {
    if (LoadAt<uint64_t>(bits + begin / 8, 0) != ~uint64_t{0}) return false;
  }
  for (; begin < end; ++begin) {
    if (!is_set(begin)) return false;
  }
  return true;
}

int64_t OtapDictionary::held_bytes() const {
  return static_cast<int64_t>(sizeof(*this) + heap_.capacity() + offsets_.capacity() * sizeof(uint32_t) + nulls_.capacity() +
                              static_cast<size_t>(size_) * sizeof(uint64_t));
}

void OtapDictionary::Clear(size_t bytes) {
  size_ = 0;
  if (bytes > heap_.capacity()) std::string().swap(heap_);  // So that what comes does not take twice what it needs.
  heap_.clear();
  offsets_.clear();
  nulls_.clear();
  numbers_.clear();
}

uint64_t OtapDictionary::StartRound() const {
  numbers_.resize(static_cast<size_t>(size_));
  if (++round_ > std::numeric_limits<uint32_t>::max()) {
    std::fill(numbers_.begin(), numbers_.end(), 0);
    round_ = 1;
  }
  return round_;
}

Result<std::string_view> OtapScratch::Inflate(wire::IpcCodec codec, std::string_view compressed) {
  if (compressed.empty()) return compressed;
  SHEAF_ASSIGN_OR_RETURN(const int64_t bytes, wire::IpcInflater::ClaimedBytes(compressed));
  if (bytes < 0) return compressed.substr(sizeof(int64_t));
  uint8_t* out = Bytes(bytes);
  SHEAF_RETURN_NOT_OK(inflater_.Inflate(codec, compressed, out, bytes));
  return std::string_view(reinterpret_cast<const char*>(out), static_cast<size_t>(bytes));
}

Status OtapReader::Read(std::string_view record, int64_t rows_max, OtapScratch* scratch, OtapTable* table) {
  Status status;
  try {
    status = TryRead(record, rows_max, scratch, table);
  } catch (...) {  // Memory, in one way or another; who calls makes an error of it.
    GiveUp(State::kLost);
    throw;
  }
  if (status.ok()) return status;
  const ErrorKind kind = KindOf(status);
  const bool sender_is_right = lost() || kind == ErrorKind::kOutOfMemory || kind == ErrorKind::kTooLarge;
  GiveUp(sender_is_right ? State::kLost : State::kBroken);
  return WithContext(status, wire::OtapPayloadName(type_));
}

void OtapReader::GiveUp(State state) {
  state_ = state;
  std::vector<IpcField>().swap(fields_);
  std::vector<IdEncoding>().swap(encodings_);
  dictionaries_.clear();
  memory_->held -= std::exchange(held_, 0);
}

Status OtapReader::CheckState() const {
  switch (state_) {
    case State::kReady: return Status::OK();
    case State::kNew:
      return MakeError(ErrorKind::kInvalid, "schema id \"{}\" is new and its payload begins without a schema", schema_id_);
    case State::kBroken:
      return MakeError(ErrorKind::kInvalid,
                       "an earlier payload under schema id \"{}\" could not be read; begin again with its schema, "
                       "under another id or in a new stream",
                       schema_id_);
    case State::kLost: break;
  }
  return MakeError(ErrorKind::kUnavailable,
                   "the stream's state is lost: an earlier payload under schema id \"{}\" was too large or found no memory; open "
                   "another stream",
                   schema_id_);
}

Status OtapReader::TryRead(std::string_view record, int64_t rows_max, OtapScratch* scratch, OtapTable* table) {
  table->type = type_;
  table->rows = 0;
  table->columns.clear();
  table->places = nullptr;
  bool has_batch = false;
  wire::IpcReader reader(record);
  for (bool first = true;; first = false) {
    SHEAF_ASSIGN_OR_RETURN(const bool more, reader.Next());
    if (!more) break;
    if (reader.kind() == wire::IpcKind::kSchema) {
      if (!first || state_ == State::kReady)
        return MakeError(ErrorKind::kInvalid, "a second schema under schema id \"{}\"", schema_id_);
      SHEAF_RETURN_NOT_OK(TakeSchema(&reader));
      continue;
    }
    SHEAF_RETURN_NOT_OK(CheckState());
    if (has_batch) return MakeError(ErrorKind::kInvalid, "more messages after the record batch; a payload holds one");
    if (reader.kind() == wire::IpcKind::kDictionary) {
      SHEAF_RETURN_NOT_OK(TakeDictionary(&reader, scratch));
      continue;
    }
    has_batch = true;
    SHEAF_ASSIGN_OR_RETURN(const wire::IpcBatch batch, reader.ReadBatch());
    if (batch.rows > rows_max) return MakeError(ErrorKind::kTooLarge, "{} rows; at most {} are taken", batch.rows, rows_max);
    Cursor cursor{&batch, reader.body()};
    for (size_t field = 0; field < fields_.size();) {
      SHEAF_RETURN_NOT_OK(LoadField(&field, batch.rows, nullptr, &cursor, scratch, &table->columns));
    }
    table->rows = batch.rows;
    table->places = &places_;
    SHEAF_RETURN_NOT_OK(CheckRows(*table));
  }
  return Status::OK();
}

Status OtapReader::CheckRows(const OtapTable& table) const {
  const OtapColumn* quantiles = table.Find(OtapField::kQuantiles);
  const int64_t items = quantiles == nullptr || table.rows == 0 ? 0 : quantiles->Offset(table.rows);
  for (const FieldRule& rule : kRules) {
    const OtapColumn* column = table.Find(rule.field);
    const bool is_item = rule.field == OtapField::kQuantile || rule.field == OtapField::kQuantileValue;
    const int64_t needed = is_item ? items : table.rows;
    if (column != nullptr && column->rows < needed)
      return MakeError(ErrorKind::kInvalid, "column {} has {} rows of {}", rule.path, column->rows, needed);
  }
  return Status::OK();
}

Status OtapReader::TakeSchema(wire::IpcReader* reader) {
  dictionaries_.clear();
  places_.fill(-1);
  SHEAF_RETURN_NOT_OK(reader->ReadSchema(&fields_));
  encodings_.assign(fields_.size(), IdEncoding::kDefault);
  std::vector<std::string> paths(fields_.size());
  for (size_t i = 0; i < fields_.size(); ++i) {
    const IpcField& field = fields_[i];
    if (field.dictionary_id >= 0) {
      const OtapDictionary* dictionary = FindDictionary(field.dictionary_id);
      if (dictionary == nullptr) {
        dictionaries_.push_back(std::make_unique<OtapDictionary>(field.dictionary_id, field.type, field.width));
      } else if (dictionary->type() != field.type || dictionary->width() != field.width) {
        return MakeError(ErrorKind::kInvalid, "column {}: dictionary {} has values of another type", field.path,
                         field.dictionary_id);
      }
    }
    paths[i] = RulePath(fields_, paths, i);
    const auto* rule =
        std::find_if(std::begin(kRules), std::end(kRules), [&](const FieldRule& r) { return paths[i] == r.path; });
    if (rule == std::end(kRules)) continue;
    int16_t& place = places_[static_cast<size_t>(rule->field)];
    if (place >= 0) return MakeError(ErrorKind::kInvalid, "column {} comes twice", field.path);
    if (field.type != rule->type || (rule->width != 0 && field.width != rule->width)) {
      // A column of nulls alone may have any type: it is as good as absent.
      if (field.type == IpcType::kNull) continue;
      return MakeError(ErrorKind::kInvalid, "column {} has type {} ({} bytes); OTel-Arrow defines {}{}", field.path,
                       wire::IpcTypeName(field.type), field.width, wire::IpcTypeName(rule->type),
                       rule->width == 0 ? "" : fmt::format(" ({} bytes)", rule->width));
    }
    SHEAF_ASSIGN_OR_RETURN(encodings_[i], ParseIdEncoding(field));
    place = static_cast<int16_t>(i);
  }
  state_ = State::kReady;
  return Account();
}

OtapDictionary* OtapReader::FindDictionary(int64_t id) {
  const auto found = std::find_if(dictionaries_.begin(), dictionaries_.end(), [id](const auto& d) { return d->id() == id; });
  return found == dictionaries_.end() ? nullptr : found->get();
}

Status OtapReader::Account() {
  auto bytes = static_cast<int64_t>(sizeof(*this) + schema_id_.capacity() + fields_.capacity() * sizeof(IpcField) +
                                    encodings_.capacity() * sizeof(IdEncoding));
  for (const IpcField& field : fields_) bytes += static_cast<int64_t>(field.path.capacity() + field.encoding.capacity());
  for (const auto& dictionary : dictionaries_) bytes += dictionary->held_bytes();
  memory_->held += bytes - std::exchange(held_, bytes);
  return memory_->held <= memory_->bytes_max ? Status::OK() : OverMemory();
}

Status OtapReader::OverMemory() const {
  return MakeError(ErrorKind::kTooLarge,
                   "the dictionaries of this stream take more than {} bytes; begin a new stream, or send such "
                   "columns without a dictionary",
                   memory_->bytes_max);
}

Status OtapReader::TakeDictionary(wire::IpcReader* reader, OtapScratch* scratch) {
  OtapDictionary* dictionary = FindDictionary(reader->dictionary_id());
  if (dictionary == nullptr) return MakeError(ErrorKind::kInvalid, "dictionary {} is not in the schema", reader->dictionary_id());
  SHEAF_ASSIGN_OR_RETURN(const wire::IpcBatch batch, reader->ReadBatch());
  const auto field =
      std::find_if(fields_.begin(), fields_.end(), [&](const IpcField& f) { return f.dictionary_id == dictionary->id(); });
  Cursor cursor{&batch, reader->body()};
  OtapColumn values;
  SHEAF_RETURN_NOT_OK(LoadColumn(*field, true, &cursor, scratch, &values));
  SHEAF_RETURN_NOT_OK(Append(values, !reader->is_delta(), dictionary));
  return Account();
}

Status OtapReader::Append(const OtapColumn& values, bool replace, OtapDictionary* dictionary) {
  int64_t bytes = values.rows * std::max<int64_t>(1, values.width);
  if (IsBytes(values.type) && values.rows > 0) bytes = values.Offset(values.rows) - values.Offset(0);
  // Before anything is copied: the limit holds for what was there and what comes.
  const int64_t freed = replace ? dictionary->held_bytes() : 0;
  if (memory_->held - freed + bytes + values.rows * static_cast<int64_t>(sizeof(uint64_t)) > memory_->bytes_max) {
    return OverMemory();
  }
  if (replace) dictionary->Clear(static_cast<size_t>(bytes));
  const int64_t size = dictionary->size_ + values.rows;
  if (values.valid != nullptr || !dictionary->nulls_.empty()) {
    dictionary->nulls_.resize(static_cast<size_t>(size));
    for (int64_t i = 0; i < values.rows; ++i) dictionary->nulls_[static_cast<size_t>(dictionary->size_ + i)] = values.IsNull(i);
  }
  if (IsBytes(values.type)) {
    if (dictionary->offsets_.empty()) dictionary->offsets_.push_back(0);
    const int64_t begin = values.rows > 0 ? values.Offset(0) : 0;
    const auto base = static_cast<int64_t>(dictionary->heap_.size()) - begin;
    for (int64_t i = 1; i <= values.rows; ++i) dictionary->offsets_.push_back(static_cast<uint32_t>(base + values.Offset(i)));
    dictionary->heap_.append(values.heap.substr(static_cast<size_t>(begin), static_cast<size_t>(bytes)));
  } else if (values.type == IpcType::kBool) {
    for (int64_t i = 0; i < values.rows; ++i)
      dictionary->heap_.push_back(static_cast<char>((values.values[i >> 3] >> (i & 7)) & 1));
  } else if (values.rows > 0 && values.values != nullptr) {
    dictionary->heap_.append(reinterpret_cast<const char*>(values.values), static_cast<size_t>(values.rows * values.width));
  }
  dictionary->size_ = size;
  return Status::OK();
}

Result<std::string_view> OtapReader::NextBuffer(Cursor* cursor, OtapScratch* scratch) const {
  if (cursor->buffer >= cursor->batch->buffers.size)
    return MakeError(ErrorKind::kInvalid, "fewer buffers than the schema asks for");
  const auto offset = cursor->batch->buffer_offset(cursor->buffer);
  const auto bytes = cursor->batch->buffer_bytes(cursor->buffer);
  ++cursor->buffer;
  const auto body_bytes = static_cast<int64_t>(cursor->body.size());
  if (offset < 0 || bytes < 0 || offset > body_bytes || bytes > body_bytes - offset) {
    return MakeError(ErrorKind::kInvalid, "a buffer at {} of {} bytes leaves its body of {}", offset, bytes, body_bytes);
  }
  const std::string_view buffer = cursor->body.substr(static_cast<size_t>(offset), static_cast<size_t>(bytes));
  if (cursor->batch->codec == wire::IpcCodec::kNone) return buffer;
  return scratch->Inflate(cursor->batch->codec, buffer);
}

Status OtapReader::LoadField(size_t* place, int64_t rows_min, const uint8_t* outer_valid, Cursor* cursor, OtapScratch* scratch,
                             std::vector<OtapColumn>* columns) {
  const size_t at = columns->size();  // As many as the fields before it.
  const IpcField& field = fields_[(*place)++];
  OtapColumn column;
  column.encoding = encodings_[at];
  SHEAF_RETURN_NOT_OK(LoadColumn(field, false, cursor, scratch, &column));
  if (column.rows < rows_min)
    return MakeError(ErrorKind::kInvalid, "column {} has {} rows of {}", field.path, column.rows, rows_min);
  if (outer_valid != nullptr) {  // Where the struct is null its children are.
    if (column.valid == nullptr) {
      column.valid = outer_valid;
    } else {
      const int64_t bytes = (rows_min + 7) / 8;
      uint8_t* both = scratch->Bytes(bytes);
      for (int64_t i = 0; i < bytes; ++i) both[i] = outer_valid[i] & column.valid[i];
      column.valid = both;
    }
  }
  columns->push_back(column);
  const int64_t child_rows = column.type == IpcType::kList ? (column.rows == 0 ? 0 : column.Offset(column.rows)) : rows_min;
  const uint8_t* child_valid = column.type == IpcType::kStruct ? (*columns)[at].valid : nullptr;
  for (int32_t i = 0; i < field.children; ++i) {
    SHEAF_RETURN_NOT_OK(LoadField(place, child_rows, child_valid, cursor, scratch, columns));
  }
  return Status::OK();
}

Status OtapReader::LoadColumn(const IpcField& field, bool as_dictionary, Cursor* cursor, OtapScratch* scratch,
                              OtapColumn* column) {
  if (cursor->node >= cursor->batch->nodes.size) return MakeError(ErrorKind::kInvalid, "fewer columns than the schema asks for");
  const int64_t rows = cursor->batch->node_length(cursor->node);
  const int64_t nulls = cursor->batch->node_nulls(cursor->node);
  ++cursor->node;
  if (rows < 0 || rows >= kOffsetMax || nulls < 0 || nulls > rows) {
    return MakeError(ErrorKind::kInvalid, "column {}: {} rows, {} nulls", field.path, rows, nulls);
  }
  column->type = field.type;
  column->width = field.width;
  column->rows = rows;
  if (field.type == IpcType::kNull && field.dictionary_id < 0) return Status::OK();
  SHEAF_ASSIGN_OR_RETURN(const std::string_view valid, NextBuffer(cursor, scratch));
  if (nulls > 0 && !valid.empty()) {
    if (static_cast<int64_t>(valid.size()) < (rows + 7) / 8)
      return MakeError(ErrorKind::kInvalid, "column {}: null bits are short", field.path);
    column->valid = reinterpret_cast<const uint8_t*>(valid.data());
  }
  if (field.type == IpcType::kStruct) return Status::OK();
  const bool indexes = field.dictionary_id >= 0 && !as_dictionary;
  if (!indexes && (IsBytes(field.type) || field.type == IpcType::kList)) return LoadOffsets(field, cursor, scratch, column);

  column->index_width = indexes ? field.index_width : 0;
  int64_t bytes = rows * (indexes ? field.index_width : field.width);
  if (!indexes && field.type == IpcType::kBool) bytes = (rows + 7) / 8;
  SHEAF_ASSIGN_OR_RETURN(const std::string_view values, NextBuffer(cursor, scratch));
  if (static_cast<int64_t>(values.size()) < bytes) {
    return MakeError(ErrorKind::kInvalid, "column {}: {} bytes of values for {} rows", field.path, values.size(), rows);
  }
  column->values = reinterpret_cast<const uint8_t*>(values.data());
  if (!indexes) return Status::OK();
  column->dictionary = FindDictionary(field.dictionary_id);
  return CheckIndexes(field, *column);
}

Status OtapReader::LoadOffsets(const IpcField& field, Cursor* cursor, OtapScratch* scratch, OtapColumn* column) {
  static constexpr uint8_t kZero[sizeof(int32_t)] = {};
  SHEAF_ASSIGN_OR_RETURN(const std::string_view offsets, NextBuffer(cursor, scratch));
  column->offsets = reinterpret_cast<const uint8_t*>(offsets.data());
  if (column->rows == 0) {
    column->offsets = kZero;
  } else if (static_cast<int64_t>(offsets.size()) < (column->rows + 1) * static_cast<int64_t>(sizeof(int32_t))) {
    return MakeError(ErrorKind::kInvalid, "column {}: {} bytes of offsets for {} rows", field.path, offsets.size(), column->rows);
  }
  int64_t end = kOffsetMax;  // Of a list: its child is checked to reach so far.
  if (field.type != IpcType::kList) {
    SHEAF_ASSIGN_OR_RETURN(column->heap, NextBuffer(cursor, scratch));
    end = static_cast<int64_t>(column->heap.size());
  }
  if (!OffsetsAscend(column->offsets, column->rows, end)) {
    return MakeError(ErrorKind::kInvalid, "column {}: offsets do not ascend within {} bytes", field.path, column->heap.size());
  }
  return Status::OK();
}

Status OtapReader::CheckIndexes(const IpcField& field, const OtapColumn& column) const {
  const auto size = static_cast<uint64_t>(column.dictionary->size());
  uint64_t largest = 0;
  switch (column.index_width) {
    case 1: largest = Largest<uint8_t>(column.values, column.rows); break;
    case 2: largest = Largest<uint16_t>(column.values, column.rows); break;
    case 4: largest = Largest<uint32_t>(column.values, column.rows); break;
    default: largest = Largest<uint64_t>(column.values, column.rows);
  }
  if (largest < size || column.rows == 0) return Status::OK();
  for (int64_t i = 0; i < column.rows; ++i) {  // What stands in null rows does not count.
    const auto index = static_cast<uint64_t>(column.Index(i));
    if (index >= size && !column.IsNull(i)) {
      return MakeError(ErrorKind::kInvalid, "column {}, row {}: index {} of a dictionary of {} values", field.path, i, index,
                       size);
    }
  }
  return Status::OK();
}

}  // namespace sheaf::decode
