#include "store/manifest_extra.h"

#include <string>

#include <gtest/gtest.h>

#include "io/sim_testing.h"
#include "store/database.h"

namespace sheaf::store {
namespace {

constexpr const char* kSenseless[] = {
    "[]", "7", "{", R"({"sealed":[]})", R"({"sealed":{"1":"20"}})", R"({"sealed":{"one":20}})", R"({"dropped":{"1":-1}})",
    R"({"batch_ids":"ids-7"})", R"({"batch_ids":[7]})", R"({"batch_ids":["../ids-7"]})", R"({"batch_ids":["ids-"]})",
    R"({"unlogged":[{"number":1}]})", R"({"unlogged":{}})", R"({"retention_clock_ns":"1"})", R"({"definitions":-1})"};

TEST(ManifestExtra, IsTakenWithWhatTheFormatSaysAndAnythingMayBeMissing) {
  parts::ManifestState state;
  for (const char* text : {"", "{}", R"({"later":1})",
                           R"({"sealed":{"1":20},"dropped":{"2":3},"batch_ids":["ids-7"],"retention_clock_ns":-5,"definitions":2,
                               "unlogged":[{"number":2,"table":1,"dropped":0}]})"}) {
    state.extra_json = text;
    const auto extra = ReadExtra(state);
    EXPECT_TRUE(extra.ok()) << text << extra.status().ToString();
  }
}

TEST(ManifestExtra, WhatMakesNoSenseIsRefusedThoughTheManifestIsSound) {
  for (const char* text : kSenseless) {
    io::SimFileSystem disk;
    io::SimClock clock;
    Options options;
    options.directory = "/db";
    options.free_space_min_fraction = 0;
    ASSERT_TRUE((*Database::Open(&disk, &clock, options))->Close().ok());
    parts::ManifestState state = parts::LoadManifest(&disk, "/db").ValueOrDie().state;
    ++state.number;
    state.extra_json = text;
    ASSERT_TRUE(parts::CommitManifest(&disk, "/db", state).ok());
    EXPECT_EQ(KindOf(Database::Open(&disk, &clock, options).status()), ErrorKind::kCorruption) << text;
  }
}

}  // namespace
}  // namespace sheaf::store
