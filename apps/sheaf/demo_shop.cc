#include "demo_shop.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace sheaf::cli {
namespace {

using enum SpanKind;

// The shop's plan: who calls whom. Client spans are those of the caller; the server span hangs below.
DemoCall Database(const char* service, const char* statement, double ms) { return {service, statement, kClient, ms, 0.002, {}}; }

DemoCall Remote(const char* caller, const char* service, const char* method, double ms, double error_share,
                std::vector<DemoCall> calls) {
  return {caller, method, kClient, 0.4, 0, {{service, method, kServer, ms, error_share, std::move(calls)}}};
}

const std::vector<DemoCall>& Visits() {
  static const std::vector<DemoCall> visits = {
      {"frontend",
       "GET /",
       kServer,
       3,
       0.001,
       {Remote("frontend", "catalog", "shop.Catalog/ListProducts", 2, 0.002, {Database("catalog", "SELECT shop.products", 4)}),
        Remote("frontend", "recommendation", "shop.Recommendation/List", 8, 0.01,
               {Remote("recommendation", "catalog", "shop.Catalog/ListProducts", 2, 0.002, {})}),
        Remote("frontend", "ads", "shop.Ads/Get", 1.5, 0.02, {})}},
      {"frontend",
       "GET /product/{id}",
       kServer,
       2.5,
       0.002,
       {Remote("frontend", "catalog", "shop.Catalog/GetProduct", 1, 0.004, {Database("catalog", "SELECT shop.products", 1.5)}),
        Remote("frontend", "currency", "shop.Currency/Convert", 0.5, 0, {})}},
      {"frontend",
       "POST /cart",
       kServer,
       2,
       0.002,
       {Remote("frontend", "cart", "shop.Cart/AddItem", 1.2, 0.003,
               {{"cart", "HSET", kClient, 0.6, 0.001, {}}, {"cart", "EXPIRE", kClient, 0.4, 0, {}}})}},
      {"frontend",
       "POST /checkout",
       kServer,
       4,
       0.002,
       {Remote(
           "frontend", "checkout", "shop.Checkout/PlaceOrder", 6, 0.004,
           {Remote("checkout", "cart", "shop.Cart/GetCart", 1, 0.002, {{"cart", "HGETALL", kClient, 0.7, 0, {}}}),
            {"checkout",
             "price the order",
             kInternal,
             1.5,
             0,
             {Remote("checkout", "currency", "shop.Currency/Convert", 0.5, 0, {}),
              Remote("checkout", "shipping", "shop.Shipping/GetQuote", 3, 0.01, {})}},
            Remote("checkout", "payment", "shop.Payment/Charge", 45, 0.04, {Database("payment", "INSERT shop.payments", 6)}),
            Remote("checkout", "inventory", "shop.Inventory/Reserve", 4, 0.01, {Database("inventory", "UPDATE shop.stock", 5)}),
            Remote("checkout", "email", "shop.Email/SendConfirmation", 20, 0.005, {}),
            {"checkout", "orders publish", kProducer, 1, 0.001, {}}})}},
  };
  return visits;
}

constexpr int kWeights[] = {45, 35, 13, 7};  // Of the visits above, in percent.
constexpr const char* kProducts[] = {"linen-tote", "oak-stool",   "wool-throw", "brass-lamp",
                                     "clay-mug",   "reed-basket", "cork-mat"};
constexpr const char* kCurrencies[] = {"EUR", "USD", "JPY", "GBP", "CHF"};
constexpr const char* kBrowsers[] = {"Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0", "Mozilla/5.0 (iPhone) Safari/605.1",
                                     "Mozilla/5.0 (Windows NT 10.0) Chrome/139.0"};
constexpr const char* kErrors[] = {"card declined by issuer", "deadline exceeded", "out of stock", "connection reset by peer"};

}  // namespace

/// One visit while it is told.
struct DemoShop::Scene {
  DemoStory* story;
  std::string trace_id, user, product, currency;
  int64_t quantity = 1;
};

DemoShop::DemoShop(uint64_t seed) : random_(seed) {}

// The standard's distributions differ between libraries; these few lines do not.
int64_t DemoShop::Pick(int64_t count) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(count)); }
bool DemoShop::Chance(double share) { return static_cast<double>(random_() >> 11) * 0x1p-53 < share; }

