/// H2, the crash enumerator: a story is run once on a disk that keeps a journal; then the database is opened on each disk that a
/// loss of power may have left at each moment of the run, and must be as it was after one of the story's steps: not before the
/// last one that had been acknowledged, not after the last one that had begun. A part of the images is crashed again while
/// they are being opened.
///
/// SHEAF_CRASH_IMAGES=<n>: how many different images each of the six stories opens (default 60; the reliability stage of ./dev test
/// runs an optimised build with 1,700: 10,000 in all).
/// SHEAF_CRASH_IMAGES_SEED=<n>: of what is written and sampled. Threads are real, so a run is not the same twice: an image that
/// fails is written to a folder, which `sheaf verify` and `sheaf sql --data` open.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <unistd.h>
#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/key_codec.h"
#include "core/environment_testing.h"
#include "io/crash_images_testing.h"
#include "io/posix.h"
#include "io/sim_testing.h"
#include "store/contents_testing.h"
#include "store/database.h"
#include "store/order_monitor_testing.h"
#include "store/snapshots.h"

namespace sheaf::store {
namespace {

constexpr uint64_t kNever = UINT64_MAX;
constexpr int kCrashAgainOneIn = 40, kGoOnOneIn = 20;

Options StoryOptions() {
  Options options;
  options.directory = "/db";
  options.log_segment_bytes = 64 << 10;
  options.free_space_min_fraction = 0;
  options.compaction_cpu_share = 1;
  options.snapshot_interval_ms = 0;
  return options;
}

/// One step: what the database holds after it, and when in the journal it began and was promised.
struct Step {
  std::string text, what;
  std::string batch_id = {};  // A retry must add nothing from here on.
  uint64_t began = 0;
  std::atomic<uint64_t> done{kNever};  // kNever: nothing was promised.
};

/// A run that is recorded: keeps what the database should hold, step by step.
class Story {
 public:
  Story(io::SimFileSystem* disk, io::SimClock* clock, uint64_t seed) : disk_(disk), clock_(clock), random_(seed) {
    AddStep("the beginning").done = 0;
  }

  Database& database() { return *database_; }
  std::mt19937_64& random() { return random_; }
  const std::deque<Step>& steps() const { return steps_; }

  void Open(const Options& options) {
    auto opened = Database::Open(disk_, clock_, options);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    database_ = *std::move(opened);
  }
  void Close() {
    Settle();
    ASSERT_TRUE(database_->Close().ok());
    database_.reset();
  }
  /// Waits for all appends whose outcome is open.
  void Settle() {
    for (auto& outcome : open_) EXPECT_TRUE(outcome.get().ok());
    open_.clear();
  }

  void CreateTable(const std::string& name, bool keyed) {
    NewTable table;
    table.schema_name = "main";
    table.name = name;
    table.schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("v", arrow::utf8())});
    if (keyed) table.primary_key = {"id"};
    now_.tables[name].columns = "id v ";
    Do("create " + name, [&] { return database_->CreateTable(table).status(); });
  }
  void Drop(const std::string& name) {
    now_.tables.erase(name);
    keyed_rows_.erase(name);
    Do("drop " + name, [&] { return database_->DropTable(Find(name)->id); });
  }
  void Alter(const std::string& name, const AlterTable& change, const std::function<void(Contents::Table*)>& expect) {
    expect(&now_.tables.at(name));
    Do("alter " + name, [&] { return database_->Alter(Find(name)->id, change).status(); });
  }
  void RenameTable(const std::string& name, const std::string& to) {
    now_.tables[to] = now_.tables.at(name);
    now_.tables.erase(name);
    Do("rename " + name, [&] {
      return database_->Alter(Find(name)->id, {.kind = AlterTable::Kind::kRenameTable, .new_name = to}).status();
    });
  }
  void Flush() {
    Do("flush", [&] { return database_->Flush(); });
  }
  void MakeCold() {
    Do("make cold", [&] { return database_->MakeCold(); });
  }
  void TakeSnapshot(const std::string& id) {
    now_.snapshots.insert(id);
    Do("snapshot " + id, [&] { return database_->CreateSnapshot(id).status(); });
  }
  void DropSnapshot(const std::string& id) {
    now_.snapshots.erase(id);
    Do("drop snapshot " + id, [&] { return database_->DropSnapshot(id); });
  }

