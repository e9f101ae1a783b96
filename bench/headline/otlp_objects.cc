#include "otlp_objects.h"

#include "digest.h"

namespace sheaf::bench {
namespace {

namespace otlp = opentelemetry::proto;
using KeyValues = google::protobuf::RepeatedPtrField<otlp::common::v1::KeyValue>;

template <typename Id>
void SetId(const Id& id, std::string* out) {
  out->assign(reinterpret_cast<const char*>(id.data()), id.size());
}

void AddAttribute(const AttributeRow& row, KeyValues* out) {
  auto* pair = out->Add();
  pair->set_key(row.key);
  auto* value = pair->mutable_value();
  if (const auto* text = std::get_if<std::string>(&row.value)) {
    value->set_string_value(*text);
  } else if (const auto* number = std::get_if<int64_t>(&row.value)) {
    value->set_int_value(*number);
  } else {
    value->set_double_value(std::get<double>(row.value));
  }
}
void AddAttributes(const std::vector<AttributeRow>& rows, KeyValues* out) {
  out->Reserve(static_cast<int>(rows.size()));
  for (const AttributeRow& row : rows) AddAttribute(row, out);
}

void BuildSpan(const SpanRow& row, otlp::trace::v1::Span* span) {
  SetId(row.trace_id, span->mutable_trace_id());
  SetId(row.span_id, span->mutable_span_id());
  if (row.parent_span_id != SpanIdRow{}) SetId(row.parent_span_id, span->mutable_parent_span_id());
  span->set_name(row.name);
  span->set_kind(static_cast<otlp::trace::v1::Span::SpanKind>(row.kind));
  span->set_start_time_unix_nano(row.start_ns);
  span->set_end_time_unix_nano(row.end_ns);
  AddAttributes(row.attributes, span->mutable_attributes());
  for (const EventRow& event_row : row.events) {
    auto* event = span->add_events();
    event->set_time_unix_nano(event_row.time_ns);
    event->set_name(event_row.name);
    AddAttributes(event_row.attributes, event->mutable_attributes());
  }
  for (const LinkRow& link_row : row.links) {
    auto* link = span->add_links();
    SetId(link_row.trace_id, link->mutable_trace_id());
    SetId(link_row.span_id, link->mutable_span_id());
    AddAttributes(link_row.attributes, link->mutable_attributes());
  }
  if (row.status_code == 0 && row.status_message.empty()) return;
  span->mutable_status()->set_code(static_cast<otlp::trace::v1::Status::StatusCode>(row.status_code));
  if (!row.status_message.empty()) span->mutable_status()->set_message(row.status_message);
}

uint64_t IdDigest(std::string_view id) {
  uint64_t sum = 0;
  for (size_t i = 0; i + 8 <= id.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, id.data() + i, 8);
    sum += word;
  }
  return sum;
}

uint64_t AttributesDigest(const KeyValues& attributes) {
  uint64_t sum = 0;
  for (const auto& attribute : attributes) {
    const auto& value = attribute.value();
    sum += At(Place::kKey, TextDigest(attribute.key()));
    switch (value.value_case()) {
      case otlp::common::v1::AnyValue::kStringValue: sum += At(Place::kValue, TextDigest(value.string_value())); break;
      case otlp::common::v1::AnyValue::kIntValue: sum += At(Place::kValue, NumberDigest(value.int_value())); break;
      case otlp::common::v1::AnyValue::kDoubleValue: sum += At(Place::kValue, NumberDigest(value.double_value())); break;
      default: break;
    }
  }
  return sum;
}

uint64_t SpanDigest(const otlp::trace::v1::Span& span) {
  uint64_t sum = At(Place::kTraceId, IdDigest(span.trace_id())) + At(Place::kSpanId, IdDigest(span.span_id())) +
                 At(Place::kParent, IdDigest(span.parent_span_id())) + At(Place::kName, TextDigest(span.name())) +
                 At(Place::kKind, static_cast<uint64_t>(span.kind())) + At(Place::kStart, span.start_time_unix_nano()) +
                 At(Place::kEnd, span.end_time_unix_nano()) + At(Place::kStatus, static_cast<uint64_t>(span.status().code())) +
                 At(Place::kMessage, TextDigest(span.status().message())) + AttributesDigest(span.attributes());
  for (const auto& event : span.events()) {
    sum += At(Place::kEvent, event.time_unix_nano() + TextDigest(event.name())) + AttributesDigest(event.attributes());
  }
  for (const auto& link : span.links()) {
    sum += At(Place::kLink, IdDigest(link.trace_id()) + IdDigest(link.span_id())) + AttributesDigest(link.attributes());
  }
  return sum;
}

}  // namespace

void BuildRequest(const RequestRows& rows, OtlpRequest* request) {
  for (const ServiceRows& service : rows) {
    auto* resource_spans = request->add_resource_spans();
    auto* resource = resource_spans->mutable_resource()->mutable_attributes();
    auto* name = resource->Add();
    name->set_key("service.name");
    name->mutable_value()->set_string_value(service.name);
    AddAttributes(service.resource, resource);
    auto* scope_spans = resource_spans->add_scope_spans();
    if (!service.scope_name.empty()) scope_spans->mutable_scope()->set_name(service.scope_name);
    if (!service.scope_version.empty()) scope_spans->mutable_scope()->set_version(service.scope_version);
    scope_spans->mutable_spans()->Reserve(static_cast<int>(service.spans.size()));
    for (size_t i = 0; i < service.spans.size(); ++i) {
      PrefetchAfter(service.spans, i);
      BuildSpan(service.spans[i], scope_spans->add_spans());
    }
  }
}

uint64_t DigestObjects(const OtlpRequest& request) {
  uint64_t sum = 0;
  for (const auto& resource_spans : request.resource_spans()) {
    uint64_t service = 0, spans = 0;
    for (const auto& attribute : resource_spans.resource().attributes()) {
      if (attribute.key() == "service.name") service = TextDigest(attribute.value().string_value());
    }
    for (const auto& scope_spans : resource_spans.scope_spans()) {
      for (const auto& span : scope_spans.spans()) sum += SpanDigest(span);
      spans += static_cast<uint64_t>(scope_spans.spans_size());
    }
    sum += At(Place::kService, service) * spans;
  }
  return sum;
}

}  // namespace sheaf::bench
