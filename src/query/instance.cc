#include "query/instance.h"

#include <thread>
#include <utility>

#include "duckdb/storage/buffer_manager.hpp"
#include <fmt/format.h>

#include "query/argument_check.h"
#include "query/attribute_rewrite.h"
#include "query/error_map.h"
#include "query/few_rows_order.h"
#include "query/function_calls.h"
#include "query/id_types.h"
#include "query/lockdown.h"
#include "query/lookup_hint.h"
#include "query/lookup_plan.h"
#include "query/repeatable_plan.h"
#include "query/sampling.h"
#include "query/text_search.h"
#include "query/time_buckets.h"
#include "query/view_function.h"

/// DuckDB brings an allocator of its own, jemalloc under other names, which looks for this variable in the program. A statement takes
/// vectors of 16 or 32 KB by the hundred, and the allocator keeps 20 of a size at hand for each thread: the others cost a lock and a
/// search each time. 128 are at most 4 MB a thread and size.
extern "C" const char* duckdb_je_malloc_conf_2_conf_harder;
const char* duckdb_je_malloc_conf_2_conf_harder = "tcache_nslots_large:128,tcache_gc_incr_bytes:4194304";

namespace sheaf::query {

namespace {

// The C++ API of DuckDB changes from release to release: headers and library must be the same.
constexpr std::string_view kDuckDbVersion = "v1.5.5";
constexpr std::string_view kDuckDbSourceId = "d8cdaa33fd";

Status CheckLibrary() {
  const std::string_view version = duckdb::DuckDB::LibraryVersion(), source = duckdb::DuckDB::SourceID();
  if (version == kDuckDbVersion && source == kDuckDbSourceId) return Status::OK();
  return MakeError(ErrorKind::kUnsupported, "libduckdb is {} ({}), but this program was built for {} ({}): install that one", version,
                   source, kDuckDbVersion, kDuckDbSourceId);
}

/// What DuckDB's buffer manager counts: operators' state, results under way. Not the rows that scans borrow from parts.
class DuckDbMemory : public MemorySource {
 public:
  explicit DuckDbMemory(const duckdb::shared_ptr<duckdb::DatabaseInstance>& duckdb) : duckdb_(duckdb) {}
  MemoryUse Use() const override {
    MemoryUse use{.component = "query"};
    if (const auto duckdb = duckdb_.lock()) {
      const duckdb::BufferManager& buffers = duckdb::BufferManager::GetBufferManager(*duckdb);
      use.current_bytes = static_cast<int64_t>(buffers.GetUsedMemory());
      use.limit_bytes = static_cast<int64_t>(buffers.GetMaxMemory());
    }
    return use;
  }

