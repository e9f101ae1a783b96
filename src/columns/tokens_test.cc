#include "columns/tokens.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::columns {
namespace {

using testing::UnorderedElementsAre;

TextNeeds NeedsOfLike(std::string_view pattern, bool any_case = false, char escape = 0) {
  TextNeeds needs;
  AddNeedsOfLike(pattern, escape, any_case, &needs);
  return needs;
}

TEST(Tokens, AreRunsOfLettersDigitsAndBytesAboveAscii) {
  EXPECT_TRUE(ContainsToken("connection TimeOut: peer=10.0.0.1", "timeout"));
  EXPECT_TRUE(ContainsToken("connection TimeOut: peer=10.0.0.1", "10"));
  EXPECT_TRUE(ContainsToken("timeout", "timeout"));
  EXPECT_TRUE(ContainsToken("zeit\xC3\xBC" "berschreitung", "zeit\xC3\xBC" "berschreitung"));
  EXPECT_FALSE(ContainsToken("zeit\xC3\xBC" "berschreitung", "berschreitung"));
  EXPECT_FALSE(ContainsToken("timeouts", "timeout"));
  EXPECT_FALSE(ContainsToken("mytimeout", "timeout"));
  EXPECT_FALSE(ContainsToken("time out", "timeout"));
  EXPECT_FALSE(ContainsToken("", "timeout"));
  EXPECT_TRUE(ContainsToken("timeou timeouts timeout", "timeout"));
}

TEST(Tokens, OnlyOneTokenIsTakenAsSuch) {
  EXPECT_EQ(ParseToken("TimeOut9").ValueOrDie(), "timeout9");
  EXPECT_EQ(KindOf(ParseToken("").status()), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(ParseToken("time out").status()), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(ParseToken("-").status()), ErrorKind::kInvalid);
}

TEST(Tokens, LettersThatIlikeTakesForAsciiAreFolded) {
  EXPECT_EQ(FoldText("\xE2\x84\xAA" "iLL \xC4\xB0\xC3\x89"), "kill i\xC3\x89");
}

TEST(Tokens, APatternNeedsWholeTokensOnlyWhereTheyEndInIt) {
  EXPECT_THAT(NeedsOfLike("% 17 %"), UnorderedElementsAre(HashOfToken("17")));
  EXPECT_THAT(NeedsOfLike("%17%"), UnorderedElementsAre());
  EXPECT_THAT(NeedsOfLike("17 %"), UnorderedElementsAre(HashOfToken("17")));
  EXPECT_THAT(NeedsOfLike("% 17"), UnorderedElementsAre(HashOfToken("17")));
  EXPECT_THAT(NeedsOfLike("% 17"), UnorderedElementsAre(HashOfToken("17")));
  EXPECT_THAT(NeedsOfLike("%:17_18:%"), UnorderedElementsAre());
  EXPECT_THAT(NeedsOfLike("%"), UnorderedElementsAre());
  EXPECT_THAT(NeedsOfLike(""), UnorderedElementsAre());
}

TEST(Tokens, APatternNeedsTheGramsOfItsLetters) {
  EXPECT_THAT(NeedsOfLike("%Timeo%"), UnorderedElementsAre(HashOfGram("time"), HashOfGram("imeo")));
  EXPECT_THAT(NeedsOfLike("%OOM%"), UnorderedElementsAre(HashOfGram("oom")));
  EXPECT_THAT(NeedsOfLike("%ab1cd%"), UnorderedElementsAre());
  EXPECT_THAT(NeedsOfLike("%e\xC3\xA9t%"), UnorderedElementsAre(HashOfGram("e\xC3\xA9t")));
}

TEST(Tokens, IlikeNeedsNoLettersButAscii) {
  EXPECT_THAT(NeedsOfLike("%OOM\xC3\xA9t%", true), UnorderedElementsAre(HashOfGram("oom")));
  EXPECT_THAT(NeedsOfLike("oom\xC3\xA9t 17", true), UnorderedElementsAre(HashOfGram("oom"), HashOfToken("17")));
}

TEST(Tokens, AnEscapedWildcardIsText) {
  EXPECT_THAT(NeedsOfLike("%oom!%17", false, '!'), UnorderedElementsAre(HashOfGram("oom"), HashOfToken("17")));
}

}  // namespace
}  // namespace sheaf::columns
