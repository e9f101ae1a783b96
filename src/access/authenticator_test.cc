#include "access/authenticator.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "access/password.h"
#include "io/sim_testing.h"
#include "wire/base64.h"

namespace sheaf::access {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr const char* kPeer = "192.0.2.7:1234";

std::string Basic(const std::string& user, const std::string& password) {
  std::string header = "Basic ";
  wire::AppendBase64(user + ":" + password, &header);
  return header;
}

class AuthenticatorTest : public testing::Test {
 protected:
  void Change(const std::function<Status(UserTable*)>& change) { ASSERT_TRUE(ChangeUsers(&disk_, "/db", change).ok()); }
  void AddUser(const std::string& name, Role role, const std::string& password) {
    const std::string hash = HashPassword(password).ValueOrDie();
    Change([&](UserTable* table) {
      return table->Add({.name = name, .roles = {.everywhere = role, .in_schemas = {}}, .password = hash});
    });
  }
  std::string AddToken(const std::string& name, int64_t expires_ns) {
    const NewToken made = MakeToken("test", clock_.NowNs(), expires_ns).ValueOrDie();
    Change([&](UserTable* table) { return table->AddToken(name, made.token, clock_.NowNs()); });
    return made.text;
  }
  void Open(const AuthenticatorOptions& options = {}) {
    users_ = Authenticator::Open(&disk_, &clock_, "/db", options).ValueOrDie();
  }
  void LookLater() {
    clock_.Advance(kSecond);
    users_->Look();
  }
  ErrorKind Refused(const std::string& header, const char* peer = kPeer) {
    return KindOf(users_->Authenticate(header, peer).status());
  }

