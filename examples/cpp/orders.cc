/// Sheaf inside a C++ program: orders in a keyed table, changed under a condition, asked for by SQL, by key and by a range of keys.
///
///   orders DIRECTORY

#include <cstdint>
#include <future>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/scalar.h>
#include <arrow/table.h>

#include <sheaf/database.h>

namespace {

arrow::Result<std::shared_ptr<arrow::RecordBatch>> Orders(const std::vector<int64_t>& ids, const std::vector<int64_t>& prices,
                                                          const std::vector<std::string>& states) {
  arrow::Int64Builder id, price;
  arrow::StringBuilder state;
  ARROW_RETURN_NOT_OK(id.AppendValues(ids));
  ARROW_RETURN_NOT_OK(price.AppendValues(prices));
  ARROW_RETURN_NOT_OK(state.AppendValues(states));
  const auto schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("price", arrow::int64()),
                                     arrow::field("state", arrow::utf8())});
  ARROW_ASSIGN_OR_RAISE(const auto ids_array, id.Finish());
  ARROW_ASSIGN_OR_RAISE(const auto prices_array, price.Finish());
  ARROW_ASSIGN_OR_RAISE(const auto states_array, state.Finish());
  return arrow::RecordBatch::Make(schema, static_cast<int64_t>(ids.size()), {ids_array, prices_array, states_array});
}

arrow::Status Run(const std::string& directory) {
  ARROW_ASSIGN_OR_RAISE(const auto database, sheaf::Database::Open(directory));
  ARROW_RETURN_NOT_OK(database->Execute("CREATE TABLE IF NOT EXISTS orders (id BIGINT PRIMARY KEY, price BIGINT, state VARCHAR)"));

  // Durable when Ingest() returns; SQL sees it at once. Sent again with the same batch id, it would add nothing.
  ARROW_ASSIGN_OR_RAISE(const auto rows, Orders({1, 2, 3}, {100, 250, 75}, {"new", "new", "new"}));
  ARROW_RETURN_NOT_OK(database->Ingest("orders", rows, {.batch_id = "opening", .when = sheaf::Ingested::kDurable}).status());

  // Change order 2 only if nobody else changed it since it was read.
  ARROW_ASSIGN_OR_RAISE(const auto found, database->Get("orders", {arrow::MakeScalar(int64_t{2})}));
  ARROW_ASSIGN_OR_RAISE(const auto filled, Orders({2}, {250}, {"filled"}));
  ARROW_RETURN_NOT_OK(database->Ingest("orders", filled, {.expected = found.lsn}).status());
  const auto late = database->Ingest("orders", filled, {.expected = found.lsn});
  std::cout << "a second change of the same version: " << (late.ok() ? "done" : sheaf::ErrorCode(late.status())) << "\n";

  ARROW_ASSIGN_OR_RAISE(const auto reader, database->Sql("SELECT * FROM orders WHERE price >= ? ORDER BY id", {int64_t{100}}));
  ARROW_ASSIGN_OR_RAISE(const auto table, reader->ToTable());
  std::cout << table->ToString() << "\n";

  // The same without SQL: orders 1 and 2, in the order of their keys.
  ARROW_ASSIGN_OR_RAISE(const auto first_two, database->Scan("orders", {.to = {arrow::MakeScalar(int64_t{3})}, .columns = {"id"}}));
  ARROW_ASSIGN_OR_RAISE(const auto ids, first_two->ToTable());
  std::cout << ids->num_rows() << " orders below 3\n";

  // Without waiting: `done` is told once the row is on disk, on a thread of the database.
  std::promise<arrow::Result<uint64_t>> done;
  ARROW_ASSIGN_OR_RAISE(const auto late_order, Orders({4}, {60}, {"new"}));
  ARROW_RETURN_NOT_OK(database->IngestAsync("orders", late_order, {.when = sheaf::Ingested::kDurable},
                                            [&done](arrow::Result<uint64_t> lsn) { done.set_value(std::move(lsn)); }));
  ARROW_RETURN_NOT_OK(done.get_future().get().status());

  ARROW_ASSIGN_OR_RAISE(const auto snapshot, database->CreateSnapshot());
  std::cout << "snapshot " << snapshot << "\n";
  return arrow::Status::OK();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: orders DIRECTORY\n";
    return 2;
  }
  const arrow::Status done = Run(argv[1]);
  if (!done.ok()) std::cerr << "orders: " << done.message() << "\n";
  return done.ok() ? 0 : 1;
}
