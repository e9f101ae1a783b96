#include "access/password.h"

#include <string>

#include <gtest/gtest.h>

namespace sheaf::access {
namespace {

TEST(Password, ItsHashIsKnownAndAnotherIsNot) {
  const std::string hash = HashPassword("correct horse").ValueOrDie();
  EXPECT_TRUE(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")) << hash;
  EXPECT_TRUE(VerifyPassword(hash, "correct horse").ValueOrDie());
  EXPECT_FALSE(VerifyPassword(hash, "correct horsf").ValueOrDie());
  EXPECT_FALSE(VerifyPassword(hash, "").ValueOrDie());
  EXPECT_NE(HashPassword("correct horse").ValueOrDie(), hash) << "the salt is new each time";
}

TEST(Password, HashesOfOthersAreKnown) {
  // The test vector of the reference implementation (its test.c): version 19, 2 passes, 64 MiB, 1 lane.
  const std::string hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
  EXPECT_TRUE(VerifyPassword(hash, "password").ValueOrDie());
  EXPECT_FALSE(VerifyPassword(hash, "differentpassword").ValueOrDie());
}

TEST(Password, ThatFewWouldUseIsRefused) {
  EXPECT_EQ(KindOf(HashPassword("short").status()), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(HashPassword(std::string(kPasswordBytesMax + 1, 'x')).status()), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(HashPassword("two lines\nof it").status()), ErrorKind::kInvalid);
  EXPECT_TRUE(HashPassword(std::string(kPasswordBytesMin, 'x')).ok());
}

TEST(Password, HashesThatCostTooMuchOrAreMalformedAreRefused) {
  const std::string salt = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
  EXPECT_TRUE(CheckPasswordHash("$argon2id$v=19$m=65536,t=2,p=1" + salt).ok());
  for (const std::string head :
       {"$argon2i$v=19$m=65536,t=2,p=1", "$argon2id$v=16$m=65536,t=2,p=1", "$argon2id$v=19$m=4000000,t=2,p=1",
        "$argon2id$v=19$m=65536,t=1000,p=1", "$argon2id$v=19$m=65536,t=2,p=99", "$argon2id$v=19$m=065536,t=2,p=1",
        "$argon2id$v=19$m=,t=2,p=1", "$argon2id$v=19$m=-1,t=2,p=1", "$argon2id$v=19$m=65536,t=2", ""}) {
    EXPECT_EQ(KindOf(CheckPasswordHash(head + salt)), ErrorKind::kInvalid) << head;
  }
  for (const std::string rest : {"", "$", "$c29tZXNhbHQ", "$c29tZXNhbHQ$", "$c29t$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
                                 "$c29tZXNhbHQ$CTFhFd XPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"}) {
    EXPECT_FALSE(CheckPasswordHash("$argon2id$v=19$m=65536,t=2,p=1" + rest).ok()) << rest;
  }
}

TEST(Password, TheStandInIsAHashThatNoPasswordHas) {
  EXPECT_TRUE(CheckPasswordHash(StandInHash()).ok());
  EXPECT_FALSE(VerifyPassword(StandInHash(), "correct horse").ValueOrDie());
  const std::string real = HashPassword("correct horse").ValueOrDie();
  EXPECT_EQ(StandInHash().substr(0, StandInHash().find('$', 20)), real.substr(0, real.find('$', 20))) << "as costly";
  EXPECT_EQ(StandInHash().size(), real.size());
}

}  // namespace
}  // namespace sheaf::access
