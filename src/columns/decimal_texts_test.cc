#include "columns/decimal_texts.h"

#include <string>
#include <vector>

#include <arrow/builder.h>
#include <gtest/gtest.h>

namespace sheaf::columns {
namespace {

Status CheckOne(const std::string& text) {
  arrow::StringBuilder builder;
  EXPECT_TRUE(builder.AppendNull().ok());
  EXPECT_TRUE(builder.Append(text).ok());
  return CheckDecimalTexts(*builder.Finish().ValueOrDie());
}

TEST(DecimalTexts, OfThirtyEightDigitsAreTheLongest) {
  const std::string nines(38, '9');
  const std::vector<std::string> taken = {nines,          "-" + nines,   "+0." + nines, std::string(50, '0') + nines,
                                          nines + "e-20", "no number at all, which is for the cast to find out"};
  for (const std::string& text : taken) {
    EXPECT_TRUE(CheckOne(text).ok()) << text;
  }
  const std::vector<std::string> refused = {nines + "9", "-1" + nines, "1." + std::string(38, '0'), "0.1" + nines,
                                            std::string(1'000'000, '9')};
  for (const std::string& text : refused) {
    const Status checked = CheckOne(text);
    EXPECT_EQ(KindOf(checked), ErrorKind::kInvalid) << text.substr(0, 80);
    EXPECT_LT(checked.message().size(), 200u);
  }
}

TEST(DecimalTexts, AreTexts) {
  arrow::Int32Builder builder;
  EXPECT_EQ(KindOf(CheckDecimalTexts(*builder.Finish().ValueOrDie())), ErrorKind::kInternal);
}

}  // namespace
}  // namespace sheaf::columns
