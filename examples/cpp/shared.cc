// One process publishes the rows of a statement, others read them from the same memory:
//     shared publish DIRECTORY NAME "SELECT …"     holds them until its standard input ends
//     shared read NAME

#include <iostream>
#include <limits>
#include <string>

#include <arrow/api.h>
#include <sheaf/database.h>
#include <sheaf/shared_tables.h>

namespace {

arrow::Status Publish(const std::string& directory, const std::string& name, const std::string& sql) {
  ARROW_ASSIGN_OR_RAISE(const auto database, sheaf::Database::Open(directory));
  ARROW_ASSIGN_OR_RAISE(const auto shared, sheaf::SharedTables::Open());
  ARROW_ASSIGN_OR_RAISE(const auto rows, database->Sql(sql));
  ARROW_ASSIGN_OR_RAISE(const auto table, shared->Publish(name, *rows, {.replace = true}));
  std::cout << table->num_rows() << " rows are shared as " << name << std::endl;
  std::cin.ignore(std::numeric_limits<std::streamsize>::max());
  return arrow::Status::OK();
}

arrow::Status Read(const std::string& name) {
  ARROW_ASSIGN_OR_RAISE(const auto shared, sheaf::SharedTables::Open());
  ARROW_ASSIGN_OR_RAISE(const auto table, shared->Get(name));
  std::cout << table->ToString() << "\n" << arrow::default_memory_pool()->bytes_allocated() << " bytes of its own\n";
  return arrow::Status::OK();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (!(verb == "publish" && argc == 5) && !(verb == "read" && argc == 3)) {
    std::cerr << "usage: shared publish DIRECTORY NAME SQL | shared read NAME\n";
    return 2;
  }
  const arrow::Status done = verb == "publish" ? Publish(argv[2], argv[3], argv[4]) : Read(argv[2]);
  if (!done.ok()) std::cerr << "shared: " << done.message() << "\n";
  return done.ok() ? 0 : 1;
}
