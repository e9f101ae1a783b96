/// A salvage while the disks fail, too: it answers the error, or names what it could not have, and the new database has the rest.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/dead_rows.h"
#include "io/sim_testing.h"
#include "store/contents_testing.h"
#include "store/database.h"
#include "store/fault_points_testing.h"
#include "store/golden_testing.h"
#include "store/salvage.h"
#include "store/snapshots.h"

namespace sheaf::store {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kDirectory[] = "/db", kNew[] = "/new";

/// All that salvage has to deal with, in one damaged database: parts that are whole, with dead rows and without; parts with a damaged
/// granule; one that was set aside; batch ids; in the log damage in the middle, rows, and a change of tables.
class SalvageFault : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    SalvageFault test;
    test.Write();
    image_ = new DiskImage(ImageOf(&test.disk_, kDirectory));
  }
  static void TearDownTestSuite() { delete image_; }
  void TestBody() override {}

  void Create(const std::string& name, bool keyed) {
    NewTable table;
    table.schema_name = "main";
    table.name = name;
    table.schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("v", arrow::int64())});
    if (keyed) table.primary_key = {"id"};
    ASSERT_TRUE(database_->CreateTable(table).ok());
  }
  TableId Id(const std::string& name) { return database_->FindTable("main", name).ValueOrDie()->id; }
  void Put(const std::vector<std::string>& tables, int64_t id, int64_t count, int64_t v, const std::string& batch_id = {}) {
    arrow::Int64Builder ids, values;
    for (int64_t i = 0; i < count; ++i) ASSERT_TRUE(ids.Append(id + i).ok() && values.Append(v).ok());
    const arrow::ArrayVector columns = {ids.Finish().ValueOrDie(), values.Finish().ValueOrDie()};
    std::vector<TableRows> rows;
    for (const std::string& table : tables) {
      const auto info = database_->FindTable("main", table).ValueOrDie();
      rows.push_back({info->id, arrow::RecordBatch::Make(info->schema, count, columns)});
    }
    ASSERT_TRUE(database_->Append(rows, batch_id).ok());
  }
  std::string Part(const std::string& table, size_t which) {
    std::vector<std::string> paths;
    for (const PartStatus& part : database_->Parts()) {
      if (part.table->name == table) paths.push_back("/db/parts/" + part.info.file_name);
    }
    return paths.at(which);
  }
  void Damage(const std::string& path, double place) {
    std::string bytes = disk_.Contents(path).ValueOrDie();
    bytes[static_cast<size_t>(static_cast<double>(bytes.size()) * place)] ^= 0x20;
    disk_.SetContents(path, bytes);
  }
  void Write() {
    Options options = GoldenOptions(kDirectory);
    options.log_segment_bytes = 64 << 10;
    database_ = Database::Open(&disk_, &clock_, options).ValueOrDie();
    for (const char* name : {"k", "whole", "aside"}) Create(name, /*keyed=*/true);
    for (const char* name : {"p", "gone"}) Create(name, /*keyed=*/false);
    Put({"k", "aside"}, 0, 4'200, 1, "first");  // Two granules.
    Put({"whole", "gone"}, 0, 10, 1);
    Put({"p"}, 0, 17'000, 1);
    ASSERT_TRUE(database_->Flush().ok());
    Put({"k", "whole", "aside"}, 5, 5, 2);  // Replaces some: delete vectors.
    ASSERT_TRUE(database_->Flush().ok());
    // Set aside, and whole again but for one granule.
    const std::string aside = Part("aside", 0);
    Damage(aside, 0.5);
    ASSERT_EQ(database_->Scrub().ValueOrDie().size(), 1u);
    Put({"aside"}, 0, 3, 3);
    ASSERT_TRUE(database_->Flush().ok());
    WriteTheLog();
    const std::string damaged[] = {Part("k", 0), Part("p", 0)}, gone = Part("gone", 0);
    ASSERT_FALSE(database_->Close().ok());
    database_.reset();
    disk_.SetFaultHook(nullptr);
    for (const std::string& path : damaged) Damage(path, 0.3);
    disk_.SetContents(gone, disk_.Contents(gone).ValueOrDie().substr(0, 8));
    DamageTheLog();
  }
  /// And lets nothing but the log be written from then on: closing seals nothing, as a kill.
  void WriteTheLog() {
    for (int64_t i = 0; i < 12; ++i) Put({"k", "p"}, 100'000 + i * 10, 10, 7);
    Create("late", /*keyed=*/true);
    Put({"late"}, 1, 3, 8);
    disk_.SetFaultHook([](const io::SimOperation& operation) {
      const bool log = operation.path.find("/log") != std::string::npos;
      return log || operation.kind == io::SimOp::kRead ? Status::OK() : MakeError(ErrorKind::kIo, "no more");
    });
  }
  void DamageTheLog() {
    std::vector<std::string> segments;
    const auto list = disk_.List("/db/log").ValueOrDie();
    for (const auto& file : list) {
      if (file.name.ends_with(".log")) segments.push_back(io::Join("/db/log", file.name));
    }
    std::string bytes = disk_.Contents(segments.back()).ValueOrDie();
    const size_t used = bytes.find_last_not_of('\0');
    bytes[used / 2 / 4096 * 4096 + 200] ^= 1;
    disk_.SetContents(segments.back(), bytes);
  }

  std::string ContentsOf(io::SimFileSystem* disk) {
    auto opened = Database::Open(disk, &clock_, GoldenOptions(kNew));
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    if (!opened.ok()) return "";
    const auto contents = ReadContents(disk, kNew, **opened);
    EXPECT_TRUE(contents.ok()) << contents.status().ToString();
    return contents.ok() ? contents->Text() : "";
  }

  /// Salvages with each fault in turn.
  void Try(ErrorKind error, const FaultPoints::Which& which) {
    const auto disk = DiskOf(*image_);
    std::vector<std::string> losses;
    std::string right;
    FaultPoints files;
    files.Each(error, which, [&] {
      ASSERT_TRUE(RemoveTree(disk.get(), kNew).ok());
      files.Begin(disk.get());
      std::vector<std::string> said;
      const auto report = Salvage(&files, &clock_, kDirectory, kNew, [&](const std::string& line) { said.push_back(line); });
      files.End();
      EXPECT_THAT(disk->violations(), IsEmpty());
      if (!report.ok()) {
        ASSERT_TRUE(files.failed()) << report.status().ToString();
        EXPECT_THAT(report.status().message(), HasSubstr("injected"));
        return;
      }
      for (const std::string& line : report->losses) EXPECT_THAT(said, testing::Contains(line));
      const std::string contents = ContentsOf(disk.get());
      if (!files.failed()) {
        right = contents;
        losses = report->losses;
        EXPECT_THAT(contents, HasSubstr("late:"));
      } else if (contents != right) {
        EXPECT_NE(error, ErrorKind::kIo) << "what cannot be read now may be there still";
        EXPECT_NE(report->losses, losses);
        EXPECT_GE(report->losses.size(), losses.size());
      }
    });
    EXPECT_THAT(losses, Not(IsEmpty()));
    DiskImage after = ImageOf(disk.get(), kDirectory);
    after.erase("/db/LOCK");
    DiskImage before = *image_;
    before.erase("/db/LOCK");
    EXPECT_EQ(after, before) << "the damaged database is only read";
  }

  static inline DiskImage* image_ = nullptr;
  io::SimFileSystem disk_;
  io::SimClock clock_;
  std::unique_ptr<Database> database_;
};

TEST_F(SalvageFault, AnErrorOfTheDiskIsAnsweredAndNotTakenForDamage) {
  Try(ErrorKind::kIo, [](const std::string& sort) {
    return sort.find("/new/log") == std::string::npos && sort.find(".tmp") == std::string::npos;
  });
}

TEST_F(SalvageFault, WhatIsNotThereIsNamed) {
  Try(ErrorKind::kNotFound, [](const std::string& sort) {
    return OnlyReads(sort) && sort.find("/db/") != std::string::npos && !sort.starts_with("list") && !sort.starts_with("stat");
  });
}

}  // namespace
}  // namespace sheaf::store
