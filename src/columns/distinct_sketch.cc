#include "columns/distinct_sketch.h"

#include <cmath>
#include <limits>
#include <utility>

namespace sheaf::columns {
namespace {

constexpr size_t kSlotsMin = 64;

/// x + Σ x^(2^k) 2^(k-1): corrects for registers that nothing has reached.
double Sigma(double x) {
  if (x == 1) return std::numeric_limits<double>::infinity();
  double sum = x, weight = 1, before = 0;
  while (sum != before) {
    x *= x;
    before = sum;
    sum += x * weight;
    weight += weight;
  }
  return sum;
}

/// (1 - x - Σ (1 - x^(2^-k))² 2^-k) / 3: corrects for registers that are full.
double Tau(double x) {
  if (x == 0 || x == 1) return 0;
  double rest = 1 - x, weight = 1, before = 0;
  while (rest != before) {
    x = std::sqrt(x);
    before = rest;
    weight *= 0.5;
    rest -= (1 - x) * (1 - x) * weight;
  }
  return rest / 3;
}

}  // namespace

bool DistinctSketch::AddExactly(uint64_t hash) {
  if (slots_.empty()) slots_.resize(kSlotsMin);
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask;; at = (at + 1) & mask) {
    if (slots_[at] == hash) return false;
    if (slots_[at] != 0) continue;
    slots_[at] = hash;
    if (++count_ * 4 > static_cast<int64_t>(slots_.size())) Grow();
    return true;
  }
}

void DistinctSketch::Place(uint64_t hash) {
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at] != 0) at = (at + 1) & mask;
  slots_[at] = hash;
}

void DistinctSketch::Grow() {
  const std::vector<uint64_t> before = std::exchange(slots_, {});
  if (count_ > kExactMax) {
    registers_.resize(size_t{1} << kRegisterBits);
    for (const uint64_t hash : before) {
      if (hash != 0) Raise(hash);
    }
    return;
  }
  slots_.resize(before.size() * 2);
  for (const uint64_t hash : before) {
    if (hash != 0) Place(hash);
  }
}

int64_t DistinctSketch::Count() const {
  if (is_exact()) return count_;
  constexpr int kRankMax = 64 - kRegisterBits + 1;
  int64_t of_rank[kRankMax + 1] = {};
  for (const uint8_t rank : registers_) ++of_rank[rank];
  const auto m = static_cast<double>(registers_.size());
  double sum = m * Tau(1 - static_cast<double>(of_rank[kRankMax]) / m);
  for (int rank = kRankMax - 1; rank >= 1; --rank) sum = 0.5 * (sum + static_cast<double>(of_rank[rank]));
  sum += m * Sigma(static_cast<double>(of_rank[0]) / m);
  return static_cast<int64_t>(std::llround(m * m / (2 * std::log(2.0)) / sum));
}

}  // namespace sheaf::columns
