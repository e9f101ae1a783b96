/// Statements that come by DoPut, and parameters for those that are prepared.

#include <utility>

#include "serve/error_codes.h"
#include "serve/flight_parameters.h"
#include "serve/flight_put.h"

namespace sheaf::serve {
namespace {

/// Gathers rows of parameters; what then happens is the business of those derived from it.
class ParametersSink : public PutSink {
 public:
  ParametersSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call,
                 std::shared_ptr<const PreparedStatement> statement)
      : context_(context), call_(std::move(call)), statement_(std::move(statement)) {}

  arrow::MemoryPool* pool() override { return ParameterPool(); }
  bool owns_pool() const override { return false; }
  Status Schema(const std::shared_ptr<arrow::Schema>&) override { return Status::OK(); }

  Status Batch(const std::shared_ptr<arrow::RecordBatch>& batch, std::string_view) override {
    if (batch->num_columns() == 0 && statement_->shape.parameters->num_fields() == 0) return Status::OK();
    if (batch->num_rows() == 0 && !parameters_.empty()) return Status::OK();  // It adds nothing.
    SHEAF_RETURN_NOT_OK(AddParameterSets(batch->num_rows(), &sets_));
    SHEAF_ASSIGN_OR_RETURN(auto prepared, PrepareParameters(*batch, *statement_->shape.parameters, pool()));
    SHEAF_ASSIGN_OR_RETURN(prepared, CopyOfBatch(*prepared, pool()));  // Of the message only what counts is kept.
    const bool alike = parameters_.empty() || parameters_.front()->schema()->Equals(*prepared->schema());
    if (!alike) return MakeError(ErrorKind::kInvalid, "the parameters change their types from batch to batch");
    if (!parameters_.empty() && parameters_.front()->num_rows() == 0) parameters_.clear();
    parameters_.push_back(std::move(prepared));
    return Status::OK();
  }

  void WhenReady(std::function<void()> next) override { next(); }

  void End() override {
    {
      MutexLock lock(&mutex_);
      if (stopped_) return;
      acting_ = true;
    }
    const Result<std::string> answer = Act();
    if (!answer.ok()) return call_->Finish(ToGrpcStatus(answer.status(), context_.retry_after_ms));
    call_->Write(wire::EncodeFirstBytes(*answer));
    call_->Finish({});
  }

  /// While the statement runs, the server's grace and the call's cancelling end it: an answer now could say "not done" of what
  /// will be.
  void Stop(GrpcStatus why) override {
    {
      MutexLock lock(&mutex_);
      if (acting_ || std::exchange(stopped_, true)) return;
    }
    call_->Finish(std::move(why));
  }

 protected:
  /// The application's metadata of the answer.
  virtual Result<std::string> Act() = 0;

  const PutContext context_;
  const std::shared_ptr<GrpcStreamCall> call_;
  const std::shared_ptr<const PreparedStatement> statement_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> parameters_;

 private:
  int64_t sets_ = 0;
  Mutex mutex_;
  bool acting_ SHEAF_GUARDED_BY(mutex_) = false, stopped_ SHEAF_GUARDED_BY(mutex_) = false;
};

class UpdateSink final : public ParametersSink {
 public:
  using ParametersSink::ParametersSink;

 private:
  Result<std::string> Act() override {
    const bool given = !parameters_.empty();
    auto ticket = FlightQueries::MakeTicket(statement_->sql, given ? std::move(parameters_) : statement_->parameters);
    ticket.user = UserOf(*call_);
    SHEAF_ASSIGN_OR_RETURN(const int64_t rows, context_.queries->Update(ticket, statement_->shape.answer, call_));
    return wire::EncodeFirstNumber(rows);
  }
};

class BindSink final : public ParametersSink {
 public:
  BindSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call, std::shared_ptr<const PreparedStatement> statement,
           std::string handle)
      : ParametersSink(context, std::move(call), std::move(statement)), handle_(std::move(handle)) {}

 private:
  Result<std::string> Act() override {
    SHEAF_RETURN_NOT_OK(context_.prepared->Bind(handle_, UserOf(*call_), std::move(parameters_)));
    return wire::EncodeFirstBytes(handle_);  // The same as before.
  }

  const std::string handle_;
};

}  // namespace

Result<std::shared_ptr<PutSink>> MakeUpdateSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call,
                                                const std::string& handle, const std::string& sql) {
  std::shared_ptr<const PreparedStatement> statement;
  if (!handle.empty() || sql.empty()) {
    SHEAF_ASSIGN_OR_RETURN(statement, context.prepared->Find(handle, UserOf(*call)));
  } else {
    PreparedStatement unprepared{.sql = sql, .shape = {}, .parameters = {}, .user = UserOf(*call)};
    SHEAF_ASSIGN_OR_RETURN(unprepared.shape, context.queries->Describe(sql, *call));
    statement = std::make_shared<const PreparedStatement>(std::move(unprepared));
  }
  return std::make_shared<UpdateSink>(context, std::move(call), std::move(statement));
}

Result<std::shared_ptr<PutSink>> MakeBindSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call,
                                              const std::string& handle) {
  SHEAF_ASSIGN_OR_RETURN(auto statement, context.prepared->Find(handle, UserOf(*call)));
  return std::make_shared<BindSink>(context, std::move(call), std::move(statement), handle);
}

}  // namespace sheaf::serve
