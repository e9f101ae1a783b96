#include "decode/dictionary.h"

#include <cstring>
#include <random>
#include <utility>

namespace sheaf::decode {
namespace {

constexpr size_t kSlotsMin = 64;
constexpr int64_t kValuesMin = 32, kValueBytesMin = 1024;

/// Drawn once per process: which values collide cannot be known from outside.
uint64_t HashSeed() {
  static const uint64_t seed = [] {
    std::random_device device;
    return static_cast<uint64_t>(device()) << 32 | device();
  }();
  return seed;
}

uint64_t Mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t Load8(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

uint64_t Load4(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}

/// The first and the last eight bytes, which overlap (or are padded with zeros) in shorter values.
/// Together with the size they say everything about a value of up to 16 bytes.
void Ends(std::string_view v, uint64_t* first, uint64_t* last) {
  const char* p = v.data();
  if (v.size() >= 8) {
    *first = Load8(p);
    *last = Load8(p + v.size() - 8);
  } else if (v.size() >= 4) {
    *first = Load4(p);
    *last = Load4(p + v.size() - 4);
  } else {
    *first = 0;
    for (size_t i = 0; i < v.size(); ++i) *first |= static_cast<uint64_t>(static_cast<uint8_t>(p[i])) << (8 * i);
    *last = 0;
  }
}

/// Multiply-and-fold over 16-byte steps (the construction of wyhash), seeded.
uint64_t Hash(std::string_view v, uint64_t first, uint64_t last, uint64_t seed) {
  constexpr uint64_t kA = 0xa0761d6478bd642full, kB = 0xe7037ed1a0b428dbull;
  uint64_t h = seed ^ Mix(v.size() ^ kA, kB);
  if (v.size() > 16) {
    const char* p = v.data();
    for (size_t left = v.size(); left > 16; left -= 16, p += 16) h = Mix(Load8(p) ^ kA ^ h, Load8(p + 8) ^ kB ^ seed);
  }
  return Mix(first ^ kA ^ h, last ^ kB ^ seed);
}

}  // namespace

Dictionary::Dictionary() : seed_(HashSeed()) {}

void Dictionary::Table::Make(RequestMemory* memory, size_t n) {
  buffer.Start(memory, static_cast<int64_t>(n * sizeof(Slot)), true);
  slots = reinterpret_cast<Slot*>(buffer.data());
  mask = n - 1;
}

void Dictionary::Table::Drop() {
  buffer.Trim(-1);
  slots = nullptr;
  mask = 0;
}

void Dictionary::Start(RequestMemory* memory) {
  memory_ = memory;
  values_.Start(memory, kValuesMin, kValueBytesMin);
  size_ = 0;
  if (table_.slots == nullptr) table_.Make(memory, kSlotsMin);
  if (++generation_ == 0) {  // Every slot of 2^32 batches ago would count as taken.
    std::memset(table_.slots, 0, table_.size() * sizeof(Slot));
    generation_ = 1;
  }
}

int32_t Dictionary::Id(std::string_view value, bool* is_new) {
  uint64_t first, last;
  Ends(value, &first, &last);
  const uint64_t hash = Hash(value, first, last, seed_);
  const size_t mask = table_.mask;
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    const Slot& slot = table_.slots[i];
    if (slot.generation != generation_) {
      *is_new = true;
      return Insert(value, hash, i, first, last);
    }
    if (slot.first == first && slot.last == last && slot.size == value.size() &&
        (value.size() <= 16 || values_.value(slot.id) == value)) {
      *is_new = false;
      return slot.id;
    }
  }
}

int32_t Dictionary::Insert(std::string_view value, uint64_t hash, size_t at, uint64_t first, uint64_t last) {
  const int32_t id = size_;
  values_.Reserve(int64_t{id} + 1);
  values_.Put(id, value, 0);
  table_.slots[at] = {first, last, static_cast<uint32_t>(value.size()), static_cast<uint32_t>(hash), id, generation_};
  ++size_;
  if (static_cast<size_t>(size_) * 2 > table_.size()) Rehash(table_.size() * 2);
  return id;
}

void Dictionary::Rehash(size_t slots) {
  Table table;
  table.Make(memory_, slots);
  for (size_t from = 0; from < table_.size(); ++from) {
    const Slot& slot = table_.slots[from];
    if (slot.generation != generation_) continue;
    size_t i = slot.hash & table.mask;
    while (table.slots[i].generation == generation_) i = (i + 1) & table.mask;
    table.slots[i] = slot;
  }
  std::swap(table, table_);
  table.Drop();
}

ArrayDataPtr Dictionary::MakeColumn(const TypePtr& type, int64_t n, std::shared_ptr<arrow::Buffer> ids) const {
  ArrayDataPtr column = MakeArray(type, n, std::move(ids));
  const auto& dictionary_type = static_cast<const arrow::DictionaryType&>(*type);
  column->dictionary = MakeArray(dictionary_type.value_type(), size_, values_);
  return column;
}

void Dictionary::Trim(int64_t bytes_max) {
  values_.Trim(bytes_max);
  if (static_cast<int64_t>(table_.size() * sizeof(Slot)) > bytes_max) table_.Drop();
}

}  // namespace sheaf::decode