 private:
  const duckdb::weak_ptr<duckdb::DatabaseInstance> duckdb_;  // Its last owner is the instance.
};

/// Runs after binding and before DuckDB's own optimizers, for every plan.
void BeforeOptimizing(duckdb::OptimizerExtensionInput& input, duckdb::unique_ptr<duckdb::LogicalOperator>& plan) {
  if (!SessionState::Of(input.context).trusted()) CheckPlan(*plan);
  RewriteAttributeAccess(plan.get());
  MarkLookUps(plan.get());
  if (SessionState& state = SessionState::Of(input.context); state.keeping()) state.SetReads(ReadsOfRepeatable(plan.get()));
  PlanLookUp(&input.optimizer, &plan);
}

/// Runs after DuckDB's own optimizers.
void AfterOptimizing(duckdb::OptimizerExtensionInput& input, duckdb::unique_ptr<duckdb::LogicalOperator>& plan) {
  ShowLookUp(&plan);
  ReplaceOrders(&plan);
  RewriteTimeBuckets(plan.get());
  SessionState& state = SessionState::Of(input.context);
  if (!state.waits_for_turn()) return;
  const Status admitted = state.Admit(ReadsFewRows(*plan));
  if (!admitted.ok()) ThrowStatus(input.context, admitted);
}

}  // namespace

Result<std::unique_ptr<Instance>> Instance::Open(store::Database* database, const EngineOptions& options,
                                                 const CatalogSources& sources, bool trusted) {
  SHEAF_RETURN_NOT_OK(CheckLibrary());
  std::string temp = options.temp_directory.empty() ? database->options().directory + "/tmp" : options.temp_directory;
  if (trusted) temp += "/owner";  // Two instances do not share a folder: each removes what it finds in its own.
  std::unique_ptr<Instance> instance(new Instance(trusted, options));
  Status opened = WithoutExceptions([&]() -> Status {
    instance->Configure(options, temp);
    auto& duckdb = *instance->duckdb_->instance;
    RegisterCatalog(&duckdb, database, sources);
    duckdb::ExtensionLoader loader(duckdb, "sheaf");
    RegisterIdTypes(&loader);
    RegisterArgumentCheck(&loader);
    RegisterSampling(&loader);
    RegisterTextSearch(&loader);
    RegisterViewFunction(&loader, sources.views, std::chrono::milliseconds(options.view_wait_ms));
    duckdb::OptimizerExtension extension;
    extension.pre_optimize_function = BeforeOptimizing;
    extension.optimize_function = AfterOptimizing;
    duckdb::OptimizerExtension::Register(duckdb::DBConfig::GetConfig(duckdb), std::move(extension));
    // A first connection attaches the catalog; only then is the door shut.
    duckdb::Connection setup(*instance->duckdb_);
    setup.context->registered_state->Insert(SessionState::kKey, duckdb::make_shared_ptr<SessionState>(true));
    // DuckDB's own database is called `memory`, as one of our schemas is, and `memory.records` would mean either.
    std::vector<std::string> statements = {fmt::format("ATTACH '' AS {} (TYPE sheaf)", kCatalogName), fmt::format("USE {}", kCatalogName),
                                           "DETACH memory",
                                           fmt::format("SET max_temp_directory_size='{}B'", options.temp_bytes_max)};
    if (trusted) {
      statements.push_back("ATTACH ':memory:' AS scratch");
    } else {
      statements.push_back("SET enable_external_access=false");
      statements.push_back("SET lock_configuration=true");
    }
    for (const std::string& sql : statements) {
      auto result = setup.Query(sql);
      if (result->HasError()) return FromDuckDb(result->GetErrorObject());
    }
    if (options.functions) SHEAF_RETURN_NOT_OK(RegisterFunctions(*setup.context, &loader, *options.functions));
    return Status::OK();
  });
  if (!opened.ok()) return WithContext(opened, "opening the SQL engine");
  return instance;
}

void Instance::Configure(const EngineOptions& options, const std::string& temp_directory) {
  duckdb::DBConfig config;
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  config.options.maximum_threads = static_cast<duckdb::idx_t>(options.threads > 0 ? options.threads : cores);
  config.options.maximum_memory = static_cast<duckdb::idx_t>(options.memory_bytes_max);
  config.options.use_temporary_directory = true;
  config.options.temporary_directory = temp_directory;
  for (const char* name : {"autoinstall_known_extensions", "autoload_known_extensions"}) {
    config.SetOptionByName(name, duckdb::Value::BOOLEAN(false));
  }
  duckdb_ = std::make_unique<duckdb::DuckDB>(nullptr, &config);
  memory_ = std::make_shared<DuckDbMemory>(duckdb_->instance);
  AddMemorySource(memory_);
}

std::unique_ptr<Session> Instance::MakeSession(bool trusted) {
  auto session = std::make_unique<Session>();
  session->connection = std::make_unique<duckdb::Connection>(*duckdb_);
  session->state = duckdb::make_shared_ptr<SessionState>(trusted, read_ahead_granules_);
  auto& context = *session->connection->context;
  context.registered_state->Insert(SessionState::kKey, session->state);
  context.RunFunctionInTransaction([&] {
    duckdb::vector<duckdb::CatalogSearchEntry> path;
    for (const char* schema : kSearchedSchemas) path.emplace_back(kCatalogName, schema);
    duckdb::ClientData::Get(context).catalog_search_path->Set(std::move(path), duckdb::CatalogSetPathType::SET_SCHEMAS);
  });
  return session;
}

Result<std::unique_ptr<Session>> Instance::Borrow() {
  {
    MutexLock lock(&mutex_);
    if (!idle_.empty()) {
      auto session = std::move(idle_.back());
      idle_.pop_back();
      return session;
    }
  }
  return WithoutExceptions([&]() -> Result<std::unique_ptr<Session>> { return MakeSession(trusted_); });
}

Result<std::unique_ptr<Session>> Instance::MakeSessionApart() {
  return WithoutExceptions([&]() -> Result<std::unique_ptr<Session>> { return MakeSession(/*trusted=*/true); });
}

void Instance::GiveBack(std::unique_ptr<Session> session) {
  MutexLock lock(&mutex_);
  if (idle_.size() < idle_max_) idle_.push_back(std::move(session));
}

}  // namespace sheaf::query
