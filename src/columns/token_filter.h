/// Finds the granules that may have texts with given tokens and grams (tokens.h): a Bloom filter a granule, the bits of 64 granules
/// beside each other, so that one look-up reads a few places whatever the number of granules. Never misses a granule that holds all
/// that is asked for. Layout of the bytes: docs/formats/part.md.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array/data.h>
#include <arrow/type.h>

#include "columns/id_filter.h"
#include "core/status.h"

namespace sheaf::columns {

/// Whether a column of this type can have one: text, also as a dictionary.
bool CanFilterTokens(const arrow::DataType& type);

/// Not thread-safe. Keeps the hashes of at most 64 granules at a time.
class TokenFilterBuilder {
 public:
  TokenFilterBuilder();

  /// Adds the texts of one granule; granules come in order.
  /// Errors: Unsupported (see CanFilterTokens()), Corruption (an index outside its dictionary).
  Status Add(const arrow::ArrayData& column);
  /// Returns the filter's bytes and starts anew.
  std::string Finish();

 private:
  void AddText(std::string_view text);
  void AddToken(std::string_view folded);
  void AddHash(uint64_t hash);
  void GrowHashes();
  void EndGranule();
  void EndStripe();

  // Of the granule: grams of ASCII letters by 5 bits a letter, which most are; other hashes in a table with open addressing, 0 free.
  std::vector<uint64_t> short_grams_, long_grams_;
  std::vector<uint64_t> hashes_;
  size_t hash_count_ = 0;
  int64_t text_bytes_ = 0;
  std::string folded_;

  std::vector<std::vector<uint64_t>> stripe_;  // The hashes of its granules.
  int64_t stripe_text_bytes_max_ = 0;          // Of a granule of the stripe.
  uint32_t granules_ = 0;
  std::vector<uint32_t> blocks_;               // Of the stripes so far.
  std::string bytes_;                          // Of the stripes so far.
};

/// Appends the granules that may hold a text with all of `needs`, ascending, and returns how many granules the filter knows. `filter` is
/// what Finish() returned. Error: Corruption (the bytes are none), and those of `before_read`.
Result<uint32_t> FindInTokenFilter(std::span<const uint8_t> filter, std::span<const uint64_t> needs, const BeforeRead& before_read,
                                   std::vector<int>* granules);

/// What a filter is made of.
struct TokenFilterShape {
  int probes = 0;
  uint32_t granules = 0;
  std::vector<uint32_t> blocks;  // Of each stripe.
};
Result<TokenFilterShape> ShapeOfTokenFilter(std::span<const uint8_t> filter);
/// The share of bits that are set; the filter's bytes are those of `shape`.
double FillOfTokenFilter(std::span<const uint8_t> filter, const TokenFilterShape& shape);

}  // namespace sheaf::columns
