#include "columns/dead_rows.h"

#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include "core/check.h"

namespace sheaf::columns {
namespace {

int64_t CountOf(const DeadRows::Bits& bits) {
  int64_t count = 0;
  for (const uint64_t word : bits) count += std::popcount(word);
  return count;
}

/// Runs `change(granule, its positions)` for each granule that occurs.
template <typename Change>
void EachGranule(std::vector<DeadRows::Position>* positions, const Change& change) {
  if (!std::is_sorted(positions->begin(), positions->end())) std::sort(positions->begin(), positions->end());
  for (size_t begin = 0; begin < positions->size();) {
    const int granule = (*positions)[begin].granule;
    SHEAF_CHECK(granule >= 0 && (*positions)[begin].row >= 0);
    size_t end = begin + 1;
    while (end < positions->size() && (*positions)[end].granule == granule) ++end;
    change(static_cast<size_t>(granule), std::span(*positions).subspan(begin, end - begin));
    begin = end;
  }
}

}  // namespace

DeadRows::DeadRows(std::vector<std::shared_ptr<const Bits>> granules)
    : granules_(std::move(granules)), counts_(granules_.size(), 0) {
  for (size_t g = 0; g < granules_.size(); ++g) {
    if (granules_[g]) counts_[g] = CountOf(*granules_[g]);
    if (counts_[g] == 0) granules_[g] = nullptr;
    count_ += counts_[g];
  }
}

std::shared_ptr<const DeadRows> DeadRows::With(std::vector<Position> more) const {
  auto out = std::make_shared<DeadRows>(*this);
  EachGranule(&more, [&](size_t granule, std::span<const Position> rows) {
    if (granule >= out->granules_.size()) {
      out->granules_.resize(granule + 1);
      out->counts_.resize(granule + 1, 0);
    }
    const Bits* before = out->granules_[granule].get();
    auto bits = std::make_shared<Bits>(before != nullptr ? *before : Bits());
    const size_t words = static_cast<size_t>(rows.back().row >> 6) + 1;  // Sorted: the last is the highest.
    if (bits->size() < words) bits->resize(words, 0);
    for (const Position& p : rows) (*bits)[static_cast<size_t>(p.row >> 6)] |= uint64_t{1} << (p.row & 63);
    const int64_t count = CountOf(*bits);
    out->count_ += count - out->counts_[granule];
    out->counts_[granule] = count;
    out->granules_[granule] = std::move(bits);
  });
  return out;
}

std::shared_ptr<const DeadRows> DeadRows::Without(std::vector<Position> alive) const {
  auto out = std::make_shared<DeadRows>(*this);
  EachGranule(&alive, [&](size_t granule, std::span<const Position> rows) {
    if (granule >= out->granules_.size() || !out->granules_[granule]) return;
    auto bits = std::make_shared<Bits>(*out->granules_[granule]);
    for (const Position& p : rows) {
      const auto word = static_cast<size_t>(p.row >> 6);
      if (word < bits->size()) (*bits)[word] &= ~(uint64_t{1} << (p.row & 63));
    }
    const int64_t count = CountOf(*bits);
    out->count_ += count - out->counts_[granule];
    out->counts_[granule] = count;
    out->granules_[granule] = count > 0 ? std::shared_ptr<const Bits>(std::move(bits)) : nullptr;
  });
  return out;
}

}  // namespace sheaf::columns
