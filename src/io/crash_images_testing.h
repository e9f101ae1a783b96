/// Every disk that a loss of power may leave, for each moment of a recorded run: the crash enumerator of our reliability
/// tests, in the manner of ALICE (OSDI'14) and CrashMonkey (OSDI'18).
///
///   SimFileSystem disk;
///   disk.KeepJournal();
///   RunWorkload(&disk);                       // Notes disk.journal_size() with each promise that it makes.
///   CrashImages images(disk, {.seed = 7});
///   while (const auto image = images.Next()) {
///     if (image->disk) Recover(image->disk);  // Not seen before.
///     Check(image->hash, image->point);       // What was promised up to the point must be there.
///   }
///
/// A moment is a place in the journal. What was synced is there. Of what was not: nothing; all; all but one change; one change
/// alone; the newest change cut at each sector, from the front and from the back; lengths without their bytes; and random
/// parts, shreds of sectors included. Names that were made, renamed or removed in a folder that was not synced: each of
/// their combinations where they are few, else random ones.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "io/sim_testing.h"

namespace sheaf::io {

struct CrashImage {
  uint64_t point = 0;                   // Of the journal: its first `point` entries had happened.
  std::string what;                     // Of unsynced changes, what survived.
  uint64_t hash = 0;                    // Of all names and contents.
  std::unique_ptr<SimFileSystem> disk;  // Null: an image with this hash was given before.
};

struct CrashImageOptions {
  uint64_t seed = 1;
  int random_per_point = 6;    // Random images at each moment.
  int each_per_point_max = 12;  // Of images that differ in one change or one sector, at each moment; sampled beyond.
};

/// The moments come in an order that covers the run evenly, however early one stops. Not thread-safe.
class CrashImages {
 public:
  /// `disk` kept a journal; it may be gone afterwards.
  CrashImages(const SimFileSystem& disk, const CrashImageOptions& options);
  ~CrashImages();

  /// The next one; nullopt: there are no more.
  std::optional<CrashImage> Next();
  /// Moments in all.
  uint64_t points() const;

 private:
  using Node = SimFileSystem::Node;
  using Bytes = std::vector<std::byte>;
  /// What survives of the unsynced changes, which are numbered from 0.
  struct Variant {
    std::string what;
    std::function<void(size_t, Bytes*)> apply;  // Puts what survives of a change to a file into the file.
    std::function<bool(size_t)> keeps_name;     // Of a change of names.
  };
  struct Shadow;

  static constexpr uint64_t kPasses = 16;

  void Rewind();
  bool InPass() const;
  void Step();
  Shadow* ShadowOf(const std::shared_ptr<Node>& node);
  void FindPending();
  void PlanVariants();
  void PlanData();
  CrashImage Make(const Variant& variant);

  const CrashImageOptions options_;
  std::mt19937_64 random_;
  std::vector<SimFileSystem::JournalEntry> journal_;
  size_t begin_ = 0;
  std::shared_ptr<Node> root_node_;
  uint64_t pass_ = 0;                                        // A pass visits one moment of each kPasses.
  uint64_t point_ = 0;
  std::map<const Node*, std::unique_ptr<Shadow>> shadows_;
  Shadow* root_ = nullptr;
  std::vector<std::pair<Shadow*, size_t>> changes_, names_;  // Unsynced, of all that a name may lead to.
  std::vector<Variant> variants_;                            // Of this moment, still to be given; from the back.
  std::unordered_set<uint64_t> seen_;
};

}  // namespace sheaf::io