  /// Appends rows with new values to each table as one entry; in keyed ones under keys below `keys`.
  void Append(const std::vector<std::string>& names, int64_t rows, int64_t keys = 12, const WriteOptions& options = {}) {
    std::vector<TableRows> given;
    for (const std::string& name : names) given.push_back({Find(name)->id, MakeRows(name, rows, keys)});
    Send("append", given, options);
  }
  void Delete(const std::string& name, const std::set<int64_t>& ids) {
    arrow::Int64Builder builder;
    for (const int64_t id : ids) {
      EXPECT_TRUE(builder.Append(id).ok());
      Forget(name, id);
    }
    const auto info = Find(name);
    const auto rows = static_cast<int64_t>(ids.size());
    const auto batch = arrow::RecordBatch::Make(info->keys->key_schema(), rows, {builder.Finish().ValueOrDie()});
    Send("delete", {{info->id, batch, RowOp::kDelete}}, {});
  }

 private:
  Step& AddStep(const std::string& what) {
    Step& step = steps_.emplace_back();
    step.what = what;
    step.text = now_.Text();
    step.began = disk_->journal_size();
    return step;
  }

  /// A step that is waited for.
  void Do(const std::string& what, const std::function<Status()>& run) {
    Settle();
    Step& step = AddStep(what);
    const Status done = run();
    ASSERT_TRUE(done.ok()) << what << ": " << done.ToString();
    step.done = disk_->journal_size();
  }

  /// An append; several of them may be open at a time.
  void Send(const std::string& what, const std::vector<TableRows>& rows, const WriteOptions& options) {
    Step& step = AddStep(what);
    step.batch_id = options.batch_id;
    const bool durable = options.durability != Durability::kBuffered;
    auto promise = std::make_shared<std::promise<Status>>();
    open_.push_back(promise->get_future());
    const Status given = database_->AppendAsync(rows, options, [this, &step, promise, durable](const Result<Lsn>& lsn) {
      if (lsn.ok() && durable) step.done = disk_->journal_size();
      promise->set_value(lsn.status());
    });
    ASSERT_TRUE(given.ok()) << given.ToString();
    if (random_() % 2 == 0) Settle();
  }

  std::shared_ptr<arrow::RecordBatch> MakeRows(const std::string& name, int64_t rows, int64_t keys) {
    const auto info = Find(name);
    const bool keyed = info->keys != nullptr;
    std::set<int64_t> ids;
    while (static_cast<int64_t>(ids.size()) < rows) {
      ids.insert(keyed ? static_cast<int64_t>(random_() % static_cast<uint64_t>(keys)) : ++value_);
    }
    std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders;
    for (const auto& field : info->schema->fields()) builders.push_back(arrow::MakeBuilder(field->type()).ValueOrDie());
    for (const int64_t id : ids) {
      std::string line;
      for (auto& builder : builders) {
        const bool is_id = builder == builders.front();
        const std::string text = is_id ? std::to_string(id) : std::to_string(++value_);
        const auto value = arrow::Scalar::Parse(builder->type(), text).ValueOrDie();
        EXPECT_TRUE(builder->AppendScalar(*value).ok());
        line += value->ToString() + " ";
      }
      if (keyed) Forget(name, id);
      if (keyed) keyed_rows_[name][id] = line;
      now_.tables.at(name).rows.insert(line);
    }
    arrow::ArrayVector columns;
    for (const auto& builder : builders) columns.push_back(builder->Finish().ValueOrDie());
    return arrow::RecordBatch::Make(info->schema, rows, columns);
  }

  void Forget(const std::string& name, int64_t id) {
    const auto there = keyed_rows_[name].find(id);
    if (there == keyed_rows_[name].end()) return;
    auto& rows = now_.tables.at(name).rows;
    rows.erase(rows.find(there->second));
    keyed_rows_[name].erase(there);
  }

  std::shared_ptr<const TableInfo> Find(const std::string& name) { return database_->FindTable("main", name).ValueOrDie(); }

  io::SimFileSystem* const disk_;
  io::SimClock* const clock_;
  std::mt19937_64 random_;
  std::unique_ptr<Database> database_;
  Contents now_;
  std::map<std::string, std::map<int64_t, std::string>> keyed_rows_;
  int64_t value_ = 1000;
  std::deque<Step> steps_;  // Stay where they are.
  std::vector<std::future<Status>> open_;
};

