/// Which parts of a keyed table are merged next, and how much writers are slowed down meanwhile: pure functions of
/// numbers, so that tests are tables. The merge itself is merge.h.
///
/// Seven levels. Level 0 holds sealed memtables, whose key ranges overlap. In levels 1 to 6 no two parts share a key; each
/// has ten times the size of the one above. A part moves down together with what it overlaps below.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/ids.h"
#include "parts/part.h"

namespace sheaf::compact {

inline constexpr int kLevels = 7;

/// What the plan needs to know of a part.
struct PartFacts {
  PartId id;
  int level = 0;
  parts::Format format = parts::Format::kHot;
  int64_t rows = 0, dead_rows = 0, bytes = 0;
  std::string key_min, key_max;  // Inclusive; may be wider than the part.
  Lsn min_lsn, max_lsn;
  int64_t created_ns = 0;
  bool busy = false;  // A merge is reading it.

  int64_t alive_bytes() const { return rows <= 0 ? 0 : static_cast<int64_t>(static_cast<double>(bytes) * alive_share()); }
  double alive_share() const { return rows <= 0 ? 0 : 1 - dead_share(); }
  double dead_share() const { return rows <= 0 ? 0 : static_cast<double>(dead_rows) / static_cast<double>(rows); }
};

struct PlanOptions {
  int64_t memtable_bytes = int64_t{128} << 20;
  int level0_parts = 4;                       // A merge starts with so many.
  int64_t level1_bytes = int64_t{512} << 20;  // Four memtables: a merge of level 0 meets about as much below.
  int level_factor = 10;
  int64_t output_bytes = int64_t{64} << 20;  // Of a part that is written, as if it were hot.
  double dead_share_max = 0.25;       // Of the bytes of all parts: from here the worst are written anew by themselves, so that space stays
                                      // below 1 / (1 - 0.25) of the rows alive.
  double part_dead_share_max = 0.5;   // Of a part's rows: from here it is, whatever the others are like.
  int cold_from_level = 2;  // Parts written to this level or below are cold; kLevels: never.
  std::optional<int64_t> cold_after_ns;  // Hot parts below level 0 that are older become cold where they are. None: never.
};

/// One merge.
struct Merge {
  std::vector<PartId> inputs;
  int output_level = 0;
  parts::Format output_format = parts::Format::kHot;
  bool drop_only = false;  // No row of the inputs is alive: nothing is read or written.
  bool move_only = false;  // Inputs overlap nothing there: the manifest says another level, and nothing is read or written.
  std::string reason;      // For the log and `sheaf.parts`.
};

/// The merge that is worth most now, or none. Merges planned from facts in which the inputs of running ones are busy may run at
/// the same time: their key ranges do not overlap. Levels outside 0 to 6 count as 6.
std::optional<Merge> NextMerge(std::span<const PartFacts> parts, int64_t now_ns, const PlanOptions& options);

/// Bytes that a level may have before parts move down. Level 6 has no bound.
int64_t LevelBytes(int level, const PlanOptions& options);

/// How a writer is held back.
struct Stall {
  int64_t delay_us = 0;  // Before each write.
  bool refuse = false;   // Throttled: compaction is far behind, or memory is full.
  bool operator==(const Stall&) const = default;
};

/// Parts in level 0 from which writers are slowed down: twice of what starts a merge, so that a merge in time costs nobody
/// anything…
inline constexpr int kStallLevel0Parts = 8;
/// …at which a write waits kStallFullUs: look-ups visit five times as many parts as meant…
inline constexpr int kFullStallLevel0Parts = 20;
/// …and at which writes are refused: at 128 MiB a part, 4.5 GiB wait for compaction, and reads have become slow.
inline constexpr int kRefuseLevel0Parts = 36;
/// A wait of this length caps one writer at 1,000 writes a second, which any compaction keeps up with.
inline constexpr int64_t kStallFullUs = 1000;
/// The same by the share of the memory for ingest that is in use: sealing frees it, and is that much behind.
inline constexpr double kStallMemory = 0.6, kFullStallMemory = 0.9, kRefuseMemory = 1.0;

/// Grows from 0 with the square of what is too much, so that the first steps are hardly felt: 1 µs or so, not a cliff.
Stall WriteStall(int level0_parts, double memory_fraction);

}  // namespace sheaf::compact
