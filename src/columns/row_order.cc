#include "columns/row_order.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <utility>

#include "columns/dictionaries.h"
#include "columns/sort_keys.h"

namespace sheaf::columns {
namespace {

constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

/// Numbers ids of 16 bytes from 1 on, in order of first sight. A look-up costs one cache miss, and those of
/// several rows overlap.
class IdNumbers {
 public:
  IdNumbers() : slots_(1024) {}

  /// Sets the number of every row of `piece`; 0 for NULL.
  void Add(const ColumnUnion::Piece& piece, std::vector<uint32_t>* numbers) {
    constexpr int64_t kBlock = 32;  // Rows whose slots are on their way at once.
    std::array<Id, kBlock> ids;
    for (int64_t begin = 0; begin < piece.length; begin += kBlock) {
      const int64_t n = std::min(kBlock, piece.length - begin);
      for (int64_t i = 0; i < n; ++i) {
        Id& id = ids[static_cast<size_t>(i)];
        std::memcpy(id.words, piece.values + (begin + i) * 16, 16);
        id.hash = HashOf(id.words);
        __builtin_prefetch(&slots_[id.hash & (slots_.size() - 1)]);
      }
      for (int64_t i = 0; i < n; ++i) numbers->push_back(piece.IsNull(begin + i) ? 0 : NumberOf(ids[static_cast<size_t>(i)]));
    }
  }
  /// Distinct ids so far.
  uint32_t size() const { return size_; }

 private:
  struct Id {
    uint64_t words[2];
    uint64_t hash;
  };
  struct Slot {
    uint64_t words[2];
    uint32_t number = 0;  // 0: free.
  };

  /// Drawn once per process: who sends ids cannot choose which ones collide.
  static std::array<uint64_t, 2> Seeds() {
    static const std::array<uint64_t, 2> seeds = [] {
      std::random_device random;
      const auto word = [&random] { return uint64_t{random()} << 32 | random(); };
      return std::array<uint64_t, 2>{word(), word()};
    }();
    return seeds;
  }
  uint64_t HashOf(const uint64_t words[2]) const {  // Multiply and fold.
    const auto product = static_cast<unsigned __int128>(words[0] ^ seeds_[0]) * (words[1] ^ seeds_[1]);
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }

  uint32_t NumberOf(const Id& id) {
    const size_t mask = slots_.size() - 1;
    size_t at = id.hash & mask;
    for (; slots_[at].number != 0; at = (at + 1) & mask) {
      if (slots_[at].words[0] == id.words[0] && slots_[at].words[1] == id.words[1]) return slots_[at].number;
    }
    slots_[at] = {{id.words[0], id.words[1]}, ++size_};
    const uint32_t number = size_;
    if (size_t{size_} * 2 > slots_.size()) Grow();
    return number;
  }
  void Grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    const size_t mask = slots_.size() - 1;
    for (const Slot& slot : old) {
      if (slot.number == 0) continue;
      size_t at = HashOf(slot.words) & mask;
      while (slots_[at].number != 0) at = (at + 1) & mask;
      slots_[at] = slot;
    }
  }

