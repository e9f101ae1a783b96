/// What views have kept, on disk: rows of the keyed table sheaf.view_states (docs/formats/view-state.md), which is made with the first.
/// Columns: schema_name, name, generation, chunk (these four are the key), content. A state is written as chunks of a generation that
/// nothing names yet, then chunk 0 of generation 0 is put in place, which names it: so a state is there wholly or not at all.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/status.h"
#include "query/view_watermark.h"
#include "store/database.h"

namespace sheaf::query {

/// Thread-safe; of one view only one thread may write at a time.
class ViewStates {
 public:
  /// Whose state it is. Of a view made anew under the same name, or by a program that keeps other things of it, `identity` differs.
  struct Owner {
    std::string schema_name, name, identity;
  };
  struct Head {
    Lsn lsn;                       // Through which the state is made of the log.
    int64_t generation = 0, chunks = 0, bytes = 0;
    Watermark::Progress progress;
    std::string identity;
  };
  /// Gives a chunk; an empty one: there are no more.
  using NextChunk = std::function<Result<std::string>()>;

  /// Borrows `database`.
  explicit ViewStates(store::Database* database) : database_(database) {}

  /// None: nothing is kept of this view, or of another one of its name. Errors: the store's, Corruption.
  Result<std::optional<Head>> Find(const store::Snapshot& snapshot, const Owner& owner) const;
  /// Of the state of a view of that name, whatever its identity. Errors as above.
  Result<std::optional<Lsn>> SavedLsn(const store::Snapshot& snapshot, const std::string& schema_name, const std::string& name) const;
  /// Gives the chunks in their order. Errors: the store's, Corruption, and what `take` answers.
  Status Read(const store::Snapshot& snapshot, const Owner& owner, const Head& head,
              const std::function<Status(std::string_view)>& take) const;

  /// Durable when it returns, in the place of what was there. Errors: the store's, and what `next` answers.
  Result<Head> Write(const Owner& owner, Lsn lsn, const Watermark::Progress& progress, const NextChunk& next);
  /// The same state, but made of the log through `lsn`.
  Status Advance(const Owner& owner, Lsn lsn, const Watermark::Progress& progress, Head* head);
  /// Removes what no head of a view in `known` names: states of views that are gone, and chunks of a Write() that did not come to its end.
  Status RemoveOthers(const std::vector<std::pair<std::string, std::string>>& known) const;

 private:
  Result<TableId> Table();

  store::Database* const database_;  // Borrowed.
};

}  // namespace sheaf::query
