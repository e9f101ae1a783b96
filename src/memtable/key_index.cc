#include "memtable/key_index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/check.h"

namespace sheaf::memtable {
namespace {

constexpr int kFirstSlotBits = 6, kSlotBits = 10;  // 512 B at first, then 8 KiB a table.
constexpr int kDepthMax = 22;                      // With kSlotBits the 32 bits of a tag.

}  // namespace

/// Slots follow. A slot: the hash's upper half, and the record; 0 is empty.
struct alignas(64) KeyIndex::Table {
  int slot_bits = 0;
  int depth = 0;  // Bits of the hash that all keys in here share.
  uint32_t used = 0;

  std::atomic<uint64_t>* slots() { return reinterpret_cast<std::atomic<uint64_t>*>(this + 1); }
  uint32_t size() const { return uint32_t{1} << slot_bits; }
  bool full() const { return used >= size() / 4 * 3; }
  void Add(uint64_t slot) {
    const uint32_t mask = size() - 1;
    auto i = static_cast<uint32_t>(slot >> 32) & mask;
    while (slots()[i].load(std::memory_order_relaxed) != 0) i = (i + 1) & mask;
    slots()[i].store(slot, std::memory_order_release);
    ++used;
  }
};

void KeyIndex::TableDelete::operator()(Table* table) const { ::operator delete(table, std::align_val_t{64}); }

KeyIndex::KeyIndex() {
  Directory* directory = NewDirectory(0);
  directory_.store(directory, std::memory_order_release);
  Point(0, NewTable(kFirstSlotBits, 0));
}

uint64_t KeyIndex::Hash(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

KeyIndex::Table* KeyIndex::NewTable(int slot_bits, int depth) {
  const size_t slots = size_t{1} << slot_bits, bytes = sizeof(Table) + slots * sizeof(std::atomic<uint64_t>);
  auto* table = new (::operator new(bytes, std::align_val_t{64})) Table;
  table->slot_bits = slot_bits;
  table->depth = depth;
  for (size_t i = 0; i < slots; ++i) new (&table->slots()[i]) std::atomic<uint64_t>(0);
  tables_.emplace_back(table);
  bytes_.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  return table;
}

KeyIndex::Directory* KeyIndex::NewDirectory(int depth) {
  directories_.push_back(std::make_unique<Directory>(depth));
  bytes_.fetch_add(static_cast<int64_t>(sizeof(uint64_t) << depth), std::memory_order_relaxed);
  return directories_.back().get();
}

void KeyIndex::Point(uint64_t hash, Table* table) {
  const Directory& directory = *directories_.back();
  const uint64_t word = reinterpret_cast<uint64_t>(table->slots()) | static_cast<uint64_t>(table->slot_bits);
  const int below = directory.depth - table->depth;
  const size_t first = PlaceIn(directory, hash) >> below << below;
  for (size_t i = 0; i < size_t{1} << below; ++i) directory.tables[first + i].store(word, std::memory_order_release);
}

void KeyIndex::Grow(uint64_t hash, Table* table) {
  Table* larger = NewTable(table->slot_bits + 1, table->depth);
  for (uint32_t i = 0; i < table->size(); ++i) {
    if (const uint64_t slot = table->slots()[i].load(std::memory_order_relaxed); slot != 0) larger->Add(slot);
  }
  Point(hash, larger);
}

void KeyIndex::Split(uint64_t hash, Table* table) {
  if (table->depth == directories_.back()->depth) {
    const Directory& now = *directories_.back();
    Directory* doubled = NewDirectory(now.depth + 1);
    for (size_t i = 0; i < doubled->size(); ++i) {
      doubled->tables[i].store(now.tables[i / 2].load(std::memory_order_relaxed), std::memory_order_relaxed);
    }
    directory_.store(doubled, std::memory_order_release);
  }
  Table* halves[2] = {NewTable(table->slot_bits, table->depth + 1), NewTable(table->slot_bits, table->depth + 1)};
  const int bit = 63 - table->depth;
  for (uint32_t i = 0; i < table->size(); ++i) {
    if (const uint64_t slot = table->slots()[i].load(std::memory_order_relaxed); slot != 0) halves[slot >> bit & 1]->Add(slot);
  }
  for (uint64_t half : {0, 1}) Point((hash & ~(uint64_t{1} << bit)) | half << bit, halves[half]);
  ++in_use_;
}

void KeyIndex::Insert(uint64_t hash, RecordRef record) {
  SHEAF_CHECK(record != 0);
  while (true) {
    auto* slots = const_cast<std::atomic<uint64_t>*>(Choose(hash).slots());
    Table* table = reinterpret_cast<Table*>(slots) - 1;
    if (!table->full()) return table->Add(hash >> 32 << 32 | record);
    // Keys that were made to share the top bits of their hash must not blow up the directory: their table grows instead.
    const bool directory_is_sparse = directories_.back()->size() > 64 + 16 * in_use_;
    const bool may_split = table->depth < kDepthMax && (table->depth < directories_.back()->depth || !directory_is_sparse);
    if (table->slot_bits < kSlotBits || !may_split) {
      Grow(hash, table);
    } else {
      Split(hash, table);
    }
  }
}

}  // namespace sheaf::memtable
