/// Calls a server with libgrpc++ and says how each case went:
///
///   grpc_cpp_client echo HOST:PORT [CA_FILE]
///   grpc_cpp_client export HOST:PORT FOLDER
///   grpc_cpp_client concurrent HOST:PORT
///   grpc_cpp_client refusals HOST:PORT
///
/// cases.h says what each group sends, and to which server. Exits 1 if any case fails, 2 on wrong usage.

#include <cstdio>
#include <string>

#include "cases.h"

int main(int argc, char** argv) {
  const std::string group = argc > 1 ? argv[1] : "";
  if (group == "echo" && (argc == 3 || argc == 4)) {
    grpc_cpp_client::RunEcho(argv[2], argc == 4 ? argv[3] : "");
  } else if (group == "export" && argc == 4) {
    grpc_cpp_client::RunExport(argv[2], argv[3]);
  } else if (group == "concurrent" && argc == 3) {
    grpc_cpp_client::RunConcurrent(argv[2]);
  } else if (group == "refusals" && argc == 3) {
    grpc_cpp_client::RunRefusals(argv[2]);
  } else {
    std::fprintf(stderr,
                 "usage: grpc_cpp_client echo HOST:PORT [CA_FILE] | export HOST:PORT FOLDER | concurrent HOST:PORT | refusals HOST:PORT\n");
    return 2;
  }
  return grpc_cpp_client::AnyFailed() ? 1 : 0;
}
