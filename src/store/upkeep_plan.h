/// Which parts expire and which become cold: pure functions of a version and a time.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "store/version.h"

namespace sheaf::store {

/// Most bytes and rows of hot parts that become one cold part: bounds the memory and time of a conversion.
inline constexpr int64_t kColdInputBytesMax = int64_t{256} << 20;
inline constexpr int64_t kColdInputRowsMax = 2'000'000;

/// Parts whose youngest row is older than the table's retention. A part with one younger row stays whole.
std::vector<PartId> PartsToExpire(const TableVersion& table, int64_t now_ns);

/// A run of neighbouring hot parts that are to become one cold part, or none. It starts with the first hot part
/// that is older than `cold_after_ns`, and takes in the ones after it that are at least half as old, so
/// that small parts do not stay small.
std::vector<std::shared_ptr<const Part>> PartsToConvert(const TableVersion& table, int64_t now_ns, int64_t cold_after_ns);

/// Bytes of hot parts of the table that are older than `cold_after_ns`: what waits for conversion.
int64_t BytesToConvert(const TableVersion& table, int64_t now_ns, int64_t cold_after_ns);

/// Where so much waits, conversions are behind what comes in, and the disk fills with parts six times as large as they should be.
inline constexpr int64_t kColdBacklogBytes = 8 * kColdInputBytesMax;

/// How long conversions rest after one that took `took_ns` of one core, while `waiting_bytes` wait for the next: so that they take
/// `cores` of a core on the average, or half of one (and no less than `cores`) with a backlog.
int64_t ConversionPauseNs(int64_t took_ns, int64_t waiting_bytes, double cores);

}  // namespace sheaf::store
