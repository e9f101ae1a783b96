#include "trace_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::cli {
namespace {

using testing::HasSubstr;

TraceSpan Span(char id, char parent, int64_t start_ns, int64_t duration_ns = 1'000'000) {
  TraceSpan span;
  span.span_id = std::string(8, id);
  if (parent != 0) span.parent_span_id = std::string(8, parent);
  span.service = "shop";
  span.name = std::string(1, id);
  span.start_ns = start_ns;
  span.duration_ns = duration_ns;
  return span;
}

std::string Shape(const std::vector<TraceSpan>& spans, const std::vector<TraceNode>& nodes) {
  std::string shape;
  for (const TraceNode& node : nodes) {
    shape += spans[node.span].name;
    if (!node.children.empty()) shape += "(" + Shape(spans, node.children) + ")";
  }
  return shape;
}

std::string Shape(const std::vector<TraceSpan>& spans) { return Shape(spans, BuildTree(spans)); }

TEST(TraceTree, ChildrenStandBelowTheirParentInOrderOfStart) {
  EXPECT_EQ(Shape({Span('c', 'a', 30), Span('b', 'a', 20), Span('a', 0, 10), Span('d', 'b', 40)}), "a(b(d)c)");
}

TEST(TraceTree, SpanWithUnknownParentIsARoot) { EXPECT_EQ(Shape({Span('a', 'x', 1), Span('b', 'a', 2)}), "a(b)"); }

TEST(TraceTree, RingOfParentsIsCutNotLost) {
  EXPECT_EQ(Shape({Span('a', 'c', 1), Span('b', 'a', 2), Span('c', 'b', 3), Span('d', 'd', 4)}), "a(b(c))d");
}

TEST(TraceTree, DeepChainDoesNotOverflow) {
  std::vector<TraceSpan> spans;
  for (int i = 0; i < 10'000; ++i) {
    TraceSpan span = Span('a', 0, i);
    span.span_id = std::to_string(i);
    span.parent_span_id = i == 0 ? "" : std::to_string(i - 1);
    spans.push_back(span);
  }
  EXPECT_THAT(DrawTree("t", spans), HasSubstr("10000 spans"));
}

TEST(TraceTree, TextTellsTimesServicesAndErrors) {
  std::vector<TraceSpan> spans = {Span('a', 0, 0, 5'000'000), Span('b', 'a', 1'500'000)};
  spans[1].status_code = "ERROR";
  spans[1].status_message = "no stock";
  const std::string text = DrawTree("4bf9", spans);
  EXPECT_THAT(text, HasSubstr("trace 4bf9: 2 spans, 1 service, 5.000 ms, 1 error"));
  EXPECT_THAT(text, HasSubstr("+1.500 ms"));
  EXPECT_THAT(text, HasSubstr("└─ shop  b  ERROR: no stock"));
}

}  // namespace
}  // namespace sheaf::cli
