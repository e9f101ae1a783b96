/// Distinct types for the numbers that name things, so that they cannot be mixed up.

#pragma once

#include <compare>
#include <cstdint>
#include <functional>

#include <fmt/format.h>

namespace sheaf {

/// A 64-bit number that is not just any number. Ordered, hashable, printable; no arithmetic but Next().
template <typename Tag>
struct Id {
  uint64_t value = 0;
  constexpr Id() = default;
  constexpr explicit Id(uint64_t v) : value(v) {}
  constexpr auto operator<=>(const Id&) const = default;
  constexpr Id Next() const { return Id(value + 1); }
};

/// Position of a batch in the log; the one clock. The first batch has LSN 1; 0 means "none".
using Lsn = Id<struct LsnTag>;
/// Reign of a leader. 1 on a standalone node; reserved for replication.
using Epoch = Id<struct EpochTag>;
/// A table of this database; never used again after a drop.
using TableId = Id<struct TableTag>;
/// An immutable file of a table; never used again.
using PartId = Id<struct PartTag>;

}  // namespace sheaf

template <typename Tag>
struct std::hash<sheaf::Id<Tag>> {
  size_t operator()(sheaf::Id<Tag> id) const noexcept { return std::hash<uint64_t>()(id.value); }
};
template <typename Tag>
struct fmt::formatter<sheaf::Id<Tag>> : fmt::formatter<uint64_t> {
  auto format(sheaf::Id<Tag> id, fmt::format_context& context) const {
    return fmt::formatter<uint64_t>::format(id.value, context);
  }
};
