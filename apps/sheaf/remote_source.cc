#include "remote_source.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <arrow/ipc/reader.h>
#include <nlohmann/json.hpp>

#include "client/http_client.h"
#include "client/otlp_exporter.h"
#include "command.h"
#include "credentials.h"

namespace sheaf::cli {
namespace {

/// An answer's body as Arrow reads it. Remembers the error that ended it.
class BodyStream : public arrow::io::InputStream {
 public:
  explicit BodyStream(std::unique_ptr<client::HttpResponseStream> response) : response_(std::move(response)) {}

  arrow::Status Close() override {
    closed_ = true;
    return arrow::Status::OK();
  }
  bool closed() const override { return closed_; }
  arrow::Result<int64_t> Tell() const override { return position_; }

  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    int64_t filled = 0;
    while (filled < bytes) {
      SHEAF_ASSIGN_OR_RETURN(const int64_t read,
                             response_->Read({static_cast<char*>(out) + filled, static_cast<size_t>(bytes - filled)}));
      if (read == 0) break;
      filled += read;
    }
    position_ += filled;
    return filled;
  }

  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t bytes) override {
    SHEAF_ASSIGN_OR_RETURN(auto buffer, arrow::AllocateResizableBuffer(bytes));
    SHEAF_ASSIGN_OR_RETURN(const int64_t read, Read(bytes, buffer->mutable_data()));
    SHEAF_RETURN_NOT_OK(buffer->Resize(read));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  }

 private:
  const std::unique_ptr<client::HttpResponseStream> response_;
  int64_t position_ = 0;
  bool closed_ = false;
};

class RemoteRows : public Rows {
 public:
  RemoteRows(std::shared_ptr<BodyStream> body, std::shared_ptr<arrow::ipc::RecordBatchStreamReader> reader)
      : body_(std::move(body)), reader_(std::move(reader)), schema_(reader_->schema()) {}
  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  Result<std::shared_ptr<arrow::RecordBatch>> Next() override {
    SHEAF_ASSIGN_OR_RETURN(auto batch, reader_->Next());
    if (batch != nullptr) return batch;
    // The stream's own end mark came; the answer must end here too, and whole.
    char rest = 0;
    SHEAF_ASSIGN_OR_RETURN(const int64_t more, body_->Read(1, &rest));
    if (more != 0) return MakeError(ErrorKind::kInvalid, "the server sent bytes after the end of the Arrow stream");
    return nullptr;
  }

 private:
  const std::shared_ptr<BodyStream> body_;
  const std::shared_ptr<arrow::ipc::RecordBatchStreamReader> reader_;
  const std::shared_ptr<arrow::Schema> schema_;
};

/// {"error": {"code", "message", "position"}} as a Status.
Status ServerError(client::HttpResponse response, client::HttpResponseStream* stream) {
  std::vector<char> chunk(64 << 10);
  while (response.body.size() < (size_t{1} << 20)) {
    const auto read = stream->Read(chunk);
    if (!read.ok() || *read == 0) break;  // What came so far still tells more than the broken end.
    response.body.append(chunk.data(), static_cast<size_t>(*read));
  }
  const nlohmann::json body = nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (body.is_object() && body.contains("error") && body["error"].is_object()) {
    const auto message = body["error"].find("message");
    if (message != body["error"].end() && message->is_string()) response.body = message->get<std::string>();
  }
  return client::ErrorOfResponse(response);
}

class RemoteSource : public QuerySource {
 public:
  explicit RemoteSource(std::unique_ptr<client::HttpClient> client) : client_(std::move(client)) {}

  Result<std::unique_ptr<Rows>> Start(const std::string& sql) override {
    client::HttpRequest request;
    request.target = "/v1/sql";
    request.headers = {{"content-type", "text/plain; charset=utf-8"}, {"accept", "application/vnd.apache.arrow.stream"}};
    request.body = sql;
    request.repeatable = true;  // A server runs only reading statements for others.
    SHEAF_ASSIGN_OR_RETURN(auto response, client_->Start(request));
    if (response->head().status != 200) return ServerError(response->head(), response.get());
    auto body = std::make_shared<BodyStream>(std::move(response));
    SHEAF_ASSIGN_OR_RETURN(auto reader, arrow::ipc::RecordBatchStreamReader::Open(body));
    return std::make_unique<RemoteRows>(std::move(body), std::move(reader));
  }

  Status Close() override { return Status::OK(); }

 private:
  const std::unique_ptr<client::HttpClient> client_;
};

}  // namespace

Result<std::unique_ptr<QuerySource>> OpenRemoteSource(const SourceOptions& options) {
  const bool by_default = options.url.empty();
  SHEAF_ASSIGN_OR_RETURN(const client::Url url, client::ParseUrl(by_default ? kDefaultUrl : options.url));
  client::HttpClientOptions http;
  http.attempts_max = 3;
  http.response_timeout = std::chrono::milliseconds(options.timeout_ms > 0 ? options.timeout_ms : 3'600'000);
  http.cancelled = [] { return Interrupted(); };
  SHEAF_ASSIGN_OR_RETURN(http.authorization, Authorization(options.user));
  SHEAF_ASSIGN_OR_RETURN(auto client, client::HttpClient::Make(url, http));
  return std::make_unique<RemoteSource>(std::move(client));
}

}  // namespace sheaf::cli