void TellIngest(Story* story) {
  story->CreateTable("a", false);
  story->CreateTable("k", true);
  for (int i = 0; i < 40; ++i) {
    WriteOptions options;
    if (i % 3 == 0) options.batch_id = "batch-" + std::to_string(i);
    if (i % 5 == 4) options.durability = Durability::kBuffered;
    story->Append({"a", "k"}, 1 + static_cast<int64_t>(story->random()() % 8), 100, options);
  }
  for (int i = 0; i < 4; ++i) story->Append({"a"}, 400);  // The log comes to its next segments.
}

void TellSeals(Story* story) {
  story->CreateTable("a", false);
  story->CreateTable("k", true);
  for (int i = 0; i < 8; ++i) {
    story->Append({"a", "k"}, 3, 12, {.batch_id = "batch-" + std::to_string(i)});
    story->Append({"k"}, 2);
    story->Flush();
    if (i % 3 == 2) story->MakeCold();
    if (i == 5) {
      story->Close();
      story->Open(StoryOptions());
    }
  }
}

void TellMerges(Story* story) {
  story->CreateTable("k", true);
  for (int i = 0; i < 14; ++i) {
    story->Append({"k"}, 4);
    if (i % 2 == 0) story->Delete("k", {static_cast<int64_t>(story->random()() % 12), static_cast<int64_t>(story->random()() % 12)});
    story->Flush();
  }
  story->MakeCold();
}

void TellDefinitions(Story* story) {
  using Kind = AlterTable::Kind;
  const auto with = [](const std::string& more) {
    return [more](Contents::Table* table) {
      std::multiset<std::string> rows;
      for (const std::string& row : table->rows) rows.insert(row + more);
      table->rows = rows;
    };
  };
  for (const std::string& name : {"a", "b"}) {
    story->CreateTable(name, name == "b");
    story->Append({name}, 3);
    story->Alter(name, {.kind = Kind::kAddColumn, .field = arrow::field("c", arrow::int32()), .default_value = arrow::MakeScalar(7)},
                 [&](Contents::Table* table) {
                   with("7 ")(table);
                   table->columns += "c ";
                 });
    if (name == "a") story->Append({name}, 2);
    story->Alter(name, {.kind = Kind::kRenameColumn, .column = "c", .new_name = "d"},
                 [](Contents::Table* table) { table->columns = "id v d "; });
    story->Alter(name, {.kind = Kind::kWidenColumn, .column = "d", .field = arrow::field("", arrow::int64())}, [](Contents::Table*) {});
    story->Flush();
  }
  story->RenameTable("a", "z");
  story->Append({"z"}, 2);
}

void TellSnapshots(Story* story) {
  story->CreateTable("a", false);
  story->CreateTable("k", true);
  for (int i = 0; i < 4; ++i) {
    story->Append({"a", "k"}, 3);
    story->TakeSnapshot("s" + std::to_string(i));
    story->Append({"k"}, 2);
    if (i >= 2) story->DropSnapshot("s" + std::to_string(i - 2));
  }
}

void TellDrops(Story* story) {
  for (int i = 0; i < 4; ++i) {
    const std::string name = i % 2 == 0 ? "a" : "k";
    story->CreateTable(name, i % 2 == 1);
    story->Append({name}, 3);
    if (i > 0) story->Flush();
    story->Append({name}, 2);
    if (i == 3) story->MakeCold();
    story->Drop(name);
  }
}

/// Writes a disk to a real folder.
void Keep(io::SimFileSystem* disk, const std::string& from, const std::string& to) {
  ASSERT_TRUE(io::PosixFileSystem()->MakeDirectories(to).ok());
  for (const io::FileInfo& file : disk->List(from).ValueOrDie()) {
    const std::string inside = io::Join(from, file.name), target = io::Join(to, file.name);
    if (file.is_directory) {
      Keep(disk, inside, target);
    } else {
      const std::string bytes = disk->Contents(inside).ValueOrDie();
      ASSERT_TRUE(io::WriteFileAtomically(io::PosixFileSystem(), target, std::as_bytes(std::span(bytes))).ok());
    }
  }
}

struct StoryCase {
  const char* name;
  void (*tell)(Story*);
  friend void PrintTo(const StoryCase& row, std::ostream* out) { *out << row.name; }
};

