#include "store/story_testing.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <set>
#include <utility>

#include <arrow/api.h>
#include <arrow/util/checked_cast.h>
#include <fmt/ranges.h>

#include "columns/dead_rows.h"
#include "columns/key_codec.h"
#include "core/out_of_memory.h"
#include "store/snapshots.h"

namespace sheaf::store {
namespace {

constexpr char kSchema[] = "main";
constexpr int64_t kNsPerMs = 1'000'000;
constexpr int64_t kStartNs = 1'700'000'000'000'000'000;  // As SimClock. Times of rows depend on nothing that may go wrong.

using Lines = std::multiset<std::string>;

std::string TableText(const std::string& name, const std::vector<std::string>& columns, const Lines& rows) {
  return fmt::format("{}({}):\n  {}\n", name, fmt::join(columns, ", "), fmt::join(rows, "\n  "));
}

std::string Text(const StoryState& state) {
  std::map<std::string, std::string> tables;
  for (const auto& [ours, table] : state) {
    std::vector<std::string> names;
    for (const auto& [column, name] : table.columns) names.push_back(name);
    Lines rows;
    for (const auto& [id, cells] : table.rows) {
      std::string line;
      for (const auto& [column, name] : table.columns) line += cells.contains(column) ? cells.at(column) + " " : "null ";
      rows.insert(line);
    }
    tables[table.name] = TableText(table.name, names, rows);
  }
  std::string text;
  for (const auto& [name, table] : tables) text += table;
  return text;
}

Status AddLines(const arrow::RecordBatch& batch, int64_t row, Lines* lines) {
  std::string line;
  for (const auto& column : batch.columns()) {
    SHEAF_ASSIGN_OR_RETURN(const auto value, column->GetScalar(row));
    line += value->ToString() + " ";
  }
  lines->insert(line);
  return Status::OK();
}

/// Rows as SQL scans them.
Result<Lines> ScanSources(const TableSnapshot& table, const std::vector<int>& columns) {
  Lines lines;
  for (const auto& [source, dead] : table.sources) {
    for (int granule = 0; granule < source->num_granules(); ++granule) {
      SHEAF_ASSIGN_OR_RETURN(const auto batch, source->Read(granule, columns));
      for (int64_t row = 0; row < batch->num_rows(); ++row) {
        if (dead == nullptr || !dead->IsDead(granule, row)) SHEAF_RETURN_NOT_OK(AddLines(*batch, row, &lines));
      }
    }
  }
  return lines;
}

/// Rows in the order of their keys.
Result<Lines> ScanKeys(const Snapshot& snapshot, TableId table) {
  Lines lines;
  SHEAF_ASSIGN_OR_RETURN(const auto cursor, snapshot.Scan(table, {}, {}));
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, cursor->Next());
    if (batch == nullptr) return lines;
    for (int64_t row = 0; row < batch->num_rows(); ++row) SHEAF_RETURN_NOT_OK(AddLines(*batch, row, &lines));
  }
}

/// All that is visible of our schema, as Text() puts it.
Result<std::string> Read(const Database& database) {
  std::string text;
  const auto snapshot = database.GetSnapshot();
  for (const auto& info : snapshot->tables()) {
    if (info->schema_name != kSchema) continue;
    std::vector<int> columns;
    for (int i = 0; i < info->schema->num_fields(); ++i) columns.push_back(i);
    SHEAF_ASSIGN_OR_RETURN(const TableSnapshot table, snapshot->Table(info->id));
    SHEAF_ASSIGN_OR_RETURN(const Lines rows, ScanSources(table, columns));
    text += TableText(info->name, info->schema->field_names(), rows);
    if (info->kind != TableKind::kKeyed) continue;
    SHEAF_ASSIGN_OR_RETURN(const Lines by_key, ScanKeys(*snapshot, info->id));
    if (by_key != rows) text += fmt::format("but by key:\n  {}\n", fmt::join(by_key, "\n  "));
  }
  return text;
}

Result<std::string> ReadAll(io::FileSystem* files, io::Clock* clock, const Options& options) {
  SHEAF_ASSIGN_OR_RETURN(const auto database, Database::Open(files, clock, options));
  return Read(*database);
}

}  // namespace

