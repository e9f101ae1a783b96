/// All materialised views of a database: their definitions (definitions.h), and the thread that has them follow the log.

#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "query/definitions.h"
#include "query/system_tables.h"
#include "query/view.h"

namespace sheaf::query {

class KeptSql;

/// CREATE, DROP or REFRESH MATERIALIZED VIEW.
struct ViewStatement {
  enum class Kind : uint8_t { kCreate, kDrop, kRefresh };
  Kind kind = Kind::kCreate;
  ViewDefinition definition;             // Of kDrop and kRefresh the names only.
  bool or_replace = false, if_not_exists = false, if_exists = false;
};

/// Thread-safe.
class Views {
 public:
  /// Makes a session that nobody else uses.
  using MakeSession = std::function<Result<std::unique_ptr<Session>>()>;

  /// Borrows all.
  Views(store::Database* database, Definitions* definitions, const KeptSql* kept)
      : database_(database), states_(database), definitions_(definitions), kept_(kept) {}
  ~Views() { Stop(); }

  /// Loads the definitions and starts to follow the log; views are built behind the scenes. Where the database can only be read, they
  /// are built as of now. Errors: the store's.
  Status Start(MakeSession make_session) SHEAF_EXCLUDES(mutex_, definitions_mutex_);
  /// Ends all work and lets go of every view.
  void Stop() SHEAF_EXCLUDES(mutex_);

  /// Durable, and built, when it returns. Errors: Invalid, Unsupported (says why it cannot be kept), AlreadyExists, NotFound, and the
  /// store's.
  Status Execute(const ViewStatement& statement) SHEAF_EXCLUDES(mutex_, definitions_mutex_);

  /// Changes whenever a view comes or goes.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  /// Null where there is none.
  std::shared_ptr<View> Find(const std::string& schema_name, const std::string& name) const SHEAF_EXCLUDES(mutex_);
  std::shared_ptr<View> Find(const std::string& full_name) const SHEAF_EXCLUDES(mutex_);
  std::vector<std::shared_ptr<View>> All() const SHEAF_EXCLUDES(mutex_);
  /// A view that is made of the table; null: none is.
  std::shared_ptr<View> MadeOf(TableId table) const SHEAF_EXCLUDES(mutex_);

 private:
  /// The first; null: there is none.
  template <typename Matches>
  std::shared_ptr<View> FindWhere(const Matches& matches) const SHEAF_EXCLUDES(mutex_);
  Status Create(const ViewStatement& statement) SHEAF_REQUIRES(definitions_mutex_);
  Status Drop(const ViewStatement& statement) SHEAF_REQUIRES(definitions_mutex_);
  Result<std::shared_ptr<View>> Make(ViewDefinition definition) const;
  Result<ViewDefinition> ToView(const Definition& stored) const;
  Status LoadDefinitions() SHEAF_REQUIRES(definitions_mutex_);
  /// Takes the view of the definition's name away, if there is one, and puts `view`, which may be null, in its place.
  void Install(const ViewDefinition& definition, const std::shared_ptr<View>& view) SHEAF_EXCLUDES(mutex_);
  void Follow() SHEAF_EXCLUDES(mutex_);
  void KeepLog() SHEAF_EXCLUDES(mutex_);
  /// Has states of views written where that is due, and what is left of dropped ones removed. On the follower's thread.
  void Save(bool closing) SHEAF_EXCLUDES(mutex_);
  Status RemoveOtherStates() const;

  store::Database* const database_;  // Borrowed, as are definitions_ and kept_.
  ViewStates states_;
  uint64_t cleaned_ = UINT64_MAX;    // The follower's: the version of views_ whose leftovers are removed.
  Definitions* const definitions_;
  const KeptSql* const kept_;
  MakeSession make_session_;         // Fixed after Start().
  Mutex definitions_mutex_;          // One change at a time; held while a view is built.
  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::vector<std::shared_ptr<View>> views_ SHEAF_GUARDED_BY(mutex_);
  std::atomic<uint64_t> version_{0};  // Changed under mutex_, together with views_.
  /// Names of views that are defined and cannot be made, and the LSNs of their states: for these the log is kept until they are dropped.
  std::map<std::pair<std::string, std::string>, Lsn> unmade_ SHEAF_GUARDED_BY(mutex_);
  std::optional<Lsn> building_after_ SHEAF_GUARDED_BY(mutex_);  // Where the log of the view that is being built begins.
  bool stopping_ SHEAF_GUARDED_BY(mutex_) = false, following_ SHEAF_GUARDED_BY(mutex_) = false;
  std::thread follower_;
};

/// `sheaf.views`. Borrows `views`.
SystemTable ViewsTable(const Views* views);

}  // namespace sheaf::query