class CrashImagesOf : public testing::TestWithParam<StoryCase> {
 protected:
  /// Runs the story on a disk of its own, watched for its order of operations.
  void Record(uint64_t seed) {
    disk_ = std::make_unique<io::SimFileSystem>(seed);
    disk_->KeepJournal();
    OrderMonitor monitor(disk_.get(), "/db");
    story_ = std::make_unique<Story>(disk_.get(), &clock_, seed);
    story_->Open(StoryOptions());
    GetParam().tell(story_.get());
    story_->Close();
    EXPECT_THAT(monitor.violations(), testing::IsEmpty());
    EXPECT_THAT(disk_->violations(), testing::IsEmpty());
    EXPECT_GT(monitor.switches(), 2);
  }

  /// The steps that an image of the moment may show.
  std::pair<size_t, size_t> Allowed(uint64_t point) const {
    size_t first = 0, last = 0;
    for (size_t i = 0; i < story_->steps().size(); ++i) {
      if (story_->steps()[i].done <= point) first = i;
      if (story_->steps()[i].began <= point) last = i;
    }
    return {first, std::max(first, last)};
  }

  /// Which of the allowed steps the text is that of; kNever: none.
  uint64_t Find(const std::string& text, uint64_t point) const {
    const auto [first, last] = Allowed(point);
    for (size_t i = last + 1; i > first; --i) {
      if (story_->steps()[i - 1].text == text) return i - 1;
    }
    return kNever;
  }

  /// Opens the image and returns what is there. Retries of batches whose rows are there must add nothing.
  Result<std::string> Recover(io::SimFileSystem* disk, uint64_t point) {
    SHEAF_ASSIGN_OR_RETURN(const auto database, Database::Open(disk, &clock_, StoryOptions()));
    SHEAF_ASSIGN_OR_RETURN(const Contents contents, ReadContents(disk, "/db", *database));
    const std::string text = contents.Text();
    const uint64_t step = Find(text, point);
    if (step != kNever) SHEAF_RETURN_NOT_OK(RetryOne(database.get(), step));
    if (random_() % kGoOnOneIn == 0) SHEAF_RETURN_NOT_OK(GoOn(disk, database.get()));
    return text;
  }

  /// Sends a batch again whose rows the database has.
  Status RetryOne(Database* database, uint64_t through) {
    std::vector<std::string> ids;
    for (uint64_t i = 0; i <= through; ++i) {
      if (!story_->steps()[i].batch_id.empty()) ids.push_back(story_->steps()[i].batch_id);
    }
    const auto table = database->FindTable("main", "k");
    if (ids.empty() || !table.ok()) return Status::OK();
    const Lsn before = database->GetSnapshot()->lsn();
    arrow::ArrayVector columns;
    for (const auto& field : (*table)->schema->fields()) {
      SHEAF_ASSIGN_OR_RETURN(const auto value, arrow::Scalar::Parse(field->type(), "77"));
      SHEAF_ASSIGN_OR_RETURN(columns.emplace_back(), arrow::MakeArrayFromScalar(*value, 1));
    }
    const std::string& id = ids[random_() % ids.size()];
    SHEAF_ASSIGN_OR_RETURN(const Lsn lsn, database->Append({{(*table)->id, arrow::RecordBatch::Make((*table)->schema, 1, columns)}}, id));
    if (lsn <= before) return Status::OK();
    return MakeError(ErrorKind::kCorruption, "batch {} was taken a second time", id);
  }

  /// What was found goes on to work: it is sealed, closed, and there again.
  Status GoOn(io::SimFileSystem* disk, Database* database) {
    SHEAF_ASSIGN_OR_RETURN(const Contents before, ReadContents(disk, "/db", *database));
    SHEAF_RETURN_NOT_OK(database->Flush());
    SHEAF_RETURN_NOT_OK(database->Close());
    SHEAF_ASSIGN_OR_RETURN(const auto again, Reopen(disk));
    if (again == before.Text()) return Status::OK();
    return MakeError(ErrorKind::kCorruption, "sealing changed what is there, from\n{}to\n{}", before.Text(), again);
  }

  Result<std::string> Reopen(io::SimFileSystem* disk) {
    std::unique_ptr<io::SimFileSystem> later = disk->Restart();
    SHEAF_ASSIGN_OR_RETURN(const auto database, Database::Open(later.get(), &clock_, StoryOptions()));
    SHEAF_ASSIGN_OR_RETURN(const Contents contents, ReadContents(later.get(), "/db", *database));
    return contents.Text();
  }

