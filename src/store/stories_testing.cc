#include "store/story_testing.h"

#include <arrow/scalar.h>
#include <arrow/type.h>

namespace sheaf::store {
namespace {

void Nothing(Teller*) {}

void Ingest(Teller* t) {
  t->Open();
  t->Create("a");
  t->Append({"a"}, 2);
  t->Create("c");
  t->Append({"a", "c"}, 2, "first");
  t->Flush();
  t->Append({"a"}, 2, {}, 6'000);
  t->Look();
  t->Reopen();
  t->Append({"c"}, 1, {}, 6'000);
  t->Flush();
  t->Append({"a"}, 1, "second");
  t->Append({"a", "c"}, 1, {}, 6'000);
  t->Flush();
  t->Reopen();
  t->Append({"a"}, 1);
  t->Look();
}

void PrepareKeyed(Teller* t) {
  t->Open();
  t->Create("k", /*keyed=*/true);
  t->Put("k", {1, 2, 3, 4});
  t->Flush();
}

void Keyed(Teller* t) {
  t->Put("k", {2, 5});
  t->Put("k", {1}, RowOp::kDelete);
  t->Flush();
  t->Put("k", {7}, RowOp::kInsert);
  t->Look();
  t->Put("k", {5, 3});
  t->Flush();
  t->Put("k", {4, 6});
  t->Flush();
  t->Put("k", {6}, RowOp::kDelete);
  t->Reopen();  // Four parts of level 0: a merge begins at once.
  t->AwaitMerge();
  t->Put("k", {3, 8});
  t->Look();
  t->MakeCold();
  t->Put("k", {8}, RowOp::kDelete);
  t->Look();
}

void PrepareDefinitions(Teller* t) {
  t->Open();
  t->Create("a");
  t->Append({"a"}, 2);
  t->Create("r");
  t->SetAge(3'600'000);
  t->Append({"r"}, 2);
  t->Flush();
  t->SetAge(0);
  t->Append({"r"}, 1);
  t->Flush();
}

void Definitions(Teller* t) {
  t->Create("b", /*keyed=*/true);
  t->Append({"a"}, 1);
  t->Put("b", {1, 2});
  t->Alter("add column", "a",
           {.kind = AlterTable::Kind::kAddColumn, .field = arrow::field("c", arrow::int32()), .default_value = arrow::MakeScalar(7)},
           [](StoryState* state) {
             auto& [name, columns, rows] = state->at("a");
             if (columns.back().first == "c") return;
             columns.emplace_back("c", "c");
             for (auto& [id, cells] : rows) cells["c"] = "7";
           });
  t->Append({"a"}, 1);
  t->SetRetention("r", 60'000);
  t->Look();
  t->Alter("rename column", "b", {.kind = AlterTable::Kind::kRenameColumn, .column = "b", .new_name = "d"},
           [](StoryState* state) {
             if (state->contains("b")) state->at("b").columns.back().second = "d";
           });
  t->Drop("a");
  t->Put("b", {2, 3});
  t->Look();
  t->Create("r", false, /*replace=*/true);
  t->Append({"r"}, 1);
  t->Reopen();
  t->Append({"r"}, 1);
}

void PrepareSnapshots(Teller* t) {
  t->Open();
  t->Create("k", /*keyed=*/true);
  t->Create("a");
  t->Put("k", {1, 2, 3});
  t->Append({"a"}, 2, "first");
  t->Flush();
}

void Snapshots(Teller* t) {
  t->Put("k", {2, 4});
  t->TakeSnapshot("one");
  t->Append({"a"}, 1, "second");
  t->MakeCold();
  t->Put("k", {1}, RowOp::kDelete);
  t->TakeSnapshot("two");
  t->DropSnapshot("one");
  t->Append({"a"}, 1);
  t->Look();
  t->Close();
  t->RestoreInto("two", "/restored");
  t->Open();
  t->Append({"a"}, 1);
}

}  // namespace

const std::vector<Story>& Stories() {
  static const std::vector<Story> stories = {{"Ingest", Nothing, Ingest},
                                             {"Keyed", PrepareKeyed, Keyed},
                                             {"Definitions", PrepareDefinitions, Definitions},
                                             {"Snapshots", PrepareSnapshots, Snapshots}};
  return stories;
}

}  // namespace sheaf::store
