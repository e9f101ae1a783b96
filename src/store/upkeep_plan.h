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

}  // namespace sheaf::store
