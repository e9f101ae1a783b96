/// Rows of telemetry batches as text that does not depend on what a protocol leaves open: for tests that compare two ways in.

#pragma once

#include <string>
#include <vector>

#include "decode/decoder.h"

namespace sheaf::decode {

/// One text a row of all batches, sorted. The order of attributes, events, links and exemplars does not show, nor whether a
/// message without content was sent or left out (status, buckets, a body, a resource or scope), nor `original`. `as_go_sends`:
/// leaves out what the Go library of OTel-Arrow does not send, attributes without a value and metadata of metrics.
/// `with_presence`: shows after all whether there was a status, and buckets.
std::vector<std::string> RowTexts(const std::vector<TableBatch>& batches, bool as_go_sends = false, bool with_presence = false);

}  // namespace sheaf::decode