  /// The power goes again while the image is being opened, at some moments of that.
  void CrashAgain(io::SimFileSystem* disk, uint64_t point) {
    disk->KeepJournal();
    {
      auto opened = Database::Open(disk, &clock_, StoryOptions());
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    }
    io::CrashImages again(*disk, {.seed = random_(), .random_per_point = 2, .each_per_point_max = 2});
    for (int i = 0; i < 12; ++i) {
      auto image = again.Next();
      if (!image) return;
      if (image->disk == nullptr) continue;
      ++opened_;
      ++twice_;
      SCOPED_TRACE("again, at " + std::to_string(image->point) + ": " + image->what);
      const auto text = Recover(image->disk.get(), point);
      ASSERT_TRUE(text.ok()) << text.status().ToString();
      ASSERT_NE(Find(*text, point), kNever) << "found:\n" << *text << Expected(point);
    }
  }

  std::string Expected(uint64_t point) const {
    const auto [first, last] = Allowed(point);
    std::string text = fmt::format("may be there, from step {} through {}:\n", first, last);
    for (size_t i = first; i <= last; ++i) text += story_->steps()[i].what + "\n" + story_->steps()[i].text;
    return text;
  }

  /// Opens images of one run until there are no more, or `budget` in all.
  void Enumerate(uint64_t seed, uint64_t budget) {
    io::CrashImages images(*disk_, {.seed = seed});
    std::unordered_map<uint64_t, std::string> known;  // By the hash of an image, what is found in it.
    while (opened_ < budget) {
      auto image = images.Next();
      if (!image) break;
      ++looked_at_;
      SCOPED_TRACE(fmt::format("seed {}, moment {} of {}: {}", seed, image->point, images.points(), image->what));
      auto found = known.find(image->hash);
      if (found == known.end()) {
        ++opened_;
        image_ = std::move(image->disk);
        auto text = Recover(CopyOfImage().get(), image->point);
        if (!text.ok()) return Fail("it cannot be opened or read: " + text.status().ToString());
        found = known.emplace(image->hash, *std::move(text)).first;
        if (random_() % kCrashAgainOneIn == 0) CrashAgain(CopyOfImage().get(), image->point);
      }
      if (Find(found->second, image->point) == kNever) return Fail("found:\n" + found->second + Expected(image->point));
      if (HasFailure()) return;
    }
  }

  /// The image that is being looked at; opening changes it.
  std::unique_ptr<io::SimFileSystem> CopyOfImage() { return image_->Crash(&random_, io::CrashKeeps::kEverything); }

  void Fail(const std::string& what) {
    const std::string folder = fmt::format("{}sheaf-crash-image-{}-{}", testing::TempDir(), GetParam().name, getpid());
    Keep(CopyOfImage().get(), "/db", folder);
    FAIL() << what << "\nthe disk: " << folder;
  }

  io::SimClock clock_;
  std::unique_ptr<io::SimFileSystem> disk_, image_;
  std::unique_ptr<Story> story_;
  std::mt19937_64 random_;
  uint64_t looked_at_ = 0, opened_ = 0, twice_ = 0;
};

TEST_P(CrashImagesOf, ShowWhatWasPromisedAndNothingElse) {
  const uint64_t budget = FromEnvironment("SHEAF_CRASH_IMAGES", 60);
  uint64_t seed = FromEnvironment("SHEAF_CRASH_IMAGES_SEED", std::random_device()() % 1'000'000);
  const auto began = std::chrono::steady_clock::now();
  for (; opened_ < budget && !HasFailure(); ++seed) {
    SCOPED_TRACE("SHEAF_CRASH_IMAGES_SEED=" + std::to_string(seed));
    random_.seed(seed);
    Record(seed);
    if (!HasFailure()) Enumerate(seed, budget);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::printf("%s: %llu images looked at, %llu different ones opened, %llu of them while another was opened, %.0f s\n", GetParam().name,
              static_cast<unsigned long long>(looked_at_), static_cast<unsigned long long>(opened_),
              static_cast<unsigned long long>(twice_), seconds);
}

constexpr StoryCase kStories[] = {{"Ingest", &TellIngest},           {"Seals", &TellSeals},         {"Merges", &TellMerges},
                                  {"Definitions", &TellDefinitions}, {"Snapshots", &TellSnapshots}, {"Drops", &TellDrops}};

INSTANTIATE_TEST_SUITE_P(Store, CrashImagesOf, testing::ValuesIn(kStories), [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sheaf::store
