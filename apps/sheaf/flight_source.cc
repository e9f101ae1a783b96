#include "flight_source.h"

#include <utility>

#include "client/flight_client.h"
#include "command.h"

namespace sheaf::cli {
namespace {

class FlightSourceRows : public Rows {
 public:
  explicit FlightSourceRows(std::unique_ptr<client::FlightRows> rows) : rows_(std::move(rows)) {}
  const std::shared_ptr<arrow::Schema>& schema() const override { return rows_->schema(); }
  Result<std::shared_ptr<arrow::RecordBatch>> Next() override { return rows_->Next(); }

 private:
  const std::unique_ptr<client::FlightRows> rows_;
};

class FlightSource : public QuerySource {
 public:
  explicit FlightSource(std::unique_ptr<client::FlightClient> client) : client_(std::move(client)) {}

  Result<std::unique_ptr<Rows>> Start(const std::string& sql) override {
    SHEAF_ASSIGN_OR_RETURN(auto rows, client_->Query(sql));
    return std::make_unique<FlightSourceRows>(std::move(rows));
  }
  Status Close() override { return Status::OK(); }

 private:
  const std::unique_ptr<client::FlightClient> client_;
};

}  // namespace

Result<std::unique_ptr<QuerySource>> OpenFlightSource(const SourceOptions& options) {
  SHEAF_ASSIGN_OR_RETURN(const client::Url url, client::ParseFlightUrl(options.url));
  client::FlightClientOptions flight;
  flight.connections = 1;
  flight.timeout = std::chrono::milliseconds(options.timeout_ms > 0 ? options.timeout_ms : 3'600'000);
  flight.attempts_max = 3;
  flight.cancelled = [] { return Interrupted(); };
  SHEAF_ASSIGN_OR_RETURN(auto client, client::FlightClient::Make(url, std::move(flight)));
  return std::make_unique<FlightSource>(std::move(client));
}

}  // namespace sheaf::cli
