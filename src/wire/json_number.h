/// Numbers as JSON spells them, to exact integers and doubles.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sheaf::wire {

/// A whole number of any sign; `magnitude` of the absolute value.
struct WholeNumber {
  bool negative = false;
  uint64_t magnitude = 0;
};

/// Returns the whole number that `text` spells by JSON's grammar: 12, -3, 1e3, 25.0e1. Nothing where it is no number, has a
/// fraction left, or its magnitude is over 2^64 - 1.
std::optional<WholeNumber> ParseWholeNumber(std::string_view text);

/// Whether `text` is a number by JSON's grammar.
bool IsJsonNumber(std::string_view text);

/// Returns the nearest double of a JSON number. Nothing where it is none, or overflows.
std::optional<double> ParseJsonDouble(std::string_view text);

}  // namespace sheaf::wire