Options Teller::OptionsOf(const std::string& directory) const {
  Options options;
  options.directory = directory;
  options.log_segment_bytes = 16 << 10;
  options.free_space_min_fraction = 0;
  options.compaction_cpu_share = 1;
  options.archive_log = true;
  return options;
}

template <typename Body>
auto Teller::Ask(const Body& body, const StoryStep* step) -> decltype(body()) {
  asked_ = step;
  trouble_.asking(true);
  auto answer = CatchOutOfMemory(body);
  trouble_.asking(false);
  asked_ = nullptr;
  return answer;
}

void Teller::Learn(const Teller& other) {
  possible_ = other.possible_;
  pending_ = other.pending_;
  if (other.asked_ != nullptr) {
    MayHaveHappened(other.asked_->change);
    if (other.asked_->later) pending_.push_back(other.asked_->change);
  }
  snapshots_ = other.snapshots_;
  restored_ = other.restored_;
  next_ = other.next_ + 1000;
}

void Teller::Open() {
  for (int attempt = 0; attempt < 2 && database_ == nullptr; ++attempt) {
    auto opened = Ask([&] { return Database::Open(files_, clock_, OptionsOf(directory_)); });
    if (opened.ok()) {
      database_ = *std::move(opened);
    } else if (!Excuse("open", opened.status()) || attempt == 1) {
      if (!trouble_.lasts()) Problem("it does not open: " + opened.status().ToString());
      return;
    }
  }
  // What is visible after a recovery must stay, whether it was acknowledged or not.
  const auto read = [&] { return Read(*database_); };
  auto found = Ask(read);
  if (!found.ok() && Excuse("read", found.status())) found = Ask(read);
  if (found.ok()) {
    Only(*found);
  } else if (!trouble_.lasts()) {
    Problem("reading after opening: " + found.status().ToString());
  }
}

/// The states that look like this remain.
void Teller::Only(const std::string& text) {
  std::vector<StoryState> found;
  std::copy_if(possible_.begin(), possible_.end(), std::back_inserter(found), [&](const auto& state) { return Text(state) == text; });
  if (!found.empty()) {
    possible_ = std::move(found);
    for (const StoryChange& change : pending_) MayHaveHappened(change);
    return;
  }
  std::string expected;
  for (const StoryState& state : possible_) expected += "- - -\n" + Text(state);
  Problem(fmt::format("found:\n{}expected:\n{}", text, expected));
}

void Teller::Close() {
  if (database_ == nullptr) return;
  const Status closed = Ask([&] {
    const Status outcome = database_->Close();
    database_.reset();
    return outcome;
  });
  if (!closed.ok()) Excuse("close", closed);
}

/// Says whether `error` may be: there is trouble, and it is of a kind that trouble with disk or memory is told as.
bool Teller::Excuse(const std::string& what, const Status& error) {
  static constexpr ErrorKind kKinds[] = {ErrorKind::kUnavailable, ErrorKind::kIo, ErrorKind::kUnknown, ErrorKind::kOutOfMemory};
  if (trouble_.begun() && std::find(std::begin(kKinds), std::end(kKinds), KindOf(error)) != std::end(kKinds)) return true;
  Problem(fmt::format("{}: {} ({})", what, error.ToString(), ErrorKindName(KindOf(error))));
  return false;
}

void Teller::Happened(const StoryChange& change) {
  std::vector<StoryState> after;
  std::set<std::string> known;
  for (StoryState& state : possible_) {
    change(&state);
    if (known.insert(Text(state)).second) after.push_back(std::move(state));
  }
  possible_ = std::move(after);
}

void Teller::MayHaveHappened(const StoryChange& change) {
  std::vector<StoryState> without = possible_;
  Happened(change);
  without.insert(without.end(), possible_.begin(), possible_.end());
  possible_ = std::move(without);
  Happened([](StoryState*) {});
}

