#include "parts/spans_testing.h"

#include <utility>

#include <arrow/array/array_base.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/type.h>

#include "columns/dictionaries.h"
#include "core/check.h"
#include "decode/schemas.h"

namespace sheaf::parts {
namespace {

using ArrayDataPtr = std::shared_ptr<arrow::ArrayData>;
using Random = std::mt19937_64;

ArrayDataPtr Text(const std::vector<std::string>& values, const std::shared_ptr<arrow::DataType>& type) {
  std::unique_ptr<arrow::ArrayBuilder> builder;
  SHEAF_CHECK(arrow::MakeBuilder(arrow::default_memory_pool(), type, &builder).ok());
  auto* text = static_cast<arrow::BinaryBuilder*>(builder.get());
  for (const std::string& v : values) SHEAF_CHECK(text->Append(v).ok());
  return builder->Finish().ValueOrDie()->data();
}

ArrayDataPtr Words(const std::vector<std::string>& values, const std::shared_ptr<arrow::DataType>& type) {
  columns::DictionaryUnion all(static_cast<const arrow::DictionaryType&>(*type).value_type());
  const ArrayDataPtr plain = Text(values, static_cast<const arrow::DictionaryType&>(*type).value_type());
  std::vector<int32_t> numbers;
  SHEAF_CHECK(all.Add(*plain, &numbers).ok());
  auto out = std::make_shared<arrow::ArrayData>(type, static_cast<int64_t>(values.size()), 0);
  out->buffers = {nullptr, arrow::Buffer::FromVector(std::move(numbers))};
  out->dictionary = all.ToArray(arrow::default_memory_pool()).ValueOrDie();
  return out;
}

template <typename T>
ArrayDataPtr Numbers(std::vector<T> values, const std::shared_ptr<arrow::DataType>& type) {
  auto out = std::make_shared<arrow::ArrayData>(type, static_cast<int64_t>(values.size()), 0);
  out->buffers = {nullptr, arrow::Buffer::FromVector(std::move(values))};
  return out;
}

/// Empty text is NULL.
ArrayDataPtr Ids(const std::vector<std::string>& values, const std::shared_ptr<arrow::DataType>& type) {
  arrow::FixedSizeBinaryBuilder builder(type);
  for (const std::string& v : values) SHEAF_CHECK((v.empty() ? builder.AppendNull() : builder.Append(v)).ok());
  return builder.Finish().ValueOrDie()->data();
}

std::string RandomId(size_t width, Random* random) {
  std::string out(width, '\0');
  for (char& c : out) c = static_cast<char>((*random)());
  return out;
}

ArrayDataPtr List(const std::shared_ptr<arrow::DataType>& type, std::vector<int32_t> offsets, std::vector<ArrayDataPtr> fields,
                  int64_t elements) {
  auto item = std::make_shared<arrow::ArrayData>(type->field(0)->type(), elements, 0);
  item->buffers = {nullptr};
  item->child_data = std::move(fields);
  auto out = std::make_shared<arrow::ArrayData>(type, static_cast<int64_t>(offsets.size()) - 1, 0);
  out->buffers = {nullptr, arrow::Buffer::FromVector(std::move(offsets))};
  out->child_data = {std::move(item)};
  return out;
}

struct OpenTrace {
  std::string id, root;
  int64_t start = 0;
  int service = 0, left = 0;
};

constexpr const char* kServices[] = {"frontend", "cart", "checkout", "payment", "shipping", "email",
                                     "currency", "catalog", "search", "ads", "auth", "inventory"};
constexpr int64_t kDay = 1'785'000'000'000'000'000;

/// Builds one batch; traces that are still open go on in the next.
class SpanBatch {
 public:
  void Add(OpenTrace* trace, int64_t now, Random* random) {
    const bool root = trace->root.empty();
    const int service = root ? trace->service : static_cast<int>((trace->service + (*random)() % 4) % std::size(kServices));
    const std::string span = RandomId(8, random);
    if (root) trace->root = span;
    trace_ids_.push_back(trace->id);
    span_ids_.push_back(span);
    parents_.push_back(root ? "" : trace->root);
    names_.push_back(std::string(kServices[service]) + "/operation-" + std::to_string((*random)() % 9));
    kinds_.push_back(root ? "SERVER" : (*random)() % 2 == 0 ? "CLIENT" : "INTERNAL");
    const int64_t duration = 1000 + static_cast<int64_t>((*random)() % 50'000'000);
    starts_.push_back(now);
    ends_.push_back(now + duration);
    durations_.push_back(duration);
    const bool failed = (*random)() % 50 == 0;
    status_.push_back(failed ? "ERROR" : "UNSET");
    messages_.push_back(failed ? "deadline exceeded" : "");
    services_.push_back(kServices[service]);
    resources_.push_back(std::string("resource of ") + kServices[service] + std::string(180, static_cast<char>('a' + service)));
    attributes_.String("http.request.method", (*random)() % 3 == 0 ? "POST" : "GET");
    attributes_.Int("http.response.status_code", failed ? 500 : 200);
    attributes_.String("server.address", std::string(kServices[service]) + ".internal");
    attributes_.String("user.id", "user-" + std::to_string((*random)() % 100'000));
    attributes_.Int("thread.id", static_cast<int64_t>((*random)() % 64));
    attributes_.String("url.path", "/api/v1/" + std::string(kServices[service]) + "/" + std::to_string((*random)() % 1000));
    attributes_.EndRow();
    if (failed) {
      event_times_.push_back(now + duration / 2);
      event_attributes_.String("exception.type", "TimeoutError");
      event_attributes_.EndRow();
    }
    event_offsets_.push_back(static_cast<int32_t>(event_times_.size()));
    if ((*random)() % 100 == 0) {
      link_traces_.push_back(RandomId(16, random));
      link_spans_.push_back(RandomId(8, random));
      link_attributes_.EndRow();
    }
    link_offsets_.push_back(static_cast<int32_t>(link_traces_.size()));
  }

  std::shared_ptr<arrow::RecordBatch> Finish() {
    const auto& schema = decode::SignalSchema(decode::Signal::kTraces);
    const auto rows = static_cast<int64_t>(trace_ids_.size());
    const size_t n = trace_ids_.size(), events = event_times_.size(), links = link_traces_.size();
    const auto type = [&](const char* name) { return schema->GetFieldByName(name)->type(); };
    const auto inside = [&](const char* name, int i) { return type(name)->field(0)->type()->field(i)->type(); };
    std::vector<ArrayDataPtr> out;
    for (const auto& field : schema->fields()) {
      const std::string& name = field->name();
      if (name == "trace_id") out.push_back(Ids(trace_ids_, field->type()));
      else if (name == "span_id") out.push_back(Ids(span_ids_, field->type()));
      else if (name == "parent_span_id") out.push_back(Ids(parents_, field->type()));
      else if (name == "name") out.push_back(Words(names_, field->type()));
      else if (name == "kind") out.push_back(Words(kinds_, field->type()));
      else if (name == "start_time") out.push_back(Numbers(starts_, field->type()));
      else if (name == "end_time") out.push_back(Numbers(ends_, field->type()));
      else if (name == "duration_ns") out.push_back(Numbers(durations_, field->type()));
      else if (name == "status_code") out.push_back(Words(status_, field->type()));
      else if (name == "status_message") out.push_back(Text(messages_, field->type()));
      else if (name == "service_name") out.push_back(Words(services_, field->type()));
      else if (name == "resource") out.push_back(Words(resources_, field->type()));
      else if (name == "scope") out.push_back(Words(std::vector<std::string>(n, "scope of a library"), field->type()));
      else if (name == "attributes") out.push_back(attributes_.Finish());
      else if (name == "events") out.push_back(List(field->type(), event_offsets_, {Numbers(event_times_, inside("events", 0)),
          Words(std::vector<std::string>(events, "exception"), inside("events", 1)), event_attributes_.Finish(),
          Numbers(std::vector<uint32_t>(events, 0), inside("events", 3))}, static_cast<int64_t>(events)));
      else if (name == "links") out.push_back(List(field->type(), link_offsets_, {Ids(link_traces_, inside("links", 0)),
          Ids(link_spans_, inside("links", 1)), Text(std::vector<std::string>(links), inside("links", 2)),
          Numbers(std::vector<uint32_t>(links, 0), inside("links", 3)), link_attributes_.Finish(),
          Numbers(std::vector<uint32_t>(links, 0), inside("links", 5))}, static_cast<int64_t>(links)));
      else if (field->type()->id() == arrow::Type::UINT32) out.push_back(Numbers(std::vector<uint32_t>(n, 0), field->type()));
      else if (field->type()->id() == arrow::Type::STRING) out.push_back(Text(std::vector<std::string>(n), field->type()));
      else out.push_back(arrow::MakeArrayOfNull(field->type(), rows).ValueOrDie()->data());
    }
    for (size_t c = 0; c < out.size(); ++c) {  // MakeArrayOfNull() for a required flag would break the schema's promise.
      if (schema->field(static_cast<int>(c))->nullable() || out[c]->GetNullCount() == 0) continue;
      out[c]->buffers[0] = nullptr;
      out[c]->null_count = 0;
    }
    return arrow::RecordBatch::Make(schema, rows, std::move(out));
  }

 private:
  std::vector<std::string> trace_ids_, span_ids_, parents_, names_, kinds_, status_, messages_, services_, resources_;
  std::vector<int64_t> starts_, ends_, durations_, event_times_;
  std::vector<std::string> link_traces_, link_spans_;
  std::vector<int32_t> event_offsets_{0}, link_offsets_{0};
  AttributeLists attributes_, event_attributes_, link_attributes_;
};

}  // namespace

std::shared_ptr<arrow::ArrayData> AttributeLists::Finish() {
  const auto& type = decode::AttributesType();
  const auto item = type->field(0)->type();
  const auto elements = static_cast<int64_t>(keys.size());
  return List(type, std::move(offsets), {Words(keys, item->field(0)->type()), Numbers(std::move(types), item->field(1)->type()),
                                         Numbers(std::move(nums), item->field(2)->type()), Text(vals, item->field(3)->type())}, elements);
}

Layout SpanLayout() {
  const auto& schema = decode::SignalSchema(decode::Signal::kTraces);
  const auto column = [&](const char* name) { return schema->GetFieldIndex(name); };
  Layout out;
  out.time_column = column("start_time");
  out.filter_columns = {column("trace_id"), column("span_id"), column("service_name"), column("name")};
  out.cluster_traces = true;
  out.trace_column = column("trace_id");
  out.service_column = column("service_name");
  out.parent_column = column("parent_span_id");
  return out;
}

std::vector<std::shared_ptr<arrow::RecordBatch>> MakeSpans(uint64_t seed, int batches, int64_t batch_rows) {
  Random random(seed);
  std::vector<OpenTrace> open(100);
  std::vector<std::shared_ptr<arrow::RecordBatch>> out;
  int64_t now = kDay;
  for (int b = 0; b < batches; ++b) {
    SpanBatch batch;
    for (int64_t i = 0; i < batch_rows; ++i) {
      OpenTrace& trace = open[random() % open.size()];
      if (trace.left == 0)
        trace = {RandomId(16, &random), "", now, static_cast<int>(random() % std::size(kServices)),
                 1 + static_cast<int>(random() % 19)};
      now += static_cast<int64_t>(random() % 5000);
      batch.Add(&trace, now, &random);
      --trace.left;
    }
    out.push_back(batch.Finish());
  }
  return out;
}

}  // namespace sheaf::parts
