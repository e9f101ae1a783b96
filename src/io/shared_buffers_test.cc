#include "io/shared_buffers.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/folder_testing.h"
#include "io/posix.h"

namespace sheaf::io {
namespace {

using testing::HasSubstr;

class SharedBuffersTest : public testing::Test {
 protected:
  std::shared_ptr<SharedBuffers> Open(int64_t bytes_max = 0) {
    auto opened = SharedBuffers::Open({.folder = folder_.path() + "/shared", .bytes_max = bytes_max});
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    return opened.ok() ? *opened : nullptr;
  }

  static Result<std::shared_ptr<arrow::Buffer>> Publish(SharedBuffers* buffers, const std::string& name, const std::string& text,
                                                        NameTaken taken = NameTaken::kRefuse) {
    SHEAF_ASSIGN_OR_RETURN(auto fresh, buffers->Create());
    SHEAF_RETURN_NOT_OK(fresh->stream()->Write(text.data(), static_cast<int64_t>(text.size())));
    return buffers->Publish(std::move(fresh), name, taken);
  }

  std::vector<std::string> Files() {
    std::vector<std::string> names;
    for (const FileInfo& file : PosixFileSystem()->List(folder_.path() + "/shared").ValueOrDie()) {
      if (file.name != ".lock") names.push_back(file.name);
    }
    return names;
  }

  const TemporaryFolder folder_;
};

/// Another process, which does `work` and then waits until it is told to end, or is killed.
class Child {
 public:
  explicit Child(const std::function<bool()>& work) {
    std::array<int, 2> to{}, from{};
    EXPECT_EQ(::pipe2(to.data(), O_CLOEXEC) + ::pipe2(from.data(), O_CLOEXEC), 0);
    process_ = ::fork();
    if (process_ == 0) {
      ::close(to[1]);
      const char did = work() ? 'y' : 'n';
      char end = 0;
      (void)!::write(from[1], &did, 1);
      (void)!::read(to[0], &end, 1);
      ::_exit(0);
    }
    ::close(to[0]);
    ::close(from[1]);
    end_ = to[1];
    char did = 0;
    EXPECT_EQ(::read(from[0], &did, 1), 1);
    ::close(from[0]);
    worked_ = did == 'y';
  }
  ~Child() {
    if (process_ > 0) Kill();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool worked() const { return worked_; }
  void Kill() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    ::close(end_);
    process_ = 0;
  }

