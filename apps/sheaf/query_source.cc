#include "query_source.h"

#include <CLI/App.hpp>

#include "client/flight_client.h"
#include "flight_source.h"
#include "local_source.h"
#include "remote_source.h"

namespace sheaf::cli {

void AddSourceFlags(CLI::App* command, SourceOptions* options) {
  auto* data =
      command->add_option("--data", options->data, "Directory to open in this process; no server may hold it")->type_name("DIR");
  command->add_option("--url", options->url, std::string("Server to ask (default ") + kDefaultUrl + ")")
      ->type_name("URL")
      ->excludes(data);
  command
      ->add_option("--user", options->user,
                   "User at the server, with the password of SHEAF_PASSWORD or SHEAF_PASSWORD_FILE; or set SHEAF_TOKEN")
      ->type_name("NAME")
      ->excludes(data);
  command->add_option("--timeout-ms", options->timeout_ms, "Gives up on a statement after this time; 0: never")
      ->check(CLI::NonNegativeNumber)
      ->type_name("MS");
}

Result<std::unique_ptr<QuerySource>> QuerySource::Open(const SourceOptions& options) {
  if (!options.data.empty()) return OpenLocalSource(options);
  if (client::IsFlightUrl(options.url)) return OpenFlightSource(options);
  return OpenRemoteSource(options);
}

}  // namespace sheaf::cli
