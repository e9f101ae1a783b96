#include "client/export_progress.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "core/crc32c.h"

namespace sheaf::client {
namespace {

/// Start of a slot; the two sets of bits follow, the rest is zero. Little-endian.
struct SlotHeader {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t crc;  // CRC-32C of the whole slot with this field zero.
  uint64_t sequence;
  uint64_t through;
  int64_t boot_ns;
  uint64_t closed;  // 1, or 0.
};
static_assert(sizeof(SlotHeader) == 48);
/// Two starts of the machine are further apart; clocks that are set right are not.
constexpr int64_t kBootToleranceNs = 5'000'000'000;
constexpr std::array<char, 8> kMagic = {'S', 'H', 'E', 'A', 'F', 'S', 'N', 'T'};
constexpr uint32_t kVersion = 1;
constexpr size_t kBitsBytes = DeliveryWindow::kWindow / 8;
static_assert(sizeof(SlotHeader) + 2 * kBitsBytes <= DeliveryWindow::kSlotBytes);

using Bits = std::bitset<DeliveryWindow::kWindow>;

void PutBits(const Bits& bits, std::byte* out) {
  for (size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) out[i / 8] |= std::byte{1} << (i % 8);
  }
}

Bits GetBits(const std::byte* in) {
  Bits bits;
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = (in[i / 8] & (std::byte{1} << (i % 8))) != std::byte{0};
  return bits;
}

}  // namespace

bool DeliveryWindow::delivered(uint64_t number) const {
  return number <= through_ || (InReach(number) && delivered_[At(number)]);
}
bool DeliveryWindow::begun(uint64_t number) const { return number > through_ && InReach(number) && begun_[At(number)]; }
void DeliveryWindow::Begin(uint64_t number) { begun_.set(At(number)); }
void DeliveryWindow::Undo(uint64_t number) { begun_.reset(At(number)); }

void DeliveryWindow::Deliver(uint64_t number) {
  delivered_.set(At(number));
  if (number == through_ + 1) Slide();
}

void DeliveryWindow::AdvanceTo(uint64_t number) {
  if (number <= through_) return;
  const size_t by = static_cast<size_t>(std::min(number - through_, kWindow));
  delivered_ >>= by;
  begun_ >>= by;
  through_ = number;
  Slide();
}

void DeliveryWindow::Slide() {
  size_t by = 0;
  while (by < kWindow && delivered_[by]) ++by;
  delivered_ >>= by;
  begun_ >>= by;
  through_ += by;
}

std::array<std::byte, DeliveryWindow::kSlotBytes> DeliveryWindow::Encode(const Facts& facts) const {
  std::array<std::byte, kSlotBytes> slot{};
  SlotHeader header{.magic = kMagic, .version = kVersion, .crc = 0, .sequence = facts.sequence, .through = through_,
                    .boot_ns = facts.boot_ns, .closed = facts.closed ? uint64_t{1} : 0};
  PutBits(delivered_, slot.data() + sizeof header);
  PutBits(begun_, slot.data() + sizeof header + kBitsBytes);
  std::memcpy(slot.data(), &header, sizeof header);
  header.crc = Crc32c(slot);
  std::memcpy(slot.data(), &header, sizeof header);
  return slot;
}

std::optional<DeliveryWindow::Decoded> DeliveryWindow::Decode(std::span<const std::byte> bytes) {
  if (bytes.size() < kSlotBytes) return std::nullopt;
  std::array<std::byte, kSlotBytes> slot;
  std::copy_n(bytes.data(), kSlotBytes, slot.data());
  SlotHeader header;
  std::memcpy(&header, slot.data(), sizeof header);
  const uint32_t crc = std::exchange(header.crc, 0);
  std::memcpy(slot.data(), &header, sizeof header);
  if (header.magic != kMagic || header.version != kVersion || Crc32c(slot) != crc) return std::nullopt;
  if (header.through > UINT64_MAX - kWindow - 1 || header.closed > 1) return std::nullopt;
  Decoded decoded{.window = DeliveryWindow(header.through),
                  .facts = {.sequence = header.sequence, .boot_ns = header.boot_ns, .closed = header.closed == 1}};
  decoded.window.delivered_ = GetBits(slot.data() + sizeof header);
  decoded.window.begun_ = GetBits(slot.data() + sizeof header + kBitsBytes);
  decoded.window.Slide();
  return decoded;
}

Result<std::unique_ptr<ExportProgress>> ExportProgress::Open(io::FileSystem* files, const std::string& path, int64_t boot_ns) {
  constexpr int64_t kFileBytes = 2 * DeliveryWindow::kSlotBytes;
  Result<std::shared_ptr<arrow::Buffer>> read = io::ReadFile(files, path, 1 << 20);
  const bool missing = !read.ok() && KindOf(read.status()) == ErrorKind::kNotFound;
  if (!missing) SHEAF_RETURN_NOT_OK(read.status());
  std::optional<DeliveryWindow::Decoded> best;
  if (!missing) {
    const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>((*read)->data()), static_cast<size_t>((*read)->size()));
    for (size_t slot = 0; slot < 2 && bytes.size() >= (slot + 1) * DeliveryWindow::kSlotBytes; ++slot) {
      auto found = DeliveryWindow::Decode(bytes.subspan(slot * DeliveryWindow::kSlotBytes));
      if (found && found->facts.sequence % 2 == slot && (!best || found->facts.sequence > best->facts.sequence)) best = found;
    }
  }
  // A file of its own for each life: none is synced whose sync may have failed before.
  DeliveryWindow window = best ? best->window : DeliveryWindow();
  const uint64_t sequence = best ? best->facts.sequence : 0;
  std::vector<std::byte> bytes(kFileBytes);
  for (const uint64_t s : {sequence + 1, sequence + 2}) {
    const auto slot = window.Encode({.sequence = s, .boot_ns = boot_ns});
    std::copy(slot.begin(), slot.end(), bytes.begin() + static_cast<int64_t>(s % 2 * DeliveryWindow::kSlotBytes));
  }
  SHEAF_RETURN_NOT_OK(io::WriteFileAtomically(files, path, bytes));
  SHEAF_ASSIGN_OR_RETURN(std::unique_ptr<io::File> file, files->Open(path, io::OpenMode::kReadWrite));
  std::unique_ptr<ExportProgress> progress(new ExportProgress(std::move(file)));
  progress->window_ = window;
  progress->facts_ = {.sequence = sequence + 2, .boot_ns = boot_ns};
  progress->trusted_ = best && (best->facts.closed || std::abs(best->facts.boot_ns - boot_ns) < kBootToleranceNs);
  return progress;
}

Status ExportProgress::Write() {
  ++facts_.sequence;
  return file_->WriteAt(static_cast<int64_t>(facts_.sequence % 2 * DeliveryWindow::kSlotBytes), window_.Encode(facts_));
}

Status ExportProgress::Close() {
  facts_.closed = true;
  SHEAF_RETURN_NOT_OK(Write());
  return file_->SyncData();
}

}  // namespace sheaf::client