 private:
  pid_t process_ = 0;
  int end_ = -1;
  bool worked_ = false;
};

TEST_F(SharedBuffersTest, ABufferIsSeenUnderItsNameAndGoesWithItsLastHolder) {
  const auto buffers = Open();
  auto mine = Publish(buffers.get(), "prices", "some bytes").ValueOrDie();
  EXPECT_EQ(mine->ToString(), "some bytes");
  auto again = buffers->Get("prices").ValueOrDie();
  EXPECT_EQ(again->data(), mine->data()) << "views of one process are one";
  EXPECT_EQ(buffers->List().ValueOrDie().at(0).holders, 1);

  const auto others = Open();
  auto theirs = others->Get("prices").ValueOrDie();
  EXPECT_TRUE(theirs->Equals(*mine));
  EXPECT_EQ(buffers->List().ValueOrDie().at(0).holders, 2);
  mine.reset();
  again.reset();
  EXPECT_EQ(buffers->List().ValueOrDie().at(0).holders, 1);
  theirs.reset();
  EXPECT_TRUE(Files().empty());
  EXPECT_EQ(KindOf(buffers->Get("prices").status()), ErrorKind::kNotFound);
}

TEST_F(SharedBuffersTest, ANameIsTakenOrReplacedAsAskedFor) {
  const auto buffers = Open();
  const auto old = Publish(buffers.get(), "a", "old").ValueOrDie();
  EXPECT_EQ(KindOf(Publish(buffers.get(), "a", "new").status()), ErrorKind::kAlreadyExists);
  const auto fresh = Publish(buffers.get(), "a", "new", NameTaken::kReplace).ValueOrDie();
  EXPECT_EQ(old->ToString(), "old") << "holders keep what they hold";
  EXPECT_EQ(buffers->Get("a").ValueOrDie()->data(), fresh->data());
  ASSERT_TRUE(buffers->Remove("a").ok());
  EXPECT_EQ(fresh->ToString(), "new");
  EXPECT_EQ(KindOf(buffers->Remove("a")), ErrorKind::kNotFound);
  EXPECT_TRUE(Files().empty());
}

TEST_F(SharedBuffersTest, TheEndOfAReplacedBufferLeavesTheNewOneAlone) {
  const auto buffers = Open();
  auto old = Publish(buffers.get(), "a", "old").ValueOrDie();
  const auto fresh = Publish(buffers.get(), "a", "new", NameTaken::kReplace).ValueOrDie();
  old.reset();
  EXPECT_EQ(Open()->Get("a").ValueOrDie()->ToString(), "new");
}

TEST_F(SharedBuffersTest, ProcessesHoldItAndThoseThatAreKilledDoNot) {
  const auto buffers = Open();
  auto mine = Publish(buffers.get(), "a", "text").ValueOrDie();
  std::shared_ptr<arrow::Buffer> held;
  Child reader([&] {
    const auto view = SharedBuffers::Open({.folder = buffers->folder()}).ValueOrDie()->Get("a");
    if (view.ok()) held = *view;
    return view.ok() && held->ToString() == "text";
  });
  EXPECT_TRUE(reader.worked());
  EXPECT_EQ(buffers->List().ValueOrDie().at(0).holders, 2);
  mine.reset();
  EXPECT_EQ(Files().size(), 1u) << "the child has it";
  reader.Kill();
  EXPECT_EQ(buffers->List().ValueOrDie().at(0).holders, 0);
  EXPECT_EQ(buffers->RemoveUnused().ValueOrDie(), 1);
  EXPECT_TRUE(Files().empty());
}

TEST_F(SharedBuffersTest, WhatAKilledProcessLeftDoesNotKeepItsName) {
  const auto buffers = Open();
  std::shared_ptr<arrow::Buffer> published, next;
  Child writer([&] {
    const auto all = SharedBuffers::Open({.folder = buffers->folder()}).ValueOrDie();
    published = Publish(all.get(), "a", "theirs").ValueOr(nullptr);
    next = Publish(all.get(), "b", "theirs").ValueOr(nullptr);
    return published != nullptr && next != nullptr;
  });
  ASSERT_TRUE(writer.worked());
  EXPECT_EQ(KindOf(Publish(buffers.get(), "a", "ours").status()), ErrorKind::kAlreadyExists);
  writer.Kill();
  const auto ours = Publish(buffers.get(), "a", "ours").ValueOrDie();
  EXPECT_EQ(Files().size(), 2u);
  const auto opened = Open();  // Cleans up.
  EXPECT_EQ(Files(), std::vector<std::string>{"a"});
  EXPECT_EQ(ours->ToString(), "ours");
}

TEST_F(SharedBuffersTest, AForkedProcessThatEndsTakesNothingFromItsParent) {
  const auto buffers = Open();
  auto mine = Publish(buffers.get(), "a", "text").ValueOrDie();
  Child child([&] {
    mine.reset();  // The child's copy of the view, with the parent's descriptor.
    return true;
  });
  EXPECT_EQ(Files().size(), 1u);
  EXPECT_EQ(Open()->Get("a").ValueOrDie()->ToString(), "text");
}

TEST_F(SharedBuffersTest, LimitsAreKept) {
  const auto buffers = Open(/*bytes_max=*/100);
  const auto first = Publish(buffers.get(), "a", std::string(60, 'a')).ValueOrDie();
  const Status more = Publish(buffers.get(), "b", std::string(41, 'b')).status();
  EXPECT_EQ(KindOf(more), ErrorKind::kTooLarge) << more.ToString();
  EXPECT_TRUE(Publish(buffers.get(), "b", std::string(40, 'b')).ok());
  // Two that are written at once do not both fit.
  auto one = buffers->Create().ValueOrDie(), two = buffers->Create().ValueOrDie();
  ASSERT_TRUE(one->stream()->Write(std::string(40, 'c').data(), 40).ok());
  ASSERT_TRUE(two->stream()->Write(std::string(40, 'd').data(), 40).ok());
  const auto held = buffers->Publish(std::move(one), "c", NameTaken::kRefuse).ValueOrDie();
  EXPECT_EQ(KindOf(buffers->Publish(std::move(two), "d", NameTaken::kRefuse).status()), ErrorKind::kTooLarge);
  EXPECT_EQ(Files(), (std::vector<std::string>{"a", "c"}));
}

TEST_F(SharedBuffersTest, ViewsOfOneBufferAreCountedToALimit) {
  const auto buffers = Open();
  const auto mine = Publish(buffers.get(), "a", "text").ValueOrDie();
  const int64_t descriptors = RaiseDescriptorLimit();
  std::vector<std::shared_ptr<arrow::Buffer>> views;
  Status refused;
  while (refused.ok() && static_cast<int64_t>(views.size()) < std::min<int64_t>(descriptors - 100, SharedBuffers::kHoldersMax)) {
    const auto view = Open()->Get("a");
    refused = view.status();
    if (view.ok()) views.push_back(*view);
  }
  EXPECT_EQ(static_cast<int64_t>(views.size()), std::min<int64_t>(descriptors - 100, SharedBuffers::kHoldersMax - 1));
  EXPECT_TRUE(refused.ok() || KindOf(refused) == ErrorKind::kThrottled) << refused.ToString();
  views.erase(views.begin(), views.begin() + 10);
  EXPECT_TRUE(Open()->Get("a").ok()) << "places that were left are taken again";
}

TEST_F(SharedBuffersTest, RefusesNamesFoldersAndEmptyBuffers) {
  const auto buffers = Open();
  for (const std::string name : {"", ".lock", "a/b", "..", "ä", "a b"}) {
    EXPECT_EQ(KindOf(buffers->Get(name).status()), ErrorKind::kInvalid) << name;
    EXPECT_EQ(KindOf(Publish(buffers.get(), name, "x").status()), ErrorKind::kInvalid) << name;
  }
  EXPECT_EQ(KindOf(buffers->Get(std::string(201, 'a')).status()), ErrorKind::kInvalid);
  EXPECT_THAT(Publish(buffers.get(), "a", "").status().message(), HasSubstr("nothing was written"));
  const std::string open = folder_.path() + "/open";
  ASSERT_EQ(::mkdir(open.c_str(), 0755), 0);
  EXPECT_EQ(KindOf(SharedBuffers::Open({.folder = open}).status()), ErrorKind::kDenied);
  const std::string link = folder_.path() + "/link";
  ASSERT_EQ(::symlink(buffers->folder().c_str(), link.c_str()), 0);
  EXPECT_FALSE(SharedBuffers::Open({.folder = link}).ok());
  EXPECT_FALSE(SharedBuffers::Open({.folder = folder_.path() + "/no/parent"}).ok());
}

TEST_F(SharedBuffersTest, ManyThreadsPublishReplaceAndReadAtOnce) {
  const auto buffers = Open();
  const auto first = Publish(buffers.get(), "a", std::string(1000, '0')).ValueOrDie();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 100; ++round) {
        if (i % 2 == 0) {
          const auto mine = Publish(buffers.get(), "a", std::string(1000, static_cast<char>('0' + round % 10)), NameTaken::kReplace);
          EXPECT_TRUE(mine.ok()) << mine.status().ToString();
        } else if (const auto view = buffers->Get("a"); view.ok()) {
          EXPECT_EQ((*view)->ToString(), std::string(1000, static_cast<char>((*view)->data()[0])));
        } else {
          EXPECT_EQ(KindOf(view.status()), ErrorKind::kNotFound);  // A replacement's only holder had gone.
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(buffers->RemoveUnused().ValueOrDie(), 0) << "nothing was left behind";
  EXPECT_TRUE(Files().empty());
}

}  // namespace
}  // namespace sheaf::io
