#include "serve/table_api.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <arrow/table.h>
#include <nlohmann/json.hpp>

#include "columns/key_codec.h"
#include "core/memory.h"
#include "query/formats.h"
#include "query/row_reader.h"
#include "serve/answer_stream.h"
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

/// As the log keeps it.
constexpr size_t kIdempotencyKeyBytesMax = 64;

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

/// The form that rows come in; other forms are for answers only.
Result<query::Format> FormatOf(const HttpRequest& request) {
  using query::Format;
  const std::string type = MediaTypeOf(request.header("content-type"));
  std::string known;
  for (const Format format : {Format::kArrow, Format::kParquet, Format::kNdjson, Format::kCsv}) {
    if (type == query::MediaType(format)) return format;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", query::MediaType(format));
  }
  return MakeError(ErrorKind::kInvalid, "the Content-Type must be one of {}, not '{}'", known, type.substr(0, 64));
}

/// The request's Idempotency-Key, or nothing. An empty one is a mistake that would cost the client the harmless retry it counts on.
Result<std::string> IdempotencyKey(const HttpRequest& request) {
  const auto given = std::ranges::find_if(request.headers, [](const auto& header) { return header.first == "idempotency-key"; });
  if (given == request.headers.end()) return std::string();
  if (!given->second.empty() && given->second.size() <= kIdempotencyKeyBytesMax) return given->second;
  return MakeError(ErrorKind::kInvalid, "the Idempotency-Key has {} bytes; it may have 1 to {}", given->second.size(),
                   kIdempotencyKeyBytesMax);
}

/// The first wrong row, and how many there are.
std::string Describe(const query::RowErrors& wrong) {
  const query::RowError& first = wrong.first.front();
  const std::string column = first.column.empty() ? "" : fmt::format("column '{}': ", first.column);
  const char* const more = wrong.rows_wrong >= query::kRowsWrongMax ? "at least " : "";
  return fmt::format("line {}: {}{}; {}{} {} wrong, and nothing was added", first.line, column, first.message, more, wrong.rows_wrong,
                     wrong.rows_wrong == 1 ? "row is" : "rows are");
}

nlohmann::json ToJson(const store::SnapshotInfo& info) {
  return {
      {"id", info.id}, {"lsn", info.lsn.value}, {"created_ns", info.created_ns}, {"parts", info.parts}, {"bytes", info.bytes}};
}

}  // namespace

void TableApi::Register(Transport* transport, const std::string& listener) {
  transport->HandleHttp(listener, "POST", "/v1/tables/*", [this](std::shared_ptr<HttpExchange> exchange) { AddRows(exchange); });
  transport->HandleHttp(listener, "GET", "/v1/tables/*/rows/*", [this](std::shared_ptr<HttpExchange> exchange) { GetRow(exchange); });
  transport->HandleHttp(listener, "GET", "/v1/snapshots",
                        [this](std::shared_ptr<HttpExchange> exchange) { ListSnapshots(exchange); });
  transport->HandleHttp(listener, "POST", "/v1/snapshots",
                        [this](std::shared_ptr<HttpExchange> exchange) { MakeSnapshot(exchange); });
}

void TableApi::Answer(const std::shared_ptr<HttpExchange>& exchange, const Result<std::string>& body) const {
  if (!body.ok()) return RespondJsonError(exchange.get(), body.status(), -1, retry_after_ms_);
  RespondWhole(exchange, {{"content-type", "application/json"}}, *body + "\n");
}

void TableApi::AddRows(const std::shared_ptr<HttpExchange>& exchange) {
  query::RowErrors wrong;
  const Result<std::string> body = AddRowsNow(exchange->request, &wrong);
  if (body.ok() || wrong.first.empty()) return Answer(exchange, body);
  const Status error = MakeStatus(ErrorKind::kInvalid, Describe(wrong));
  nlohmann::json json = JsonOfError(error);
  json["lines_wrong"] = wrong.rows_wrong;
  for (const query::RowError& each : wrong.first) {
    nlohmann::json column = each.column.empty() ? nlohmann::json() : nlohmann::json(each.column);
    json["lines"].push_back({{"line", each.line}, {"column", std::move(column)}, {"message", each.message}});
  }
  RespondJsonError(exchange.get(), error, json, retry_after_ms_);
}

void TableApi::GetRow(const std::shared_ptr<HttpExchange>& exchange) { Answer(exchange, GetRowNow(exchange->request)); }

Result<std::string> TableApi::AddRowsNow(const HttpRequest& request, query::RowErrors* wrong) {
  SHEAF_ASSIGN_OR_RETURN(const auto table, FindTable(*database_, std::string_view(request.path).substr(kTables.size())));
  SHEAF_RETURN_NOT_OK(CheckRight(request.identity.get(), access::Action::kWrite, table->schema_name));
  SHEAF_RETURN_NOT_OK(CheckTakesRows(*table));
  SHEAF_ASSIGN_OR_RETURN(const query::Format format, FormatOf(request));
  const std::string_view body = request.body->view();
  const auto bytes =
      std::make_shared<arrow::Buffer>(reinterpret_cast<const uint8_t*>(body.data()), static_cast<int64_t>(body.size()));
  TrackingPool pool("rows", kRowsBytesBase + kRowsBytesPerByte * bytes->size(), &NamedPool("ingest"));
  store::WriteOptions options;
  SHEAF_ASSIGN_OR_RETURN(options.batch_id, IdempotencyKey(request));
  const auto Explained = [&](const Status& error) {
    if (KindOf(error) == ErrorKind::kInvalid) *wrong = query::FindRowErrors(format, bytes, table->schema, &pool);
    return error;
  };
  const auto read = query::ReadRows(format, bytes, table->schema, &pool);
  if (!read.ok()) return Explained(read.status());
  const auto& batches = *read;
  if (batches.empty()) return DumpJson({{"rows", 0}, {"lsn", nullptr}});
  const Result<Lsn> lsn = database_->Append({{table->id, batches.front()}}, options);
  if (!lsn.ok()) return Explained(lsn.status());
  return DumpJson({{"rows", batches.front()->num_rows()}, {"lsn", lsn->value}});
}

Result<std::string> TableApi::GetRowNow(const HttpRequest& request) {
  const std::string_view path = std::string_view(request.path).substr(kTables.size());
  const size_t rows = path.find(kRows, 1);  // As the route has it.
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
    const bool named = asked.is_object() && asked.contains("id");
    const bool known = asked.is_object() && asked.size() == (named ? 1 : 0) && (!named || asked["id"].is_string());
    if (!known || (named && asked["id"].get<std::string>().empty())) {
      return Answer(exchange, MakeError(ErrorKind::kInvalid, "the body must be empty or {{\"id\": \"NAME\"}}"));
    }
    id = asked.value("id", "");
  }
  const auto made = database_->CreateSnapshot(id);
  if (!made.ok()) return Answer(exchange, made.status());
  Answer(exchange, DumpJson(ToJson(*made)));
}

}  // namespace sheaf::serve
