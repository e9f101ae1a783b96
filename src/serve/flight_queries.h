/// Statements over Flight: their tickets, sending their rows, cancelling them.
///
/// A ticket holds all that is needed to run its statement, so nothing is kept between GetFlightInfo and DoGet, and a ticket that
/// nobody redeems costs nothing. It is for the user who asked for it, and what it does is checked again when it is redeemed: whoever
/// changes one could as well send the statement itself. Statements that give no
/// rows are run by GetFlightInfo, as Flight SQL has it, and the ticket holds their answer: redeeming it twice does not write
/// twice. Those that write and give rows (RETURNING) run when their ticket is redeemed, which works once.

#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "core/status.h"
#include "query/engine.h"
#include "serve/transport.h"

namespace sheaf::serve {

/// A statement that is to be run once.
struct StatementTicket {
  uint64_t id = 0;  // To cancel it by.
  std::string sql;
  std::vector<std::shared_ptr<arrow::RecordBatch>> parameters;  // It is run once for each row; none: once without any.
  std::shared_ptr<arrow::RecordBatch> answer;                   // Not null: it was run, and this came of it.
  std::string user;      // Who may redeem it; empty: there were no users.
  uint64_t once_by = 0;  // Not 0: it writes and gives rows; it may be redeemed once, at the FlightQueries that this names.
};

/// Errors: Arrow's.
Result<std::string> EncodeTicket(const StatementTicket& ticket);
/// Error: Invalid (not of EncodeTicket()), OutOfMemory.
Result<StatementTicket> DecodeTicket(std::string_view bytes);
/// The same for `call`. Also NotFound: it is another user's.
Result<StatementTicket> ReadTicket(std::string_view bytes, const GrpcCall& call);
/// The name of the user who sends it; empty where there are no users.
std::string UserOf(const GrpcCall& call);

/// Memory of parameters that wait for their statement.
arrow::MemoryPool* ParameterPool();

/// Most sets of parameters of one call, each of which is a statement of its own.
inline constexpr int64_t kParameterSetsMax = 1'000'000;
/// Adds to `sets`. TooLarge: they would be more than kParameterSetsMax.
Status AddParameterSets(int64_t added, int64_t* sets);

enum class CancelOutcome : uint8_t { kCancelled = 1, kCancelling = 2, kNotCancellable = 3 };  // As Flight numbers them.

/// Thread-safe. Borrows the engine.
class FlightQueries {
 public:
  /// `timeout_ms`: of a call, its sets of parameters and the sending of its rows all together; 0: none.
  FlightQueries(query::Engine* engine, int64_t timeout_ms);

  /// A ticket for the statement, with an id of its own.
  static StatementTicket MakeTicket(std::string sql, std::vector<std::shared_ptr<arrow::RecordBatch>> parameters = {});
  /// Makes it one that can be redeemed once.
  void LimitToOnce(StatementTicket* ticket) const { ticket->once_by = self_; }

  /// Plans what `call` asks for. Errors: the engine's.
  Result<query::StatementShape> Describe(const std::string& sql, const GrpcCall& call) const;

  /// What the rows of a statement of `shape` will be; null where that shows only when it runs.
  Result<std::shared_ptr<arrow::Schema>> SchemaOf(const StatementTicket& ticket, const query::StatementShape& shape,
                                                  const GrpcCall& call);

  /// Runs it and sends its rows as they come, as slowly as the peer reads. Errors: the engine's; Cancelled.
  Status Send(const StatementTicket& ticket, const std::shared_ptr<GrpcStreamCall>& call) SHEAF_EXCLUDES(mutex_);

  /// One batch with its schema.
  static Status SendBatch(const arrow::RecordBatch& batch, const std::shared_ptr<GrpcStreamCall>& call);

  /// Runs it to its end; how many rows it changed, or gave. Each row of parameters is a statement of its own: those before one
  /// that fails stay done, and the error says how many.
  Result<int64_t> Update(const StatementTicket& ticket, query::StatementShape::Answer answer,
                         const std::shared_ptr<GrpcStreamCall>& call) SHEAF_EXCLUDES(mutex_);

  /// The same, and what a client is told of it as rows.
  Result<std::shared_ptr<arrow::RecordBatch>> UpdateToRows(const StatementTicket& ticket, const query::StatementShape& shape,
                                                           const std::shared_ptr<GrpcStreamCall>& call);

  /// Stops it where it runs; where it does not yet, it will not.
  void Cancel(const StatementTicket& ticket) SHEAF_EXCLUDES(mutex_);

  /// Ends the calls of Send() whose time is over at `now`, and whose peer reads so slowly that the statement itself does not
  /// notice. To be called now and then.
  void EndOverdue(std::chrono::steady_clock::time_point now) SHEAF_EXCLUDES(mutex_);

 private:
  class OfCall;
  Result<std::unique_ptr<query::Query>> Start(const StatementTicket& ticket, int64_t set, const OfCall& of_call);
  Status Redeem(const StatementTicket& ticket) SHEAF_EXCLUDES(mutex_);
  /// Whose statement and which: the number alone would let a user who learned it stop another's.
  using Key = std::pair<std::string, uint64_t>;
  static Key KeyOf(const StatementTicket& ticket) { return {ticket.user, ticket.id}; }
  Status Enter(const Key& key, OfCall* of_call) SHEAF_EXCLUDES(mutex_);
  void Leave(const Key& key, const OfCall* of_call) SHEAF_EXCLUDES(mutex_);
  Status SendSet(const StatementTicket& ticket, int64_t set, OfCall* of_call);
  Result<int64_t> UpdateSet(const StatementTicket& ticket, int64_t set, query::StatementShape::Answer answer, OfCall* of_call);

  query::Engine* const engine_;
  const int64_t timeout_ms_;
  const uint64_t self_;  // Another one each time that a server starts.
  Mutex mutex_;
  std::multimap<Key, OfCall*> running_ SHEAF_GUARDED_BY(mutex_);
  std::deque<Key> cancelled_ SHEAF_GUARDED_BY(mutex_);  // Before they ran; the oldest are forgotten.
  std::deque<Key> redeemed_ SHEAF_GUARDED_BY(mutex_);   // Of those that can be once; the oldest are forgotten.
  std::set<Key> redeemed_keys_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::serve
