#include "access/user_table.h"

#include <string>

#include <gtest/gtest.h>

#include "access/user_file.h"
#include "io/posix.h"
#include "io/sim_testing.h"

namespace sheaf::access {
namespace {

const std::string kHash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

const Roles kReader{.everywhere = Role::kReader, .in_schemas = {}};

UserTable Example() {
  UserTable table;
  EXPECT_TRUE(table.Add({.name = "grafana", .roles = {.everywhere = Role::kReader, .in_schemas = {}}, .created_ns = 7}).ok());
  EXPECT_TRUE(
      table.Add({.name = "ada", .roles = {.everywhere = Role::kAdmin, .in_schemas = {}}, .password = kHash, .created_ns = 5})
          .ok());
  const Token token{.id = "0a0b0c0d", .name = "board", .digest = std::string(32, '\x11'), .created_ns = 8, .expires_ns = 9};
  EXPECT_TRUE(table.AddToken("grafana", token, 8).ok());
  return table;
}

TEST(UserTable, WhatIsWrittenIsReadAgain) {
  const UserTable table = Example();
  const UserTable again = UserTable::Decode(table.Encode()).ValueOrDie();
  ASSERT_EQ(again.users().size(), 2);
  EXPECT_EQ(again.users()[0].name, "ada");
  EXPECT_EQ(again.users()[0].roles.everywhere, Role::kAdmin);
  EXPECT_EQ(again.users()[0].password, kHash);
  const User& grafana = *again.Find("grafana");
  ASSERT_EQ(grafana.tokens.size(), 1);
  EXPECT_EQ(grafana.tokens[0].digest, std::string(32, '\x11'));
  EXPECT_EQ(grafana.tokens[0].expires_ns, 9);
  EXPECT_EQ(again.Encode(), table.Encode());
}

TEST(UserTable, TheFileOfVersion1IsWhatIsWritten) {
  const auto golden = io::ReadFile(io::PosixFileSystem(), "tests/golden/users/v1", kUsersFileBytesMax).ValueOrDie();
  EXPECT_EQ(golden->ToString(), Example().Encode()) << "a changed format takes a new version, and still reads the old one";
}

TEST(UserTable, EveryDamagedByteIsFound) {
  const std::string whole = Example().Encode();
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    const auto read = UserTable::Decode(damaged);
    ASSERT_FALSE(read.ok()) << "byte " << i;
    const ErrorKind kind = KindOf(read.status());
    EXPECT_TRUE(kind == ErrorKind::kCorruption || kind == ErrorKind::kUnsupported) << "byte " << i;
  }
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(UserTable::Decode(whole.substr(0, length)).ok()) << length;
}

TEST(UserTable, ChangesThatCannotBeAreRefused) {
  UserTable table = Example();
  EXPECT_EQ(KindOf(table.Add({.name = "ada", .roles = kReader})), ErrorKind::kAlreadyExists);
  for (const char* name : {"", "a:b", "a b", "-x", "a\n", "ü"})
    EXPECT_EQ(KindOf(table.Add({.name = name, .roles = kReader})), ErrorKind::kInvalid) << name;
  EXPECT_EQ(KindOf(table.Add({.name = "eve"})), ErrorKind::kInvalid) << "without a role";
  EXPECT_EQ(KindOf(table.SetRoles("ada", {})), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(table.Remove("eve")), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf(table.SetRoles("eve", {.everywhere = Role::kAdmin, .in_schemas = {}})), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf(table.RemoveToken("grafana", "ffffffff")), ErrorKind::kNotFound);
  EXPECT_TRUE(table.RemoveToken("grafana", "0a0b0c0d").ok());
  EXPECT_TRUE(table.Find("grafana")->tokens.empty());
  EXPECT_TRUE(table.Remove("ada").ok());
  EXPECT_EQ(table.Find("ada"), nullptr);
}

TEST(UserTable, ExpiredTokensMakeRoom) {
  UserTable table = Example();
  for (size_t i = 1; i < kTokensMax; ++i) {
    ASSERT_TRUE(table.AddToken("grafana", {.id = std::to_string(i), .digest = std::string(32, 'x')}, 8).ok());
  }
  const Token another{.id = "another", .digest = std::string(32, 'y')};
  EXPECT_EQ(KindOf(table.AddToken("grafana", another, 8)), ErrorKind::kTooLarge);
  EXPECT_TRUE(table.AddToken("grafana", another, 9).ok());
}

TEST(UserFile, ACrashLeavesTheOldUsersOrTheNew) {
  for (uint64_t operations = 1; operations < 40; ++operations) {
    io::SimFileSystem disk(operations);
    ASSERT_TRUE(ChangeUsers(&disk, "/db", [](UserTable* table) { return table->Add({.name = "ada", .roles = kReader}); }).ok());
    disk.PowerOffAfter(operations);
    const Status changed =
        ChangeUsers(&disk, "/db", [](UserTable* table) { return table->Add({.name = "bob", .roles = kReader}); });
    std::mt19937_64 random(operations);
    const auto after = disk.Crash(&random);
    const auto users = ReadUsers(after.get(), "/db").ValueOrDie();
    ASSERT_TRUE(users);
    EXPECT_NE(users->Find("ada"), nullptr);
    if (changed.ok()) {
      EXPECT_NE(users->Find("bob"), nullptr) << operations;
    }
  }
}

TEST(UserFile, ItsMarkTellsOneStateFromAnother) {
  io::SimFileSystem disk;
  EXPECT_FALSE(ReadUsersMark(&disk, "/db").ValueOrDie());
  ASSERT_TRUE(ChangeUsers(&disk, "/db", [](UserTable* table) { return table->Add({.name = "ada", .roles = kReader}); }).ok());
  const std::string before = ReadUsersMark(&disk, "/db").ValueOrDie().value();
  EXPECT_EQ(before, UsersMarkOf(ReadUsersFile(&disk, "/db").ValueOrDie().value()));
  ASSERT_TRUE(ChangeUsers(&disk, "/db", [](UserTable* table) { return table->SetPassword("ada", kHash); }).ok());
  EXPECT_NE(ReadUsersMark(&disk, "/db").ValueOrDie().value(), before);
}

TEST(UserFile, OneAtATimeChangesIt) {
  io::SimFileSystem disk;
  Status inner;
  ASSERT_TRUE(ChangeUsers(&disk, "/db", [&](UserTable* table) {
                inner = ChangeUsers(&disk, "/db", [](UserTable*) { return Status::OK(); });
                return table->Add({.name = "ada", .roles = kReader});
              }).ok());
  EXPECT_EQ(KindOf(inner), ErrorKind::kUnavailable);
}

TEST(UserFile, NoTokenIsLikeAnother) {
  const NewToken one = MakeToken("a", 1, 2).ValueOrDie(), two = MakeToken("a", 1, 2).ValueOrDie();
  EXPECT_NE(one.text, two.text);
  EXPECT_TRUE(LooksLikeToken(one.text));
  EXPECT_FALSE(LooksLikeToken(one.text.substr(1)));
  EXPECT_EQ(one.token.digest.size(), 32);
}

}  // namespace
}  // namespace sheaf::access