double DemoShop::Skewed(double median_ms) {
  double sum = 0;  // Nearly normal; its exponential has the long tail that latencies have.
  for (int i = 0; i < 6; ++i) sum += static_cast<double>(random_() >> 11) * 0x1p-53 - 0.5;
  return median_ms * std::exp(0.9 * sum);
}

std::string DemoShop::NewId(size_t bytes) {
  std::string id(bytes, '\0');
  for (char& byte : id) byte = static_cast<char>(random_() & 0xff);
  id[0] = static_cast<char>(id[0] | 1);  // All zeros would be no id.
  return id;
}

void DemoShop::Visit(int64_t start_ns, DemoStory* story) {
  int64_t roll = Pick(100);
  size_t visit = 0;
  while (roll >= kWeights[visit]) roll -= kWeights[visit++];
  Scene scene{.story = story, .trace_id = NewId(16)};
  scene.user = fmt::format("user-{}", Pick(5'000));
  scene.product = kProducts[Pick(std::size(kProducts))];
  scene.currency = kCurrencies[Pick(std::size(kCurrencies))];
  scene.quantity = 1 + Pick(4);
  Act(Visits()[visit], "", start_ns, &scene);
}

/// Plays a call and what it calls, one after the other; returns when it ended. A failing call makes its caller fail
/// two times out of three, as code that catches some errors does.
int64_t DemoShop::Act(const DemoCall& call, const std::string& parent, int64_t start_ns, Scene* scene) {
  DemoSpan span;
  span.trace_id = scene->trace_id;
  span.span_id = NewId(8);
  span.parent_span_id = parent;
  span.service = call.service;
  span.name = call.name;
  span.kind = call.kind;
  span.start_ns = start_ns;
  const auto half_ns = static_cast<int64_t>(Skewed(call.self_ms) * 0.5e6);
  int64_t now = start_ns + half_ns;
  for (const DemoCall& inner : call.calls) {
    const size_t before = scene->story->spans.size();
    now = Act(inner, span.span_id, now, scene);
    const DemoSpan& done = scene->story->spans.back();
    if (scene->story->spans.size() > before && done.failed && Chance(0.66)) {
      span.failed = true;
      span.error = done.error;
      break;
    }
  }
  span.end_ns = now + half_ns + 1'000;
  if (!span.failed && Chance(call.error_share)) {
    span.failed = true;
    span.error = kErrors[Pick(std::size(kErrors))];
  }
  Describe(call, &span, *scene);
  Tell(&span, scene);
  const int64_t end_ns = span.end_ns;
  scene->story->spans.push_back(std::move(span));
  if (call.kind == kProducer) {
    const DemoSpan sent = scene->story->spans.back();
    Consume(end_ns + static_cast<int64_t>(Skewed(30) * 1e6), sent, scene->story);
    std::swap(scene->story->spans.back(), scene->story->spans[scene->story->spans.size() - 2]);
  }
  return end_ns;
}

/// Attributes after the semantic conventions, one of every type among them.
void DemoShop::Describe(const DemoCall& call, DemoSpan* span, const Scene& scene) {
  OtlpAttributes& attributes = span->attributes;
  const std::string_view name = call.name;
  if (call.service == std::string_view("frontend") && call.kind == kServer) {
    attributes = {{"http.request.method", std::string(name.substr(0, name.find(' ')))},
                  {"http.route", std::string(name.substr(name.find(' ') + 1))},
                  {"http.response.status_code", int64_t{span->failed ? 500 : 200}},
                  {"user_agent.original", std::string(kBrowsers[Pick(std::size(kBrowsers))])},
                  {"enduser.id", scene.user},
                  {"client.address", fmt::format("203.0.113.{}", Pick(254) + 1)}};
  } else if (name.starts_with("shop.")) {
    attributes = {{"rpc.system", std::string("grpc")},
                  {"rpc.service", std::string(name.substr(0, name.find('/')))},
                  {"rpc.method", std::string(name.substr(name.find('/') + 1))},
                  {"rpc.grpc.status_code", int64_t{span->failed ? 13 : 0}}};
  } else if (name.find(" shop.") != std::string_view::npos) {
    attributes = {{"db.system.name", std::string("postgresql")},
                  {"db.operation.name", std::string(name.substr(0, name.find(' ')))},
                  {"db.collection.name", std::string(name.substr(name.find(' ') + 1))},
                  {"db.response.returned_rows", Pick(40)}};
  } else if (call.kind == kProducer) {
    attributes = {{"messaging.system", std::string("kafka")},
                  {"messaging.destination.name", std::string("orders")},
                  {"messaging.message.body.size", 200 + Pick(900)}};
  } else if (call.kind == kClient) {
    attributes = {{"db.system.name", std::string("redis")}, {"db.operation.name", std::string(name)}};
  }
  if (call.service == std::string_view("payment") && call.kind == kServer) {
    attributes.emplace_back("shop.amount", 5.0 + static_cast<double>(Pick(20'000)) / 100);
    attributes.emplace_back("shop.currency", scene.currency);
    attributes.emplace_back("shop.card.valid", !span->failed);
    attributes.emplace_back("shop.products", std::vector<std::string>{scene.product, kProducts[Pick(std::size(kProducts))]});
  }
}

/// What the call leaves behind besides its span: events, logs, counts.
void DemoShop::Tell(DemoSpan* told, Scene* scene) {
  DemoSpan& span = *told;
  if (span.failed) {
    span.events.push_back(
        {span.end_ns - 500,
         "exception",
         {{"exception.type", std::string("shop.Error")}, {"exception.message", span.error}, {"exception.escaped", true}}});
    scene->story->logs.push_back({span.end_ns - 400,
                                  span.service,
                                  span.trace_id,
                                  span.span_id,
                                  17,
                                  fmt::format("{} failed: {}", span.name, span.error),
                                  "",
                                  {{"user", scene->user}},
                                  {}});
  } else if (span.kind == kServer && Chance(0.3)) {
    scene->story->logs.push_back({span.start_ns + 200,
                                  span.service,
                                  span.trace_id,
                                  span.span_id,
                                  Chance(0.9) ? 9 : 13,
                                  fmt::format("{} for {}", span.name, scene->user),
                                  "",
                                  {{"product", scene->product}},
                                  {}});
  }
  if (span.kind != kServer && span.kind != kConsumer) return;
  ServiceNumbers& numbers = services_[span.service];
  ++numbers.requests;
  numbers.errors += span.failed ? 1 : 0;
  numbers.busy_seconds += static_cast<double>(span.end_ns - span.start_ns) / 1e9;
  numbers.memory_bytes = (int64_t{180} << 20) + numbers.requests % 512 * (int64_t{64} << 10);
  numbers.seconds.push_back(static_cast<double>(span.end_ns - span.start_ns) / 1e9);
  numbers.sample_trace_id = span.trace_id;
  numbers.sample_span_id = span.span_id;
  if (span.name == "shop.Checkout/PlaceOrder" && !span.failed) {
    ++orders_;
    const double amount = static_cast<double>(scene->quantity) * (9.9 + static_cast<double>(Pick(9'000)) / 100);
    revenue_ += amount;
    span.events.push_back(
        {span.end_ns - 300, "order.placed", {{"shop.order.id", fmt::format("order-{}", orders_)}, {"shop.amount", amount}}});
    scene->story->logs.push_back({span.end_ns - 200,
                                  span.service,
                                  span.trace_id,
                                  span.span_id,
                                  9,
                                  "",
                                  "shop.order",
                                  {},
                                  {{"order", fmt::format("order-{}", orders_)},
                                   {"product", scene->product},
                                   {"quantity", scene->quantity},
                                   {"amount", amount},
                                   {"currency", scene->currency}}});
  }
}

/// The order's message arrives in a trace of its own, linked to the one that sent it.
void DemoShop::Consume(int64_t start_ns, const DemoSpan& sent, DemoStory* story) {
  DemoSpan span;
  span.trace_id = NewId(16);
  span.span_id = NewId(8);
  span.service = "fulfilment";
  span.name = "orders process";
  span.kind = kConsumer;
  span.start_ns = start_ns;
  span.end_ns = start_ns + static_cast<int64_t>(Skewed(15) * 1e6);
  span.attributes = {{"messaging.system", std::string("kafka")},
                     {"messaging.destination.name", std::string("orders")},
                     {"messaging.kafka.offset", orders_}};
  span.linked_trace_id = sent.trace_id;
  span.linked_span_id = sent.span_id;
  queue_length_ = Pick(12);
  Scene scene{.story = story, .trace_id = span.trace_id, .user = "fulfilment", .product = kProducts[Pick(std::size(kProducts))]};
  Tell(&span, &scene);
  story->spans.push_back(std::move(span));
}

void DemoShop::ClearPeriod() {
  for (auto& [name, numbers] : services_) numbers.seconds.clear();
}

}  // namespace sheaf::cli
