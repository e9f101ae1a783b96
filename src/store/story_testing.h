/// Four short stories of what a database is asked to do, told to one that may fail at any step, and what may be in it
/// afterwards: for tests that let each operation, system call or allocation in turn go wrong.
///
/// The teller knows what it asked for and what it was answered, so it knows what must be there, what must not, and what may be
/// either. Whatever it reads must be one of those states, whole; else it says so in problems().

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/status.h"
#include "io/file_system.h"
#include "io/sim_testing.h"
#include "store/database.h"

namespace sheaf::store {

/// A table as it should be. Tables and columns have names of our own beside those they have now, which a change may or may
/// not have given them; rows are found by the value of their first column.
using StoryRows = std::multimap<int64_t, std::map<std::string, std::string>>;  // Values as text, by our names of the columns.
struct StoryTable {
  std::string name;
  std::vector<std::pair<std::string, std::string>> columns;           // Our name, and the one it has now.
  StoryRows rows;
};
using StoryState = std::map<std::string, StoryTable>;
using StoryChange = std::function<void(StoryState*)>;                 // Doing it again changes nothing.

/// Something that is asked of the database.
struct StoryStep {
  std::string what;
  StoryChange change;
  std::function<Status(Database*)> run;
  std::function<Status(const Status&)> then = {};  // What the teller makes of the answer.
  bool atomic = false;  // An error other than Unknown says that nothing was done: not where definitions are concerned.
  bool again = true;    // Asking a second time is right even where the first outcome is unknown.
  bool later = false;   // Once it may have happened, its change may happen at any time.
};

class Teller {
 public:
  /// Says whether an error may be somebody's doing: each is, once, or all from some time on.
  struct Trouble {
    std::function<bool()> begun = [] { return false; };
    std::function<bool()> lasts = [] { return false; };
    /// Told before and after each call of the database: between them is where trouble with memory is.
    std::function<void(bool)> asking = [](bool) {};
  };
  /// Borrows `files` and `clock`.
  Teller(io::FileSystem* files, io::SimClock* clock, std::string directory)
      : files_(files), clock_(clock), directory_(std::move(directory)) {}

  void SetTrouble(Trouble trouble) { trouble_ = std::move(trouble); }
  /// Takes over what another one knows, at the start after a crash; the other may be in the middle of asking.
  void Learn(const Teller& other);

  /// Opens, twice if need be, and looks: what is there now is there for good.
  void Open();
  /// Closes, whatever comes of it.
  void Close();
  void Reopen() { Close(), Open(); }
  void Do(const StoryStep& step);
  /// What is visible must be one of the states that are possible.
  void Look();
  /// After a crash: what was found goes on to work, and outlives the next one.
  void GoOn();

  // Steps.
  void Create(const std::string& table, bool keyed = false, bool replace = false);
  void Drop(const std::string& table);
  void Alter(const std::string& what, const std::string& table, const AlterTable& change, const StoryChange& expected);
  /// New rows of one or more tables, in one entry. `width`: characters of a row's text.
  void Append(const std::vector<std::string>& tables, int rows, const std::string& batch_id = {}, size_t width = 5);
  /// Rows of a keyed table with these keys.
  void Put(const std::string& table, const std::vector<int64_t>& keys, RowOp op = RowOp::kPut);
  void Flush();
  void MakeCold();
  void SetRetention(const std::string& table, int64_t retention_ms);
  /// Rows get a time that is so long ago from now on.
  void SetAge(int64_t age_ms) { age_ns_ = age_ms * 1'000'000; }
  void TakeSnapshot(const std::string& id);
  void DropSnapshot(const std::string& id);
  /// Restores a snapshot into a folder and compares.
  void RestoreInto(const std::string& id, const std::string& folder);
  /// Until background merging has done something, a little while.
  void AwaitMerge();

  Database* database() const { return database_.get(); }
  std::shared_ptr<const TableInfo> Find(const std::string& table);
  const std::vector<std::string>& problems() const { return problems_; }
  /// Lets the database go as it is; closing it may fail by now.
  void Abandon() { database_.reset(); }

 private:
  Options OptionsOf(const std::string& directory) const;
  /// What `body` answers, which asks the database; out of memory is an answer, too. `step` is what is asked for, if anything changes.
  template <typename Body>
  auto Ask(const Body& body, const StoryStep* step = nullptr) -> decltype(body());
  Stats StatsOf();
  void Happened(const StoryChange& change);
  void MayHaveHappened(const StoryChange& change);
  bool Excuse(const std::string& what, const Status& error);
  void Problem(const std::string& text) { problems_.push_back(text); }
  void Only(const std::string& text);
  void LookAtSnapshots();
  std::string ColumnAt(const std::string& table, const std::string& name) const;
  Result<std::shared_ptr<arrow::RecordBatch>> MakeRows(const TableInfo& info, const std::string& table,
                                                       const std::vector<int64_t>& ids, size_t width, StoryRows* rows) const;

  io::FileSystem* const files_;
  io::SimClock* const clock_;
  const std::string directory_;
  Trouble trouble_;
  std::unique_ptr<Database> database_;
  const StoryStep* asked_ = nullptr;
  std::vector<StoryState> possible_{{}};  // The first is what memory shows, as a rule.
  std::vector<StoryChange> pending_;      // May happen at any time.
  struct Kept {
    bool surely = false;
    std::vector<StoryState> states;
  };
  std::map<std::string, Kept> snapshots_;
  int64_t next_ = 1, age_ns_ = 0;
  int restored_ = 0;
  std::vector<std::string> problems_;
};

struct Story {
  const char* name;
  void (*set_up)(Teller*);  // Nothing goes wrong yet.
  void (*tell)(Teller*);
};
/// Ingest, keyed writes, definitions, snapshots.
const std::vector<Story>& Stories();

}  // namespace sheaf::store
