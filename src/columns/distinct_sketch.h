/// How many values differ, in bounded memory: counted exactly while they are few, estimated by a HyperLogLog sketch beyond. The
/// estimator is that of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), without bias at any
/// count.

#pragma once

#include <cstdint>
#include <vector>

namespace sheaf::columns {

/// Takes hashes of values, of 64 good bits each. Holds at most 36 KiB. Not thread-safe.
class DistinctSketch {
 public:
  /// So many are counted exactly. Beyond, the estimate's standard error is 1.6 %.
  static constexpr int64_t kExactMax = 1024;

  /// Returns true for a hash that is certainly new, which is said only while the count is exact.
  bool Add(uint64_t hash) {
    if (!registers_.empty()) {
      Raise(hash);
      return false;
    }
    if (hash == 0) hash = 1;
    if (!slots_.empty() && slots_[hash & (slots_.size() - 1)] == hash) return false;  // As most are.
    return AddExactly(hash);
  }

  bool is_exact() const { return registers_.empty(); }
  int64_t Count() const;

 private:
  static constexpr int kRegisterBits = 12;

  void Raise(uint64_t hash) {
    uint8_t& reg = registers_[hash >> (64 - kRegisterBits)];
    const uint64_t rest = (hash << kRegisterBits) | uint64_t{1} << (kRegisterBits - 1);  // The bit ends the count of zeros.
    const auto rank = static_cast<uint8_t>(__builtin_clzll(rest) + 1);
    if (rank > reg) reg = rank;
  }
  bool AddExactly(uint64_t hash);  // Not 0.
  void Place(uint64_t hash);
  void Grow();

  std::vector<uint64_t>
      slots_;  // Open addressing; a power of two, at most a quarter full, so that most are found at once; 0: free.
  int64_t count_ = 0;
  std::vector<uint8_t> registers_;  // Empty while the count is exact.
};

/// Spreads 64 bits over 64, each of which then depends on all (the finaliser of MurmurHash3).
inline uint64_t MixBits(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

}  // namespace sheaf::columns
