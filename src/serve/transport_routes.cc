#include "serve/transport_routes.h"

#include <algorithm>
#include <functional>

namespace sheaf::serve {

void TransportRoutes::AddHttp(const std::string& method, const std::string& path, HttpRoute route) {
  if (!path.ends_with('*')) {
    exact_[path].emplace_back(method, std::move(route));
    return;
  }
  const size_t star = path.find('*');
  const std::string begin = path.substr(0, star);
  const std::string middle = star + 1 < path.size() ? path.substr(star + 1, path.size() - star - 2) : "";
  auto found = std::ranges::find_if(patterns_, [&](const Pattern& known) { return known.begin == begin && known.middle == middle; });
  if (found == patterns_.end()) found = patterns_.insert(patterns_.end(), {begin, middle, {}});
  found->methods.emplace_back(method, std::move(route));
  std::ranges::stable_sort(patterns_, std::greater<>(), &Pattern::size);
}

bool TransportRoutes::Pattern::Matches(const std::string& path) const {
  if (!path.starts_with(begin)) return false;
  return middle.empty() || path.find(middle, begin.size() + 1) != std::string::npos;
}

void TransportRoutes::AddGrpc(const std::string& path, GrpcRoute route) {
  route.answers_in_overload = path.starts_with("/grpc.health.");
  grpc_[path] = std::move(route);
}

const TransportRoutes::Methods* TransportRoutes::FindPath(const std::string& path) const {
  const auto exact = exact_.find(path);
  if (exact != exact_.end()) return &exact->second;
  for (const Pattern& pattern : patterns_) {
    if (pattern.Matches(path)) return &pattern.methods;
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
