#include "columns/token_filter.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "columns/byte_values.h"
#include "columns/dictionaries.h"
#include "columns/tokens.h"

namespace sheaf::columns {
namespace {

constexpr size_t kHeadBytes = 8;            // probes: u8, zeros: u8[3], granules: u32; the stripes' blocks follow, u32 each.
constexpr uint32_t kStripeGranules = 64;
constexpr uint32_t kBlockRows = 512;        // Of a bit for each granule. 64 granules: 4 KiB, one page to fetch and one block to check.
constexpr int kRowBits = 9;
constexpr int kProbes = 5;
constexpr int kProbesMax = 7;               // So many rows a hash has bits for.
constexpr size_t kBitsPerHash = 10;         // A false hit in a hundred look-ups of a granule.
constexpr size_t kBlocksMax = size_t{1} << 20;
constexpr size_t kHashesMin = 1024;
constexpr int kLetterBits = 5;
constexpr uint32_t kShortMask = (1U << (kShortGram * kLetterBits)) - 1, kLongMask = (1U << (kLongGram * kLetterBits)) - 1;

size_t StripeBytes(size_t blocks, size_t granules) { return blocks * kBlockRows / 8 * granules; }

size_t StripesOf(size_t granules) { return (granules + kStripeGranules - 1) / kStripeGranules; }

uint32_t GranulesOf(const TokenFilterShape& shape, size_t stripe) {
  return std::min(kStripeGranules, shape.granules - static_cast<uint32_t>(stripe) * kStripeGranules);
}

size_t BlockOf(uint64_t hash, uint32_t blocks) { return ((hash >> 32) * blocks) >> 32; }

size_t RowOf(uint64_t hash, int probe) { return hash >> (kRowBits * probe) & (kBlockRows - 1); }

/// The bits of row `row` of a block of `granules` bits a row.
uint64_t LoadRow(const uint8_t* block, size_t row, uint32_t granules) {
  const size_t bit = row * granules, shift = bit % 8, bytes = (shift + granules + 7) / 8;
  uint64_t out = 0;
  std::memcpy(&out, block + bit / 8, std::min<size_t>(bytes, sizeof out));
  out >>= shift;
  if (bytes > sizeof out) out |= uint64_t{block[bit / 8 + sizeof out]} << (64 - shift);
  return granules == 64 ? out : out & ((uint64_t{1} << granules) - 1);
}

/// Letters of the gram with this number, as they were shifted in.
std::string GramText(uint32_t number, size_t letters) {
  std::string out(letters, '\0');
  for (size_t i = letters; i-- > 0; number >>= kLetterBits) out[i] = static_cast<char>('a' + (number & 31));
  return out;
}

void SetBit(uint32_t at, std::vector<uint64_t>* bits) { (*bits)[at / 64] |= uint64_t{1} << (at % 64); }

void TakeGrams(size_t letters, std::vector<uint64_t>* bits, std::vector<uint64_t>* hashes) {
  for (size_t word = 0; word < bits->size(); ++word) {
    for (uint64_t rest = (*bits)[word]; rest != 0; rest &= rest - 1) {
      hashes->push_back(HashOfGram(GramText(static_cast<uint32_t>(word * 64) + static_cast<uint32_t>(std::countr_zero(rest)), letters)));
    }
    (*bits)[word] = 0;
  }
}

Status Damaged(size_t bytes) { return MakeError(ErrorKind::kCorruption, "{} bytes that are no token filter", bytes); }

}  // namespace

bool CanFilterTokens(const arrow::DataType& type) {
  if (type.id() == arrow::Type::DICTIONARY) return CanFilterTokens(*static_cast<const arrow::DictionaryType&>(type).value_type());
  return type.id() == arrow::Type::STRING || type.id() == arrow::Type::LARGE_STRING;
}

TokenFilterBuilder::TokenFilterBuilder() : short_grams_((kShortMask + 1) / 64), long_grams_((kLongMask + 1) / 64), hashes_(kHashesMin) {}

Status TokenFilterBuilder::Add(const arrow::ArrayData& column) {
  if (!CanFilterTokens(*column.type)) {
    return MakeError(ErrorKind::kUnsupported, "columns of type {} take no token index", column.type->ToString());
  }
  if (column.type->id() == arrow::Type::DICTIONARY) {
    SHEAF_ASSIGN_OR_RETURN(const std::vector<int64_t> used, UsedIndexes(column));
    const std::optional<ByteValues> values = ByteValues::Of(*column.dictionary);
    for (const int64_t i : used) {
      if (!values->IsNull(i)) AddText((*values)[i]);
    }
  } else {
    const std::optional<ByteValues> values = ByteValues::Of(column);
    for (int64_t i = 0; i < values->size(); ++i) {
      if (!values->IsNull(i)) AddText((*values)[i]);
    }
  }
  EndGranule();
  return Status::OK();
}

void TokenFilterBuilder::AddText(std::string_view text) {
  text_bytes_ += static_cast<int64_t>(text.size());
  if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) >= 0x80; })) {
    folded_ = FoldText(text);
  } else {
    folded_.resize(text.size());
    for (size_t i = 0; i < text.size(); ++i) folded_[i] = static_cast<char>(kTokenBytes[static_cast<uint8_t>(text[i])]);
  }
  const std::string_view all = folded_;
  for (size_t begin = 0, end = 0; begin < all.size(); begin = end + 1) {
    end = begin;
    while (end < all.size() && kTokenBytes[static_cast<uint8_t>(all[end])] != 0) ++end;
    if (end > begin) AddToken(all.substr(begin, end - begin));
  }
}

