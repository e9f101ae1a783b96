#include "serve/gate.h"

#include <utility>

#include "core/log.h"
#include "core/metrics.h"

namespace sheaf::serve {
namespace {

using access::Action;

struct Rule {
  std::string_view method;         // Empty: any.
  std::string_view path;           // With '*' at its end: a prefix.
  std::optional<PathRight> right;  // Nothing: open to everybody.
};

constexpr PathRight kReadSomewhere{.action = Action::kRead, .schema = {}, .anywhere = true};
constexpr PathRight kWriteSomewhere{.action = Action::kWrite, .schema = {}, .anywhere = true};
constexpr PathRight kReadAll{.action = Action::kRead};
constexpr PathRight kWriteTelemetry{.action = Action::kWrite, .schema = "otel"};

/// docs/security.md lists it.
constexpr Rule kRules[] = {
    {"GET", "/healthz", std::nullopt},
    {"GET", "/readyz", std::nullopt},
    {"POST", "/grpc.health.v1.Health/*", std::nullopt},
    {"GET", "/", std::nullopt},  // Says which paths there are.
    {"GET", "/v1/openapi.json", std::nullopt},
    {"GET", "/metrics", kReadAll},
    {"POST", "/v1/sql", kReadSomewhere},
    {"GET", "/v1/tables/*", kReadSomewhere},
    {"POST", "/v1/tables/*", kWriteSomewhere},
    {"GET", "/v1/subscribe", kReadAll},
    {"GET", "/api/*", kReadAll},
    {"POST", "/v1/traces", kWriteTelemetry},
    {"POST", "/v1/logs", kWriteTelemetry},
    {"POST", "/v1/metrics", kWriteTelemetry},
    {"POST", "/opentelemetry.proto.collector.*", kWriteTelemetry},
    {"POST", "/opentelemetry.proto.experimental.arrow.v1.*", kWriteTelemetry},
    {"POST", "/arrow.flight.protocol.FlightService/*", kReadSomewhere},  // DoPut and DoAction ask for more.
    {"", "/v1/snapshots", PathRight{}},
};

bool Matches(const Rule& rule, std::string_view method, std::string_view path) {
  if (!rule.method.empty() && rule.method != method) return false;
  if (rule.path.ends_with('*')) return path.starts_with(rule.path.substr(0, rule.path.size() - 1));
  return path == rule.path;
}

RefusalKind KindOfRefusal(const Status& error) {
  switch (KindOf(error)) {
    case ErrorKind::kDenied: return RefusalKind::kUnauthenticated;
    case ErrorKind::kThrottled: return RefusalKind::kThrottled;
    default: return RefusalKind::kUnavailable;
  }
}

}  // namespace

std::optional<PathRight> RightOfPath(std::string_view method, std::string_view path) {
  if (method == "HEAD") method = "GET";
  for (const Rule& rule : kRules) {
    if (Matches(rule, method, path)) return rule.right;
  }
  return PathRight{};
}

Status CheckRight(const access::Identity* identity, Action action, std::string_view schema) {
  if (identity == nullptr) return Status::OK();
  const Status allowed = access::Allow(*identity, action, schema);
  if (!allowed.ok()) {
    LogWarn("audit.denied", {{"user", identity->user}, {"peer", identity->peer}, {"error", allowed.message()}});
  }
  return allowed;
}

Entry Gate::Admit(const GateRequest& request, const PathRight& right, Result<access::Identity> found) {
  if (!found.ok()) return Refusal{KindOfRefusal(found.status()), found.status().message()};
  const Status allowed =
      right.anywhere ? access::AllowSomewhere(*found, right.action) : access::Allow(*found, right.action, right.schema);
  if (!allowed.ok()) {
    LogWarn("audit.denied", {{"user", found->user}, {"peer", request.peer}, {"method", request.method}, {"path", request.path}});
    return Refusal{RefusalKind::kDenied, allowed.message()};
  }
  Passage passage;
  if (!found->user.empty()) {
    Result<std::shared_ptr<void>> place = limits_.Enter(found->user, clock_->MonotonicNs());
    if (!place.ok()) return Refusal{RefusalKind::kThrottled, place.status().message()};
    passage.place = std::move(*place);
  }
  passage.identity = std::make_shared<const access::Identity>(std::move(*found));
  return passage;
}

std::optional<Entry> Gate::TryEnter(const GateRequest& request) {
  const std::optional<PathRight> right = RightOfPath(request.method, request.path);
  if (!right) {
    // Whoever it is, he may do nothing but this.
    const access::Identity nobody{.user = "", .roles = {}, .peer = std::string(request.peer)};
    return Passage{.identity = std::make_shared<const access::Identity>(nobody)};
  }
  std::optional<Result<access::Identity>> found = users_->TryAuthenticate(request.authorization, request.peer);
  if (!found) return std::nullopt;
  return Admit(request, *right, std::move(*found));
}

Entry Gate::Enter(const GateRequest& request) {
  if (std::optional<Entry> at_once = TryEnter(request)) return std::move(*at_once);
  return Admit(request, *RightOfPath(request.method, request.path), users_->Authenticate(request.authorization, request.peer));
}

}  // namespace sheaf::serve