void Teller::Do(const StoryStep& step) {
  for (int attempt = 0; attempt < 2 && database_ != nullptr; ++attempt) {
    clock_->Advance(200 * kNsPerMs);
    Status done = Ask([&] { return step.run(database_.get()); }, &step);
    if (step.then) done = step.then(done);
    if (done.ok()) return Happened(step.change);
    if (!Excuse(step.what, done)) return;
    const bool unknown = KindOf(done) == ErrorKind::kUnknown;
    if (unknown || !step.atomic) MayHaveHappened(step.change);
    if (unknown && !step.again) return;
    // What failed once works again, or nothing can be written until a restart, and everybody is told.
    if (attempt == 1 && !trouble_.lasts() && StatsOf().writable) {
      Problem(fmt::format("{} fails again: {}", step.what, done.ToString()));
    }
  }
}

void Teller::Look() {
  if (database_ == nullptr) return;
  const auto read = [&] { return Read(*database_); };
  auto found = Ask(read);
  if (!found.ok() && Excuse("read", found.status())) found = Ask(read);
  if (!found.ok()) {
    if (!trouble_.lasts()) Problem("a read fails again: " + found.status().ToString());
    return;
  }
  const bool expected = std::any_of(possible_.begin(), possible_.end(), [&](const auto& state) { return Text(state) == *found; });
  if (!expected) Only(*found);
}

void Teller::GoOn() {
  if (database_ == nullptr) return;
  for (const auto& [table, state] : StoryState(possible_.front())) {
    if (Find(table) != nullptr) Append({table}, 1);
  }
  Flush();
  for (const auto& [table, state] : StoryState(possible_.front())) {
    if (Find(table) != nullptr) Append({table}, 1);
  }
  Look();
  LookAtSnapshots();
}

std::shared_ptr<const TableInfo> Teller::Find(const std::string& table) {
  const auto known = possible_.front().find(table);
  if (database_ == nullptr || known == possible_.front().end()) return nullptr;
  const auto find = [&] { return database_->FindTable(kSchema, known->second.name); };
  auto found = Ask(find);
  if (!found.ok() && KindOf(found.status()) == ErrorKind::kOutOfMemory) found = Ask(find);
  return found.ok() ? *found : nullptr;
}

std::string Teller::ColumnAt(const std::string& table, const std::string& name) const {
  for (const auto& [ours, now] : possible_.front().at(table).columns) {
    if (now == name) return ours;
  }
  return name;
}

void Teller::Create(const std::string& table, bool keyed, bool replace) {
  NewTable asked;
  asked.schema_name = kSchema;
  asked.name = table;
  asked.schema = arrow::schema(
      {arrow::field("id", arrow::int64(), false), arrow::field("at", arrow::int64()), arrow::field("b", arrow::utf8())});
  if (keyed) asked.primary_key = {"id"};
  if (!keyed) asked.settings.time_column = "at";
  asked.or_replace = replace;
  const StoryTable made{table, {{"id", "id"}, {"at", "at"}, {"b", "b"}}, {}};
  Do({.what = "create " + table,
      .change = [=](StoryState* state) { (*state)[table] = made; },
      .run = [=](Database* database) { return database->CreateTable(asked).status(); }});
}

void Teller::Drop(const std::string& table) {
  const auto info = Find(table);
  if (info == nullptr) return;
  Do({.what = "drop " + table,
      .change = [=](StoryState* state) { state->erase(table); },
      .run = [=](Database* database) { return database->DropTable(info->id); }});
}

void Teller::Alter(const std::string& what, const std::string& table, const AlterTable& change, const StoryChange& expected) {
  const auto info = Find(table);
  if (info == nullptr) return;
  Do({.what = "alter " + table + ": " + what, .change = expected, .run = [=](Database* database) {
        return database->Alter(info->id, change).status();
      }});
}

