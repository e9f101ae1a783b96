#include "wire/json_number.h"

#include <charconv>

namespace sheaf::wire {
namespace {

constexpr int64_t kExponentMax = 1'000'000;  // Larger ones are clamped: far beyond any double or integer.

/// The parts of a JSON number. digit(i) counts through integer and fraction run together.
struct Decimal {
  bool negative = false;
  std::string_view integer, fraction;
  int64_t exponent = 0;

  char digit(size_t i) const { return i < integer.size() ? integer[i] : fraction[i - integer.size()]; }
  size_t digits() const { return integer.size() + fraction.size(); }
};

size_t CountDigits(std::string_view text) {
  size_t n = 0;
  while (n < text.size() && text[n] >= '0' && text[n] <= '9') ++n;
  return n;
}

std::optional<Decimal> Split(std::string_view text) {
  Decimal number;
  if (!text.empty() && text[0] == '-') {
    number.negative = true;
    text.remove_prefix(1);
  }
  number.integer = text.substr(0, CountDigits(text));
  if (number.integer.empty() || (number.integer.size() > 1 && number.integer[0] == '0')) return std::nullopt;
  text.remove_prefix(number.integer.size());
  if (!text.empty() && text[0] == '.') {
    number.fraction = text.substr(1, CountDigits(text.substr(1)));
    if (number.fraction.empty()) return std::nullopt;
    text.remove_prefix(1 + number.fraction.size());
  }
  if (text.empty()) return number;
  if (text[0] != 'e' && text[0] != 'E') return std::nullopt;
  text.remove_prefix(1);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (text.empty() || CountDigits(text) != text.size()) return std::nullopt;
  for (const char c : text) {
    if (number.exponent < kExponentMax) number.exponent = number.exponent * 10 + (c - '0');
  }
  if (negative) number.exponent = -number.exponent;
  return number;
}

}  // namespace

std::optional<WholeNumber> ParseWholeNumber(std::string_view text) {
  const std::optional<Decimal> number = Split(text);
  if (!number) return std::nullopt;
  // The first `whole` digits stand before the decimal point, once the exponent has moved it.
  const int64_t whole = static_cast<int64_t>(number->integer.size()) + number->exponent;
  WholeNumber result{.negative = number->negative};
  const auto digits = static_cast<int64_t>(number->digits());
  bool zero = true;
  for (int64_t i = 0; i < digits; ++i) {
    const auto digit = static_cast<uint64_t>(number->digit(static_cast<size_t>(i)) - '0');
    if (digit == 0 && zero) continue;
    zero = false;
    if (i >= whole) {
      if (digit != 0) return std::nullopt;
      continue;
    }
    if (__builtin_mul_overflow(result.magnitude, uint64_t{10}, &result.magnitude) ||
        __builtin_add_overflow(result.magnitude, digit, &result.magnitude)) {
      return std::nullopt;
    }
  }
  if (zero) return result;
  for (int64_t i = digits; i < whole; ++i) {
    if (__builtin_mul_overflow(result.magnitude, uint64_t{10}, &result.magnitude)) return std::nullopt;
  }
  return result;
}

bool IsJsonNumber(std::string_view text) { return Split(text).has_value(); }

std::optional<double> ParseJsonDouble(std::string_view text) {
  const std::optional<Decimal> number = Split(text);
  if (!number) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  // Out of range either way: too small is zero, too large is an error.
  size_t first = 0;
  while (first < number->digits() && number->digit(first) == '0') ++first;
  const int64_t magnitude = static_cast<int64_t>(number->integer.size()) - static_cast<int64_t>(first) + number->exponent;
  if (magnitude > 0) return std::nullopt;
  return number->negative ? -0.0 : 0.0;
}

}  // namespace sheaf::wire
