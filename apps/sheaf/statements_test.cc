#include "statements.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Statements, EndAtSemicolons) {
  const Statements found = SplitStatements(" SELECT 1 ;;\n SELECT 2; SELECT");
  EXPECT_THAT(found.complete, ElementsAre("SELECT 1", "SELECT 2"));
  EXPECT_EQ(found.rest, "SELECT");
}

TEST(Statements, QuotesAndCommentsHideSemicolons) {
  EXPECT_THAT(SplitStatements("SELECT ';', \"a;b\", 'it''s;' -- x;\n /* ; /* ; */ ; */ , $$;$$, $t$ ; $$ $t$, $1;").complete,
              ElementsAre("SELECT ';', \"a;b\", 'it''s;' -- x;\n /* ; /* ; */ ; */ , $$;$$, $t$ ; $$ $t$, $1"));
}

TEST(Statements, OpenQuoteIsUnfinished) {
  const Statements found = SplitStatements("SELECT 'a;b");
  EXPECT_THAT(found.complete, IsEmpty());
  EXPECT_EQ(found.rest, "SELECT 'a;b");
}

TEST(Statements, CommentsAloneAreNothing) {
  EXPECT_THAT(SplitStatements("-- nothing;\n/* here; */;").complete, IsEmpty());
  EXPECT_FALSE(HasSql("-- nothing"));
  EXPECT_FALSE(HasSql("/* open"));
  EXPECT_TRUE(HasSql("''"));
}

}  // namespace
}  // namespace sheaf::cli