Result<std::shared_ptr<arrow::RecordBatch>> Teller::MakeRows(const TableInfo& info, const std::string& table,
                                                             const std::vector<int64_t>& ids, size_t width, StoryRows* rows) const {
  rows->clear();
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders;
  for (const auto& field : info.schema->fields()) {
    SHEAF_ASSIGN_OR_RETURN(builders.emplace_back(), arrow::MakeBuilder(field->type()));
  }
  for (const int64_t id : ids) {
    auto& cells = rows->emplace(id, std::map<std::string, std::string>())->second;
    for (size_t i = 0; i < builders.size(); ++i) {
      const std::string& name = info.schema->field(static_cast<int>(i))->name();
      std::string value = std::to_string(id);
      if (name == "at") value = std::to_string(kStartNs + next_ * kNsPerMs - age_ns_);
      if (builders[i]->type()->id() == arrow::Type::STRING) value = fmt::format("{:x>{}}", next_, width);
      SHEAF_ASSIGN_OR_RETURN(const auto scalar, arrow::Scalar::Parse(builders[i]->type(), value));
      SHEAF_RETURN_NOT_OK(builders[i]->AppendScalar(*scalar));
      cells[ColumnAt(table, name)] = scalar->ToString();
    }
  }
  arrow::ArrayVector columns;
  for (const auto& builder : builders) {
    SHEAF_ASSIGN_OR_RETURN(columns.emplace_back(), builder->Finish());
  }
  return arrow::RecordBatch::Make(info.schema, static_cast<int64_t>(ids.size()), columns);
}

void Teller::Append(const std::vector<std::string>& tables, int count, const std::string& batch_id, size_t width) {
  std::vector<TableRows> given;
  std::map<std::string, StoryRows> added;
  for (const std::string& table : tables) {
    const auto info = Find(table);
    if (info == nullptr) return;
    std::vector<int64_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(next_++);
    auto batch = MakeRows(*info, table, ids, width, &added[table]);
    if (!batch.ok()) batch = MakeRows(*info, table, ids, width, &added[table]);  // Memory may be what is in trouble.
    if (!batch.ok()) return;
    given.push_back({info->id, *batch});
  }
  const auto change = [added](StoryState* state) {
    for (const auto& [table, rows] : added) {
      const auto to = state->find(table);
      if (to != state->end() && !to->second.rows.contains(rows.begin()->first)) to->second.rows.insert(rows.begin(), rows.end());
    }
  };
  Do({.what = "append " + batch_id,
      .change = change,
      .run = [=](Database* database) { return database->Append(given, batch_id).status(); },
      .atomic = true,
      .again = !batch_id.empty()});
}

void Teller::Put(const std::string& table, const std::vector<int64_t>& keys, RowOp op) {
  const auto info = Find(table);
  if (info == nullptr) return;
  ++next_;
  StoryRows rows;
  auto made = MakeRows(*info, table, keys, 5, &rows);
  if (!made.ok()) made = MakeRows(*info, table, keys, 5, &rows);
  if (!made.ok()) return;
  auto batch = *made;
  if (op == RowOp::kDelete) {
    batch = arrow::RecordBatch::Make(info->keys->key_schema(), batch->num_rows(), {batch->column(0)});
    rows.clear();
  }
  const auto change = [=](StoryState* state) {
    const auto to = state->find(table);
    if (to == state->end()) return;
    for (const int64_t key : keys) to->second.rows.erase(key);
    to->second.rows.insert(rows.begin(), rows.end());
  };
  Do({.what = "put " + table,
      .change = change,
      .run = [=](Database* database) { return database->Append({{info->id, batch, op}}).status(); },
      .atomic = true,
      .again = op != RowOp::kInsert});
}

void Teller::Flush() {
  Do({.what = "flush", .change = [](StoryState*) {}, .run = [](Database* database) { return database->Flush(); }, .atomic = true});
}

void Teller::MakeCold() {
  Do({.what = "make cold", .change = [](StoryState*) {}, .run = [](Database* database) { return database->MakeCold(); },
      .atomic = true});
}

void Teller::SetRetention(const std::string& table, int64_t retention_ms) {
  const auto info = Find(table);
  if (info == nullptr) return;
  const int64_t kept_from = clock_->NowNs() - retention_ms * kNsPerMs;
  const auto change = [=](StoryState* state) {
    const auto to = state->find(table);
    if (to == state->end()) return;
    std::erase_if(to->second.rows, [&](const auto& row) { return std::stoll(row.second.at("at")) < kept_from; });
  };
  // Once it is set, rows go when there is time, at the latest before this returns.
  Do({.what = "set retention of " + table,
      .change = change,
      .run = [=](Database* database) { return database->SetRetention(info->id, retention_ms); },
      .then =
          [=, this](const Status& set) {
            if (!set.ok()) pending_.push_back(change);
            return set;
          },
      .later = true});
}

