/// Views and macros that SQL made: `CREATE VIEW` and `CREATE MACRO`. A statement that uses one is planned as if what the view or macro
/// stands for were written there. Their definitions are kept as definitions.h says; what all instances of DuckDB see of them is here.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "core/mutex.h"
#include "core/status.h"
#include "query/definitions.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// One view, macro or table macro. Immutable.
struct KeptEntry {
  std::string schema_name, name;
  /// As it was parsed: a CreateViewInfo or CreateMacroInfo whose text is its definition, qualified, and whose types are not known.
  std::shared_ptr<const duckdb::CreateInfo> info;

  std::string full_name() const { return schema_name + "." + name; }
};

/// All of them at one time. Immutable. Names are found whatever the case of their letters.
class KeptSet {
 public:
  std::shared_ptr<const KeptEntry> Find(duckdb::CatalogType type, const std::string& schema_name, const std::string& name) const;
  /// Those that a name may mean: without a schema, those of every schema.
  void ForEach(duckdb::CatalogType type, const std::string& schema_name, const std::string& name,
               const std::function<void(const KeptEntry&)>& take) const;
  void ForEachIn(const std::string& schema_name, const std::function<void(const std::shared_ptr<const KeptEntry>&)>& take) const;
  bool empty() const { return entries_.empty(); }

  /// With the entry in the place of the one of its type and name.
  KeptSet With(std::shared_ptr<const KeptEntry> entry) const;
  KeptSet Without(duckdb::CatalogType type, const std::string& schema_name, const std::string& name) const;

 private:
  using Key = std::tuple<duckdb::CatalogType, std::string, std::string>;  // Name and schema in small letters.
  std::map<Key, std::shared_ptr<const KeptEntry>> entries_;
};

/// Thread-safe.
class KeptSql {
 public:
  /// Borrows `definitions`.
  explicit KeptSql(Definitions* definitions) : definitions_(definitions) {}

  /// Reads what is stored. What cannot be used any more is told in the log and passed over. `context`: of any connection, in no
  /// transaction. Errors: the store's.
  Status Load(duckdb::ClientContext& context) SHEAF_EXCLUDES(changing_, mutex_);

  /// Of CREATE VIEW or CREATE MACRO, bound, so that what it names is there; in a transaction. Durable, and seen by every statement that
  /// starts afterwards, when it returns. Errors: AlreadyExists, Denied (it uses what clients may not), Invalid (it uses itself, or is
  /// named as what is built in), TooLarge, and the store's. Throws as DuckDB's binder does.
  Status Create(duckdb::ClientContext& context, const duckdb::CreateInfo& create) SHEAF_EXCLUDES(changing_, mutex_);
  /// The same for DROP. Errors: NotFound, and the store's.
  Status Drop(duckdb::CatalogType type, const std::string& schema_name, const std::string& name) SHEAF_EXCLUDES(changing_, mutex_);

  /// Never null.
  std::shared_ptr<const KeptSet> Get() const SHEAF_EXCLUDES(mutex_);
  /// Cheaper than Get() to ask.
  bool empty() const { return empty_.load(std::memory_order_acquire); }
  /// Changes whenever an entry comes, changes or goes.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }

 private:
  void Install(KeptSet set) SHEAF_REQUIRES(changing_) SHEAF_EXCLUDES(mutex_);

  Definitions* const definitions_;  // Borrowed.
  Mutex changing_;                  // One change at a time.
  mutable Mutex mutex_;
  std::shared_ptr<const KeptSet> set_ SHEAF_GUARDED_BY(mutex_) = std::make_shared<KeptSet>();
  std::atomic<bool> empty_{true};
  std::atomic<uint64_t> version_{0};
};

}  // namespace sheaf::query
