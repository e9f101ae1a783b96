#include "serve/certificate_watch.h"

#include <span>
#include <string>

#include <gtest/gtest.h>

#include "io/sim_testing.h"

namespace sheaf::serve {
namespace {

class CertificateWatchTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(disk_.MakeDirectories("/tls").ok()); }
  void Write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(io::WriteFileAtomically(&disk_, path, std::as_bytes(std::span(text))).ok());
  }
  void LookLater(CertificateWatch* watch) {
    clock_.Advance(3'000'000'000);
    watch->Look();
  }

  io::SimFileSystem disk_;
  io::SimClock clock_;
  int reloads_ = 0;
  Status outcome_;
};

TEST_F(CertificateWatchTest, ReloadsWhenAFileChangesAndOnlyThen) {
  Write("/tls/cert.pem", "one");
  Write("/tls/key.pem", "key one");
  CertificateWatch watch(&disk_, &clock_, {"/tls/cert.pem", "/tls/key.pem", ""}, [this] { return ++reloads_, outcome_; });
  LookLater(&watch);
  EXPECT_EQ(reloads_, 0);
  Write("/tls/cert.pem", "two");
  watch.Look();
  EXPECT_EQ(reloads_, 0) << "not at every call";
  LookLater(&watch);
  LookLater(&watch);
  EXPECT_EQ(reloads_, 1);
}

TEST_F(CertificateWatchTest, WhatCannotBeLoadedIsTriedAgainOnceItChanges) {
  Write("/tls/cert.pem", "one");
  Write("/tls/key.pem", "key one");
  CertificateWatch watch(&disk_, &clock_, {"/tls/cert.pem", "/tls/key.pem"}, [this] { return ++reloads_, outcome_; });
  outcome_ = MakeError(ErrorKind::kInvalid, "the key does not belong to the certificate");
  Write("/tls/cert.pem", "two");
  LookLater(&watch);
  LookLater(&watch);
  EXPECT_EQ(reloads_, 1);
  outcome_ = Status::OK();
  Write("/tls/key.pem", "key two");
  LookLater(&watch);
  LookLater(&watch);
  EXPECT_EQ(reloads_, 2);
}

TEST_F(CertificateWatchTest, AFileThatIsGoneForAWhileIsLoadedWhenItIsBack) {
  Write("/tls/cert.pem", "one");
  CertificateWatch watch(&disk_, &clock_, {"/tls/cert.pem"}, [this] { return ++reloads_, outcome_; });
  ASSERT_TRUE(disk_.Remove("/tls/cert.pem").ok());
  LookLater(&watch);
  EXPECT_EQ(reloads_, 0);
  Write("/tls/cert.pem", "two");
  LookLater(&watch);
  EXPECT_EQ(reloads_, 1);
}

}  // namespace
}  // namespace sheaf::serve
