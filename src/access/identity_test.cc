#include "access/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::access {
namespace {

using ::testing::HasSubstr;

Identity Ada(const std::string& roles) { return {.user = "ada", .roles = ParseRoles(roles).ValueOrDie(), .peer = ""}; }

TEST(Identity, EachRoleMayDoWhatItIsFor) {
  struct {
    const char* role;
    bool read, write, define, administer, system;
  } const table[] = {
      {"reader", true, false, false, false, false},
      {"writer", true, true, false, false, false},
      {"admin", true, true, true, true, true},
  };
  for (const auto& row : table) {
    const Identity identity = Ada(row.role);
    for (const char* schema : {"", "otel"}) {
      EXPECT_EQ(Allow(identity, Action::kRead, schema).ok(), row.read);
      EXPECT_EQ(Allow(identity, Action::kWrite, schema).ok(), row.write);
      EXPECT_EQ(Allow(identity, Action::kDefine, schema).ok(), row.define);
    }
    EXPECT_EQ(Allow(identity, Action::kAdminister).ok(), row.administer);
    EXPECT_EQ(Allow(identity, Action::kRead, kSystemSchema).ok(), row.system);
    EXPECT_EQ(AllowSomewhere(identity, Action::kWrite).ok(), row.write);
  }
}

TEST(Identity, ARoleInASchemaHoldsThereAndNowhereElse) {
  const Identity identity = Ada("reader:otel,admin:main");
  EXPECT_TRUE(Allow(identity, Action::kRead, "otel").ok());
  EXPECT_FALSE(Allow(identity, Action::kWrite, "otel").ok());
  EXPECT_TRUE(Allow(identity, Action::kDefine, "main").ok());
  for (const Action action : {Action::kRead, Action::kWrite, Action::kDefine, Action::kAdminister}) {
    EXPECT_FALSE(Allow(identity, action, "trading").ok());
    EXPECT_FALSE(Allow(identity, action, kSystemSchema).ok());
    EXPECT_FALSE(Allow(identity, action).ok()) << "the whole database";
  }
  EXPECT_TRUE(AllowSomewhere(identity, Action::kDefine).ok());
  EXPECT_FALSE(AllowSomewhere(Ada("reader:otel"), Action::kWrite).ok());
}

TEST(Identity, WhereThereAreTwoRolesTheHigherCounts) {
  const Identity identity = Ada("reader,writer:main");
  EXPECT_TRUE(Allow(identity, Action::kWrite, "main").ok());
  EXPECT_TRUE(Allow(identity, Action::kRead, "otel").ok());
  EXPECT_TRUE(Allow(identity, Action::kRead).ok());
  EXPECT_FALSE(Allow(identity, Action::kWrite, "otel").ok());
  EXPECT_FALSE(Allow(identity, Action::kWrite).ok());
}

TEST(Identity, NobodyMayDoNothing) {
  const Identity nobody;
  EXPECT_FALSE(AllowSomewhere(nobody, Action::kRead).ok());
  EXPECT_FALSE(Allow(nobody, Action::kRead, "main").ok());
}

TEST(Identity, ARefusalSaysWhoMayNotDoWhatAndWhoMay) {
  const Status refused = Allow(Ada("reader"), Action::kWrite, "otel");
  EXPECT_EQ(KindOf(refused), ErrorKind::kDenied);
  EXPECT_EQ(refused.message(), "user ada has the role reader and may not write in the schema otel; that takes the role writer");
  EXPECT_THAT(Allow(Ada("admin:main"), Action::kAdminister).message(), HasSubstr("takes the role admin for the whole database"));
}

TEST(Roles, TextIsReadAsItIsWritten) {
  for (const char* text : {"reader", "writer", "admin", "reader:otel", "reader,writer:main", "admin:main,reader:otel"}) {
    EXPECT_EQ(RolesText(ParseRoles(text).ValueOrDie()), text);
  }
}

TEST(Roles, TextThatMeansNothingIsRefused) {
  for (const char* text : {"", "root", "Reader", "reader,", ",reader", "reader writer", "reader,writer", "reader:", "reader:a.b",
                           "reader:Otel", "reader:otel,writer:otel", "admin:sheaf", "writer,reader:otel", "reader,reader:otel"}) {
    EXPECT_EQ(KindOf(ParseRoles(text).status()), ErrorKind::kInvalid) << text;
  }
  EXPECT_FALSE(ParseRoles(std::string(5000, 'a')).ok());
}

}  // namespace
}  // namespace sheaf::access
