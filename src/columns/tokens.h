/// What text search looks for: the tokens of a text, and grams, pieces of their letters. A search says what a text must hold to match;
/// token_filter.h says which granules may have such a text. Both are described in docs/formats/part.md, for parts keep their hashes.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace sheaf::columns {

/// Each byte of a token as it is compared, ASCII letters lower-cased; 0 for a byte between tokens. A token is a longest run of ASCII
/// letters and digits and of bytes >= 0x80.
inline constexpr std::array<uint8_t, 256> kTokenBytes = [] {
  std::array<uint8_t, 256> out{};
  for (size_t c = 0; c < out.size(); ++c) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool kept = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c >= 0x80;
    out[c] = static_cast<uint8_t>(upper ? c - 'A' + 'a' : kept ? c : 0);
  }
  return out;
}();

/// Whether a byte of a token, as it is compared, counts as a letter: all but digits.
inline constexpr bool IsLetter(uint8_t byte) { return byte > '9'; }

/// The token in the form that ContainsToken() takes. Error: Invalid (empty, or not one token).
Result<std::string> ParseToken(std::string_view token);
/// Whether one of the text's tokens is `token`, which ParseToken() returned.
bool ContainsToken(std::string_view text, std::string_view token);

/// The text as filters see it: ASCII letters are lower-cased, and so are the two other characters of which an ASCII letter is the
/// lower case (the Kelvin sign and the dotted capital I), since ILIKE takes them for equal.
std::string FoldText(std::string_view text);

/// Numbers of letters of the two kinds of grams.
inline constexpr size_t kShortGram = 3, kLongGram = 4;
/// Never 0. `token` and `gram` are folded.
uint64_t HashOfToken(std::string_view token);
uint64_t HashOfGram(std::string_view gram);

/// Hashes of what a text must hold, all of it.
using TextNeeds = std::vector<uint64_t>;

/// Adds what holds a text with this token.
void AddNeedsOfToken(std::string_view token, TextNeeds* needs);

/// Adds what holds a text in which `fragment` occurs, in whatever case. A token of the fragment is one of the text only where it ends in
/// the fragment: `bounded_before` and `bounded_after` say whether the text begins before the fragment and ends behind it.
void AddNeedsOfFragment(std::string_view fragment, bool bounded_before, bool bounded_after, TextNeeds* needs);

/// Adds what holds a text that LIKE matches with the pattern (% any bytes, _ any character; `escape` 0: none), or ILIKE (`any_case`).
void AddNeedsOfLike(std::string_view pattern, char escape, bool any_case, TextNeeds* needs);

}  // namespace sheaf::columns