  io::SimFileSystem disk_;
  io::SimClock clock_;
  std::unique_ptr<Authenticator> users_;
};

TEST_F(AuthenticatorTest, WithoutUsersEverybodyMayDoEverything) {
  ASSERT_TRUE(disk_.MakeDirectories("/db").ok());
  Open();
  EXPECT_FALSE(users_->required());
  EXPECT_EQ(users_->Authenticate("", kPeer).ValueOrDie().roles.everywhere, Role::kAdmin);
}

TEST_F(AuthenticatorTest, PasswordsAndTokensSayWho) {
  AddUser("ada", Role::kWriter, "correct horse");
  const std::string token = AddToken("ada", 0);
  Open();
  EXPECT_TRUE(users_->required());
  for (const std::string& header : {Basic("ada", "correct horse"), "Bearer " + token}) {
    const Identity identity = users_->Authenticate(header, kPeer).ValueOrDie();
    EXPECT_EQ(identity.user, "ada");
    EXPECT_EQ(identity.roles.everywhere, Role::kWriter);
    EXPECT_EQ(identity.peer, kPeer);
  }
}

TEST_F(AuthenticatorTest, WrongCredentialsAreDeniedInTheSameWords) {
  AddUser("ada", Role::kWriter, "correct horse");
  Change(
      [](UserTable* table) { return table->Add({.name = "robot", .roles = {.everywhere = Role::kReader, .in_schemas = {}}}); });
  Open();
  const std::string words = users_->Authenticate(Basic("ada", "wrong horse"), kPeer).status().message();
  for (const std::string& header :
       {Basic("eve", "correct horse"), Basic("robot", ""), Basic("", ""), Basic("ada", ""), std::string("Bearer sheaf_00"),
        "Bearer sheaf_" + std::string(64, '0'), std::string("Digest x")}) {
    const auto refused = users_->Authenticate(header, "192.0.2.8:1");
    EXPECT_EQ(KindOf(refused.status()), ErrorKind::kDenied) << header;
    EXPECT_EQ(refused.status().message(), words) << header;
  }
  EXPECT_EQ(Refused(""), ErrorKind::kDenied);
}

TEST_F(AuthenticatorTest, TokensEndWhenTheyExpireOrAreRevoked) {
  AddUser("ada", Role::kReader, "correct horse");
  const std::string brief = "Bearer " + AddToken("ada", clock_.NowNs() + 10 * kSecond);
  const std::string lasting = "Bearer " + AddToken("ada", 0);
  Open();
  EXPECT_TRUE(users_->Authenticate(brief, kPeer).ok());
  clock_.Advance(10 * kSecond);
  EXPECT_EQ(Refused(brief), ErrorKind::kDenied);
  ASSERT_TRUE(users_->Authenticate(lasting, kPeer).ok());
  Change([](UserTable* table) { return table->RemoveToken("ada", table->Find("ada")->tokens.back().id); });
  LookLater();
  EXPECT_EQ(Refused(lasting), ErrorKind::kDenied);
}

TEST_F(AuthenticatorTest, ASessionStandsInForThePasswordUntilTheUserChanges) {
  AddUser("ada", Role::kReader, "correct horse");
  Open();
  const Identity ada = users_->Authenticate(Basic("ada", "correct horse"), kPeer).ValueOrDie();
  EXPECT_TRUE(ada.by_password);
  const std::string session = "Bearer " + users_->BeginSession(ada).ValueOrDie();
  const auto again = users_->TryAuthenticate(session, kPeer);
  ASSERT_TRUE(again.has_value() && again->ok());
  EXPECT_EQ((*again)->user, "ada");
  EXPECT_FALSE((*again)->by_password) << "else sessions could be made of sessions, and never end";
  Change([](UserTable* table) { return table->SetRoles("ada", {.everywhere = Role::kWriter, .in_schemas = {}}); });
  LookLater();
  EXPECT_EQ(users_->Authenticate(session, kPeer).ValueOrDie().roles.everywhere, Role::kWriter);
  Change([](UserTable* table) { return table->SetPassword("ada", HashPassword("battery staple").ValueOrDie()); });
  LookLater();
  EXPECT_EQ(Refused(session), ErrorKind::kDenied);
  const std::string newer =
      "Bearer " + users_->BeginSession(users_->Authenticate(Basic("ada", "battery staple"), kPeer).ValueOrDie()).ValueOrDie();
  ASSERT_TRUE(users_->Authenticate(newer, kPeer).ok());
  Change([](UserTable* table) { return table->Remove("ada"); });
  LookLater();
  EXPECT_EQ(Refused(newer), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(users_->BeginSession(ada).status()), ErrorKind::kNotFound);
}

TEST_F(AuthenticatorTest, OldTokensShutNobodyOut) {
  AddUser("ada", Role::kReader, "correct horse");
  const std::string brief = "Bearer " + AddToken("ada", clock_.NowNs() + 1);
  Open();
  clock_.Advance(1);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Refused(brief), ErrorKind::kDenied);
  EXPECT_TRUE(users_->Authenticate(Basic("ada", "correct horse"), kPeer).ok());
}

TEST_F(AuthenticatorTest, ARightPasswordIsHashedOnceAWhile) {
  AddUser("ada", Role::kReader, "correct horse");
  Open();
  const std::string header = Basic("ada", "correct horse");
  EXPECT_FALSE(users_->TryAuthenticate(header, kPeer).has_value()) << "not known yet";
  ASSERT_TRUE(users_->Authenticate(header, kPeer).ok());
  const auto at_once = users_->TryAuthenticate(header, kPeer);
  ASSERT_TRUE(at_once.has_value());
  EXPECT_TRUE(at_once->ok());
  EXPECT_FALSE(users_->TryAuthenticate(Basic("ada", "correct horsf"), kPeer).has_value());
  clock_.Advance(301 * kSecond);
  EXPECT_FALSE(users_->TryAuthenticate(header, kPeer).has_value());
}