void TokenFilterBuilder::AddToken(std::string_view folded) {
  AddHash(HashOfToken(folded));
  size_t letters = 0;     // Of the run up to here…
  size_t ascii = 0;       // …and of ASCII alone.
  uint32_t last = 0;      // The last of them, 5 bits each.
  for (size_t i = 0; i < folded.size(); ++i) {
    const auto byte = static_cast<uint8_t>(folded[i]);
    if (!IsLetter(byte)) {
      letters = ascii = 0;
      continue;
    }
    ++letters;
    ascii = byte < 0x80 ? ascii + 1 : 0;
    last = last << kLetterBits | static_cast<uint32_t>(byte - 'a');
    if (ascii >= kShortGram) {
      SetBit(last & kShortMask, &short_grams_);
    } else if (letters >= kShortGram) {
      AddHash(HashOfGram(folded.substr(i + 1 - kShortGram, kShortGram)));
    }
    if (ascii >= kLongGram) {
      SetBit(last & kLongMask, &long_grams_);
    } else if (letters >= kLongGram) {
      AddHash(HashOfGram(folded.substr(i + 1 - kLongGram, kLongGram)));
    }
  }
}

void TokenFilterBuilder::AddHash(uint64_t hash) {
  for (size_t at = hash & (hashes_.size() - 1); hashes_[at] != hash; at = (at + 1) & (hashes_.size() - 1)) {
    if (hashes_[at] != 0) continue;
    hashes_[at] = hash;
    if (++hash_count_ * 2 > hashes_.size()) GrowHashes();
    return;
  }
}

void TokenFilterBuilder::GrowHashes() {
  std::vector<uint64_t> before(hashes_.size() * 2);
  before.swap(hashes_);
  hash_count_ = 0;
  for (const uint64_t hash : before) {
    if (hash != 0) AddHash(hash);
  }
}

void TokenFilterBuilder::EndGranule() {
  std::vector<uint64_t> all;
  all.reserve(hash_count_);
  for (const uint64_t hash : hashes_) {
    if (hash != 0) all.push_back(hash);
  }
  std::fill(hashes_.begin(), hashes_.end(), 0);  // As large as the granule before needed; the next will.
  hash_count_ = 0;
  TakeGrams(kShortGram, &short_grams_, &all);
  TakeGrams(kLongGram, &long_grams_, &all);
  stripe_.push_back(std::move(all));
  stripe_text_bytes_max_ = std::max(stripe_text_bytes_max_, text_bytes_);
  text_bytes_ = 0;
  ++granules_;
  if (stripe_.size() == kStripeGranules) EndStripe();
}

void TokenFilterBuilder::EndStripe() {
  const size_t granules = stripe_.size();
  size_t most = 0, sum = 0;
  for (const auto& hashes : stripe_) {
    most = std::max(most, hashes.size());
    sum += hashes.size();
  }
  // All granules get as many bits. One that holds far more than the others has more false hits rather than make all of them larger.
  const size_t hashes = std::min(most, 2 * sum / granules);
  const size_t bits = std::min(hashes * kBitsPerHash, static_cast<size_t>(stripe_text_bytes_max_) * 2);  // At most a quarter of the text.
  const size_t blocks = std::clamp<size_t>((bits + kBlockRows - 1) / kBlockRows, 1, kBlocksMax);
  const size_t at = bytes_.size();
  bytes_.resize(at + StripeBytes(blocks, granules));
  for (size_t g = 0; g < granules; ++g) {
    for (const uint64_t hash : stripe_[g]) {
      char* block = bytes_.data() + at + StripeBytes(BlockOf(hash, static_cast<uint32_t>(blocks)), granules);
      for (int probe = 0; probe < kProbes; ++probe) {
        const size_t bit = RowOf(hash, probe) * granules + g;
        block[bit / 8] = static_cast<char>(block[bit / 8] | 1 << (bit % 8));
      }
    }
  }
  blocks_.push_back(static_cast<uint32_t>(blocks));
  stripe_.clear();
  stripe_text_bytes_max_ = 0;
}

