#include "columns/tokens.h"

#define XXH_INLINE_ALL  // Grams are so short that the call would cost as much as the hash.
#include <xxhash.h>

namespace sheaf::columns {
namespace {

constexpr std::string_view kKelvinSign = "\xE2\x84\xAA", kDottedCapitalI = "\xC4\xB0";

uint8_t TokenByte(char c) { return kTokenBytes[static_cast<uint8_t>(c)]; }

uint64_t NotZero(uint64_t hash) { return hash | static_cast<uint64_t>(hash == 0); }

bool IsAscii(char c) { return static_cast<uint8_t>(c) < 0x80; }

/// What stands in a pattern between two wildcards.
class Fragments {
 public:
  Fragments(bool any_case, TextNeeds* needs) : any_case_(any_case), needs_(needs) {}

  void Add(char c) {
    // ILIKE knows cases of other letters, too, of which another number of bytes may be the match.
    if (any_case_ && !IsAscii(c)) return End(false);
    text_ += c;
  }
  void End(bool bounded) {
    if (!text_.empty()) AddNeedsOfFragment(text_, bounded_, bounded, needs_);
    text_.clear();
    bounded_ = false;
  }

 private:
  const bool any_case_;
  TextNeeds* const needs_;
  std::string text_;
  bool bounded_ = true;  // Whether the text begins before it.
};

}  // namespace

Result<std::string> ParseToken(std::string_view token) {
  std::string out;
  for (const char c : token) {
    const uint8_t byte = TokenByte(c);
    if (byte == 0) {
      return MakeError(ErrorKind::kInvalid, "'{}' is not one token: '{}' stands between tokens; a token has letters and digits only", token,
                       c);
    }
    out += static_cast<char>(byte);
  }
  if (out.empty()) return MakeError(ErrorKind::kInvalid, "the token is empty; it needs a letter or a digit");
  return out;
}

bool ContainsToken(std::string_view text, std::string_view token) {
  for (size_t at = 0; at < text.size(); ++at) {
    size_t same = 0;
    while (at + same < text.size() && same < token.size() && TokenByte(text[at + same]) == static_cast<uint8_t>(token[same])) ++same;
    at += same;
    if (same == token.size() && (at == text.size() || TokenByte(text[at]) == 0)) return true;
    while (at < text.size() && TokenByte(text[at]) != 0) ++at;
  }
  return false;
}

std::string FoldText(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size(); ++at) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with(kKelvinSign)) {
      out += 'k';
      at += kKelvinSign.size() - 1;
    } else if (rest.starts_with(kDottedCapitalI)) {
      out += 'i';
      at += kDottedCapitalI.size() - 1;
    } else {
      const uint8_t byte = TokenByte(text[at]);
      out += byte != 0 ? static_cast<char>(byte) : text[at];
    }
  }
  return out;
}

uint64_t HashOfToken(std::string_view token) { return NotZero(XXH3_64bits(token.data(), token.size())); }
uint64_t HashOfGram(std::string_view gram) { return NotZero(XXH3_64bits_withSeed(gram.data(), gram.size(), gram.size())); }

void AddNeedsOfToken(std::string_view token, TextNeeds* needs) { AddNeedsOfFragment(token, true, true, needs); }

void AddNeedsOfFragment(std::string_view fragment, bool bounded_before, bool bounded_after, TextNeeds* needs) {
  const std::string folded = FoldText(fragment);
  const std::string_view all = folded;
  for (size_t begin = 0, end = 0; begin < all.size(); begin = end + 1) {
    end = begin;
    while (end < all.size() && TokenByte(all[end]) != 0) ++end;
    const std::string_view token = all.substr(begin, end - begin);
    if (token.empty()) continue;
    if ((begin > 0 || bounded_before) && (end < all.size() || bounded_after)) needs->push_back(HashOfToken(token));
    for (size_t from = 0, to = 0; from < token.size(); from = to + 1) {
      to = from;
      while (to < token.size() && IsLetter(static_cast<uint8_t>(token[to]))) ++to;
      // The long grams of a run are rarer than its short ones, which they imply.
      const size_t gram = to - from >= kLongGram ? kLongGram : kShortGram;
      for (size_t at = from; at + gram <= to; ++at) needs->push_back(HashOfGram(token.substr(at, gram)));
    }
  }
}

void AddNeedsOfLike(std::string_view pattern, char escape, bool any_case, TextNeeds* needs) {
  Fragments fragments(any_case, needs);
  for (size_t at = 0; at < pattern.size(); ++at) {
    if (escape != 0 && pattern[at] == escape && at + 1 < pattern.size()) {
      fragments.Add(pattern[++at]);
    } else if (pattern[at] == '%' || pattern[at] == '_') {
      fragments.End(false);
    } else {
      fragments.Add(pattern[at]);
    }
  }
  fragments.End(true);
}

}  // namespace sheaf::columns
