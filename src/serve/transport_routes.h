/// Which handler answers which path on one listener.

#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "serve/transport.h"

namespace sheaf::serve {

struct HttpRoute {
  HttpHandler handler;
  bool inline_on_io = false;
};

struct GrpcRoute {
  GrpcHandler unary;               // Either this …
  GrpcStreamHandler streaming;     // … or this …
  GrpcDuplexHandler duplex;        // … or this.
  bool inline_on_io = false;
  /// Health checks are answered in overload, too: refusing them would only get the server restarted.
  bool answers_in_overload = false;
};

/// Filled before the listener serves, read-only afterwards and then thread-safe.
class TransportRoutes {
 public:
  void AddHttp(const std::string& method, const std::string& path, HttpRoute route);
  void AddGrpc(const std::string& path, GrpcRoute route);

  struct Match {
    const HttpRoute* route = nullptr;
    std::string allow;  // Methods of a known path, where `route` is null: 405, or 404 if empty.
  };
  /// A path without '*' wins over patterns, a longer pattern over a shorter one. HEAD falls back to GET.
  Match FindHttp(std::string_view method, const std::string& path) const;
  const GrpcRoute* FindGrpc(const std::string& path) const;

  bool has_http() const { return !exact_.empty() || !patterns_.empty(); }
  bool has_grpc() const { return !grpc_.empty(); }

 private:
  using Methods = std::vector<std::pair<std::string, HttpRoute>>;
  /// "/a/*" is `begin` "/a/"; "/a/*/b/*" has the `middle` "/b/" too, behind at least one character.
  struct Pattern {
    std::string begin, middle;
    Methods methods;
    size_t size() const { return begin.size() + middle.size(); }
    bool Matches(const std::string& path) const;
  };
  const Methods* FindPath(const std::string& path) const;

  std::unordered_map<std::string, Methods> exact_;
  std::vector<Pattern> patterns_;  // Longest first.
  std::unordered_map<std::string, GrpcRoute> grpc_;
};

}  // namespace sheaf::serve