std::string TokenFilterBuilder::Finish() {
  if (!stripe_.empty()) EndStripe();
  std::string out(kHeadBytes, '\0');
  out[0] = kProbes;
  std::memcpy(out.data() + 4, &granules_, sizeof granules_);
  out.append(reinterpret_cast<const char*>(blocks_.data()), blocks_.size() * sizeof(uint32_t));
  out += bytes_;
  granules_ = 0;
  blocks_.clear();
  bytes_.clear();
  return out;
}

Result<TokenFilterShape> ShapeOfTokenFilter(std::span<const uint8_t> filter) {
  if (filter.size() < kHeadBytes) return Damaged(filter.size());
  TokenFilterShape shape;
  shape.probes = filter[0];
  std::memcpy(&shape.granules, filter.data() + 4, sizeof shape.granules);
  const size_t stripes = StripesOf(shape.granules);
  if (shape.probes < 1 || shape.probes > kProbesMax || filter[1] != 0 || filter[2] != 0 || filter[3] != 0 ||
      stripes > (filter.size() - kHeadBytes) / sizeof(uint32_t)) {
    return Damaged(filter.size());
  }
  shape.blocks.resize(stripes);
  if (stripes > 0) std::memcpy(shape.blocks.data(), filter.data() + kHeadBytes, stripes * sizeof(uint32_t));
  uint64_t bytes = kHeadBytes + stripes * sizeof(uint32_t);
  for (size_t s = 0; s < stripes; ++s) {
    if (shape.blocks[s] < 1 || shape.blocks[s] > kBlocksMax) return Damaged(filter.size());
    bytes += StripeBytes(shape.blocks[s], GranulesOf(shape, s));
  }
  if (bytes != filter.size()) return Damaged(filter.size());
  return shape;
}

double FillOfTokenFilter(std::span<const uint8_t> filter, const TokenFilterShape& shape) {
  const auto bits = filter.subspan(kHeadBytes + shape.blocks.size() * sizeof(uint32_t));
  int64_t set = 0;
  for (const uint8_t byte : bits) set += std::popcount(byte);
  return bits.empty() ? 0 : static_cast<double>(set) / static_cast<double>(bits.size() * 8);
}

Result<uint32_t> FindInTokenFilter(std::span<const uint8_t> filter, std::span<const uint64_t> needs, const BeforeRead& before_read,
                                   std::vector<int>* granules) {
  SHEAF_RETURN_NOT_OK(before_read(0, std::min(kHeadBytes, filter.size())));
  uint32_t count = 0;
  if (filter.size() >= kHeadBytes) std::memcpy(&count, filter.data() + 4, sizeof count);
  SHEAF_RETURN_NOT_OK(before_read(0, std::min(kHeadBytes + StripesOf(count) * sizeof(uint32_t), filter.size())));
  SHEAF_ASSIGN_OR_RETURN(const TokenFilterShape shape, ShapeOfTokenFilter(filter));
  size_t stripe_at = kHeadBytes + shape.blocks.size() * sizeof(uint32_t);
  for (size_t s = 0; s < shape.blocks.size(); ++s) {
    const uint32_t width = GranulesOf(shape, s);
    uint64_t left = width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
    for (size_t i = 0; i < needs.size() && left != 0; ++i) {
      const size_t block_at = stripe_at + StripeBytes(BlockOf(needs[i], shape.blocks[s]), width);
      SHEAF_RETURN_NOT_OK(before_read(block_at, StripeBytes(1, width)));
      for (int probe = 0; probe < shape.probes; ++probe) left &= LoadRow(filter.data() + block_at, RowOf(needs[i], probe), width);
    }
    for (; left != 0; left &= left - 1) granules->push_back(static_cast<int>(s * kStripeGranules) + std::countr_zero(left));
    stripe_at += StripeBytes(shape.blocks[s], width);
  }
  return shape.granules;
}

}  // namespace sheaf::columns