void Teller::TakeSnapshot(const std::string& id) {
  const auto asked = std::make_shared<int>(0);
  Kept& kept = snapshots_[id];
  kept.states = possible_;
  Do({.what = "snapshot " + id,
      .change = [](StoryState*) {},
      .run = [=](Database* database) { return database->CreateSnapshot(id).status(); },
      .then = [=, &kept](const Status& made) {
        // One whose last step failed may be there.
        kept.surely = made.ok() || (++*asked == 2 && KindOf(made) == ErrorKind::kAlreadyExists);
        return kept.surely ? Status::OK() : made;
      }});
}

void Teller::DropSnapshot(const std::string& id) {
  if (!std::exchange(snapshots_[id].surely, false)) return;
  const auto asked = std::make_shared<int>(0);
  Do({.what = "drop snapshot " + id,
      .change = [](StoryState*) {},
      .run = [=](Database* database) { return database->DropSnapshot(id); },
      .then = [=, this](const Status& dropped) {
        if (dropped.ok()) snapshots_.erase(id);
        return ++*asked == 2 && !dropped.ok() && KindOf(dropped) == ErrorKind::kNotFound ? Status::OK() : dropped;
      }});
}

void Teller::LookAtSnapshots() {
  if (snapshots_.empty()) return;
  const auto listed = ListSnapshots(files_, directory_);
  if (!listed.ok()) return Problem("list snapshots: " + listed.status().ToString());
  std::set<std::string> there;
  for (const SnapshotInfo& info : *listed) {
    there.insert(info.id);
    if (!snapshots_.contains(info.id)) Problem("a snapshot that nobody asked for, or that was dropped: " + info.id);
    const Status whole = VerifySnapshot(files_, directory_, info.id);
    if (!whole.ok()) Problem("snapshot " + info.id + ": " + whole.ToString());
  }
  for (const auto& [id, kept] : snapshots_) {
    if (kept.surely && !there.contains(id)) Problem("snapshot " + id + " is lost");
  }
  if (listed->empty()) return;
  Close();
  RestoreInto(listed->back().id, directory_ + "-restored-" + std::to_string(++restored_));
  Open();
}

void Teller::RestoreInto(const std::string& id, const std::string& folder) {
  const auto kept = snapshots_.find(id);
  if (kept == snapshots_.end()) return;
  Status done;
  for (int attempt = 0; attempt < 2; ++attempt) {
    done = Ask([&] { return Restore(files_, clock_, directory_, id, folder, {}).status(); });
    if (!done.ok() && KindOf(done) == ErrorKind::kNotFound && !kept->second.surely) return;
    if (done.ok() || !Excuse("restore " + id, done)) break;
    const Status removed = RemoveTree(files_, folder);
    if (!removed.ok()) Excuse("remove what a restore left", removed);
  }
  if (!done.ok()) {
    if (kept->second.surely && !trouble_.lasts()) Problem("restore " + id + " fails again: " + done.ToString());
    return;
  }
  const auto read = [&] { return ReadAll(files_, clock_, OptionsOf(folder)); };
  auto found = Ask(read);
  if (!found.ok() && Excuse("open what was restored", found.status())) found = Ask(read);
  if (!found.ok()) {
    if (!trouble_.lasts()) Problem("what was restored does not open: " + found.status().ToString());
    return;
  }
  const auto& states = kept->second.states;
  if (std::any_of(states.begin(), states.end(), [&](const auto& state) { return Text(state) == *found; })) return;
  Problem(fmt::format("restored of snapshot {}:\n{}expected:\n{}", id, *found, Text(states.front())));
}

Stats Teller::StatsOf() {
  const auto stats = Ask([&] { return Result<Stats>(database_->GetStats()); });
  return stats.ok() ? *stats : Stats();
}

void Teller::AwaitMerge() {
  if (database_ == nullptr) return;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (StatsOf().compactions == 0 && !trouble_.begun() && std::chrono::steady_clock::now() < deadline) {
    clock_->Advance(10 * kNsPerMs);
    std::promise<void>().get_future().wait_for(std::chrono::milliseconds(2));
  }
}

}  // namespace sheaf::store
