#include "serve/api_document.h"

#include <regex>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "serve/health.h"
#include "serve/http_api.h"
#include "serve/service_testing.h"
#include "serve/table_api.h"
#include "wire/http_text.h"

namespace sheaf::serve {
namespace {

using nlohmann::json;

/// "GET /v1/tables/*/rows/*" and so on: what the document describes.
std::set<std::string> Described(const json& document) {
  std::set<std::string> operations;
  for (const auto& [path, item] : document["paths"].items()) {
    for (const auto& [method, operation] : item.items()) {
      if (!operation.is_object()) continue;  // Parameters of all methods.
      std::string name = method;
      for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      operations.insert(name + " " + std::regex_replace(path, std::regex("\\{[^}]*\\}"), "*"));
    }
  }
  return operations;
}

TEST(ApiDocument, IsServed) {
  FakeTransport transport;
  RegisterApiDocument(&transport, "http");
  const auto answer = transport.Http("http", "GET", "/v1/openapi.json", {{"accept-encoding", "gzip"}})->answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("content-type"), "application/json");
  EXPECT_EQ(answer.header("content-encoding"), "gzip");
  const json document = json::parse(transport.Http("http", "GET", "/v1/openapi.json")->answer().body);
  EXPECT_EQ(document["openapi"], "3.1.0");
  EXPECT_THAT(document["info"]["version"].get<std::string>(), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

TEST(ApiDocument, DescribesEveryPathThatIsThere) {
  FakeTransport transport;
  FakeEngine engine;
  FakeDatabase database;
  HttpApi api(&engine, &database, {});
  TableApi tables(&database, 1000);
  Health health;
  api.Register(&transport, "http");
  tables.Register(&transport, "http");
  health.Register(&transport, "otlp_grpc", "http");
  RegisterApiDocument(&transport, "http");
  std::set<std::string> served = transport.HttpRoutes("http");
  EXPECT_EQ(served.erase("GET /v1/subscribe") + served.erase("GET /api/*"), 2u) << "not there yet, so not described";
  EXPECT_EQ(Described(json::parse(ApiDocument())), served);
}

TEST(ApiDocument, NamesEveryKindOfError) {
  std::set<std::string> known;
  const json document = json::parse(ApiDocument());
  for (const auto& code : document["components"]["schemas"]["ErrorCode"]["enum"]) known.insert(code.get<std::string>());
  for (int kind = 0; kind <= static_cast<int>(ErrorKind::kInternal); ++kind) {
    EXPECT_TRUE(known.contains(ErrorKindName(static_cast<ErrorKind>(kind)))) << ErrorKindName(static_cast<ErrorKind>(kind));
  }
}

}  // namespace
}  // namespace sheaf::serve