TEST_F(AuthenticatorTest, ChangesWhileItRunsCount) {
  ASSERT_TRUE(disk_.MakeDirectories("/db").ok());
  Open();
  AddUser("ada", Role::kReader, "correct horse");
  LookLater();
  EXPECT_TRUE(users_->required());
  EXPECT_EQ(Refused(""), ErrorKind::kDenied);
  const std::string header = Basic("ada", "correct horse");
  EXPECT_EQ(users_->Authenticate(header, kPeer).ValueOrDie().roles.everywhere, Role::kReader);
  Change([](UserTable* table) { return table->SetRoles("ada", {.everywhere = Role::kAdmin, .in_schemas = {}}); });
  LookLater();
  EXPECT_EQ(users_->Authenticate(header, kPeer).ValueOrDie().roles.everywhere, Role::kAdmin);
  const std::string hash = HashPassword("battery staple").ValueOrDie();
  Change([&](UserTable* table) { return table->SetPassword("ada", hash); });
  LookLater();
  EXPECT_EQ(Refused(header), ErrorKind::kDenied) << "although it was right a moment ago";
  Change([](UserTable* table) { return table->Remove("ada"); });
  LookLater();
  EXPECT_TRUE(users_->required()) << "the last user's end opens nothing";
  EXPECT_EQ(Refused(Basic("ada", "battery staple")), ErrorKind::kDenied);
}

TEST_F(AuthenticatorTest, ADamagedOrMissingFileOpensNothing) {
  AddUser("ada", Role::kReader, "correct horse");
  Open();
  const std::string header = Basic("ada", "correct horse");
  disk_.SetContents("/db/USERS", "sheaf users 1 00000000\n{}");
  LookLater();
  EXPECT_TRUE(users_->Authenticate(header, kPeer).ok());
  EXPECT_EQ(Refused(""), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(Authenticator::Open(&disk_, &clock_, "/db").status()), ErrorKind::kCorruption);
  ASSERT_TRUE(disk_.Remove("/db/USERS").ok());
  LookLater();
  EXPECT_TRUE(users_->Authenticate(header, kPeer).ok());
  EXPECT_EQ(Refused(""), ErrorKind::kDenied);
}

TEST_F(AuthenticatorTest, FailuresOfAnAddressAndOfAUserAreLimited) {
  AddUser("ada", Role::kReader, "correct horse");
  const std::string token = "Bearer " + AddToken("ada", 0);
  Open({.failures_per_user = 5, .failures_per_address = 3});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Refused(Basic("eve", "nonsense")), ErrorKind::kDenied);
  EXPECT_EQ(Refused(Basic("ada", "correct horse"), "192.0.2.7:9999"), ErrorKind::kThrottled) << "another port, the same address";
  EXPECT_TRUE(users_->Authenticate(token, kPeer).ok()) << "whoever has a token is not locked out";
  EXPECT_TRUE(users_->Authenticate(Basic("ada", "correct horse"), "192.0.2.9:1").ok()) << "nor is another address";
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(Refused(Basic("ada", "wrong"), ("192.0.3." + std::to_string(i) + ":1").c_str()), ErrorKind::kDenied);
  }
  EXPECT_EQ(Refused(Basic("ada", "wrong"), "192.0.4.1:1"), ErrorKind::kThrottled);
  EXPECT_TRUE(users_->Authenticate(Basic("ada", "correct horse"), "192.0.2.9:1").ok()) << "remembered";
  clock_.Advance(61 * kSecond);
  EXPECT_EQ(Refused(Basic("ada", "wrong")), ErrorKind::kDenied);
}

TEST_F(AuthenticatorTest, ManyAtOnceWaitOrAreRefusedAndNoneIsMixedUp) {
  AddUser("ada", Role::kReader, "correct horse");
  AddUser("bob", Role::kWriter, "battery staple");
  Open({.hashes_max = 1, .waiting_max = 2, .failures_per_user = 1000, .failures_per_address = 1000});
  std::atomic<int> wrong{0}, right{0}, later{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 12; ++i) {
    threads.emplace_back([&, i] {
      const bool ada = i % 2 == 0;
      const bool lies = i % 3 == 0;
      const auto found = users_->Authenticate(Basic(ada ? "ada" : "bob", lies  ? "a lie"
                                                                         : ada ? "correct horse"
                                                                               : "battery staple"),
                                              kPeer);
      if (found.ok())
        ++(lies || found->user != (ada ? "ada" : "bob") ? wrong : right);
      else if (KindOf(found.status()) == ErrorKind::kThrottled)
        ++later;
      else if (!lies)
        ++wrong;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(right + later, 0);
}

}  // namespace
}  // namespace sheaf::access
