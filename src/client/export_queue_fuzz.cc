/// Whatever bytes stand in an export queue's files: entries and slots are read or refused, and what is read is the same again after
/// it was written.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "client/export_progress.h"
#include "client/export_queue.h"
#include "client/otlp_response.h"
#include "core/check.h"
#include "core/crc32c.h"

namespace {

using namespace sheaf::client;  // NOLINT: a fuzz target.

void Slot(std::span<const std::byte> bytes) {
  std::array<std::byte, DeliveryWindow::kSlotBytes> slot{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), slot.size()), slot.begin());
  // The right checksum, so that what it protects is looked at too.
  for (size_t i = 12; i < 16; ++i) slot[i] = std::byte{0};
  const uint32_t crc = sheaf::Crc32c(slot);
  std::memcpy(slot.data() + 12, &crc, sizeof crc);
  const auto decoded = DeliveryWindow::Decode(slot);
  if (!decoded) return;
  DeliveryWindow window = decoded->window;
  const auto again = DeliveryWindow::Decode(window.Encode(decoded->facts));
  SHEAF_CHECK(again && again->window.through() == window.through());
  for (uint64_t number = window.through() + 1; window.InReach(number); ++number) {
    SHEAF_CHECK(again->window.delivered(number) == window.delivered(number) && again->window.begun(number) == window.begun(number));
  }
  window.AdvanceTo(window.through() + bytes.size());
  for (int i = 0; i < 5; ++i) {
    const uint64_t next = window.through() + 1;
    window.Deliver(next);
    SHEAF_CHECK(window.through() >= next);
  }
}

void Entry(std::span<const std::byte> bytes) {
  sheaf::wal::Entry entry;
  entry.type = 1;
  entry.payload = arrow::Buffer::FromString(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  const auto read = ReadQueueEntry(entry);
  if (!read.ok()) return;
  const auto again = ReadQueueEntry(MakeQueueEntry(read->kind, read->rows, read->request->ToString())).ValueOrDie();
  SHEAF_CHECK(again.rows == read->rows && again.kind == read->kind && again.request->Equals(*read->request));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  switch (data[0] % 3) {
    case 0: Slot(bytes); break;
    case 1: Entry(bytes); break;
    default: {
      const auto response = ReadOtlpResponse({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      SHEAF_CHECK(!response.ok() || response->rejected >= 0);
    }
  }
  return 0;
}
