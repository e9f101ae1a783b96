#include "serve/table_api.h"

#include <utility>
#include <vector>

#include <arrow/table.h>
#include <nlohmann/json.hpp>

#include "columns/key_codec.h"
#include "core/memory.h"
#include "query/formats.h"
#include "query/row_reader.h"
#include "serve/error_codes.h"
#include "serve/flight_put.h"
#include "serve/gate.h"
#include "serve/http_api.h"
#include "serve/json_text.h"

namespace sheaf::serve {
namespace {

constexpr std::string_view kTables = "/v1/tables/";
constexpr std::string_view kRows = "/rows/";

/// What the rows of a request may take, as what OTLP is decoded to: so much, and so much for each of its bytes.
constexpr int64_t kRowsBytesBase = int64_t{64} << 20;
constexpr int64_t kRowsBytesPerByte = 3;

/// A snapshot's name in JSON; a larger document would take many times its size.
constexpr size_t kSnapshotBodyBytesMax = 4096;

/// "trading.orders" to the table; "orders" is main.orders.
Result<std::shared_ptr<const store::TableInfo>> FindTable(const store::Database& database, std::string_view name) {
  const size_t dot = name.find('.');
  if (name.empty() || name.find('/') != std::string_view::npos) {
    return MakeError(ErrorKind::kNotFound, "{} is no table; write /v1/tables/SCHEMA.TABLE", name);
  }
  if (dot == std::string_view::npos) return database.FindTable("main", std::string(name));
  SHEAF_ASSIGN_OR_RETURN(auto table, database.FindTable(std::string(name.substr(0, dot)), std::string(name.substr(dot + 1))));
  if (table->schema_name == "sheaf") return MakeError(ErrorKind::kDenied, "{} is the engine's own", name);
  return table;
}

Result<query::Format> FormatOf(const HttpRequest& request) {
  std::string_view type = request.header("content-type");
  type = type.substr(0, type.find(';'));
  if (type.empty())
    return MakeError(ErrorKind::kInvalid,
                     "a Content-Type is missing: application/vnd.apache.arrow.stream, "
                     "application/vnd.apache.parquet, application/x-ndjson or text/csv");
  return query::ParseFormat(type);
}

nlohmann::json ToJson(const store::SnapshotInfo& info) {
  return {
      {"id", info.id}, {"lsn", info.lsn.value}, {"created_ns", info.created_ns}, {"parts", info.parts}, {"bytes", info.bytes}};
}

}  // namespace

void TableApi::Register(Transport* transport, const std::string& listener) {
  transport->HandleHttp(listener, "POST", "/v1/tables/*", [this](std::shared_ptr<HttpExchange> exchange) { AddRows(exchange); });
  transport->HandleHttp(listener, "GET", "/v1/tables/*", [this](std::shared_ptr<HttpExchange> exchange) { GetRow(exchange); });
  transport->HandleHttp(listener, "GET", "/v1/snapshots",
                        [this](std::shared_ptr<HttpExchange> exchange) { ListSnapshots(exchange); });
  transport->HandleHttp(listener, "POST", "/v1/snapshots",
                        [this](std::shared_ptr<HttpExchange> exchange) { MakeSnapshot(exchange); });
}

void TableApi::Answer(const std::shared_ptr<HttpExchange>& exchange, const Result<std::string>& body) const {
  if (!body.ok()) return RespondJsonError(exchange.get(), body.status(), -1, retry_after_ms_);
  exchange->Respond(200, {{"content-type", "application/json"}}, *body + "\n");
}

void TableApi::AddRows(const std::shared_ptr<HttpExchange>& exchange) { Answer(exchange, AddRowsNow(exchange->request)); }
void TableApi::GetRow(const std::shared_ptr<HttpExchange>& exchange) { Answer(exchange, GetRowNow(exchange->request)); }

Result<std::string> TableApi::AddRowsNow(const HttpRequest& request) {
  SHEAF_ASSIGN_OR_RETURN(const auto table, FindTable(*database_, std::string_view(request.path).substr(kTables.size())));
  SHEAF_RETURN_NOT_OK(CheckRight(request.identity.get(), access::Action::kWrite, table->schema_name));
  SHEAF_RETURN_NOT_OK(CheckTakesRows(*table));
  SHEAF_ASSIGN_OR_RETURN(const query::Format format, FormatOf(request));
  const std::string_view body = request.body->view();
  const auto bytes =
      std::make_shared<arrow::Buffer>(reinterpret_cast<const uint8_t*>(body.data()), static_cast<int64_t>(body.size()));
  TrackingPool pool("rows", kRowsBytesBase + kRowsBytesPerByte * bytes->size(), &NamedPool("ingest"));
  SHEAF_ASSIGN_OR_RETURN(const auto batches, query::ReadRows(format, bytes, table->schema, &pool));
  if (batches.empty()) return DumpJson({{"rows", 0}, {"lsn", nullptr}});
  store::WriteOptions options;
  options.batch_id = std::string(request.header("idempotency-key"));
  SHEAF_ASSIGN_OR_RETURN(const Lsn lsn, database_->Append({{table->id, batches.front()}}, options));
  return DumpJson({{"rows", batches.front()->num_rows()}, {"lsn", lsn.value}});
}

Result<std::string> TableApi::GetRowNow(const HttpRequest& request) {
  const std::string_view path = std::string_view(request.path).substr(kTables.size());
  const size_t rows = path.find(kRows);
  if (rows == std::string_view::npos) {
    return MakeError(ErrorKind::kNotFound, "{} is not here; GET /v1/tables/SCHEMA.TABLE/rows/KEY is", request.path);
  }
  SHEAF_ASSIGN_OR_RETURN(const auto table, FindTable(*database_, path.substr(0, rows)));
  SHEAF_RETURN_NOT_OK(CheckRight(request.identity.get(), access::Action::kRead, table->schema_name));
  if (table->keys == nullptr) {
    return MakeError(ErrorKind::kInvalid, "{}.{} has no primary key to find rows by", table->schema_name, table->name);
  }
  // The path comes decoded, so a '/' inside a value of the last column stays; one in others cannot be told from a separator.
  std::vector<std::string> values;
  std::string_view rest = path.substr(rows + kRows.size());
  for (size_t i = 0; i + 1 < table->key_columns.size(); ++i) {
    const size_t slash = rest.find('/');
    if (slash == std::string_view::npos) break;
    values.emplace_back(rest.substr(0, slash));
    rest.remove_prefix(slash + 1);
  }
  values.emplace_back(rest);
  SHEAF_ASSIGN_OR_RETURN(const std::string key, table->keys->EncodeText(values));
  SHEAF_ASSIGN_OR_RETURN(const store::KeyedRow row, database_->Get(table->id, key));
  if (!row)
    return MakeError(ErrorKind::kNotFound, "{}.{} has no row {}", table->schema_name, table->name, table->keys->ToText(key));
  std::string text;
  SHEAF_ASSIGN_OR_RETURN(const auto writer,
                         query::ResultWriter::Make(query::Format::kNdjson, table->schema, [&text](std::string_view bytes) {
                           text.append(bytes);
                           return Status::OK();
                         }));
  SHEAF_RETURN_NOT_OK(writer->Write(*row.Slice()));
  SHEAF_RETURN_NOT_OK(writer->Finish());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

void TableApi::ListSnapshots(const std::shared_ptr<HttpExchange>& exchange) {
  const auto snapshots = database_->Snapshots();
  if (!snapshots.ok()) return Answer(exchange, snapshots.status());
  nlohmann::json list = nlohmann::json::array();
  for (const store::SnapshotInfo& info : *snapshots) list.push_back(ToJson(info));
  Answer(exchange, DumpJson(list));
}

void TableApi::MakeSnapshot(const std::shared_ptr<HttpExchange>& exchange) {
  std::string id;
  if (const std::string_view body = exchange->request.body->view(); !body.empty()) {
    if (body.size() > kSnapshotBodyBytesMax) {
      return Answer(exchange, MakeError(ErrorKind::kTooLarge, "the body has {} bytes, at most {} name a snapshot", body.size(),
                                        kSnapshotBodyBytesMax));
    }
    const auto asked = nlohmann::json::parse(body, nullptr, false);
    if (!asked.is_object() || (asked.contains("id") && !asked["id"].is_string())) {
      return Answer(exchange, MakeError(ErrorKind::kInvalid, "the body must be empty or {{\"id\": \"NAME\"}}"));
    }
    id = asked.value("id", "");
  }
  const auto made = database_->CreateSnapshot(id);
  if (!made.ok()) return Answer(exchange, made.status());
  Answer(exchange, DumpJson(ToJson(*made)));
}

}  // namespace sheaf::serve
