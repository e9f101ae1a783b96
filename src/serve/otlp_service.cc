#include "serve/otlp_service.h"

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "wire/otlp_records.h"

namespace sheaf::serve {
namespace {

using wire::OtlpRequest;

constexpr OtlpRequest kRequests[] = {OtlpRequest::kTraces, OtlpRequest::kLogs, OtlpRequest::kMetrics};

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

OtlpService::OtlpService(store::Database* database, const OtlpOptions& options)
    : database_(database), options_(options), decoders_(options.limits), tail_(options.tail, options.clock),
      receiver_([this](OtlpRequest kind, std::unique_ptr<Body> body, Answer answer) { Ingest(kind, std::move(body), std::move(answer)); },
                options.retry_after_ms,
                [this](OtlpRequest kind, GrpcCode code, double seconds) {
                  metrics_.CountRequest(kind, code);
                  metrics_[kind].answer_seconds->Observe(seconds);
                }) {
  for (const OtlpRequest kind : kRequests) {
    batchers_[static_cast<size_t>(kind)] = std::make_unique<RequestBatcher>(
        wire::OtlpSignalName(kind), options.batching, options.clock,
        [this, kind](std::vector<WaitingRequest> requests) { WorkOff(kind, std::move(requests)); });
  }
}

Result<std::unique_ptr<OtlpService>> OtlpService::Make(store::Database* database, const OtlpOptions& options) {
  std::unique_ptr<OtlpService> service(new OtlpService(database, options));
  for (int i = 0; i < decode::kSignals; ++i) {
    SHEAF_ASSIGN_OR_RETURN(const auto table, database->FindTable("otel", decode::SignalTable(static_cast<decode::Signal>(i))));
    service->tables_[i] = table->id;
  }
  return service;
}

void OtlpService::Register(Transport* transport, const std::string& grpc, const std::string& http) {
  receiver_.Register(transport, grpc, http);
}

void OtlpService::Ingest(OtlpRequest kind, std::unique_ptr<Body> request, Answer answer) {
  metrics_[kind].bytes->Add(request->bytes().size());
  const Status admitted = Admit();
  if (!admitted.ok()) return answer(admitted);
  batchers_[static_cast<size_t>(kind)]->Add({.body = std::move(request), .answer = std::move(answer)});
}

void OtlpService::WorkOff(OtlpRequest kind, std::vector<WaitingRequest> requests) {
  BorrowedDecoder decoder(&decoders_);
  if (requests.size() > 1 && TryTogether(kind, &requests, decoder.get()).ok()) return;
  for (WaitingRequest& request : requests) IngestAlone(kind, &request, decoder.get());
}

void OtlpService::IngestAlone(OtlpRequest kind, WaitingRequest* request, decode::Decoder* decoder) {
  const auto start = std::chrono::steady_clock::now();
  const std::span<const std::byte> bytes = request->body->bytes();
  Result<decode::DecodeResult> decoded = kind == OtlpRequest::kTraces ? decoder->Traces(bytes)
                                         : kind == OtlpRequest::kLogs ? decoder->Logs(bytes)
                                                                      : decoder->Metrics(bytes);
  metrics_[kind].decode_seconds->Observe(SecondsSince(start));
  if (!decoded.ok()) return request->answer(decoded.status());
  Append(kind, std::move(*decoded), std::move(request->answer));
  request->body.reset();
}

/// Where one cannot be decoded, or they are too much for one entry of the log, each is to be tried by itself, so that nobody is
/// answered for what others sent. All other errors are those that each would get.
Status OtlpService::TryTogether(OtlpRequest kind, std::vector<WaitingRequest>* requests, decode::Decoder* decoder) {
  std::vector<std::string_view> bytes;
  bytes.reserve(requests->size());
  for (const WaitingRequest& request : *requests) bytes.push_back(request.body->view());
  const auto start = std::chrono::steady_clock::now();
  Result<decode::JointResult> joint = decoder->Together(kind, bytes);
  metrics_[kind].decode_seconds->Observe(SecondsSince(start));
  if (!joint.ok()) return joint.status();

  using Answered = std::pair<IngestOutcome, Answer>;
  auto answered = std::make_shared<std::vector<Answered>>();
  answered->reserve(requests->size());
  decode::DecodeResult all;
  all.batches = std::move(joint->batches);
  for (size_t i = 0; i < requests->size(); ++i) {
    decode::RecordCounts& counts = joint->requests[i];
    all.accepted += counts.accepted;
    all.rejected += counts.rejected;
    answered->emplace_back(IngestOutcome{.accepted = counts.accepted, .rejected = counts.rejected,
                                         .rejected_reason = std::move(counts.rejected_reason)},
                           (*requests)[i].answer);
  }
  const Answer answer = [answered](const Result<IngestOutcome>& result) {
    for (const auto& [outcome, answer_one] : *answered) result.ok() ? answer_one(outcome) : answer_one(result.status());
  };
  const Status logged = Log(kind, std::move(all), answer);
  if (!logged.ok() && KindOf(logged) == ErrorKind::kTooLarge) return logged;
  if (!logged.ok()) answer(logged);
  return Status::OK();
}

Result<OtlpService::Sampled> OtlpService::Sample(std::vector<decode::TableBatch>* spans) {
  Sampled out;
  if (options_.sampling.empty() || spans->empty()) return out;
  const std::shared_ptr<arrow::RecordBatch> all = std::move(spans->front().batch);  // Of traces there is one.
  spans->clear();
  const SpanDecisions decisions = DecideSpans(options_.sampling, *all);
  SHEAF_ASSIGN_OR_RETURN(auto kept, TakeKept(decisions, all, &NamedPool("decode")));
  if (kept) spans->push_back({.signal = decode::Signal::kTraces, .batch = std::move(kept)});
  out.left_out = all->num_rows() - decisions.kept_count;
  if (options_.tail.empty()) return out;
  SHEAF_ASSIGN_OR_RETURN(auto taken, tail_.Take(decisions, all));
  if (taken.spans) spans->push_back({.signal = decode::Signal::kTraces, .batch = taken.spans});
  out.taken = std::make_shared<const TailSampler::Taken>(std::move(taken));
  return out;
}

Status OtlpService::Admit() const {
  if (!options_.overloaded || !options_.overloaded()) return Status::OK();
  return MakeError(ErrorKind::kThrottled, "recent rows fill their memory until they are sealed; send the request again later");
}

void OtlpService::Append(OtlpRequest kind, decode::DecodeResult decoded, Answer answer) {
  const Status refused = Log(kind, std::move(decoded), answer);
  if (!refused.ok()) answer(refused);
}

Status OtlpService::Log(OtlpRequest kind, decode::DecodeResult decoded, const Answer& answer) {
  const IngestOutcome outcome{
      .accepted = decoded.accepted, .rejected = decoded.rejected, .rejected_reason = std::move(decoded.rejected_reason)};
  Sampled sampled;
  if (kind == OtlpRequest::kTraces) {
    SHEAF_ASSIGN_OR_RETURN(sampled, Sample(&decoded.batches));
  }
  if (decoded.batches.empty()) {
    answer(outcome);
  } else if (Status refused = TryAppend(kind, outcome, std::move(decoded.batches), sampled.taken, answer);
             !refused.ok()) {
    if (sampled.taken) tail_.GiveBack(*sampled.taken);
    return refused;
  }
  metrics_[kind].sampled_out->Add(static_cast<uint64_t>(sampled.left_out));
  metrics_[kind].rejected->Add(static_cast<uint64_t>(outcome.rejected));
  return Status::OK();
}

Status OtlpService::TryAppend(OtlpRequest kind, const IngestOutcome& outcome, std::vector<decode::TableBatch> batches,
                              const std::shared_ptr<const TailSampler::Taken>& taken, const Answer& answer) {
  std::vector<store::TableRows> rows;
  rows.reserve(batches.size());
  int64_t logged = 0;
  for (decode::TableBatch& batch : batches) {
    logged += batch.batch->num_rows();
    rows.push_back({.table = tables_[static_cast<int>(batch.signal)], .batch = std::move(batch.batch)});
  }
  auto done = [this, answer, outcome, logged, taken, durable = metrics_[kind].rows](Result<Lsn> lsn) {
    if (taken) lsn.ok() ? tail_.CountLogged(*taken) : tail_.GiveBack(*taken);
    if (!lsn.ok()) return answer(lsn.status());
    durable->Add(static_cast<uint64_t>(logged));
    answer(outcome);
  };
  return database_->AppendAsync(rows, store::WriteOptions(), std::move(done));
}

}  // namespace sheaf::serve
