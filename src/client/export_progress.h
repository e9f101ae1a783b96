/// What an exporter has delivered of its queue, kept beside the queue's log so that a restart goes on from there.
///
/// A file of two slots that are written in turn, docs/formats/export_queue.md. Each slot tells up to which number everything is
/// delivered, and of the kWindow numbers above it which are delivered and which were begun to be sent. It is written, not synced,
/// whenever that changes: the death of the process loses nothing of it, a loss of power some. What is lost is only sent again, and
/// counted as such: a slot also tells which start of the machine it is of, whether the queue was closed after it, and up to which number
/// requests may have been sent in a life whose progress was lost. It is synced before segments of the log are removed for what it says.

#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "core/status.h"
#include "io/file_system.h"

namespace sheaf::client {

/// Which requests of a queue are delivered, and which may be. Numbers are LSNs of the log.
class DeliveryWindow {
 public:
  /// Requests may be sent this far ahead of the oldest that is not delivered.
  static constexpr uint64_t kWindow = 2048;

  explicit DeliveryWindow(uint64_t through = 0) : through_(through) {}

  /// Everything up to here is delivered.
  uint64_t through() const { return through_; }
  bool InReach(uint64_t number) const { return number <= through_ + kWindow; }
  bool delivered(uint64_t number) const;
  /// It was begun to be sent, and nobody said that it was not taken.
  bool begun(uint64_t number) const;
  /// The highest number of which anything is said: the log holds or held it. At least through().
  uint64_t highest() const;

  // Requires: above through() and InReach().
  void Begin(uint64_t number);
  void Undo(uint64_t number);  // Certainly not taken.
  void Deliver(uint64_t number);
  /// Numbers up to `number` will not come any more: they were delivered before.
  void AdvanceTo(uint64_t number);

  static constexpr size_t kSlotBytes = 4096, kBootBytes = 40;
  /// What else stands in a slot.
  struct Facts {
    uint64_t sequence = 0;
    uint64_t perhaps_through = 0;        // Requests up to here may have been sent, whatever the bits say.
    std::array<char, kBootBytes> boot{}; // io::BootId(), filled with zeros.
    bool closed = false;                 // In good order, with this slot synced.
  };
  std::array<std::byte, kSlotBytes> Encode(const Facts& facts) const;
  struct Decoded;
  /// Returns nothing where the slot is not valid.
  static std::optional<Decoded> Decode(std::span<const std::byte> slot);

 private:
  size_t At(uint64_t number) const { return static_cast<size_t>(number - through_ - 1); }
  void Slide();

  uint64_t through_;
  std::bitset<kWindow> delivered_, begun_;
};

struct DeliveryWindow::Decoded {
  DeliveryWindow window;
  Facts facts;
};

/// The file. Not thread-safe.
class ExportProgress {
 public:
  /// Reads the file, if there is one; changes nothing on disk. Where it may be older than what was sent (it is damaged, was not there, or
  /// the machine has been started anew since), trusted() is false. Errors: Io, Unsupported (made by a newer program).
  static Result<std::unique_ptr<ExportProgress>> Open(io::FileSystem* files, const std::string& path, const std::string& boot);
  /// Makes a new file, which counts from now on. Where the progress is not trusted, requests up to `last` may have been sent.
  /// Errors: Io, Unavailable (disk full).
  Status Start(uint64_t last);

  /// Change it, then Write().
  DeliveryWindow* window() { return &window_; }
  bool trusted() const { return trusted_; }
  bool perhaps_sent(uint64_t number) const { return !trusted_ || number <= facts_.perhaps_through || window_.begun(number); }
  /// Errors: Io. May be tried again.
  Status Write();
  /// Syncs what was written. May run beside Write(), not beside itself. After an error each later call fails: a file whose sync
  /// failed is not synced again.
  Status Sync();
  /// Writes and syncs, as the last thing. Nothing where it was not started.
  Status Close();

 private:
  ExportProgress(io::FileSystem* files, std::string path) : files_(files), path_(std::move(path)) {}

  io::FileSystem* const files_;  // Borrowed.
  const std::string path_;
  std::unique_ptr<io::File> file_;  // Null before Start().
  bool sync_failed_ = false;
  DeliveryWindow window_;
  DeliveryWindow::Facts facts_;
  bool trusted_ = true;
};

}  // namespace sheaf::client