  const std::array<uint64_t, 2> seeds_ = Seeds();
  std::vector<Slot> slots_;  // Open addressing; a power of two, at most half full.
  uint32_t size_ = 0;
};

/// Which trace each row belongs to: numbers from 1, 0 for rows without.
struct TraceNumbers {
  std::vector<uint32_t> of_row;
  uint32_t traces = 0;
};

Result<TraceNumbers> NumberTraces(const ColumnUnion& column, int64_t rows) {
  TraceNumbers out;
  out.of_row.reserve(static_cast<size_t>(rows));
  if (column.kind() == ColumnUnion::Kind::kFixed && column.type()->byte_width() == 16) {
    IdNumbers ids;
    for (const ColumnUnion::Piece& piece : column.pieces()) ids.Add(piece, &out.of_row);
    out.traces = ids.size();
    return out;
  }
  DictionaryUnion ids(column.type());
  std::vector<int32_t> numbers;
  for (const auto& array : column.arrays()) {
    SHEAF_RETURN_NOT_OK(ids.Add(*array, &numbers));
    for (const int32_t number : numbers) out.of_row.push_back(static_cast<uint32_t>(number + 1));
  }
  out.traces = static_cast<uint32_t>(ids.size());
  return out;
}

/// What decides where a trace goes.
struct Trace {
  uint64_t first = std::numeric_limits<uint64_t>::max();
  uint64_t root_time = 0;
  uint32_t root = kNone;   // Row of its root so far.
  uint32_t rows = 0;
  bool rooted = false;     // The root has no parent, that is.
};

std::vector<Trace> FindRoots(const TraceNumbers& numbers, const Keys& times, const ColumnUnion& parents) {
  std::vector<Trace> out(size_t{numbers.traces} + 1);
  uint32_t row = 0;
  for (const ColumnUnion::Piece& piece : parents.pieces()) {
    for (int64_t i = 0; i < piece.length; ++i, ++row) {
      Trace& trace = out[numbers.of_row[row]];
      const uint64_t time = times[row];
      const bool rooted = piece.IsNull(i);
      ++trace.rows;
      trace.first = std::min(trace.first, time);
      if (trace.root == kNone || (rooted && !trace.rooted) || (rooted == trace.rooted && time < trace.root_time)) {
        trace.root = row;
        trace.root_time = time;
        trace.rooted = rooted;
      }
    }
  }
  return out;
}

/// A number for each trace that sorts as its root's service does.
Result<Keys> RootServices(const RowUnion& rows, const ColumnUnion& services, const std::vector<Trace>& traces) {
  Keys out(traces.size(), 0);
  if (services.kind() != ColumnUnion::Kind::kDictionary) {
    SHEAF_ASSIGN_OR_RETURN(const Keys keys, OneWord(services, rows.rows()));
    for (size_t t = 0; t < traces.size(); ++t) out[t] = traces[t].root == kNone ? 0 : keys[traces[t].root];
    return out;
  }
  const auto& dictionary = services.dictionary();
  SHEAF_ASSIGN_OR_RETURN(const auto values, ColumnUnion::Make(dictionary->type, {dictionary}, arrow::default_memory_pool()));
  SHEAF_ASSIGN_OR_RETURN(const Keys keys, OneWord(*values, dictionary->length));
  for (size_t t = 0; t < traces.size(); ++t) {
    if (traces[t].root == kNone) continue;
    const int batch = rows.batch_of(traces[t].root);
    const int32_t number =
        services.DictionaryNumber(services.pieces()[static_cast<size_t>(batch)], traces[t].root - rows.first_row(batch));
    out[t] = number < 0 ? 0 : keys[static_cast<size_t>(number)] + 1;
  }
  return out;
}

/// Sorts one trace's rows, given in order of arrival, by time.
void SortByTime(const Keys& times, std::span<uint32_t> rows) {
  constexpr size_t kFew = 32;
  if (rows.size() > kFew) {
    std::vector<uint32_t> order(rows.begin(), rows.end());
    StableSortBy(times, &order);
    std::copy(order.begin(), order.end(), rows.begin());
    return;
  }
  std::array<uint64_t, kFew> sorted;
  for (size_t i = 0; i < rows.size(); ++i) {
    const uint32_t row = rows[i];
    const uint64_t time = times[row];
    size_t at = i;
    for (; at > 0 && time < sorted[at - 1]; --at) {
      sorted[at] = sorted[at - 1];
      rows[at] = rows[at - 1];
    }
    sorted[at] = time;
    rows[at] = row;
  }
}

}  // namespace

Result<std::vector<uint32_t>> SortRows(const RowUnion& rows, const std::vector<int>& columns) {
  std::vector<uint32_t> order(static_cast<size_t>(rows.rows()));
  std::iota(order.begin(), order.end(), 0u);
  for (auto column = columns.rbegin(); column != columns.rend(); ++column) {
    auto keys = KeysOf(rows.column(*column), rows.rows());
    if (!keys.ok()) return WithContext(keys.status(), "column '" + rows.schema()->field(*column)->name() + "'");
    for (auto word = keys->words.rbegin(); word != keys->words.rend(); ++word) StableSortBy(*word, &order);
  }
  return order;
}

Result<std::vector<uint32_t>> SortTraces(const RowUnion& rows, const TraceColumns& columns) {
  SHEAF_ASSIGN_OR_RETURN(const Keys times, OneWord(rows.column(columns.time), rows.rows()));
  SHEAF_ASSIGN_OR_RETURN(const TraceNumbers numbers, NumberTraces(rows.column(columns.trace), rows.rows()));
  const std::vector<Trace> traces = FindRoots(numbers, times, rows.column(columns.parent));
  SHEAF_ASSIGN_OR_RETURN(const Keys services, RootServices(rows, rows.column(columns.service), traces));
  Keys first(traces.size());
  for (size_t t = 0; t < traces.size(); ++t) first[t] = traces[t].first;
  std::vector<uint32_t> trace_order(traces.size());
  std::iota(trace_order.begin(), trace_order.end(), 0u);
  StableSortBy(first, &trace_order);
  StableSortBy(services, &trace_order);

  // Each trace has its place; its rows fall into it in order of arrival and are sorted there, where few have to be.
  std::vector<uint32_t> end(traces.size());
  uint32_t sum = 0;
  for (const uint32_t trace : trace_order) end[trace] = std::exchange(sum, sum + traces[trace].rows);
  std::vector<uint32_t> order(static_cast<size_t>(rows.rows()));
  for (uint32_t row = 0; row < order.size(); ++row) order[end[numbers.of_row[row]]++] = row;
  for (size_t t = 0; t < traces.size(); ++t) SortByTime(times, std::span(order).subspan(end[t] - traces[t].rows, traces[t].rows));
  return order;
}

}  // namespace sheaf::columns
