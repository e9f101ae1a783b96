#include "serve/transport_routes.h"

#include <algorithm>

namespace sheaf::serve {

void TransportRoutes::AddHttp(const std::string& method, const std::string& path, HttpRoute route) {
  if (!path.ends_with('*')) {
    exact_[path].emplace_back(method, std::move(route));
    return;
  }
  const std::string prefix = path.substr(0, path.size() - 1);
  auto found = std::find_if(prefixes_.begin(), prefixes_.end(), [&](const auto& entry) { return entry.first == prefix; });
  if (found == prefixes_.end()) found = prefixes_.insert(prefixes_.end(), {prefix, {}});
  found->second.emplace_back(method, std::move(route));
  std::stable_sort(prefixes_.begin(), prefixes_.end(), [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
}

void TransportRoutes::AddGrpc(const std::string& path, GrpcRoute route) {
  route.answers_in_overload = path.starts_with("/grpc.health.");
  grpc_[path] = std::move(route);
}

const TransportRoutes::Methods* TransportRoutes::FindPath(const std::string& path) const {
  const auto exact = exact_.find(path);
  if (exact != exact_.end()) return &exact->second;
  for (const auto& [prefix, methods] : prefixes_) {
    if (path.starts_with(prefix)) return &methods;
  }
  return nullptr;
}

TransportRoutes::Match TransportRoutes::FindHttp(std::string_view method, const std::string& path) const {
  Match match;
  const Methods* methods = FindPath(path);
  if (methods == nullptr) return match;
  const HttpRoute* get = nullptr;
  for (const auto& [name, route] : *methods) {
    if (name == method) {
      match.route = &route;
      return match;
    }
    if (name == "GET") get = &route;
    if (!match.allow.empty()) match.allow += ", ";
    match.allow += name;
  }
  if (get != nullptr) match.allow += ", HEAD";
  if (method == "HEAD") match.route = get;
  return match;
}

const GrpcRoute* TransportRoutes::FindGrpc(const std::string& path) const {
  const auto found = grpc_.find(path);
  return found == grpc_.end() ? nullptr : &found->second;
}

}  // namespace sheaf::serve
