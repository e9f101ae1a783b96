#include "query/view_state_codec.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "duckdb/planner/expression/bound_aggregate_expression.hpp"

namespace sheaf::query {

namespace {

using duckdb::BoundAggregateExpression;
using duckdb::data_ptr_t;
using duckdb::DataChunk;
using duckdb::FlatVector;
using duckdb::idx_t;
using duckdb::LogicalType;
using duckdb::PhysicalType;
using duckdb::Vector;

/// Their states are plain bytes, whatever they count…
constexpr std::array<std::string_view, 3> kPlainOfAny = {"count_star", "count", "approx_count_distinct"};
/// …or where the values are of a fixed width.
constexpr std::array<std::string_view, 40> kPlain = {
    "sum", "sum_no_overflow", "avg", "mean", "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor", "stddev", "stddev_samp",
    "stddev_pop", "variance", "var_samp", "var_pop", "sem", "corr", "covar_pop", "covar_samp", "regr_avgx", "regr_avgy", "regr_count",
    "regr_intercept", "regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "product", "kurtosis", "kurtosis_pop", "skewness",
    "fsum", "kahan_sum", "sumkahan", "favg", "count_if", "countif"};

template <size_t size>
bool IsOneOf(const std::array<std::string_view, size>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool IsFixed(const LogicalType& type) { return duckdb::TypeIsConstantSize(type.InternalType()); }

std::vector<data_ptr_t> Addresses(const StateCodec::States& states) {
  const auto* addresses = FlatVector::GetData<data_ptr_t>(states.addresses);
  return {addresses, addresses + states.count};
}

/// A column of addresses for Update() and Combine().
class Pointers {
 public:
  Pointers() : vector_(LogicalType::POINTER) {}
  /// `count` is at most STANDARD_VECTOR_SIZE.
  Vector& Of(const data_ptr_t* addresses, idx_t count) {
    std::copy_n(addresses, count, FlatVector::GetData<data_ptr_t>(vector_));
    return vector_;
  }

 private:
  Vector vector_;
};

void AddBytes(Vector* blobs, idx_t row, const void* bytes, size_t size) {
  FlatVector::GetData<duckdb::string_t>(*blobs)[row] =
      duckdb::StringVector::AddStringOrBlob(*blobs, static_cast<const char*>(bytes), size);
}

template <typename Value>
void Append(std::string* bytes, const Value& value) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// The bytes of a saved state, read from the front. Throws where they end too soon.
class Bytes {
 public:
  Bytes(Vector& blobs, idx_t row) : text_(FlatVector::GetData<duckdb::string_t>(blobs)[row]) {}
  template <typename Value>
  Value Take() {
    Value value;
    std::memcpy(&value, Take(sizeof(Value)), sizeof(Value));
    return value;
  }
  const char* Take(size_t size) {
    if (size > left()) throw duckdb::SerializationException("the saved state of an aggregate is too short");
    const char* at = text_.GetData() + at_;
    at_ += size;
    return at;
  }
  size_t left() const { return text_.GetSize() - at_; }

 private:
  const duckdb::string_t text_;
  size_t at_ = 0;
};

/// The state's own bytes.
class PlainCodec : public StateCodec {
 public:
  explicit PlainCodec(const BoundAggregateExpression& bound)
      : size_(bound.function.GetStateSizeCallback()(bound.function)) {}
  LogicalType type() const override { return LogicalType::BLOB; }

  void Save(const States& states, DataChunk&, Vector* saved) const override {
    const auto addresses = Addresses(states);
    for (idx_t row = 0; row < states.count; ++row) AddBytes(saved, row, addresses[row], size_);
  }
  void Load(Vector& saved, const States& states) const override {
    const auto addresses = Addresses(states);
    for (idx_t row = 0; row < states.count; ++row) std::memcpy(addresses[row], Bytes(saved, row).Take(size_), size_);
  }

 private:
  const idx_t size_;
};

/// Of aggregates that say the same again when they are given what they answered: min() and max() of anything; of two arguments, whose
/// answer is a list, each of its values.
class AnswerCodec : public StateCodec {
 public:
  AnswerCodec(const BoundAggregateExpression& bound, idx_t position) : bound_(bound), position_(position) {}
  std::vector<size_t> results() const override { return {position_}; }
  LogicalType type() const override { return bound_.return_type; }

  void Save(const States& states, DataChunk& results, Vector* saved) const override {
    duckdb::VectorOperations::Copy(results.data[position_], *saved, states.count, 0, 0);
  }
  void Load(Vector& saved, const States& states) const override {
    const auto addresses = Addresses(states);
    const auto update = bound_.function.GetStateUpdateCallback();
    Pointers targets;
    if (bound_.children.size() == 1) {
      update(&saved, states.input, 1, targets.Of(addresses.data(), states.count), states.count);
      return;
    }
    const auto& limit = bound_.children[1]->Cast<duckdb::BoundConstantExpression>().value;
    const auto* lists = FlatVector::GetData<duckdb::list_entry_t>(saved);
    Vector& values = duckdb::ListVector::GetEntry(saved);
    for (idx_t row = 0; row < states.count; ++row) {
      if (FlatVector::IsNull(saved, row)) continue;
      for (idx_t done = 0; done < lists[row].length;) {
        const idx_t count = std::min<idx_t>(STANDARD_VECTOR_SIZE, lists[row].length - done);
        const std::vector<data_ptr_t> same(count, addresses[row]);
        duckdb::vector<Vector> inputs;
        inputs.emplace_back(values, lists[row].offset + done, lists[row].offset + done + count);
        inputs.back().Flatten(count);
        inputs.emplace_back(limit);
        update(inputs.data(), states.input, 2, targets.Of(same.data(), count), count);
        done += count;
      }
    }
  }

 private:
  const BoundAggregateExpression& bound_;
  const idx_t position_;
};

/// arg_min() and arg_max(): the answer, and what it is the answer for, which another aggregate of the view knows (ViewAggregate::by).
class ArgumentCodec : public StateCodec {
 public:
  ArgumentCodec(const BoundAggregateExpression& bound, idx_t position, idx_t by)
      : bound_(bound), position_(position), by_(by) {}
  std::vector<size_t> results() const override { return {position_, by_}; }
  LogicalType type() const override {
    return LogicalType::STRUCT({{"argument", bound_.return_type}, {"by", bound_.children[1]->return_type}});
  }

  void Save(const States& states, DataChunk& results, Vector* saved) const override {
    const auto& parts = duckdb::StructVector::GetEntries(*saved);
    duckdb::VectorOperations::Copy(results.data[position_], *parts[0], states.count, 0, 0);
    Vector& by = results.data[by_];
    if (by.GetType() == parts[1]->GetType()) {
      duckdb::VectorOperations::Copy(by, *parts[1], states.count, 0, 0);
    } else {  // The aggregate has its argument cast.
      duckdb::VectorOperations::DefaultCast(by, *parts[1], states.count, /*strict=*/true);
    }
  }
  void Load(Vector& saved, const States& states) const override {
    const auto addresses = Addresses(states);
    const auto& parts = duckdb::StructVector::GetEntries(saved);
    duckdb::vector<Vector> inputs;
    inputs.emplace_back(*parts[0]);
    inputs.emplace_back(*parts[1]);
    Pointers targets;
    bound_.function.GetStateUpdateCallback()(inputs.data(), states.input, 2, targets.Of(addresses.data(), states.count), states.count);
  }

 private:
  const BoundAggregateExpression& bound_;
  const idx_t position_, by_;
};

/// histogram(): how often each value came. States can only be added to each other and be given values once, so the numbers are made of
/// their bits, from the highest one: what there is is doubled, then the values with that bit are added.
class HistogramCodec : public StateCodec {
 public:
  HistogramCodec(const BoundAggregateExpression& bound, idx_t position) : bound_(bound), position_(position) {}
  std::vector<size_t> results() const override { return {position_}; }
  LogicalType type() const override { return bound_.return_type; }

  void Save(const States& states, DataChunk& results, Vector* saved) const override {
    duckdb::VectorOperations::Copy(results.data[position_], *saved, states.count, 0, 0);
  }
  void Load(Vector& saved, const States& states) const override {
    const auto addresses = Addresses(states);
    const auto* lists = FlatVector::GetData<duckdb::list_entry_t>(saved);
    Vector& keys = duckdb::MapVector::GetKeys(saved);
    Vector& values = duckdb::MapVector::GetValues(saved);
    values.Flatten(duckdb::ListVector::GetListSize(saved));
    for (idx_t row = 0; row < states.count; ++row) {
      if (!FlatVector::IsNull(saved, row)) LoadOne(keys, FlatVector::GetData<uint64_t>(values), lists[row], addresses[row], states.input);
    }
  }

 private:
  void LoadOne(Vector& keys, const uint64_t* counts, const duckdb::list_entry_t& list, data_ptr_t state,
               duckdb::AggregateInputData& input) const {
    uint64_t any = 0;
    for (idx_t i = 0; i < list.length; ++i) any |= counts[list.offset + i];
    for (int bit = 63 - __builtin_clzll(any | 1); bit >= 0; --bit) {
      if (any >> bit > 1) Double(state, input);
      duckdb::SelectionVector chosen(STANDARD_VECTOR_SIZE);
      idx_t count = 0;
      for (idx_t i = 0; i <= list.length; ++i) {
        if (count == STANDARD_VECTOR_SIZE || (i == list.length && count > 0)) {
          Add(keys, chosen, count, state, input);
          count = 0;
        }
        if (i < list.length && (counts[list.offset + i] >> bit & 1) != 0) chosen.set_index(count++, list.offset + i);
      }
    }
  }
  void Double(data_ptr_t state, duckdb::AggregateInputData& input) const {
    const auto& function = bound_.function;
    std::vector<duckdb::data_t> memory(function.GetStateSizeCallback()(function));
    const data_ptr_t copy = memory.data();
    function.GetStateInitCallback()(function, copy);
    Pointers from, to;
    function.GetStateCombineCallback()(from.Of(&state, 1), to.Of(&copy, 1), input, 1);
    function.GetStateCombineCallback()(from.Of(&copy, 1), to.Of(&state, 1), input, 1);
    if (const auto destroy = function.GetStateDestructorCallback()) destroy(from.Of(&copy, 1), input, 1);
  }
  void Add(Vector& keys, const duckdb::SelectionVector& chosen, idx_t count, data_ptr_t state, duckdb::AggregateInputData& input) const {
    Vector values(keys, chosen, count);
    values.Flatten(count);
    const std::vector<data_ptr_t> same(count, state);
    Pointers targets;
    bound_.function.GetStateUpdateCallback()(&values, input, 1, targets.Of(same.data(), count), count);
  }

  const BoundAggregateExpression& bound_;
  const idx_t position_;
};

/// Quantiles: all values. The state begins with a std::vector of them.
class ValuesCodec : public StateCodec {
 public:
  explicit ValuesCodec(const BoundAggregateExpression& bound) : bound_(bound), width_(duckdb::GetTypeIdSize(value_type().InternalType())) {}
  LogicalType type() const override { return LogicalType::BLOB; }

  void Save(const States& states, DataChunk&, Vector* saved) const override {
    const auto addresses = Addresses(states);
    for (idx_t row = 0; row < states.count; ++row) {
      const auto& values = *reinterpret_cast<const std::vector<char>*>(addresses[row]);  // size() is of bytes, so.
      AddBytes(saved, row, values.data(), values.size());
    }
  }
  void Load(Vector& saved, const States& states) const override {
    const auto addresses = Addresses(states);
    for (idx_t row = 0; row < states.count; ++row) {
      Bytes bytes(saved, row);
      while (bytes.left() > 0) {
        const idx_t count = std::clamp<idx_t>(bytes.left() / width_, 1, STANDARD_VECTOR_SIZE);
        Vector values(value_type());
        std::memcpy(FlatVector::GetData(values), bytes.Take(count * width_), count * width_);
        const std::vector<data_ptr_t> same(count, addresses[row]);
        Pointers targets;
        bound_.function.GetStateUpdateCallback()(&values, states.input, 1, targets.Of(same.data(), count), count);
      }
    }
  }

  static bool Knows(const LogicalType& type) {
    constexpr std::array kKept = {PhysicalType::INT8, PhysicalType::INT16, PhysicalType::INT32, PhysicalType::INT64, PhysicalType::INT128,
                                  PhysicalType::FLOAT, PhysicalType::DOUBLE, PhysicalType::INTERVAL};
    return std::find(kKept.begin(), kKept.end(), type.InternalType()) != kKept.end();
  }

 private:
  const LogicalType& value_type() const { return bound_.children[0]->return_type; }

  const BoundAggregateExpression& bound_;
  const idx_t width_;
};

/// approx_quantile(): the centroids of its t-digest.
class DigestCodec : public StateCodec {
 public:
  explicit DigestCodec(const BoundAggregateExpression& bound) : bound_(bound) {}
  LogicalType type() const override { return LogicalType::BLOB; }

  void Save(const States& states, DataChunk&, Vector* saved) const override {
    const auto addresses = Addresses(states);
    for (idx_t row = 0; row < states.count; ++row) {
      const auto& state = *reinterpret_cast<const State*>(addresses[row]);
      std::string bytes;
      if (state.digest != nullptr && state.values > 0) {
        const Digest& digest = *state.digest;
        Append(&bytes, state.values);
        Append(&bytes, digest.min);
        Append(&bytes, digest.max);
        Append(&bytes, digest.processed.size());
        for (const auto* list : {&digest.processed, &digest.unprocessed}) {
          bytes.append(reinterpret_cast<const char*>(list->data()), list->size() * sizeof(Centroid));
        }
      }
      AddBytes(saved, row, bytes.data(), bytes.size());
    }
  }
  void Load(Vector& saved, const States& states) const override {
    const auto addresses = Addresses(states);
    for (idx_t row = 0; row < states.count; ++row) {
      Bytes bytes(saved, row);
      if (bytes.left() == 0) continue;
      Digest digest;
      const State source{.digest = &digest, .values = bytes.Take<idx_t>()};
      digest.min = bytes.Take<double>();
      digest.max = bytes.Take<double>();
      const auto processed = bytes.Take<idx_t>();
      TakeCentroids(&bytes, std::min<idx_t>(processed, bytes.left()), &digest.processed, &digest.processed_weight);
      TakeCentroids(&bytes, (bytes.left() + sizeof(Centroid) - 1) / sizeof(Centroid), &digest.unprocessed, &digest.unprocessed_weight);
      const auto source_address = reinterpret_cast<data_ptr_t>(const_cast<State*>(&source));
      Pointers from, to;
      bound_.function.GetStateCombineCallback()(from.Of(&source_address, 1), to.Of(&addresses[row], 1), states.input, 1);
      Digest& target = *reinterpret_cast<State*>(addresses[row])->digest;  // It knows the ends of its centroids only.
      target.min = digest.min;
      target.max = digest.max;
    }
  }

 private:
  /// DuckDB's third_party/tdigest/t_digest.hpp and ApproxQuantileState.
  struct Centroid {
    double mean, weight;
  };
  struct Digest {
    double compression = 100, min = 0, max = 0;
    size_t processed_max = 0, unprocessed_max = 0;
    double processed_weight = 0, unprocessed_weight = 0;
    std::vector<Centroid> processed, unprocessed;
    std::vector<double> cumulative;
  };
  struct State {
    Digest* digest;
    idx_t values;
  };

  static void TakeCentroids(Bytes* bytes, size_t count, std::vector<Centroid>* centroids, double* weight) {
    for (size_t i = 0; i < count; ++i) {
      centroids->push_back(bytes->Take<Centroid>());
      *weight += centroids->back().weight;
    }
  }

  const BoundAggregateExpression& bound_;
};

/// approx_top_k(): its counters, and the counts of what it does not watch.
class TopCodec : public StateCodec {
 public:
  explicit TopCodec(const BoundAggregateExpression& bound) : bound_(bound) {}
  LogicalType type() const override { return LogicalType::BLOB; }

  void Save(const States& states, DataChunk&, Vector* saved) const override {
    const auto addresses = Addresses(states);
    for (idx_t row = 0; row < states.count; ++row) {
      const Counters* counters = *reinterpret_cast<Counters* const*>(addresses[row]);
      std::string bytes;
      if (counters != nullptr && !counters->watched.empty()) {
        Append(&bytes, counters->k);
        Append(&bytes, static_cast<idx_t>(counters->unwatched.size()));
        bytes.append(reinterpret_cast<const char*>(counters->unwatched.data()), counters->unwatched.size() * sizeof(idx_t));
        for (const Counter* counter : counters->watched) {
          Append(&bytes, counter->count);
          Append(&bytes, counter->hash);
          Append(&bytes, counter->text.GetSize());
          bytes.append(counter->text.GetData(), counter->text.GetSize());
        }
      }
      AddBytes(saved, row, bytes.data(), bytes.size());
    }
  }
  void Load(Vector& saved, const States& states) const override {
    const auto addresses = Addresses(states);
    for (idx_t row = 0; row < states.count; ++row) {
      Bytes bytes(saved, row);
      if (bytes.left() == 0) continue;
      Counters counters;
      counters.k = bytes.Take<idx_t>();
      const auto unwatched = bytes.Take<idx_t>();
      for (idx_t i = 0; i < unwatched; ++i) counters.unwatched.push_back(bytes.Take<idx_t>());
      std::vector<std::unique_ptr<Counter>> owned;
      while (bytes.left() > 0) {
        owned.push_back(std::make_unique<Counter>());
        owned.back()->count = bytes.Take<idx_t>();
        owned.back()->hash = bytes.Take<duckdb::hash_t>();
        const auto size = bytes.Take<idx_t>();
        owned.back()->text = duckdb::string_t(bytes.Take(size), static_cast<uint32_t>(size));
        counters.watched.push_back(owned.back().get());
      }
      Counters* const source = &counters;
      const auto source_address = reinterpret_cast<data_ptr_t>(const_cast<Counters**>(&source));
      Pointers from, to;
      bound_.function.GetStateCombineCallback()(from.Of(&source_address, 1), to.Of(&addresses[row], 1), states.input, 1);
    }
  }

 private:
  /// DuckDB's ApproxTopKValue and InternalApproxTopKState; `watched` are references, from the most frequent on.
  struct Counter {
    idx_t count = 0, index = 0;
    duckdb::string_t text{uint32_t{0}};
    duckdb::hash_t hash = 0;
    char* bytes = nullptr;
    uint32_t size = 0, capacity = 0;
  };
  struct Counters {
    Counter* owned = nullptr;
    std::vector<Counter*> watched;
    std::unordered_map<idx_t, Counter*> places;  // Of other keys there; an empty one looks alike.
    std::vector<idx_t> unwatched;
    idx_t k = 0, capacity = 0, mask = 0;
  };

  const BoundAggregateExpression& bound_;
};

}  // namespace

std::unique_ptr<StateCodec> StateCodec::Make(const BoundAggregateExpression& bound, const ViewAggregate& plan, size_t position) {
  const std::string& name = plan.function;
  const auto& children = bound.children;
  if (children.size() > plan.arguments.size()) return nullptr;  // DuckDB has made another aggregate of it.
  const bool all_fixed = IsFixed(bound.return_type) && std::all_of(children.begin(), children.end(), [](const auto& child) {
    return IsFixed(child->return_type);
  });
  if (IsOneOf(kPlainOfAny, name) || (IsOneOf(kPlain, name) && all_fixed)) return std::make_unique<PlainCodec>(bound);
  if (name == "min" || name == "max") {
    const bool fixed_limit = children.size() == 1 || (children.size() == 2 && !plan.arguments[1].column &&
                                                      children[1]->GetExpressionClass() == duckdb::ExpressionClass::BOUND_CONSTANT);
    return fixed_limit ? std::make_unique<AnswerCodec>(bound, position) : nullptr;
  }
  if (plan.by) return std::make_unique<ArgumentCodec>(bound, position, *plan.by);
  if (name == "histogram" && children.size() == 1) return std::make_unique<HistogramCodec>(bound, position);
  if ((name == "quantile_cont" || name == "quantile_disc" || name == "quantile" || name == "median" || name == "mad") &&
      children.size() == 1 && ValuesCodec::Knows(children[0]->return_type)) {
    return std::make_unique<ValuesCodec>(bound);
  }
  if (name == "approx_quantile") return std::make_unique<DigestCodec>(bound);
  if (name == "approx_top_k" && !plan.arguments[1].column) return std::make_unique<TopCodec>(bound);
  return nullptr;
}

}  // namespace sheaf::query
